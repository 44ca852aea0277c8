use serde_json::{Map, Value};

use super::{ConvertError, Converted, ManifestFormat, entry, lose, lost_members, refuse_same};
use crate::{Document, Index, Platform, RawManifest};

/// Converts an index into format `to`; its entries keep their digests and media types, which the caller changes with
/// [`Document::set_entry`] where it converts them too.
///
/// A Docker list has a platform in every entry. `absent` is written where an entry has none; without it such an
/// entry is refused (the reference writes the platform of the machine it runs on).
///
/// # Errors
/// The manifest is not an index, already in this format, or has an entry without platform.
pub fn convert_index(
    manifest: &RawManifest,
    to: ManifestFormat,
    absent: Option<&Platform>,
) -> Result<Converted, ConvertError> {
    let index = manifest.index().ok_or(ConvertError::NotAnIndex)?;
    refuse_same(manifest, to)?;
    let mut lost = lost_members(manifest, &["schemaVersion", "mediaType", "manifests"]);
    let mut root = Map::new();
    root.insert("schemaVersion".to_owned(), 2.into());
    root.insert("mediaType".to_owned(), to.index().as_str().into());
    let entries = Entries { raw: &Document::of(manifest)?, index, to, absent };
    root.insert("manifests".to_owned(), entries.convert(&mut lost)?.into());
    let document = Document::converted(root);
    Ok(Converted { document, media_type: to.index(), config: None, lost })
}

struct Entries<'a> {
    raw: &'a Document,
    index: &'a Index,
    to: ManifestFormat,
    absent: Option<&'a Platform>,
}

impl Entries<'_> {
    fn convert(&self, lost: &mut Vec<String>) -> Result<Vec<Value>, ConvertError> {
        (0..self.index.manifests.len()).map(|n| self.entry(n, lost)).collect()
    }

    fn entry(&self, n: usize, lost: &mut Vec<String>) -> Result<Value, ConvertError> {
        let mut descriptor = self.index.manifests[n].clone();
        descriptor.annotations.clear();
        let mut out = entry(self.to, &descriptor);
        out.insert("platform".to_owned(), self.platform(n, lost)?);
        if let Some(raw) = self.raw_entry(n) {
            const KEPT: [&str; 5] = ["mediaType", "digest", "size", "urls", "platform"];
            let keys = raw.keys().map(String::as_str);
            lose(lost, &format!("manifests[{n}]."), keys.filter(|key| !KEPT.contains(key)));
        }
        Ok(out.into())
    }

    fn raw_entry(&self, n: usize) -> Option<&Map<String, Value>> {
        self.raw.value("manifests")?.as_array()?.get(n)?.as_object()
    }

    fn platform(&self, n: usize, lost: &mut Vec<String>) -> Result<Value, ConvertError> {
        let raw = self.raw_entry(n).and_then(|raw| raw.get("platform")).and_then(Value::as_object);
        let found = match (&self.index.manifests[n].platform, self.to) {
            (Some(platform), _) => platform.clone(),
            // The reference reads an absent one of a Docker list as empty.
            (None, ManifestFormat::Oci) => Platform::default(),
            (None, ManifestFormat::Docker) => {
                self.absent.cloned().ok_or(ConvertError::NoPlatform(n))?
            }
        };
        if let Some(raw) = raw {
            const KEPT: [&str; 5] = ["architecture", "os", "os.version", "os.features", "variant"];
            let keys = raw.keys().map(String::as_str);
            let path = format!("manifests[{n}].platform.");
            lose(lost, &path, keys.filter(|key| !KEPT.contains(key)));
        }
        Ok(platform_value(&found, raw.and_then(|raw| raw.get("os.features"))))
    }
}

/// System and architecture always, the rest only if set, in the order of the reference's structures.
fn platform_value(platform: &Platform, features: Option<&Value>) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("architecture", platform.architecture.as_str().into());
    put("os", platform.os.as_str().into());
    if !platform.os_version.is_empty() {
        put("os.version", platform.os_version.as_str().into());
    }
    let strings = |list: &&Vec<Value>| !list.is_empty() && list.iter().all(Value::is_string);
    if let Some(features) = features.and_then(Value::as_array).filter(strings) {
        put("os.features", features.clone().into());
    }
    if !platform.variant.is_empty() {
        put("variant", platform.variant.as_str().into());
    }
    out.into()
}
