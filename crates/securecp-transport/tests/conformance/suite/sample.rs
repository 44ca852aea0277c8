//! Small images made in memory.

use bytes::Bytes;
use securecp_layer::{Layer, LayerError, Once};
use securecp_oci::{Algorithm, Declared, Descriptor, Digest, MediaType, RawManifest};
use serde_json::{Value, json};

/// One image: its manifest and the blobs that it names, configuration first.
pub(crate) struct Sample {
    pub(crate) manifest: RawManifest,
    pub(crate) blobs: Vec<(Descriptor, Bytes)>,
}

pub(crate) fn descriptor(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
}

fn raw(value: &Value) -> RawManifest {
    RawManifest::read(Bytes::from(value.to_string()), Declared::default()).unwrap()
}

/// An image whose bytes depend on `seed`; the second layer has several chunks.
pub(crate) fn image(seed: &str) -> Sample {
    let small = Bytes::from(format!("layer one of {seed}"));
    let large =
        Bytes::from(seed.as_bytes().iter().copied().cycle().take(700_001).collect::<Vec<_>>());
    // The layers are not compressed, so their diffIDs are their digests.
    let diff_ids = [&small, &large].map(|l| Digest::of(Algorithm::Sha256, l).to_string());
    let config = json!({"architecture":"amd64","os":"linux","seed":seed,
        "rootfs":{"type":"layers","diff_ids":diff_ids}});
    let config = Bytes::from(config.to_string());
    let blobs = vec![
        (descriptor(MediaType::OCI_CONFIG, &config), config),
        (descriptor(MediaType::OCI_LAYER, &small), small),
        (descriptor(MediaType::OCI_LAYER, &large), large),
    ];
    of_blobs(blobs)
}

fn of_blobs(blobs: Vec<(Descriptor, Bytes)>) -> Sample {
    let layers: Vec<Value> = blobs[1..].iter().map(|(d, _)| d.into()).collect();
    let manifest = raw(&json!({"schemaVersion":2,
        "mediaType":MediaType::OCI_MANIFEST.as_str(),
        "config":Value::from(&blobs[0].0),"layers":layers}));
    Sample { manifest, blobs }
}

/// The two, with the first layer of the one in the other as well.
pub(crate) fn sharing_a_layer(one: Sample, mut two: Sample) -> (Sample, Sample) {
    two.blobs[1] = one.blobs[1].clone();
    (one, of_blobs(two.blobs))
}

/// An artifact whose only layer is `manifest`.
pub(crate) fn with_layer(manifest: &RawManifest) -> Sample {
    let config = Bytes::from_static(b"{}");
    let layer = Descriptor { media_type: MediaType::OCI_LAYER, ..manifest.descriptor() };
    of_blobs(vec![
        (descriptor(MediaType::OCI_CONFIG, &config), config),
        (layer, manifest.bytes().clone()),
    ])
}

/// An index over `children`.
pub(crate) fn index(children: &[&Sample]) -> RawManifest {
    let entries: Vec<Value> =
        children.iter().map(|child| (&child.manifest.descriptor()).into()).collect();
    raw(&json!({"schemaVersion":2,"mediaType":MediaType::OCI_INDEX.as_str(),"manifests":entries}))
}

/// A layer that promises `descriptor` and sends `bytes`.
pub(crate) fn layer(descriptor: &Descriptor, bytes: &Bytes) -> Result<Layer<'static>, LayerError> {
    Ok(Layer::verified(descriptor.clone(), Once::new(bytes.clone())))
}

/// Reads a layer to its end and finishes it.
pub(crate) fn drain(mut layer: Layer<'_>) -> Result<Vec<u8>, LayerError> {
    let mut out = Vec::new();
    while let Some(chunk) = layer.next()? {
        out.extend_from_slice(&chunk);
    }
    layer.finish()?;
    Ok(out)
}
