use std::fmt;

use securecp_oci::{Annotations, Attached};
use securecp_trust::RECORD_PREDICATE;

/// What a piece of evidence is, by what it says of itself: nobody has judged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// A simple-signing signature, by OpenPGP.
    SimpleSignature,
    /// A signature of sigstore: attached, or in a bundle.
    SigstoreSignature,
    /// A signature of the Notary Project.
    NotationSignature,
    /// An in-toto statement, in whatever envelope.
    Attestation,
    /// A software bill of materials.
    Sbom,
    /// A record of how a manifest was changed on an earlier way.
    ChangeRecord,
    /// Something else.
    Other,
}

impl EvidenceKind {
    /// What cosign attaches in that role.
    pub fn of_attached(what: Attached) -> Self {
        match what {
            Attached::Signatures => Self::SigstoreSignature,
            Attached::Attestations => Self::Attestation,
            Attached::Sbom => Self::Sbom,
        }
    }

    /// A referrer of that artifact type.
    pub fn of_referrer(artifact_type: &str, annotations: &Annotations) -> Self {
        let has = |part: &str| artifact_type.contains(part);
        if artifact_type.starts_with("application/vnd.dev.sigstore.bundle") {
            return of_bundle(annotations);
        }
        match artifact_type {
            "application/vnd.cncf.notary.signature" => Self::NotationSignature,
            _ if has("cosign.artifact.sig.") => Self::SigstoreSignature,
            _ if has("spdx") || has("cyclonedx") || has("artifact.sbom.") => Self::Sbom,
            _ if has("in-toto") || has("dsse") || has("artifact.att.") => Self::Attestation,
            _ => Self::Other,
        }
    }

    /// Whether it is a signature, of whatever kind.
    pub fn is_signature(self) -> bool {
        matches!(self, Self::SimpleSignature | Self::SigstoreSignature | Self::NotationSignature)
    }

    /// The name in receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::SimpleSignature => "simple signature",
            Self::SigstoreSignature => "sigstore signature",
            Self::NotationSignature => "notation signature",
            Self::Attestation => "attestation",
            Self::Sbom => "sbom",
            Self::ChangeRecord => "change record",
            Self::Other => "other",
        }
    }
}

/// A bundle holds a signature of the image itself, or a statement about it; cosign writes beside it which. Where nothing
/// is written it may be a signature.
fn of_bundle(annotations: &Annotations) -> EvidenceKind {
    let predicate = annotations.get("dev.sigstore.bundle.predicateType").map(String::as_str);
    match predicate {
        Some(RECORD_PREDICATE) => EvidenceKind::ChangeRecord,
        Some(predicate) if !predicate.starts_with(SIGN) => EvidenceKind::Attestation,
        _ => EvidenceKind::SigstoreSignature,
    }
}

/// The statement with which cosign 3 signs an image.
const SIGN: &str = "https://sigstore.dev/cosign/sign/";

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_evidence_by_its_type() {
        let none = Annotations::new();
        let predicate = |text: &str| {
            Annotations::from([("dev.sigstore.bundle.predicateType".to_owned(), text.to_owned())])
        };
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        for (artifact_type, annotations, expected) in [
            (bundle, none.clone(), EvidenceKind::SigstoreSignature),
            (
                bundle,
                predicate("https://sigstore.dev/cosign/sign/v1"),
                EvidenceKind::SigstoreSignature,
            ),
            (bundle, predicate("https://slsa.dev/provenance/v1"), EvidenceKind::Attestation),
            (bundle, predicate("urn:securecp:change-record:v1"), EvidenceKind::ChangeRecord),
            (
                "application/vnd.cncf.notary.signature",
                none.clone(),
                EvidenceKind::NotationSignature,
            ),
            ("application/spdx+json", none.clone(), EvidenceKind::Sbom),
            ("application/vnd.cyclonedx+json", none.clone(), EvidenceKind::Sbom),
            ("application/vnd.in-toto+json", none.clone(), EvidenceKind::Attestation),
            ("application/vnd.dsse.envelope.v1+json", none.clone(), EvidenceKind::Attestation),
            ("application/vnd.example.report", none.clone(), EvidenceKind::Other),
            ("", none.clone(), EvidenceKind::Other),
        ] {
            assert_eq!(EvidenceKind::of_referrer(artifact_type, &annotations), expected);
        }
    }
}
