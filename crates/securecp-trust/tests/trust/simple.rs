//! `signedBy`: OpenPGP messages made by GnuPG, one of every kind, and the reference's own vectors.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use securecp_oci::{Algorithm, Declared, Digest, ImageIdentity, RawManifest, Signature, Transport};
use securecp_trust::{
    Denial, FreshKey, Gate, Payload, PayloadKind, Policy, SignatureFault, SimpleSigner, Verdict,
};

use crate::support::{Survey, docker, image, subject};

pub(crate) const NAME: &str = "registry.securecp.test/plain:v1";

/// The day after the messages were made.
pub(crate) fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_300_000)
}

pub(crate) fn testdata(path: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/trust");
    std::fs::read(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn keys(path: &str) -> Result<Vec<u8>, std::io::Error> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/trust");
    std::fs::read(root.join(path))
}

pub(crate) fn manifest() -> RawManifest {
    let bytes = Bytes::from(testdata("signed-pgp-alice/manifest.json"));
    RawManifest::read(bytes, Declared::default()).unwrap()
}

pub(crate) fn signed_by(key_path: &str, identity: &str) -> Policy {
    let text = format!(
        r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{key_path}"{identity}}}]}}"#
    );
    Policy::parse(text.as_bytes()).unwrap()
}

fn judge(
    policy: &Policy,
    name: &str,
    manifest: RawManifest,
    signatures: Vec<Signature>,
) -> Verdict {
    let identity = ImageIdentity::docker(&name.parse().unwrap());
    let survey = Survey { identity, subjects: vec![subject(manifest, signatures)] };
    policy.judge(&survey, &Gate::new(&keys).at(then()))
}

pub(crate) fn message(name: &str) -> Signature {
    // Not through Signature::parse: armour and clear-signed text must be refused here too.
    Signature::Simple(Bytes::from(testdata(&format!("gpg/{name}.sig"))))
}

/// `accepted`, or the reason of the one signature tried.
fn outcome(verdict: &Verdict) -> String {
    let tried = &verdict.subjects[0].requirements[0].signatures[0];
    let Some(fault) = &tried.fault else { return "accepted".to_owned() };
    assert!(!verdict.accepted);
    serde_json::to_value(fault).unwrap()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn every_kind_of_message_gets_its_verdict() {
    let table = String::from_utf8(testdata("gpg/verdicts.tsv")).unwrap();
    let mut rows = 0;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let [name, key, expected, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let policy = signed_by(&format!("gpg/key-{key}.gpg"), "");
        let started = Instant::now();
        let verdict = judge(&policy, NAME, manifest(), vec![message(name)]);
        assert_eq!(outcome(&verdict), expected, "{name}: {verdict}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
        rows += 1;
    }
    assert!(rows >= 40);
}

#[test]
fn the_signer_is_named_by_the_primary_key() {
    let policy = signed_by("gpg/key-sub.gpg", "");
    let verdict = judge(&policy, NAME, manifest(), vec![message("valid-subkey")]);
    let signer = verdict.subjects[0].requirements[0].signatures[0].accepted.clone().unwrap();
    assert_eq!((signer.key.len(), signer.identity.as_str()), (40, NAME));
    assert!(verdict.to_string().contains(&format!("signature 1: by {}, for {NAME}", signer.key)));
}

#[test]
fn a_key_that_expires_later_is_good_until_then() {
    let policy = signed_by("gpg/key-expired.gpg", "");
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_591_056_000 + 3600);
    let survey = || {
        let identity = ImageIdentity::docker(&NAME.parse().unwrap());
        Survey { identity, subjects: vec![subject(manifest(), vec![message("expired-key")])] }
    };
    assert!(policy.judge(&survey(), &Gate::new(&keys).at(made)).accepted);
    assert!(!policy.judge(&survey(), &Gate::new(&keys).at(then())).accepted);
}

#[test]
fn clocks_may_differ_by_half_an_hour() {
    let policy = signed_by("gpg/key-rsa.gpg", "");
    let at = |seconds: u64| {
        let identity = ImageIdentity::docker(&NAME.parse().unwrap());
        let survey = Survey {
            identity,
            subjects: vec![subject(manifest(), vec![message("future-signature")])],
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_366_841_600 - seconds);
        policy.judge(&survey, &Gate::new(&keys).at(now)).accepted
    };
    assert!(at(0));
    assert!(at(29 * 60));
    assert!(!at(31 * 60));
}

#[test]
fn one_good_signature_among_bad_ones_is_enough() {
    let policy = signed_by("gpg/key-rsa.gpg", "");
    let mixed = ["corrupt-signature", "unknown-key", "valid-rsa"].map(message).to_vec();
    let verdict = judge(&policy, NAME, manifest(), mixed);
    assert!(verdict.accepted);
    assert_eq!(verdict.subjects[0].requirements[0].signatures.len(), 3);
}

#[test]
fn several_bad_signatures_are_all_named() {
    let policy = signed_by("gpg/key-rsa.gpg", "");
    let verdict =
        judge(&policy, NAME, manifest(), ["wrong-tag", "wrong-digest"].map(message).to_vec());
    let denial = verdict.subjects[0].denial().unwrap().to_string();
    let expected = format!(
        "None of the signatures were accepted, reasons: Signature for identity \"registry.securecp.test/plain:v2\" \
         is not accepted; Signature for digest sha256:{} does not match",
        "0".repeat(64)
    );
    assert_eq!(denial, expected);
}

#[test]
fn the_digest_is_compared_before_the_identity() {
    let policy = signed_by("gpg/key-rsa.gpg", "");
    let verdict =
        judge(&policy, "elsewhere.test/x:1", image("another"), vec![message("valid-rsa")]);
    assert_eq!(outcome(&verdict), "digest");
    let verdict = judge(&policy, "elsewhere.test/x:1", manifest(), vec![message("valid-rsa")]);
    assert_eq!(outcome(&verdict), "identity");
    assert_eq!(
        verdict.subjects[0].denial(),
        Some(&Denial::Signature { fault: SignatureFault::Identity { signed: NAME.to_owned() } })
    );
}

#[test]
fn two_requirements_may_be_met_by_two_signatures() {
    let one = |key: &str| {
        format!(r#"{{"type":"signedBy","keyType":"GPGKeys","keyPath":"gpg/key-{key}.gpg"}}"#)
    };
    let text = format!(r#"{{"default":[{},{}]}}"#, one("rsa"), one("ed"));
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let both = ["valid-rsa", "valid-ed25519"].map(message).to_vec();
    assert!(judge(&policy, NAME, manifest(), both).accepted);
    assert!(!judge(&policy, NAME, manifest(), vec![message("valid-rsa")]).accepted);
}

#[test]
fn keys_are_read_when_needed_and_only_then() {
    let missing = signed_by("/nonexistent", "");
    let verdict = judge(&missing, NAME, manifest(), vec![message("valid-rsa")]);
    let denial = verdict.subjects[0].denial().unwrap().to_string();
    assert_eq!(denial, "open /nonexistent: no such file or directory");
    let verdict = judge(&missing, NAME, manifest(), Vec::new());
    let denial = verdict.subjects[0].denial().unwrap().to_string();
    assert_eq!(denial, "A signature was required, but no signature exists");
    for empty in [
        r#""keyPaths":[]"#,
        r#""keyData":"""#,
        r#""keyData":"Z2FyYmFnZQ==""#,
        r#""keyPath":"keys/cosign.pub""#,
    ] {
        let text = format!(r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys",{empty}}}]}}"#);
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let verdict = judge(&policy, NAME, manifest(), vec![message("valid-rsa")]);
        assert_eq!(verdict.subjects[0].denial().unwrap().to_string(), "No public keys imported");
    }
}

#[test]
fn large_key_files_are_refused() {
    let large = |_: &str| Ok(vec![0; securecp_trust::KEY_LIMIT + 1]);
    let identity = ImageIdentity::docker(&NAME.parse().unwrap());
    let survey =
        Survey { identity, subjects: vec![subject(manifest(), vec![message("valid-rsa")])] };
    let verdict = signed_by("k", "").judge(&survey, &Gate::new(&large).at(then()));
    assert!(verdict.subjects[0].denial().unwrap().to_string().contains("more than"));
}

#[test]
fn other_key_types_accept_nothing() {
    for key_type in ["X509Certificates", "signedByGPGKeys", "signedByX509CAs"] {
        let text = format!(
            r#"{{"default":[{{"type":"signedBy","keyType":"{key_type}","keyPath":"gpg/key-rsa.gpg"}}]}}"#
        );
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let verdict = judge(&policy, NAME, manifest(), vec![message("valid-rsa")]);
        let expected = format!("Unimplemented \"keyType\" value \"{key_type}\"");
        assert_eq!(verdict.subjects[0].denial().unwrap().to_string(), expected);
    }
}

/// The verdict on a vector folder under a policy of the vectors, as a `dir:` image.
fn vector(folder: &str, policy: &[u8]) -> Verdict {
    let bytes = Bytes::from(testdata(&format!("{folder}/manifest.json")));
    let manifest = RawManifest::read(bytes, Declared::default()).unwrap();
    let signatures = (1..=2)
        .filter_map(|n| keys(&format!("{folder}/signature-{n}")).ok())
        .map(|blob| Signature::parse(Bytes::from(blob)).unwrap())
        .collect();
    let identity = ImageIdentity::path(Transport::Dir, "/somewhere");
    let survey = Survey { identity, subjects: vec![subject(manifest, signatures)] };
    Policy::parse(policy).unwrap().judge(&survey, &Gate::new(&keys).at(then()))
}

#[test]
fn the_reference_s_vectors_get_their_verdicts() {
    let alice = testdata("policy-alice.json");
    assert!(vector("signed-pgp-alice", &alice).accepted);
    assert!(vector("signed-both", &alice).accepted);
    assert!(!vector("signed-sigstore", &alice).accepted, "sigstore signatures are invisible");
    let bob = String::from_utf8(alice.clone()).unwrap().replace("pgp-alice", "pgp-bob");
    assert_eq!(outcome(&vector("signed-pgp-alice", bob.as_bytes())), "unknownKey");
    let default_identity = String::from_utf8(alice).unwrap();
    let start = default_identity.find(r#","signedIdentity""#).unwrap();
    let end = default_identity.find("}}]").unwrap();
    let without = format!("{}{}", &default_identity[..start], &default_identity[end + 1..]);
    let verdict = vector("signed-pgp-alice", without.as_bytes());
    assert_eq!(outcome(&verdict), "identity", "a directory has no reference of its own");
}

#[test]
fn a_refused_signature_can_be_looked_at() {
    let look = |name: &str| {
        let bytes = testdata(&format!("gpg/{name}.sig"));
        securecp_trust::dangerous_read_simple_unverified(&bytes)
    };
    for name in ["valid-rsa", "unknown-key", "expired-key", "corrupt-signature", "weak-md5"] {
        let found = look(name).unwrap();
        assert_eq!(found.payload.identity, NAME, "{name}");
        assert_eq!(found.key.len(), 16, "{name}: {}", found.key);
    }
    for name in
        ["unsigned", "encrypted", "detached", "armoured", "two-signers", "not-json", "bomb-literal"]
    {
        assert!(look(name).is_err(), "{name}");
    }
}

/// The digest of a signed schema 1 image is that of its payload, and so is what signatures name.
#[test]
fn a_signature_of_a_schema_1_image_names_its_payload() {
    let manifest = testdata("../converted/schema1-rich/source.manifest.json");
    let manifest = RawManifest::read(Bytes::from(manifest), Declared::default()).unwrap();
    assert!(manifest.as_schema1().is_some() && manifest.digested() != manifest.bytes());
    let (now, name) = (then(), "r.test/a:1");
    let key = FreshKey::generate("A <a@x.test>", now, Duration::from_secs(3600)).unwrap();
    let signer = SimpleSigner::from_key(&key.secret, None, now).unwrap();
    let public = |_: &str| Ok(key.public.clone());
    for (bytes, accepted) in [(manifest.digested(), true), (manifest.bytes(), false)] {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let payload = Payload::new(PayloadKind::Simple, &digest, &name.parse().unwrap(), now);
        let signature = signer.sign(&payload.unwrap(), now).unwrap();
        let survey = docker(name, vec![subject(manifest.clone(), vec![signature])]);
        let verdict = signed_by("key", "").judge(&survey, &Gate::new(&public).at(now));
        assert_eq!(verdict.accepted, accepted, "{verdict}");
    }
}
