//! Vectors, policies over them, and the outcome of judging.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use securecp_oci::{
    Annotations, Declared, ImageIdentity, RawManifest, Signature, Transport, base64,
};
use securecp_trust::{Denial, Gate, Judged, Policy, Subject, Verdict};
use serde::Serialize;
use serde_json::{Value, json};

/// The name under which the vectors are signed.
pub(crate) const NAME: &str = "registry.securecp.test/plain:v1";
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// When one's own authorities are judged.
pub(crate) fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000)
}

/// What was found of one image.
struct Survey {
    identity: ImageIdentity,
    subject: Subject,
}

impl Judged for Survey {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        vec![&self.subject]
    }
}

/// Reads a file below `testdata`, or below `testdata/trust`, where the policies of the vectors have their keys.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, std::io::Error> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    std::fs::read(root.join(path)).or_else(|_| std::fs::read(root.join("trust").join(path)))
}

pub(crate) fn testdata(path: &str) -> Vec<u8> {
    read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn text(path: &str) -> String {
    String::from_utf8(testdata(path)).unwrap()
}

pub(crate) fn manifest() -> RawManifest {
    let bytes = Bytes::from(testdata("trust/signed-sigstore/manifest.json"));
    RawManifest::read(bytes, Declared::default()).unwrap()
}

/// The signatures in a folder of the vectors.
pub(crate) fn signatures(folder: &str) -> Vec<Signature> {
    (1..=2)
        .filter_map(|n| read(&format!("trust/{folder}/signature-{n}")).ok())
        .map(|blob| Signature::parse(Bytes::from(blob)).unwrap())
        .collect()
}

/// The payload and annotations of the one sigstore signature in a folder of the vectors.
pub(crate) fn parts(folder: &str) -> (Vec<u8>, Annotations) {
    let found = signatures(folder).into_iter().find_map(|signature| match signature {
        Signature::Sigstore { payload, annotations, .. } => Some((payload.to_vec(), annotations)),
        Signature::Simple(_) => None,
    });
    found.unwrap()
}

pub(crate) fn signature(payload: impl Into<Vec<u8>>, annotations: Annotations) -> Signature {
    Signature::Sigstore {
        media_type: Signature::SIGSTORE_MEDIA_TYPE.to_owned(),
        payload: Bytes::from(payload.into()),
        annotations,
    }
}

/// A signature with no other annotation than the signature itself.
pub(crate) fn bare(payload: &[u8], raw: &[u8]) -> Signature {
    signature(payload, [(SIGNATURE.to_owned(), base64::encode(raw))].into())
}

/// A policy with one `sigstoreSigned` of these members.
pub(crate) fn policy(members: Value) -> Policy {
    let mut requirement = json!({"type": "sigstoreSigned"});
    for (key, value) in members.as_object().unwrap() {
        requirement[key] = value.clone();
    }
    Policy::parse(json!({"default": [requirement]}).to_string().as_bytes()).unwrap()
}

/// The verdict on signatures of the image of the vectors, called [`NAME`].
pub(crate) fn judge(policy: &Policy, signatures: Vec<Signature>) -> Verdict {
    judge_as(policy, NAME, manifest(), signatures)
}

pub(crate) fn judge_as(
    policy: &Policy,
    name: &str,
    manifest: RawManifest,
    signatures: Vec<Signature>,
) -> Verdict {
    let identity = ImageIdentity::docker(&name.parse().unwrap());
    let subject = Subject::new(manifest, Ok(signatures));
    policy.judge(&Survey { identity, subject }, &Gate::new(&read).at(then()))
}

/// The verdict on a folder of the vectors under a policy of the vectors, as a `dir:` image.
pub(crate) fn judge_folder(policy: &str, signatures: Vec<Signature>) -> Verdict {
    let identity = ImageIdentity::path(Transport::Dir, "/somewhere");
    let subject = Subject::new(manifest(), Ok(signatures));
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    policy.judge(&Survey { identity, subject }, &Gate::new(&read).at(then()))
}

/// `accepted`, or the innermost reason.
pub(crate) fn outcome(verdict: &Verdict) -> String {
    match verdict.subjects[0].denial() {
        None => {
            assert!(verdict.accepted);
            "accepted".to_owned()
        }
        Some(denial) => {
            assert!(!verdict.accepted);
            match denial {
                Denial::Signature { fault } => reason(fault),
                Denial::Keys { fault } => reason(fault),
                other => reason(other),
            }
        }
    }
}

/// The words of the denial.
pub(crate) fn words(verdict: &Verdict) -> String {
    verdict.subjects[0].denial().unwrap().to_string()
}

fn reason(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap();
    let inner = value.get("fault").unwrap_or(&value);
    inner["reason"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}
