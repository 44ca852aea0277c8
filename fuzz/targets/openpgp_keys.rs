//! Any bytes may stand in a key file.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use securecp_trust::{SimpleSigner, verify_simple};

const MESSAGE: &[u8] = include_bytes!("../../testdata/trust/gpg/valid-rsa.sig");

fuzz_target!(|bytes: &[u8]| {
    let _ = verify_simple(MESSAGE, bytes, SystemTime::UNIX_EPOCH);
    let _ = SimpleSigner::from_key(bytes, None, SystemTime::UNIX_EPOCH);
});
