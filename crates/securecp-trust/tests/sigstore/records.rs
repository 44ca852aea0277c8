//! Change records: only what a recorder signed about this very manifest counts.

use bytes::Bytes;
use openssl::pkey::{PKey, Private};
use proptest::prelude::*;
use securecp_oci::{Algorithm, Digest, ImageIdentity, base64};
use securecp_trust::{
    BundleCheck, BundleDraft, BundleFault, BundleHolder, ChangeRecord, Evidence, RECORD_PREDICATE,
    RecordFault, RecordVerdict, StoredBundle, StoredRecords, TrustFault, TrustFile,
};
use serde_json::{Value, json};

use crate::changes::{changed, changes};
use crate::drafts::entry;
use crate::lab::*;
use crate::material::{NAME, manifest};

const KEYS: &str = "
version: 1
signers:
  mover: {key: mover, dangerous-no-log: true}
  release: {key: release, dangerous-no-log: true}
recorders: [mover]
default: {accept: bundle, require: {any-of: [mover, release]}}
";

fn predicate() -> Value {
    json!({
        "source": {
            "image": "docker://h.test/x:v1",
            "digest": format!("sha256:{}", "a".repeat(64)),
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "size": 3,
        },
        "changes": [{"change": "recompressed", "layer": 0, "to": "zstd"}],
        "recipients": [],
        "leftBehind": [],
        "verdict": {"scope": "default", "outcome": "accepted", "requirements": []},
    })
}

fn record() -> ChangeRecord {
    ChangeRecord::parse(predicate().to_string().as_bytes()).unwrap()
}

fn statement() -> Value {
    let digest = Digest::of(Algorithm::Sha256, manifest().bytes());
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": RECORD_PREDICATE,
        "predicate": predicate(),
    })
}

/// A bundle without a log entry, around whatever statement.
fn bundle_of(key: &PKey<Private>, statement: &Value) -> Bytes {
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = base64::encode(&sign(key, signed.as_bytes()));
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64::encode(payload.as_bytes()),
            "payloadType": kind,
            "signatures": [{"sig": signature}],
        },
    });
    Bytes::from(bundle.to_string())
}

struct Keys {
    mover: PKey<Private>,
    release: PKey<Private>,
}

impl Keys {
    fn new() -> Self {
        Self { mover: new_key(), release: new_key() }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, std::io::Error> {
        match path {
            "mover" => Ok(public_pem(&self.mover)),
            "release" => Ok(public_pem(&self.release)),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn judge(&self, file: &str, bundle: Bytes) -> Vec<RecordVerdict> {
        let file = TrustFile::parse(file.as_bytes()).unwrap();
        let bundles = [StoredBundle::Content(bundle)];
        let stored = StoredRecords { bundles: &bundles, statements: &[] };
        file.judge_records(&manifest(), stored, &|path| self.read(path)).unwrap()
    }

    /// Why a statement that `mover` signed does not count.
    fn fault(&self, statement: &Value) -> RecordFault {
        let found = self.judge(KEYS, bundle_of(&self.mover, statement));
        let [RecordVerdict { fault, record, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(*record, None);
        fault.clone().unwrap()
    }
}

fn altered(pointer: &str, value: Value) -> Value {
    let mut statement = statement();
    *statement.pointer_mut(pointer).unwrap() = value;
    statement
}

#[test]
fn a_record_by_a_recorder_counts() {
    let keys = Keys::new();
    let draft = BundleDraft::record(&manifest(), &record()).unwrap();
    let holder = BundleHolder::key(std::str::from_utf8(&public_pem(&keys.mover)).unwrap()).unwrap();
    let signature = sign(&keys.mover, &draft.to_sign());
    let check = BundleCheck::dangerous_without_log().unwrap();
    let bundle = draft.signed(signature, holder).finish(&[], &[], &check).unwrap();
    let found = keys.judge(KEYS, bundle);
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].record, &found[0].fault), (&Some(record()), &None));
    assert_eq!(found[0].signers, ["mover"]);
    let shown = found[0].to_string();
    assert!(shown.contains("as mover: made from sha256:aaaa") && shown.contains("zstd"), "{shown}");
}

/// What a recorder takes for its own: the same key, the same manifest, and the same to say.
#[test]
fn a_record_is_confirmed_only_if_it_says_the_same() {
    let (key, check) = (new_key(), BundleCheck::dangerous_without_log().unwrap());
    let public = String::from_utf8(public_pem(&key)).unwrap();
    let finished = |draft: &BundleDraft| {
        let signature = sign(&key, &draft.to_sign());
        let holder = BundleHolder::key(&public).unwrap();
        draft.clone().signed(signature, holder).finish(&[], &[], &check).unwrap()
    };
    let draft = BundleDraft::record(&manifest(), &record()).unwrap();
    let mut other = record();
    other.source.image.push('2');
    let other = BundleDraft::record(&manifest(), &other).unwrap();
    let signature = BundleDraft::new(&manifest());
    check.confirm(&finished(&draft), &draft, &public).unwrap();
    for wanted in [&other, &signature] {
        assert!(check.confirm(&finished(&draft), wanted, &public).is_err());
        assert!(check.confirm(&finished(wanted), &draft, &public).is_err());
    }
}

/// A keyless recorder is known by the certificate, at the time that a log proves.
#[test]
fn a_recorder_may_be_an_identity() {
    let lab = Keyless::new();
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let draft = BundleDraft::record(&manifest(), &record()).unwrap();
    let signature = sign(&lab.signer.key, &draft.to_sign());
    let holder = BundleHolder::certificate(&pem(&[&lab.signer])).unwrap();
    let draft = draft.signed(signature, holder);
    let check = BundleCheck::against(&root).unwrap();
    let fault = draft.finish(&[], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::NoLogEntry { .. }), "{fault}");
    let bundle = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap();
    for (email, counts) in [(EMAIL, true), ("other@h.test", false)] {
        let file = format!(
            "version: 1\ntrusted-root: root\ndangerous-no-certificate-log: true\n\
             signers: {{m: {{issuer: '{ISSUER}', email: {email}}}}}\nrecorders: [m]\ndefault: policy-only\n"
        );
        let file = TrustFile::parse(file.as_bytes()).unwrap();
        let bundles = [StoredBundle::Content(bundle.clone())];
        let stored = StoredRecords { bundles: &bundles, statements: &[] };
        let found = file.judge_records(&manifest(), stored, &|_| Ok(root.clone())).unwrap();
        assert_eq!(found[0].record.is_some(), counts, "{found:?}");
        let other =
            matches!(found[0].fault, Some(RecordFault::Trust(TrustFault::OtherSigner { .. })));
        assert_eq!(other, !counts, "{found:?}");
    }
}

/// Nothing is both: who may record changes cannot sign images by it, and a signature records nothing.
#[test]
fn cve_2022_35929_a_record_is_no_signature_and_no_signature_is_a_record() {
    let keys = Keys::new();
    let file = TrustFile::parse(KEYS.as_bytes()).unwrap();
    let image = ImageIdentity::docker(&NAME.parse().unwrap());
    let bundles = Ok(vec![bundle_of(&keys.mover, &statement()).into()]);
    let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
    let verdict = file.judge(&image, &manifest(), evidence, &|path| keys.read(path));
    assert!(!verdict.accepted, "{verdict}");
    let fault = verdict.faults().next().unwrap();
    assert!(fault.to_string().contains(RECORD_PREDICATE), "{fault}");
    for other in ["https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"] {
        let statement = altered("/predicateType", json!(other));
        assert_eq!(keys.judge(KEYS, bundle_of(&keys.mover, &statement)), [], "{other}");
    }
    let message = key_bundle(&keys.mover, manifest().bytes(), None);
    assert_eq!(keys.judge(KEYS, Bytes::from(message.to_string())), []);
}

/// What a recorder signed and nobody understands is not taken for anything.
#[test]
fn ghsa_w6c6_c85g_mmv6_a_signed_record_that_is_not_understood_does_not_count() {
    let keys = Keys::new();
    for statement in [
        altered("/predicate", json!({})),
        altered("/predicate", Value::Null),
        altered("/predicate/changes", json!([])),
        altered("/predicate/changes/0/change", json!("blessed")),
        altered("/predicate/source/digest", json!("latest")),
        altered("/predicate/verdict", json!({"outcome": "accepted"})),
    ] {
        let fault = keys.fault(&statement);
        assert!(matches!(fault, RecordFault::Malformed { .. }), "{statement}: {fault}");
    }
    let fault = keys.fault(&altered("/_type", json!("https://in-toto.io/Statement/v0.1")));
    assert!(matches!(fault, RecordFault::Trust(TrustFault::Bundle(_))), "{fault}");
}

#[test]
fn a_record_is_about_this_manifest_and_no_other() {
    let keys = Keys::new();
    let this = statement()["subject"][0].clone();
    let other = json!({"digest": {"sha256": "b".repeat(64)}});
    let fault = keys.fault(&altered("/subject", json!([other])));
    let artifact =
        matches!(&fault, RecordFault::Trust(TrustFault::Bundle(BundleFault::OtherArtifact { .. })));
    assert!(artifact, "{fault}");
    let mut more = this.clone();
    more["digest"]["sha512"] = json!("c".repeat(128));
    for subjects in [json!([this, other]), json!([other, this]), json!([this, this]), json!([more])]
    {
        let fault = keys.fault(&altered("/subject", subjects.clone()));
        assert_eq!(fault, RecordFault::OtherSubject, "{subjects}");
    }
}

#[test]
fn nobody_else_s_record_counts() {
    let keys = Keys::new();
    let one = |file: &str, bundle| keys.judge(file, bundle).remove(0);
    // A signer of images is no recorder; neither is a stranger.
    for key in [&keys.release, &new_key()] {
        let found = one(KEYS, bundle_of(key, &statement()));
        assert!(
            matches!(
                found.fault,
                Some(RecordFault::Trust(TrustFault::Bundle(BundleFault::Broken { .. })))
            ),
            "{found:?}"
        );
    }
    let nobody = KEYS.replace("recorders: [mover]\n", "");
    assert!(one(&nobody, bundle_of(&keys.mover, &statement())).fault.is_some());
    let mut unsigned: Value =
        serde_json::from_slice(&bundle_of(&keys.mover, &statement())).unwrap();
    unsigned["dsseEnvelope"]["signatures"] = json!([]);
    let found = one(KEYS, Bytes::from(unsigned.to_string()));
    assert_eq!(found.fault, Some(RecordFault::Unsigned));
    // A key that cannot be read tells nothing about any record.
    let file = TrustFile::parse(KEYS.as_bytes()).unwrap();
    let stored = StoredRecords { bundles: &[], statements: &[] };
    let unreadable = |_: &str| Err(std::io::ErrorKind::PermissionDenied.into());
    assert!(file.judge_records(&manifest(), stored, &unreadable).is_err());
}

#[test]
fn recorders_are_signers_each_named_once() {
    let parse = |recorders: &str| {
        TrustFile::parse(KEYS.replace("recorders: [mover]", recorders).as_bytes())
    };
    assert_eq!(
        parse("recorders: [mover, release]").unwrap().recorders().unwrap(),
        "(mover or release)"
    );
    assert_eq!(parse("").unwrap().recorders(), None);
    for (bad, expected) in [
        ("recorders: [nobody]", "there is no signer \"nobody\""),
        ("recorders: []", "recorders has no entries"),
        ("recorders: [mover, mover]", "\"mover\" stands twice"),
        ("recorders: mover", "trust file cannot be read"),
        ("recorder: [mover]", "trust file cannot be read"),
    ] {
        let error = parse(bad).unwrap_err().to_string();
        assert!(error.contains(expected), "{bad}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_records_say_what_was_signed_or_nothing(changes in changes()) {
        let keys = Keys::new();
        let bundle = changed(bundle_of(&keys.mover, &statement()).to_vec(), &changes);
        for found in keys.judge(KEYS, Bytes::from(bundle)) {
            prop_assert!(found.record.is_none_or(|found| found == record()));
        }
    }

    #[test]
    fn changed_predicates_are_read_or_refused(changes in changes()) {
        let bytes = changed(predicate().to_string().into_bytes(), &changes);
        if let Ok(found) = ChangeRecord::parse(&bytes) {
            prop_assert!(!found.changes.is_empty());
            prop_assert!(BundleDraft::record(&manifest(), &found).is_ok());
        }
    }
}
