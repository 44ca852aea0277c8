use serde::Serialize;

use super::certificate::CertificateFault;
use super::log_entry::LogEntryFault;
use super::public_key::PublicKeyFault;

/// Why a sigstore signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum SigstoreFault {
    /// An annotation is missing that the requirement needs.
    #[error("missing {annotation} annotation")]
    MissingAnnotation {
        /// The key of the annotation.
        annotation: &'static str,
    },
    /// The signature is not base64.
    #[error("base64 decoding: {failure}")]
    Base64 {
        /// Why.
        failure: String,
    },
    /// No trusted key made this signature over this payload.
    #[error("cryptographic signature verification failed: {}", .failures.join(", "))]
    NotVerified {
        /// Why, for each key.
        failures: Vec<&'static str>,
    },
    /// The log entry does not vouch for the signature.
    #[error(transparent)]
    #[serde(untagged)]
    LogEntry(#[from] LogEntryFault),
    /// The certificate does not vouch for the signature.
    #[error(transparent)]
    #[serde(untagged)]
    Certificate(#[from] CertificateFault),
}

/// Why the keys or certificates of a `sigstoreSigned` requirement cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum SigstoreKeyFault {
    /// A public key cannot be used; one such key fails the whole requirement.
    #[error("parsing public key {position}: {fault}")]
    PublicKey {
        /// Its place, from 1.
        position: usize,
        /// Why.
        fault: PublicKeyFault,
    },
    /// A key of a log cannot be used; one such key fails the whole requirement.
    #[error("parsing Rekor public key {position}: {fault}")]
    RekorKey {
        /// Its place, from 1.
        position: usize,
        /// Why.
        fault: PublicKeyFault,
    },
    /// A key of a log is of another kind.
    #[error("Rekor public key {position} is not using ECDSA")]
    RekorKeyKind {
        /// Its place, from 1.
        position: usize,
    },
    /// Root or intermediate certificates cannot be used.
    #[error(transparent)]
    #[serde(untagged)]
    Certificates(#[from] CertificateFault),
}
