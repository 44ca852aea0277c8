//! No message that the key did not sign is accepted; the corpus starts with messages that it did.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use securecp_trust::{dangerous_read_simple_unverified, verify_simple};

const KEY: &[u8] = include_bytes!("../../testdata/trust/gpg/key-rsa.gpg");

fuzz_target!(|bytes: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_300_000);
    let _ = dangerous_read_simple_unverified(bytes);
    if let Ok(found) = verify_simple(bytes, KEY, now) {
        // Every identity that this key has signed in testdata.
        let known = [
            "registry.securecp.test/plain:v1",
            "registry.securecp.test/plain:v2",
            "elsewhere.test/plain:v1",
            "UPPER",
        ];
        assert!(known.contains(&found.payload.identity.as_str()));
    }
});
