//! Simple signing without a policy, for the `standalone-` commands.

use std::time::SystemTime;

use crate::openpgp::{self, Keyring};
use crate::payload::{Payload, PayloadKind};
use crate::signed::not_a_payload;
use crate::verdict::{KeyFault, SignatureFault};

/// A simple-signing signature that verifies, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedSimple {
    /// The fingerprint of the primary key, in upper-case hexadecimal digits.
    pub key: String,
    /// What was signed. It has not been compared with any image.
    pub payload: Payload,
}

/// Why a signature does not verify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The keys cannot be used.
    #[error("public keys cannot be used")]
    Keys(#[source] KeyFault),
    /// The signature is not good.
    #[error("signature does not verify")]
    Signature(#[source] SignatureFault),
}

/// What a signature claims to say. Nothing of it has been verified; it may come from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnverifiedSimple {
    /// The key that the signature claims, as key ID or fingerprint; empty if it names none.
    pub key: String,
    /// What it says.
    pub payload: Payload,
}

/// Reads a signature without verifying it, to show why it might be refused. Decides nothing.
///
/// # Errors
/// It is not a signed message around a payload.
pub fn dangerous_read_simple_unverified(
    message: &[u8],
) -> Result<UnverifiedSimple, SignatureFault> {
    let (content, key) = openpgp::dangerous_unverified(message)?;
    let payload = Payload::parse(&content, PayloadKind::Simple);
    Ok(UnverifiedSimple { key, payload: payload.map_err(|error| not_a_payload(&error))? })
}

/// Verifies a signed message with the keys that `public_keys` holds, as they are `now`.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify_simple(
    message: &[u8],
    public_keys: &[u8],
    now: SystemTime,
) -> Result<VerifiedSimple, VerifyError> {
    let ring = Keyring::read(&[public_keys.to_vec()]).map_err(VerifyError::Keys)?;
    let verified = openpgp::verify(message, &ring, now).map_err(VerifyError::Signature)?;
    let payload = Payload::parse(&verified.content, PayloadKind::Simple)
        .map_err(|error| VerifyError::Signature(not_a_payload(&error)))?;
    Ok(VerifiedSimple { key: verified.key, payload })
}
