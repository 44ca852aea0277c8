//! The layer cipher through its public doors: identity, freshness, and the table of manipulations that the reference
//! lets pass or panics on.

use std::path::Path;
use std::sync::Arc;

use crate::common::{Bare, descriptor, drain, source};
use proptest::prelude::*;
use securecp_crypt::{
    Budget, CryptError, Encrypt, KeyUnwrapper, KeyWrapper, Recipient, Recipients, Scheme, Secret,
    Unwrapped,
};
use securecp_layer::{Layer, LayerError};
use securecp_oci::{Descriptor, MediaType, base64};

const PUBOPTS: &str = "org.opencontainers.image.enc.pubopts";
const KEYS: &str = "org.opencontainers.image.enc.keys.provider.bare";

type Edit<'a> = Box<dyn Fn(String) -> String + 'a>;

fn encrypt(plain: &[u8], length: usize) -> (Vec<u8>, Descriptor) {
    let transform = Encrypt::new(Arc::new(Bare::recipients()));
    let mut promised = descriptor(MediaType::OCI_LAYER_GZIP, plain);
    promised.annotations.insert("kept".to_owned(), "yes".to_owned());
    promised.urls.push("https://plain.test/blob".to_owned());
    let layer = source(&promised, plain, length).pipe(Some(&transform)).unwrap();
    assert!(layer.known.is_none());
    let (out, made) = drain(layer.measured());
    (out, made.unwrap())
}

/// What comes out of decrypting; a failure of the first pass gives nothing by construction.
fn decrypt(layer: &Descriptor, data: &[u8]) -> (Vec<u8>, Result<Descriptor, String>) {
    let unlocked = match Bare::keys().unlock(layer) {
        Ok(unlocked) => unlocked,
        Err(error) => return (Vec::new(), Err(error.to_string())),
    };
    let open = || source(layer, data, 1000);
    let staged = unlocked.staged_in(&std::env::temp_dir());
    let shown = |(out, end): (Vec<u8>, Result<Descriptor, LayerError>)| {
        (out, end.map_err(|error| error.to_string()))
    };
    let run = |layer: Result<Layer<'_>, LayerError>| match layer {
        Ok(layer) => shown(drain(layer.measured())),
        Err(error) => (Vec::new(), Err(error.to_string())),
    };
    run(open().pipe(Some(&staged)))
}

fn annotate(layer: &Descriptor, key: &str, edit: impl Fn(String) -> String) -> Descriptor {
    let mut layer = layer.clone();
    let old = layer.annotations.get(key).unwrap();
    let text = String::from_utf8(base64::decode(old).unwrap()).unwrap();
    layer.annotations.insert(key.to_owned(), base64::encode(edit(text).as_bytes()));
    layer
}

fn refused(layer: &Descriptor, data: &[u8], expected: &str) {
    let (out, end) = decrypt(layer, data);
    assert!(out.is_empty(), "not one byte before the check of all");
    let error = end.unwrap_err();
    assert!(error.contains(expected), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn decryption_undoes_encryption(
        size in prop_oneof![Just(0usize), 0usize..70_000, 0usize..3 << 20],
        length in prop_oneof![1000usize..5000, Just(256usize << 10)],
        seed: u8,
    ) {
        let plain: Vec<u8> = (0..size).map(|n| (n as u8).wrapping_mul(31) ^ seed).collect();
        let (sealed, layer) = encrypt(&plain, length);
        prop_assert_eq!(sealed.len(), plain.len());
        let expected = descriptor(MediaType::OCI_LAYER_GZIP, &plain);
        let (out, end) = decrypt(&layer, &sealed);
        prop_assert!(out == plain);
        let made = end.unwrap();
        prop_assert_eq!(&made.digest, &expected.digest);
        prop_assert_eq!(&made.media_type, &expected.media_type);
        prop_assert_eq!(made.annotations.keys().collect::<Vec<_>>(), ["kept"]);
    }
}

#[test]
fn describes_what_it_encrypted() {
    let (sealed, layer) = encrypt(b"plain text", 4);
    assert_eq!(layer.media_type.as_str(), "application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
    assert_eq!(layer.digest, descriptor(MediaType::OCI_LAYER, &sealed).digest);
    assert_eq!(layer.annotations.keys().collect::<Vec<_>>(), ["kept", KEYS, PUBOPTS]);
    assert_eq!(layer.urls, Vec::<String>::new(), "the plaintext's place is forgotten");
    let unlocked = Bare::keys().unlock(&layer).unwrap();
    let plain = descriptor(MediaType::OCI_LAYER, b"plain text");
    assert_eq!(unlocked.promised(), Some(&plain.digest));
    assert!(!format!("{unlocked:?}").contains("key:"), "no secret is printed");
}

#[test]
fn draws_a_new_key_and_nonce_each_time_the_chain_is_opened() {
    let transform = Encrypt::new(Arc::new(Bare::recipients()));
    let plain = vec![0; 100];
    let promised = descriptor(MediaType::OCI_LAYER, &plain);
    let open = || {
        let layer = source(&promised, &plain, 100).pipe(Some(&transform)).unwrap();
        let (out, made) = drain(layer);
        let options = base64::decode(&made.unwrap().annotations[KEYS]).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&options[4..]).unwrap();
        (out, value["symkey"].to_string(), value["cipheroptions"]["nonce"].to_string())
    };
    let (first, second) = (open(), open());
    assert!(first.0 != second.0 && first.1 != second.1 && first.2 != second.2);
}

#[test]
fn gives_nothing_of_a_layer_that_is_altered_at_its_end() {
    let plain = vec![b'x'; 3 << 20];
    let (mut sealed, layer) = encrypt(&plain, 256 << 10);
    let last = sealed.len() - 500;
    sealed[last] ^= 1;
    refused(&layer, &sealed, "Digest did not match");
    let fixed = Descriptor { digest: descriptor(MediaType::OCI_LAYER, &sealed).digest, ..layer };
    refused(&fixed, &sealed, "HMAC of sha256:");
}

#[test]
fn refuses_truncated_ciphertext_even_if_the_digest_was_fixed() {
    let (sealed, layer) = encrypt(&[5; 5000], 1000);
    let cut = &sealed[..4999];
    let fixed = descriptor(layer.media_type.clone(), cut);
    refused(&Descriptor { annotations: layer.annotations, ..fixed }, cut, "HMAC of sha256:");
}

#[test]
fn refuses_every_edit_of_the_public_options() {
    let (sealed, layer) = encrypt(b"plain text", 100);
    let zero = base64::encode(&[0; 32]);
    let nonce = |bytes: &[u8]| format!(r#"{{"nonce":"{}"}}"#, base64::encode(bytes));
    let hmac_of = |text: &str| text.split('"').nth(7).unwrap().to_owned();
    let edits: [(&str, Edit<'_>); 8] = [
        ("HMAC of sha256:", Box::new(|text| text.replace(&hmac_of(&text), &zero))),
        ("HMAC is not provided", Box::new(|text| text.replace(&hmac_of(&text), ""))),
        ("HMAC is not 32 bytes", Box::new(|text| text.replace(&hmac_of(&text), "AAAA"))),
        ("no cipher type provided", Box::new(|text| text.replace("AES_256_CTR_HMAC_SHA256", ""))),
        ("unsupported cipher type: AES", Box::new(|text| text.replace("_HMAC_SHA256", ""))),
        ("cipher options are public", Box::new(|text| text.replace("{}", &nonce(&[0; 16])))),
        ("cipher options are public", Box::new(|text| text.replace("{}", &nonce(&[0; 8])))),
        ("no cipher type provided", Box::new(|_| "{}".to_owned())),
    ];
    for (expected, edit) in edits {
        refused(&annotate(&layer, PUBOPTS, edit), &sealed, expected);
    }
    let mut bare = layer.clone();
    bare.annotations.remove(PUBOPTS);
    refused(&bare, &sealed, "no cipher type provided");
}

#[test]
fn refuses_wrong_lengths_in_the_wrapped_options() {
    let (sealed, layer) = encrypt(b"plain text", 100);
    for (from, to, expected) in [
        (r#""symkey":""#, r#""symkey":"AAAA"#, "symkey is not 32 bytes"),
        (r#""nonce":""#, r#""nonce":"AAAA"#, "nonce is not 16 bytes"),
        ("nonce", "n", "no private nonce"),
    ] {
        let bad = annotate(&layer, KEYS, |text| text.replacen(from, to, 1));
        refused(&bad, &sealed, expected);
        refused(&bad, &sealed, "a provider:bare key fits");
    }
}

#[test]
fn tries_every_item_but_takes_no_malformed_annotation() {
    let (sealed, layer) = encrypt(b"plain text", 100);
    let with = |prefix: &str| {
        let mut layer = layer.clone();
        layer.annotations.insert(KEYS.to_owned(), format!("{prefix}{}", layer.annotations[KEYS]));
        layer
    };
    for good in ["anVuaw==,", "YmFyZQ==,", ","] {
        assert_eq!(decrypt(&with(good), &sealed).0, b"plain text", "{good}");
    }
    for bad in ["!!!,", " ", "anVuaw,"] {
        refused(&with(bad), &sealed, "could not base64 decode the annotation");
    }
}

#[test]
fn takes_only_the_layer_that_was_unlocked() {
    let (first, layer) = encrypt(b"first", 100);
    let (second, other) = encrypt(b"other", 100);
    let unlocked = Bare::keys().unlock(&layer).unwrap();
    let staged = unlocked.staged_in(&std::env::temp_dir());
    assert!(source(&other, &second, 100).pipe(Some(&staged)).is_err());
    assert!(source(&layer, &first, 100).pipe(Some(&staged)).is_ok());
    let measured = source(&layer, &first, 100);
    let unknown = Layer { known: None, ..measured };
    assert!(unknown.pipe(Some(&staged)).is_err(), "bytes held to no digest");
    let swapped = Descriptor { annotations: other.annotations, ..layer };
    refused(&swapped, &first, "HMAC of sha256:");
}

#[test]
fn can_be_decrypted_again_for_a_retry_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let (sealed, layer) = encrypt(&[9; 70_000], 1000);
    let unlocked = Bare::keys().unlock(&layer).unwrap();
    let authenticated =
        unlocked.authenticate(source(&layer, &sealed, 1000), directory.path()).unwrap();
    for _ in 0..2 {
        assert_eq!(drain(authenticated.layer().unwrap()).0, [9; 70_000]);
    }
    assert!(is_empty(directory.path()));
    let mut early = authenticated.layer().unwrap();
    early.next().unwrap();
    assert!(matches!(early.finish(), Err(LayerError::FinishedEarly)));
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn refuses_to_encrypt_what_it_should_not() {
    let transform = Encrypt::new(Arc::new(Bare::recipients()));
    let (sealed, layer) = encrypt(b"plain text", 100);
    let again = source(&layer, &sealed, 100).pipe(Some(&transform)).unwrap_err().to_string();
    assert!(again.contains("already encrypted"), "{again}");
    let config = descriptor(MediaType::OCI_CONFIG, b"{}");
    assert!(source(&config, b"{}", 100).pipe(Some(&transform)).is_err());
    let plain = descriptor(MediaType::OCI_LAYER, b"x");
    let annotated = Descriptor { annotations: layer.annotations, ..plain };
    assert!(source(&annotated, b"x", 100).pipe(Some(&transform)).is_err());
    let unknown = Layer { known: None, ..source(&config, b"{}", 100) };
    assert!(drain(unknown.pipe(Some(&transform)).unwrap()).1.is_err());
    let mut early =
        source(&descriptor(MediaType::OCI_LAYER, b"x"), b"x", 1).pipe(Some(&transform)).unwrap();
    early.next().unwrap();
    assert!(matches!(early.finish(), Err(LayerError::FinishedEarly)));
}

#[test]
fn says_what_was_tried() {
    let (_, layer) = encrypt(b"plain text", 100);
    let none = securecp_crypt::Keys::default().unlock(&layer).unwrap_err().to_string();
    assert!(none.contains(
        "no suitable key unwrapper found or none of the private keys could be used for decryption"
    ));
    assert!(none.contains("provider:bare: no key given"), "{none}");
    let junk = annotate(&layer, KEYS, |_| "junk".to_owned());
    let wrong = Bare::keys().unlock(&junk).unwrap_err().to_string();
    assert!(wrong.contains("provider:bare: no key fits"), "{wrong}");
    let plain = descriptor(MediaType::OCI_LAYER, b"x");
    assert!(matches!(Bare::keys().unlock(&plain), Err(CryptError::Contradiction { .. })));
}

#[test]
fn adds_recipients_without_touching_the_blob() {
    let (sealed, layer) = encrypt(b"plain text", 100);
    let unlocked = Bare::keys().unlock(&layer).unwrap();
    let added = Bare::recipients().add_to(&layer, &unlocked).unwrap();
    assert_eq!(added.annotations[KEYS].split(',').count(), 2);
    assert_eq!(added.annotations[PUBOPTS], layer.annotations[PUBOPTS]);
    assert_eq!((&added.digest, &added.media_type), (&layer.digest, &layer.media_type));
    assert_eq!(decrypt(&added, &sealed).0, b"plain text");
    let (_, other) = encrypt(b"other", 100);
    assert!(Bare::recipients().add_to(&other, &unlocked).is_err());
}

#[test]
fn stops_after_too_many_private_key_operations() {
    let (_, layer) = encrypt(b"plain text", 100);
    let mut flooded = layer.clone();
    flooded.annotations.insert(KEYS.to_owned(), vec!["anVuaw=="; 200].join(","));
    let keys = securecp_crypt::Keys::new(vec![Box::new(Bare)], securecp_crypt::Budget::new(250));
    assert!(matches!(keys.unlock(&flooded), Err(CryptError::NoKey { .. })));
    assert!(matches!(keys.unlock(&flooded), Err(CryptError::TooMuchWork { limit: 250 })));
}

/// Whoever has the key could not be asked: nobody said that it does not fit.
struct Unreachable;

impl KeyUnwrapper for Unreachable {
    fn scheme(&self) -> Scheme {
        Scheme::Provider("bare".to_owned())
    }

    fn unwrap(&self, _: &[u8], _: &Budget) -> Result<Unwrapped, CryptError> {
        Ok(Unwrapped::Failed("connection refused\n".to_owned()))
    }
}

#[test]
fn a_failure_to_ask_is_told() {
    let (_, layer) = encrypt(b"plain text", 100);
    let keys = securecp_crypt::Keys::new(vec![Box::new(Unreachable)], Budget::default());
    let error = keys.unlock(&layer).unwrap_err().to_string();
    assert!(error.contains(r"(provider:bare: failed: connection refused\u{a})"), "{error}");
    let both = vec![Box::new(Unreachable) as Box<dyn KeyUnwrapper>, Box::new(Bare)];
    assert!(securecp_crypt::Keys::new(both, Budget::default()).unlock(&layer).is_ok());
}

/// A layer has at most 256 wrapped keys: no reader would take more.
#[test]
fn refuses_to_add_more_wrapped_keys_than_are_read() {
    let (_, mut layer) = encrypt(b"plain text", 100);
    let unlocked = Bare::keys().unlock(&layer).unwrap();
    for _ in 1..256 {
        layer = Bare::recipients().add_to(&layer, &unlocked).unwrap();
    }
    assert!(Bare::keys().unlock(&layer).is_ok());
    let error = Bare::recipients().add_to(&layer, &unlocked).unwrap_err().to_string();
    assert!(error.contains("257 wrapped keys, the limit is 256"), "{error}");
}

/// The same for their bytes.
#[test]
fn refuses_wrapped_keys_that_are_too_large_to_be_read() {
    struct Large;
    impl KeyWrapper for Large {
        fn scheme(&self) -> Scheme {
            Scheme::Provider("bare".to_owned())
        }

        fn recipients(&self) -> Vec<Recipient> {
            vec![Recipient { scheme: self.scheme(), id: "everybody".to_owned() }]
        }

        fn wrap(&self, _: &Secret) -> Result<Vec<u8>, CryptError> {
            Ok(vec![7; 1 << 20])
        }
    }
    let (_, layer) = encrypt(b"plain text", 100);
    let unlocked = Bare::keys().unlock(&layer).unwrap();
    let large = Recipients::new(vec![Box::new(Large)]).unwrap();
    let error = large.add_to(&layer, &unlocked).unwrap_err().to_string();
    assert!(error.contains("bytes, the limit is 1048576"), "{error}");
}
