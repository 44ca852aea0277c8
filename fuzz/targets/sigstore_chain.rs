//! Any bytes may stand where the certificate and its chain are, or be the roots that are trusted.
#![no_main]

mod keyless;

use libfuzzer_sys::fuzz_target;

const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";

fuzz_target!(|bytes: &[u8]| {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let _ = keyless::accepted(keyless::with(&[(CERTIFICATE, bytes)]), None, None);
    let _ = keyless::accepted(keyless::with(&[(CHAIN, bytes)]), None, None);
    let _ = keyless::accepted(keyless::with(&[(CERTIFICATE, first), (CHAIN, second)]), None, None);
    let _ = keyless::accepted(keyless::with(&[]), None, Some(bytes));
});
