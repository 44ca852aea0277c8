//! Sigstore bundles, version 0.3: signature, certificate or key hint, and log entries in one document.
//!
//! What the bundle promises is verified by sigstore-verify, offline; what is asked of it here besides: that it is
//! bounded and unambiguous, that every log entry has a proof, that all certificates of the path were valid, and that an
//! attestation about something else does not pass for a signature.

use rustls_pki_types::CertificateDer;
use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest, Escaped, SIGNATURE_LIMIT, base64};
use serde::Serialize;
use serde_json::{Value, json};
use sigstore_verify::bundle::Error as ShapeError;
use sigstore_verify::crypto::Error as CryptoError;
use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{
    Bundle, DerPublicKey, MediaType, SignatureContent, TransparencyLogEntry,
};
use sigstore_verify::{
    CertificateError, Error, PublicKeyVerificationPolicy, TimestampError, TransparencyLogError,
    VerificationPolicy,
};

use super::annotation;
use super::certificate::{self, CertificateFault, Signer};
use super::draft::PAYLOAD_TYPE;
use super::evidence::Evidence;
use super::fault::SigstoreFault;
use super::log_entry::{LogEntryFault, Set};
use super::public_key::PublicKey;
use super::trust_file::TrustFault;
use super::trusted_root::{TrustedRoot, at_seconds};

/// The media type of the bundles that are read here; also the artifact type of the manifests that carry them.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Most entries of any list in a bundle. A proof in a log of 2^63 entries has 63 hashes.
const LIST_LIMIT: usize = 64;
/// Most log entries and most timestamps of one bundle; each costs several signature checks.
const EVIDENCE_LIMIT: usize = 8;

pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The statements that cosign 2 attests.
const OLD_STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v0.1";
/// What cosign calls a statement that is only a signature.
pub(super) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Why a bundle does not vouch for a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum BundleFault {
    /// Not a bundle, or one of another version, or with parts that are not known.
    #[error("bundle format not understood: {failure}")]
    Format {
        /// Why.
        failure: String,
    },
    /// A list is longer than any bundle needs.
    #[error("bundle has a list with {found} entries, the limit is {limit}")]
    TooLong {
        /// Entries found.
        found: usize,
        /// Entries allowed.
        limit: usize,
    },
    /// The signature does not verify.
    #[error("signature of the bundle does not verify: {failure}")]
    Broken {
        /// Why.
        failure: String,
    },
    /// The bundle is about something else.
    #[error("bundle is about another artifact: {failure}")]
    OtherArtifact {
        /// Why.
        failure: String,
    },
    /// The bundle is an attestation, not a signature.
    #[error("bundle is an attestation of type \"{found}\", not a signature")]
    OtherPredicate {
        /// The type found.
        found: String,
    },
    /// The bundle is signed with a key where a certificate is asked for, or the other way round.
    #[error("bundle is signed with a {found}, expected a {expected}")]
    OtherMaterial {
        /// What signed it.
        found: &'static str,
        /// What should have.
        expected: &'static str,
    },
    /// A key, certificate or algorithm is of a kind that is not supported.
    #[error("bundle cannot be verified: {failure}")]
    Unsupported {
        /// Why.
        failure: String,
    },
    /// The certificate cannot be read.
    #[error("certificate of the bundle is malformed: {failure}")]
    CertificateFormat {
        /// Why.
        failure: String,
    },
    /// The certificate does not lead to a trusted root.
    #[error("certificate of the bundle is not trusted: {failure}")]
    UntrustedCertificate {
        /// Why.
        failure: String,
    },
    /// The certificate was not valid when the signature was made.
    #[error("certificate of the bundle was not valid: {failure}")]
    CertificateTime {
        /// Why.
        failure: String,
    },
    /// The certificate is not in a trusted log of certificates.
    #[error("certificate of the bundle is not logged: {failure}")]
    CertificateNotLogged {
        /// Why.
        failure: String,
    },
    /// There is no log entry, or one without proof.
    #[error("bundle has no log entry with a proof: {failure}")]
    NoLogEntry {
        /// Why.
        failure: String,
    },
    /// The log is not trusted.
    #[error("log of the bundle's entry is not trusted: {failure}")]
    UntrustedLog {
        /// Why.
        failure: String,
    },
    /// The log entry's proof, checkpoint or promise does not verify.
    #[error("log entry of the bundle is not proven: {failure}")]
    LogEntryNotProven {
        /// Why.
        failure: String,
    },
    /// The log entry is about another signature.
    #[error("log entry is not about this bundle: {failure}")]
    LogEntryNotBound {
        /// Why.
        failure: String,
    },
    /// A timestamp does not verify, or there is none where one is needed.
    #[error("bundle has no trusted time: {failure}")]
    NoTrustedTime {
        /// Why.
        failure: String,
    },
    /// The path of the certificate breaks a rule that only securecp checks.
    #[error(transparent)]
    #[serde(untagged)]
    Certificate(#[from] CertificateFault),
}

/// A bundle that has been read, and not yet verified.
pub(crate) struct Candidate {
    bundle: Bundle,
    /// What was signed instead of the manifest, in attachments.
    payload: Option<Vec<u8>>,
    /// The certificates that came along, in attachments.
    links: Vec<CertificateDer<'static>>,
    /// Whether logs promise instead of proving, in attachments.
    promised: bool,
    /// What it must be to count.
    wanted: Wanted,
}

/// What the content of a bundle must be. Nothing is ever both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A signature, or a statement that says no more than "signed".
    Signature,
    /// A statement of this predicate type.
    Statement(&'static str),
    /// A signature, or a statement of whatever type: evidence that is carried, and decides nothing.
    Anything,
}

impl Candidate {
    /// Reads a bundle, bounded and without double members.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BundleFault> {
        Self::read_as(Wanted::Signature, bytes)
    }

    /// The same of a bundle that is to be something else.
    pub(crate) fn read_as(wanted: Wanted, bytes: &[u8]) -> Result<Self, BundleFault> {
        let value = json::parse(bytes, Limits::bytes(SIGNATURE_LIMIT)).map_err(format)?;
        check_lists(&value)?;
        let bundle: Bundle = serde_json::from_value(value).map_err(format)?;
        if bundle.media_type() != MediaType::Bundle0_3 {
            return Err(format(format!("{}, expected version 0.3", bundle.media_type())));
        }
        let material = &bundle.verification_material;
        let times = material.timestamp_verification_data.rfc3161_timestamps.len();
        let found = material.tlog_entries.len().max(times);
        if found > EVIDENCE_LIMIT {
            return Err(BundleFault::TooLong { found, limit: EVIDENCE_LIMIT });
        }
        Ok(Self { bundle, payload: None, links: Vec::new(), promised: false, wanted })
    }

    /// Whether it says that the manifest is signed, and nothing else. Only what was verified says anything.
    pub(crate) fn is_signature(&self) -> bool {
        self.require(Wanted::Signature).is_ok()
    }

    /// Takes an attachment for what it is: a bundle of the first version in other clothes, with a promise of the log and
    /// without a proof.
    pub(crate) fn of_attachment(evidence: &Evidence<'_>) -> Result<Self, SigstoreFault> {
        let digest = ring::digest::digest(&ring::digest::SHA256, evidence.payload);
        let signature = json!({
            "messageDigest": {"algorithm": "SHA2_256", "digest": base64::encode(digest.as_ref())},
            "signature": base64::encode(&evidence.signature),
        });
        let found = Self::attached(evidence, ("messageSignature", signature), Wanted::Signature)?;
        Ok(Self { payload: Some(evidence.payload.to_vec()), ..found })
    }

    /// Takes an attested statement for what it is, in the same way: the layer is the envelope, and signs itself.
    pub(crate) fn of_attestation(evidence: &Evidence<'_>) -> Result<Self, TrustFault> {
        let limits = Limits::bytes(SIGNATURE_LIMIT);
        let envelope = json::parse(evidence.payload, limits).map_err(format)?;
        check_lists(&envelope)?;
        Ok(Self::attached(evidence, ("dsseEnvelope", envelope), Wanted::Anything)?)
    }

    /// The content of a layer with what its annotations say of it.
    fn attached(
        evidence: &Evidence<'_>,
        (member, content): (&str, Value),
        wanted: Wanted,
    ) -> Result<Self, SigstoreFault> {
        let material = match evidence.annotation(annotation::CERTIFICATE) {
            Ok(pem) => {
                let der = certificate::only(pem.as_bytes())?;
                json!({"x509CertificateChain": {"certificates": [{"rawBytes": base64::encode(&der)}]}})
            }
            Err(_) => json!({"publicKey": {"hint": ""}}),
        };
        let entry = evidence.annotation(annotation::BUNDLE).ok();
        let entry = entry.map(Set::parse).transpose()?.map(|set| log_entry(&set)).transpose()?;
        let media_type = MediaType::Bundle0_1.as_str();
        let mut bundle = json!({"mediaType": media_type, "verificationMaterial": material});
        bundle[member] = content;
        bundle["verificationMaterial"]["tlogEntries"] = entry.into_iter().collect();
        let bundle = serde_json::from_value(bundle)
            .map_err(|error| LogEntryFault::malformed("annotation", &error))?;
        Ok(Self { bundle, payload: None, links: evidence.links()?, promised: true, wanted })
    }

    /// Whether a certificate names the signer; otherwise a key must be known.
    pub(crate) fn has_certificate(&self) -> bool {
        self.bundle.signing_certificate().is_some()
    }

    /// Verifies a bundle with a certificate over the bytes of a manifest.
    pub(super) fn verify_certificate(
        &self,
        manifest: &[u8],
        root: &TrustedRoot,
        without_certificate_log: bool,
    ) -> Result<Signer, BundleFault> {
        let Some(certificate) = self.bundle.signing_certificate() else {
            return Err(BundleFault::OtherMaterial { found: "key", expected: "certificate" });
        };
        self.require_log(root)?;
        if !without_certificate_log && !root.has_certificate_logs() {
            let failure = "the trusted root has no log of certificates".to_owned();
            return Err(BundleFault::CertificateNotLogged { failure });
        }
        let signed = self.payload.as_deref().unwrap_or(manifest);
        let policy = VerificationPolicy::any_identity();
        let policy = if without_certificate_log { policy.skip_sct() } else { policy };
        let verified = root.verifier().verify(signed, &self.bundle, &policy);
        let verified = verified.map_err(|error| self.fault(error, root))?;
        self.require_content()?;
        let certificate = CertificateDer::from(certificate.as_bytes().to_vec());
        let mut signer = None;
        for time in verified.verified_timestamps() {
            let at = at_seconds(time.as_second()).ok_or_else(no_time)?;
            signer = Some(root.signer(&certificate, &self.links, at)?);
        }
        signer.ok_or_else(no_time)
    }

    /// Verifies a bundle without certificate over the bytes of a manifest with a trusted key.
    pub(crate) fn verify_key(
        &self,
        manifest: &[u8],
        root: &TrustedRoot,
        key: &PublicKey,
        without_log: bool,
    ) -> Result<(), BundleFault> {
        let material = &self.bundle.verification_material.content;
        if !matches!(material, VerificationMaterialContent::PublicKey(_)) {
            return Err(BundleFault::OtherMaterial { found: "certificate", expected: "key" });
        }
        let manifest = self.payload.as_deref().unwrap_or(manifest);
        if without_log && self.is_bare() {
            return self.verify_bare(manifest, key);
        }
        let public = DerPublicKey::new(key.spki().to_vec());
        let policy = PublicKeyVerificationPolicy::new(public);
        let policy = if without_log {
            policy.skip_tlog_unsafe()
        } else {
            self.require_log(root)?;
            policy
        };
        let verified = root.verifier().verify(manifest, &self.bundle, &policy);
        verified.map_err(|error| self.fault(error, root))?;
        self.require_content()
    }

    /// Whether there is nothing but a signature, which the library does not take.
    fn is_bare(&self) -> bool {
        let material = &self.bundle.verification_material;
        material.tlog_entries.is_empty()
            && material.timestamp_verification_data.rfc3161_timestamps.is_empty()
    }

    fn verify_bare(&self, signed: &[u8], key: &PublicKey) -> Result<(), BundleFault> {
        let broken = || BundleFault::Broken { failure: key.refusal().to_owned() };
        match &self.bundle.content {
            SignatureContent::MessageSignature(message) => {
                let verified = verifies_bare(key, signed, message.signature.as_bytes());
                verified.then_some(()).ok_or_else(broken)
            }
            SignatureContent::DsseEnvelope(envelope) => {
                if !verifies_bare(key, &envelope.pae(), envelope.signature.sig.as_bytes()) {
                    return Err(broken());
                }
                self.require_content()?;
                names(envelope.payload.as_bytes(), signed)
            }
            _ => Err(format("unknown content")),
        }
    }

    /// The library proves entries that have a proof, by whatever trusted log; here each must have one, and must name a
    /// trusted log. Attachments have promises instead.
    fn require_log(&self, root: &TrustedRoot) -> Result<(), BundleFault> {
        let entries = &self.bundle.verification_material.tlog_entries;
        let missing = |failure: &str| Err(BundleFault::NoLogEntry { failure: failure.to_owned() });
        if entries.is_empty() {
            return missing("there is no entry");
        }
        let strange = entries.iter().find(|e| !root.knows_log(e.log_id.key_id.as_bytes()));
        if let Some(entry) = strange {
            let failure = format!("no log with the identifier {}", entry.log_id.key_id);
            return Err(BundleFault::UntrustedLog { failure: shown(&failure) });
        }
        let proven = |entry: &TransparencyLogEntry| match self.promised {
            true => entry.inclusion_promise.is_some(),
            false => entry.inclusion_proof.is_some(),
        };
        if entries.iter().all(proven) { Ok(()) } else { missing("an entry has no inclusion proof") }
    }

    /// What failed. The library does not always tell a log that nobody trusts from one that lies.
    fn fault(&self, error: Error, root: &TrustedRoot) -> BundleFault {
        let entries = &self.bundle.verification_material.tlog_entries;
        let known = entries.iter().all(|entry| root.knows_log(entry.log_id.key_id.as_bytes()));
        match fault(error) {
            BundleFault::LogEntryNotProven { failure } if !known => {
                BundleFault::UntrustedLog { failure }
            }
            BundleFault::UntrustedCertificate { failure } if self.was_expired(root) => {
                BundleFault::CertificateTime { failure }
            }
            other => other,
        }
    }

    /// Whether nothing but time is wrong with the certificate. The time is the one that the log entry claims; it only
    /// decides how a refusal is called.
    fn was_expired(&self, root: &TrustedRoot) -> bool {
        let entries = &self.bundle.verification_material.tlog_entries;
        let claimed = entries.iter().find_map(|entry| entry.integrated_time);
        let at = claimed.and_then(|time| at_seconds(time.as_second()));
        let certificate = self.bundle.signing_certificate().zip(at);
        certificate.is_some_and(|(certificate, at)| {
            let der = CertificateDer::from(certificate.as_bytes().to_vec());
            let found = root.signer(&der, &self.links, at);
            matches!(found, Err(CertificateFault::Expired { .. }))
        })
    }

    /// A statement that is wanted as a signature must say no more than "signed" (CVE-2022-35929), and a signature over the
    /// bare bytes is no statement.
    fn require_content(&self) -> Result<(), BundleFault> {
        self.require(self.wanted)
    }

    fn require(&self, wanted: Wanted) -> Result<(), BundleFault> {
        let wanted = match (wanted, &self.bundle.content) {
            (Wanted::Signature, SignatureContent::DsseEnvelope(_)) => Some(SIGN_PREDICATE),
            (Wanted::Statement(predicate), SignatureContent::DsseEnvelope(_)) => Some(predicate),
            (Wanted::Anything, SignatureContent::DsseEnvelope(_)) => None,
            (Wanted::Signature | Wanted::Anything, _) => return Ok(()),
            (Wanted::Statement(_), _) => return Err(format("no statement")),
        };
        let statement = self.statement()?;
        let text = |key| statement.get(key).and_then(Value::as_str).unwrap_or_default();
        let old = wanted.is_none() && text("_type") == OLD_STATEMENT_TYPE;
        if text("_type") != STATEMENT_TYPE && !old {
            return Err(format(format!("statement of type {:?}", shown(text("_type")))));
        }
        let found = text("predicateType");
        let other = || BundleFault::OtherPredicate { found: shown(found) };
        wanted.is_none_or(|wanted| found == wanted).then_some(()).ok_or_else(other)
    }

    /// Whether the envelope holds exactly these bytes, whoever signed them.
    pub(super) fn holds(&self, payload: &[u8]) -> bool {
        match &self.bundle.content {
            SignatureContent::DsseEnvelope(envelope) => envelope.payload.as_bytes() == payload,
            _ => false,
        }
    }

    /// What the envelope holds, whoever signed it. The type is signed so that nothing else is taken for a statement (DSSE
    /// protocol).
    pub(super) fn statement(&self) -> Result<Value, BundleFault> {
        let SignatureContent::DsseEnvelope(envelope) = &self.bundle.content else {
            return Err(format("no statement"));
        };
        if envelope.payload_type != PAYLOAD_TYPE {
            let found = shown(&envelope.payload_type);
            return Err(format(format!("payload of type {found:?}, expected {PAYLOAD_TYPE}")));
        }
        json::parse(envelope.payload.as_bytes(), Limits::bytes(SIGNATURE_LIMIT)).map_err(format)
    }
}

/// By the hash of the key's size, or by SHA-256 whatever the curve, which cosign 2 and the reference sign with.
fn verifies_bare(key: &PublicKey, signed: &[u8], signature: &[u8]) -> bool {
    key.verifies_bundled(signed, signature) || key.verifies(signed, signature)
}

/// The log's promise as bundles write it.
fn log_entry(set: &Set) -> Result<Value, LogEntryFault> {
    let malformed = |failure: &dyn std::fmt::Display| LogEntryFault::malformed("payload", failure);
    let id = from_hex(&set.promise.log_id).ok_or_else(|| malformed(&"logID is not hexadecimal"))?;
    let body = base64::decode(&set.promise.body).map_err(|error| malformed(&error))?;
    let body = json::parse(&body, Limits::bytes(SIGNATURE_LIMIT)).map_err(|e| malformed(&e))?;
    let text = |key| body.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok(json!({
        "logIndex": set.promise.log_index.to_string(),
        "logId": {"keyId": base64::encode(&id)},
        "kindVersion": {"kind": text("kind"), "version": text("apiVersion")},
        "integratedTime": set.promise.integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": base64::encode(&set.signature)},
        "canonicalizedBody": set.promise.body,
    }))
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Checks that a statement is about a manifest.
fn names(statement: &[u8], manifest: &[u8]) -> Result<(), BundleFault> {
    let statement = json::parse(statement, Limits::bytes(SIGNATURE_LIMIT)).map_err(format)?;
    let digest = Digest::of(Algorithm::Sha256, manifest);
    let subjects = statement.get("subject").and_then(Value::as_array);
    let same = |subject: &Value| {
        let found = subject.pointer("/digest/sha256").and_then(Value::as_str);
        found == Some(digest.hex())
    };
    let failure = || "no subject of the statement has its digest".to_owned();
    let named = subjects.is_some_and(|subjects| subjects.iter().any(same));
    named.then_some(()).ok_or_else(|| BundleFault::OtherArtifact { failure: failure() })
}

/// Bounds every list of a document.
fn check_lists(value: &Value) -> Result<(), BundleFault> {
    match value {
        Value::Array(items) if items.len() > LIST_LIMIT => {
            Err(BundleFault::TooLong { found: items.len(), limit: LIST_LIMIT })
        }
        Value::Array(items) => items.iter().try_for_each(check_lists),
        Value::Object(members) => members.values().try_for_each(check_lists),
        _ => Ok(()),
    }
}

fn fault(error: Error) -> BundleFault {
    let failure = shown(&error.to_string());
    match error {
        Error::SignatureInvalid(_) | Error::Crypto(CryptoError::Verification(_)) => {
            BundleFault::Broken { failure }
        }
        Error::ArtifactMismatch(_) => BundleFault::OtherArtifact { failure },
        Error::Certificate(error) => certificate_fault(&error, failure),
        Error::TransparencyLog(error) => log_fault(&error, failure),
        Error::Timestamp(
            TimestampError::Invalid(_)
            | TimestampError::OutsideAuthorityValidity { .. }
            | TimestampError::NoVerifiedTimestamp(_),
        ) => BundleFault::NoTrustedTime { failure },
        Error::Bundle(
            ShapeError::MissingInclusionProof(_)
            | ShapeError::MissingSigningTimeEvidence
            | ShapeError::MissingCheckpoint,
        ) => BundleFault::NoLogEntry { failure },
        Error::Bundle(
            ShapeError::LogIndexOutOfRange { .. } | ShapeError::CheckpointRootMismatch,
        ) => BundleFault::LogEntryNotProven { failure },
        Error::InvalidBundle(_) | Error::Types(_) | Error::Bundle(_) => {
            BundleFault::Format { failure }
        }
        _ => BundleFault::Unsupported { failure },
    }
}

fn certificate_fault(error: &CertificateError, failure: String) -> BundleFault {
    match error {
        CertificateError::Malformed(_) => BundleFault::CertificateFormat { failure },
        CertificateError::NotYetValid { .. } | CertificateError::Expired { .. } => {
            BundleFault::CertificateTime { failure }
        }
        CertificateError::Sct(_) => BundleFault::CertificateNotLogged { failure },
        _ => BundleFault::UntrustedCertificate { failure },
    }
}

fn log_fault(error: &TransparencyLogError, failure: String) -> BundleFault {
    match error {
        TransparencyLogError::UnknownLog { .. } => BundleFault::UntrustedLog { failure },
        TransparencyLogError::EntryMismatch(_) => BundleFault::LogEntryNotBound { failure },
        TransparencyLogError::IntegratedTime(_) => BundleFault::CertificateTime { failure },
        _ => BundleFault::LogEntryNotProven { failure },
    }
}

fn no_time() -> BundleFault {
    BundleFault::NoTrustedTime { failure: "no authenticated time".to_owned() }
}

fn format(failure: impl std::fmt::Display) -> BundleFault {
    BundleFault::Format { failure: shown(&failure.to_string()) }
}

fn shown(text: &str) -> String {
    Escaped::new(text).limit(300).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_have_no_signs() {
        assert_eq!(from_hex("00fFa9"), Some(vec![0, 0xff, 0xa9]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for text in ["0", "+f", "-0", "0g", "é0", " 0", "0x"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
