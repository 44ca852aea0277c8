//! Bytes from an enemy: nothing may panic, and nothing may be accepted that was not signed.

use bytes::Bytes;
use proptest::prelude::*;
use securecp_oci::{Annotations, Attachment, Declared, Signature, base64};
use securecp_trust::{SigstoreKey, TrustFile};
use serde_json::{Value, json};

use crate::bundles::judge_bundles;
use crate::changes::{changed, changes};
use crate::lab::{BUNDLE, CERTIFICATE, CHAIN};
use crate::material::*;

const TRUST: &str = "
version: 1
trusted-root: sigstore/bundles/trusted_root.json
signers:
  release: {issuer: 'https://issuer.securecp.test', email: release@securecp.test}
  other: {issuer: 'https://issuer.securecp.test', repository: 'https://h.test/o/*', ref: refs/tags/v*}
images:
  docker:registry.securecp.test: {accept: any, require: {any-of: [release, {at-least: 1, of: [other]}]}}
default: reject
";

fn keyless() -> (Vec<u8>, Annotations) {
    parts("signed-keyless")
}

/// Whether annotations with one of them changed are accepted for the vector's payload.
fn accepted_with(key: &str, value: String) -> bool {
    let (payload, mut annotations) = keyless();
    annotations.insert(key.to_owned(), value);
    judge_folder(&text("trust/policy-keyless.json"), vec![signature(payload, annotations)]).accepted
}

/// PEM around changed DER.
fn changed_pem(pem: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let label = pem.lines().next().unwrap().trim_matches('-').replacen("BEGIN ", "", 1);
    let body = base64::encode(&change(base64::decode(&body).unwrap()));
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn bundle_names() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "sign-rekor1",
        "message-rekor1",
        "message-rekor2",
        "message-rekor1-tsa",
    ])
    .prop_map(|name| format!("sigstore/bundles/{name}.json"))
}

/// A key has one encoding: what Go's reader refuses is refused, also where a lenient reader finds the same key in it.
#[test]
fn keys_have_one_encoding() {
    let read = |name: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let key = changed_pem(&text(&format!("sigstore/algorithms/{name}.pub")), change);
        let encoded = text(&format!("sigstore/algorithms/{}.sig", name.trim_end_matches("-pkcs1")));
        let policy = policy(json!({"keyData": base64::encode(key.as_bytes())}));
        let payload = testdata("sigstore/algorithms/payload");
        judge(&policy, vec![signature(payload, [(SIGNATURE.to_owned(), encoded)].into())]).accepted
    };
    let longer = |mut der: Vec<u8>| {
        der.push(0);
        der
    };
    // The tag of the parameters that must be NULL.
    let parameters = |mut der: Vec<u8>| {
        assert_eq!(der[17..19], [5, 0]);
        der[17] = 0x40;
        der
    };
    for name in ["p256", "p384", "p521", "rsa2048", "rsa2048-pkcs1", "ed25519"] {
        assert!(read(name, &|der| der), "{name}");
        assert!(!read(name, &longer), "{name}");
    }
    assert!(!read("rsa2048", &parameters));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_attachments_say_what_was_signed_or_nothing(changes in changes()) {
        let blob = changed(testdata("trust/signed-keyless/signature-1"), &changes);
        if let Ok(found) = Signature::parse(Bytes::from(blob)) {
            let verdict = judge_folder(&text("trust/policy-keyless.json"), vec![found.clone()]);
            if verdict.accepted {
                let Signature::Sigstore { payload, .. } = found else { panic!() };
                prop_assert_eq!(payload.to_vec(), keyless().0);
            }
        }
    }

    #[test]
    fn changed_promises_are_read_or_refused(changes in changes()) {
        let good = keyless().1[BUNDLE].clone();
        let bytes = changed(good.clone().into_bytes(), &changes);
        if let Ok(text) = String::from_utf8(bytes)
            && accepted_with(BUNDLE, text.clone())
        {
            let (found, good): (Value, Value) =
                (serde_json::from_str(&text).unwrap(), serde_json::from_str(&good).unwrap());
            prop_assert_eq!(&found["Payload"], &good["Payload"]);
        }
    }

    #[test]
    fn changed_certificates_are_refused(changes in changes()) {
        for key in [CERTIFICATE, CHAIN] {
            let good = keyless().1[key].clone();
            let pem = changed_pem(&good, |der| changed(der, &changes));
            let accepted = accepted_with(key, pem.clone());
            // The root at the end of the chain is not looked at.
            prop_assert!(!accepted || key == CHAIN || pem == changed_pem(&good, |der| der));
        }
    }

    #[test]
    fn changed_roots_and_keys_are_read_or_refused(changes in changes()) {
        let root = changed_pem(&text("keys/sigstore-mock/fulcio-root.pem"), |der| changed(der, &changes));
        let log = changed_pem(&text("keys/sigstore-mock/rekor.pub"), |der| changed(der, &changes));
        let data = |pem: &str| base64::encode(pem.as_bytes());
        let (payload, annotations) = keyless();
        let policy = policy(json!({
            "fulcio": {
                "caData": data(&root),
                "oidcIssuer": "https://issuer.securecp.test",
                "subjectEmail": "release@securecp.test",
            },
            "rekorPublicKeyData": data(&log),
        }));
        let verdict = judge(&policy, vec![signature(payload, annotations)]);
        prop_assert!(!verdict.accepted || log == changed_pem(&text("keys/sigstore-mock/rekor.pub"), |der| der));
    }

    #[test]
    fn changed_keys_are_read_or_refused(changes in changes(), name in prop::sample::select(vec!["p256", "p384", "p521", "rsa2048", "rsa2048-pkcs1", "ed25519"])) {
        let good = text(&format!("sigstore/algorithms/{name}.pub"));
        let key = changed_pem(&good, |der| changed(der, &changes));
        let encoded = text(&format!("sigstore/algorithms/{}.sig", name.trim_end_matches("-pkcs1")));
        let policy = policy(json!({"keyData": base64::encode(key.as_bytes())}));
        let annotations = [(SIGNATURE.to_owned(), encoded)].into();
        let payload = testdata("sigstore/algorithms/payload");
        let verdict = judge(&policy, vec![signature(payload, annotations)]);
        prop_assert!(!verdict.accepted || key == changed_pem(&good, |der| der));
    }

    #[test]
    fn changed_attachment_manifests_are_read_or_refused(changes in changes()) {
        let digest = "f81a46deba17a7eef9133906b7b7c4dd7846568d70efdf10e35ace781d44ebdc";
        let bytes = testdata(&format!("sigstore/attachment-sigstore/blobs/sha256/{digest}"));
        if let Ok(found) = Attachment::read(Bytes::from(changed(bytes, &changes)), Declared::default()) {
            prop_assert!(found.layers().len() <= 128);
            for position in 0..=found.layers().len() {
                let _ = found.signature(position, Bytes::from_static(b"x"));
            }
            let config = testdata("sigstore/attachment-sigstore/blobs/sha256/b43175f293328eedec856ae3582f51317e99f695fad009ebd0a89ec7e1c65354");
            if let Ok(Some(new)) = found.with(&config, &[bare(b"payload", b"x")]) {
                let again = Attachment::read(new.manifest.bytes().clone(), Declared::default()).unwrap();
                prop_assert_eq!(again.layers().len(), found.layers().len() + 1);
            }
        }
    }

    #[test]
    fn changed_bundles_are_read_or_refused(name in bundle_names(), changes in changes()) {
        let _ = judge_bundles(TRUST, &[changed(testdata(&name), &changes)]);
    }

    #[test]
    fn changed_trust_files_are_read_or_refused(changes in changes()) {
        let bytes = changed(TRUST.as_bytes().to_vec(), &changes);
        if let Ok(file) = TrustFile::parse(&bytes) {
            let _ = judge_bundles(std::str::from_utf8(&bytes).unwrap(), &[testdata("sigstore/bundles/sign-rekor1.json")]);
            prop_assert_eq!(TrustFile::parse(&bytes).unwrap(), file);
        }
    }

    #[test]
    fn any_bytes_as_anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Attachment::read(Bytes::from(bytes.clone()), Declared::default()).is_err());
        prop_assert!(SigstoreKey::from_encrypted_pem(&bytes, Some(b"")).is_err());
        prop_assert!(!judge_bundles(TRUST, &[&bytes]).accepted);
        let policy = policy(json!({"keyData": base64::encode(&bytes)}));
        prop_assert!(!judge(&policy, signatures("signed-sigstore")).accepted);
        let _ = TrustFile::parse(&bytes);
    }
}

proptest! {
    // Each case that reaches the derivation costs what scrypt costs.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_key_files_hold_the_key_or_nothing(changes in changes()) {
        let good = text("sigstore/private-keys/legacy-cost.key");
        let file = changed_pem(&good, |json| changed(json, &changes));
        if let Ok(key) = SigstoreKey::from_encrypted_pem(file.as_bytes(), Some(b"correct horse")) {
            prop_assert_eq!(key.public_pem(), text("sigstore/private-keys/legacy-cost.pub"));
        }
    }
}

/// The places of all members of a document.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                leaves(member, &format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}/{position}"), found);
            }
        }
        _ => {}
    }
}

/// What may be changed without consequence: absent timestamps, an optional digest, and what the second version of the
/// log repeats beside its signed checkpoint.
const IDLE: &[&str] = &[
    "sign-rekor1 /timestampVerificationData null",
    "sign-rekor1 /timestampVerificationData {}",
    "sign-rekor1 /timestampVerificationData []",
    "message-rekor1 /timestampVerificationData null",
    "message-rekor1 /timestampVerificationData {}",
    "message-rekor1 /timestampVerificationData []",
    "message-rekor1 /messageSignature/messageDigest null",
    "message-rekor2 /tlogEntries/0/integratedTime 7",
    "message-rekor2 /tlogEntries/0/inclusionProof/logIndex 7",
    "message-rekor2 /tlogEntries/0/inclusionProof/treeSize 7",
    "message-rekor2 /messageSignature/messageDigest null",
];

#[test]
fn every_member_of_a_bundle_matters() {
    let mut idle = Vec::new();
    for name in ["sign-rekor1", "message-rekor1", "message-rekor2"] {
        let good: Value =
            serde_json::from_slice(&testdata(&format!("sigstore/bundles/{name}.json"))).unwrap();
        let mut paths = Vec::new();
        leaves(&good, "", &mut paths);
        assert!(paths.len() > 20);
        for path in paths {
            for other in [json!(null), json!(""), json!({}), json!([]), json!(7), json!("AAAA")] {
                let mut bundle = good.clone();
                let place = bundle.pointer_mut(&path).unwrap();
                if *place == other {
                    continue;
                }
                *place = other.clone();
                let verdict = judge_bundles(TRUST, &[bundle.to_string()]);
                if verdict.accepted {
                    let path = path.trim_start_matches("/verificationMaterial");
                    idle.push(format!("{name} {path} {other}"));
                }
            }
        }
    }
    assert_eq!(idle, IDLE);
}

#[test]
fn every_bit_of_what_is_signed_matters() {
    for (name, paths) in [
        ("sign-rekor1", &["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"][..]),
        (
            "message-rekor1",
            &[
                "/messageSignature/signature",
                "/verificationMaterial/tlogEntries/0/canonicalizedBody",
            ],
        ),
        ("sign-rekor2", &["/dsseEnvelope/payload", "/verificationMaterial/certificate/rawBytes"]),
    ] {
        let good: Value =
            serde_json::from_slice(&testdata(&format!("sigstore/bundles/{name}.json"))).unwrap();
        for path in paths {
            let bytes = base64::decode(good.pointer(path).unwrap().as_str().unwrap()).unwrap();
            for position in 0..bytes.len() {
                let mut altered = bytes.clone();
                altered[position] ^= 1 << (position % 8);
                let mut bundle = good.clone();
                *bundle.pointer_mut(path).unwrap() = base64::encode(&altered).into();
                let verdict = judge_bundles(TRUST, &[bundle.to_string()]);
                assert!(!verdict.accepted, "{name} {path} byte {position}");
            }
        }
    }
}
