//! Bundles between securecp and PyPI sigstore, with stand-ins for Fulcio, Rekor and a timestamp authority on loopback.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use cli::stand_in::{StandIn, pypi};
use cli::{Place, image};
use securecp_oci::{Declared, RawManifest, referrers_tag};
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

#[test]
fn pypi_sigstore_verifies_keyless_bundles_of_securecp() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let index = image::two_platforms(&place.path("image"));
    place.write(
        "sign.yaml",
        format!(
            "fulcio:\n  fulcioURL: {url}\n  oidcMode: staticToken\n  oidcIDToken: {}\nrekorURL: {url}\n",
            token(EMAIL),
            url = stand_in.url
        ),
    );
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
        let bundle = bundle.display().to_string();
        let verify = |email: &str| pypi("verify.py", &[&root, &bundle, &manifest, email, ISSUER]);
        let (accepted, said) = verify(EMAIL);
        assert!(accepted, "{said}");
        let (accepted, said) = verify("other@securecp.test");
        assert!(!accepted, "{said}");
    }
    trust_file(&place, &stand_in);
    let verify =
        "--policy accept.json verify --all --index-signature require --trust trust.yaml oci:out:v1";
    let run = place.run(verify);
    assert_eq!(run.code, 0, "{run:?}");
    // The trusted root of another instance knows neither certificate nor log.
    let other = StandIn::start();
    trust_file(&place, &other);
    let run = place.run(verify);
    assert_eq!(run.code, 3, "{run:?}");
}

/// What the log answered is judged before anything is stored.
#[test]
fn a_bundle_that_the_trusted_root_does_not_prove_is_not_stored() {
    let (place, stand_in, other) = (Place::new(), StandIn::start(), StandIn::start());
    image::single(&place.path("image"));
    place.write(
        "sign.yaml",
        format!(
            "fulcio:\n  fulcioURL: {url}\n  oidcMode: staticToken\n  oidcIDToken: {}\nrekorURL: {url}\n",
            token(EMAIL),
            url = stand_in.url
        ),
    );
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
