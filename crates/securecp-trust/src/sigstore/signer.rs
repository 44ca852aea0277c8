//! New signatures, in the reference's form.

use bytes::Bytes;
use securecp_oci::{Algorithm, Annotations, Digest, Signature, base64};
use serde_json::{Value, json};

use super::annotation;
use super::attachment_check::AttachmentCheck;
use super::bundle::BundleFault;
use super::certificate::CertificateFault;
use super::fault::SigstoreFault;
use super::issued::SignerCertificate;
use super::log_entry::{self, Claim, LogEntryFault};
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
    /// Nobody could verify it: without a log entry there is no time at which the certificate was valid.
    #[error("a signature by certificate needs a log entry")]
    NoLogEntry,
    /// What the log answered does not vouch for the new signature.
    #[error("the log's answer does not vouch for the new signature")]
    LogEntry(#[from] LogEntryFault),
    /// The certificate does not vouch for the new signature.
    #[error("the certificate does not vouch for the new signature")]
    Certificate(#[from] CertificateFault),
    /// The new signature is not complete.
    #[error("the new signature would not be accepted")]
    Refused(#[source] SigstoreFault),
    /// The trusted root does not prove the new signature.
    #[error("the trusted root does not prove the new signature")]
    NotProven(#[from] BundleFault),
}

/// Signs payloads with a private key: one that those who verify know, or one for which an authority has just issued a
/// certificate.
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
    certificate: Option<SignerCertificate>,
}

impl SigstoreSigner {
    /// A signer with this key.
    pub fn new(key: SigstoreKey) -> Self {
        Self { key, certificate: None }
    }

    /// The same signer, whom an authority names.
    ///
    /// # Errors
    /// `answer` is no certificate for this key; see [`SignerCertificate::read`].
    pub fn with_certificate(self, answer: &[u8]) -> Result<Self, CertificateFault> {
        let certificate = SignerCertificate::read(answer, &self.key)?;
        Ok(Self { certificate: Some(certificate), ..self })
    }

    /// The public key that verifies its signatures, DER of the SubjectPublicKeyInfo.
    pub fn public_der(&self) -> &[u8] {
        self.key.public().spki()
    }

    /// The public key that verifies its signatures, PEM.
    pub fn public_pem(&self) -> String {
        self.key.public_pem()
    }

    /// What is known of the signer beside signatures, PEM: the certificate, or the public key.
    pub fn holder_pem(&self) -> String {
        match &self.certificate {
            Some(certificate) => certificate.pem(),
            None => self.key.public_pem(),
        }
    }

    /// The certificate, if there is one.
    pub fn certificate(&self) -> Option<&SignerCertificate> {
        self.certificate.as_ref()
    }

    /// What the signer is called in messages and verdicts: whom the certificate names, or the kind of the key and the
    /// digest of its public half.
    pub fn key_name(&self) -> String {
        match &self.certificate {
            Some(certificate) => certificate.holder().to_owned(),
            None => self.key.public().name(),
        }
    }

    /// Signs a payload; the result has been verified by the code that judges signatures.
    ///
    /// # Errors
    /// Signing fails, or the result would not be accepted; a certificate needs a log entry ([`SigstoreSigner::draft`]).
    pub fn sign(&self, payload: &Payload) -> Result<Signature, SigstoreSignError> {
        self.draft(payload)?.finish(None, &AttachmentCheck::default())
    }

    /// Signs a payload, for a log to see it.
    ///
    /// # Errors
    /// Signing fails, or the result does not verify.
    pub fn draft(&self, payload: &Payload) -> Result<AttachmentDraft<'_>, SigstoreSignError> {
        let content = payload.to_bytes(PayloadKind::Sigstore);
        let raw = self.sign_bytes(&content)?;
        let read = Payload::parse(&content, PayloadKind::Sigstore);
        if read.map_err(SigstoreSignError::Payload)? != *payload {
            return Err(SigstoreSignError::SomethingElse);
        }
        Ok(AttachmentDraft { signer: self, content, raw })
    }

    /// A raw signature over `message`, verified: SHA-256 under every key but Ed25519's, as attachments have it.
    ///
    /// # Errors
    /// Signing fails, or the result does not verify.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, SigstoreSignError> {
        let raw = self.key.sign(message)?;
        let verified = self.key.public().verifies(message, &raw);
        verified.then_some(raw).ok_or(SigstoreSignError::NotVerified)
    }

    /// A raw signature over what a bundle signs, verified: keys on P-384 and P-521 use the hash of their size there.
    ///
    /// # Errors
    /// Signing fails, or the result does not verify.
    pub fn sign_for_bundle(&self, message: &[u8]) -> Result<Vec<u8>, SigstoreSignError> {
        let raw = self.key.sign_for_bundle(message)?;
        let verified = self.key.public().verifies_bundled(message, &raw);
        verified.then_some(raw).ok_or(SigstoreSignError::NotVerified)
    }
}

/// A signed payload that may be shown to a log before it becomes a signature.
#[derive(Debug)]
pub struct AttachmentDraft<'a> {
    signer: &'a SigstoreSigner,
    content: Vec<u8>,
    raw: Vec<u8>,
}

impl AttachmentDraft<'_> {
    /// What a log of the first version is asked to take (`POST /api/v1/log/entries`).
    pub fn rekor_v1_proposal(&self) -> Value {
        let digest = Digest::of(Algorithm::Sha256, &self.content);
        json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
                "signature": {
                    "content": base64::encode(&self.raw),
                    "publicKey": {"content": base64::encode(self.signer.holder_pem().as_bytes())},
                },
            },
        })
    }

    /// The signature, with what the log answered. It must be about exactly this payload, signature and signer, the
    /// certificate must have been valid when the log saw it, and `check` must accept who says so.
    ///
    /// # Errors
    /// It is not, or a certificate has no log entry.
    pub fn finish(
        self,
        answer: Option<&[u8]>,
        check: &AttachmentCheck,
    ) -> Result<Signature, SigstoreSignError> {
        let mut annotations: Annotations =
            [(annotation::SIGNATURE.to_owned(), base64::encode(&self.raw))].into();
        let promised = answer.map(|answer| self.promise(answer)).transpose()?;
        if let Some(certificate) = &self.signer.certificate {
            let (_, seen) = promised.as_ref().ok_or(SigstoreSignError::NoLogEntry)?;
            certificate.check(*seen)?;
            annotations.insert(annotation::CERTIFICATE.to_owned(), certificate.pem());
            annotations.insert(annotation::CHAIN.to_owned(), certificate.chain_pem());
        }
        let logged = promised.is_some();
        annotations.extend(promised.map(|(promise, _)| (annotation::BUNDLE.to_owned(), promise)));
        let signature = Signature::Sigstore {
            media_type: Signature::SIGSTORE_MEDIA_TYPE.to_owned(),
            payload: Bytes::copy_from_slice(&self.content),
            annotations,
        };
        if logged {
            check.judge(&signature, self.claim(&self.signer.holder_pem()))?;
        }
        Ok(signature)
    }

    /// What a log entry must be about.
    fn claim<'c>(&'c self, holder_pem: &'c str) -> Claim<'c> {
        let (payload, signature) = (self.content.as_slice(), self.raw.as_slice());
        Claim { payload, signature, signer_pem: holder_pem.as_bytes() }
    }

    /// The annotation that holds the log's promise, and when it was made.
    fn promise(&self, answer: &[u8]) -> Result<(String, std::time::SystemTime), SigstoreSignError> {
        let holder = self.signer.holder_pem();
        let annotation = log_entry::of_answer(answer)?;
        let seen = log_entry::check_binding(&annotation, self.claim(&holder))?;
        Ok((annotation, seen))
    }
}
