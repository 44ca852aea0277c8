use bytes::Bytes;
use serde_json::{Map, Value};

use crate::json::{self, Limits};
use crate::{Declared, Descriptor, MANIFEST_LIMIT, ManifestError, MediaType, RawManifest, go};

/// A manifest being edited: the JSON document with every unknown field and its key order.
///
/// Made from a [`RawManifest`], changed member by member, and turned back into bytes by [`Document::seal`].
#[derive(Debug, Clone)]
pub struct Document {
    root: Map<String, Value>,
    /// Made by a conversion, so that its bytes have to be those that Go would write.
    converted: bool,
}

impl Document {
    /// The document of `manifest`.
    ///
    /// # Errors
    /// The bytes are not an object; a [`RawManifest`] always is one.
    pub fn of(manifest: &RawManifest) -> Result<Self, ManifestError> {
        let value = json::parse(manifest.bytes(), Limits::bytes(MANIFEST_LIMIT))
            .map_err(ManifestError::Json)?;
        Ok(Self { root: crate::descriptor::object(&value, "manifest")?.clone(), converted: false })
    }

    /// A document that a conversion made.
    pub(crate) fn converted(root: Map<String, Value>) -> Self {
        Self { root, converted: true }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.root.keys().map(String::as_str)
    }

    /// The value of a top-level key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.root.get(key)
    }

    /// Replaces or adds a top-level key; an existing key keeps its place.
    pub fn set(&mut self, key: &str, value: Value) {
        self.root.insert(key.to_owned(), value);
    }

    /// Removes a top-level key.
    pub fn remove(&mut self, key: &str) {
        self.root.shift_remove(key);
    }

    /// Writes type, digest, size and annotations of `descriptor` into entry `position` of the array `key` (`layers`
    /// or `manifests`). Embedded `data` goes, and so do `urls` unless `descriptor` has some; other members stay.
    ///
    /// # Errors
    /// There is no such entry.
    pub fn set_entry(
        &mut self,
        key: &str,
        position: usize,
        descriptor: &Descriptor,
    ) -> Result<(), ManifestError> {
        let entry = self
            .root
            .get_mut(key)
            .and_then(Value::as_array_mut)
            .and_then(|items| items.get_mut(position))
            .and_then(Value::as_object_mut)
            .ok_or_else(|| ManifestError::Field {
                subject: format!("{key}[{position}]"),
                expected: "an entry",
            })?;
        write_descriptor(entry, descriptor);
        Ok(())
    }

    /// Writes the configuration descriptor; other members of it stay.
    ///
    /// # Errors
    /// There is no `config` object.
    pub fn set_config(&mut self, descriptor: &Descriptor) -> Result<(), ManifestError> {
        let entry =
            self.root.get_mut("config").and_then(Value::as_object_mut).ok_or_else(|| {
                ManifestError::Field { subject: "config".to_owned(), expected: "an object" }
            })?;
        write_descriptor(entry, descriptor);
        Ok(())
    }

    /// Keeps only the entries of `manifests` for which `keep` says so.
    pub fn retain_manifests(&mut self, mut keep: impl FnMut(usize) -> bool) {
        if let Some(items) = self.root.get_mut("manifests").and_then(Value::as_array_mut) {
            let mut position = 0;
            items.retain(|_| {
                position += 1;
                keep(position - 1)
            });
        }
    }

    /// Compact bytes of the document, read back as a manifest of `media_type`.
    ///
    /// # Errors
    /// The edited document is not a valid manifest.
    pub fn seal(&self, media_type: &MediaType) -> Result<RawManifest, ManifestError> {
        let root = Value::Object(self.root.clone());
        let bytes = Bytes::from(if self.converted { go::write(&root) } else { root.to_string() });
        let declared = Declared { media_type: Some(media_type.as_str()), digest: None, size: None };
        RawManifest::read(bytes, declared)
    }
}

fn write_descriptor(entry: &mut Map<String, Value>, descriptor: &Descriptor) {
    let set = |entry: &mut Map<String, Value>, key: &str, value: Value| {
        entry.insert(key.to_owned(), value);
    };
    if !descriptor.media_type.as_str().is_empty() {
        set(entry, "mediaType", descriptor.media_type.as_str().into());
    }
    set(entry, "digest", descriptor.digest.to_string().into());
    set(entry, "size", descriptor.size.into());
    // Embedded bytes and other addresses belong to the old digest.
    entry.shift_remove("data");
    if descriptor.urls.is_empty() {
        entry.shift_remove("urls");
    }
    if descriptor.annotations.is_empty() {
        entry.shift_remove("annotations");
    } else {
        set(entry, "annotations", crate::descriptor::text_map(&descriptor.annotations));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Digest};

    #[test]
    fn keeps_unknown_fields_and_order() {
        let hex = Digest::of(Algorithm::Sha256, b"");
        let text = format!(
            r#"{{"x":{{"b":1,"a":2}},"schemaVersion":2,"layers":[{{"y":1,"size":1,"digest":"{hex}","mediaType":"m"}}],"config":{{"mediaType":"c","digest":"{hex}","size":0}}}}"#
        );
        let raw = RawManifest::read(Bytes::from(text.clone()), Declared::default()).unwrap();
        let mut document = Document::of(&raw).unwrap();
        assert_eq!(document.seal(raw.media_type()).unwrap().bytes(), text.as_bytes());
        let made = Digest::of(Algorithm::Sha256, b"new");
        let layer = Descriptor::new(MediaType::OCI_LAYER_ZSTD, made.clone(), 3);
        document.set_entry("layers", 0, &layer).unwrap();
        let sealed = document.seal(raw.media_type()).unwrap();
        let expected = text
            .replacen(r#""size":1"#, r#""size":3"#, 1)
            .replacen(&hex.to_string(), &made.to_string(), 1)
            .replacen(r#""m""#, r#""application/vnd.oci.image.layer.v1.tar+zstd""#, 1);
        assert_eq!(sealed.bytes(), expected.as_bytes());
        assert!(document.set_entry("layers", 1, &layer).is_err());
    }

    #[test]
    fn drops_what_belongs_to_the_old_digest() {
        let hex = Digest::of(Algorithm::Sha256, b"");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{hex}","size":0}},"layers":[{{"mediaType":"m","digest":"{hex}","size":0,"urls":["https://h.test/x"],"data":""}}]}}"#
        );
        let raw = RawManifest::read(Bytes::from(text), Declared::default()).unwrap();
        let mut document = Document::of(&raw).unwrap();
        let made = Digest::of(Algorithm::Sha256, b"new");
        let layer = Descriptor::new(MediaType::OCI_LAYER_ZSTD, made, 3);
        document.set_entry("layers", 0, &layer).unwrap();
        let sealed = document.seal(raw.media_type()).unwrap();
        let text = String::from_utf8_lossy(sealed.bytes()).into_owned();
        assert!(!text.contains("urls") && !text.contains("data"), "{text}");
    }
}
