use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use securecp_layer::{Chunks, Codec, FileChunks, Layer, LayerError, Once, Scope};
use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, CONFIG_LIMIT, Declared, Descriptor, Digest, MediaType, RawManifest};
use serde_json::{Value, json};

use super::items::Item;
use crate::TransportError;
use crate::archive::{detect, unpack};
use crate::files::{self, Files};
use crate::tar::{Member, TarIndex, refused};

/// One image of an archive, with the manifest that the archive does not have: its configuration as it is, its layers
/// uncompressed and named by their diffIDs.
pub(super) struct Saved {
    index: Arc<TarIndex>,
    pub(super) manifest: RawManifest,
    config: Bytes,
    layers: HashMap<Digest, Stored>,
}

/// Where a layer is.
#[derive(Debug, Clone, Copy)]
struct Stored {
    member: Member,
    codec: Codec,
    /// The uncompressed size.
    size: u64,
}

impl Saved {
    pub(super) fn read(
        index: Arc<TarIndex>,
        item: &Item,
        scope: &Scope,
    ) -> Result<Self, TransportError> {
        let config = files::read_expected(index.as_ref(), &item.config, CONFIG_LIMIT)?;
        let diff_ids = diff_ids(&config).map_err(|problem| {
            refused(index.place(), format!("configuration {:?}: {problem}", item.config))
        })?;
        if diff_ids.len() != item.layers.len() {
            let (found, expected) = (item.layers.len(), diff_ids.len());
            let problem = format!("the configuration has {expected} layers, found {found}");
            return Err(refused(index.place(), problem));
        }
        let mut layers = HashMap::new();
        for (diff_id, name) in diff_ids.iter().zip(&item.layers) {
            scope.check()?;
            if !layers.contains_key(diff_id) {
                layers.insert(diff_id.clone(), Stored::find(&index, name, scope)?);
            }
        }
        let manifest = synthesize(&config, &diff_ids, &layers)
            .map_err(|source| TransportError::Manifest { subject: item.config.clone(), source })?;
        Ok(Self { index, manifest, config, layers })
    }

    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Layer<'static>, TransportError> {
        if let Some(stored) = self.layers.get(&descriptor.digest) {
            return Ok(Layer::verified(descriptor.clone(), stored.open(&self.index)?));
        }
        if descriptor.digest.matches(&self.config) {
            return Ok(Layer::verified(descriptor.clone(), Once::new(self.config.clone())));
        }
        Err(files::not_found(self.index.as_ref(), &format!("blob {}", descriptor.digest)))
    }
}

impl Stored {
    /// Finds a layer; one that is compressed is read through to learn its size.
    fn find(index: &TarIndex, name: &str, scope: &Scope) -> Result<Self, TransportError> {
        let found = index.member(name)?;
        let member = found.ok_or_else(|| files::not_found(index, &format!("layer {name}")))?;
        let codec = detect(index.reader(member)).map_err(|source| TransportError::Io {
            operation: "reading",
            path: index.place().join(name),
            source,
        })?;
        let mut stored = Self { member, codec, size: member.size };
        if codec != Codec::Plain {
            stored.size = stored.measure(index, name, scope)?;
        }
        Ok(stored)
    }

    fn measure(&self, index: &TarIndex, name: &str, scope: &Scope) -> Result<u64, TransportError> {
        let (mut chunks, mut size) = (self.open(index)?, 0);
        loop {
            scope.check()?;
            let next = chunks.next();
            match next.map_err(|e| refused(index.place(), format!("layer {name:?}: {e}")))? {
                Some(chunk) => size += chunk.len() as u64,
                None => return Ok(size),
            }
        }
    }

    fn open(&self, index: &TarIndex) -> Result<Box<dyn Chunks>, LayerError> {
        let reader = index.reader(self.member);
        match self.codec {
            Codec::Plain => Ok(Box::new(FileChunks::new(reader))),
            _ => Ok(Box::new(unpack(reader)?)),
        }
    }
}

/// The diffIDs that a configuration names.
pub(super) fn diff_ids(config: &[u8]) -> Result<Vec<Digest>, String> {
    let value = json::parse(config, Limits::bytes(CONFIG_LIMIT)).map_err(|e| e.to_string())?;
    let found = value.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids"));
    let items = match found {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(found) => found.as_array().ok_or("rootfs.diff_ids is not an array")?,
    };
    let digest = |item: &Value| {
        let text = item.as_str().ok_or("a diffID is not a string")?;
        text.parse().map_err(|error: securecp_oci::DigestError| error.to_string())
    };
    items.iter().map(digest).collect()
}

fn synthesize(
    config: &Bytes,
    diff_ids: &[Digest],
    layers: &HashMap<Digest, Stored>,
) -> Result<RawManifest, securecp_oci::ManifestError> {
    let entry = |media_type: &MediaType, size: u64, digest: &Digest| json!({"mediaType": media_type.as_str(), "size": size, "digest": digest.to_string()});
    let size = |diff_id| layers.get(diff_id).map_or(0, |stored| stored.size);
    let list: Vec<Value> = diff_ids
        .iter()
        .map(|diff_id| entry(&MediaType::DOCKER_LAYER, size(diff_id), diff_id))
        .collect();
    let digest = Digest::of(Algorithm::Sha256, config);
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DOCKER_MANIFEST.as_str(),
        "config": entry(&MediaType::DOCKER_CONFIG, config.len() as u64, &digest),
        "layers": list,
    });
    RawManifest::read(Bytes::from(document.to_string()), Declared::default())
}
