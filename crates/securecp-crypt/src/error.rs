use securecp_layer::LayerError;
use securecp_oci::{Digest, MediaType};

use crate::Scheme;

/// Why a layer cannot be encrypted or decrypted. Never holds a secret, nor what a cryptographic library said about one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CryptError {
    /// The media type has no encrypted counterpart.
    #[error("encryption specified but no counterpart for mediatype: \"{0}\"")]
    NotEncryptable(MediaType),
    /// A layer chosen for encryption is encrypted already.
    #[error(
        "layer {digest} is already encrypted: add recipients to it with a decryption key, or decrypt and encrypt it anew"
    )]
    AlreadyEncrypted {
        /// The layer.
        digest: Digest,
    },
    /// Descriptor and annotations contradict each other.
    #[error("layer {digest}: {problem}")]
    Contradiction {
        /// The layer.
        digest: Digest,
        /// What contradicts what.
        problem: &'static str,
    },
    /// An annotation is not what the format says.
    #[error("layer {digest}: annotation {annotation}: {problem}")]
    Annotation {
        /// The layer.
        digest: Digest,
        /// The annotation's key.
        annotation: String,
        /// What is wrong with it.
        problem: String,
    },
    /// None of the keys opens the layer.
    #[error(
        "decrypting layer {digest}: no suitable key unwrapper found or none of the private keys could be used for decryption ({tried})"
    )]
    NoKey {
        /// The layer.
        digest: Digest,
        /// What was tried, by scheme.
        tried: String,
    },
    /// A key fits the layer, but what it opened is damaged.
    #[error(
        "decrypting layer {digest}: a {scheme} key fits, but the wrapped key is damaged: {problem}"
    )]
    Damaged {
        /// The layer.
        digest: Digest,
        /// The scheme.
        scheme: Scheme,
        /// What is wrong.
        problem: &'static str,
    },
    /// Opening the image's layers would take more private-key operations than allowed.
    #[error(
        "more than {limit} private-key operations needed: too many recipients, keys and layers"
    )]
    TooMuchWork {
        /// The limit.
        limit: usize,
    },
    /// No recipient was given, so nobody could ever decrypt.
    #[error("no recipient to encrypt for")]
    NoRecipient,
    /// A layer key cannot be wrapped for a recipient.
    #[error("wrapping the layer key with {scheme}: {problem}")]
    Wrap {
        /// The scheme.
        scheme: Scheme,
        /// What is wrong.
        problem: String,
    },
    /// The ciphertext offered is not the one whose key was unwrapped.
    #[error("layer offered for decryption is not verified to be {expected}")]
    NotThisLayer {
        /// The layer whose key was unwrapped.
        expected: Digest,
    },
    /// A layer index does not exist.
    #[error("layer index {index} out of range ({count} layers exist)")]
    LayerIndex {
        /// The index given.
        index: i64,
        /// Number of layers.
        count: usize,
    },
    /// An option does not follow its grammar.
    #[error("{option}: {problem}")]
    Option {
        /// The option, for example `--encryption-key`.
        option: &'static str,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] crate::KeyFileError),
    /// The cryptographic library failed at something that cannot fail on good input.
    #[error("cryptographic library failed: {0}")]
    Library(&'static str),
}

impl From<CryptError> for LayerError {
    fn from(error: CryptError) -> Self {
        Self::Transform { transform: "layer encryption", problem: error.to_string() }
    }
}
