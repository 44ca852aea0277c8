//! A key file may hold anything, and so may what a key provider's configuration is read from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use securecp_crypt::{Passphrase, PgpCertificates, ProviderConfig, Secret, read_key_file};

fuzz_target!(|bytes: &[u8]| {
    let _ = read_key_file("fuzz", bytes, &Passphrase::none());
    let _ = read_key_file("fuzz", bytes, &Passphrase::new(Secret::new(b"hunter2".to_vec())));
    let _ = PgpCertificates::read(bytes);
    let _ = ProviderConfig::parse(bytes);
});
