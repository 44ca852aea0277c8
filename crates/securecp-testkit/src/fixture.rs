use bytes::Bytes;
use securecp_oci::{Algorithm, Digest, MediaType};
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::layer::{Blob, Layer};

/// A manifest with what an index says of it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What it is.
    pub media_type: MediaType,
    /// Its exact bytes.
    pub bytes: Bytes,
    /// Their SHA-256 digest.
    pub digest: Digest,
    /// Members that its entry in an index has besides type, digest and size.
    entry: Map<String, Value>,
}

impl Manifest {
    pub(crate) fn new(media_type: MediaType, document: &Value) -> Self {
        let bytes = Bytes::from(document.to_string());
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Self { media_type, bytes, digest, entry: Map::new() }
    }

    /// A descriptor of it, as it stands in an index or as a subject.
    pub fn descriptor(&self) -> Value {
        let mut members = described(&self.media_type, &self.digest, self.bytes.len() as u64);
        members.extend(self.entry.clone());
        Value::Object(members)
    }
}

/// One image, index or artifact with everything below it. Equal calls give equal bytes.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// All blobs, configurations included.
    pub blobs: Vec<Blob>,
    /// The manifests below the root, children before parents.
    pub children: Vec<Manifest>,
    /// The manifest that a tag would name.
    pub root: Manifest,
}

impl Fixture {
    /// An OCI image for Linux on `architecture`.
    pub fn image(architecture: &str, layers: &[Layer]) -> Self {
        Self::of_layers(architecture, layers, &OCI)
    }

    /// A Docker image (manifest version 2, schema 2) for Linux on `architecture`.
    pub fn docker_image(architecture: &str, layers: &[Layer]) -> Self {
        Self::of_layers(architecture, layers, &DOCKER)
    }

    /// An OCI index of `children`, which may be indexes themselves.
    pub fn index(children: &[Self]) -> Self {
        Self::list(children, MediaType::OCI_INDEX)
    }

    /// A Docker manifest list of `children`.
    pub fn docker_list(children: &[Self]) -> Self {
        Self::list(children, MediaType::DOCKER_LIST)
    }

    /// An OCI index of `children` in which each is followed by an attestation manifest, as BuildKit writes it.
    pub fn attested_index(children: &[Self]) -> Self {
        let all: Vec<Self> =
            children.iter().flat_map(|child| [child.clone(), attestation(&child.root)]).collect();
        Self::index(&all)
    }

    /// An artifact of one blob, with or without a subject.
    pub fn artifact(artifact_type: &str, payload: Blob, subject: Option<&Manifest>) -> Self {
        let config = Blob::new(MediaType::OCI_EMPTY, "{}");
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "artifactType": artifact_type,
            "config": describe(&config),
            "layers": [describe(&payload)],
        });
        if let Some(subject) = subject {
            let size = subject.bytes.len() as u64;
            document["subject"] = described(&subject.media_type, &subject.digest, size).into();
        }
        let root = Manifest::new(MediaType::OCI_MANIFEST, &document);
        Self { blobs: vec![config, payload], children: Vec::new(), root }
    }

    /// A tiny image of two layers for amd64.
    ///
    /// # Errors
    /// None in practice: the archives are made in memory.
    pub fn tiny() -> Result<Self> {
        Ok(Self::image("amd64", &tiny_layers("amd64")?))
    }

    /// A tiny image for amd64 and arm64 under one index; the base layer is shared.
    ///
    /// # Errors
    /// None in practice: the archives are made in memory.
    pub fn two_platforms() -> Result<Self> {
        Ok(Self::index(&tiny_platforms()?))
    }

    /// As [`Fixture::two_platforms`], with attestations.
    ///
    /// # Errors
    /// None in practice: the archives are made in memory.
    pub fn two_platforms_attested() -> Result<Self> {
        Ok(Self::attested_index(&tiny_platforms()?))
    }

    /// An index of an index and an image.
    ///
    /// # Errors
    /// None in practice: the archives are made in memory.
    pub fn nested() -> Result<Self> {
        let image = Self::image("s390x", &tiny_layers("s390x")?);
        Ok(Self::index(&[Self::two_platforms()?, image]))
    }

    /// The digest of the root.
    pub fn digest(&self) -> &Digest {
        &self.root.digest
    }

    /// All manifests, children before parents, the root last.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.children.iter().chain([&self.root])
    }

    fn of_layers(architecture: &str, layers: &[Layer], format: &Format) -> Self {
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
        let document = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Blob::new(format.config.clone(), document.to_string());
        let mut blobs = vec![config];
        blobs.extend(layers.iter().map(|layer| (format.layer)(&layer.blob)));
        let described: Vec<Value> = blobs.iter().map(describe).collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": format.manifest.as_str(),
            "config": described[0],
            "layers": described[1..],
        });
        let mut root = Manifest::new(format.manifest.clone(), &document);
        let platform = json!({"architecture": architecture, "os": "linux"});
        root.entry.insert("platform".to_owned(), platform);
        Self { blobs, children: Vec::new(), root }
    }

    fn list(children: &[Self], media_type: MediaType) -> Self {
        let entries: Vec<Value> = children.iter().map(|child| child.root.descriptor()).collect();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": media_type.as_str(),
            "manifests": entries,
        });
        Self {
            blobs: children.iter().flat_map(|child| child.blobs.clone()).collect(),
            children: children.iter().flat_map(|child| child.manifests().cloned()).collect(),
            root: Manifest::new(media_type, &document),
        }
    }
}

/// The names that differ between OCI and Docker.
struct Format {
    manifest: MediaType,
    config: MediaType,
    layer: fn(&Blob) -> Blob,
}

const OCI: Format =
    Format { manifest: MediaType::OCI_MANIFEST, config: MediaType::OCI_CONFIG, layer: Blob::clone };

const DOCKER: Format = Format {
    manifest: MediaType::DOCKER_MANIFEST,
    config: MediaType::DOCKER_CONFIG,
    layer: docker_layer,
};

fn docker_layer(layer: &Blob) -> Blob {
    let plain = layer.media_type == MediaType::OCI_LAYER;
    let media_type = if plain { MediaType::DOCKER_LAYER } else { MediaType::DOCKER_LAYER_GZIP };
    Blob { media_type, ..layer.clone() }
}

fn tiny_layers(architecture: &str) -> Result<[Layer; 2]> {
    let hello = format!("hello from {architecture}\n");
    Ok([
        Layer::gzip(&[("etc/os-release", b"NAME=tiny\n".as_slice())])?,
        Layer::gzip(&[("hello", hello.as_bytes())])?,
    ])
}

fn tiny_platforms() -> Result<[Fixture; 2]> {
    Ok([
        Fixture::image("amd64", &tiny_layers("amd64")?),
        Fixture::image("arm64", &tiny_layers("arm64")?),
    ])
}

/// What BuildKit puts beside an image: an in-toto statement in a manifest of unknown platform.
fn attestation(of: &Manifest) -> Fixture {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "image", "digest": {"sha256": of.digest.hex()}}],
        "predicate": {},
    });
    let blob = Blob::new(MediaType::new("application/vnd.in-toto+json"), statement.to_string());
    let layer = Layer { diff_id: blob.digest.clone(), blob };
    let mut fixture = Fixture::of_layers("unknown", &[layer], &OCI);
    let entry = json!({
        "annotations": {
            "vnd.docker.reference.digest": of.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    });
    if let Value::Object(entry) = entry {
        fixture.root.entry = entry;
    }
    fixture
}

pub(crate) fn describe(blob: &Blob) -> Value {
    Value::Object(described(&blob.media_type, &blob.digest, blob.size))
}

fn described(media_type: &MediaType, digest: &Digest, size: u64) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("mediaType".to_owned(), media_type.as_str().into());
    members.insert("digest".to_owned(), digest.to_string().into());
    members.insert("size".to_owned(), size.into());
    members
}
