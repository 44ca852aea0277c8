//! Any bytes may come as a manifest, schema 1 included, and be converted.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{
    Algorithm, Declared, Descriptor, Digest, ManifestFormat, MediaType, RawManifest,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = RawManifest::read(Bytes::copy_from_slice(bytes), Declared::default()) else {
        return;
    };
    assert_eq!(found.bytes(), bytes);
    assert!(found.is_named(found.digest()));
    let Some(schema1) = found.as_schema1() else { return };
    let plain = Digest::of(Algorithm::Sha256, b"");
    let layers: Vec<_> = schema1
        .layers()
        .map(|layer| Descriptor::new(MediaType::DOCKER_LAYER_GZIP, layer.clone(), 1))
        .collect();
    let diff_ids = vec![plain; layers.len()];
    for to in [ManifestFormat::Docker, ManifestFormat::Oci] {
        if let Ok(made) = schema1.convert(&layers, &diff_ids, to) {
            let sealed = made.document.seal(&made.media_type).expect("what was made can be read");
            assert_eq!(sealed.image().map(|image| image.layers.len()), Some(layers.len()));
        }
    }
});
