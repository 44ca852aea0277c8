//! A policy is refused, or every image has requirements under it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use securecp_oci::{ImageIdentity, Transport};
use securecp_trust::Policy;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        for transport in Transport::ALL {
            let identity = ImageIdentity::path(transport, "/a/b");
            assert!(!policy.scope_for(&identity).1.is_empty());
        }
    }
});
