use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use openssl::error::ErrorStack;
use securecp_oci::Signature;
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::cert::amalgamation::key::PrimaryKey;
use sequoia_openpgp::crypto::{KeyPair, Password, S2K, Signer};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{SecretKeyMaterial, SecretParts, UnspecifiedRole};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::stream::{self, LiteralWriter, Message};
use sequoia_openpgp::types::{HashAlgorithm, PublicKeyAlgorithm, RevocationStatus};
use sequoia_openpgp::{Cert, anyhow};

use super::rsa::RsaSigner;
use super::{Keyring, algorithms_at, verify};
use crate::payload::{Payload, PayloadKind};
use crate::verdict::SignatureFault;

/// Largest memory that unlocking a key may take: 2 to this power in KiB, one GiB.
const ARGON2_MEMORY_LIMIT: u8 = 20;

/// Signs simple-signing payloads with a key from a file (`--sign-by-key-file`).
///
/// The primary key signs if it may: versions of the reference up to 1.9.3 know no signing subkeys. Otherwise the newest
/// usable signing subkey does.
pub struct SimpleSigner {
    fingerprint: String,
    ring: Keyring,
    secret: Secret,
}

enum Secret {
    Rsa(Box<RsaSigner>),
    Pair(Box<KeyPair>),
}

impl Secret {
    fn signer(&self) -> Box<dyn Signer + Send + Sync> {
        match self {
            Self::Rsa(signer) => signer.clone(),
            Self::Pair(pair) => pair.clone(),
        }
    }
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The bytes hold no OpenPGP key.
    #[error("no OpenPGP key found")]
    NoKey,
    /// The bytes hold several keys and it is not said which one is meant.
    #[error("{found} OpenPGP keys found, expected one")]
    SeveralKeys {
        /// Keys found.
        found: usize,
    },
    /// No part of the key can sign now: no secret, not meant for signing, expired or revoked.
    #[error("key {key} has no secret part that can sign now")]
    NoSigningKey {
        /// The fingerprint of the primary key.
        key: String,
    },
    /// The key is protected and no passphrase was given.
    #[error("key {key} is protected, a passphrase is needed")]
    PassphraseNeeded {
        /// The fingerprint of the primary key.
        key: String,
    },
    /// The passphrase does not unlock the key.
    #[error("the passphrase does not unlock key {key}")]
    WrongPassphrase {
        /// The fingerprint of the primary key.
        key: String,
    },
    /// The key uses an algorithm or a protection that is not supported.
    #[error("key {key} uses {what}, which is not supported")]
    Unsupported {
        /// The fingerprint of the primary key.
        key: String,
        /// The algorithm.
        what: String,
    },
    /// The key material is not consistent.
    #[error("key {key} is damaged")]
    Damaged {
        /// The fingerprint of the primary key.
        key: String,
        /// Why.
        source: ErrorStack,
    },
    /// Signing failed.
    #[error("signing failed: {0}")]
    Failed(String),
    /// The new signature is not one that would be accepted.
    #[error("the new signature does not verify")]
    NotVerified(#[source] SignatureFault),
    /// The new signature verifies, but not what was to be signed or not with the key that was meant.
    #[error("the new signature was made for something else or with another key")]
    SomethingElse,
}

impl SimpleSigner {
    /// Unlocks an exported secret key, binary or armoured.
    ///
    /// # Errors
    /// The bytes are not exactly one key, or it cannot sign `now`; see [`SignError`].
    pub fn from_key(
        bytes: &[u8],
        passphrase: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Self, SignError> {
        let cert = only_cert(bytes)?;
        let fingerprint = cert.fingerprint().to_hex();
        let key = signing_key(&cert, now)
            .ok_or_else(|| SignError::NoSigningKey { key: fingerprint.clone() })?;
        let secret = unlocked(key, passphrase, &fingerprint)?;
        let ring = Keyring::of(cert);
        Ok(Self { fingerprint, ring, secret })
    }

    /// The fingerprint of the primary key, in upper-case hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Signs a payload; the result has been verified by the code that judges signatures.
    ///
    /// # Errors
    /// Signing fails, or the result is not accepted.
    pub fn sign(&self, payload: &Payload, now: SystemTime) -> Result<Signature, SignError> {
        let content = payload.to_bytes(PayloadKind::Simple);
        let message = message(&content, self.secret.signer(), now)
            .map_err(|e| SignError::Failed(e.to_string()))?;
        confirm(&message, &self.ring, &content, now).and_then(|key| {
            if key == self.fingerprint { Ok(()) } else { Err(SignError::SomethingElse) }
        })?;
        Ok(Signature::Simple(Bytes::from(message)))
    }
}

impl fmt::Debug for SimpleSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimpleSigner")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Checks a signature that another program has just made: it must verify with `public_keys` and hold exactly `payload`.
///
/// Returns the fingerprint of the primary key.
///
/// # Errors
/// It does not verify, or holds something else.
pub fn confirm_simple(
    message: &[u8],
    public_keys: &[u8],
    payload: &Payload,
    now: SystemTime,
) -> Result<String, SignError> {
    let ring = Keyring::read(&[public_keys.to_vec()]).map_err(|_| SignError::NoKey)?;
    confirm(message, &ring, &payload.to_bytes(PayloadKind::Simple), now)
}

fn confirm(
    message: &[u8],
    ring: &Keyring,
    content: &[u8],
    now: SystemTime,
) -> Result<String, SignError> {
    let verified = verify(message, ring, now).map_err(SignError::NotVerified)?;
    if verified.content != content { Err(SignError::SomethingElse) } else { Ok(verified.key) }
}

fn only_cert(bytes: &[u8]) -> Result<Cert, SignError> {
    let parser = CertParser::from_bytes(bytes).map_err(|_| SignError::NoKey)?;
    let mut certs: Vec<Cert> = parser.filter_map(Result::ok).collect();
    match certs.len() {
        0 => Err(SignError::NoKey),
        1 => certs.pop().ok_or(SignError::NoKey),
        found => Err(SignError::SeveralKeys { found }),
    }
}

/// The primary key if it may sign, else the newest subkey that may.
fn signing_key(cert: &Cert, now: SystemTime) -> Option<Key<SecretParts, UnspecifiedRole>> {
    let policy = algorithms_at(now);
    let valid = cert.with_policy(&policy, now).ok()?;
    let revoked = |status: RevocationStatus<'_>| status != RevocationStatus::NotAsFarAsWeKnow;
    if valid.alive().is_err() || revoked(valid.revocation_status()) {
        return None;
    }
    let usable = valid.keys().for_signing().alive().supported().secret();
    let usable = usable.filter(|key| !revoked(key.revocation_status()));
    let best = usable.max_by_key(|key| (key.primary(), key.key().creation_time()));
    // It must not forget whether it is a primary key, which authenticated encryption covers.
    best.map(|key| key.key().clone())
}

fn unlocked(
    key: Key<SecretParts, UnspecifiedRole>,
    passphrase: Option<&[u8]>,
    fingerprint: &str,
) -> Result<Secret, SignError> {
    let named = || fingerprint.to_owned();
    let key = match key.secret() {
        SecretKeyMaterial::Unencrypted(_) => key,
        SecretKeyMaterial::Encrypted(locked) => {
            if let S2K::Argon2 { m: ARGON2_MEMORY_LIMIT.., .. } = locked.s2k() {
                let what = "more memory than allowed for its passphrase".to_owned();
                return Err(SignError::Unsupported { key: named(), what });
            }
            let passphrase =
                passphrase.ok_or_else(|| SignError::PassphraseNeeded { key: named() })?;
            key.decrypt_secret(&Password::from(passphrase))
                .map_err(|_| SignError::WrongPassphrase { key: named() })?
        }
    };
    let unsupported = |what: String| SignError::Unsupported { key: named(), what };
    match key.pk_algo() {
        PublicKeyAlgorithm::RSAEncryptSign => rsa_signer(&key, fingerprint),
        PublicKeyAlgorithm::EdDSA | PublicKeyAlgorithm::ECDSA | PublicKeyAlgorithm::Ed25519 => {
            let pair: Result<KeyPair, _> = key.into_keypair();
            pair.map(|pair| Secret::Pair(Box::new(pair)))
                .map_err(|error| unsupported(error.to_string()))
        }
        other => Err(unsupported(other.to_string())),
    }
}

fn rsa_signer(
    key: &Key<SecretParts, UnspecifiedRole>,
    fingerprint: &str,
) -> Result<Secret, SignError> {
    let unsupported =
        || SignError::Unsupported { key: fingerprint.to_owned(), what: "no plain RSA".to_owned() };
    let SecretKeyMaterial::Unencrypted(secret) = key.secret() else { return Err(unsupported()) };
    let public = key.clone().parts_into_public();
    let signer = secret.map(|secret| RsaSigner::new(public, secret)).ok_or_else(unsupported)?;
    signer
        .map(|signer| Secret::Rsa(Box::new(signer)))
        .map_err(|source| SignError::Damaged { key: fingerprint.to_owned(), source })
}

/// A signed message in binary form: one-pass signature, literal, signature (RFC 9580 section 10.3).
fn message(
    content: &[u8],
    signer: Box<dyn Signer + Send + Sync>,
    now: SystemTime,
) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let message = stream::Signer::new(Message::new(&mut bytes), signer)?
        .hash_algo(HashAlgorithm::SHA512)?
        .creation_time(now)
        .build()?;
    let mut literal = LiteralWriter::new(message).build()?;
    literal.write_all(content)?;
    literal.finalize()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const KEY: &[u8] = include_bytes!("../../../../testdata/crypt/keys/pgp-alice.sec.asc");

    /// RUSTSEC-2023-0071: how long the backend's RSA takes tells of the key.
    #[test]
    fn rustsec_2023_0071_private_rsa_keys_are_openssl_s() {
        let then = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signer = SimpleSigner::from_key(KEY, None, then).unwrap();
        assert!(matches!(signer.secret, Secret::Rsa(_)));
    }
}
