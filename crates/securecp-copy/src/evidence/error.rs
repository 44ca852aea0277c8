use securecp_oci::{AttachmentError, Digest, Escaped};
use securecp_trust::WitnessError;

/// Why evidence cannot be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// There is more of it than any image has.
    #[error("more than {limit} pieces of evidence beside {manifest}")]
    TooMany {
        /// The image.
        manifest: Digest,
        /// The limit.
        limit: usize,
    },
    /// There are more bytes of it than any image has.
    #[error("evidence {digest} and what was read before it have more than {limit} bytes")]
    TooMuch {
        /// The piece with which it became too much.
        digest: Digest,
        /// The limit.
        limit: u64,
    },
    /// Evidence of evidence goes on and on.
    #[error("evidence of {manifest} refers to evidence more than {limit} deep")]
    TooDeep {
        /// The image.
        manifest: Digest,
        /// The limit.
        limit: usize,
    },
    /// A piece is larger than evidence is.
    #[error("evidence {digest} has {what}, the limit is {limit}")]
    TooLarge {
        /// The piece.
        digest: Digest,
        /// What it has too much of.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// An image in the clothes of evidence: nobody judged it.
    #[error(
        "{digest} refers to {subject} but is {what}, and as an image it was not admitted (artifact type {})",
        Escaped::new(artifact_type).limit(200)
    )]
    PosesAsEvidence {
        /// The piece.
        digest: Digest,
        /// What it refers to.
        subject: Digest,
        /// What it is.
        what: &'static str,
        /// Its type; `--evidence-type` may name it.
        artifact_type: String,
    },
    /// A list names it among the referrers of something else than its subject.
    #[error("{digest} is listed as evidence of {listed}, but its subject is {found}")]
    OtherSubject {
        /// The piece.
        digest: Digest,
        /// Where it is listed.
        listed: Digest,
        /// What it says itself.
        found: String,
    },
    /// What is attached has a form to which nothing can be attached.
    #[error("what is attached to {subject} ({suffix}) is an index, expected an image")]
    AttachedIndex {
        /// The manifest.
        subject: Digest,
        /// Under which suffix.
        suffix: &'static str,
    },
    /// It cannot be judged, so that it is neither verified nor unverified.
    #[error("evidence cannot be judged")]
    Witness(#[from] WitnessError),
    /// What is attached cannot be judged.
    #[error("what is attached cannot be judged")]
    Attachment(#[from] AttachmentError),
}

impl EvidenceError {
    /// Whether the command line asks for what nobody could do.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Witness(WitnessError::Nobody { .. }))
    }

    /// What the user may add to the command line, if that is what it takes.
    pub fn hint(&self) -> String {
        match self {
            Self::PosesAsEvidence { artifact_type, .. } if !artifact_type.is_empty() => {
                let name = Escaped::new(artifact_type).limit(200);
                format!("--evidence-type {name} carries it unjudged; --evidence none carries none")
            }
            Self::Witness(WitnessError::Nobody { .. }) => {
                "--evidence verified needs a policy with signedBy or sigstoreSigned for this image, or --trust FILE"
                    .to_owned()
            }
            _ => "--evidence none leaves all evidence behind".to_owned(),
        }
    }
}
