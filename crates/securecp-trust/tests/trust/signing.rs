//! Signing with a key from a file.

use std::time::{Duration, SystemTime};

use securecp_oci::{ImageIdentity, Signature};
use securecp_trust::{Gate, Payload, PayloadKind, Policy, SignError, SimpleSigner, confirm_simple};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::crypto::S2K;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{
    AEADAlgorithm, HashAlgorithm, KeyFlags, ReasonForRevocation, SymmetricAlgorithm,
};

use crate::simple::{NAME, manifest, testdata, then};
use crate::support::{Survey, subject};

fn payload() -> Payload {
    let name = NAME.parse().unwrap();
    Payload::new(PayloadKind::Simple, manifest().digest(), &name, then()).unwrap()
}

fn builder() -> CertBuilder<'static> {
    CertBuilder::new().set_creation_time(then() - Duration::from_secs(3600)).add_userid("signer")
}

fn secret(cert: &Cert) -> Vec<u8> {
    cert.as_tsk().to_vec().unwrap()
}

fn accepted(signature: Signature, public: Vec<u8>) -> bool {
    let keys = move |_: &str| Ok(public.clone());
    let text = br#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"k"}]}"#;
    let identity = ImageIdentity::docker(&NAME.parse().unwrap());
    let survey = Survey { identity, subjects: vec![subject(manifest(), vec![signature])] };
    Policy::parse(text).unwrap().judge(&survey, &Gate::new(&keys).at(then())).accepted
}

fn sign(secret: &[u8], passphrase: Option<&[u8]>) -> Result<(String, Signature), SignError> {
    let signer = SimpleSigner::from_key(secret, passphrase, then())?;
    Ok((signer.fingerprint().to_owned(), signer.sign(&payload(), then())?))
}

#[test]
fn signs_with_every_common_kind_of_key() {
    for suite in [CipherSuite::P256, CipherSuite::P384, CipherSuite::P521, CipherSuite::Cv25519] {
        let primary =
            builder().set_primary_key_flags(KeyFlags::empty().set_certification().set_signing());
        let subkey = builder().add_signing_subkey();
        for builder in [primary, subkey] {
            let (cert, _) = builder.set_cipher_suite(suite).generate().unwrap();
            let (fingerprint, signature) = sign(&secret(&cert), None).unwrap();
            assert_eq!(fingerprint, cert.fingerprint().to_hex(), "{suite:?}");
            assert!(accepted(signature.clone(), cert.to_vec().unwrap()), "{suite:?}");
            let Signature::Simple(message) = &signature else { panic!("{signature:?}") };
            assert_eq!(Signature::parse(message.clone()).unwrap(), signature, "can be stored");
        }
    }
}

#[test]
fn signs_with_gnupg_s_exported_key() {
    let (fingerprint, signature) = sign(&testdata("keys/pgp-alice.sec.asc"), None).unwrap();
    let expected = String::from_utf8(testdata("keys/pgp-alice.fpr")).unwrap();
    assert_eq!(fingerprint, expected.trim());
    assert!(accepted(signature.clone(), testdata("keys/pgp-alice.pub.asc")));
    assert!(!accepted(signature, testdata("keys/pgp-bob.pub.asc")));
}

#[test]
fn the_primary_key_signs_if_it_may() {
    let flags = KeyFlags::empty().set_certification().set_signing();
    let (cert, _) = builder().set_primary_key_flags(flags).add_signing_subkey().generate().unwrap();
    let (_, signature) = sign(&secret(&cert), None).unwrap();
    let Signature::Simple(message) = signature else { panic!() };
    let primary = cert.primary_key().key().keyid();
    assert!(message.windows(8).any(|w| w == primary.as_bytes()), "old peers know no subkeys");
}

/// The key, its primary part protected; cheaply, for the test's sake.
fn protected(cert: Cert, passphrase: &str) -> Cert {
    let s2k = S2K::new_iterated(HashAlgorithm::SHA256, 1024).unwrap();
    protected_by(cert, s2k, None, passphrase)
}

fn protected_by(cert: Cert, s2k: S2K, aead: Option<AEADAlgorithm>, passphrase: &str) -> Cert {
    let primary = cert.primary_key().key().clone().parts_into_secret().unwrap();
    let (key, mut material) = primary.take_secret();
    let cipher = SymmetricAlgorithm::AES256;
    material.encrypt_in_place_with(&key, s2k, cipher, aead, &passphrase.into()).unwrap();
    cert.insert_packets(key.add_secret(material).0).unwrap().0
}

#[test]
fn passphrases_unlock_and_are_not_shown() {
    let alice = Cert::from_bytes(&testdata("keys/pgp-alice.sec.asc")).unwrap();
    let flags = KeyFlags::empty().set_certification().set_signing();
    let (curve, _) = builder().set_primary_key_flags(flags).generate().unwrap();
    for cert in [alice, curve].map(|cert| protected(cert, "correct horse")) {
        let secret = secret(&cert);
        let (_, signature) = sign(&secret, Some(b"correct horse")).unwrap();
        assert!(accepted(signature, cert.to_vec().unwrap()));
        let error = sign(&secret, Some(b"wrong")).unwrap_err();
        assert!(matches!(error, SignError::WrongPassphrase { .. }), "{error}");
        assert!(!error.to_string().contains("wrong"));
        assert!(matches!(sign(&secret, None), Err(SignError::PassphraseNeeded { .. })));
        let signer = SimpleSigner::from_key(&secret, Some(b"correct horse"), then()).unwrap();
        let shown = format!("{signer:?}");
        assert!(shown.len() < 100 && !shown.contains("horse"), "{shown}");
    }
}

/// Locked as RFC 9580 has it (section 3.7.2.1): what is encrypted names the kind of key that it belongs to.
#[test]
fn keys_locked_with_authenticated_encryption_open() {
    let alice = Cert::from_bytes(&testdata("keys/pgp-alice.sec.asc")).unwrap();
    let s2k = S2K::Argon2 { salt: [7; 16], t: 1, p: 1, m: 3 };
    let cert = protected_by(alice, s2k, Some(AEADAlgorithm::OCB), "correct horse");
    let (_, signature) = sign(&secret(&cert), Some(b"correct horse")).unwrap();
    assert!(accepted(signature, cert.to_vec().unwrap()));
    let error = sign(&secret(&cert), Some(b"wrong")).unwrap_err();
    assert!(matches!(error, SignError::WrongPassphrase { .. }), "{error}");
}

#[test]
fn keys_that_cannot_sign_are_refused() {
    let no_signing =
        |cert: &Cert| matches!(sign(&secret(cert), None), Err(SignError::NoSigningKey { .. }));
    let (certify_only, _) = builder().generate().unwrap();
    assert!(no_signing(&certify_only));
    let expired = builder().add_signing_subkey().set_validity_period(Duration::from_secs(60));
    assert!(no_signing(&expired.generate().unwrap().0));
    let (cert, revocation) = builder().add_signing_subkey().generate().unwrap();
    let revoked = cert.clone().insert_packets(revocation).unwrap().0;
    assert!(no_signing(&revoked));
    let retired = {
        let mut primary =
            cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
        let made = then() - Duration::from_secs(60);
        let revocation = sequoia_openpgp::cert::CertRevocationBuilder::new()
            .set_signature_creation_time(made)
            .unwrap()
            .set_reason_for_revocation(ReasonForRevocation::KeyRetired, b"")
            .unwrap()
            .build(&mut primary, &cert, None)
            .unwrap();
        cert.clone().insert_packets(revocation).unwrap().0
    };
    assert!(no_signing(&retired));
    let public = SimpleSigner::from_key(&cert.to_vec().unwrap(), None, then());
    assert!(matches!(public, Err(SignError::NoSigningKey { .. })));
}

#[test]
fn exactly_one_key_is_wanted() {
    for bad in [b"".as_slice(), b"garbage", b"\xff\xff", &testdata("keys/cosign.private")] {
        assert!(matches!(sign(bad, None), Err(SignError::NoKey)), "{bad:?}");
    }
    let two: Vec<u8> = (0..2)
        .flat_map(|_| secret(&builder().add_signing_subkey().generate().unwrap().0))
        .collect();
    assert!(matches!(sign(&two, None), Err(SignError::SeveralKeys { found: 2 })));
}

#[test]
fn another_program_s_signature_is_confirmed_before_use() {
    let alice = testdata("keys/pgp-alice.pub.asc");
    let (fingerprint, signature) = sign(&testdata("keys/pgp-alice.sec.asc"), None).unwrap();
    let Signature::Simple(message) = signature else { panic!() };
    assert_eq!(confirm_simple(&message, &alice, &payload(), then()).unwrap(), fingerprint);
    let mut other = payload();
    other.identity = "r.test/other:1".into();
    assert!(matches!(
        confirm_simple(&message, &alice, &other, then()),
        Err(SignError::SomethingElse)
    ));
    let bob = testdata("keys/pgp-bob.pub.asc");
    assert!(matches!(
        confirm_simple(&message, &bob, &payload(), then()),
        Err(SignError::NotVerified(_))
    ));
    let early = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    assert!(confirm_simple(&message, &alice, &payload(), early).is_err());
}
