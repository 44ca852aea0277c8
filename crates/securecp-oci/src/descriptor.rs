use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Digest, Escaped, ManifestError, MediaType, Platform, spelling};

/// Annotations of a manifest or descriptor.
pub type Annotations = BTreeMap<String, String>;

/// A content descriptor (OCI image-spec, "Descriptors"), as read; edits go through [`crate::Document`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content, in bytes.
    pub size: u64,
    /// Other places where the content may be had.
    pub urls: Vec<String>,
    /// Annotations.
    pub annotations: Annotations,
    /// The platform, in entries of an index.
    pub platform: Option<Platform>,
    /// The artifact type, in entries of an index.
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of type, digest and size only.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// Reads the descriptor that `value` holds; `subject` names it in errors.
    ///
    /// # Errors
    /// A field is missing or of the wrong type, the digest is malformed, the size negative or fractional, a known member
    /// is spelled otherwise.
    pub fn read(value: &Value, subject: &str) -> Result<Self, ManifestError> {
        let fields = Fields::of(value, subject, DESCRIPTOR)?;
        let digest = fields.string("digest")?.unwrap_or_default();
        Ok(Self {
            media_type: MediaType::new(fields.string("mediaType")?.unwrap_or_default()),
            digest: digest
                .parse()
                .map_err(|source| ManifestError::Digest { subject: subject.to_owned(), source })?,
            size: fields.size()?,
            urls: fields.strings("urls")?,
            annotations: fields.annotations()?,
            platform: fields.platform()?,
            artifact_type: fields.string("artifactType")?.map(str::to_owned),
        })
    }
}

impl Descriptor {
    /// About how many bytes of memory it takes.
    pub(crate) fn bytes_kept(&self) -> usize {
        let platform = self.platform.as_ref();
        let platform = platform.map(|p| [&p.os, &p.architecture, &p.variant, &p.os_version]);
        let texts =
            self.urls.iter().chain(&self.artifact_type).chain(platform.into_iter().flatten());
        let texts = texts.map(|text| TEXT + text.len()).sum::<usize>();
        let names = 2 * TEXT + self.media_type.as_str().len() + self.digest.hex().len();
        size_of::<Self>() + names + texts + annotations_kept(&self.annotations)
    }
}

/// About how many bytes a text takes beside its own: its place, and what the allocator adds.
const TEXT: usize = 48;

/// About how many bytes annotations take; nodes of the map are half full.
pub(crate) fn annotations_kept(annotations: &Annotations) -> usize {
    annotations.iter().map(|(key, value)| 3 * TEXT + key.len() + value.len()).sum()
}

pub(crate) fn object<'a>(
    value: &'a Value,
    subject: &str,
) -> Result<&'a Map<String, Value>, ManifestError> {
    value.as_object().ok_or_else(|| wrong(subject, "an object"))
}

fn wrong(subject: &str, expected: &'static str) -> ManifestError {
    ManifestError::Field { subject: Escaped::new(subject).to_string(), expected }
}

const DESCRIPTOR: &[&str] =
    &["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];

const PLATFORM: &[&str] =
    &["architecture", "os", "os.version", "os.features", "variant", "features"];

/// Reads members of one object; `null` counts as absent, as in the reference.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    subject: &'a str,
}

impl<'a> Fields<'a> {
    /// `value` as an object in which none of the `known` members is spelled otherwise, whatever its value: Go would
    /// take it for the known one, and a `null` for its absence.
    pub(crate) fn of(
        value: &'a Value,
        subject: &'a str,
        known: &[&'static str],
    ) -> Result<Self, ManifestError> {
        let map = object(value, subject)?;
        let other = map.keys().find_map(|key| Some((key, spelling::meant(key, known)?)));
        match other {
            None => Ok(Self { map, subject }),
            Some((key, expected)) => {
                let member = format!("{subject}.{}", Escaped::new(key).limit(80));
                Err(ManifestError::Spelling { member, expected })
            }
        }
    }

    pub(crate) fn map(&self) -> &'a Map<String, Value> {
        self.map
    }

    pub(crate) fn present(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ManifestError> {
        self.present(key)
            .map(|v| read(v).ok_or_else(|| wrong(&format!("{}.{key}", self.subject), expected)))
            .transpose()
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>, ManifestError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn array(&self, key: &str) -> Result<&'a [Value], ManifestError> {
        let items = self.typed(key, "an array", Value::as_array)?;
        Ok(items.map(Vec::as_slice).unwrap_or_default())
    }

    fn size(&self) -> Result<u64, ManifestError> {
        let found = self.typed("size", "a number of bytes", Value::as_u64)?;
        found.ok_or_else(|| wrong(&format!("{}.size", self.subject), "a number of bytes"))
    }

    fn strings(&self, key: &str) -> Result<Vec<String>, ManifestError> {
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let subject = || format!("{}.{key}", self.subject);
        self.array(key)?
            .iter()
            .map(|v| text(v).ok_or_else(|| wrong(&subject(), "strings")))
            .collect()
    }

    pub(crate) fn annotations(&self) -> Result<Annotations, ManifestError> {
        let Some(map) = self.typed("annotations", "an object", Value::as_object)? else {
            return Ok(Annotations::new());
        };
        let subject = || format!("{}.annotations", self.subject);
        map.iter()
            .map(|(key, value)| {
                let text = value.as_str().ok_or_else(|| wrong(&subject(), "strings"))?;
                Ok((key.clone(), text.to_owned()))
            })
            .collect()
    }

    fn platform(&self) -> Result<Option<Platform>, ManifestError> {
        let Some(value) = self.present("platform") else { return Ok(None) };
        let subject = format!("{}.platform", self.subject);
        let fields = Fields::of(value, &subject, PLATFORM)?;
        let text = |key| fields.string(key).map(|t| t.unwrap_or_default().to_owned());
        Ok(Some(Platform {
            os: text("os")?,
            architecture: text("architecture")?,
            variant: text("variant")?,
            os_version: text("os.version")?,
        }))
    }
}

impl From<&Descriptor> for Value {
    /// Type, digest, size, and then what else is set, in the order of the OCI specification's examples.
    fn from(descriptor: &Descriptor) -> Self {
        let mut map = Map::new();
        map.insert("mediaType".to_owned(), descriptor.media_type.as_str().into());
        map.insert("digest".to_owned(), descriptor.digest.to_string().into());
        map.insert("size".to_owned(), descriptor.size.into());
        if !descriptor.urls.is_empty() {
            map.insert("urls".to_owned(), descriptor.urls.clone().into());
        }
        if !descriptor.annotations.is_empty() {
            map.insert("annotations".to_owned(), text_map(&descriptor.annotations));
        }
        if let Some(platform) = &descriptor.platform {
            map.insert("platform".to_owned(), platform.into());
        }
        if let Some(artifact_type) = &descriptor.artifact_type {
            map.insert("artifactType".to_owned(), artifact_type.as_str().into());
        }
        Value::Object(map)
    }
}

pub(crate) fn text_map(annotations: &Annotations) -> Value {
    annotations
        .iter()
        .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
        .collect::<Map<_, _>>()
        .into()
}

impl From<&Platform> for Value {
    fn from(platform: &Platform) -> Self {
        let members = [
            ("architecture", &platform.architecture),
            ("os", &platform.os),
            ("os.version", &platform.os_version),
            ("variant", &platform.variant),
        ];
        let kept = members.into_iter().filter(|(_, v)| !v.is_empty());
        kept.map(|(k, v)| (k.to_owned(), Value::from(v.as_str()))).collect::<Map<_, _>>().into()
    }
}
