//! New signatures, in the reference's form.

use bytes::Bytes;
use securecp_oci::{Annotations, Signature, base64};

use super::annotation;
use super::private_key::{SigstoreKey, SigstoreKeyError};
use crate::payload::{Payload, PayloadError, PayloadKind};

/// Why a payload could not be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigstoreSignError {
    /// The key refused.
    #[error("signing failed")]
    Key(#[from] SigstoreKeyError),
    /// The new signature is not one that would be accepted.
    #[error("the new signature does not verify")]
    NotVerified,
    /// The payload is not one that could be read again.
    #[error("the new payload is not valid")]
    Payload(#[source] PayloadError),
    /// The payload reads as something else.
    #[error("the new payload says something else than what was to be signed")]
    SomethingElse,
}

/// Signs payloads with a private key.
///
/// ```
/// use std::time::SystemTime;
/// use securecp_oci::{Algorithm, Digest};
/// use securecp_trust::{Payload, PayloadKind, SigstoreKey, SigstoreSigner};
/// let signer = SigstoreSigner::new(SigstoreKey::generate()?);
/// let digest = Digest::of(Algorithm::Sha256, b"a manifest");
/// let name = "registry.test/app:1".parse()?;
/// let payload = Payload::new(PayloadKind::Sigstore, &digest, &name, SystemTime::now());
/// let signature = signer.sign(&payload.ok_or("cannot be signed")?)?;
/// assert!(signature.to_blob().starts_with(b"\0sigstore-json\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SigstoreSigner {
    key: SigstoreKey,
}

impl SigstoreSigner {
    /// A signer with this key.
    pub fn new(key: SigstoreKey) -> Self {
        Self { key }
    }

    /// The public key that verifies its signatures, PEM.
    pub fn public_pem(&self) -> String {
        self.key.public_pem()
    }

    /// What the key is called in messages and verdicts: its kind and the digest of its public half.
    pub fn key_name(&self) -> String {
        self.key.public().name()
    }

    /// Signs a payload; the result has been verified by the code that judges signatures.
    ///
    /// # Errors
    /// Signing fails, or the result would not be accepted.
    pub fn sign(&self, payload: &Payload) -> Result<Signature, SigstoreSignError> {
        let content = payload.to_bytes(PayloadKind::Sigstore);
        let raw = self.sign_bytes(&content)?;
        let read = Payload::parse(&content, PayloadKind::Sigstore);
        if read.map_err(SigstoreSignError::Payload)? != *payload {
            return Err(SigstoreSignError::SomethingElse);
        }
        let annotations: Annotations =
            [(annotation::SIGNATURE.to_owned(), base64::encode(&raw))].into();
        Ok(Signature::Sigstore {
            media_type: Signature::SIGSTORE_MEDIA_TYPE.to_owned(),
            payload: Bytes::from(content),
            annotations,
        })
    }

    /// A raw signature over `message`, verified.
    ///
    /// # Errors
    /// Signing fails, or the result does not verify.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, SigstoreSignError> {
        let raw = self.key.sign(message)?;
        let verified = self.key.public().verifies(message, &raw);
        verified.then_some(raw).ok_or(SigstoreSignError::NotVerified)
    }
}
