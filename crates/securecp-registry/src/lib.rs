//! The OCI distribution protocol: authentication, manifests, blobs, uploads, mirrors, referrers.

/// Why a registry request failed.
#[derive(Debug, thiserror::Error)]
#[error("registry request failed")]
#[non_exhaustive]
pub struct RegistryError;

impl RegistryError {
    /// Whether the thing asked for definitely does not exist.
    pub fn is_not_found(&self) -> bool {
        false
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        false
    }
}
