//! Any bytes may be what a log answers, and any manifest may be listed as a referrer.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{Algorithm, Declared, Digest, RawManifest};
use securecp_trust::{BundleArtifact, BundleLogEntry};

fuzz_target!(|bytes: &[u8]| {
    let _ = BundleLogEntry::of_rekor_v1(bytes);
    let _ = BundleLogEntry::of_rekor_v2(bytes);
    let read = RawManifest::read(Bytes::copy_from_slice(bytes), Declared::default());
    if let Ok(artifact) = read {
        let other = Digest::of(Algorithm::Sha256, b"another manifest");
        let subject = artifact.view().subject().map(|subject| subject.digest.clone());
        if subject.as_ref() != Some(&other) {
            assert!(BundleArtifact::bundle_of(&artifact, &other).is_err());
        }
        if let Some(subject) = subject {
            let _ = BundleArtifact::bundle_of(&artifact, &subject);
        }
    }
});
