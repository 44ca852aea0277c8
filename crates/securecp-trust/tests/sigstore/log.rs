//! `sigstoreSigned` with keys of a transparency log.

use openssl::pkey::{PKey, Private};
use securecp_oci::{Annotations, base64};
use securecp_trust::Verdict;
use serde_json::{Value, json};

use crate::lab::*;
use crate::material::*;

const POLICY: &str = "trust/policy-sigstore-rekor.json";

/// A key, a log, and a signature that the log has seen.
struct Case {
    key: PKey<Private>,
    log: PKey<Private>,
    payload: Vec<u8>,
    raw: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        let (key, payload) = (new_key(), parts("signed-sigstore").0);
        let raw = sign(&key, &payload);
        Self { key, log: new_key(), payload, raw }
    }

    fn body(&self) -> Value {
        let signer = String::from_utf8(public_pem(&self.key)).unwrap();
        body(&self.payload, &self.raw, &signer)
    }

    fn judge_entry(&self, entry: String) -> Verdict {
        let data = |key: &PKey<Private>| base64::encode(&public_pem(key));
        let policy =
            policy(json!({"keyData": data(&self.key), "rekorPublicKeyData": data(&self.log)}));
        let annotations: Annotations =
            [(SIGNATURE.to_owned(), base64::encode(&self.raw)), (BUNDLE.to_owned(), entry)].into();
        judge(&policy, vec![signature(self.payload.clone(), annotations)])
    }

    fn judge_body(&self, body: &Value) -> Verdict {
        self.judge_entry(promise(&self.log, body, NOW))
    }
}

/// The outcome of the one key that was tried.
fn inner(verdict: &Verdict) -> String {
    assert_eq!(outcome(verdict), "noKey", "{verdict}");
    words(verdict).strip_prefix("No public key verified against the RekorSET: ").unwrap().to_owned()
}

#[test]
fn the_reference_s_vector_is_accepted() {
    let verdict = judge_folder(&text(POLICY), signatures("signed-sigstore-rekor"));
    assert_eq!(outcome(&verdict), "accepted", "{verdict}");
}

#[test]
fn a_missing_promise_is_refused_where_a_log_is_trusted_and_only_there() {
    let verdict = judge_folder(&text(POLICY), signatures("signed-sigstore"));
    assert_eq!(words(&verdict), format!("missing {BUNDLE} annotation"));
    let (payload, mut annotations) = parts("signed-sigstore-rekor");
    annotations.insert(BUNDLE.to_owned(), "nonsense".to_owned());
    let signed = vec![signature(payload, annotations)];
    let without = judge_folder(&text("trust/policy-sigstore.json"), signed.clone());
    assert_eq!(outcome(&without), "accepted");
    let verdict = judge_folder(&text(POLICY), signed);
    assert!(inner(&verdict).starts_with("Rekor SET: annotation cannot be read"));
}

#[test]
fn another_log_key_is_refused() {
    for key in ["p256", "p384", "p521"] {
        let path = format!("sigstore/algorithms/{key}.pub");
        let policy = policy(json!({"keyPath": "keys/cosign.pub", "rekorPublicKeyPath": path}));
        let verdict = judge(&policy, signatures("signed-sigstore-rekor"));
        assert_eq!(
            inner(&verdict),
            "cryptographic signature verification of Rekor SET failed",
            "{key}"
        );
    }
}

#[test]
fn several_log_keys_may_be_trusted_and_all_must_be_ecdsa() {
    let trust = |logs: &[&str]| {
        let policy = policy(json!({"keyPath": "keys/cosign.pub", "rekorPublicKeyPaths": logs}));
        judge(&policy, signatures("signed-sigstore-rekor"))
    };
    let real = "keys/sigstore-mock/rekor.pub";
    assert_eq!(outcome(&trust(&["sigstore/algorithms/p521.pub", real])), "accepted");
    for other in ["rsa2048", "ed25519"] {
        let verdict = trust(&[real, &format!("sigstore/algorithms/{other}.pub")]);
        assert_eq!(words(&verdict), "Rekor public key 2 is not using ECDSA");
    }
    let verdict = trust(&[real, "sigstore/algorithms/payload"]);
    assert_eq!(words(&verdict), "parsing Rekor public key 2: PEM decoding failed");
}

/// CVE-2022-23649: any promise of the log could be attached to any signature.
#[test]
fn cve_2022_23649_a_promise_about_something_else_is_refused() {
    let case = Case::new();
    assert_eq!(outcome(&case.judge_body(&case.body())), "accepted");
    let other = Case { log: case.log.clone(), ..Case::new() };
    assert_eq!(inner(&case.judge_body(&other.body())), "publicKey in Rekor SET does not match");
    let same_key =
        Case { key: case.key.clone(), raw: sign(&case.key, &case.payload), ..Case::new() };
    assert_eq!(inner(&case.judge_body(&same_key.body())), "signature in Rekor SET does not match");
    let same_signature = Case {
        key: case.key.clone(),
        raw: case.raw.clone(),
        payload: b"another payload".to_vec(),
        log: case.log.clone(),
    };
    assert_eq!(
        inner(&case.judge_body(&same_signature.body())),
        "payload in Rekor SET does not match"
    );
}

#[test]
fn a_promise_of_the_vectors_for_another_signature_is_refused() {
    let (payload, mut annotations) = parts("signed-sigstore-rekor");
    annotations.insert(BUNDLE.to_owned(), parts("signed-keyless").1[BUNDLE].clone());
    let verdict = judge_folder(&text(POLICY), vec![signature(payload, annotations)]);
    assert_eq!(inner(&verdict), "publicKey in Rekor SET does not match");
}

#[test]
fn verdicts_name_the_reason_for_each_key() {
    let case = Case::new();
    let other = Case { log: case.log.clone(), ..Case::new() };
    let verdict = case.judge_body(&other.body());
    let value = serde_json::to_value(&verdict).unwrap();
    let fault = &value["subjects"][0]["requirements"][0]["signatures"][0]["fault"];
    assert_eq!(fault["reason"], "noKey");
    assert_eq!(fault["faults"][0]["reason"], "otherKey");
}

#[test]
fn only_hashedrekord_of_the_known_version_counts() {
    let case = Case::new();
    let with = |pointer: &str, value: Value| {
        let mut body = case.body();
        *body.pointer_mut(pointer).unwrap() = value;
        case.judge_body(&body)
    };
    for (pointer, value, phrase) in [
        ("/kind", json!("rekord"), "invalid kind value: \"rekord\""),
        ("/kind", json!(null), "invalid kind value: \"\""),
        ("/apiVersion", json!("0.0.2"), "unsupported apiVersion \"0.0.2\" in Rekor SET"),
        ("/spec/data/hash/algorithm", json!("sha512"), "payload in Rekor SET does not match"),
        ("/spec/data/hash/value", json!("00"), "payload in Rekor SET does not match"),
        ("/spec/signature/content", json!(""), "signature in Rekor SET does not match"),
        (
            "/spec/signature/content",
            json!("%"),
            "Rekor SET: body cannot be read: illegal base64 data at input byte 0",
        ),
        (
            "/spec/signature/publicKey/content",
            json!("eA=="),
            "publicKey in Rekor SET has trailing data",
        ),
        ("/spec", json!({}), "publicKey in Rekor SET has trailing data"),
    ] {
        assert_eq!(inner(&with(pointer, value)), phrase, "{pointer}");
    }
    let digest = case.body()["spec"]["data"]["hash"]["value"].as_str().unwrap().to_uppercase();
    assert_eq!(outcome(&with("/spec/data/hash/value", json!(digest))), "accepted");
    let mut more = case.body();
    more["spec"]["more"] = json!(1);
    assert_eq!(outcome(&case.judge_body(&more)), "accepted", "the body is read leniently");
    let twice = case.body().to_string().replacen('{', "{\"kind\":\"rekord\",", 1);
    let promised = json!({
        "body": base64::encode(twice.as_bytes()), "integratedTime": NOW, "logID": "", "logIndex": 0,
    });
    let set = base64::encode(&sign(&case.log, promised.to_string().as_bytes()));
    let entry = json!({"SignedEntryTimestamp": set, "Payload": promised}).to_string();
    assert!(inner(&case.judge_entry(entry)).starts_with("Rekor SET: body cannot be read"));
}

#[test]
fn the_key_in_the_entry_is_compared_by_content() {
    let case = Case::new();
    let pem = String::from_utf8(public_pem(&case.key)).unwrap();
    let with = |pem: String| {
        let mut body = case.body();
        body["spec"]["signature"]["publicKey"]["content"] = base64::encode(pem.as_bytes()).into();
        case.judge_body(&body)
    };
    let lines: Vec<&str> = pem.lines().collect();
    let rewrapped = format!(
        "{}\n{}\n{}\n",
        lines[0],
        lines[1..lines.len() - 1].concat(),
        lines[lines.len() - 1]
    );
    assert_eq!(outcome(&with(rewrapped)), "accepted");
    assert_eq!(outcome(&with(pem.replace("PUBLIC KEY", "ANYTHING"))), "accepted");
    for bad in [format!("{pem}x"), format!("{pem}{pem}"), format!("{pem}\n")] {
        assert_eq!(inner(&with(bad)), "publicKey in Rekor SET has trailing data");
    }
}

#[test]
fn the_annotation_has_exactly_its_members() {
    let case = Case::new();
    let good = promise(&case.log, &case.body(), NOW);
    assert_eq!(outcome(&case.judge_entry(good.clone())), "accepted");
    let spaced = good.replace("{\"", "{ \n\"");
    assert_eq!(outcome(&case.judge_entry(spaced)), "accepted", "the canonical form is signed");
    for (from, to) in [
        ("{\"Signed", "{\"x\":1,\"Signed"),
        ("{\"Signed", "{\"Payload\":{},\"Signed"),
        ("\"Payload\"", "\"payload\""),
        ("{\"body\"", "{\"x\":1,\"body\""),
        ("{\"body\"", "{\"body\":\"\",\"body\""),
        ("\"logIndex\":7", "\"logIndex\":7.5"),
        ("\"logIndex\":7", "\"logIndex\":-7"),
        ("\"logIndex\":7", "\"logIndex\":\"7\""),
        ("\"logIndex\":7", "\"logIndex\":9007199254740994"),
        ("\"logID\":\"00\"", "\"logID\":null"),
        ("\"logID\":\"00\",", ""),
        ("}}", "}}x"),
        ("}}", "}"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let found = inner(&case.judge_entry(bad));
        assert!(found.starts_with("Rekor SET: "), "{from} {to}: {found}");
    }
    for altered in [("\"logIndex\":7", "\"logIndex\":8"), ("\"logID\":\"00\"", "\"logID\":\"01\"")]
    {
        let found = inner(&case.judge_entry(good.replacen(altered.0, altered.1, 1)));
        assert_eq!(found, "cryptographic signature verification of Rekor SET failed");
    }
}

#[test]
fn each_trusted_key_is_tried_against_the_entry() {
    let keys = ["sigstore/algorithms/p256.pub", "keys/cosign.pub"];
    let log = "keys/sigstore-mock/rekor.pub";
    let both = policy(json!({"keyPaths": keys, "rekorPublicKeyPath": log}));
    assert_eq!(outcome(&judge(&both, signatures("signed-sigstore-rekor"))), "accepted");
    let other = ["sigstore/algorithms/p256.pub", "sigstore/algorithms/rsa2048-pkcs1.pub"];
    let neither = policy(json!({"keyPaths": other, "rekorPublicKeyPath": log}));
    assert_eq!(
        inner(&judge(&neither, signatures("signed-sigstore-rekor"))),
        "publicKey in Rekor SET does not match, publicKey in Rekor SET does not match"
    );
}
