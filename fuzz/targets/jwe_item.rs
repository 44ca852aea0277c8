//! Any bytes may stand where a wrapped key in JWE form belongs.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use securecp_crypt::{
    Budget, CryptError, JweKeys, KeyMaterial, KeyUnwrapper, Passphrase, read_key_file,
};

fn keys() -> &'static JweKeys {
    static KEYS: OnceLock<JweKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let files = [
            &include_bytes!("../../testdata/crypt/keys/rsa-a.pem")[..],
            include_bytes!("../../testdata/crypt/keys/ec-a.pem"),
        ];
        let found = files.iter().flat_map(|bytes| {
            read_key_file("key", bytes, &Passphrase::none()).expect("a valid key file")
        });
        JweKeys::new(
            found
                .filter_map(|material| match material {
                    KeyMaterial::Private(key) => Some(key),
                    _ => None,
                })
                .collect(),
        )
    })
}

fuzz_target!(|bytes: &[u8]| {
    let outcome = keys().unwrap(bytes, &Budget::new(64));
    assert!(matches!(outcome, Ok(_) | Err(CryptError::TooMuchWork { .. })));
});
