//! Change records: the statement that a manifest was made from another one, by which changes, after which verdict, and
//! which evidence had to stay behind.
//!
//! A record says nothing by itself. Whoever believes the one that signed it may judge the source instead; see
//! `TrustFile::judge_records`.

use std::fmt::{self, Display};

use securecp_oci::json::{self, Limits};
use securecp_oci::{Digest, Escaped};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bundle::Wanted;
use crate::verdict::{Outcome, Verdict};

/// The predicate type of change records.
pub const RECORD_PREDICATE: &str = "urn:securecp:change-record:v1";

/// Largest predicate of a record, in bytes: 1 MiB.
pub const RECORD_LIMIT: usize = 1 << 20;

/// What a bundle must hold to be a record.
pub(super) const RECORD: Wanted = Wanted::Statement(RECORD_PREDICATE);

/// How a manifest came to be. `docs/change-records.md` has the form, member by member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChangeRecord {
    /// What it was made from.
    pub source: RecordedSource,
    /// What was changed, in no particular order; never empty.
    pub changes: Vec<RecordedChange>,
    /// For whom layers were encrypted, by kind of key only.
    pub recipients: Vec<RecordedRecipients>,
    /// Evidence of the source that no longer applied.
    pub left_behind: Vec<RecordedEvidence>,
    /// Why the source was let through.
    pub verdict: RecordedVerdict,
}

/// A manifest, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedSource {
    /// The name that the user gave, `TRANSPORT:NAME`.
    pub image: String,
    /// The digest of the manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// One change. Layers and entries are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub enum RecordedChange {
    /// A layer was decrypted.
    Decrypted {
        /// Which.
        layer: usize,
    },
    /// A layer got another compression.
    Recompressed {
        /// Which.
        layer: usize,
        /// The name of the new form.
        to: String,
    },
    /// A layer was encrypted.
    Encrypted {
        /// Which.
        layer: usize,
    },
    /// An encrypted layer got further recipients.
    Recipients {
        /// Which.
        layer: usize,
    },
    /// The manifest got another format.
    Converted {
        /// The name of the new format.
        to: String,
    },
    /// A manifest that an index names changed.
    Entry {
        /// Which.
        entry: usize,
    },
    /// An attestation that an index named was left out, because what it attested changed.
    AttestationLeftOut {
        /// Which.
        entry: usize,
    },
    /// Entries of other platforms were left out of an index.
    Subset {
        /// How many went.
        removed: usize,
        /// How many there were.
        of: usize,
    },
}

/// How many keys of one kind can decrypt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedRecipients {
    /// The kind: `jwe`, `pgp`, `pkcs7` or `provider`.
    pub kind: String,
    /// How many.
    pub count: usize,
}

/// A piece of evidence that stayed at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedEvidence {
    /// What it is, as receipts call it.
    pub kind: String,
    /// The digest of its manifest; of a simple-signing signature that of its bytes.
    pub digest: Digest,
    /// Its artifact type; empty where it has none.
    pub artifact_type: String,
}

/// What let the source through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedVerdict {
    /// The entry of the policy that decided.
    pub scope: String,
    /// What followed for the manifest: `accepted`, `vouchedFor`, `notJudged` or `tolerated`.
    pub outcome: String,
    /// The requirements that were met.
    pub requirements: Vec<RecordedRequirement>,
    /// The entry of the trust file that decided, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_scope: Option<String>,
    /// Who had signed, by the names that the trust file has for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_signers: Vec<String>,
}

/// A requirement of the policy that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedRequirement {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The keys or certificates whose signatures were accepted.
    pub signers: Vec<String>,
}

/// Why a predicate is not that of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is larger than any record.
    #[error("record has {found} bytes, the limit is {RECORD_LIMIT}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// It has other members than a record of this version.
    #[error("record not understood: {}", Escaped::new(.0).limit(300))]
    Malformed(String),
    /// It says that nothing was changed.
    #[error("record names no change")]
    NoChange,
}

impl ChangeRecord {
    /// Reads the predicate of a record.
    ///
    /// # Errors
    /// See [`RecordError`]: members that are not known, missing or there twice.
    pub fn parse(predicate: &[u8]) -> Result<Self, RecordError> {
        if predicate.len() > RECORD_LIMIT {
            return Err(RecordError::TooLarge { found: predicate.len() });
        }
        let value = json::parse(predicate, Limits::bytes(RECORD_LIMIT));
        Self::of(value.map_err(|error| RecordError::Malformed(error.to_string()))?)
    }

    pub(super) fn of(predicate: Value) -> Result<Self, RecordError> {
        let read = serde_json::from_value::<Self>(predicate);
        let record = read.map_err(|error| RecordError::Malformed(error.to_string()))?;
        if record.changes.is_empty() { Err(RecordError::NoChange) } else { Ok(record) }
    }

    /// The predicate, held to everything that readers hold it to.
    pub(super) fn to_predicate(&self) -> Result<Value, RecordError> {
        let value = serde_json::to_value(self);
        let value = value.map_err(|error| RecordError::Malformed(error.to_string()))?;
        Self::parse(value.to_string().as_bytes()).map(|_| value)
    }
}

impl RecordedVerdict {
    /// What `verdict` says of the manifest with that digest; `None` if it does not speak of it.
    pub fn of(verdict: &Verdict, digest: &Digest) -> Option<Self> {
        let subject = verdict.subjects.iter().find(|subject| subject.digest == *digest)?;
        let requirements = subject.requirements.iter().map(|found| {
            let signers =
                found.signatures.iter().filter_map(|signature| signature.accepted.as_ref());
            let signers = signers.map(|signer| signer.key.clone()).collect();
            RecordedRequirement { kind: found.kind.name().to_owned(), signers }
        });
        let trust = verdict.trust.as_ref();
        let trust = trust.and_then(|report| report.manifests.iter().find(|m| m.digest == *digest));
        let signers = trust.iter().flat_map(|trust| &trust.found).flat_map(|found| &found.signers);
        Some(Self {
            scope: verdict.scope.to_string(),
            outcome: outcome(&subject.outcome).to_owned(),
            requirements: requirements.collect(),
            trust_scope: trust.map(|trust| trust.scope.clone()),
            trust_signers: signers.cloned().collect(),
        })
    }
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::VouchedFor { .. } => "vouchedFor",
        Outcome::NotJudged => "notJudged",
        Outcome::Tolerated => "tolerated",
        Outcome::Refused => "refused",
    }
}

impl Display for RecordedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decrypted { layer } => write!(f, "layer {layer} decrypted"),
            Self::Recompressed { layer, to } => {
                write!(f, "layer {layer} recompressed to {}", Escaped::new(to).limit(40))
            }
            Self::Encrypted { layer } => write!(f, "layer {layer} encrypted"),
            Self::Recipients { layer } => write!(f, "layer {layer} with further recipients"),
            Self::Converted { to } => write!(f, "converted to {}", Escaped::new(to).limit(40)),
            Self::Entry { entry } => write!(f, "entry {entry} changed"),
            Self::AttestationLeftOut { entry } => write!(f, "attestation {entry} left out"),
            Self::Subset { removed, of } => write!(f, "{removed} of {of} entries left out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn predicate() -> Value {
        let digest = format!("sha256:{}", "a".repeat(64));
        json!({
            "source": {"image": "docker://h.test/x:v1", "digest": digest, "mediaType": "m", "size": 3},
            "changes": [
                {"change": "recompressed", "layer": 0, "to": "zstd"},
                {"change": "subset", "removed": 1, "of": 2},
            ],
            "recipients": [{"kind": "jwe", "count": 1}],
            "leftBehind": [{"kind": "sbom", "digest": digest, "artifactType": "text/spdx"}],
            "verdict": {
                "scope": "default", "outcome": "accepted",
                "requirements": [{"type": "signedBy", "signers": ["A"]}],
            },
        })
    }

    fn parse(value: &Value) -> Result<ChangeRecord, RecordError> {
        ChangeRecord::parse(value.to_string().as_bytes())
    }

    #[test]
    fn reads_what_it_writes() {
        let value = predicate();
        let record = parse(&value).unwrap();
        assert_eq!(record.to_predicate().unwrap(), value);
        assert_eq!(record.changes[0].to_string(), "layer 0 recompressed to zstd");
        assert_eq!(record.changes[1].to_string(), "1 of 2 entries left out");
    }

    /// Every member matters: nothing is guessed, and nothing is passed over.
    #[test]
    fn anything_else_is_no_record() {
        let places = ["", "/source", "/changes/0", "/recipients/0", "/leftBehind/0", "/verdict"];
        for place in places.iter().chain(&["/verdict/requirements/0"]) {
            let mut value = predicate();
            value.pointer_mut(place).unwrap()["more"] = json!(1);
            assert!(matches!(parse(&value), Err(RecordError::Malformed(_))), "{place}: more");
            let names: Vec<String> =
                predicate().pointer(place).unwrap().as_object().unwrap().keys().cloned().collect();
            for name in names {
                let mut value = predicate();
                value.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(&name);
                assert!(parse(&value).is_err(), "{place}: without {name}");
            }
        }
        let twice =
            predicate().to_string().replacen("{\"source\"", "{\"changes\":[],\"source\"", 1);
        assert!(ChangeRecord::parse(twice.as_bytes()).is_err());
        for (place, wrong) in [
            ("/source/digest", json!("sha256:short")),
            ("/source/size", json!(-1)),
            ("/changes/0/change", json!("blessed")),
            ("/changes/0/layer", json!("0")),
        ] {
            let mut value = predicate();
            *value.pointer_mut(place).unwrap() = wrong;
            assert!(parse(&value).is_err(), "{place}");
        }
        let mut empty = predicate();
        empty["changes"] = json!([]);
        assert_eq!(parse(&empty), Err(RecordError::NoChange));
    }

    #[test]
    fn its_size_is_bounded_on_both_ways() {
        let mut value = predicate();
        value["source"]["image"] = json!("x".repeat(RECORD_LIMIT));
        assert!(matches!(parse(&value), Err(RecordError::TooLarge { .. })));
        let mut record = parse(&predicate()).unwrap();
        record.source.image = "x".repeat(RECORD_LIMIT);
        assert!(matches!(record.to_predicate(), Err(RecordError::TooLarge { .. })));
    }
}
