//! Any bytes may stand where a wrapped key in PKCS#7 form belongs; the form that nobody authenticates is read too.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use securecp_crypt::{
    Budget, CryptError, KeyMaterial, KeyUnwrapper, Passphrase, Pkcs7Keys, read_key_file,
};

fn keys() -> &'static Pkcs7Keys {
    static KEYS: OnceLock<Pkcs7Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let read = |bytes: &[u8]| {
            read_key_file("key", bytes, &Passphrase::none()).expect("a valid key file")
        };
        let (mut certificates, mut private) = (Vec::new(), Vec::new());
        for material in read(include_bytes!("../../testdata/crypt/keys/x509-b.pem"))
            .into_iter()
            .chain(read(include_bytes!("../../testdata/crypt/keys/rsa-b.pem")))
        {
            match material {
                KeyMaterial::Certificate(certificate) => certificates.push(certificate),
                KeyMaterial::Private(key) => private.push(key),
                _ => {}
            }
        }
        Pkcs7Keys::new(&certificates, &private).dangerous_accept_unauthenticated(true)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let outcome = keys().unwrap(bytes, &Budget::new(64));
    assert!(matches!(outcome, Ok(_) | Err(CryptError::TooMuchWork { .. })));
});
