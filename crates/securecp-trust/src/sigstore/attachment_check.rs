//! Whom a new attachment's log entry and certificate must come from, for those who sign to know before it is stored.

use securecp_oci::Signature;

use super::annotation;
use super::bundle::Candidate;
use super::evidence::Evidence;
use super::log_entry::{self, Claim};
use super::public_key::{PublicKey, PublicKeyFault};
use super::signer::SigstoreSignError;
use super::trusted_root::{TrustedRoot, TrustedRootError};

/// What every new attachment is held to before it is stored, beside that its parts belong together.
#[derive(Default)]
pub struct AttachmentCheck {
    log_keys: Vec<PublicKey>,
    root: Option<TrustedRoot>,
}

impl AttachmentCheck {
    /// The log's promise must be by this key, PEM.
    ///
    /// # Errors
    /// It is not a key that logs have: as in policies, they have ECDSA keys.
    pub fn log_key(mut self, pem: &[u8]) -> Result<Self, PublicKeyFault> {
        let key = PublicKey::from_pem(pem)?;
        if !key.kind().is_ecdsa() {
            return Err(PublicKeyFault::Algorithm { found: key.kind().name().to_owned() });
        }
        self.log_keys.push(key);
        Ok(self)
    }

    /// The log's promise must be by a log of this trusted root, and the certificate by one of its authorities.
    ///
    /// # Errors
    /// The bytes are not a trusted root.
    pub fn trusted_root(self, bytes: &[u8]) -> Result<Self, TrustedRootError> {
        Ok(Self { root: Some(TrustedRoot::parse(bytes)?), ..self })
    }

    /// Judges a new signature that has a log entry.
    pub(super) fn judge(
        &self,
        signature: &Signature,
        claim: Claim<'_>,
    ) -> Result<(), SigstoreSignError> {
        let evidence = Evidence::of(signature).map_err(SigstoreSignError::Refused)?;
        let promise =
            evidence.annotation(annotation::BUNDLE).map_err(SigstoreSignError::Refused)?;
        if !self.log_keys.is_empty() {
            log_entry::verify(promise, &self.log_keys, claim)?;
        }
        match &self.root {
            Some(root) => under_root(root, &evidence, (promise, claim)),
            None => Ok(()),
        }
    }
}

fn under_root(
    root: &TrustedRoot,
    evidence: &Evidence<'_>,
    (promise, claim): (&str, Claim<'_>),
) -> Result<(), SigstoreSignError> {
    let candidate = Candidate::of_attachment(evidence).map_err(SigstoreSignError::Refused)?;
    if candidate.has_certificate() {
        // As for bundles: logs of certificates are asked where there are any.
        let without = !root.has_certificate_logs();
        return Ok(candidate.verify_certificate(&[], root, without).map(drop)?);
    }
    // Keys of every curve sign attachments with SHA-256, which bundles do not; so only the promise is verified here, the
    // signature was verified when it was made.
    let time = log_entry::check_binding(promise, claim)?;
    Ok(log_entry::verify(promise, &root.log_keys_at(time), claim).map(drop)?)
}

impl std::fmt::Debug for AttachmentCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachmentCheck")
            .field("log_keys", &self.log_keys)
            .field("trusted_root", &self.root.is_some())
            .finish()
    }
}
