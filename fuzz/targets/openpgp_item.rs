//! Any bytes may stand where a wrapped key in OpenPGP form belongs.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use securecp_crypt::{
    Budget, CryptError, KeyMaterial, KeyUnwrapper, Passphrase, PgpKeys, pgp_recipients,
    read_key_file,
};

fn keys() -> &'static PgpKeys {
    static KEYS: OnceLock<PgpKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let file = include_bytes!("../../testdata/crypt/keys/pgp-alice.sec.asc");
        let found = read_key_file("key", file, &Passphrase::none()).expect("a valid key file");
        PgpKeys::new(
            found
                .into_iter()
                .filter_map(|material| match material {
                    KeyMaterial::Pgp(key) => Some(key),
                    _ => None,
                })
                .collect(),
        )
    })
}

fuzz_target!(|bytes: &[u8]| {
    let _ = pgp_recipients(bytes);
    let outcome = keys().unwrap(bytes, &Budget::new(64));
    assert!(matches!(outcome, Ok(_) | Err(CryptError::TooMuchWork { .. })));
});
