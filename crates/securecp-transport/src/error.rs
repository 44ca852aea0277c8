use std::io;
use std::path::PathBuf;

use securecp_layer::{LayerError, Stopped};
use securecp_net::NetError;
use securecp_oci::json::JsonError;
use securecp_oci::{AttachmentError, ManifestError, ReferenceError, SignatureError};

/// Why a source could not be read or a destination not be written. The engine adds the side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The name does not follow the transport's grammar.
    #[error("{name}: {problem}")]
    Name {
        /// `TRANSPORT:REST`.
        name: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// A Docker reference is malformed.
    #[error("invalid reference in {name}")]
    Reference {
        /// `TRANSPORT:REST`.
        name: String,
        /// Why.
        source: ReferenceError,
    },
    /// The image or a part of it does not exist.
    #[error("{subject} not found in {place}")]
    NotFound {
        /// What was asked for.
        subject: String,
        /// Where.
        place: String,
    },
    /// What holds images is there, but has none of that name.
    #[error("image {name} not found in {place}")]
    NoSuchImage {
        /// The name.
        name: String,
        /// Where.
        place: String,
    },
    /// A manifest is not what it should be.
    #[error("reading manifest {subject}")]
    Manifest {
        /// Which.
        subject: String,
        /// Why.
        source: ManifestError,
    },
    /// A document of the transport itself (not a manifest) cannot be read.
    #[error("reading {path}")]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        source: JsonError,
    },
    /// A stored signature cannot be read.
    #[error("reading {path}")]
    Signature {
        /// Which.
        path: PathBuf,
        /// Why.
        source: SignatureError,
    },
    /// An entry of a layout cannot be read, and nobody can tell whether it is evidence.
    #[error("entry {entry} of the layout cannot be read, and may be evidence of any image in it")]
    PossibleEvidence {
        /// Its position, name and digest.
        entry: String,
        /// Why.
        source: Box<TransportError>,
    },
    /// The signatures attached in a registry cannot be read or added to.
    #[error("signatures at {name}")]
    Attachment {
        /// The repository, and the tag that they have.
        name: String,
        /// Why.
        source: AttachmentError,
    },
    /// A blob's bytes are not what they should be, or their source failed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file operation failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, for example `opening`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is at the place is not an image of this transport.
    #[error("{path}: {problem}")]
    Place {
        /// The place.
        path: PathBuf,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// Something else than this destination can add to or replace is at the place.
    #[error("{path}: {problem}")]
    Occupied {
        /// The place.
        path: PathBuf,
        /// What is there and what is expected.
        problem: String,
    },
    /// A name that leaves open which image is meant.
    #[error("{path}: {problem}")]
    SeveralImages {
        /// What holds the images.
        path: PathBuf,
        /// How many there are, and how one is chosen.
        problem: String,
    },
    /// The transport cannot hold or do this.
    #[error("{name}: {problem}")]
    Unsupported {
        /// `TRANSPORT:REST`.
        name: String,
        /// What is not possible.
        problem: String,
    },
    /// The registry failed or refused.
    #[error(transparent)]
    Registry(#[from] securecp_registry::RegistryError),
    /// A network failure outside of a registry.
    #[error(transparent)]
    Network(NetError),
    /// There is no connection to a Docker engine.
    #[error("docker engine {host}: {message}")]
    NoEngine {
        /// How it is to be reached.
        host: String,
        /// Why it is not.
        message: String,
    },
    /// A Docker engine failed or refused.
    #[error("docker engine {host}: {message}")]
    Engine {
        /// How it is reached.
        host: String,
        /// What it said.
        message: String,
    },
    /// The job was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl TransportError {
    /// Whether the image (or a part) does not exist, as opposed to any other failure.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::NoSuchImage { .. } => true,
            Self::Registry(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// Whether it was the layout or registry that said so of an image, as opposed to a layout, folder or archive that is
    /// not there itself.
    pub fn is_unknown_image(&self) -> bool {
        match self {
            Self::NoSuchImage { .. } => true,
            Self::Registry(error) => error.is_unknown_manifest(),
            _ => false,
        }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Layer(error) => error.is_transient(),
            Self::Registry(error) => error.is_transient(),
            Self::Network(error) => error.is_transient(),
            _ => false,
        }
    }
}

impl From<NetError> for TransportError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Network(other),
        }
    }
}
