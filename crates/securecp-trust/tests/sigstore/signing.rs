//! Private-key files and new signatures.

use std::process::Command;
use std::time::{Duration, SystemTime};

use openssl::pkey::{PKey, Private};
use securecp_oci::{Signature, base64};
use securecp_trust::{
    AttachmentCheck, AttachmentDraft, Payload, PayloadKind, SigstoreKey, SigstoreKeyError,
    SigstoreSignError, SigstoreSigner,
};
use serde_json::json;

use crate::lab::{Keyless, NOW, new_key, promise, public_pem};
use crate::material::*;

const PASSPHRASE: &[u8] = b"correct horse";

fn unlock(name: &str, passphrase: Option<&[u8]>) -> Result<SigstoreKey, SigstoreKeyError> {
    SigstoreKey::from_encrypted_pem(
        &testdata(&format!("sigstore/private-keys/{name}.key")),
        passphrase,
    )
}

fn payload() -> Payload {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_230_716);
    Payload::new(PayloadKind::Sigstore, manifest().digest(), &NAME.parse().unwrap(), now).unwrap()
}

fn raw(signature: &Signature) -> Vec<u8> {
    let Signature::Sigstore { annotations, .. } = signature else { panic!("{signature:?}") };
    assert_eq!(annotations.keys().collect::<Vec<_>>(), [SIGNATURE]);
    base64::decode(&annotations[SIGNATURE]).unwrap()
}

#[test]
fn keys_of_every_kind_label_and_cost_unlock_and_sign() {
    for name in [
        "p256",
        "p384",
        "p521",
        "rsa2048",
        "ed25519",
        "legacy-cost",
        "owasp-cost",
        "no-public-part",
    ] {
        let key = unlock(name, Some(PASSPHRASE)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let public = text(&format!("sigstore/private-keys/{name}.pub"));
        assert_eq!(key.public_pem(), public, "{name}");
        let signature = SigstoreSigner::new(key).sign(&payload()).unwrap();
        let path = format!("sigstore/private-keys/{name}.pub");
        let verdict = judge(&policy(json!({"keyPath": path})), vec![signature]);
        assert_eq!(outcome(&verdict), "accepted", "{name}: {verdict}");
    }
}

#[test]
fn the_reference_s_key_file_unlocks() {
    let passphrase = testdata("keys/cosign.passphrase");
    let key = SigstoreKey::from_encrypted_pem(&testdata("keys/cosign.private"), Some(&passphrase));
    assert_eq!(key.unwrap().public_pem(), text("keys/cosign.pub"));
}

#[test]
fn a_wrong_passphrase_is_told_in_the_reference_s_words() {
    for wrong in [b"wrong".as_slice(), b"", b"correct horse\n"] {
        let error = unlock("p256", Some(wrong)).unwrap_err();
        assert_eq!(error.to_string(), "decrypt: encrypted: decryption failed");
    }
    let error = unlock("empty-passphrase", Some(PASSPHRASE)).unwrap_err();
    assert!(matches!(error, SigstoreKeyError::WrongPassphrase));
}

#[test]
fn an_empty_passphrase_is_not_a_missing_one() {
    unlock("empty-passphrase", Some(b"")).unwrap();
    for name in ["empty-passphrase", "p256"] {
        let error = unlock(name, None).unwrap_err();
        assert_eq!(error.to_string(), "private key passphrase not provided");
    }
}

#[test]
fn files_of_another_form_are_refused() {
    for (name, phrase) in [
        ("bad-cost-n", "unsupported scrypt parameters"),
        ("bad-cost-huge", "unsupported scrypt parameters"),
        ("bad-cost-r", "unsupported scrypt parameters"),
        ("bad-cost-p", "unsupported scrypt parameters"),
        ("bad-cost-missing", "unsupported scrypt parameters"),
        ("bad-kdf", "private key file: kdf.name is not scrypt"),
        ("bad-cipher", "private key file: cipher.name is not nacl/secretbox"),
        ("bad-nonce", "private key file: cipher.nonce is not 24 bytes"),
        ("bad-salt", "private key file: kdf.salt is not base64"),
        ("bad-ciphertext", "decrypt: encrypted: decryption failed"),
        ("bad-twice", "private key file cannot be read"),
        ("bad-json", "private key file cannot be read"),
        ("bad-content", "decrypted private key is not PKCS#8"),
        ("bad-curve", "private key cannot be used"),
    ] {
        let error = unlock(name, Some(PASSPHRASE)).unwrap_err();
        assert_eq!(error.to_string(), phrase, "{name}");
    }
    for (name, found) in
        [("bad-label", "ENCRYPTED PRIVATE KEY"), ("bad-not-encrypted", "PRIVATE KEY")]
    {
        let error = unlock(name, Some(PASSPHRASE)).unwrap_err().to_string();
        let phrase =
            format!("unsupported pem type: {found}; expected ENCRYPTED SIGSTORE PRIVATE KEY,");
        assert!(error.starts_with(&phrase), "{error}");
    }
    let error = SigstoreKey::from_encrypted_pem(b"no key", Some(PASSPHRASE)).unwrap_err();
    assert_eq!(error.to_string(), "private key is not PEM");
}

#[test]
fn generated_keys_are_read_again_and_have_the_reference_s_form() {
    for passphrase in [b"p".as_slice(), b""] {
        let key = SigstoreKey::generate().unwrap();
        let file = key.to_encrypted_pem(passphrase).unwrap();
        let read = SigstoreKey::from_encrypted_pem(file.as_bytes(), Some(passphrase)).unwrap();
        assert_eq!(read.public_pem(), key.public_pem());
        assert_ne!(file, key.to_encrypted_pem(passphrase).unwrap(), "salt and nonce are new");
        assert_eq!(shape(&file), shape(&text("keys/cosign.private")));
        assert_eq!(key.public_pem().len(), text("keys/cosign.pub").len());
    }
    assert_ne!(
        SigstoreKey::generate().unwrap().public_pem(),
        SigstoreKey::generate().unwrap().public_pem()
    );
}

/// A key file with its random parts blotted out: labels, line lengths, member order, parameters and lengths remain.
fn shape(file: &str) -> (Vec<(usize, bool)>, serde_json::Value, String) {
    let lines = file.lines().map(|line| (line.len(), line.starts_with('-'))).collect();
    let body: String = file.lines().filter(|line| !line.starts_with('-')).collect();
    let json = String::from_utf8(base64::decode(&body).unwrap()).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    for pointer in ["/kdf/salt", "/cipher/nonce", "/ciphertext"] {
        let member = value.pointer_mut(pointer).unwrap();
        *member = base64::decode(member.as_str().unwrap()).unwrap().len().into();
    }
    let text = value.to_string();
    (lines, value, text)
}

#[test]
fn secrets_are_not_shown() {
    let key = SigstoreKey::generate().unwrap();
    let public = format!("{key:?}");
    assert!(public.starts_with("SigstoreKey { public: ECDSA P-256 key sha256:"), "{public}");
    assert!(public.ends_with(", .. }") && public.len() < 140, "{public}");
    let signer = format!("{:?}", SigstoreSigner::new(key));
    assert!(signer.contains(&public), "{signer}");
}

#[test]
fn payload_bytes_are_the_reference_s() {
    for folder in ["signed-sigstore", "signed-sigstore-rekor"] {
        let (bytes, _) = parts(folder);
        let read = Payload::parse(&bytes, PayloadKind::Sigstore).unwrap();
        assert_eq!(read.to_bytes(PayloadKind::Sigstore), bytes);
        let ours = String::from_utf8(payload().to_bytes(PayloadKind::Sigstore)).unwrap();
        let creator = concat!("securecp/", env!("CARGO_PKG_VERSION"));
        let theirs = String::from_utf8(bytes).unwrap();
        let theirs = theirs.replace("containers/image 5.40.0-dev", creator);
        let timestamp = read.timestamp.unwrap().to_string();
        assert_eq!(ours, theirs.replace(&timestamp, "1795230716"));
    }
}

/// An answer of the log in the form that Rekor gives it, made of an annotation of the reference.
fn answer_of(annotation: &str) -> serde_json::Value {
    let read: serde_json::Value = serde_json::from_str(annotation).unwrap();
    let mut entry = read["Payload"].clone();
    entry["verification"] = json!({"signedEntryTimestamp": read["SignedEntryTimestamp"]});
    json!({"uuid": entry})
}

#[test]
fn an_entry_about_something_else_does_not_make_a_signature() {
    let (_, annotations) = parts("signed-sigstore-rekor");
    let answer = answer_of(&annotations["dev.sigstore.cosign/bundle"]);
    let signer = SigstoreSigner::new(SigstoreKey::generate().unwrap());
    let finish = |answer: &serde_json::Value| {
        let draft = signer.draft(&payload()).unwrap();
        draft.finish(Some(answer.to_string().as_bytes()), &AttachmentCheck::default()).unwrap_err()
    };
    let error = finish(&answer);
    assert!(matches!(error, SigstoreSignError::LogEntry(_)), "{error:?}");
    for odd in [json!({}), json!([]), json!({"a": answer["uuid"], "b": answer["uuid"]})] {
        assert!(matches!(finish(&odd), SigstoreSignError::LogEntry(_)), "{odd}");
    }
    let draft = signer.draft(&payload()).unwrap();
    assert!(draft.finish(Some(b"{"), &AttachmentCheck::default()).is_err());
}

/// What a log with this key answers when it is asked to take a draft.
fn answer_by(log: &PKey<Private>, draft: &AttachmentDraft<'_>) -> String {
    answer_of(&promise(log, &draft.rekor_v1_proposal(), NOW)).to_string()
}

/// Nobody has to know the log's key to sign; but where it is known, no other log's promise is stored.
#[test]
fn a_log_that_is_known_is_held_to_its_key() {
    let (log, other) = (new_key(), new_key());
    for name in ["p256", "p384", "p521", "rsa2048", "ed25519"] {
        let signer = SigstoreSigner::new(unlock(name, Some(PASSPHRASE)).unwrap());
        let by_key = AttachmentCheck::default().log_key(&public_pem(&log)).unwrap();
        let root = Keyless::new().trusted_root(&log).to_string();
        let by_root = AttachmentCheck::default().trusted_root(root.as_bytes()).unwrap();
        for check in [by_key, by_root] {
            let draft = signer.draft(&payload()).unwrap();
            let answer = answer_by(&log, &draft);
            assert!(draft.finish(Some(answer.as_bytes()), &check).is_ok(), "{name}");
            let draft = signer.draft(&payload()).unwrap();
            let answer = answer_by(&other, &draft);
            let error = draft.finish(Some(answer.as_bytes()), &check).unwrap_err();
            let SigstoreSignError::LogEntry(fault) = error else { panic!("{name}: {error:?}") };
            assert!(fault.to_string().ends_with("verification of Rekor SET failed"), "{fault}");
        }
    }
    let ed25519 = PKey::generate_ed25519().unwrap();
    assert!(AttachmentCheck::default().log_key(&public_pem(&ed25519)).is_err());
}

/// The log's key counts only in the time for which the trusted root has it.
#[test]
fn a_log_s_key_is_good_for_its_time() {
    let log = new_key();
    let signer = SigstoreSigner::new(SigstoreKey::generate().unwrap());
    for (window, good) in [
        (json!({"start": "2001-01-01T00:00:00Z"}), true),
        (json!({"start": "2001-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}), false),
        (json!({"start": "2025-12-01T00:00:00Z"}), false),
    ] {
        let mut root = Keyless::new().trusted_root(&log);
        root["tlogs"][0]["publicKey"]["validFor"] = window.clone();
        let check = AttachmentCheck::default().trusted_root(root.to_string().as_bytes()).unwrap();
        let draft = signer.draft(&payload()).unwrap();
        let answer = answer_by(&log, &draft);
        assert_eq!(draft.finish(Some(answer.as_bytes()), &check).is_ok(), good, "{window}");
    }
}

/// The key of the vectors signs what the log has already seen: the annotations are the reference's, byte by byte.
#[test]
fn the_log_s_annotation_has_the_reference_s_bytes() {
    let passphrase = testdata("keys/cosign.passphrase");
    let key = SigstoreKey::from_encrypted_pem(&testdata("keys/cosign.private"), Some(&passphrase));
    let signer = SigstoreSigner::new(key.unwrap());
    let draft = signer.draft(&payload()).unwrap();
    let body = base64::encode(draft.rekor_v1_proposal().to_string().as_bytes());
    let (_, annotations) = parts("signed-sigstore-rekor");
    let theirs = &annotations["dev.sigstore.cosign/bundle"];
    let mut answer = answer_of(theirs);
    let their_body = answer["uuid"]["body"].as_str().unwrap().to_owned();
    answer["uuid"]["body"] = body.as_str().into();
    let made =
        draft.finish(Some(answer.to_string().as_bytes()), &AttachmentCheck::default()).unwrap();
    let Signature::Sigstore { annotations, .. } = made else { panic!() };
    assert_eq!(annotations["dev.sigstore.cosign/bundle"], theirs.replace(&their_body, &body));
    let shape = |body: &str| {
        let mut body: serde_json::Value =
            serde_json::from_slice(&base64::decode(body).unwrap()).unwrap();
        body["spec"]["data"]["hash"]["value"] = "".into();
        body["spec"]["signature"]["content"] = "".into();
        body.to_string()
    };
    assert_eq!(shape(&body), shape(&their_body), "and so has what the log is asked to take");
}

#[test]
fn openssl_verifies_what_we_sign() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["p256", "p384", "p521", "rsa2048"] {
        let signer = SigstoreSigner::new(unlock(name, Some(PASSPHRASE)).unwrap());
        let signature = signer.sign(&payload()).unwrap();
        std::fs::write(path("payload"), payload().to_bytes(PayloadKind::Sigstore)).unwrap();
        std::fs::write(path("signature"), raw(&signature)).unwrap();
        std::fs::write(path("key"), signer.public_pem()).unwrap();
        let verify = || {
            let mut openssl = Command::new("openssl");
            openssl.args(["dgst", "-sha256", "-verify"]).arg(path("key")).arg("-signature");
            let output = openssl.arg(path("signature")).arg(path("payload")).output();
            output.unwrap_or_else(|e| panic!("openssl is needed for this test: {e}")).status
        };
        assert!(verify().success(), "{name}");
        std::fs::write(path("payload"), b"something else").unwrap();
        assert!(!verify().success(), "{name}");
    }
}

#[test]
fn what_could_not_be_read_again_is_not_signed() {
    let signer = SigstoreSigner::new(SigstoreKey::generate().unwrap());
    let mut large = payload();
    large.creator = Some("x".repeat(2 << 20));
    assert!(matches!(signer.sign(&large), Err(SigstoreSignError::Payload(_))));
}
