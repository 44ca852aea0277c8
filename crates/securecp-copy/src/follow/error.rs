use securecp_oci::{Digest, Escaped};

use crate::error::CopyError;

/// Why an image cannot be judged by its records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(CopyError),
    /// What a record names cannot be read; that is never the same as having no record.
    #[error(
        "following the change record of {manifest} to {digest} of {}",
        Escaped::new(image).limit(300)
    )]
    Source {
        /// The manifest that was made from it.
        manifest: Digest,
        /// Its name, as it was recorded.
        image: String,
        /// Its digest.
        digest: Digest,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name that a record gives leads to something else.
    #[error("expected {expected} at {}, found {found}", Escaped::new(image).limit(300))]
    OtherDigest {
        /// The name.
        image: String,
        /// The digest that was recorded.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// Records lead from source to source.
    #[error("change records lead on for more than {limit} sources")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Records name more sources than anybody judges.
    #[error("change records name more than {limit} sources")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}
