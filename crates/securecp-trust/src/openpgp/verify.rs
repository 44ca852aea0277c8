use std::io::Read;
use std::time::{Duration, SystemTime};

use sequoia_openpgp::anyhow;
use sequoia_openpgp::cert::amalgamation::ValidAmalgamation;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::{
    GoodChecksum, MessageLayer, MessageStructure, VerificationError, VerificationHelper,
    VerificationResult, VerifierBuilder,
};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::RevocationStatus;
use sequoia_openpgp::{Cert, Error, KeyHandle, packet};

use super::shape::{self, malformed};
use super::{Keyring, algorithms_at};
use crate::payload::PAYLOAD_LIMIT;
use crate::verdict::SignatureFault;

/// How far another machine's clock may be ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30 * 60);

/// The content of a signed message, verified, and who signed it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) content: Vec<u8>,
    /// The fingerprint of the primary key, in upper-case hexadecimal digits.
    pub(crate) key: String,
}

/// Verifies a signed message against the keys of `ring` as they are `now`.
///
/// A key that has expired or was revoked since it signed is refused, for whatever reason it was revoked: GnuPG does so.
pub(crate) fn verify(
    message: &[u8],
    ring: &Keyring,
    now: SystemTime,
) -> Result<Verified, SignatureFault> {
    shape::check(message)?;
    match verify_at(message, ring, [now, now]) {
        Err(SignatureFault::NotYetValid) => {
            let tolerated = now.checked_add(CLOCK_TOLERANCE).unwrap_or(now);
            verify_at(message, ring, [now, tolerated])
        }
        found => found,
    }
}

/// The content of a signed message and the key that it claims, both unverified: for people who look at a signature that
/// is refused.
pub(crate) fn dangerous_unverified(message: &[u8]) -> Result<(Vec<u8>, String), SignatureFault> {
    let shape = shape::check(message)?;
    let key = shape.issuers.iter().max_by_key(|issuer| matches!(issuer, KeyHandle::KeyID(_)));
    Ok((shape.content, key.map_or_else(String::new, KeyHandle::to_hex)))
}

fn verify_at(
    message: &[u8],
    ring: &Keyring,
    [now, signed_before]: [SystemTime; 2],
) -> Result<Verified, SignatureFault> {
    let policy = algorithms_at(now);
    let mut outcome = None;
    let helper = Helper { ring, policy: &policy, now, outcome: &mut outcome };
    // The buffer holds the whole content, so that nothing of it is seen before the signature has been checked.
    let content = VerifierBuilder::from_bytes(message)
        .and_then(|b| b.buffer_size(2 * PAYLOAD_LIMIT).with_policy(&policy, signed_before, helper))
        .and_then(|verifier| read_verified(verifier));
    match (outcome, content) {
        (Some(Err(fault)), _) => Err(fault),
        (Some(Ok(key)), Ok(content)) => Ok(Verified { content, key }),
        (_, Err(error)) => Err(malformed(&error.to_string())),
        (None, Ok(_)) => Err(SignatureFault::Unsigned),
    }
}

fn read_verified<H: VerificationHelper>(
    mut verifier: sequoia_openpgp::parse::stream::Verifier<'_, H>,
) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    (&mut verifier).take(PAYLOAD_LIMIT as u64 + 1).read_to_end(&mut content)?;
    if content.len() > PAYLOAD_LIMIT || !verifier.message_processed() {
        return Err(Error::MalformedMessage("not read to its end".into()).into());
    }
    Ok(content)
}

struct Helper<'a> {
    ring: &'a Keyring,
    policy: &'a StandardPolicy<'a>,
    now: SystemTime,
    outcome: &'a mut Option<Result<String, SignatureFault>>,
}

impl VerificationHelper for Helper<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> anyhow::Result<Vec<Cert>> {
        Ok(self.ring.with_keys(ids))
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> anyhow::Result<()> {
        let found = self.judge(structure);
        let failed = found.is_err();
        *self.outcome = Some(found);
        // The error keeps the content back; its text is not used.
        if failed { Err(Error::InvalidOperation("refused".into()).into()) } else { Ok(()) }
    }
}

impl Helper<'_> {
    fn judge(&self, structure: MessageStructure<'_>) -> Result<String, SignatureFault> {
        let mut results = Vec::new();
        for layer in structure {
            match layer {
                MessageLayer::Compression { .. } => {}
                MessageLayer::Encryption { .. } => return Err(SignatureFault::Encrypted),
                MessageLayer::SignatureGroup { results: more } => results.extend(more),
            }
        }
        let found = results.len();
        let only = results.pop().filter(|_| found == 1);
        only.ok_or(SignatureFault::SignatureCount { found }).and_then(|one| self.judge_one(one))
    }

    fn judge_one(&self, result: VerificationResult<'_>) -> Result<String, SignatureFault> {
        match result {
            Ok(good) => self.judge_key_now(&good),
            Err(error) => Err(fault_of(&error)),
        }
    }

    /// The verifier looked at the key as it was when it signed; this looks at it as it is.
    fn judge_key_now(&self, good: &GoodChecksum<'_>) -> Result<String, SignatureFault> {
        let cert = good.ka.cert();
        let key = cert.fingerprint().to_hex();
        let unusable = |error: anyhow::Error| match error.downcast_ref() {
            Some(Error::Expired(_)) => SignatureFault::KeyExpired { key: key.clone() },
            _ => SignatureFault::KeyUnusable { key: key.clone(), failure: error.to_string() },
        };
        let valid = cert.with_policy(self.policy, self.now).map_err(unusable)?;
        valid.alive().map_err(unusable)?;
        if !matches!(valid.revocation_status(), RevocationStatus::NotAsFarAsWeKnow) {
            return Err(SignatureFault::KeyRevoked { key });
        }
        let handle = good.ka.key().key_handle();
        let signing = valid.keys().find(|k| k.key().key_handle() == handle);
        let signing = signing.ok_or_else(|| SignatureFault::KeyUnusable {
            key: key.clone(),
            failure: "the signing key no longer belongs to it".to_owned(),
        })?;
        signing.alive().map_err(unusable)?;
        if !matches!(signing.revocation_status(), RevocationStatus::NotAsFarAsWeKnow) {
            return Err(SignatureFault::KeyRevoked { key });
        }
        if !signing.for_signing() {
            let failure = "the key is not meant for signing".to_owned();
            return Err(SignatureFault::KeyUnusable { key, failure });
        }
        Ok(key)
    }
}

fn fault_of(error: &VerificationError<'_>) -> SignatureFault {
    match error {
        VerificationError::MissingKey { sig } => SignatureFault::UnknownKey { key: issuer(sig) },
        VerificationError::BadSignature { error, .. } => of_signature(error),
        VerificationError::BadKey { error, ka, .. } => of_key(error, ka.cert()),
        VerificationError::UnboundKey { error, cert, .. } => of_key(error, cert),
        VerificationError::MalformedSignature { error, .. } => malformed(&error.to_string()),
        _ => malformed("unknown kind of signature"),
    }
}

fn issuer(signature: &packet::Signature) -> String {
    signature.get_issuers().first().map_or_else(|| "unknown".to_owned(), KeyHandle::to_hex)
}

fn of_signature(error: &anyhow::Error) -> SignatureFault {
    match cause(error) {
        Some(Error::Expired(_)) => SignatureFault::SignatureExpired,
        Some(Error::NotYetLive(_)) => SignatureFault::NotYetValid,
        Some(Error::PolicyViolation(what, _)) => SignatureFault::Weak { what: what.clone() },
        _ => SignatureFault::Broken,
    }
}

fn of_key(error: &anyhow::Error, cert: &Cert) -> SignatureFault {
    let key = cert.fingerprint().to_hex();
    match cause(error) {
        Some(Error::Expired(_)) => SignatureFault::KeyExpired { key },
        Some(Error::InvalidKey(text)) if text.contains("revoked") => {
            SignatureFault::KeyRevoked { key }
        }
        Some(Error::NotYetLive(_) | Error::NoBindingSignature(_)) => SignatureFault::KeyUnusable {
            key,
            failure: "the signature is older than the key".to_owned(),
        },
        _ => SignatureFault::KeyUnusable { key, failure: error.to_string() },
    }
}

/// The first error of the library's own kind in the chain of causes.
fn cause(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}
