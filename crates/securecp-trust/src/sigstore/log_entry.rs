//! Log entries: the promise of a transparency log ("signed entry timestamp") and what it is a promise about.
//!
//! A promise alone proves nothing: any entry of the log can be attached to any signature. It counts only when the entry
//! names this payload, this signature and this key or certificate (CVE-2022-23649).

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest, Escaped, SIGNATURE_LIMIT, base64};
use serde::Serialize;
use serde_json::{Map, Value};

use super::pem;
use super::public_key::PublicKey;

/// The largest whole number that every JSON reader agrees on (RFC 8785 section 3.2.2.3).
const INTEGER_LIMIT: u64 = 1 << 53;

/// What an entry must be about.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) payload: &'a [u8],
    /// The raw signature.
    pub(super) signature: &'a [u8],
    /// The public key or certificate, PEM.
    pub(super) signer_pem: &'a [u8],
}

/// Why a log entry does not vouch for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum LogEntryFault {
    /// A part is not a strict JSON document of the expected members.
    #[error("Rekor SET: {part} cannot be read: {failure}")]
    Malformed {
        /// The annotation, its payload, or the entry's body.
        part: &'static str,
        /// Why.
        failure: String,
    },
    /// No trusted log key made this promise.
    #[error("cryptographic signature verification of Rekor SET failed")]
    SetNotVerified,
    /// The entry is of another kind.
    #[error("invalid kind value: \"{found}\"")]
    Kind {
        /// The kind found.
        found: String,
    },
    /// The entry is of another version of its kind.
    #[error("unsupported apiVersion \"{found}\" in Rekor SET")]
    Version {
        /// The version found.
        found: String,
    },
    /// The entry is about another key or certificate.
    #[error("publicKey in Rekor SET does not match")]
    OtherKey,
    /// There is more than one key or certificate.
    #[error("publicKey in Rekor SET has trailing data")]
    TrailingData,
    /// The entry is about another signature.
    #[error("signature in Rekor SET does not match")]
    OtherSignature,
    /// The entry is about another payload.
    #[error("payload in Rekor SET does not match")]
    OtherPayload,
    /// No trusted public key is the one that the entry is about.
    #[error("No public key verified against the RekorSET: {}", joined(.faults))]
    NoKey {
        /// Why, for each key.
        faults: Vec<LogEntryFault>,
    },
}

impl LogEntryFault {
    pub(super) fn malformed(part: &'static str, failure: &dyn Display) -> Self {
        Self::Malformed { part, failure: Escaped::new(&failure.to_string()).to_string() }
    }
}

/// Checks that a trusted log has promised to include an entry about `claim`; returns when it did.
pub(super) fn verify(
    annotation: &str,
    log_keys: &[PublicKey],
    claim: Claim<'_>,
) -> Result<SystemTime, LogEntryFault> {
    let set = Set::parse(annotation)?;
    let promised = set.promise.canonical();
    if !log_keys.iter().any(|key| key.verifies(promised.as_bytes(), &set.signature)) {
        return Err(LogEntryFault::SetNotVerified);
    }
    set.promise.check(claim)
}

/// Checks that an annotation is about `claim`; returns when the log claims to have seen it. Nothing is verified.
pub(super) fn check_binding(
    annotation: &str,
    claim: Claim<'_>,
) -> Result<SystemTime, LogEntryFault> {
    Set::parse(annotation)?.promise.check(claim)
}

/// The annotation for what a log of the first version answered: one entry under its name. The reference's bytes.
pub(super) fn of_answer(answer: &[u8]) -> Result<String, LogEntryFault> {
    const PART: &str = "answer";
    let value =
        json::parse(answer, Limits::bytes(SIGNATURE_LIMIT)).map_err(|e| malformed(PART, &e))?;
    let entries = value.as_object().map(|all| all.values().collect::<Vec<_>>()).unwrap_or_default();
    let &[entry] = entries.as_slice() else {
        return Err(malformed(PART, &format!("{} entries, expected one", entries.len())));
    };
    let member = |key| entry.get(key).unwrap_or(&Value::Null);
    let promise = Promise {
        body: text(PART, member("body"))?.to_owned(),
        integrated_time: whole(PART, member("integratedTime"))?,
        log_id: text(PART, member("logID"))?.to_owned(),
        log_index: whole(PART, member("logIndex"))?,
    };
    let signature = entry.pointer("/verification/signedEntryTimestamp").unwrap_or(&Value::Null);
    let signature = Value::from(text(PART, signature)?);
    Ok(format!(r#"{{"Payload":{},"SignedEntryTimestamp":{signature}}}"#, promise.canonical()))
}

/// The annotation: a promise, and the log's signature over it.
pub(super) struct Set {
    pub(super) signature: Vec<u8>,
    pub(super) promise: Promise,
}

/// What the log has signed.
pub(super) struct Promise {
    /// The entry, base64.
    pub(super) body: String,
    pub(super) integrated_time: u64,
    pub(super) log_id: String,
    pub(super) log_index: u64,
}

impl Set {
    pub(super) fn parse(annotation: &str) -> Result<Self, LogEntryFault> {
        let value = json::parse(annotation.as_bytes(), Limits::bytes(SIGNATURE_LIMIT))
            .map_err(|e| malformed("annotation", &e))?;
        let [signature, payload] =
            exactly("annotation", &value, ["SignedEntryTimestamp", "Payload"])?;
        let signature = text("annotation", signature)?;
        let members = ["body", "integratedTime", "logID", "logIndex"];
        let [body, time, log_id, log_index] = exactly("payload", payload, members)?;
        Ok(Self {
            signature: base64::decode(signature).map_err(|e| malformed("annotation", &e))?,
            promise: Promise {
                body: text("payload", body)?.to_owned(),
                integrated_time: whole("payload", time)?,
                log_id: text("payload", log_id)?.to_owned(),
                log_index: whole("payload", log_index)?,
            },
        })
    }
}

impl Promise {
    /// Whether the entry is about `claim`; returns when it was made.
    fn check(&self, claim: Claim<'_>) -> Result<SystemTime, LogEntryFault> {
        let body = base64::decode(&self.body).map_err(|e| malformed("body", &e))?;
        check_body(&body, claim)?;
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(self.integrated_time))
            .ok_or_else(|| malformed("payload", &"integratedTime is too large"))
    }

    /// The bytes under the log's signature (RFC 8785); the members are known, so their order is too.
    fn canonical(&self) -> String {
        let (body, log_id) = (Value::from(self.body.as_str()), Value::from(self.log_id.as_str()));
        format!(
            r#"{{"body":{body},"integratedTime":{},"logID":{log_id},"logIndex":{}}}"#,
            self.integrated_time, self.log_index
        )
    }
}

/// Compares an entry of kind `hashedrekord` 0.0.1 with what it must be about.
fn check_body(body: &[u8], claim: Claim<'_>) -> Result<(), LogEntryFault> {
    let value =
        json::parse(body, Limits::bytes(SIGNATURE_LIMIT)).map_err(|e| malformed("body", &e))?;
    let at = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let shown = |text: &str| Escaped::new(text).limit(80).to_string();
    if at("/kind") != "hashedrekord" {
        return Err(LogEntryFault::Kind { found: shown(at("/kind")) });
    }
    if at("/apiVersion") != "0.0.1" {
        return Err(LogEntryFault::Version { found: shown(at("/apiVersion")) });
    }
    let key = base64::decode(at("/spec/signature/publicKey/content"));
    same_signer(&key.map_err(|e| malformed("body", &e))?, claim.signer_pem)?;
    let signature = base64::decode(at("/spec/signature/content"));
    if signature.map_err(|e| malformed("body", &e))? != claim.signature {
        return Err(LogEntryFault::OtherSignature);
    }
    let digest = Digest::of(Algorithm::Sha256, claim.payload);
    let same = at("/spec/data/hash/algorithm") == "sha256"
        && at("/spec/data/hash/value").eq_ignore_ascii_case(digest.hex());
    same.then_some(()).ok_or(LogEntryFault::OtherPayload)
}

/// Compares contents, not texts: PEM can be broken into lines in many ways.
fn same_signer(logged: &[u8], expected: &[u8]) -> Result<(), LogEntryFault> {
    let block = |bytes| pem::only(bytes).ok_or(LogEntryFault::TrailingData);
    let (logged, expected) = (block(logged)?, block(expected)?);
    (logged.contents == expected.contents).then_some(()).ok_or(LogEntryFault::OtherKey)
}

/// The members of an object that has these and no others.
fn exactly<'v, const N: usize>(
    part: &'static str,
    value: &'v Value,
    keys: [&'static str; N],
) -> Result<[&'v Value; N], LogEntryFault> {
    let empty = Map::new();
    let members = value.as_object().unwrap_or(&empty);
    if let Some(missing) = keys.iter().find(|key| !members.contains_key(**key)) {
        return Err(malformed(part, &format!("member {missing} is missing")));
    }
    if members.len() != N {
        return Err(malformed(part, &"there is a member that does not belong"));
    }
    Ok(keys.map(|key| value.get(key).unwrap_or(&Value::Null)))
}

fn text<'v>(part: &'static str, value: &'v Value) -> Result<&'v str, LogEntryFault> {
    value.as_str().ok_or_else(|| malformed(part, &"a member is not a string"))
}

fn whole(part: &'static str, value: &Value) -> Result<u64, LogEntryFault> {
    let found = value.as_u64().filter(|number| *number <= INTEGER_LIMIT);
    found.ok_or_else(|| malformed(part, &"a member is not a whole number"))
}

fn malformed(part: &'static str, failure: &dyn Display) -> LogEntryFault {
    LogEntryFault::malformed(part, failure)
}

fn joined(faults: &[LogEntryFault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
