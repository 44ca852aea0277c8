//! What the reference made must open with each right key, to the very layers it was made from, and with no other.

use std::fs;

use securecp_crypt::{
    Budget, JweKeys, KeyFileError, KeyMaterial, KeyUnwrapper, Keys, Passphrase, PgpKeys, Pkcs7Keys,
    Secret, Unwrapped, read_key_file,
};
use securecp_oci::Digest;

use crate::layout::{Layout, testdata};

pub(crate) const REFUSAL: &str =
    "no suitable key unwrapper found or none of the private keys could be used for decryption";

pub(crate) fn read(name: &str, passphrase: Option<&str>) -> Vec<KeyMaterial> {
    let passphrase = passphrase.map_or_else(Passphrase::none, |text| {
        Passphrase::new(Secret::new(text.as_bytes().to_vec()))
    });
    let bytes = fs::read(testdata("keys").join(name)).unwrap();
    read_key_file(name, &bytes, &passphrase).unwrap()
}

/// Keys as the command line would give them, in one set.
pub(crate) fn keys(names: &[&str]) -> Keys {
    let (mut private, mut certificates, mut pgp) = (Vec::new(), Vec::new(), Vec::new());
    for material in names.iter().flat_map(|name| read(name, None)) {
        match material {
            KeyMaterial::Private(key) => private.push(key),
            KeyMaterial::Certificate(certificate) => certificates.push(certificate),
            KeyMaterial::Pgp(key) => pgp.push(key),
            other => panic!("{other:?}"),
        }
    }
    let pkcs7 = Pkcs7Keys::new(&certificates, &private);
    let jwe = JweKeys::new(private);
    let unwrappers: Vec<Box<dyn KeyUnwrapper>> =
        vec![Box::new(jwe), Box::new(pkcs7), Box::new(PgpKeys::new(pgp))];
    Keys::new(unwrappers, Budget::default())
}

pub(crate) fn plain() -> Vec<Digest> {
    Layout::open(&testdata("plain")).layers().iter().map(|layer| layer.digest.clone()).collect()
}

#[test]
fn every_vector_opens_with_each_right_key_only() {
    for (vector, right, wrong) in [
        ("enc-jwe", &["rsa-a.pem", "rsa-a.der"][..], &["rsa-b.pem", "ec-a.pem"][..]),
        ("enc-jwe-two-recipients", &["rsa-a.pem", "rsa-b.pem"], &["ec-a.pem"]),
        ("enc-jwe-ec", &["ec-a.pem"], &["rsa-a.pem"]),
        ("enc-jwe-layer1", &["rsa-a.pem"], &["rsa-b.pem"]),
        ("enc-jwe-last", &["rsa-a.pem"], &["rsa-b.pem"]),
        ("enc-pgp", &["pgp-alice.sec.asc"], &["pgp-bob.sec.asc", "rsa-a.pem"]),
        (
            "enc-mixed",
            &["rsa-a.pem", "pgp-alice.sec.asc"],
            &["rsa-b.pem", "ec-a.pem", "pgp-bob.sec.asc"],
        ),
        ("enc-pkcs7", &[], &["rsa-a.pem", "x509-a.pem", "x509-b.pem", "rsa-b.pem"]),
    ] {
        let layout = Layout::open(&testdata(vector));
        for key in right {
            assert_eq!(layout.decrypt(&keys(&[key])).unwrap(), plain(), "{vector} with {key}");
        }
        for key in wrong {
            let error = layout.decrypt(&keys(&[key])).unwrap_err();
            assert!(error.contains(REFUSAL), "{vector} with {key}: {error}");
        }
        if right.is_empty() {
            continue;
        }
        let both = [wrong, right].concat();
        assert_eq!(layout.decrypt(&keys(&both)).unwrap(), plain(), "{vector} with {both:?}");
    }
}

#[test]
fn certificates_and_keys_open_together_only() {
    for (vector, names) in [
        ("enc-pkcs7", &["rsa-a.pem", "x509-a.pem"][..]),
        ("enc-pkcs7", &["x509-a.pem", "rsa-b.pem", "x509-b.pem", "rsa-a.pem"]),
        ("enc-mixed", &["x509-b.pem", "rsa-b.pem"]),
    ] {
        let layout = Layout::open(&testdata(vector));
        assert_eq!(layout.decrypt(&keys(names)).unwrap(), plain(), "{vector} with {names:?}");
    }
    let layout = Layout::open(&testdata("enc-pkcs7"));
    for names in [&["x509-a.pem", "rsa-b.pem"][..], &["x509-b.pem", "rsa-a.pem"]] {
        let error = layout.decrypt(&keys(names)).unwrap_err();
        assert!(error.contains(REFUSAL), "{error}");
    }
}

#[test]
fn the_encrypted_key_opens_with_its_passphrase_only() {
    let name = "rsa-a.pkcs8-enc.pem";
    let bytes = fs::read(testdata("keys").join(name)).unwrap();
    let open = |text: &str| {
        let passphrase = Passphrase::new(Secret::new(text.as_bytes().to_vec()));
        read_key_file(name, &bytes, &passphrase)
    };
    for good in ["hunter2", "hunter2\n", "hunter2\r\n"] {
        assert!(matches!(&open(good).unwrap()[..], [KeyMaterial::Private(_)]));
    }
    for bad in ["", "hunter", "hunter2\n\n", &"x".repeat(5000)] {
        assert!(matches!(open(bad), Err(KeyFileError::PassphraseWrong { .. })), "{bad}");
    }
    let missing = read_key_file(name, &bytes, &Passphrase::none()).unwrap_err();
    assert!(matches!(missing, KeyFileError::PassphraseMissing { .. }));
    assert!(missing.to_string().contains("Missing password for encrypted private key"));
}

#[test]
fn published_jwe_vectors_open() {
    for name in ["rsa-oaep", "ecdh-es-a128kw", "several-recipients"] {
        let path = testdata("rfc7520").join(format!("{name}.json"));
        let vector: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let plaintext = vector["plaintext"].as_str().unwrap();
        let jwk = vector["key"].to_string();
        let found = read_key_file(name, jwk.as_bytes(), &Passphrase::none()).unwrap();
        let [KeyMaterial::Private(key)] = &found[..] else { panic!("{name}: no private key") };
        let keys = JweKeys::new(vec![key.clone()]);
        let open = |jwe: &str| keys.unwrap(jwe.as_bytes(), &Budget::default()).unwrap();
        let jwe = vector["jwe"].clone();
        let Unwrapped::Mine(found) = open(&jwe.to_string()) else { panic!("{name}") };
        assert_eq!(&*found, plaintext.as_bytes());
        if jwe.get("recipients").is_none() {
            let parts = ["protected", "encrypted_key", "iv", "ciphertext", "tag"];
            let compact: Vec<_> = parts.iter().map(|part| jwe[part].as_str().unwrap()).collect();
            assert!(matches!(open(&compact.join(".")), Unwrapped::Mine(_)), "{name}");
        }
        let mut altered = jwe.clone();
        altered["tag"] = "AAAAAAAAAAAAAAAAAAAAAA".into();
        assert!(matches!(open(&altered.to_string()), Unwrapped::Broken(_)), "{name}");
    }
}

/// A published compact JWE; each of its parts altered, cut, lengthened or left out must not open.
#[test]
fn a_published_jwe_opens_whole_only() {
    let path = testdata("wycheproof/ecdh-es-a128kw.json");
    let vector: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let found =
        read_key_file("key", vector["key"].to_string().as_bytes(), &Passphrase::none()).unwrap();
    let [KeyMaterial::Private(key)] = &found[..] else { panic!("no private key") };
    let keys = JweKeys::new(vec![key.clone()]);
    let open = |parts: &[String]| {
        let outcome = keys.unwrap(parts.join(".").as_bytes(), &Budget::default()).unwrap();
        matches!(outcome, Unwrapped::Mine(found) if *found == *b"foo")
    };
    let jwe = vector["jwe"].as_str().unwrap();
    let parts: Vec<_> = jwe.split('.').map(str::to_owned).collect();
    assert!(open(&parts));
    for place in 0..parts.len() {
        let with = |part: String| {
            let mut bad = parts.clone();
            bad[place] = part;
            bad
        };
        let (part, first) = (&parts[place], if parts[place].starts_with('X') { "Y" } else { "X" });
        let mut missing = parts.clone();
        missing.remove(place);
        for bad in [
            with(String::new()),
            with(format!("{first}{}", &part[1..])),
            with(part[..part.len() - 4].to_owned()),
            with(format!("{part}AAAA")),
            missing,
        ] {
            assert!(!open(&bad), "{bad:?}");
        }
    }
}
