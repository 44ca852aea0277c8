//! The manifest beside an image that carries its sigstore signatures, one in each layer: bytes in, bytes out.
//!
//! It is found by a tag made from the image's digest, and anybody who may push may add to it. So it is only ever added
//! to: whatever another writer put there stays.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::json::{self, JsonError, Limits};
use crate::{
    Algorithm, Declared, Descriptor, Digest, Document, Image, MANIFEST_LIMIT, ManifestError,
    MediaType, RawManifest, ReferenceError, SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT, Signature, Tag,
};

/// Most bytes that the layers of one attachment may have together: 64 MiB.
pub const ATTACHMENT_LIMIT: u64 = 64 << 20;

/// The tag under which the signatures of a manifest are stored in its repository.
///
/// # Errors
/// The digest is too long for a tag, as those of SHA-512 are.
pub fn attachment_tag(digest: &Digest) -> Result<Tag, ReferenceError> {
    format!("{}-{}.sig", digest.algorithm(), digest.hex()).parse()
}

/// An attachment manifest as it was found.
#[derive(Debug, Clone)]
pub struct Attachment {
    manifest: RawManifest,
    image: Image,
    /// The media types of the layers, letter by letter.
    media_types: Vec<String>,
}

/// What has to be stored to add signatures: the payloads and the configuration first, then the manifest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewAttachment {
    /// The payloads that are not there yet, in the order of the signatures.
    pub payloads: Vec<Blob>,
    /// The configuration.
    pub config: Blob,
    /// The manifest, for [`attachment_tag`].
    pub manifest: RawManifest,
}

/// Bytes with their descriptor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Blob {
    /// What they are.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Bytes,
}

/// Why an attachment cannot be read or added to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// The bytes are not a manifest.
    #[error("sigstore attachment manifest cannot be read")]
    Manifest(#[source] ManifestError),
    /// The manifest is of another format.
    #[error("unexpected MIME type for sigstore attachment manifest {0}")]
    MediaType(MediaType),
    /// There are more layers than signatures that one manifest may have.
    #[error("sigstore attachment has {found} layers, the limit is {SIGNATURE_COUNT_LIMIT}")]
    TooManyLayers {
        /// Layers found, or wanted.
        found: usize,
    },
    /// A layer is larger than any signature.
    #[error(
        "layer {position} of the sigstore attachment has {found} bytes, the limit is {SIGNATURE_LIMIT}"
    )]
    LayerTooLarge {
        /// Its place, from 0.
        position: usize,
        /// Bytes found.
        found: u64,
    },
    /// The layers together are larger than allowed.
    #[error(
        "layers of the sigstore attachment have {found} bytes, the limit is {ATTACHMENT_LIMIT}"
    )]
    TooLarge {
        /// Bytes found.
        found: u64,
    },
    /// There is no such layer.
    #[error("sigstore attachment has no layer {position}")]
    NoLayer {
        /// The place asked for, from 0.
        position: usize,
    },
    /// Bytes are not those that the manifest names.
    #[error(
        "{subject} of the sigstore attachment does not match: expected {expected}, found {found}"
    )]
    Mismatch {
        /// A layer, or the configuration.
        subject: &'static str,
        /// Digest and size in the manifest.
        expected: String,
        /// Digest and size of the bytes.
        found: String,
    },
    /// The configuration is not one strict JSON document.
    #[error("configuration of the sigstore attachment cannot be read")]
    Config(#[source] JsonError),
    /// The configuration has no list of layers to which more could be added.
    #[error("configuration of the sigstore attachment: {0} is not what it should be")]
    ConfigForm(&'static str),
    /// A signature of another family cannot be stored here.
    #[error("only sigstore signatures can be stored as sigstore attachments")]
    NotSigstore,
}

impl Attachment {
    /// Reads a manifest, bounded.
    ///
    /// # Errors
    /// It is no OCI image manifest, or its layers are too many or too large.
    pub fn read(bytes: Bytes, declared: Declared<'_>) -> Result<Self, AttachmentError> {
        let manifest = RawManifest::read(bytes, declared).map_err(AttachmentError::Manifest)?;
        let other = || AttachmentError::MediaType(manifest.media_type().clone());
        let image = manifest.image().ok_or_else(other)?.clone();
        if *manifest.media_type() != MediaType::OCI_MANIFEST {
            return Err(other());
        }
        check_sizes(&image.layers)?;
        let media_types = media_types(&manifest)?;
        Ok(Self { manifest, image, media_types })
    }

    /// The manifest.
    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    /// The configuration, to be fetched before signatures are added.
    pub fn config(&self) -> &Descriptor {
        &self.image.config
    }

    /// The layers, to be fetched one by one.
    pub fn layers(&self) -> &[Descriptor] {
        &self.image.layers
    }

    /// The attachment in one layer, whose bytes have been fetched: a signature, or something else that is only carried.
    ///
    /// # Errors
    /// There is no such layer, or the bytes are not its.
    pub fn signature(&self, position: usize, payload: Bytes) -> Result<Signature, AttachmentError> {
        let found = self.image.layers.get(position).zip(self.media_types.get(position));
        let (layer, media_type) = found.ok_or(AttachmentError::NoLayer { position })?;
        check_bytes("layer", layer, &payload)?;
        Ok(Signature::Sigstore {
            media_type: media_type.clone(),
            payload,
            annotations: layer.annotations.clone(),
        })
    }

    /// Whether all of `signatures` are there already.
    ///
    /// # Errors
    /// One of them is not a sigstore signature.
    pub fn has(&self, signatures: &[Signature]) -> Result<bool, AttachmentError> {
        let document = Document::of(&self.manifest).map_err(AttachmentError::Manifest)?;
        let layers = array(document.value("layers"));
        for signature in signatures {
            let wanted = layer_of(signature)?.1;
            if !layers.iter().any(|layer| same(layer, &wanted)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What has to be stored to add `signatures`; `None` if all of them are there already.
    ///
    /// `config` are the bytes of [`Attachment::config`].
    ///
    /// # Errors
    /// The bytes are not the configuration, the attachment would grow too large, or a signature is not a sigstore one.
    pub fn with(
        &self,
        config: &[u8],
        signatures: &[Signature],
    ) -> Result<Option<NewAttachment>, AttachmentError> {
        check_bytes("configuration", &self.image.config, config)?;
        let config = json::parse(config, Limits::bytes(MANIFEST_LIMIT));
        let document = Document::of(&self.manifest).map_err(AttachmentError::Manifest)?;
        let mut growing = Growing {
            config: config.map_err(AttachmentError::Config)?,
            layers: array(document.value("layers")).to_vec(),
            payloads: Vec::new(),
        };
        for signature in signatures {
            growing.add(signature)?;
        }
        growing.finish(document)
    }

    /// What has to be stored for signatures of a manifest that has none yet; `None` if there are none.
    ///
    /// # Errors
    /// There are too many, they are too large, or one is not a sigstore signature.
    pub fn first(signatures: &[Signature]) -> Result<Option<NewAttachment>, AttachmentError> {
        let empty = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": Value::from(&Descriptor::new(MediaType::OCI_CONFIG, Digest::of(Algorithm::Sha256, b""), 0)),
            "layers": [],
        });
        let rootfs = json!({"type": "layers", "diff_ids": []});
        let config = json!({"architecture": "", "os": "", "rootfs": rootfs});
        let mut growing = Growing { config, layers: Vec::new(), payloads: Vec::new() };
        for signature in signatures {
            growing.add(signature)?;
        }
        let empty = RawManifest::read(Bytes::from(empty.to_string()), Declared::default());
        let document = empty.and_then(|empty| Document::of(&empty));
        growing.finish(document.map_err(AttachmentError::Manifest)?)
    }
}

/// An attachment to which signatures are being added.
struct Growing {
    config: Value,
    layers: Vec<Value>,
    payloads: Vec<Blob>,
}

impl Growing {
    fn add(&mut self, signature: &Signature) -> Result<(), AttachmentError> {
        let (payload, layer) = layer_of(signature)?;
        if self.layers.iter().any(|other| same(other, &layer)) {
            return Ok(());
        }
        diff_ids(&mut self.config)?.push(payload.descriptor.digest.to_string().into());
        self.layers.push(layer);
        self.payloads.push(payload);
        Ok(())
    }

    fn finish(self, mut document: Document) -> Result<Option<NewAttachment>, AttachmentError> {
        if self.payloads.is_empty() {
            return Ok(None);
        }
        let bytes = Bytes::from(self.config.to_string());
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let descriptor = Descriptor::new(MediaType::OCI_CONFIG, digest, bytes.len() as u64);
        let config = Value::from(&descriptor);
        document.set("config", config);
        document.set("layers", Value::Array(self.layers));
        let sealed = document.seal(&MediaType::OCI_MANIFEST).map_err(AttachmentError::Manifest)?;
        // What could not be read again is not written.
        let written = Attachment::read(sealed.bytes().clone(), Declared::default())?;
        let config = Blob { descriptor, bytes };
        Ok(Some(NewAttachment { payloads: self.payloads, config, manifest: written.manifest }))
    }
}

/// The payload of a signature, and the layer that describes it.
fn layer_of(signature: &Signature) -> Result<(Blob, Value), AttachmentError> {
    let Signature::Sigstore { media_type, payload, annotations } = signature else {
        return Err(AttachmentError::NotSigstore);
    };
    let digest = Digest::of(Algorithm::Sha256, payload);
    let descriptor = Descriptor {
        annotations: annotations.clone(),
        ..Descriptor::new(MediaType::new(media_type), digest, payload.len() as u64)
    };
    let mut layer = Value::from(&descriptor);
    // The text as it is; a media type cuts parameters.
    layer["mediaType"] = media_type.as_str().into();
    Ok((Blob { descriptor, bytes: payload.clone() }, layer))
}

/// Whether two layers are one signature: type, digest, size and every annotation (the reference's rule for reuse).
fn same(one: &Value, other: &Value) -> bool {
    let annotations = |layer: &Value| match layer.get("annotations") {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    ["mediaType", "digest", "size"].iter().all(|key| one.get(key) == other.get(key))
        && annotations(one) == annotations(other)
}

/// The list of digests in the configuration; made if there is none.
fn diff_ids(config: &mut Value) -> Result<&mut Vec<Value>, AttachmentError> {
    let config = config.as_object_mut().ok_or(AttachmentError::ConfigForm("the document"))?;
    let rootfs = config.entry("rootfs").or_insert_with(|| json!({"type": "layers"}));
    let rootfs = rootfs.as_object_mut().ok_or(AttachmentError::ConfigForm("rootfs"))?;
    let list = rootfs.entry("diff_ids").or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().ok_or(AttachmentError::ConfigForm("rootfs.diff_ids"))
}

fn check_sizes(layers: &[Descriptor]) -> Result<(), AttachmentError> {
    if layers.len() > SIGNATURE_COUNT_LIMIT {
        return Err(AttachmentError::TooManyLayers { found: layers.len() });
    }
    let large = layers.iter().position(|layer| layer.size > SIGNATURE_LIMIT as u64);
    if let Some((position, layer)) = large.and_then(|n| Some((n, layers.get(n)?))) {
        return Err(AttachmentError::LayerTooLarge { position, found: layer.size });
    }
    let found: u64 = layers.iter().map(|layer| layer.size).sum();
    if found > ATTACHMENT_LIMIT { Err(AttachmentError::TooLarge { found }) } else { Ok(()) }
}

fn check_bytes(
    subject: &'static str,
    expected: &Descriptor,
    bytes: &[u8],
) -> Result<(), AttachmentError> {
    let found = Digest::of(expected.digest.algorithm(), bytes);
    if found == expected.digest && bytes.len() as u64 == expected.size {
        return Ok(());
    }
    Err(AttachmentError::Mismatch {
        subject,
        expected: format!("{} ({} bytes)", expected.digest, expected.size),
        found: format!("{found} ({} bytes)", bytes.len()),
    })
}

fn media_types(manifest: &RawManifest) -> Result<Vec<String>, AttachmentError> {
    let document = Document::of(manifest).map_err(AttachmentError::Manifest)?;
    let text = |layer: &Value| layer.get("mediaType").and_then(Value::as_str).map(str::to_owned);
    Ok(array(document.value("layers"))
        .iter()
        .map(|layer| text(layer).unwrap_or_default())
        .collect())
}

fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
