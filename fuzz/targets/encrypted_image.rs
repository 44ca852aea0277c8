//! A manifest with encrypted layers may come from anybody: its annotations are read before any key is tried.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_crypt::{Envelope, encrypted_layers};
use securecp_oci::{Declared, RawManifest};

fuzz_target!(|bytes: &[u8]| {
    let read = RawManifest::read(Bytes::copy_from_slice(bytes), Declared::default());
    let Some(image) = read.as_ref().ok().and_then(RawManifest::image) else { return };
    let Ok(found) = encrypted_layers(image) else { return };
    for (position, envelope) in &found {
        let layer = &image.layers[*position];
        assert!(layer.media_type.is_encrypted() && !envelope.plain_type().is_encrypted());
        let _ = envelope.recipients();
    }
    for layer in image.layers.iter().filter(|layer| layer.media_type.is_encrypted()) {
        assert!(matches!(Envelope::of(layer), Ok(Some(_))));
    }
});
