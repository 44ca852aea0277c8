//! Every signature that the reference made for the vectors, with its verdict under every policy of the vectors and under
//! policies and manifests that are not quite right.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::path::{Path, PathBuf};

use cli::{Place, Run, signing};
use securecp_testkit::Registry;
use serde_json::Value;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").canonicalize().unwrap()
}

/// A place with the vectors and their keys; policies find the keys from here.
fn with_vectors() -> Place {
    let place = Place::new();
    for name in FOLDERS.into_iter().chain(["keys", "keys/sigstore-mock"]) {
        for entry in std::fs::read_dir(testdata().join("trust").join(name)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let file = format!("{name}/{}", entry.file_name().to_str().unwrap());
                place.write(&file, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    for name in ["alice", "sigstore", "sigstore-rekor", "keyless"] {
        let file = format!("policy-{name}.json");
        place.write(&file, std::fs::read(testdata().join("trust").join(&file)).unwrap());
    }
    place
}

const FOLDERS: [&str; 5] = [
    "signed-pgp-alice",
    "signed-both",
    "signed-sigstore",
    "signed-sigstore-rekor",
    "signed-keyless",
];

/// What decides: every reason in the verdict of `verify --json`, outer ones first.
fn reasons(run: &Run) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("reason").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| walk(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let verdict: Value = serde_json::from_str(&run.out).unwrap();
    let mut found = Vec::new();
    walk(&verdict["subjects"][0]["requirements"][0], &mut found);
    found
}

#[track_caller]
fn judged(place: &Place, policy: &str, folder: &str, expected: &str) {
    let run = place.run(&format!("--policy {policy}.json verify --json dir:{folder}"));
    let found = match run.code {
        0 => "accepted".to_owned(),
        3 => reasons(&run).join(" "),
        code => format!("exit code {code}"),
    };
    assert_eq!(found, expected, "{folder} under {policy}: {run:?}");
}

/// Under the policies of the vectors, in the order of the columns: alice, sigstore, sigstore-rekor, keyless.
const VERDICTS: [(&str, [&str; 4]); 5] = [
    ("signed-pgp-alice", ["accepted", "noSignature", "noSignature", "noSignature"]),
    (
        "signed-both",
        ["accepted", "accepted", "signature missingAnnotation", "signature missingAnnotation"],
    ),
    (
        "signed-sigstore",
        ["noSignature", "accepted", "signature missingAnnotation", "signature missingAnnotation"],
    ),
    (
        "signed-sigstore-rekor",
        ["noSignature", "accepted", "accepted", "signature missingAnnotation"],
    ),
    (
        "signed-keyless",
        ["noSignature", "signature notVerified", "signature noKey otherKey", "accepted"],
    ),
];

#[test]
fn every_vector_has_its_verdict_under_every_policy() {
    let place = with_vectors();
    for (folder, verdicts) in VERDICTS {
        for (name, expected) in
            ["alice", "sigstore", "sigstore-rekor", "keyless"].into_iter().zip(verdicts)
        {
            judged(&place, &format!("policy-{name}"), folder, expected);
        }
    }
}

/// One thing in a policy is another, and the vector that it accepted is refused for that.
#[test]
fn a_policy_that_trusts_somebody_else_says_why() {
    let place = with_vectors();
    let (pem, _) = keys_of_nobody(&place);
    for (policy, folder, from, to, expected) in [
        ("alice", "signed-pgp-alice", "pgp-alice.pub", "pgp-bob.pub", "signature unknownKey"),
        ("alice", "signed-both", "pgp-alice.pub", "pgp-bob.pub", "signature unknownKey"),
        ("alice", "signed-pgp-alice", "plain:v1", "plain:v2", "signature identity"),
        ("sigstore", "signed-sigstore", "keys/cosign.pub", &pem, "signature notVerified"),
        ("sigstore", "signed-both", "keys/cosign.pub", &pem, "signature notVerified"),
        ("sigstore", "signed-sigstore", "plain:v1", "other:v1", "signature identity"),
        (
            "sigstore-rekor",
            "signed-sigstore-rekor",
            "keys/cosign.pub",
            &pem,
            "signature noKey otherKey",
        ),
        (
            "sigstore-rekor",
            "signed-sigstore-rekor",
            "keys/sigstore-mock/rekor.pub",
            &pem,
            "signature noKey setNotVerified",
        ),
        (
            "keyless",
            "signed-keyless",
            "https://issuer.securecp.test",
            "https://other.test",
            "signature otherIssuer",
        ),
        (
            "keyless",
            "signed-keyless",
            "release@securecp.test",
            "other@securecp.test",
            "signature otherEmail",
        ),
        (
            "keyless",
            "signed-keyless",
            "keys/sigstore-mock/rekor.pub",
            &pem,
            "signature setNotVerified",
        ),
        (
            "keyless",
            "signed-keyless",
            "keys/sigstore-mock/fulcio-root.pem",
            "other-root.pem",
            "signature untrustedRoot",
        ),
    ] {
        let text = String::from_utf8(place.read(&format!("policy-{policy}.json"))).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        place.write("changed.json", text.replace(from, to));
        judged(&place, "changed", folder, expected);
    }
}

/// A public key and a certificate authority that nobody has heard of.
fn keys_of_nobody(place: &Place) -> (String, String) {
    let sigstore = securecp_testkit::sigstore::Sigstore::start().unwrap();
    place.write("nobody.pub", sigstore.log_pem());
    place.write("other-root.pem", sigstore.root_pem());
    ("nobody.pub".to_owned(), "other-root.pem".to_owned())
}

/// The manifest of a vector, its payload, its log entry or its certificate belongs to another.
#[test]
fn parts_of_different_vectors_do_not_make_a_good_one() {
    for (policy, folder, change, expected) in [
        ("alice", "signed-pgp-alice", Change::Manifest, "signature digest"),
        ("sigstore", "signed-sigstore", Change::Manifest, "signature digest"),
        ("sigstore-rekor", "signed-sigstore-rekor", Change::Manifest, "signature digest"),
        ("keyless", "signed-keyless", Change::Manifest, "signature digest"),
        ("sigstore", "signed-sigstore", Change::Payload, "signature notVerified"),
        (
            "sigstore-rekor",
            "signed-sigstore-rekor",
            Change::Payload,
            "signature noKey otherPayload",
        ),
        ("keyless", "signed-keyless", Change::Payload, "signature otherPayload"),
        (
            "sigstore-rekor",
            "signed-sigstore-rekor",
            Change::ForeignEntry,
            "signature noKey otherKey",
        ),
        ("keyless", "signed-keyless", Change::ForeignEntry, "signature otherKey"),
        (
            "sigstore-rekor",
            "signed-sigstore-rekor",
            Change::AlteredEntry,
            "signature noKey setNotVerified",
        ),
        ("keyless", "signed-keyless", Change::AlteredEntry, "signature setNotVerified"),
        ("keyless", "signed-keyless", Change::NoEntry, "signature missingAnnotation"),
        ("keyless", "signed-keyless", Change::NoCertificate, "signature missingAnnotation"),
    ] {
        let place = with_vectors();
        change.make(&place, folder);
        judged(&place, &format!("policy-{policy}"), folder, expected);
    }
}

#[derive(Clone, Copy)]
enum Change {
    Manifest,
    Payload,
    ForeignEntry,
    AlteredEntry,
    NoEntry,
    NoCertificate,
}

const ENTRY: &str = "dev.sigstore.cosign/bundle";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";

impl Change {
    fn make(self, place: &Place, folder: &str) {
        if let Self::Manifest = self {
            let manifest = [place.read(&format!("{folder}/manifest.json")), b"\n".to_vec()];
            return place.write(&format!("{folder}/manifest.json"), manifest.concat());
        }
        let mut stored = Stored::read(place, folder);
        let annotations = &mut stored.content["annotations"];
        match self {
            Self::Manifest => {}
            Self::Payload => {
                let text = stored.content["payload"].as_str().unwrap();
                let mut bytes = securecp_oci::base64::decode(text).unwrap();
                *bytes.last_mut().unwrap() = b' ';
                stored.content["payload"] = securecp_oci::base64::encode(&bytes).into();
            }
            Self::ForeignEntry => {
                let other = match folder {
                    "signed-keyless" => "signed-sigstore-rekor",
                    _ => "signed-keyless",
                };
                annotations[ENTRY] =
                    Stored::read(place, other).content["annotations"][ENTRY].clone();
            }
            Self::AlteredEntry => {
                let text = annotations[ENTRY].as_str().unwrap();
                let time = "\"integratedTime\":1";
                assert!(text.contains(time), "{text}");
                annotations[ENTRY] = text.replace(time, "\"integratedTime\":2").into();
            }
            Self::NoEntry => drop(annotations.as_object_mut().unwrap().remove(ENTRY).unwrap()),
            Self::NoCertificate => {
                drop(annotations.as_object_mut().unwrap().remove(CERTIFICATE).unwrap());
            }
        }
        stored.write(place, folder);
    }
}

/// A sigstore signature as `dir:` keeps it.
struct Stored {
    content: Value,
}

const HEAD: &[u8] = b"\0sigstore-json\n";

impl Stored {
    fn read(place: &Place, folder: &str) -> Self {
        let bytes = place.read(&format!("{folder}/signature-1"));
        Self { content: serde_json::from_slice(bytes.strip_prefix(HEAD).unwrap()).unwrap() }
    }

    fn write(&self, place: &Place, folder: &str) {
        let bytes = [HEAD, self.content.to_string().as_bytes()].concat();
        place.write(&format!("{folder}/signature-1"), bytes);
    }
}

/// The attachment that the reference pushed, in a registry again: it is found and good.
#[test]
fn the_reference_s_attachment_is_found_in_a_registry() {
    let (place, registry) = (Place::new(), Registry::start().unwrap());
    signing::attachments(&place, true);
    let (data, app) = (testdata(), format!("docker://{}/shop/plain", registry.address()));
    place.ok(&format!(
        "copy -q --dest-tls-verify=false dir:{}/images/dir-oci {app}:v1",
        data.display()
    ));
    let policy = |key: &str, name: &str| {
        let identity = serde_json::json!({
            "type": "exactReference", "dockerReference": format!("registry.securecp.test/{name}"),
        });
        let signed = serde_json::json!({
            "type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity,
        });
        place.write("policy.json", serde_json::json!({"default": [signed]}).to_string());
    };
    let key = data.join("trust/keys/cosign.pub").display().to_string();
    policy(&key, "plain:v1");
    let verify = || {
        place.run(&format!(
            "--policy policy.json --registries.d registries.d verify --json --tls-verify=false {app}:v1"
        ))
    };
    let before = verify();
    assert_eq!((before.code, reasons(&before)), (3, vec!["noSignature".to_owned()]));
    let hex = "352fb370f4a9978d04c14127b3b855dcc981475071b5902d8b006a00ca515d6f";
    place.ok(&format!(
        "copy -q --dest-tls-verify=false oci:{}/sigstore/attachment-sigstore:sha256-sig {app}:sha256-{hex}.sig",
        data.display()
    ));
    assert_eq!(verify().code, 0, "{:?}", verify());
    policy(&key, "plain:v2");
    assert_eq!(reasons(&verify()), ["signature", "identity"]);
    policy(&place.path("other.pub").display().to_string(), "plain:v1");
    place.write("other.pub", securecp_testkit::sigstore::Sigstore::start().unwrap().log_pem());
    assert_eq!(reasons(&verify()), ["signature", "notVerified"]);
}
