//! Any YAML may stand in registries.d, in two files at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use securecp_oci::{ImageIdentity, Reference};
use securecp_trust::{Direction, RegistriesD};

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for files in [vec![("a", bytes)], vec![("a", first), ("b", second)]] {
        if let Ok(config) = RegistriesD::parse(files) {
            let name: Reference = "r.test/ns/a:1".parse().expect("a reference");
            let _ = config.lookaside(&ImageIdentity::docker(&name), Direction::Read);
        }
    }
});
