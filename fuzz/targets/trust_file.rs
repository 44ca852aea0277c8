//! Any bytes may be a trust file, a trusted root or a key file.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{Declared, ImageIdentity, RawManifest, Reference};
use securecp_trust::{Evidence, SigstoreKey, TrustFile};

const MANIFEST: &[u8] = include_bytes!("../../testdata/trust/signed-sigstore/manifest.json");
const BUNDLE: &[u8] = include_bytes!("../../testdata/sigstore/bundles/sign-rekor1.json");
const FILE: &[u8] = b"
version: 1
trusted-root: root
signers: {a: {key: key}, b: {issuer: 'https://issuer.securecp.test', email: nobody@securecp.test}}
default: {require: {any-of: [a, b]}}
";

fuzz_target!(|bytes: &[u8]| {
    let _ = TrustFile::parse(bytes);
    // Without a passphrase, so that no case costs what the derivation costs.
    let _ = SigstoreKey::from_encrypted_pem(bytes, None);
    let file = TrustFile::parse(FILE).expect("a trust file");
    let manifest = RawManifest::read(Bytes::from_static(MANIFEST), Declared::default());
    let name: Reference = "registry.securecp.test/plain:v1".parse().expect("a reference");
    let bundles = Ok(vec![Bytes::from_static(BUNDLE).into()]);
    let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
    let files = |_: &str| Ok(bytes.to_vec());
    let image = ImageIdentity::docker(&name);
    let verdict = file.judge(&image, &manifest.expect("a manifest"), evidence, &files);
    assert!(!verdict.accepted, "nobody has signed");
});
