//! Conversion between the OCI and the Docker manifest formats, as the reference converts: same bytes, same digests.

mod config;
mod error;
mod index;
pub(crate) mod members;

use std::fmt::{self, Display};
use std::str::FromStr;

use bytes::Bytes;
use serde_json::{Map, Value};

pub use error::ConvertError;
pub use index::convert_index;

use crate::{
    Algorithm, Descriptor, Digest, Document, Image, LayerCompression, LayerFamily, LayerType,
    ManifestKind, MediaType, RawManifest,
};

/// A manifest format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestFormat {
    /// OCI image manifest and index.
    Oci,
    /// Docker image manifest version 2, schema 2, and manifest list.
    Docker,
}

impl ManifestFormat {
    /// The format of a manifest, if it is one of the two.
    pub fn of(media_type: &MediaType) -> Option<Self> {
        match media_type.manifest_kind()? {
            ManifestKind::OciManifest | ManifestKind::OciIndex => Some(Self::Oci),
            ManifestKind::DockerManifest | ManifestKind::DockerList => Some(Self::Docker),
            ManifestKind::DockerSchema1 => None,
        }
    }

    /// The media type of an image manifest.
    pub fn manifest(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OCI_MANIFEST,
            Self::Docker => MediaType::DOCKER_MANIFEST,
        }
    }

    /// The media type of an index.
    pub fn index(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OCI_INDEX,
            Self::Docker => MediaType::DOCKER_LIST,
        }
    }

    /// The media type of an image's configuration.
    pub fn config(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OCI_CONFIG,
            Self::Docker => MediaType::DOCKER_CONFIG,
        }
    }

    /// `descriptor`, a layer, as this format describes it: with this format's media type; annotations only in OCI.
    ///
    /// # Errors
    /// The layer has no form in this format.
    pub fn layer(self, descriptor: &Descriptor) -> Result<Descriptor, ConvertError> {
        let mut layer = Descriptor {
            media_type: self.layer_type(&descriptor.media_type)?,
            ..descriptor.clone()
        };
        if self == Self::Docker {
            layer.annotations.clear();
        }
        Ok(layer)
    }

    /// The media type that a layer of type `media_type` has in this format.
    ///
    /// # Errors
    /// Unknown layer types; into Docker also encrypted layers and those in zstd, which readers of Docker manifests do
    /// not know.
    pub fn layer_type(self, media_type: &MediaType) -> Result<MediaType, ConvertError> {
        let unknown = || ConvertError::UnknownLayer(media_type.clone());
        if media_type.is_encrypted() && self == Self::Docker {
            return Err(ConvertError::Encrypted(media_type.clone()));
        }
        let found = LayerType::of(media_type).ok_or_else(unknown)?;
        if self == Self::Docker && found.compression == LayerCompression::Zstd {
            return Err(ConvertError::Zstd(media_type.clone()));
        }
        let family = match self {
            Self::Oci => LayerFamily::Oci,
            Self::Docker => LayerFamily::Docker,
        };
        LayerType { family, ..found }.media_type().ok_or_else(unknown)
    }
}

impl Display for ManifestFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci",
            Self::Docker => "v2s2",
        })
    }
}

impl FromStr for ManifestFormat {
    type Err = ConvertError;

    /// `oci` or `v2s2`; `v2s1` is refused by name.
    fn from_str(text: &str) -> Result<Self, ConvertError> {
        match text {
            "oci" => Ok(Self::Oci),
            "v2s2" => Ok(Self::Docker),
            "v2s1" => Err(ConvertError::Schema1Destination),
            _ => Err(ConvertError::Format(crate::Escaped::new(text).limit(40).to_string())),
        }
    }
}

/// A manifest in its new format.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The manifest, still open for digests that are not known yet.
    pub document: Document,
    /// Its media type, for [`Document::seal`].
    pub media_type: MediaType,
    /// The configuration's new bytes, if they change.
    pub config: Option<Bytes>,
    /// What the new format cannot say, as paths of JSON members, at most [`LOST_LIMIT`] of them.
    pub lost: Vec<String>,
}

/// Most entries of [`Converted::lost`].
pub const LOST_LIMIT: usize = 64;

/// Converts an image manifest into format `to`.
///
/// `layers` describes the layers as they will be, in the media types of either format, one for each of the
/// manifest's. Into OCI the configuration is written anew with the members that OCI knows; into Docker its bytes stay.
///
/// # Errors
/// The manifest is not an image or already in this format, a layer has no form in it, or the configuration is not the
/// one named or cannot be read.
pub fn convert_image(
    manifest: &RawManifest,
    layers: &[Descriptor],
    config: &[u8],
    to: ManifestFormat,
) -> Result<Converted, ConvertError> {
    let image = manifest.image().ok_or(ConvertError::NotAnImage)?;
    refuse_same(manifest, to)?;
    if image.layers.len() != layers.len() {
        let (expected, found) = (image.layers.len(), layers.len());
        return Err(ConvertError::LayerCount { expected, found });
    }
    if !is_convertible_config(&image.config.media_type) {
        return Err(ConvertError::Artifact(image.config.media_type.clone()));
    }
    if !image.config.digest.matches(config) {
        return Err(ConvertError::ConfigDigest { expected: image.config.digest.clone() });
    }
    let layers = layers.iter().map(|layer| to.layer(layer)).collect::<Result<Vec<_>, _>>()?;
    match to {
        ManifestFormat::Oci => image_to_oci(manifest, image, &layers, config),
        ManifestFormat::Docker => Ok(image_to_docker(manifest, image, &layers)),
    }
}

fn refuse_same(manifest: &RawManifest, to: ManifestFormat) -> Result<(), ConvertError> {
    if ManifestFormat::of(manifest.media_type()) == Some(to) {
        return Err(ConvertError::Same(to));
    }
    Ok(())
}

/// Early Docker registries called the configuration a stream of bytes.
fn is_convertible_config(media_type: &MediaType) -> bool {
    media_type.is_image_config() || media_type.as_str() == "application/octet-stream"
}

fn image_to_oci(
    manifest: &RawManifest,
    image: &Image,
    layers: &[Descriptor],
    config: &[u8],
) -> Result<Converted, ConvertError> {
    let mut lost = lost_members(manifest, &["schemaVersion", "mediaType", "config", "layers"]);
    let bytes = config::to_oci(config, &mut lost)?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let config = Descriptor::new(ManifestFormat::Oci.config(), digest, bytes.len() as u64);
    let document = image_document(ManifestFormat::Oci, &config, layers);
    lost_from_entries("layers", &image.layers, &mut lost);
    Ok(Converted { document, media_type: MediaType::OCI_MANIFEST, config: Some(bytes), lost })
}

fn image_to_docker(manifest: &RawManifest, image: &Image, layers: &[Descriptor]) -> Converted {
    let mut lost = lost_members(manifest, &["schemaVersion", "mediaType", "config", "layers"]);
    lost_from_entries("layers", &image.layers, &mut lost);
    let config = Descriptor::new(
        ManifestFormat::Docker.config(),
        image.config.digest.clone(),
        image.config.size,
    );
    let document = image_document(ManifestFormat::Docker, &config, layers);
    Converted { document, media_type: MediaType::DOCKER_MANIFEST, config: None, lost }
}

/// Members in the order of the reference's structures.
pub(crate) fn image_document(
    to: ManifestFormat,
    config: &Descriptor,
    layers: &[Descriptor],
) -> Document {
    let mut root = Map::new();
    root.insert("schemaVersion".to_owned(), 2.into());
    root.insert("mediaType".to_owned(), to.manifest().as_str().into());
    root.insert("config".to_owned(), entry(to, config).into());
    let layers: Vec<Value> = layers.iter().map(|layer| entry(to, layer).into()).collect();
    root.insert("layers".to_owned(), layers.into());
    Document::converted(root)
}

fn entry(to: ManifestFormat, descriptor: &Descriptor) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("mediaType".to_owned(), descriptor.media_type.as_str().into());
    let digest = Value::from(descriptor.digest.to_string());
    let size = Value::from(descriptor.size);
    let ordered = match to {
        ManifestFormat::Oci => [("digest", digest), ("size", size)],
        ManifestFormat::Docker => [("size", size), ("digest", digest)],
    };
    entry.extend(ordered.map(|(key, value)| (key.to_owned(), value)));
    if !descriptor.urls.is_empty() {
        entry.insert("urls".to_owned(), descriptor.urls.clone().into());
    }
    if to == ManifestFormat::Oci && !descriptor.annotations.is_empty() {
        let annotations = crate::descriptor::text_map(&descriptor.annotations);
        entry.insert("annotations".to_owned(), annotations);
    }
    entry
}

fn lost_members(manifest: &RawManifest, kept: &[&str]) -> Vec<String> {
    let mut lost = Vec::new();
    if let Ok(document) = Document::of(manifest) {
        lose(&mut lost, "", document.keys().filter(|key| !kept.contains(key)));
    }
    lost
}

fn lost_from_entries(list: &str, entries: &[Descriptor], lost: &mut Vec<String>) {
    for (n, entry) in entries.iter().enumerate() {
        if !entry.annotations.is_empty() {
            lose(lost, &format!("{list}[{n}]."), ["annotations"]);
        }
    }
}

fn lose<'a>(lost: &mut Vec<String>, path: &str, keys: impl IntoIterator<Item = &'a str>) {
    for key in keys {
        if lost.len() < LOST_LIMIT {
            lost.push(format!("{path}{}", crate::Escaped::new(key).limit(80)));
        }
    }
}
