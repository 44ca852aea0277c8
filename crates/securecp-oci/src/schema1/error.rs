use crate::{ConvertError, ManifestError};

/// Why bytes are not a schema 1 manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Schema1Error {
    /// Size, digest, JSON or a member is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// `schemaVersion` is not 1.
    #[error("unsupported schema version, expected 1")]
    Version,
    /// The signatures do not say what they cover, or not the same.
    #[error("schema 1 signatures do not name one payload: {0}")]
    Jws(&'static str),
    /// Not one history entry for each layer, or none at all.
    #[error(
        "schema 1 manifest has {layers} layers and {history} history entries, expected as many of both"
    )]
    Count {
        /// Layers found.
        layers: usize,
        /// History entries found.
        history: usize,
    },
    /// A history entry cannot be read.
    #[error("schema 1 history entry {position} cannot be read")]
    Entry {
        /// Its place, newest first.
        position: usize,
        /// Why.
        source: ConvertError,
    },
    /// An id is not 64 lower-case hexadecimal digits.
    #[error("schema 1 history entry {0} has a malformed id")]
    Id(usize),
    /// The entries do not form one chain.
    #[error("schema 1 history entry {0} does not follow from its parent")]
    Chain(usize),
}
