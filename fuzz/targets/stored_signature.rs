//! What is read of a stored signature and written again reads as the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::Signature;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = Signature::parse(Bytes::copy_from_slice(bytes)) {
        let again = Signature::parse(signature.to_blob());
        assert_eq!(again.expect("what was written is a signature"), signature);
    }
});
