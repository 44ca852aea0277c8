//! Bundles between securecp and PyPI sigstore, with stand-ins for Fulcio, Rekor and a timestamp authority on loopback.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use cli::stand_in::{StandIn, pypi};
use cli::{Place, image, signing};
use securecp_oci::{Declared, RawManifest, referrers_tag};
use securecp_testkit::Registry;
use securecp_testkit::sigstore::token;
use securecp_trust::BundleArtifact;
use serde_json::{Value, json};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMAIL: &str = "release@securecp.test";
const ISSUER: &str = "https://issuer.securecp.test";

fn bytes_of(place: &Place, digest: &str) -> Vec<u8> {
    std::fs::read(image::blob(&place.path("image"), digest)).unwrap()
}

fn trust_file(place: &Place, stand_in: &StandIn) {
    let file = format!(
        "version: 1\ntrusted-root: {}\nsigners: {{release: {{issuer: '{ISSUER}', email: {EMAIL}}}}}\n\
         default: {{accept: bundle, require: release}}\n",
        stand_in.file("trusted_root.json")
    );
    place.write("trust.yaml", file);
}

#[test]
fn bundles_of_pypi_sigstore_are_accepted() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let digest = image::single(&place.path("image"));
    let manifest = bytes_of(&place, &digest);
    place.write("manifest", &manifest);
    trust_file(&place, &stand_in);
    for version in ["1", "2"] {
        let output = place.path("bundle").display().to_string();
        let manifest_file = place.path("manifest").display().to_string();
        let root = stand_in.file("trusted_root.json");
        let (made, said) =
            pypi("sign.py", &[&stand_in.url, &root, &manifest_file, version, &output]);
        assert!(made, "{said}");
        refer(&place, &manifest, Bytes::from(place.read("bundle")));
        let run = place.run("--policy accept.json verify --trust trust.yaml oci:image:v1");
        assert_eq!(run.code, 0, "log version {version}: {run:?}");
        assert!(run.out.contains(&format!("by {EMAIL} (issuer {ISSUER}), as release")), "{run:?}");
    }
}

/// Stores a bundle as the only referrer of the image in the layout.
fn refer(place: &Place, manifest: &[u8], bundle: Bytes) {
    let layout = place.path("image");
    let subject = RawManifest::read(Bytes::copy_from_slice(manifest), Declared::default()).unwrap();
    let artifact = BundleArtifact::new(&subject, bundle, SystemTime::now()).unwrap();
    for (descriptor, bytes) in &artifact.blobs {
        image::keep(&layout, descriptor.media_type.as_str(), bytes);
    }
    let mut entry = image::keep(&layout, image::MANIFEST, artifact.manifest.bytes());
    entry["artifactType"] = json!(BUNDLE_TYPE);
    let list = json!({"schemaVersion": 2, "mediaType": image::INDEX, "manifests": [entry]});
    let list = image::keep(&layout, image::INDEX, list.to_string().as_bytes());
    let root = image::keep(&layout, image::MANIFEST, manifest);
    let named = |mut entry: Value, name: &str| {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entry
    };
    let tag = referrers_tag(subject.digest()).to_string();
    let top = json!({"schemaVersion": 2, "manifests": [named(root, "v1"), named(list, &tag)]});
    std::fs::write(layout.join("index.json"), top.to_string()).unwrap();
}

/// The bundles in a layout: what each is about, and where it lies.
fn bundles_in(layout: &Path) -> Vec<(String, PathBuf)> {
    let blobs = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let artifact = |path: PathBuf| -> Option<(String, PathBuf)> {
        let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let is_one = value["artifactType"] == BUNDLE_TYPE && value["subject"].is_object();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let bundle = text(&value["layers"][0]["digest"]).filter(|_| is_one)?;
        Some((text(&value["subject"]["digest"])?, image::blob(layout, &bundle)))
    };
    blobs.filter_map(|entry| artifact(entry.unwrap().path())).collect()
}

/// Signs with certificates of the stand-in, and with these witnesses; `SERVICES` is its address.
fn parameters(place: &Place, stand_in: &StandIn, witnesses: &str) {
    let text = format!(
        "fulcio:\n  fulcioURL: SERVICES\n  oidcMode: staticToken\n  oidcIDToken: {}\n{witnesses}",
        token(EMAIL)
    );
    place.write("sign.yaml", text.replace("SERVICES", &stand_in.url));
}

const FIRST: &str = "rekorURL: SERVICES\n";
const SECOND: &str = "rekorV2URL: SERVICES\ntsaURL: SERVICES/api/v1/timestamp\n";

const VERIFY: &str =
    "--policy accept.json verify --all --index-signature require --trust trust.yaml oci:out:v1";

#[test]
fn pypi_sigstore_verifies_keyless_bundles_of_securecp() {
    let stand_in = StandIn::start();
    pypi_verifies(&stand_in, FIRST, "dsse 0.0.1");
}

#[test]
fn pypi_sigstore_verifies_bundles_with_a_log_of_the_second_version_and_a_timestamp() {
    let stand_in = StandIn::start();
    pypi_verifies(&stand_in, SECOND, "hashedrekord 0.0.2");
}

#[track_caller]
fn pypi_verifies(stand_in: &StandIn, witnesses: &str, kind: &str) {
    let place = Place::new();
    let index = image::two_platforms(&place.path("image"));
    parameters(&place, stand_in, witnesses);
    let root = stand_in.file("trusted_root.json");
    let run = place.run(&format!(
        "--policy accept.json copy --all --sign-by-sigstore sign.yaml --sign-format bundle \
         --sign-trusted-root {root} oci:image:v1 oci:out:v1"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    let out = place.path("out");
    let found = bundles_in(&out);
    assert_eq!(found.len(), 3, "one for each image and one for the index");
    assert!(found.iter().any(|(subject, _)| *subject == index));
    for (subject, bundle) in &found {
        let manifest = image::blob(&out, subject).display().to_string();
        let content: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
        let text = |pointer| content.pointer(pointer).and_then(Value::as_str).unwrap();
        let entry = "/verificationMaterial/tlogEntries/0/kindVersion";
        let found = [text(&format!("{entry}/kind")), text(&format!("{entry}/version"))].join(" ");
        assert_eq!(found, kind);
        let bundle = bundle.display().to_string();
        let verify = |email: &str| pypi("verify.py", &[&root, &bundle, &manifest, email, ISSUER]);
        let (accepted, said) = verify(EMAIL);
        assert!(accepted, "{said}");
        let (accepted, said) = verify("other@securecp.test");
        assert!(!accepted, "{said}");
    }
    without_timestamp(&place, (&out, &found[0]), &root, content_has_time(&found[0].1));
    trust_file(&place, stand_in);
    let run = place.run(VERIFY);
    assert_eq!(run.code, 0, "{run:?}");
    // The trusted root of another instance knows neither certificate nor log.
    let other = StandIn::start();
    trust_file(&place, &other);
    let run = place.run(VERIFY);
    assert_eq!(run.code, 3, "{run:?}");
}

fn content_has_time(bundle: &Path) -> bool {
    let content: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
    content["verificationMaterial"]["timestampVerificationData"].is_object()
}

/// What PyPI sigstore accepted it accepted for the timestamp, where there was one.
fn without_timestamp(
    place: &Place,
    (out, (subject, bundle)): (&Path, &(String, PathBuf)),
    root: &str,
    stamped: bool,
) {
    let mut content: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
    let material = content["verificationMaterial"].as_object_mut().unwrap();
    material.remove("timestampVerificationData");
    place.write("bare.json", content.to_string());
    let manifest = image::blob(out, subject).display().to_string();
    let bare = place.path("bare.json").display().to_string();
    let (accepted, said) = pypi("verify.py", &[root, &bare, &manifest, EMAIL, ISSUER]);
    assert_eq!(accepted, !stamped, "{said}");
}

/// The services of another implementation, from the identity token to the verdicts under a policy and a trust file.
#[test]
fn both_forms_are_signed_and_verified_with_services_of_another_implementation() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let registry = Registry::start().unwrap();
    signing::signable(&place);
    signing::attachments(&place, true);
    let (root, log) = (stand_in.file("trusted_root.json"), stand_in.file("rekor.pub"));
    parameters(&place, &stand_in, &format!("{FIRST}{SECOND}rekorPublicKeyFile: {log}\n"));
    let app = format!("docker://{}/shop/app:v1", registry.address());
    let run = place.run(&format!(
        "--policy accept.json --registries.d registries.d copy -q --all --dest-tls-verify=false \
         --sign-by-sigstore sign.yaml --sign-format both --sign-trusted-root {root} oci:image:v1 {app}"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    trust_file(&place, &stand_in);
    let verify = |email: &str| {
        let requirement = json!({
            "type": "sigstoreSigned", "rekorPublicKeyPath": log,
            "fulcio": {
                "caPath": stand_in.file("fulcio-root.pem"), "oidcIssuer": ISSUER, "subjectEmail": email,
            },
        });
        place.write("policy.json", json!({"default": [requirement]}).to_string());
        place.run(&format!(
            "--policy policy.json --registries.d registries.d verify --all --index-signature require \
             --tls-verify=false --trust trust.yaml {app}"
        ))
    };
    let run = verify(EMAIL);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.out.matches(", as release\n").count(), 3, "bundles: {}", run.out);
    assert_eq!(run.out.matches("sigstoreSigned: met\n").count(), 3, "attachments: {}", run.out);
    assert_eq!(verify("other@securecp.test").code, 3);
    // Another instance's log and certificates are neither signed with nor accepted.
    let other = StandIn::start();
    let witnesses = format!("{FIRST}rekorPublicKeyFile: {}\n", other.file("rekor.pub"));
    parameters(&place, &stand_in, &witnesses);
    let run = place.run(&format!(
        "--policy accept.json --registries.d registries.d copy -q --all --dest-tls-verify=false \
         --sign-by-sigstore sign.yaml oci:image:v1 {}",
        app.replace(":v1", ":v2")
    ));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("verification of Rekor SET failed"), "{}", run.err);
    trust_file(&place, &other);
    assert_eq!(verify(EMAIL).code, 3);
}

/// What the log answered is judged before anything is stored.
#[test]
fn a_bundle_that_the_trusted_root_does_not_prove_is_not_stored() {
    let (place, stand_in, other) = (Place::new(), StandIn::start(), StandIn::start());
    image::single(&place.path("image"));
    parameters(&place, &stand_in, FIRST);
    let run = place.run(&format!(
        "--policy accept.json copy --sign-by-sigstore sign.yaml --sign-format bundle \
         --sign-trusted-root {} oci:image:v1 oci:out:v1",
        other.file("trusted_root.json")
    ));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!place.exists("out/index.json"), "no name without its signature");
}

/// A key whose signatures a log sees: verified by our own judge, which rests on sigstore-verify.
#[test]
fn a_key_s_bundle_has_a_log_entry() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    image::single(&place.path("image"));
    place.write("pass", "a passphrase\n");
    place.ok("generate-sigstore-key --output-prefix key --passphrase-file pass");
    place.write(
        "sign.yaml",
        format!(
            "privateKeyFile: key.private\nprivateKeyPassphraseFile: pass\nrekorURL: {}\n",
            stand_in.url
        ),
    );
    let root = stand_in.file("trusted_root.json");
    let run = place.run(&format!(
        "--policy accept.json copy --sign-by-sigstore sign.yaml --sign-format bundle \
         --sign-trusted-root {root} oci:image:v1 oci:out:v1"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    place.write(
        "trust.yaml",
        format!("version: 1\ntrusted-root: {root}\nsigners: {{k: {{key: key.pub}}}}\ndefault: {{accept: bundle, require: k}}\n"),
    );
    let run = place.run("--policy accept.json verify --trust trust.yaml oci:out:v1");
    assert_eq!(run.code, 0, "{run:?}");
    let idle = place.run(
        "--policy accept.json copy --sign-by-sigstore sign.yaml --sign-format bundle \
         --dangerous-sign-without-log oci:image:v1 oci:other:v1",
    );
    assert_eq!(idle.code, 64, "{idle:?}");
}
