use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use crate::descriptor::{Fields, annotations_kept};
use crate::json::{self, JsonError, Limits};
use crate::{
    Algorithm, Annotations, Descriptor, Digest, DigestError, ManifestKind, MediaType, Schema1,
    Schema1Error,
};

/// Largest manifest that is read, in bytes: 4 MiB.
pub const MANIFEST_LIMIT: usize = 4 << 20;
/// Bounds of a manifest. Entries of an index with nothing but type, digest, size and platform have 32 bytes for each value.
pub(crate) const MANIFEST_LIMITS: Limits =
    Limits { bytes_per_value: 16, ..Limits::bytes(MANIFEST_LIMIT) };
/// Larger manifests are parsed one after the other, in bytes: meanwhile one weighs up to 15 times its own bytes, and a
/// copy reads many at once.
const PARSED_ALONE: usize = 256 << 10;
static ALONE: Mutex<()> = Mutex::new(());

/// Largest configuration of an image that is read, in bytes: 4 MiB.
pub const CONFIG_LIMIT: usize = 4 << 20;

/// Exact manifest bytes with their digest, media type and parsed view. The bytes never change.
#[derive(Debug, Clone)]
pub struct RawManifest {
    bytes: Bytes,
    digest: Digest,
    media_type: MediaType,
    view: View,
}

/// What whoever delivered the bytes said about them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declared<'a> {
    /// The `Content-Type` header or the descriptor's media type.
    pub media_type: Option<&'a str>,
    /// The digest that the bytes must have.
    pub digest: Option<&'a Digest>,
    /// The length that the bytes must have.
    pub size: Option<u64>,
}

impl<'a> From<&'a Descriptor> for Declared<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: Some(descriptor.media_type.as_str()),
            digest: Some(&descriptor.digest),
            size: Some(descriptor.size),
        }
    }
}

/// The parsed view of a manifest.
#[expect(clippy::large_enum_variant, reason = "one view per manifest, read often, moved rarely")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// One image or artifact.
    Image(Image),
    /// A list of manifests.
    Index(Index),
    /// A Docker schema 1 image, which can only be converted.
    Schema1(Schema1),
}

/// An OCI image manifest or Docker v2s2 manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The configuration blob.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The artifact type.
    pub artifact_type: Option<String>,
    /// Annotations.
    pub annotations: Annotations,
}

/// An OCI image index or Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// OCI index or Docker list.
    pub kind: ManifestKind,
    /// The entries, in order.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The artifact type.
    pub artifact_type: Option<String>,
    /// Annotations.
    pub annotations: Annotations,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            kind: ManifestKind::OciIndex,
            manifests: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: Annotations::new(),
        }
    }
}

/// Why bytes are not a manifest that can be copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More than [`MANIFEST_LIMIT`] bytes.
    #[error("manifest has {found} bytes, the limit is {MANIFEST_LIMIT}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// The bytes are not what their digest promised.
    #[error("manifest digest does not match: expected {expected}, found {found}")]
    DigestMismatch {
        /// The digest promised.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The length is not what the descriptor promised.
    #[error("manifest size does not match: expected {expected} bytes, found {found}")]
    SizeMismatch {
        /// Bytes promised.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Not one strict JSON document.
    #[error("manifest cannot be read")]
    Json(#[source] JsonError),
    /// The media type in the bytes and the one outside disagree.
    #[error(
        "manifest media type contradicts itself: declared {declared}, the document says {found}"
    )]
    MediaType {
        /// The type outside.
        declared: MediaType,
        /// The type inside.
        found: MediaType,
    },
    /// The format cannot be told or is not one that can be copied.
    #[error("unknown manifest format, media type {0:?}")]
    Unknown(String),
    /// A Docker schema 1 manifest breaks the rules of its own format.
    #[error("Docker schema 1 manifest cannot be read")]
    Schema1(#[source] Box<Schema1Error>),
    /// The document has keys of two formats.
    #[error("ambiguous manifest: key {key:?} does not belong to a document of type {media_type}")]
    Ambiguous {
        /// The foreign key.
        key: String,
        /// The type by which the document is read.
        media_type: MediaType,
    },
    /// A known member is spelled so that only some readers know it.
    #[error("ambiguous manifest: member {member} is spelled otherwise than {expected:?}")]
    Spelling {
        /// The path of the member.
        member: String,
        /// How it is spelled.
        expected: &'static str,
    },
    /// `schemaVersion` is not 2.
    #[error("unsupported schema version, expected 2")]
    SchemaVersion,
    /// A field has the wrong type or is missing.
    #[error("manifest field {subject} is not {expected}")]
    Field {
        /// The path of the field.
        subject: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A digest in a descriptor is malformed.
    #[error("manifest field {subject}.digest is malformed")]
    Digest {
        /// The path of the descriptor.
        subject: String,
        /// Why.
        source: DigestError,
    },
}

impl RawManifest {
    /// Reads manifest bytes, checked against what was declared of them.
    ///
    /// A declared type that is not a manifest type (absent, `text/plain`, `application/json` …) is ignored and the
    /// document decides.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(bytes: Bytes, declared: Declared<'_>) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_LIMIT {
            return Err(ManifestError::TooLarge { found: bytes.len() });
        }
        let promised = match check_promises(&bytes, declared) {
            Err(error) if !may_be_schema1(declared) => return Err(error),
            promised => promised,
        };
        let _alone = alone(bytes.len());
        let parsed = parse(&bytes, declared);
        if let Ok((_, media_type)) = &parsed
            && media_type.manifest_kind() == Some(ManifestKind::DockerSchema1)
        {
            return Self::schema1(bytes, media_type.clone(), declared);
        }
        let digest = promised?;
        let (value, media_type) = parsed?;
        let view = View::read(&value, &media_type)?;
        Ok(Self { bytes, digest, media_type, view })
    }

    /// Its digest is that of the payload, so what was promised is held against that.
    fn schema1(
        bytes: Bytes,
        media_type: MediaType,
        declared: Declared<'_>,
    ) -> Result<Self, ManifestError> {
        let read = Schema1::read(bytes.clone(), declared).map_err(|error| match error {
            Schema1Error::Manifest(error) => error,
            other => ManifestError::Schema1(Box::new(other)),
        })?;
        Ok(Self { bytes, digest: read.digest().clone(), media_type, view: View::Schema1(read) })
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes that the digest covers: all of them, but of a signed schema 1 manifest its payload.
    pub fn digested(&self) -> &Bytes {
        match &self.view {
            View::Schema1(schema1) => schema1.payload(),
            View::Image(_) | View::Index(_) => &self.bytes,
        }
    }

    /// The digest of the bytes, of a signed schema 1 manifest that of its payload; SHA-256 unless another one was
    /// promised.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether `digest`, of any algorithm, names this manifest.
    pub fn is_named(&self, digest: &Digest) -> bool {
        digest.matches(self.digested())
    }

    /// The media type under which the manifest is stored.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The parsed view.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The length in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// About how many bytes of memory it takes: its own, and those of the parsed view.
    pub fn bytes_kept(&self) -> usize {
        let view = match &self.view {
            View::Image(image) => {
                let descriptors = image.layers.iter().chain([&image.config]).chain(&image.subject);
                descriptors.map(Descriptor::bytes_kept).sum::<usize>()
                    + annotations_kept(&image.annotations)
            }
            View::Index(index) => {
                let descriptors = index.manifests.iter().chain(&index.subject);
                descriptors.map(Descriptor::bytes_kept).sum::<usize>()
                    + annotations_kept(&index.annotations)
            }
            View::Schema1(schema1) => schema1.payload().len(),
        };
        self.bytes.len() + view
    }

    /// A descriptor of this manifest without annotations.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.size())
    }

    /// The index view, if this lists other manifests.
    pub fn index(&self) -> Option<&Index> {
        match &self.view {
            View::Index(index) => Some(index),
            View::Image(_) | View::Schema1(_) => None,
        }
    }

    /// The image view, if this is one image or artifact.
    pub fn image(&self) -> Option<&Image> {
        match &self.view {
            View::Image(image) => Some(image),
            View::Index(_) | View::Schema1(_) => None,
        }
    }

    /// The schema 1 view, if this is an image in that format.
    pub fn as_schema1(&self) -> Option<&Schema1> {
        match &self.view {
            View::Schema1(schema1) => Some(schema1),
            View::Image(_) | View::Index(_) => None,
        }
    }
}

impl View {
    /// The subject, in either form.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
            Self::Schema1(_) => None,
        }
    }

    fn read(value: &Value, media_type: &MediaType) -> Result<Self, ManifestError> {
        let fields = Fields::of(value, "manifest", MEMBERS)?;
        let kind = media_type
            .manifest_kind()
            .ok_or_else(|| ManifestError::Unknown(media_type.to_string()))?;
        refuse_foreign_keys(&fields, kind, media_type)?;
        if fields.present("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        if kind.is_index() {
            Index::read(&fields, kind).map(Self::Index)
        } else {
            Image::read(&fields).map(Self::Image)
        }
    }
}

impl Image {
    fn read(fields: &Fields<'_>) -> Result<Self, ManifestError> {
        Ok(Self {
            config: Descriptor::read(fields.map().get("config").unwrap_or(&Value::Null), "config")?,
            layers: descriptors(fields, "layers")?,
            subject: subject(fields)?,
            artifact_type: fields.string("artifactType")?.map(str::to_owned),
            annotations: fields.annotations()?,
        })
    }
}

impl Index {
    fn read(fields: &Fields<'_>, kind: ManifestKind) -> Result<Self, ManifestError> {
        Ok(Self {
            kind,
            manifests: descriptors(fields, "manifests")?,
            subject: subject(fields)?,
            artifact_type: fields.string("artifactType")?.map(str::to_owned),
            annotations: fields.annotations()?,
        })
    }
}

fn descriptors(fields: &Fields<'_>, key: &str) -> Result<Vec<Descriptor>, ManifestError> {
    let items = fields.array(key)?.iter().enumerate();
    items.map(|(n, value)| Descriptor::read(value, &format!("{key}[{n}]"))).collect()
}

fn subject(fields: &Fields<'_>) -> Result<Option<Descriptor>, ManifestError> {
    fields.present("subject").map(|value| Descriptor::read(value, "subject")).transpose()
}

/// Only of schema 1 the bytes may have another digest than the one promised; whoever delivers it says so, or nothing.
fn may_be_schema1(declared: Declared<'_>) -> bool {
    let kind = declared.media_type.and_then(|text| MediaType::new(text).manifest_kind());
    matches!(kind, None | Some(ManifestKind::DockerSchema1))
}

/// The right to parse a manifest of so many bytes.
fn alone(bytes: usize) -> Option<MutexGuard<'static, ()>> {
    (bytes > PARSED_ALONE).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn parse(bytes: &[u8], declared: Declared<'_>) -> Result<(Value, MediaType), ManifestError> {
    let value = json::parse(bytes, MANIFEST_LIMITS).map_err(ManifestError::Json)?;
    let media_type = resolve_media_type(&value, declared.media_type)?;
    Ok((value, media_type))
}

fn check_promises(bytes: &[u8], declared: Declared<'_>) -> Result<Digest, ManifestError> {
    let found = bytes.len() as u64;
    if let Some(expected) = declared.size.filter(|expected| *expected != found) {
        return Err(ManifestError::SizeMismatch { expected, found });
    }
    let algorithm = declared.digest.map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, bytes);
    match declared.digest {
        Some(expected) if *expected != digest => {
            Err(ManifestError::DigestMismatch { expected: expected.clone(), found: digest })
        }
        _ => Ok(digest),
    }
}

fn resolve_media_type(value: &Value, declared: Option<&str>) -> Result<MediaType, ManifestError> {
    let fields = Fields::of(value, "manifest", MEMBERS)?;
    let inside = fields.string("mediaType")?.map(MediaType::new);
    let outside = declared.map(MediaType::new).filter(|t| t.manifest_kind().is_some());
    match (inside, outside) {
        (Some(found), Some(declared)) if found != declared => {
            Err(ManifestError::MediaType { declared, found })
        }
        (Some(found), _) if found.manifest_kind().is_some() => Ok(found),
        (Some(found), _) => Err(ManifestError::Unknown(found.to_string())),
        (None, Some(declared)) => Ok(declared),
        (None, None) => guess(&fields),
    }
}

/// The format of a document that states no media type, by its keys.
fn guess(fields: &Fields<'_>) -> Result<MediaType, ManifestError> {
    if fields.present("schemaVersion").and_then(Value::as_u64) == Some(1) {
        return Ok(match fields.present("signatures") {
            Some(_) => MediaType::DOCKER_SCHEMA1_SIGNED,
            None => MediaType::DOCKER_SCHEMA1,
        });
    }
    let config = fields.present("config").and_then(|c| c.get("mediaType")).and_then(Value::as_str);
    match (config, fields.present("manifests").is_some()) {
        (None, true) => Ok(MediaType::OCI_INDEX),
        (Some(config), false) if config == MediaType::DOCKER_CONFIG.as_str() => {
            Ok(MediaType::DOCKER_MANIFEST)
        }
        (Some(_), false) => Ok(MediaType::OCI_MANIFEST),
        _ => Err(ManifestError::Unknown(String::new())),
    }
}

/// The members that readers of any format know.
const MEMBERS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
    "history",
];

/// A key that tells another format is what lets two readers see two different manifests in one document.
fn refuse_foreign_keys(
    fields: &Fields<'_>,
    kind: ManifestKind,
    media_type: &MediaType,
) -> Result<(), ManifestError> {
    let foreign: &[&str] = if kind.is_index() {
        &["config", "layers", "fsLayers", "history"]
    } else {
        &["manifests", "fsLayers", "history"]
    };
    match foreign.iter().find(|key| fields.present(key).is_some()) {
        None => Ok(()),
        Some(key) => {
            let (key, media_type) = ((*key).to_owned(), media_type.clone());
            Err(ManifestError::Ambiguous { key, media_type })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str, media_type: Option<&str>) -> Result<RawManifest, ManifestError> {
        let bytes = Bytes::copy_from_slice(text.replace("EMPTY", EMPTY).as_bytes());
        RawManifest::read(bytes, Declared { media_type, ..Declared::default() })
    }

    const CONFIG: &str = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"EMPTY","size":0}"#;
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    #[test]
    fn reads_artifacts_and_null_layers_as_they_are() {
        let text = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":null,"x-vendor":[1.0]}}"#);
        let manifest = read(&text, Some(OCI)).unwrap();
        assert!(manifest.image().unwrap().layers.is_empty());
        assert_eq!(manifest.bytes(), text.replace("EMPTY", EMPTY).as_bytes());
        assert_eq!(manifest.media_type(), &MediaType::OCI_MANIFEST);
    }

    #[test]
    fn guesses_only_without_declaration() {
        let image = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[]}}"#);
        assert_eq!(read(&image, None).unwrap().media_type(), &MediaType::OCI_MANIFEST);
        assert_eq!(
            read(&image, Some("text/plain")).unwrap().media_type(),
            &MediaType::OCI_MANIFEST
        );
        let docker = image.replace("oci.image.config", "docker.container.image");
        assert_eq!(read(&docker, None).unwrap().media_type(), &MediaType::DOCKER_MANIFEST);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(read(index, None).unwrap().media_type(), &MediaType::OCI_INDEX);
        assert!(matches!(read(r#"{"schemaVersion":1}"#, None), Err(ManifestError::Schema1(_))));
        assert!(matches!(read(r#"{"schemaVersion":2}"#, None), Err(ManifestError::Unknown(_))));
    }

    #[test]
    fn refuses_ambiguity() {
        for (text, declared) in [
            (format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"manifests":[]}}"#), Some(OCI)),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"manifests":[]}}"#), Some(INDEX)),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"Layers":[]}}"#), Some(OCI)),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"fslayers":[]}}"#), Some(OCI)),
            (format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}",{CONFIG}}}"#), Some(OCI)),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"config":null}}"#), Some(OCI)),
        ] {
            assert!(read(&text, declared).is_err(), "{text}");
        }
    }

    /// CVE-2021-41190 in small: Go's decoder takes each of these for the member that is meant.
    #[test]
    fn refuses_known_members_spelled_otherwise() {
        let layer = r#""mediaType":"x","digest":"EMPTY","size":0"#;
        for (text, declared, expected) in [
            (format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"Layers":null}}"#), OCI, "layers"),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"layer\u017f":[]}}"#), OCI, "layers"),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"ArtifactType":"x"}}"#), OCI, "artifactType"),
            (format!(r#"{{"schemaVersion":2,{CONFIG},"Subject":{{{layer}}}}}"#), OCI, "subject"),
            (
                r#"{"schemaVersion":2,"manifests":[],"manife\u017ft\u017f":[]}"#.to_owned(),
                INDEX,
                "manifests",
            ),
        ] {
            let error = read(&text, Some(declared)).unwrap_err();
            let found =
                matches!(&error, ManifestError::Spelling { expected: e, .. } if *e == expected);
            assert!(found, "{text}: {error}");
        }
        for (member, expected) in [
            (r#""Digest":"EMPTY""#, "digest"),
            (r#""MediaType":null"#, "mediaType"),
            (r#""\u017fize":1"#, "size"),
            (r#""URLs":[]"#, "urls"),
            (r#""Annotations":{}"#, "annotations"),
            (r#""Data":null"#, "data"),
            (r#""artifacttype":"x""#, "artifactType"),
            (r#""platform":{"os":"linux","O\u017f":"x"}"#, "os"),
            (r#""platform":{"Architecture":null}"#, "architecture"),
        ] {
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{{{layer},{member}}}]}}"#);
            let error = read(&text, Some(INDEX)).unwrap_err();
            let found =
                matches!(&error, ManifestError::Spelling { expected: e, .. } if *e == expected);
            assert!(found, "{text}: {error}");
        }
        let other =
            format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"Vendor":1,"manifests":null}}"#);
        assert!(read(&other, Some(OCI)).is_ok());
    }

    #[test]
    fn refuses_broken_descriptors() {
        for layer in [
            r#"{"digest":"EMPTY","size":-1}"#,
            r#"{"digest":"EMPTY","size":1.5}"#,
            r#"{"digest":"EMPTY"}"#,
            r#"{"digest":"sha256:00","size":1}"#,
            r#"{"size":1}"#,
            r#"{"digest":"EMPTY","size":1,"urls":"x"}"#,
            r#"{"digest":"EMPTY","size":1,"annotations":{"a":1}}"#,
            "7",
        ] {
            let text = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[{layer}]}}"#);
            assert!(read(&text, Some(OCI)).is_err(), "{layer}");
        }
    }

    #[test]
    fn holds_the_deliverer_to_digest_size_and_limit() {
        let text = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[]}}"#).replace("EMPTY", EMPTY);
        let bytes = Bytes::from(text);
        let digest = Digest::of(Algorithm::Sha512, &bytes);
        let declared = Declared { digest: Some(&digest), ..Declared::default() };
        assert_eq!(RawManifest::read(bytes.clone(), declared).unwrap().digest(), &digest);
        let other = Digest::of(Algorithm::Sha256, b"other");
        let wrong = Declared { digest: Some(&other), ..Declared::default() };
        assert!(matches!(
            RawManifest::read(bytes.clone(), wrong),
            Err(ManifestError::DigestMismatch { .. })
        ));
        let short = Declared { size: Some(1), ..Declared::default() };
        assert!(matches!(
            RawManifest::read(bytes, short),
            Err(ManifestError::SizeMismatch { expected: 1, .. })
        ));
        let large = Bytes::from(vec![b' '; MANIFEST_LIMIT + 1]);
        assert!(matches!(
            RawManifest::read(large, Declared::default()),
            Err(ManifestError::TooLarge { .. })
        ));
    }

    /// Real indexes are far from the bound on values: as dense as they get, and as long as they may be.
    #[test]
    fn reads_an_index_of_many_entries() {
        let platform = r#""platform":{"architecture":"amd64","os":"linux"}"#;
        let entry = format!(r#"{{"mediaType":"{OCI}","digest":"EMPTY","size":1,{platform}}}"#);
        let index = |count: usize| {
            let entries = vec![entry.as_str(); count].join(",");
            read(&format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#), None)
        };
        let found = index(17_000).unwrap();
        assert_eq!(found.index().unwrap().manifests.len(), 17_000);
        assert!(found.size() > 3 << 20);
    }

    #[test]
    fn refuses_more_values_than_a_manifest_has() {
        let with = |count: usize, item: &str| {
            let items = vec![item; count].join(",");
            read(&format!(r#"{{"schemaVersion":2,"manifests":[],"x":[{items}]}}"#), Some(INDEX))
        };
        assert!(with(4_000, "0").is_ok());
        for item in ["0", "{}", r#"{"":0}"#, r#""7 bytes""#] {
            let error = with(200_000, item).unwrap_err();
            let expected = matches!(&error, ManifestError::Json(JsonError::TooManyValues { .. }));
            assert!(expected, "{item}: {error:?}");
        }
    }

    /// What it counts for grows with what it holds, not only with its bytes.
    #[test]
    fn tells_about_how_much_memory_it_takes() {
        let bare = read(r#"{"schemaVersion":2,"manifests":[]}"#, None).unwrap();
        assert_eq!(bare.bytes_kept() as u64, bare.size());
        let members: Vec<_> = (0..10_000).map(|n| format!(r#""{n:015}":"""#)).collect();
        let annotated = format!(
            r#"{{"schemaVersion":2,"manifests":[],"annotations":{{{}}}}}"#,
            members.join(",")
        );
        let annotated = read(&annotated, None).unwrap();
        assert!(annotated.bytes_kept() as u64 > 5 * annotated.size());
    }
}
