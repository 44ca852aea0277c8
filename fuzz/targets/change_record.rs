//! Any bytes may be the predicate of a change record, or a bundle that calls itself one.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{Declared, RawManifest};
use securecp_trust::{BundleDraft, ChangeRecord, StoredBundle, StoredRecords, TrustFile};

const MANIFEST: &[u8] = include_bytes!("../../testdata/trust/signed-sigstore/manifest.json");
const KEY: &[u8] = include_bytes!("../../testdata/sigstore/private-keys/p256.pub");
const FILE: &[u8] = b"
version: 1
signers: {a: {key: key, dangerous-no-log: true}}
recorders: [a]
default: policy-only
";

fuzz_target!(|bytes: &[u8]| {
    let manifest = RawManifest::read(Bytes::from_static(MANIFEST), Declared::default());
    let manifest = manifest.expect("a manifest");
    if let Ok(record) = ChangeRecord::parse(bytes) {
        assert!(BundleDraft::record(&manifest, &record).is_ok(), "what is read can be written");
    }
    let file = TrustFile::parse(FILE).expect("a trust file");
    let bundles = [StoredBundle::Content(Bytes::copy_from_slice(bytes))];
    let statements = [Bytes::copy_from_slice(bytes)];
    let stored = StoredRecords { bundles: &bundles, statements: &statements };
    let found = file.judge_records(&manifest, stored, &|_| Ok(KEY.to_vec()));
    let found = found.expect("the key is good");
    assert!(found.iter().all(|one| one.record.is_none()), "nobody has signed");
});
