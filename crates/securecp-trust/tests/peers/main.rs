//! Our signatures and verdicts against GnuPG and skopeo, both of which must be installed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test may panic outside of #[test] functions too"
)]

mod differential;
mod registry;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use bytes::Bytes;
use securecp_oci::{Declared, RawManifest, Signature};
use securecp_trust::{Payload, PayloadKind, SimpleSigner};

const NAME: &str = "registry.securecp.test/plain:v1";

pub(crate) fn testdata(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/trust").join(path)
}

fn run(program: &str, home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("GNUPGHOME", home).env("HOME", home);
    command.output().unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"))
}

/// A GnuPG home of its own that knows alice's public key.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let key = testdata("keys/pgp-alice.pub.asc");
    let imported = run("gpg", home.path(), &["--batch", "--import", key.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    home
}

#[test]
fn gpg_and_skopeo_accept_what_we_sign() {
    let path = testdata("signed-pgp-alice/manifest.json");
    let bytes = Bytes::from(std::fs::read(&path).unwrap());
    let manifest = RawManifest::read(bytes, Declared::default()).unwrap();
    let now = SystemTime::now();
    let secret = std::fs::read(testdata("keys/pgp-alice.sec.asc")).unwrap();
    let signer = SimpleSigner::from_key(&secret, None, now).unwrap();
    let name = NAME.parse().unwrap();
    let payload = Payload::new(PayloadKind::Simple, manifest.digest(), &name, now).unwrap();
    let signature = signer.sign(&payload, now).unwrap();

    let home = home();
    let file = home.path().join("signature");
    std::fs::write(&file, signature.to_blob()).unwrap();
    let file = file.to_str().unwrap();
    let decrypted = run("gpg", home.path(), &["--batch", "--decrypt", file]);
    assert!(decrypted.status.success(), "{decrypted:?}");
    assert_eq!(decrypted.stdout, payload.to_bytes(PayloadKind::Simple));
    let verify = |name: &str| {
        let manifest = path.to_str().unwrap();
        let key = signer.fingerprint();
        run("skopeo", home.path(), &["standalone-verify", manifest, name, key, file])
            .status
            .success()
    };
    assert!(verify(NAME));
    assert!(!verify("registry.securecp.test/plain:v2"));
}

#[test]
fn skopeo_s_own_signature_is_read_back() {
    let home = home();
    let key = testdata("keys/pgp-alice.sec.asc");
    let imported = run("gpg", home.path(), &["--batch", "--import", key.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    let fingerprint = std::fs::read_to_string(testdata("keys/pgp-alice.fpr")).unwrap();
    let manifest = testdata("signed-pgp-alice/manifest.json");
    let file = home.path().join("made");
    let arguments = [
        "standalone-sign",
        manifest.to_str().unwrap(),
        NAME,
        fingerprint.trim(),
        "--output",
        file.to_str().unwrap(),
    ];
    let signed = run("skopeo", home.path(), &arguments);
    assert!(signed.status.success(), "{signed:?}");
    let blob = Bytes::from(std::fs::read(&file).unwrap());
    let Signature::Simple(message) = Signature::parse(blob).unwrap() else { panic!() };
    let public = std::fs::read(testdata("keys/pgp-alice.pub.asc")).unwrap();
    let verified = securecp_trust::verify_simple(&message, &public, SystemTime::now()).unwrap();
    assert_eq!(verified.key, fingerprint.trim());
    assert_eq!(verified.payload.identity, NAME);
    run("gpgconf", home.path(), &["--kill", "all"]);
}
