use std::collections::BTreeSet;
use std::sync::Arc;

use securecp_crypt::{Encrypt, Envelope, Unlocked, encrypted_type};
use securecp_layer::{CheckDiffId, Compression, Recompress, Transform, TransformKey};
use securecp_oci::json::{self, Limits};
use securecp_oci::{
    CONFIG_LIMIT, Descriptor, Digest, Image, LayerCompression, LayerType, MediaType, RawManifest,
};

use crate::chain::Step;
use crate::edits::{Edits, Recompression};
use crate::plan::{Change, PlanError, Remembered};

/// One layer and where it stands.
pub(super) struct LayerAt<'a> {
    pub(super) manifest: &'a Digest,
    pub(super) position: usize,
    pub(super) descriptor: &'a Descriptor,
    pub(super) diff_id: Option<&'a Digest>,
    /// Whether it is one that was chosen for encryption.
    pub(super) encrypt: bool,
}

/// What is done to a layer.
pub(super) struct Planned {
    pub(super) step: Step,
    /// Why that changes its bytes.
    pub(super) changes: Vec<Change>,
    /// The media type that it has then.
    pub(super) media_type: MediaType,
    pub(super) remembered: Option<Remembered>,
}

/// Decides what is done to a layer.
pub(super) fn step(layer: &LayerAt<'_>, edits: &Edits) -> Result<Planned, PlanError> {
    let mut step = Step::default();
    let mut changes = Vec::new();
    let mut remembered = None;
    let mut media_type = layer.descriptor.media_type.clone();
    if let Some((unlocked, plain)) = unlock(layer, edits)? {
        media_type = plain;
        step.decrypt = Some(decrypt(&unlocked, edits));
        step.recompress = Some(check_diff_id(layer, edits));
        changes.push(Change::Decrypted);
    }
    if let Some(to) = target(&media_type, edits.recompression) {
        let transform = recompress(layer, to, edits);
        remembered = remember(layer, to, &transform, edits);
        media_type = after(layer, &media_type, &transform)?;
        step.recompress = Some(Arc::new(transform));
        changes.push(Change::Recompressed(to.codec().name()));
    }
    if let (true, Some(encryption)) = (layer.encrypt, &edits.encrypt) {
        if media_type.is_encrypted() {
            let manifest = layer.manifest.clone();
            return Err(PlanError::AlreadyEncrypted { manifest, layer: layer.position });
        }
        media_type = encrypted_type(&media_type).map_err(|e| crypt_error(layer, e))?;
        step.encrypt = Some(Arc::new(Encrypt::new(Arc::clone(&encryption.recipients))));
        changes.push(Change::Encrypted);
    }
    // Only a plain recompression is the same every time: decryption and encryption have no place in a memory.
    let remembered = remembered.filter(|_| changes.len() == 1);
    Ok(Planned { step, changes, media_type, remembered })
}

/// The positions of the layers to encrypt.
pub(super) fn chosen_for_encryption(
    manifest: &RawManifest,
    image: &Image,
    edits: &Edits,
) -> Result<BTreeSet<usize>, PlanError> {
    let Some(encryption) = edits.encrypt.as_ref().filter(|wanted| !wanted.add) else {
        return Ok(BTreeSet::new());
    };
    let count = image.layers.len();
    encryption.layers.positions(count).map_err(|source| PlanError::Crypt {
        manifest: manifest.digest().clone(),
        layer: count,
        source,
    })
}

/// The layer's key, and what the layer is called once it is decrypted.
fn unlock(layer: &LayerAt<'_>, edits: &Edits) -> Result<Option<(Unlocked, MediaType)>, PlanError> {
    let adds = edits.encrypt.as_ref().is_some_and(|wanted| wanted.add);
    let Some(keys) = edits.decrypt.as_ref().filter(|_| !adds) else { return Ok(None) };
    let envelope = Envelope::of(layer.descriptor).map_err(|e| crypt_error(layer, e))?;
    let Some(envelope) = envelope else { return Ok(None) };
    let unlocked = keys.unlock(layer.descriptor).map_err(|e| crypt_error(layer, e))?;
    Ok(Some((unlocked, envelope.plain_type().clone())))
}

/// The encrypted layers that get further recipients, as they will be described; their bytes and digests stay.
pub(super) fn further_recipients(
    manifest: &RawManifest,
    image: &Image,
    edits: &Edits,
) -> Result<Vec<(usize, Descriptor)>, PlanError> {
    let (Some(encryption), Some(keys)) = (&edits.encrypt, &edits.decrypt) else {
        return Ok(Vec::new());
    };
    let encrypted = image.layers.iter().enumerate().filter(|(_, l)| l.media_type.is_encrypted());
    let add = |(position, layer): (usize, &Descriptor)| {
        let unlocked = keys.unlock(layer)?;
        Ok((position, encryption.recipients.add_to(layer, &unlocked)?))
    };
    let at = |position: usize| {
        move |source| PlanError::Crypt {
            manifest: manifest.digest().clone(),
            layer: position,
            source,
        }
    };
    match encryption.add {
        true => encrypted.map(|(n, layer)| add((n, layer)).map_err(at(n))).collect(),
        false => Ok(Vec::new()),
    }
}

fn crypt_error(layer: &LayerAt<'_>, source: securecp_crypt::CryptError) -> PlanError {
    PlanError::Crypt { manifest: layer.manifest.clone(), layer: layer.position, source }
}

/// Always in two passes: what comes behind (a decompressor) sees only bytes whose MAC was checked.
fn decrypt(unlocked: &Unlocked, edits: &Edits) -> Arc<dyn Transform> {
    Arc::new(unlocked.staged_in(&edits.temporary))
}

/// What binds decrypted bytes to the image is the diffID in its configuration.
fn check_diff_id(layer: &LayerAt<'_>, edits: &Edits) -> Arc<dyn Transform> {
    let check = CheckDiffId::new().scoped(edits.scope.clone());
    Arc::new(match layer.diff_id {
        Some(diff_id) => check.expect(diff_id.clone()),
        None => check,
    })
}

fn recompress(layer: &LayerAt<'_>, to: Compression, edits: &Edits) -> Recompress {
    let recompress = Recompress::new(to).scoped(edits.scope.clone());
    match layer.diff_id {
        Some(diff_id) => recompress.expect(diff_id.clone()),
        None => recompress,
    }
}

fn remember(
    layer: &LayerAt<'_>,
    to: Compression,
    recompress: &Recompress,
    edits: &Edits,
) -> Option<Remembered> {
    edits.cache.as_ref()?;
    Some(Remembered {
        key: TransformKey::new(layer.descriptor.digest.clone(), to),
        diff_id: layer.diff_id?.clone(),
        described: recompress.describe(layer.descriptor.clone()).ok()?,
    })
}

/// The media type of a layer after recompression.
fn after(
    layer: &LayerAt<'_>,
    media_type: &MediaType,
    recompress: &Recompress,
) -> Result<MediaType, PlanError> {
    recompress.media_type(media_type).map_err(|source| PlanError::Layer {
        manifest: layer.manifest.clone(),
        layer: layer.position,
        media_type: media_type.clone(),
        source,
    })
}

/// The form that a layer of this type is to get; `None` if it has it, or is no file system layer in the clear.
fn target(media_type: &MediaType, asked: Recompression) -> Option<Compression> {
    let found = LayerType::of(media_type).filter(|found| !found.encrypted)?;
    match asked {
        Recompression::Keep => None,
        Recompression::To(to) => (found.compression != to.layer_compression()).then_some(to),
        Recompression::Plain(to) => (found.compression == LayerCompression::None).then_some(to),
    }
}

/// The diffIDs in the configuration of an image, one for each layer.
pub(super) fn diff_ids(
    manifest: &RawManifest,
    image: &Image,
    config: &[u8],
) -> Result<Vec<Digest>, PlanError> {
    let broken =
        |problem: String| PlanError::Config { manifest: manifest.digest().clone(), problem };
    let value =
        json::parse(config, Limits::bytes(CONFIG_LIMIT)).map_err(|e| broken(e.to_string()))?;
    let listed = value.pointer("/rootfs/diff_ids").and_then(serde_json::Value::as_array);
    let listed = listed.map(Vec::as_slice).unwrap_or_default();
    if listed.len() != image.layers.len() {
        return Err(PlanError::DiffIds {
            manifest: manifest.digest().clone(),
            found: listed.len(),
            layers: image.layers.len(),
        });
    }
    let parse = |value: &serde_json::Value| {
        let text = value.as_str().ok_or_else(|| broken("a diffID is not a string".to_owned()))?;
        text.parse().map_err(|e: securecp_oci::DigestError| broken(e.to_string()))
    };
    listed.iter().map(parse).collect()
}
