//! Docker image manifests version 2, schema 1: read and converted, never written.

mod config;
mod entry;
mod error;
mod jws;

use bytes::Bytes;
use serde_json::Value;

pub use error::Schema1Error;

use crate::convert::image_document;
use crate::descriptor::Fields;
use crate::json::{self, Limits};
use crate::{
    Algorithm, ConvertError, Converted, Declared, Descriptor, Digest, MANIFEST_LIMIT,
    ManifestError, ManifestFormat, MediaType, Platform, RawManifest, convert_image,
};
use entry::Entry;

/// A schema 1 manifest. Everything is read from the payload that its digest covers: what stands beside the payload in
/// a signed document (JWS) is not looked at.
///
/// Signatures inside the document are not judged; they are made with a random key by every registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema1 {
    bytes: Bytes,
    /// What the digest covers.
    payload: Bytes,
    digest: Digest,
    architecture: String,
    /// Base first, repeated ids removed.
    entries: Vec<Entry>,
}

impl Schema1 {
    /// Reads manifest bytes, checked against what was declared of them.
    ///
    /// # Errors
    /// See [`Schema1Error`].
    pub fn read(bytes: Bytes, declared: Declared<'_>) -> Result<Self, Schema1Error> {
        if bytes.len() > MANIFEST_LIMIT {
            return Err(ManifestError::TooLarge { found: bytes.len() }.into());
        }
        let document = parse(&bytes)?;
        let payload = match Fields::of(&document, "manifest", MEMBERS)?.present("signatures") {
            None => bytes.clone(),
            Some(signatures) => jws::payload(&bytes, signatures)?,
        };
        let digest = held_to(&bytes, &payload, declared)?;
        let content = parse(&payload)?;
        let fields = Fields::of(&content, "manifest", MEMBERS)?;
        refuse_foreign(&fields)?;
        let architecture = fields.string("architecture")?.unwrap_or_default().to_owned();
        Ok(Self { digest, architecture, entries: entry::read(&fields)?, payload, bytes })
    }

    /// The exact bytes, signatures included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest: of the payload, without signatures.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What the digest covers.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The architecture named.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The platform, as the newest entry names it; images in this format were for Linux unless they say otherwise.
    pub fn platform(&self) -> Platform {
        let newest = self.entries.last().map_or("{}", |entry| entry.text.as_str());
        let newest = json::parse(newest.as_bytes(), Limits::bytes(MANIFEST_LIMIT));
        let newest = newest.unwrap_or_default();
        let text = |key: &str| newest.get(key).and_then(Value::as_str).unwrap_or_default();
        let or = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
        let (os, architecture) =
            (or(text("os"), "linux"), or(text("architecture"), &self.architecture));
        Platform { variant: text("variant").to_owned(), ..Platform::new(&os, &architecture) }
    }

    /// The digests of the layers, base first, entries without files left out. Their sizes stand nowhere.
    pub fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().filter(|entry| !entry.empty).map(|entry| &entry.blob)
    }

    /// Makes a manifest of format `to` and its configuration.
    ///
    /// `layers` describes the layers as they will be and `diff_ids` are the digests of their plain bytes, one each for
    /// each of [`Schema1::layers`].
    ///
    /// # Errors
    /// The counts differ, a layer has no form in the format, or the newest entry is no configuration.
    pub fn convert(
        &self,
        layers: &[Descriptor],
        diff_ids: &[Digest],
        to: ManifestFormat,
    ) -> Result<Converted, ConvertError> {
        let expected = self.layers().count();
        for found in [layers.len(), diff_ids.len()] {
            if found != expected {
                return Err(ConvertError::LayerCount { expected, found });
            }
        }
        let config = Bytes::from(config::build(&self.entries, diff_ids)?);
        let digest = Digest::of(Algorithm::Sha256, &config);
        let described = Descriptor::new(MediaType::DOCKER_CONFIG, digest, config.len() as u64);
        let placed = layers.iter().map(|layer| to.layer(layer)).collect::<Result<Vec<_>, _>>()?;
        if to == ManifestFormat::Docker {
            let document = image_document(to, &described, &placed);
            let (media_type, config) = (to.manifest(), Some(config));
            return Ok(Converted { document, media_type, config, lost: Vec::new() });
        }
        // The way of the reference: by v2s2, so that the configuration keeps only what OCI knows.
        let between = image_document(ManifestFormat::Docker, &described, &placed);
        let between: RawManifest = between.seal(&MediaType::DOCKER_MANIFEST)?;
        convert_image(&between, layers, &config, to)
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Schema1Error> {
    json::parse(bytes, Limits::bytes(MANIFEST_LIMIT))
        .map_err(|error| ManifestError::Json(error).into())
}

fn held_to(bytes: &Bytes, payload: &Bytes, declared: Declared<'_>) -> Result<Digest, Schema1Error> {
    let found = bytes.len() as u64;
    if let Some(expected) = declared.size.filter(|expected| *expected != found) {
        return Err(ManifestError::SizeMismatch { expected, found }.into());
    }
    let algorithm = declared.digest.map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, payload);
    match declared.digest.filter(|expected| **expected != digest) {
        None => Ok(digest),
        Some(expected) => {
            let (expected, found) = (expected.clone(), digest);
            Err(ManifestError::DigestMismatch { expected, found }.into())
        }
    }
}

/// The members that readers of any format know.
const MEMBERS: &[&str] = &[
    "schemaVersion",
    "name",
    "tag",
    "architecture",
    "fsLayers",
    "history",
    "signatures",
    "config",
    "layers",
    "manifests",
    "mediaType",
];

/// Keys by which another reader would take the document for something else.
fn refuse_foreign(fields: &Fields<'_>) -> Result<(), Schema1Error> {
    if fields.present("schemaVersion").and_then(Value::as_u64) != Some(1) {
        return Err(Schema1Error::Version);
    }
    let foreign = ["config", "layers", "manifests", "mediaType"];
    match foreign.into_iter().find(|key| fields.map().contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let media_type = MediaType::DOCKER_SCHEMA1;
            Err(ManifestError::Ambiguous { key: key.to_owned(), media_type }.into())
        }
    }
}
