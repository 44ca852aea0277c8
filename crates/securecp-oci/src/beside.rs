use crate::{Descriptor, Digest, RawManifest, Tag, View};

/// What cosign keeps beside a manifest, under a tag that is made of the manifest's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attached {
    /// `ALG-HEX.sig`: signatures, a layer each.
    Signatures,
    /// `ALG-HEX.att`: attestations, a layer each.
    Attestations,
    /// `ALG-HEX.sbom`: a software bill of materials.
    Sbom,
}

impl Attached {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Signatures, Self::Attestations, Self::Sbom];

    /// What follows the digest in the tag.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Signatures => ".sig",
            Self::Attestations => ".att",
            Self::Sbom => ".sbom",
        }
    }

    /// The tag for what is attached to `subject`; `None` where the digest is too long for one (SHA-512), so that nothing
    /// can be attached to it.
    pub fn tag(self, subject: &Digest) -> Option<Tag> {
        format!("{}-{}{}", subject.algorithm(), subject.hex(), self.suffix()).parse().ok()
    }
}

/// The name under which the referrers of `subject` are listed where there is no referrers API: algorithm, which is always
/// shorter than its limit of 32, and at most 64 characters of the value (OCI distribution-spec, "Referrers tag schema").
pub fn referrers_tag(subject: &Digest) -> Tag {
    let hex = subject.hex();
    Tag::known(format!("{}-{}", subject.algorithm(), hex.get(..64).unwrap_or(hex)))
}

/// Whether a name is one under which evidence of a manifest stands: `ALG-HEX`, or that with one of the suffixes of
/// [`Attached`].
pub fn is_evidence_name(name: &str) -> bool {
    let bare = Attached::ALL.iter().find_map(|attached| name.strip_suffix(attached.suffix()));
    let Some((algorithm, hex)) = bare.unwrap_or(name).split_once('-') else { return false };
    let hex_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    matches!(algorithm, "sha256" | "sha384" | "sha512")
        && hex.len() >= 64
        && hex.bytes().all(hex_digit)
}

impl RawManifest {
    /// This manifest as it stands in a list of referrers: with its artifact type (the type of its configuration, where it
    /// states none) and all its annotations (OCI distribution-spec, "Listing Referrers").
    pub fn as_referrer(&self) -> Descriptor {
        let (artifact_type, annotations) = match self.view() {
            View::Image(image) => {
                let config = || Some(image.config.media_type.as_str().to_owned());
                (image.artifact_type.clone().or_else(config), image.annotations.clone())
            }
            View::Index(index) => (index.artifact_type.clone(), index.annotations.clone()),
            View::Schema1(_) => Default::default(),
        };
        Descriptor { artifact_type, annotations, ..self.descriptor() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn names_are_made_and_recognised() {
        let short = Digest::of(Algorithm::Sha256, b"x");
        let long = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(referrers_tag(&short).as_str(), format!("sha256-{}", short.hex()));
        assert_eq!(referrers_tag(&long).as_str(), format!("sha512-{}", &long.hex()[..64]));
        assert!(is_evidence_name(referrers_tag(&long).as_str()));
        for attached in Attached::ALL {
            let tag = attached.tag(&short).unwrap();
            assert_eq!(tag.as_str(), format!("sha256-{}{}", short.hex(), attached.suffix()));
            assert!(is_evidence_name(tag.as_str()));
            assert_eq!(attached.tag(&long), None, "no tag is that long");
        }
        let hex = short.hex();
        for other in ["v1", "sha256-", "sha256-abc", "sha256", "latest.sig"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("md5-{hex}"), format!("sha256-{hex}.txt"), format!("x-sha256-{hex}")])
        {
            assert!(!is_evidence_name(&other), "{other}");
        }
    }
}
