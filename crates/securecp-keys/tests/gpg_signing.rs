//! Signing with GnuPG, with keys that the tests make in home directories of their own.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use securecp_keys::{GpgError, GpgHome};
use securecp_oci::{Algorithm, Digest, Signature};
use securecp_trust::{Payload, PayloadKind, verify_simple};
use zeroize::Zeroizing;

/// A home directory with an agent of its own, which ends with it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(keys: &[(&str, &str)]) -> Self {
        let home = Self(tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap());
        for (user, passphrase) in keys {
            home.gpg(&["--quick-generate-key", user, "ed25519", "sign", "never"], passphrase);
        }
        home
    }

    fn gpg(&self, arguments: &[&str], passphrase: &str) {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase]);
        command.args(arguments).env("GNUPGHOME", self.0.path());
        let output = command.output().expect("gpg is needed: ./test installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn user(&self) -> GpgHome {
        GpgHome::of_user().unwrap().home(self.0.path()).patience(Duration::from_secs(60))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("GNUPGHOME", self.0.path()).status();
    }
}

fn payload() -> Payload {
    let digest = Digest::of(Algorithm::Sha256, b"{}");
    let name = "h.example/app:v1".parse().unwrap();
    Payload::new(PayloadKind::Simple, &digest, &name, SystemTime::now()).unwrap()
}

fn secret(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(text.as_bytes().to_vec()))
}

#[test]
fn signs_by_any_name_of_the_key() {
    let home = Home::new(&[("Alice <alice@x.example>", ""), ("Bob <bob@x.example>", "")]);
    let gpg = home.user();
    let key = gpg.signing_key("alice@", None).unwrap();
    let fingerprint = key.fingerprint().to_owned();
    let short = fingerprint[24..].to_owned();
    for id in [&fingerprint, &fingerprint.to_lowercase(), &short, "Alice", &format!("{short}!")] {
        let key = gpg.signing_key(id, None).unwrap();
        assert_eq!(key.fingerprint(), fingerprint, "{id}");
        let now = SystemTime::now();
        let Signature::Simple(message) = key.sign(&payload(), now).unwrap() else {
            unreachable!("gpg makes no others")
        };
        let public = gpg.public_keys(&[&fingerprint]).unwrap();
        let verified = verify_simple(&message, &public, SystemTime::now()).unwrap();
        assert_eq!(verified.key, fingerprint);
        assert_eq!(verified.payload.identity, "h.example/app:v1");
        assert_eq!(verified.payload.digest, Digest::of(Algorithm::Sha256, b"{}"));
        let other = gpg.public_keys(&["bob@x.example"]).unwrap();
        assert!(verify_simple(&message, &other, now).is_err());
    }
}

/// What is exported under the same name beside the key does not stand in for it.
#[test]
fn signs_by_a_name_that_public_keys_of_others_have_too() {
    let (home, other) = (
        Home::new(&[("Alice <alice@x.example>", "")]),
        Home::new(&[("Alice the second <alice@x.example>", "")]),
    );
    let file = home.0.path().join("other");
    std::fs::write(&file, other.user().public_keys(&["alice"]).unwrap()).unwrap();
    home.gpg(&["--import", &file.display().to_string()], "");
    let gpg = home.user();
    let both = gpg.public_keys(&["alice"]).unwrap();
    let key = gpg.signing_key("alice", None).unwrap();
    let alone = gpg.public_keys(&[key.fingerprint()]).unwrap();
    assert!(both.len() > alone.len(), "two keys have the name");
    let Signature::Simple(message) = key.sign(&payload(), SystemTime::now()).unwrap() else {
        unreachable!("gpg makes no others")
    };
    assert_eq!(verify_simple(&message, &alone, SystemTime::now()).unwrap().key, key.fingerprint());
}

#[test]
fn refuses_names_of_no_key_and_of_several() {
    let home = Home::new(&[("Alice <alice@x.example>", ""), ("Bob <bob@x.example>", "")]);
    let gpg = home.user();
    for id in ["carol@x.example", "", " ", "0000000000000000", "--yes", "alice\nbob"] {
        let error = gpg.signing_key(id, None).unwrap_err();
        assert!(matches!(error, GpgError::NoSecretKey { .. }), "{id:?}: {error}");
    }
    let error = gpg.signing_key("x.example", None).unwrap_err();
    let text = error.to_string();
    let GpgError::Ambiguous { matches, .. } = error else { unreachable!("{text}") };
    assert_eq!(matches.len(), 2);
    for key in &matches {
        assert!(text.contains(&key.fingerprint) && text.contains(&key.user), "{text}");
    }
    assert!(matches!(gpg.public_keys(&["carol"]), Err(GpgError::NoPublicKey { .. })));
}

#[test]
fn a_passphrase_is_given_where_it_cannot_be_seen() {
    let home = Home::new(&[("Alice <alice@x.example>", "open sesame")]);
    let now = SystemTime::now();
    // Making the key has left its passphrase with the agent.
    let forget = || {
        let mut command = Command::new("gpgconf");
        assert!(
            command
                .args(["--kill", "gpg-agent"])
                .env("GNUPGHOME", home.0.path())
                .status()
                .unwrap()
                .success()
        );
    };
    forget();
    let wrong = home.user().signing_key("alice", secret("other")).unwrap();
    let error = wrong.sign(&payload(), now).unwrap_err();
    assert!(matches!(error, GpgError::WrongPassphrase { .. }), "{error}");
    assert!(!format!("{wrong:?} {error:?}").contains("other"));
    forget();
    let key = home.user().signing_key("alice", secret("open sesame")).unwrap();
    key.sign(&payload(), now).unwrap();
    assert!(!format!("{key:?}").contains("sesame"));
    let lines = home.user().signing_key("alice", secret("open\nsesame"));
    assert!(matches!(lines, Err(GpgError::PassphraseLines)));
}

#[test]
fn a_key_that_may_not_sign_gives_no_signature() {
    let home = Home::new(&[("Alice <alice@x.example>", "")]);
    let gpg = home.user();
    let key = gpg.signing_key("alice", None).unwrap();
    home.gpg(&["--quick-set-expire", key.fingerprint(), "seconds=1"], "");
    std::thread::sleep(Duration::from_millis(2100));
    let error = gpg.signing_key("alice", None).unwrap().sign(&payload(), SystemTime::now());
    assert!(matches!(error, Err(GpgError::Failed { what: "sign", .. })), "{error:?}");
}

#[test]
fn stops_when_nobody_waits_any_more() {
    let home = Home::new(&[]);
    let gpg = home.user().watch(Arc::new(|| Err("cancelled".into())));
    let start = Instant::now();
    let error = gpg.signing_key("alice", None).unwrap_err();
    assert!(matches!(error, GpgError::Stopped(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}
