//! Change records under a trust file: whose count, and what they say.

use std::fmt::{self, Display};

use bytes::Bytes;
use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest, Escaped, RawManifest, SIGNATURE_LIMIT, base64};
use serde::Serialize;
use serde_json::{Value, json};

use super::judge::{Good, Known};
use super::verdict::{TrustDenial, TrustFault};
use super::{TrustFile, shown};
use crate::gate::KeyReader;
use crate::sigstore::StoredBundle;
use crate::sigstore::bundle::Candidate;
use crate::sigstore::record::{ChangeRecord, RECORD, RECORD_PREDICATE, RecordError};

/// What was stored beside one manifest that may hold change records.
#[derive(Debug, Clone, Copy)]
pub struct StoredRecords<'a> {
    /// Bundles of any kind.
    pub bundles: &'a [StoredBundle],
    /// Statements without an envelope: nobody has signed them.
    pub statements: &'a [Bytes],
}

/// What a trust file says of one change record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RecordVerdict {
    /// Its place among the records of the manifest, from 1.
    pub position: usize,
    /// Who signed it, if that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The recorders of the file that this is.
    pub signers: Vec<String>,
    /// What it says; only of one that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<ChangeRecord>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::verdict::explained")]
    pub fault: Option<RecordFault>,
}

/// Why a change record does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RecordFault {
    /// Anybody may have written it.
    #[error("not signed: anybody may have written it")]
    Unsigned,
    /// It is about something else as well.
    #[error("signed for other subjects than this manifest alone")]
    OtherSubject,
    /// It is signed by a recorder, and has another form.
    #[error("{failure}")]
    Malformed {
        /// Why.
        failure: String,
    },
    /// The signature is not by a recorder, or not good.
    #[error(transparent)]
    #[serde(untagged)]
    Trust(#[from] TrustFault),
}

impl From<RecordError> for RecordFault {
    fn from(error: RecordError) -> Self {
        Self::Malformed { failure: error.to_string() }
    }
}

impl TrustFile {
    /// The signers whose change records count, for messages; `None` if the file names none.
    pub fn recorders(&self) -> Option<String> {
        self.recorders.as_ref().map(ToString::to_string)
    }

    /// Judges everything beside one manifest that calls itself a change record. Such a record counts only with a good
    /// signature by a recorder of this file over a statement about these very bytes.
    ///
    /// # Errors
    /// A key of a recorder or the trusted root cannot be used, so that nothing can be told.
    pub fn judge_records(
        &self,
        manifest: &RawManifest,
        stored: StoredRecords<'_>,
        files: KeyReader<'_>,
    ) -> Result<Vec<RecordVerdict>, TrustDenial> {
        let known =
            self.recorders.as_ref().map(|rule| Known::load(self, rule, files)).transpose()?;
        let bundles = stored.bundles.iter().filter_map(|bundle| match bundle {
            StoredBundle::Content(bytes) => claim(bytes).map(|signed| (bytes, signed)),
            StoredBundle::Odd(_) => None,
        });
        let bare = stored.statements.iter().filter(|bytes| is_record(bytes)).map(|b| (b, false));
        let judged = bundles.chain(bare).map(|(bytes, signed)| match signed {
            false => Err(RecordFault::Unsigned),
            true => judge(known.as_ref(), bytes, manifest),
        });
        Ok((1..).zip(judged).map(|(position, outcome)| verdict(position, outcome)).collect())
    }
}

/// Whether a bundle with a statement that calls itself a record is signed; `None` if it is no record.
fn claim(bundle: &Bytes) -> Option<bool> {
    let value = json::parse(bundle, Limits::bytes(SIGNATURE_LIMIT)).ok()?;
    let envelope = value.get("dsseEnvelope")?;
    let payload = base64::decode(envelope.get("payload")?.as_str()?).ok()?;
    let signatures = envelope.get("signatures").and_then(Value::as_array);
    is_record(&payload).then(|| signatures.is_some_and(|found| !found.is_empty()))
}

fn is_record(statement: &[u8]) -> bool {
    let value = json::parse(statement, Limits::bytes(SIGNATURE_LIMIT));
    value.is_ok_and(|value| {
        value.get("predicateType").and_then(Value::as_str) == Some(RECORD_PREDICATE)
    })
}

fn judge(
    known: Option<&Known<'_>>,
    bundle: &[u8],
    manifest: &RawManifest,
) -> Result<(Good, ChangeRecord), RecordFault> {
    let nobody =
        || TrustFault::OtherSigner { holder: "somebody".to_owned(), mismatches: Vec::new() };
    let known = known.ok_or_else(nobody)?;
    let candidate = Candidate::read_as(RECORD, bundle).map_err(TrustFault::from)?;
    let good = known.judge_candidate(&candidate, manifest.bytes())?;
    let statement = candidate.statement().map_err(TrustFault::from)?;
    check_subject(&statement, manifest)?;
    let predicate = statement.get("predicate").map(Value::to_string).unwrap_or_default();
    Ok((good, ChangeRecord::parse(predicate.as_bytes())?))
}

/// A signature is good for a statement with this manifest among its subjects; a record is about one manifest and no other.
fn check_subject(statement: &Value, manifest: &RawManifest) -> Result<(), RecordFault> {
    let digest = Digest::of(Algorithm::Sha256, manifest.bytes());
    let subjects = statement.get("subject").and_then(Value::as_array).map(Vec::as_slice);
    match subjects {
        Some([only]) if only.get("digest") == Some(&json!({"sha256": digest.hex()})) => Ok(()),
        _ => Err(RecordFault::OtherSubject),
    }
}

fn verdict(position: usize, outcome: Result<(Good, ChangeRecord), RecordFault>) -> RecordVerdict {
    let mut verdict =
        RecordVerdict { position, holder: None, signers: Vec::new(), record: None, fault: None };
    match outcome {
        Ok((Good { holder, signers }, record)) => {
            (verdict.holder, verdict.signers) = (Some(holder), signers);
            verdict.record = Some(record);
        }
        Err(fault) => verdict.fault = Some(fault),
    }
    verdict
}

impl Display for RecordVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: ", self.position)?;
        match (&self.fault, &self.record) {
            (Some(fault), _) => write!(f, "untrusted: {fault}"),
            (None, Some(record)) => {
                let holder = self.holder.as_deref().unwrap_or("somebody");
                let changes: Vec<String> = record.changes.iter().map(ToString::to_string).collect();
                let changes = changes.join(", ");
                let (source, by) = (&record.source, self.signers.join(", "));
                write!(
                    f,
                    "by {holder}, as {by}: made from {} of {}",
                    source.digest,
                    shown(&source.image)
                )?;
                write!(f, " ({})", Escaped::new(&changes).limit(300))
            }
            (None, None) => f.write_str("not judged"),
        }
    }
}
