//! Any bytes may be a bundle: its certificate, log entries and timestamps are judged.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{Declared, ImageIdentity, RawManifest, Reference};
use securecp_trust::{Evidence, TrustFile};

const MANIFEST: &[u8] = include_bytes!("../../testdata/trust/signed-sigstore/manifest.json");
const ROOT: &[u8] = include_bytes!("../../testdata/sigstore/bundles/trusted_root.json");
const FILE: &[u8] = b"
version: 1
trusted-root: root
signers: {a: {issuer: 'https://issuer.securecp.test', email: nobody@securecp.test}}
default: {require: a}
";

fuzz_target!(|bytes: &[u8]| {
    let file = TrustFile::parse(FILE).expect("a trust file");
    let manifest = RawManifest::read(Bytes::from_static(MANIFEST), Declared::default());
    let name: Reference = "registry.securecp.test/plain:v1".parse().expect("a reference");
    let bundles = Ok(vec![Bytes::copy_from_slice(bytes).into()]);
    let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
    let files = |_: &str| Ok(ROOT.to_vec());
    let image = ImageIdentity::docker(&name);
    let verdict = file.judge(&image, &manifest.expect("a manifest"), evidence, &files);
    assert!(!verdict.accepted, "nobody has signed");
});
