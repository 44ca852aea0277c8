//! The key wrappers one by one: which keys they take, what they refuse, and that hostile items do no harm.

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;
use proptest::prelude::*;
use securecp_crypt::{
    Budget, Certificate, CryptError, JweKeys, JweRecipients, KeyFileError, KeyMaterial,
    KeyUnwrapper, KeyWrapper, Passphrase, Pkcs7Keys, Pkcs7Recipients, PrivateKey, PublicKey,
    Secret, Unwrapped, read_key_file,
};
use serde_json::{Value, json};

use crate::layout::testdata;
use crate::skopeo::{Bench, jwe, pkcs7};
use crate::vectors::read;

const OPTIONS: &[u8] = b"stands for the private options";

fn from_bytes(bytes: &[u8]) -> Result<Vec<KeyMaterial>, KeyFileError> {
    read_key_file("test", bytes, &Passphrase::none())
}

fn private(bytes: &[u8]) -> PrivateKey {
    match &from_bytes(bytes).unwrap()[..] {
        [KeyMaterial::Private(key)] => key.clone(),
        other => panic!("{other:?}"),
    }
}

fn public(bytes: &[u8]) -> PublicKey {
    match &from_bytes(bytes).unwrap()[..] {
        [KeyMaterial::Public(key)] => key.clone(),
        other => panic!("{other:?}"),
    }
}

fn certificate(name: &str) -> Certificate {
    match &read(name, None)[..] {
        [KeyMaterial::Certificate(certificate)] => certificate.clone(),
        other => panic!("{other:?}"),
    }
}

fn ec(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn wrap(wrapper: &dyn KeyWrapper) -> Vec<u8> {
    wrapper.wrap(&Secret::new(OPTIONS.to_vec())).unwrap()
}

fn opened(outcome: Unwrapped) -> bool {
    match outcome {
        Unwrapped::Mine(options) => {
            assert_eq!(&*options, OPTIONS);
            true
        }
        Unwrapped::NotMine | Unwrapped::Broken(_) | Unwrapped::Failed(_) => false,
    }
}

fn opens(keys: &dyn KeyUnwrapper, item: &[u8]) -> bool {
    opened(keys.unwrap(item, &Budget::default()).unwrap())
}

fn b64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk(key: &Rsa<Private>, extra: Value) -> (Vec<u8>, Vec<u8>) {
    let mut jwk = json!({"kty": "RSA", "n": b64(&key.n().to_vec()), "e": b64(&key.e().to_vec())});
    let members = extra.as_object().unwrap().clone();
    jwk.as_object_mut().unwrap().extend(members);
    let public = jwk.to_string();
    let number = |n: Option<&openssl::bn::BigNumRef>| b64(&n.unwrap().to_vec());
    for (name, value) in [
        ("d", b64(&key.d().to_vec())),
        ("p", number(key.p())),
        ("q", number(key.q())),
        ("dp", number(key.dmp1())),
        ("dq", number(key.dmq1())),
        ("qi", number(key.iqmp())),
    ] {
        jwk[name] = value.into();
    }
    (public.into_bytes(), jwk.to_string().into_bytes())
}

#[test]
fn every_curve_and_every_recipient_opens() {
    let keys: Vec<_> = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1]
        .map(ec)
        .into_iter()
        .chain([PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()])
        .collect();
    let publics = keys.iter().map(|key| public(&key.public_key_to_der().unwrap())).collect();
    let item = wrap(&JweRecipients::new(publics).unwrap());
    let other = JweKeys::new(vec![private(&ec(Nid::SECP384R1).private_key_to_der().unwrap())]);
    assert!(!opens(&other, &item));
    for key in &keys {
        let own = private(&key.private_key_to_pkcs8().unwrap());
        assert!(opens(&JweKeys::new(vec![own]), &item));
    }
}

/// What is wrapped for so many each of them can open; for more nothing is wrapped.
#[test]
fn wraps_for_as_many_recipients_as_are_read() {
    let key = ec(Nid::X9_62_PRIME256V1);
    let public = public(&key.public_key_to_der().unwrap());
    let jwe = |count| JweRecipients::new(vec![public.clone(); count]).unwrap();
    let own = JweKeys::new(vec![private(&key.private_key_to_der().unwrap())]);
    assert!(opens(&own, &wrap(&jwe(256))));
    let certificate = certificate("x509-a.pem");
    let pkcs7 = |count| Pkcs7Recipients::new(vec![certificate.clone(); count]).unwrap();
    assert!(!wrap(&pkcs7(256)).is_empty());
    for wrapper in [&jwe(257) as &dyn KeyWrapper, &pkcs7(257)] {
        let error = wrapper.wrap(&Secret::new(OPTIONS.to_vec())).unwrap_err().to_string();
        assert!(error.contains("257 recipients, the limit is 256"), "{error}");
    }
}

/// Headers with long key ids, by which few recipients make a large JWE or a large header.
#[test]
fn refuses_to_wrap_what_is_too_large_to_be_read() {
    let rsa = Rsa::generate(2048).unwrap();
    let named = |length: usize| {
        let (public_jwk, _) = rsa_jwk(&rsa, json!({"kid": "k".repeat(length)}));
        public(&public_jwk)
    };
    for (length, count, fits) in [
        (8_000, 2, true),
        (8_000, 60, true),
        (8_000, 70, false),
        (17_000, 1, false),
        (17_000, 2, false),
    ] {
        let wrapper = JweRecipients::new(vec![named(length); count]).unwrap();
        let wrapped = wrapper.wrap(&Secret::new(OPTIONS.to_vec()));
        assert_eq!(wrapped.is_ok(), fits, "{length} {count}");
    }
}

#[test]
fn jwk_names_algorithm_and_key_id() {
    let rsa = Rsa::generate(2048).unwrap();
    let key = json!({"alg": "RSA-OAEP-256", "kid": "k\u{1b}1"});
    let (public_jwk, private_jwk) = rsa_jwk(&rsa, key);
    let wrapper = JweRecipients::new(vec![public(&public_jwk)]).unwrap();
    assert!(wrapper.recipients()[0].id.ends_with("(kid k\\u{1b}1)"));
    let item = wrap(&wrapper);
    let value: Value = serde_json::from_slice(&item).unwrap();
    let header = value["protected"].as_str().unwrap();
    let expected = json!({"alg": "RSA-OAEP-256", "kid": "k\u{1b}1", "enc": "A256GCM"});
    assert_eq!(header, b64(expected.to_string().as_bytes()));
    assert!(opens(&JweKeys::new(vec![private(&private_jwk)]), &item));
    for bad in ["RSA-OAEP-512", "RSA1_5", "dir", "ECDH-ES+A256KW"] {
        let (public_jwk, _) = rsa_jwk(&rsa, json!({ "alg": bad }));
        let error = JweRecipients::new(vec![public(&public_jwk)]).unwrap_err().to_string();
        assert!(error.contains(bad), "{error}");
    }
}

#[test]
fn short_rsa_keys_are_refused_for_encryption_but_open() {
    let rsa = Rsa::generate(1024).unwrap();
    let bench = Bench::new();
    let path = bench.path("short.pub.pem");
    std::fs::write(&path, rsa.public_key_to_pem().unwrap()).unwrap();
    let error = JweRecipients::new(vec![public(&rsa.public_key_to_pem().unwrap())]).unwrap_err();
    assert!(error.to_string().contains("1024 bits, expected at least 2048"), "{error}");
    let recipient = format!("jwe:{}", path.display());
    let made = bench.skopeo(&["--encryption-key", &recipient], &testdata("plain"), "made").unwrap();
    let key = private(&rsa.private_key_to_pem().unwrap());
    assert!(key.is_weak());
    let keys =
        securecp_crypt::Keys::new(vec![Box::new(JweKeys::new(vec![key]))], Budget::default());
    assert_eq!(made.decrypt(&keys).unwrap(), crate::vectors::plain());
}

#[test]
fn pkcs7_without_authentication_needs_a_dangerous_word() {
    let pem = std::fs::read(testdata("keys/x509-a.pem")).unwrap();
    let mut owners = Stack::new().unwrap();
    owners.push(X509::from_pem(&pem).unwrap()).unwrap();
    let key = private(&std::fs::read(testdata("keys/rsa-a.pem")).unwrap());
    let keys = || Pkcs7Keys::new(&[certificate("x509-a.pem")], std::slice::from_ref(&key));
    for cipher in [Cipher::aes_128_cbc(), Cipher::aes_256_cbc(), Cipher::des_ede3_cbc()] {
        let item = Pkcs7::encrypt(&owners, OPTIONS, cipher, Pkcs7Flags::BINARY).unwrap();
        let item = item.to_der().unwrap();
        let refused = keys().unwrap(&item, &Budget::default()).unwrap();
        assert!(matches!(refused, Unwrapped::Broken(problem) if problem.contains("CBC")));
        assert!(!opens(&keys().dangerous_accept_unauthenticated(false), &item));
        assert!(opens(&keys().dangerous_accept_unauthenticated(true), &item));
    }
}

#[test]
fn pkcs7_takes_rsa_certificates_only() {
    let key = ec(Nid::X9_62_PRIME256V1);
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
    let found = from_bytes(&builder.build().to_der().unwrap()).unwrap();
    let [KeyMaterial::Certificate(certificate)] = &found[..] else { panic!("{found:?}") };
    let error = Pkcs7Recipients::new(vec![certificate.clone()]).unwrap_err().to_string();
    assert!(error.contains("only RSA keys are supported"), "{error}");
}

#[test]
fn reads_every_form_of_a_private_key() {
    let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let ec = ec(Nid::SECP384R1);
    let print = private(&rsa.private_key_to_pkcs8().unwrap()).thumbprint();
    let (inner, aes) = (rsa.rsa().unwrap(), Cipher::aes_256_cbc());
    let plain = [
        rsa.private_key_to_pem_pkcs8().unwrap(),
        inner.private_key_to_pem().unwrap(),
        inner.private_key_to_der().unwrap(),
        rsa.private_key_to_pkcs8().unwrap(),
    ];
    for bytes in &plain {
        assert_eq!(private(bytes).thumbprint(), print);
    }
    let sealed = [
        rsa.private_key_to_pem_pkcs8_passphrase(aes, b"pass").unwrap(),
        inner.private_key_to_pem_passphrase(aes, b"pass").unwrap(),
        rsa.private_key_to_pkcs8_passphrase(aes, b"pass").unwrap(),
    ];
    for bytes in &sealed {
        let open = |text: &str| {
            read_key_file("x", bytes, &Passphrase::new(Secret::new(text.as_bytes().to_vec())))
        };
        let missing = read_key_file("x", bytes, &Passphrase::none());
        assert!(matches!(missing, Err(KeyFileError::PassphraseMissing { .. })));
        assert!(matches!(open("nope"), Err(KeyFileError::PassphraseWrong { .. })));
        let found = open("pass").unwrap();
        assert!(matches!(&found[..], [KeyMaterial::Private(key)] if key.thumbprint() == print));
    }
    for bytes in
        [ec.private_key_to_der().unwrap(), ec.ec_key().unwrap().private_key_to_pem().unwrap()]
    {
        private(&bytes);
    }
    let with_parameters = [
        b"-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n".as_slice(),
        &ec.ec_key().unwrap().private_key_to_pem().unwrap(),
    ]
    .concat();
    private(&with_parameters);
    let noted = [b"Subject: M\xfcller\n".as_slice(), &plain[0]].concat();
    assert_eq!(private(&noted).thumbprint(), print, "notes may be in any encoding");
    let labelled = String::from_utf8(plain[0].clone()).unwrap().replace("PRIVATE KEY", "THING");
    assert_eq!(private(labelled.as_bytes()).thumbprint(), print, "the label says nothing");
}

#[test]
fn reads_certificate_and_key_in_one_file() {
    let both = ["x509-a.pem", "rsa-a.pem"]
        .map(|name| std::fs::read(testdata("keys").join(name)).unwrap())
        .concat();
    let found = from_bytes(&both).unwrap();
    let [KeyMaterial::Certificate(certificate), KeyMaterial::Private(key)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(certificate.id().starts_with("securecp test a, serial 2ae95c252b65008ea9e27c39"));
    assert!(
        !Pkcs7Keys::new(std::slice::from_ref(certificate), std::slice::from_ref(key)).is_empty()
    );
}

#[test]
fn refuses_files_that_are_no_usable_key() {
    let x25519 = PKey::generate_x25519().unwrap();
    let ed25519 = PKey::generate_ed25519().unwrap();
    let k256 = ec(Nid::SECP256K1);
    for (bytes, expected) in [
        (x25519.public_key_to_pem().unwrap(), "an X25519 or X448 key"),
        (ed25519.private_key_to_pem_pkcs8().unwrap(), "a signing key"),
        (k256.private_key_to_pkcs8().unwrap(), "another curve"),
        (b"pkcs11:\n  uri: pkcs11:token=x\n".to_vec(), "PKCS#11"),
        (b"hello".to_vec(), "not a key"),
        (Vec::new(), "not a key"),
        (b"{}".to_vec(), "not a key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".to_vec(), "not a key"),
        (vec![0x30, 3, 2, 1, 0], "not a key"),
        (vec![b'x'; (16 << 20) + 1], "the limit for a key file"),
    ] {
        let error = read_key_file("some\nfile", &bytes, &Passphrase::none()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().starts_with("some\\u{a}file: "), "{error}");
    }
}

/// Every algorithm with every content encryption, made by another implementation; and what is made here, read by it.
#[test]
fn agrees_with_another_implementation_of_jwe() {
    use josekit::jwe::{
        ECDH_ES_A128KW, ECDH_ES_A192KW, ECDH_ES_A256KW, JweHeaderSet, RSA_OAEP, RSA_OAEP_256,
        serialize_flattened_json,
    };
    let rsa = std::fs::read(testdata("keys/rsa-a.pem")).unwrap();
    let rsa = PKey::private_key_from_pem(&rsa).unwrap();
    let ec = ec(Nid::SECP521R1);
    let keys = [&rsa, &ec].map(|key| private(&key.private_key_to_pkcs8().unwrap()));
    let keys = JweKeys::new(keys.to_vec());
    let (rsa_public, ec_public) =
        (rsa.public_key_to_der().unwrap(), ec.public_key_to_der().unwrap());
    let encrypters: [Box<dyn josekit::jwe::JweEncrypter>; 5] = [
        Box::new(RSA_OAEP.encrypter_from_der(&rsa_public).unwrap()),
        Box::new(RSA_OAEP_256.encrypter_from_der(&rsa_public).unwrap()),
        Box::new(ECDH_ES_A128KW.encrypter_from_der(&ec_public).unwrap()),
        Box::new(ECDH_ES_A192KW.encrypter_from_der(&ec_public).unwrap()),
        Box::new(ECDH_ES_A256KW.encrypter_from_der(&ec_public).unwrap()),
    ];
    for encrypter in &encrypters {
        for content in
            ["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"]
        {
            let mut header = JweHeaderSet::new();
            header.set_content_encryption(content, true);
            let algorithm = encrypter.algorithm().name().to_owned();
            header.set_algorithm(&algorithm, true);
            let made =
                serialize_flattened_json(OPTIONS, Some(&header), None, None, encrypter.as_ref());
            assert!(opens(&keys, made.unwrap().as_bytes()), "{algorithm} {content}");
        }
    }
    for (key, decrypter) in [(&rsa_public, rsa_decrypter(&rsa)), (&ec_public, ec_decrypter(&ec))] {
        let item = wrap(&JweRecipients::new(vec![public(key)]).unwrap());
        let text = String::from_utf8(item).unwrap();
        let (found, _) = josekit::jwe::deserialize_json(&text, decrypter.as_ref()).unwrap();
        assert_eq!(found, OPTIONS);
    }
}

fn rsa_decrypter(key: &PKey<Private>) -> Box<dyn josekit::jwe::JweDecrypter> {
    let der = key.private_key_to_pkcs8().unwrap();
    Box::new(josekit::jwe::RSA_OAEP.decrypter_from_der(der).unwrap())
}

fn ec_decrypter(key: &PKey<Private>) -> Box<dyn josekit::jwe::JweDecrypter> {
    let der = key.private_key_to_pkcs8().unwrap();
    Box::new(josekit::jwe::ECDH_ES_A256KW.decrypter_from_der(der).unwrap())
}

/// What made go-jose and josekit panic or loop.
#[test]
fn hostile_jwe_is_an_outcome() {
    let key = ec(Nid::X9_62_PRIME256V1);
    let recipient = public(&key.public_key_to_der().unwrap());
    let item = wrap(&JweRecipients::new(vec![recipient]).unwrap());
    let keys = JweKeys::new(vec![private(&key.private_key_to_der().unwrap())]);
    let value: Value = serde_json::from_slice(&item).unwrap();
    for (member, text) in [
        ("encrypted_key", String::new()),
        ("encrypted_key", "AAAA".to_owned()),
        ("encrypted_key", b64(&[0; 8])),
        ("encrypted_key", b64(&[0; 40])),
        ("encrypted_key", b64(&[0; 4096])),
        ("iv", String::new()),
        ("iv", b64(&[0; 16])),
        ("tag", String::new()),
        ("tag", b64(&[0; 4])),
        ("ciphertext", String::new()),
    ] {
        let mut bad = value.clone();
        bad[member] = text.into();
        assert!(!opens(&keys, bad.to_string().as_bytes()), "{member}");
    }
    assert!(opens(&keys, &item));
}

#[test]
fn many_recipients_cost_no_more_than_the_budget() {
    let key = ec(Nid::X9_62_PRIME256V1);
    let recipient = public(&key.public_key_to_der().unwrap());
    let item = wrap(&JweRecipients::new(vec![recipient; 20]).unwrap());
    let other = ec(Nid::X9_62_PRIME256V1).private_key_to_der().unwrap();
    let keys = JweKeys::new(vec![private(&other)]);
    assert!(matches!(keys.unwrap(&item, &Budget::new(20)), Ok(Unwrapped::NotMine)));
    let outcome = keys.unwrap(&item, &Budget::new(19));
    assert!(matches!(outcome, Err(CryptError::TooMuchWork { limit: 19 })));
}

fn mutate(item: &[u8], edits: &[(usize, u8)], cut: usize) -> Vec<u8> {
    let mut out = item.to_vec();
    for (place, byte) in edits {
        let place = place % out.len();
        out[place] = *byte;
    }
    out.truncate(out.len() - cut % out.len());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn altered_items_never_panic_and_never_open_to_something_else(
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in prop_oneof![Just(0usize), any::<usize>()],
    ) {
        thread_local! {
            static MADE: (Vec<u8>, Vec<u8>, JweKeys, Pkcs7Keys) = {
                let key = private(&std::fs::read(testdata("keys/rsa-a.pem")).unwrap());
                let certificate = certificate("x509-a.pem");
                let item = wrap(&*jwe(&["rsa-a.pub.pem", "ec-a.pub.pem"]));
                let other = wrap(&*pkcs7(&["x509-a.pem", "x509-b.pem"]));
                let pair = Pkcs7Keys::new(&[certificate], std::slice::from_ref(&key));
                (item, other, JweKeys::new(vec![key]), pair)
            };
        }
        MADE.with(|(item, other, jwe, pkcs7)| {
            opens(jwe, &mutate(item, &edits, cut));
            opens(pkcs7, &mutate(other, &edits, cut));
        });
    }

    #[test]
    fn key_files_never_panic(bytes: Vec<u8>, place: usize, byte: u8, cut: usize) {
        let _ = from_bytes(&bytes);
        for name in ["rsa-a.der", "x509-a.pem", "ec-a.pem"] {
            let file = std::fs::read(testdata("keys").join(name)).unwrap();
            let _ = from_bytes(&mutate(&file, &[(place, byte)], cut));
        }
    }
}
