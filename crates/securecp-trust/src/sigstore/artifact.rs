//! The manifest that makes a bundle a referrer of an image, as cosign 3 writes it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use securecp_oci::{
    Algorithm, Declared, Descriptor, Digest, Image, ManifestError, MediaType, RawManifest,
    SIGNATURE_LIMIT,
};
use serde_json::json;
use x509_cert::der::DateTime;

use super::bundle::{BUNDLE_MEDIA_TYPE, SIGN_PREDICATE};
use super::record::RECORD_PREDICATE;

const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// What has to be stored so that a bundle is found beside an image: the blobs, then the manifest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BundleArtifact {
    /// The manifest; its subject is the image.
    pub manifest: RawManifest,
    /// What it names: the empty configuration and the bundle.
    pub blobs: [(Descriptor, Bytes); 2],
}

/// What was stored as a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredBundle {
    /// What should be one.
    Content(Bytes),
    /// An artifact of which it cannot be told what the bundle would be.
    Odd(ArtifactFault),
}

impl From<Bytes> for StoredBundle {
    fn from(content: Bytes) -> Self {
        Self::Content(content)
    }
}

/// Why a manifest that should carry a bundle does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactFault {
    /// It is an index, or has another subject.
    #[error("expected an artifact that refers to {subject}")]
    NotAbout {
        /// The digest of the manifest that it should refer to.
        subject: String,
    },
    /// It carries several things, or nothing.
    #[error("artifact has {found} layers, expected one bundle")]
    Layers {
        /// Layers found.
        found: usize,
    },
    /// What it carries is something else.
    #[error("artifact carries {found:?}, expected {BUNDLE_MEDIA_TYPE}")]
    MediaType {
        /// The media type of its layer.
        found: String,
    },
    /// The bundle is larger than any bundle needs to be.
    #[error("bundle has {found} bytes, the limit is {SIGNATURE_LIMIT}")]
    TooLarge {
        /// Bytes found.
        found: u64,
    },
}

impl BundleArtifact {
    /// The artifact that carries the signature `bundle` of `subject`.
    ///
    /// # Errors
    /// The manifest cannot be read again; none is known that could not.
    pub fn new(
        subject: &RawManifest,
        bundle: Bytes,
        created: SystemTime,
    ) -> Result<Self, ManifestError> {
        Self::with(subject, bundle, annotations(SIGN_PREDICATE, created))
    }

    /// The artifact that carries the change record `bundle` of `subject`.
    ///
    /// # Errors
    /// The manifest cannot be read again; none is known that could not.
    pub fn record(
        subject: &RawManifest,
        bundle: Bytes,
        created: SystemTime,
    ) -> Result<Self, ManifestError> {
        Self::with(subject, bundle, annotations(RECORD_PREDICATE, created))
    }

    /// The artifact that carries `bundle`, an attestation of this type about `subject`.
    ///
    /// # Errors
    /// The manifest cannot be read again; none is known that could not.
    pub fn attestation(
        subject: &RawManifest,
        predicate_type: &str,
        bundle: Bytes,
        created: SystemTime,
    ) -> Result<Self, ManifestError> {
        Self::with(subject, bundle, annotations(predicate_type, created))
    }

    fn with(
        subject: &RawManifest,
        bundle: Bytes,
        annotations: BTreeMap<&'static str, String>,
    ) -> Result<Self, ManifestError> {
        let config = Bytes::from_static(EMPTY);
        let digest = |bytes: &[u8]| Digest::of(Algorithm::Sha256, bytes);
        let (of_config, of_bundle) = (digest(&config), digest(&bundle));
        let title = format!("{}-{}.sigstore.json", of_bundle.algorithm(), of_bundle.hex());
        let about = subject.descriptor();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": EMPTY_MEDIA_TYPE,
                "size": config.len(),
                "digest": of_config.to_string(),
                "artifactType": BUNDLE_MEDIA_TYPE,
            },
            "layers": [{
                "mediaType": BUNDLE_MEDIA_TYPE,
                "size": bundle.len(),
                "digest": of_bundle.to_string(),
                "annotations": {"org.opencontainers.image.title": title},
            }],
            "annotations": annotations,
            "subject": {
                "mediaType": about.media_type.as_str(),
                "size": about.size,
                "digest": about.digest.to_string(),
            },
            "artifactType": BUNDLE_MEDIA_TYPE,
        });
        let manifest = RawManifest::read(Bytes::from(manifest.to_string()), Declared::default())?;
        let blob = |media_type: &str, digest, bytes: Bytes| {
            (Descriptor::new(MediaType::new(media_type), digest, bytes.len() as u64), bytes)
        };
        let config = blob(EMPTY_MEDIA_TYPE, of_config, config);
        let bundle = blob(BUNDLE_MEDIA_TYPE, of_bundle, bundle);
        Ok(Self { manifest, blobs: [config, bundle] })
    }

    /// The descriptor of the bundle that `artifact` carries for the manifest with the digest `subject`.
    ///
    /// # Errors
    /// It carries none, or is about something else: a list of referrers can name anything.
    pub fn bundle_of<'a>(
        artifact: &'a RawManifest,
        subject: &Digest,
    ) -> Result<&'a Descriptor, ArtifactFault> {
        let about = |image: &&Image| image.subject.as_ref().is_some_and(|s| s.digest == *subject);
        let not_about = || ArtifactFault::NotAbout { subject: subject.to_string() };
        let image = artifact.image().filter(about).ok_or_else(not_about)?;
        let [layer] = &image.layers[..] else {
            return Err(ArtifactFault::Layers { found: image.layers.len() });
        };
        if layer.media_type.as_str() != BUNDLE_MEDIA_TYPE {
            return Err(ArtifactFault::MediaType { found: layer.media_type.as_str().to_owned() });
        }
        if layer.size > SIGNATURE_LIMIT as u64 {
            return Err(ArtifactFault::TooLarge { found: layer.size });
        }
        Ok(layer)
    }
}

fn annotations(predicate: &str, created: SystemTime) -> BTreeMap<&'static str, String> {
    // In whole seconds; times before 1970 do not occur.
    let created = DateTime::from_system_time(created).map(|time| time.to_string());
    let mut annotations = BTreeMap::from([
        ("dev.sigstore.bundle.content", "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType", predicate.to_owned()),
    ]);
    annotations.extend(created.ok().map(|created| ("org.opencontainers.image.created", created)));
    annotations
}
