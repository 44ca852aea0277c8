//! New bundles, in the form that cosign 3 writes: a statement that says of a manifest that it is signed and nothing else,
//! or how it came to be, in a signed envelope, with what witnesses it.
//!
//! A bundle can only be had from [`SignedDraft::finish`], which judges it as any other bundle is judged.

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest, RawManifest, SIGNATURE_LIMIT, base64};
use serde_json::{Value, json};

use super::bundle::{
    BUNDLE_MEDIA_TYPE, BundleFault, Candidate, SIGN_PREDICATE, STATEMENT_TYPE, Wanted,
};
use super::certificate::{self, CertificateFault};
use super::public_key::{Kind, PublicKey, PublicKeyFault};
use super::record::{ChangeRecord, RECORD, RECORD_PREDICATE, RecordError};
use super::trusted_root::{TrustedRoot, TrustedRootError};

/// What cosign calls a statement in an envelope.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A statement about a manifest, to be signed.
#[derive(Debug, Clone)]
pub struct BundleDraft {
    manifest: RawManifest,
    payload: Vec<u8>,
    kind: Wanted,
}

/// Who signs.
#[derive(Debug, Clone)]
pub struct BundleHolder {
    pem: String,
    known_by: KnownBy,
}

#[derive(Debug, Clone)]
enum KnownBy {
    Key(PublicKey),
    Certificate(CertificateDer<'static>, PublicKey),
}

/// A signed statement, to be witnessed.
#[derive(Debug, Clone)]
pub struct SignedDraft {
    draft: BundleDraft,
    signature: Vec<u8>,
    holder: BundleHolder,
}

/// The two kinds of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogVersion {
    /// It promises to include an entry, and says when.
    First,
    /// It has included the entry, and says no time.
    Second,
}

/// What a log answered, as bundles carry it.
#[derive(Debug, Clone)]
pub struct BundleLogEntry(Value);

/// What every new bundle is held to before it is stored.
pub struct BundleCheck {
    root: TrustedRoot,
    without_log: bool,
}

impl BundleHolder {
    /// Whoever has the private half of this key, PEM.
    ///
    /// # Errors
    /// It is not a key that bundles can be signed with.
    pub fn key(pem: &str) -> Result<Self, PublicKeyFault> {
        let key = PublicKey::from_pem(pem.as_bytes())?;
        Ok(Self { pem: key.to_pem(), known_by: KnownBy::Key(key) })
    }

    /// Whomever this certificate names, PEM.
    ///
    /// # Errors
    /// It is not one certificate, or its key is none that bundles can be signed with.
    pub fn certificate(pem: &str) -> Result<Self, CertificateFault> {
        let der = certificate::only(pem.as_bytes())?;
        let key = certificate::key_of(&der)?;
        Ok(Self { pem: pem.to_owned(), known_by: KnownBy::Certificate(der, key) })
    }

    /// Checks, before anything is signed, that a bundle by this holder with an entry of such a log can be verified.
    ///
    /// # Errors
    /// The log, or those who verify bundles, take no keys of this kind.
    pub fn check_log(&self, version: LogVersion) -> Result<(), BundleFault> {
        match (version, self.public_key().kind()) {
            (LogVersion::Second, _) => self.verifier().map(drop),
            (LogVersion::First, kind @ Kind::P521) => Err(BundleFault::Unsupported {
                failure: format!("log entries of {} keys are not understood", kind.name()),
            }),
            (LogVersion::First, _) => Ok(()),
        }
    }

    fn public_key(&self) -> &PublicKey {
        match &self.known_by {
            KnownBy::Key(key) | KnownBy::Certificate(_, key) => key,
        }
    }

    /// How the bundle says who signed it. cosign's hint is the digest of the key.
    fn material(&self) -> Value {
        match &self.known_by {
            KnownBy::Key(key) => {
                let digest = ring::digest::digest(&ring::digest::SHA256, key.spki());
                json!({"publicKey": {"hint": base64::encode(digest.as_ref())}})
            }
            KnownBy::Certificate(der, _) => {
                json!({"certificate": {"rawBytes": base64::encode(der)}})
            }
        }
    }

    /// How a log of the second version is told who signed.
    fn verifier(&self) -> Result<Value, BundleFault> {
        let key = self.public_key();
        let details = key_details(key).ok_or_else(|| BundleFault::Unsupported {
            failure: format!("a log of version 2 takes no {} keys", key.kind().name()),
        })?;
        Ok(match &self.known_by {
            KnownBy::Key(key) => {
                json!({"publicKey": {"rawBytes": base64::encode(key.spki())}, "keyDetails": details})
            }
            KnownBy::Certificate(der, _) => {
                json!({"x509Certificate": {"rawBytes": base64::encode(der)}, "keyDetails": details})
            }
        })
    }
}

/// The name of the only algorithm that a key is used with here, if logs have one.
fn key_details(key: &PublicKey) -> Option<&'static str> {
    match (key.kind(), key.rsa_bits()) {
        (Kind::P256, _) => Some("PKIX_ECDSA_P256_SHA_256"),
        (Kind::Rsa, Some(2048)) => Some("PKIX_RSA_PKCS1V15_2048_SHA256"),
        (Kind::Rsa, Some(3072)) => Some("PKIX_RSA_PKCS1V15_3072_SHA256"),
        (Kind::Rsa, Some(4096)) => Some("PKIX_RSA_PKCS1V15_4096_SHA256"),
        _ => None,
    }
}

impl BundleDraft {
    /// The statement that `manifest` is signed.
    pub fn new(manifest: &RawManifest) -> Self {
        Self::of(manifest, Wanted::Signature, (SIGN_PREDICATE, &json!({})))
    }

    /// The statement that `manifest` came to be as `record` says.
    ///
    /// # Errors
    /// The record is larger than readers take, or names no change.
    pub fn record(manifest: &RawManifest, record: &ChangeRecord) -> Result<Self, RecordError> {
        Ok(Self::of(manifest, RECORD, (RECORD_PREDICATE, &record.to_predicate()?)))
    }

    /// A statement of another type about `manifest`: an attestation.
    pub fn attestation(
        manifest: &RawManifest,
        predicate_type: &'static str,
        predicate: &Value,
    ) -> Self {
        Self::of(manifest, Wanted::Statement(predicate_type), (predicate_type, predicate))
    }

    fn of(
        manifest: &RawManifest,
        kind: Wanted,
        (predicate_type, predicate): (&str, &Value),
    ) -> Self {
        let digest = Digest::of(Algorithm::Sha256, manifest.bytes());
        let statement = json!({
            "_type": STATEMENT_TYPE,
            "subject": [{"digest": {"sha256": digest.hex()}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        });
        Self { manifest: manifest.clone(), payload: statement.to_string().into_bytes(), kind }
    }

    /// Two signatures of a manifest say the same, whatever their words; two records need not.
    fn check_same(&self, bundle: &[u8]) -> Result<(), BundleFault> {
        let same = match self.kind {
            Wanted::Signature => true,
            Wanted::Statement(_) | Wanted::Anything => {
                Candidate::read_as(self.kind, bundle)?.holds(&self.payload)
            }
        };
        let failure = || "its statement says something else".to_owned();
        same.then_some(()).ok_or_else(|| BundleFault::OtherArtifact { failure: failure() })
    }

    /// The manifest that the statement is about.
    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    /// The bytes over which the signature is made: type and statement with their lengths (DSSE, "PAE").
    pub fn to_sign(&self) -> Vec<u8> {
        let (kind, payload) = (PAYLOAD_TYPE, &self.payload);
        let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
        [head.as_slice(), payload].concat()
    }

    /// The same with the signature that `holder` made over [`BundleDraft::to_sign`].
    pub fn signed(self, signature: Vec<u8>, holder: BundleHolder) -> SignedDraft {
        SignedDraft { draft: self, signature, holder }
    }
}

impl SignedDraft {
    /// What a timestamp authority is to see: the signature itself.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What a log of the first version is asked to take (`POST /api/v1/log/entries`).
    pub fn rekor_v1_proposal(&self) -> Value {
        json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {"proposedContent": {
                "envelope": self.envelope().to_string(),
                "verifiers": [base64::encode(self.holder.pem.as_bytes())],
            }},
        })
    }

    /// What a log of the second version is asked to take (`POST /api/v2/log/entries`).
    ///
    /// # Errors
    /// Such logs do not take signatures by keys of this kind.
    pub fn rekor_v2_proposal(&self) -> Result<Value, BundleFault> {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.draft.to_sign());
        Ok(json!({"hashedRekordRequestV002": {
            "digest": base64::encode(digest.as_ref()),
            "signature": {
                "content": base64::encode(&self.signature),
                "verifier": self.holder.verifier()?,
            },
        }}))
    }

    /// The bundle, if it is one that `check` accepts. `timestamps` are DER as authorities answer (RFC 3161).
    ///
    /// # Errors
    /// The new bundle would not be accepted: it, or one of those who witnessed it, is not what it should be.
    pub fn finish(
        &self,
        entries: &[BundleLogEntry],
        timestamps: &[Vec<u8>],
        check: &BundleCheck,
    ) -> Result<Bytes, BundleFault> {
        let mut material = self.holder.material();
        material["tlogEntries"] = entries.iter().map(|entry| entry.0.clone()).collect();
        if !timestamps.is_empty() {
            let signed = |der: &Vec<u8>| json!({"signedTimestamp": base64::encode(der)});
            let list: Vec<Value> = timestamps.iter().map(signed).collect();
            material["timestampVerificationData"] = json!({"rfc3161Timestamps": list});
        }
        let bundle = json!({
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": self.envelope(),
        });
        let bundle = Bytes::from(bundle.to_string());
        check.judge(&bundle, &self.draft, &self.holder)?;
        Ok(bundle)
    }

    fn envelope(&self) -> Value {
        json!({
            "payload": base64::encode(&self.draft.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64::encode(&self.signature)}],
        })
    }
}

impl BundleLogEntry {
    /// What a log of the first version answered: one entry under its name, or the entry itself.
    ///
    /// # Errors
    /// It is something else.
    pub fn of_rekor_v1(answer: &[u8]) -> Result<Self, BundleFault> {
        let answer = json::parse(answer, Limits::bytes(SIGNATURE_LIMIT)).map_err(odd)?;
        let entry = match answer.as_object().map(|object| object.values().collect::<Vec<_>>()) {
            Some(values) if answer.get("body").is_none() => match values[..] {
                [entry] => entry.clone(),
                _ => return Err(odd(format!("{} entries, expected one", values.len()))),
            },
            _ => answer,
        };
        v1_entry(&entry).map(Self).ok_or_else(|| odd("a member is missing, or of another kind"))
    }

    /// What a log of the second version answered: the entry in the form that bundles have.
    ///
    /// # Errors
    /// It is something else.
    pub fn of_rekor_v2(answer: &[u8]) -> Result<Self, BundleFault> {
        let answer = json::parse(answer, Limits::bytes(SIGNATURE_LIMIT)).map_err(odd)?;
        v2_entry(&answer).map(Self).ok_or_else(|| odd("a member is missing, or of another kind"))
    }
}

fn odd(failure: impl std::fmt::Display) -> BundleFault {
    BundleFault::LogEntryNotProven { failure: format!("the answer of the log: {failure}") }
}

/// The members of an entry under the names, and in the encodings, that bundles have.
fn v1_entry(entry: &Value) -> Option<Value> {
    let body = entry["body"].as_str()?;
    let content = json::parse(&base64::decode(body).ok()?, Limits::bytes(SIGNATURE_LIMIT)).ok()?;
    let (promise, proof) = (&entry["verification"], &entry["verification"]["inclusionProof"]);
    let hashes = proof["hashes"].as_array()?.iter();
    let hashes = hashes.map(|hash| from_hex(hash).map(|h| json!(h))).collect::<Option<Vec<_>>>()?;
    Some(json!({
        "logIndex": entry["logIndex"].as_u64()?.to_string(),
        "logId": {"keyId": from_hex(&entry["logID"])?},
        "kindVersion": {"kind": content["kind"].as_str()?, "version": content["apiVersion"].as_str()?},
        "integratedTime": entry["integratedTime"].as_u64()?.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": promise["signedEntryTimestamp"].as_str()?},
        "inclusionProof": {
            "logIndex": proof["logIndex"].as_u64()?.to_string(),
            "rootHash": from_hex(&proof["rootHash"])?,
            "treeSize": proof["treeSize"].as_u64()?.to_string(),
            "hashes": hashes,
            "checkpoint": {"envelope": proof["checkpoint"].as_str()?},
        },
        "canonicalizedBody": body,
    }))
}

/// The members that entries of the second version have. What the log repeats beside its signed checkpoint is taken from there;
/// a time would be nobody's word, and a promise is none there.
fn v2_entry(entry: &Value) -> Option<Value> {
    let text = |pointer| entry.pointer(pointer).and_then(Value::as_str);
    // protojson leaves zeros and empty lists out.
    let index = entry.get("logIndex").map_or(Some("0"), Value::as_str)?.parse::<u64>().ok()?;
    let hashes = match entry.pointer("/inclusionProof/hashes") {
        None | Some(Value::Null) => Vec::new(),
        Some(hashes) => hashes.as_array()?.clone(),
    };
    let checkpoint = text("/inclusionProof/checkpoint/envelope")?;
    // Origin, size and root, each in a line (C2SP tlog-checkpoint).
    let mut lines = checkpoint.lines().skip(1);
    let (size, root) = (lines.next()?.parse::<u64>().ok()?, lines.next()?);
    Some(json!({
        "logIndex": index.to_string(),
        "logId": {"keyId": text("/logId/keyId")?},
        "kindVersion": {"kind": text("/kindVersion/kind")?, "version": text("/kindVersion/version")?},
        "inclusionProof": {
            "logIndex": index.to_string(),
            "rootHash": root,
            "treeSize": size.to_string(),
            "hashes": hashes,
            "checkpoint": {"envelope": checkpoint},
        },
        "canonicalizedBody": text("/canonicalizedBody")?,
    }))
}

/// Hexadecimal text in base64.
fn from_hex(value: &Value) -> Option<String> {
    super::bundle::from_hex(value.as_str()?).map(|bytes| base64::encode(&bytes))
}

impl BundleCheck {
    /// Every log entry, certificate and timestamp must be proven against this trusted root.
    ///
    /// # Errors
    /// The bytes are not a trusted root.
    pub fn against(trusted_root: &[u8]) -> Result<Self, TrustedRootError> {
        Ok(Self { root: TrustedRoot::parse(trusted_root)?, without_log: false })
    }

    /// Only the signature of a key must be good; no log will have seen it.
    ///
    /// # Errors
    /// None that has been seen.
    pub fn dangerous_without_log() -> Result<Self, TrustedRootError> {
        Ok(Self { root: TrustedRoot::empty()?, without_log: true })
    }

    /// Whether `bundle`, found beside `manifest`, is as good as a new one by this key (PEM). Bundles with certificates never
    /// are: whom they name is not asked here.
    ///
    /// # Errors
    /// It is not, for the reason that a judge would give; or the key is none that bundles can be signed with.
    pub fn confirm(
        &self,
        bundle: &[u8],
        draft: &BundleDraft,
        key: &str,
    ) -> Result<(), BundleFault> {
        let holder = BundleHolder::key(key)
            .map_err(|fault| BundleFault::Unsupported { failure: fault.to_string() })?;
        self.judge(bundle, draft, &holder)?;
        draft.check_same(bundle)
    }

    fn judge(
        &self,
        bundle: &[u8],
        BundleDraft { manifest, kind, .. }: &BundleDraft,
        holder: &BundleHolder,
    ) -> Result<(), BundleFault> {
        let candidate = Candidate::read_as(*kind, bundle)?;
        match &holder.known_by {
            KnownBy::Key(key) => {
                candidate.verify_key(manifest.bytes(), &self.root, key, self.without_log)
            }
            KnownBy::Certificate(..) => {
                // Whoever verifies decides about logs of certificates; here they are asked where there are any.
                let without = !self.root.has_certificate_logs();
                candidate.verify_certificate(manifest.bytes(), &self.root, without).map(|_| ())
            }
        }
    }
}

impl std::fmt::Debug for BundleCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BundleCheck")
            .field("without_log", &self.without_log)
            .finish_non_exhaustive()
    }
}
