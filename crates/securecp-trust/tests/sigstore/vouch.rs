//! Evidence judged one piece at a time.

use std::io;

use openssl::pkey::{PKey, Private};
use securecp_oci::{Annotations, Declared, ImageIdentity, RawManifest, Signature, base64};
use securecp_trust::{Gate, Judgement, Policy, TrustFile, WitnessError, Witnesses};
use serde_json::{Value, json};

use crate::lab::*;
use crate::material::{NAME, SIGNATURE, bare, manifest, parts, policy};
use crate::trust_file::promised;

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const SLSA: &str = "https://slsa.dev/provenance/v1";

/// Files by name, and what is asked of them.
struct Court {
    files: Vec<(String, Vec<u8>)>,
    policy: Policy,
    trust: Option<TrustFile>,
}

impl Court {
    fn under(policy: Policy, trust: Option<&str>, files: &[(&str, Vec<u8>)]) -> Self {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone()));
        let trust = trust.map(|text| TrustFile::parse(text.as_bytes()).unwrap());
        Self { files: files.collect(), policy, trust }
    }

    fn trusting(file: &str, files: &[(&str, Vec<u8>)]) -> Self {
        let accept = Policy::parse(br#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
        Self::under(accept.unwrap(), Some(file), files)
    }

    fn hear<T>(&self, ask: impl FnOnce(Result<Witnesses<'_>, WitnessError>) -> T) -> T {
        let read = |path: &str| {
            let found = self.files.iter().find(|(name, _)| name == path);
            found.map(|(_, bytes)| bytes.clone()).ok_or(io::ErrorKind::NotFound.into())
        };
        let gate = Gate::new(&read).trust(self.trust.as_ref());
        let image = ImageIdentity::docker(&NAME.parse().unwrap());
        ask(Witnesses::of(&self.policy, &gate, &image))
    }

    fn bundle(&self, bundle: &Value) -> String {
        self.hear(|found| told(found.unwrap().bundle(&manifest(), bundle.to_string().as_bytes())))
    }

    fn attestation(&self, layer: &Signature) -> String {
        self.hear(|found| told(found.unwrap().attestation(&manifest(), layer)))
    }

    fn signature(&self, signature: &Signature) -> String {
        self.hear(|found| told(found.unwrap().signature(&manifest(), signature)))
    }

    fn refusal(&self) -> WitnessError {
        self.hear(|found| found.err().unwrap())
    }
}

/// What a judge says, in one line.
fn told(judgement: Judgement) -> String {
    match judgement.unwrap() {
        Ok(vouched) if vouched.is_signature() => format!("signature by {}", vouched.by()),
        Ok(vouched) => format!("statement by {}", vouched.by()),
        Err(why) => format!("not: {why}"),
    }
}

fn statement(kind: &str, predicate: &str, subject: &[u8]) -> Value {
    let digest: String =
        openssl::sha::sha256(subject).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "_type": kind,
        "subject": [{"name": "app", "digest": {"sha256": digest}}],
        "predicateType": predicate,
        "predicate": {"builder": {"id": "lab"}},
    })
}

fn provenance(subject: &[u8]) -> Value {
    statement("https://in-toto.io/Statement/v1", SLSA, subject)
}

/// A bundle by a key that no log has seen.
fn by_key(key: &PKey<Private>, statement: &Value) -> Value {
    let material = json!({"publicKey": {"hint": "lab"}});
    bundle(material, Vec::new(), ("dsseEnvelope", signed_statement(key, statement)))
}

fn layer(envelope: &Value, annotations: Annotations) -> Signature {
    let payload = envelope.to_string().into();
    Signature::Sigstore { media_type: ENVELOPE.to_owned(), payload, annotations }
}

const LONE: &str =
    "version: 1\nsigners: {k: {key: key, dangerous-no-log: true}}\ndefault: {require: k}\n";

/// The body of the entry that a log of the first version makes of an envelope.
fn dsse_body(envelope: &Value, signer_pem: &str) -> Value {
    let hex = |bytes: &[u8]| -> String {
        openssl::sha::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let payload = base64::decode(envelope["payload"].as_str().unwrap()).unwrap();
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": hex(envelope.to_string().as_bytes())},
            "payloadHash": {"algorithm": "sha256", "value": hex(&payload)},
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"],
                "verifier": base64::encode(signer_pem.as_bytes()),
            }],
        },
    })
}

#[test]
fn statements_of_whatever_type_are_verified_by_a_key_that_is_named() {
    let (key, other) = (new_key(), new_key());
    let court = Court::trusting(LONE, &[("key", public_pem(&key))]);
    let subject = manifest().bytes().clone();
    let good = by_key(&key, &provenance(&subject));
    let found = court.bundle(&good);
    assert!(found.starts_with("statement by k ("), "{found}");
    let signed = bundle(
        json!({"publicKey": {"hint": ""}}),
        Vec::new(),
        ("dsseEnvelope", envelope(&key, &subject)),
    );
    assert!(court.bundle(&signed).starts_with("signature by k ("));
    assert!(court.bundle(&key_bundle(&key, &subject, None)).starts_with("signature by k ("));
    let mut altered = good.clone();
    let payload = provenance(&subject).to_string().replace("lab", "bal");
    altered["dsseEnvelope"]["payload"] = base64::encode(payload.as_bytes()).into();
    let mut retyped = good.clone();
    retyped["dsseEnvelope"]["payloadType"] = "text/plain".into();
    let custom = statement("https://example.test/Statement", SLSA, &subject);
    for (bundle, why) in [
        (by_key(&other, &provenance(&subject)), "does not verify"),
        (altered, "does not verify"),
        (retyped, "not: "),
        (by_key(&key, &provenance(b"another manifest")), "another artifact"),
        (by_key(&key, &custom), "statement of type"),
        (json!({"no": "bundle"}), "format"),
    ] {
        let found = court.bundle(&bundle);
        assert!(found.starts_with("not: trust file: ") && found.contains(why), "{why}: {found}");
    }
}

#[test]
fn attached_statements_are_verified_layer_by_layer() {
    let (key, other) = (new_key(), new_key());
    let court = Court::trusting(LONE, &[("key", public_pem(&key))]);
    let subject = manifest().bytes().clone();
    let none = [(SIGNATURE.to_owned(), String::new())];
    // What cosign 2 attests has the older type.
    let old = statement("https://in-toto.io/Statement/v0.1", SLSA, &subject);
    for statement in [&old, &provenance(&subject)] {
        let found =
            court.attestation(&layer(&signed_statement(&key, statement), none.clone().into()));
        assert!(found.starts_with("statement by k ("), "{found}");
    }
    let of = |key, statement: &Value| {
        court.attestation(&layer(&signed_statement(key, statement), none.clone().into()))
    };
    assert!(of(&other, &old).contains("does not verify"));
    assert!(of(&key, &provenance(b"else")).contains("another artifact"));
    assert!(court.attestation(&layer(&json!("text"), none.clone().into())).starts_with("not: "));
    let simple = Signature::Simple(bytes::Bytes::from_static(b"x"));
    assert_eq!(court.signature(&simple), "not: nobody is named who signs in this form");
    assert!(court.attestation(&simple).starts_with("not: "));
    // It is no signature: a layer that is one is not an attestation, and the other way round.
    let attested = layer(&signed_statement(&key, &old), none.into());
    assert_eq!(court.signature(&attested), "not: trust file: not a signature");
}

#[test]
fn attached_statements_with_certificates_need_the_log_s_promise() {
    let lab = Keyless::new();
    let file = format!(
        "version: 1\ntrusted-root: root\ndangerous-no-certificate-log: true\n\
         signers: {{a: {{issuer: '{ISSUER}', email: {EMAIL}}}}}\ndefault: {{require: a}}\n"
    );
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let court = Court::trusting(&file, &[("root", root)]);
    let envelope = signed_statement(&lab.signer.key, &provenance(manifest().bytes()));
    let signer = pem(&[&lab.signer]);
    let entry = logged(&lab.log, &dsse_body(&envelope, &signer), lab.time);
    let annotations: Annotations = [
        (SIGNATURE.to_owned(), String::new()),
        (BUNDLE.to_owned(), promised(&entry, lab.time)),
        (CERTIFICATE.to_owned(), signer.clone()),
        (CHAIN.to_owned(), pem(&[&lab.link, &lab.root])),
    ]
    .into();
    let found = court.attestation(&layer(&envelope, annotations.clone()));
    assert!(found.starts_with("statement by a ("), "{found}");
    let mut without = annotations.clone();
    without.remove(BUNDLE);
    let found = court.attestation(&layer(&envelope, without));
    assert!(found.contains("no log entry"), "{found}");
    // The promise is about another envelope.
    let other = signed_statement(&lab.signer.key, &provenance(manifest().bytes()));
    let found = court.attestation(&layer(&other, annotations));
    assert!(found.starts_with("not: "), "{found}");
}

#[test]
fn a_form_that_the_trust_file_does_not_accept_does_not_count() {
    let key = new_key();
    let files = [("key", public_pem(&key))];
    let subject = manifest().bytes().clone();
    let only = |form: &str| LONE.replace("{require", &format!("{{accept: {form}, require"));
    let attested = layer(&signed_statement(&key, &provenance(&subject)), Annotations::new());
    let court = Court::trusting(&only("bundle"), &files);
    assert!(court.attestation(&attested).contains("accepts no attachments"));
    assert!(court.bundle(&by_key(&key, &provenance(&subject))).starts_with("statement by k"));
    let court = Court::trusting(&only("attachment"), &files);
    assert!(court.bundle(&by_key(&key, &provenance(&subject))).contains("accepts no bundles"));
    assert!(court.attestation(&attested).starts_with("statement by k"));
}

/// Keys that policy.json names may sign statements too; where it asks for a log or certificates it is not known how.
#[test]
fn the_policy_s_keys_vouch_for_statements() {
    let key = new_key();
    let subject = manifest().bytes().clone();
    let data = base64::encode(&public_pem(&key));
    let court = Court::under(policy(json!({"keyData": data})), None, &[]);
    let found = court.bundle(&by_key(&key, &provenance(&subject)));
    assert!(found.starts_with("statement by the policy's "), "{found}");
    let found = court.bundle(&by_key(&new_key(), &provenance(&subject)));
    assert!(found.starts_with("not: policy: "), "{found}");
    let (payload, _) = parts("signed-sigstore");
    let signed = bare(&payload, &sign(&key, &payload));
    assert!(court.signature(&signed).starts_with("signature by the policy's "));
    let forged = bare(&payload, &sign(&new_key(), &payload));
    assert!(court.signature(&forged).starts_with("not: policy: "));
    let lab = Keyless::new();
    let court = Court::under(policy(lab.trust()), None, &[]);
    let found = court.bundle(&by_key(&lab.signer.key, &provenance(&subject)));
    assert!(found.contains("attached signatures only"), "{found}");
    assert!(court.signature(&lab.signature(&payload)).starts_with("signature by the policy's "));
}

/// What cannot be judged is an error, and so is a judgement by nobody.
#[test]
fn judges_without_keys_do_not_sit() {
    let accept = br#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    let court = Court::under(Policy::parse(accept).unwrap(), None, &[]);
    assert!(matches!(court.refusal(), WitnessError::Nobody { .. }));
    let nobody = "version: 1\ndefault: policy-only\n";
    assert!(matches!(Court::trusting(nobody, &[]).refusal(), WitnessError::Nobody { .. }));
    assert!(matches!(Court::trusting(LONE, &[]).refusal(), WitnessError::Material(_)));
    let garbage = [("key", b"no key".to_vec())];
    assert!(matches!(Court::trusting(LONE, &garbage).refusal(), WitnessError::Material(_)));
    let court = Court::under(policy(json!({"keyPath": "/nowhere"})), None, &[]);
    let error = court.refusal();
    assert!(matches!(error, WitnessError::Material(_)), "{error}");
    let gpg =
        json!({"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/nowhere"}]});
    let court = Court::under(Policy::parse(gpg.to_string().as_bytes()).unwrap(), None, &[]);
    assert!(matches!(court.refusal(), WitnessError::Material(_)));
}

/// A signature of another manifest is none of this one, whoever made it.
#[test]
fn signatures_are_bound_to_their_subject() {
    let key = new_key();
    let court = Court::trusting(LONE, &[("key", public_pem(&key))]);
    let text = String::from_utf8(manifest().bytes().to_vec()).unwrap();
    let other = RawManifest::read(format!("{text} ").into(), Declared::default()).unwrap();
    let bundle = key_bundle(&key, other.bytes(), None);
    assert!(court.bundle(&bundle).starts_with("not: "));
    court.hear(|found| {
        let judged = told(found.unwrap().bundle(&other, bundle.to_string().as_bytes()));
        assert!(judged.starts_with("signature by k"), "{judged}");
    });
}
