//! Any bytes may be stored as a sigstore signature: payload, log entry, certificate and chain are judged.
#![no_main]

mod keyless;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::Signature;

fn payload(signature: &Signature) -> &[u8] {
    match signature {
        Signature::Simple(_) => b"",
        Signature::Sigstore { payload, .. } => payload,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(signature) = Signature::parse(Bytes::copy_from_slice(bytes)) else { return };
    if keyless::accepted(signature.clone(), None, None) {
        assert_eq!(payload(&signature), payload(&keyless::with(&[])));
    }
});
