use std::fmt::{self, Display};

use securecp_oci::{Reference, Repository};
use serde_json::Value;

use super::PolicyFault;
use super::fields::{Fields, shown, type_name};

/// Which identity a signature must claim (containers-policy.json(5), `signedIdentity`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignedIdentity {
    /// The very reference of the image, tag or digest included.
    MatchExact,
    /// The very reference; an image named by digest needs only the repository to be the same. The default.
    MatchRepoDigestOrExact,
    /// The repository of the image, whatever the tag.
    MatchRepository,
    /// One reference, whatever the image is called.
    ExactReference(Reference),
    /// One repository, whatever the image is called.
    ExactRepository(Repository),
    /// As the default, after the image's name has had its prefix replaced.
    RemapIdentity {
        /// The prefix of the image's name: a host, or a host and leading parts of a path.
        prefix: String,
        /// What stands there in signatures.
        signed_prefix: String,
    },
}

impl SignedIdentity {
    /// Reads the member `signedIdentity`; absent means the default, `null` does not.
    pub(super) fn read(member: Option<&Value>) -> Result<Self, PolicyFault> {
        let Some(value) = member else { return Ok(Self::MatchRepoDigestOrExact) };
        match type_name(value)? {
            "matchExact" => Fields::of(value, &["type"]).map(|_| Self::MatchExact),
            "matchRepoDigestOrExact" => {
                Fields::of(value, &["type"]).map(|_| Self::MatchRepoDigestOrExact)
            }
            "matchRepository" => Fields::of(value, &["type"]).map(|_| Self::MatchRepository),
            "exactReference" => exact_reference(Fields::of(value, &["type", "dockerReference"])?),
            "exactRepository" => {
                exact_repository(Fields::of(value, &["type", "dockerRepository"])?)
            }
            "remapIdentity" => remap(Fields::of(value, &["type", "prefix", "signedPrefix"])?),
            unknown => Err(PolicyFault::UnknownMatch(shown(unknown))),
        }
    }

    /// Whether a signature that claims `signed` may vouch for an image that the user calls `image`.
    ///
    /// `signed` comes from verified bytes; a text that is not a reference matches nothing.
    pub fn matches(&self, image: Option<&Reference>, signed: &str) -> bool {
        let Ok(signed) = Reference::parse_any(signed) else { return false };
        match self {
            Self::MatchExact => image.is_some_and(|image| same_reference(image, &signed)),
            Self::MatchRepoDigestOrExact => image.is_some_and(|image| repo_digest(image, &signed)),
            Self::MatchRepository => {
                image.is_some_and(|image| image.repository() == signed.repository())
            }
            Self::ExactReference(wanted) => same_reference(wanted, &signed),
            Self::ExactRepository(wanted) => wanted == signed.repository(),
            Self::RemapIdentity { prefix, signed_prefix } => image
                .and_then(|image| remapped(image, prefix, signed_prefix))
                .is_some_and(|image| repo_digest(&image, &signed)),
        }
    }
}

impl Display for SignedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MatchExact => f.write_str("matchExact"),
            Self::MatchRepoDigestOrExact => f.write_str("matchRepoDigestOrExact"),
            Self::MatchRepository => f.write_str("matchRepository"),
            Self::ExactReference(reference) => write!(f, "exactReference {reference}"),
            Self::ExactRepository(repository) => write!(f, "exactRepository {repository}"),
            Self::RemapIdentity { prefix, signed_prefix } => {
                write!(f, "remapIdentity {prefix} to {signed_prefix}")
            }
        }
    }
}

fn exact_reference(fields: Fields<'_>) -> Result<SignedIdentity, PolicyFault> {
    let found = reference(fields, "dockerReference")?;
    if found.is_name_only() {
        let text = shown(fields.text("dockerReference")?);
        return Err(PolicyFault::NameOnly(text));
    }
    Ok(SignedIdentity::ExactReference(found))
}

fn exact_repository(fields: Fields<'_>) -> Result<SignedIdentity, PolicyFault> {
    let found = reference(fields, "dockerRepository")?;
    Ok(SignedIdentity::ExactRepository(found.repository().clone()))
}

fn reference(fields: Fields<'_>, key: &'static str) -> Result<Reference, PolicyFault> {
    let text = fields.text(key)?;
    Reference::parse_any(text).map_err(|source| PolicyFault::Reference {
        key,
        text: shown(text),
        source: Box::new(source),
    })
}

fn remap(fields: Fields<'_>) -> Result<SignedIdentity, PolicyFault> {
    let checked = |key| {
        let text = fields.text(key)?;
        if !is_prefix(text) {
            return Err(PolicyFault::Prefix(shown(text)));
        }
        Ok(text.to_owned())
    };
    Ok(SignedIdentity::RemapIdentity {
        prefix: checked("prefix")?,
        signed_prefix: checked("signedPrefix")?,
    })
}

/// A bare host with optional port, or a repository without tag. Short names pass, as in the reference; they never match.
fn is_prefix(text: &str) -> bool {
    let is_host = || {
        let with_path = format!("{text}/x").parse::<Repository>();
        with_path.is_ok_and(|repository| repository.host() == text)
    };
    text.parse::<Repository>().is_ok() || is_host()
}

fn same_reference(left: &Reference, right: &Reference) -> bool {
    !left.is_name_only() && left == right
}

fn repo_digest(image: &Reference, signed: &Reference) -> bool {
    if signed.is_name_only() {
        return false;
    }
    match (image.tag(), image.digest()) {
        (Some(_), _) => image == signed,
        (None, Some(_)) => image.repository() == signed.repository(),
        (None, None) => false,
    }
}

/// The image under the name that signatures use; `None` if the replaced name is not a full reference.
fn remapped(image: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let name = image.repository().to_string();
    let inside =
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !inside {
        return Some(image.clone());
    }
    let text = image.to_string().replacen(prefix, signed_prefix, 1);
    let found = Reference::parse_any(&text).ok()?;
    (found.to_string() == text).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> SignedIdentity {
        SignedIdentity::read(Some(&value)).unwrap()
    }

    fn matches(identity: &SignedIdentity, image: &str, signed: &str) -> bool {
        identity.matches(Some(&Reference::parse_any(image).unwrap()), signed)
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn default_wants_the_same_tag_or_for_digests_the_same_repository() {
        let default = SignedIdentity::read(None).unwrap();
        assert_eq!(default, SignedIdentity::MatchRepoDigestOrExact);
        let by_digest = format!("r.test/a@{DIGEST}");
        for (image, signed, expected) in [
            ("r.test/a:1", "r.test/a:1", true),
            ("r.test/a:1", "r.test/a:2", false),
            ("r.test/a:1", "r.test/b:1", false),
            ("r.test/a:1", "r.test/a", false),
            ("r.test/a", "r.test/a:latest", false),
            (&by_digest, "r.test/a:anything", true),
            (&by_digest, "r.test/b:anything", false),
            (&by_digest, "r.test/a", false),
            ("busybox:1", "docker.io/library/busybox:1", true),
            ("docker.io/library/busybox:1", "busybox:1", true),
            ("r.test/a:1", "UPPER", false),
            ("r.test/a:1", "", false),
        ] {
            assert_eq!(matches(&default, image, signed), expected, "{image} {signed}");
        }
        assert!(!default.matches(None, "r.test/a:1"), "dir and oci images have no reference");
    }

    #[test]
    fn exact_and_repository_kinds() {
        let exact = read(json!({"type": "matchExact"}));
        assert!(matches(&exact, "r.test/a:1", "r.test/a:1"));
        assert!(!matches(&exact, &format!("r.test/a@{DIGEST}"), "r.test/a:1"));
        assert!(!matches(&exact, "r.test/a", "r.test/a"));
        let repository = read(json!({"type": "matchRepository"}));
        assert!(matches(&repository, "r.test/a:1", "r.test/a"));
        assert!(!matches(&repository, "s.test/a:1", "r.test/a"));
        let one = read(json!({"type": "exactReference", "dockerReference": "r.test/a:1"}));
        assert!(one.matches(None, "r.test/a:1"));
        assert!(!one.matches(None, "r.test/a:2"));
        let pinned =
            json!({"type": "exactReference", "dockerReference": format!("r.test/a:1@{DIGEST}")});
        assert!(!read(pinned).matches(None, "r.test/a:1"), "the strings differ");
        let name = read(json!({"type": "exactRepository", "dockerRepository": "r.test/a:ignored"}));
        assert!(name.matches(None, "r.test/a:2"));
        assert!(name.matches(None, "r.test/a"));
        assert!(!name.matches(None, "r.test/b"));
    }

    #[test]
    fn remaps_whole_leading_components_only() {
        let remap = |prefix: &str, signed: &str| {
            read(json!({"type": "remapIdentity", "prefix": prefix, "signedPrefix": signed}))
        };
        let to_r = |prefix, signed| {
            matches(
                &remap(prefix, signed),
                "localhost:5588/ns/list:v1",
                "127.0.0.1:5588/ns/list:v1",
            )
        };
        assert!(to_r("localhost:5588", "127.0.0.1:5588"));
        assert!(to_r("localhost:5588/ns", "127.0.0.1:5588/ns"));
        assert!(to_r("localhost:5588/ns/list", "127.0.0.1:5588/ns/list"));
        assert!(!to_r("localhost", "127.0.0.1"));
        assert!(!to_r("localhost:5588/n", "127.0.0.1:5588/n"));
        let other = remap("elsewhere.test", "127.0.0.1:5588");
        assert!(matches(&other, "r.test/a:1", "r.test/a:1"), "falls back to the unmapped name");
        let by_digest = format!("localhost:5588/ns/list@{DIGEST}");
        assert!(matches(&remap("localhost:5588", "r.test"), &by_digest, "r.test/ns/list:v1"));
        let short = remap("localhost:5588", "busybox");
        assert!(
            !matches(&short, "localhost:5588/a:1", "docker.io/busybox/a:1"),
            "not fully expanded"
        );
    }
}
