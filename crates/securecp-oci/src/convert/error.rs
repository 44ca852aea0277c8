use crate::json::JsonError;
use crate::{Digest, ManifestError, ManifestFormat, MediaType};

/// Why a manifest has no form in another format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Docker schema 1 is read, never written.
    #[error("format v2s1 cannot be written, expected oci or v2s2")]
    Schema1Destination,
    /// Not the name of a format.
    #[error("unknown manifest format {0:?}, expected oci or v2s2")]
    Format(String),
    /// Nothing is to be converted.
    #[error("manifest is already in format {0}")]
    Same(ManifestFormat),
    /// An index where an image was expected.
    #[error("manifest is not an image")]
    NotAnImage,
    /// An image where an index was expected.
    #[error("manifest is not an index")]
    NotAnIndex,
    /// Not the manifest of a runnable image.
    #[error("artifacts cannot be converted: configuration is of media type {0}")]
    Artifact(MediaType),
    /// zstd into Docker.
    #[error("format v2s2 has no zstd layers, found {0}")]
    Zstd(MediaType),
    /// Encrypted into Docker.
    #[error("format v2s2 has no encrypted layers, found {0}")]
    Encrypted(MediaType),
    /// A layer of a type that is not known.
    #[error("layers of media type {0} cannot be converted")]
    UnknownLayer(MediaType),
    /// Not one description for each layer.
    #[error("layer count does not match: expected {expected}, found {found}")]
    LayerCount {
        /// Layers of the manifest.
        expected: usize,
        /// Layers described.
        found: usize,
    },
    /// An entry without platform into Docker.
    #[error("format v2s2 needs a platform for each entry, entry {0} of the index has none")]
    NoPlatform(usize),
    /// The configuration is not the one that the manifest names.
    #[error("configuration does not match its digest: expected {expected}")]
    ConfigDigest {
        /// The digest in the manifest.
        expected: Digest,
    },
    /// The configuration is not one strict JSON document.
    #[error("configuration cannot be read")]
    ConfigJson(#[source] JsonError),
    /// A member of the configuration has the wrong type.
    #[error("configuration member {member} is not {expected}")]
    ConfigMember {
        /// The path of the member.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A member that one reader takes for another: the reference ignores case.
    #[error("ambiguous configuration: member {member}, expected the spelling {expected:?}")]
    Spelling {
        /// The path of the member.
        member: String,
        /// The name as specified.
        expected: &'static str,
    },
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}
