//! What is read of a payload and written again reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use securecp_trust::{Payload, PayloadKind};

fuzz_target!(|bytes: &[u8]| {
    for kind in [PayloadKind::Simple, PayloadKind::Sigstore] {
        if let Ok(payload) = Payload::parse(bytes, kind) {
            let again = Payload::parse(&payload.to_bytes(kind), kind);
            assert_eq!(again.expect("what was written is a payload"), payload);
        }
    }
});
