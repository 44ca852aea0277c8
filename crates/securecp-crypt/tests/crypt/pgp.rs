//! Who is chosen as an OpenPGP recipient, and which secret keys open.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use securecp_crypt::{
    Budget, KeyFileError, KeyMaterial, KeyUnwrapper, KeyWrapper, Passphrase, PgpCertificates,
    PgpKeys, PgpRecipients, PgpSecretKey, Secret, Unwrapped, pgp_recipients, read_key_file,
};
use sequoia_openpgp::armor;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite, UserIDRevocationBuilder};
use sequoia_openpgp::crypto::{Password, S2K, SessionKey};
use sequoia_openpgp::packet::key::{SecretParts, UnspecifiedRole};
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::packet::{Key, PKESK};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::{Serialize as _, SerializeInto};
use sequoia_openpgp::types::{
    AEADAlgorithm, HashAlgorithm, ReasonForRevocation, SymmetricAlgorithm,
};
use sequoia_openpgp::{Cert, Packet};

use crate::layout::testdata;

const OPTIONS: &[u8] = b"stands for the private options";

fn made(id: &str) -> CertBuilder<'_> {
    CertBuilder::new().add_userid(id).add_transport_encryption_subkey()
}

fn cert(id: &str) -> Cert {
    made(id).generate().unwrap().0
}

fn certificates(certs: &[Cert]) -> PgpCertificates {
    let bytes: Vec<u8> = certs.iter().flat_map(|cert| cert.to_vec().unwrap()).collect();
    PgpCertificates::read(&bytes).unwrap()
}

fn secrets(bytes: &[u8]) -> Vec<PgpSecretKey> {
    only_pgp(read_key_file("test", bytes, &Passphrase::none()).unwrap())
}

fn only_pgp(found: Vec<KeyMaterial>) -> Vec<PgpSecretKey> {
    let secret = |material| match material {
        KeyMaterial::Pgp(key) => key,
        other => panic!("{other:?}"),
    };
    found.into_iter().map(secret).collect()
}

fn wrap_for(ring: &PgpCertificates, wanted: &str) -> Vec<u8> {
    let recipients = PgpRecipients::new(vec![ring.select(wanted).unwrap()]);
    recipients.wrap(&Secret::new(OPTIONS.to_vec())).unwrap()
}

fn opens(cert: &Cert, item: &[u8]) -> bool {
    let keys = PgpKeys::new(secrets(&cert.as_tsk().to_vec().unwrap()));
    match keys.unwrap(item, &Budget::default()).unwrap() {
        Unwrapped::Mine(found) => {
            assert_eq!(&*found, OPTIONS);
            true
        }
        _ => false,
    }
}

#[test]
fn chooses_by_address_name_user_id_key_id_and_fingerprint() {
    let (anna, other) = (cert("Anna Example <anna@x.test>"), cert("Other <other@x.test>"));
    let plain = cert("Just A Name");
    let ring = certificates(&[anna.clone(), other.clone(), plain.clone()]);
    let key_id = anna.keyid().to_hex();
    let subkey = anna.keys().subkeys().next().unwrap().key().fingerprint().to_hex();
    let print = anna.fingerprint().to_hex();
    let spaced = anna.fingerprint().to_spaced_hex();
    let prefixed = format!("0x{}", key_id.to_lowercase());
    for wanted in [
        "anna@x.test",
        "Anna Example",
        "Anna Example <anna@x.test>",
        &key_id,
        &subkey,
        &print,
        &spaced,
        &prefixed,
    ] {
        let item = wrap_for(&ring, wanted);
        assert!(opens(&anna, &item) && !opens(&other, &item), "{wanted}");
    }
    assert!(opens(&plain, &wrap_for(&ring, "Just A Name")));
    for unknown in ["ANNA@x.test", "Anna", "x.test", &key_id[8..], "nobody@x.test", ""] {
        let error = ring.select(unknown).unwrap_err().to_string();
        assert!(error.contains("PGP: No key found for the following recipients"), "{unknown}");
    }
}

#[test]
fn refuses_a_name_that_several_keys_have() {
    let (first, second) = (cert("Anna <anna@x.test>"), cert("Anna <anna@x.test>"));
    let ring = certificates(&[first.clone(), second.clone(), first.clone()]);
    let error = ring.select("anna@x.test").unwrap_err().to_string();
    for cert in [&first, &second] {
        assert!(error.contains(&cert.fingerprint().to_hex()), "{error}");
    }
    let item = wrap_for(&ring, &second.fingerprint().to_hex());
    assert!(opens(&second, &item) && !opens(&first, &item));
}

#[test]
fn refuses_keys_that_are_expired_revoked_or_cannot_encrypt() {
    let year = Duration::from_secs(365 * 24 * 3600);
    let long_ago = SystemTime::now() - 3 * year;
    let expired = made("a@x.test").set_creation_time(long_ago).set_validity_period(year);
    let expired = expired.generate().unwrap().0;
    let signing = CertBuilder::new().add_userid("a@x.test").add_signing_subkey();
    let signing = signing.generate().unwrap().0;
    let (revoked, revocation) = made("a@x.test").generate().unwrap();
    let revoked = revoked.insert_packets(vec![revocation]).unwrap().0;
    for bad in [expired, signing, revoked] {
        let error = certificates(&[bad]).select("a@x.test").unwrap_err().to_string();
        assert!(error.contains("is not valid") || error.contains("no encryption key"), "{error}");
    }
}

/// What is refused may not depend on which copy of a certificate is read first.
#[test]
fn a_revocation_is_heard_whichever_copy_has_it() {
    let (old, revocation) = made("a@x.test").generate().unwrap();
    let new = old.clone().insert_packets(vec![revocation.clone()]).unwrap().0;
    certificates(std::slice::from_ref(&old)).select("a@x.test").unwrap();
    for ring in [[old.clone(), new.clone()], [new, old.clone()]] {
        let text: Vec<u8> = ring.iter().flat_map(|c| c.armored().to_vec().unwrap()).collect();
        for found in [certificates(&ring), PgpCertificates::read(&text).unwrap()] {
            assert!(found.select("a@x.test").is_err());
            assert!(found.all().is_err());
        }
    }
    let alone = [old.armored().to_vec().unwrap(), armoured(revocation.clone().into())].concat();
    assert!(PgpCertificates::read(&alone).unwrap().all().is_err());
    let other = cert("b@x.test");
    let behind = [
        old.to_vec().unwrap(),
        other.to_vec().unwrap(),
        Packet::from(revocation).to_vec().unwrap(),
    ];
    let ring = PgpCertificates::read(&behind.concat()).unwrap();
    assert!(ring.select("a@x.test").is_err());
    ring.select("b@x.test").unwrap();
}

#[test]
fn a_recipient_that_cannot_be_read_is_an_error() {
    let (first, second) = (cert("a@x.test"), cert("b@x.test"));
    let text = |cert: &Cert| String::from_utf8(cert.armored().to_vec().unwrap()).unwrap();
    let (first, second) = (text(&first), text(&second));
    let read = |text: String| read_key_file("x", text.as_bytes(), &Passphrase::none());
    assert!(read(format!("{first}{second}")).is_ok());
    assert!(read(format!("notes\n{first}\nmore notes\n{second}\nand more\n")).is_ok());
    let cut: String = second.lines().take(8).map(|line| format!("{line}\n")).collect();
    let error = read(format!("{first}{cut}")).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

fn armoured(packet: Packet) -> Vec<u8> {
    let mut writer = armor::Writer::new(Vec::new(), armor::Kind::PublicKey).unwrap();
    packet.serialize(&mut writer).unwrap();
    writer.finalize().unwrap()
}

#[test]
fn a_revoked_user_id_chooses_nobody() {
    let cert = made("old@x.test").add_userid("new@x.test").generate().unwrap().0;
    let mut signer =
        cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let old = cert.userids().find(|id| id.userid().value() == b"old@x.test").unwrap();
    let revocation = UserIDRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::UIDRetired, b"left")
        .unwrap()
        .build(&mut signer, &cert, old.userid(), None)
        .unwrap();
    let ring = certificates(&[cert.clone().insert_packets(vec![revocation]).unwrap().0]);
    ring.select("new@x.test").unwrap();
    let error = ring.select("old@x.test").unwrap_err().to_string();
    assert!(error.contains("No key found"), "{error}");
}

#[test]
fn encrypts_for_the_newest_valid_subkey() {
    let cert = made("a@x.test").add_storage_encryption_subkey().generate().unwrap().0;
    let subkeys: Vec<_> = cert.keys().subkeys().map(|key| key.key().clone()).collect();
    let mut signer =
        cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = sequoia_openpgp::cert::SubkeyRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyRetired, b"old")
        .unwrap()
        .build(&mut signer, &cert, &subkeys[0], None)
        .unwrap();
    let cert = cert.insert_packets(vec![revocation]).unwrap().0;
    let recipient = certificates(&[cert]).select("a@x.test").unwrap();
    let listed = PgpRecipients::new(vec![recipient]).recipients();
    assert!(listed[0].id.contains(&subkeys[1].keyid().to_hex()), "{listed:?}");
}

#[test]
fn opens_with_every_kind_of_key() {
    for suite in [CipherSuite::Cv25519, CipherSuite::P256, CipherSuite::P384, CipherSuite::P521] {
        let cert = made("a@x.test").set_cipher_suite(suite).generate().unwrap().0;
        let item = wrap_for(&certificates(std::slice::from_ref(&cert)), "a@x.test");
        assert!(opens(&cert, &item), "{suite:?}");
    }
}

#[test]
fn locked_keys_open_with_their_passphrase_armoured_or_not() {
    let alice = std::fs::read(testdata("keys/pgp-alice.sec.asc")).unwrap();
    for cert in [cert("alice@securecp.test"), Cert::from_bytes(&alice).unwrap()] {
        let item = wrap_for(&certificates(std::slice::from_ref(&cert)), "alice@securecp.test");
        let cert = locked(cert, &Password::from("pass"));
        let binary = cert.as_tsk().to_vec().unwrap();
        for bytes in [cert.as_tsk().armored().to_vec().unwrap(), binary] {
            let read = |text: Option<&str>| {
                let secret = text.map(|text| Secret::new(text.as_bytes().to_vec()));
                let passphrase = secret.map_or_else(Passphrase::none, Passphrase::new);
                read_key_file("x", &bytes, &passphrase)
            };
            assert!(matches!(read(None), Err(KeyFileError::PassphraseMissing { .. })));
            assert!(matches!(read(Some("no")), Err(KeyFileError::PassphraseWrong { .. })));
            let keys = PgpKeys::new(only_pgp(read(Some("pass\n")).unwrap()));
            let outcome = keys.unwrap(&item, &Budget::default()).unwrap();
            assert!(matches!(outcome, Unwrapped::Mine(_)));
        }
    }
}

/// Argon2 with a power too large for this machine, put into a key that was locked with a small one.
#[test]
fn refuses_passphrases_that_take_too_much_memory() {
    let small = S2K::Argon2 { salt: [0x5a; 16], t: 1, p: 1, m: 3 };
    let cert = locked_by(cert("a@x.test"), small, &Password::from("pass"));
    let bytes = cert.as_tsk().to_vec().unwrap();
    let read = |m: u8| {
        let mut bytes = bytes.clone();
        let specifier = [&[4][..], &[0x5a; 16], &[1, 1, 3]].concat();
        let places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&specifier));
        for place in places.collect::<Vec<_>>() {
            bytes[place + specifier.len() - 1] = m;
        }
        read_key_file("x", &bytes, &Passphrase::new(Secret::new(b"pass".to_vec())))
    };
    read(3).unwrap();
    for m in [20, 31, 255] {
        let error = read(m).unwrap_err().to_string();
        assert!(error.contains("more memory than allowed"), "{m}: {error}");
    }
}

#[test]
fn wraps_for_as_many_certificates_as_are_read() {
    let cert = cert("a@x.test");
    let recipient = certificates(std::slice::from_ref(&cert)).select("a@x.test").unwrap();
    let wrap = |count| {
        let recipients = PgpRecipients::new(vec![recipient.clone(); count]);
        recipients.wrap(&Secret::new(OPTIONS.to_vec()))
    };
    assert!(opens(&cert, &wrap(256).unwrap()));
    let error = wrap(257).unwrap_err().to_string();
    assert!(error.contains("257 recipients, the limit is 256"), "{error}");
}

/// gpg 2.2.40 opens what follows too, and asks for its password if it has one.
#[test]
fn a_message_with_something_behind_it_is_none() {
    let cert = cert("a@x.test");
    let whole = wrap_for(&certificates(std::slice::from_ref(&cert)), "a@x.test");
    assert_eq!(pgp_recipients(&whole).unwrap().len(), 1);
    // A session key encrypted with a password, and what it opens; a marker; a byte.
    let password = [&[0xc3, 4, 4, 9, 0, 8][..], &[0xd2, 40, 1], &[9; 39]].concat();
    for behind in [&password[..], b"\xca\x03PGP", b"\0"] {
        let both = [&whole, behind].concat();
        assert!(pgp_recipients(&both).is_none() && !opens(&cert, &both));
    }
}

fn locked(cert: Cert, password: &Password) -> Cert {
    locked_by(cert, S2K::new_iterated(HashAlgorithm::SHA256, 1024).unwrap(), password)
}

fn locked_by(cert: Cert, s2k: S2K, password: &Password) -> Cert {
    let secret = cert.keys().secret().map(|key| key.key().clone());
    // Argon2 goes with nothing else (RFC 9580, section 3.7.2.1).
    let aead = matches!(s2k, S2K::Argon2 { .. }).then_some(AEADAlgorithm::OCB);
    let lock = |key: Key<SecretParts, UnspecifiedRole>| {
        let (key, secret) = key.take_secret();
        let cipher = SymmetricAlgorithm::AES128;
        let secret = secret.encrypt_with(&key, s2k.clone(), cipher, aead, password).unwrap();
        key.add_secret(secret).0
    };
    let packets: Vec<Packet> = secret
        .enumerate()
        .map(|(n, key)| match n {
            0 => Packet::from(lock(key).role_into_primary()),
            _ => Packet::from(lock(key).role_into_subordinate()),
        })
        .collect();
    cert.insert_packets(packets).unwrap().0
}

/// A wrong key or an attacker's bytes make OpenSSL invent a session key, now and then an empty one.
#[test]
fn made_up_rsa_ciphertext_is_an_outcome() {
    let alice = std::fs::read(testdata("keys/pgp-alice.sec.asc")).unwrap();
    let item = wrap_for(&PgpCertificates::read(&alice).unwrap(), "alice@securecp.test");
    let keys = PgpKeys::new(secrets(&alice));
    for n in 0..600u16 {
        let mut bad = item.clone();
        bad[40..42].copy_from_slice(&n.to_be_bytes());
        let outcome = keys.unwrap(&bad, &Budget::default()).unwrap();
        assert!(bad == item || matches!(outcome, Unwrapped::Broken(_)));
    }
}

#[test]
fn a_public_key_is_told_from_a_secret_one() {
    let cert = cert("a@x.test");
    for bytes in [cert.to_vec().unwrap(), cert.armored().to_vec().unwrap()] {
        let found = read_key_file("x", &bytes, &Passphrase::none()).unwrap();
        assert!(matches!(&found[..], [KeyMaterial::PgpPublic(_)]));
    }
}

/// Anybody can encrypt a session key of no bytes for a public key.
#[test]
fn empty_session_keys_are_an_outcome() {
    let alice = std::fs::read(testdata("keys/pgp-alice.sec.asc")).unwrap();
    for cert in [cert("a@x.test"), Cert::from_bytes(&alice).unwrap()] {
        let key = cert.keys().subkeys().next().unwrap().key().clone();
        for bytes in [&b""[..], b"\x09", b"\x09\0\0", b"\x07aaaaaaaaaaaaaaaa"] {
            let wrapped = key.encrypt(&SessionKey::from(bytes)).unwrap();
            let packet = PKESK3::new(Some(key.keyid()), key.pk_algo(), wrapped).unwrap();
            let packet = Packet::from(PKESK::from(packet)).to_vec().unwrap();
            let item = [packet.as_slice(), &[0xd2, 3, 1, 0, 0]].concat();
            let keys = PgpKeys::new(secrets(&cert.as_tsk().to_vec().unwrap()));
            let outcome = keys.unwrap(&item, &Budget::default()).unwrap();
            assert!(matches!(outcome, Unwrapped::Broken(_)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn altered_messages_and_keys_never_panic(place: usize, byte: u8, cut: usize) {
        thread_local! {
            static MADE: (Vec<u8>, Vec<u8>, PgpKeys) = {
                let file = std::fs::read(testdata("keys/pgp-alice.sec.asc")).unwrap();
                let ring = PgpCertificates::read(&file).unwrap();
                let item = wrap_for(&ring, "alice@securecp.test");
                let binary = cert("a@x.test").as_tsk().to_vec().unwrap();
                (item, binary, PgpKeys::new(secrets(&file)))
            };
        }
        MADE.with(|(item, ring, keys)| {
            let mutate = |bytes: &[u8]| {
                let mut bad = bytes.to_vec();
                let place = place % bad.len();
                bad[place] = byte;
                bad.truncate(bytes.len() - cut % 3);
                bad
            };
            let bad = mutate(item);
            let outcome = keys.unwrap(&bad, &Budget::default()).unwrap();
            let same = bad == *item;
            if let Unwrapped::Mine(found) = outcome {
                assert!(same || &*found == OPTIONS);
            } else {
                assert!(!same);
            }
            let _ = read_key_file("x", &mutate(ring), &Passphrase::none());
        });
    }
}
