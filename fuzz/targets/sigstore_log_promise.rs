//! Any bytes may stand where the log's promise is: nobody who trusts another log accepts them.
#![no_main]

mod keyless;

use libfuzzer_sys::fuzz_target;

const OTHER_LOG: &[u8] = include_bytes!("../../testdata/trust/keys/cosign.pub");

fuzz_target!(|bytes: &[u8]| {
    let signature = keyless::with(&[("dev.sigstore.cosign/bundle", bytes)]);
    let _ = keyless::accepted(signature.clone(), None, None);
    assert!(!keyless::accepted(signature, Some(OTHER_LOG), None), "nobody has promised that");
});
