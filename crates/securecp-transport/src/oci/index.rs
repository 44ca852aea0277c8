use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use securecp_oci::{
    Declared, Descriptor, Digest, Document, Index, MANIFEST_LIMIT, MediaType, RawManifest,
    is_evidence_name,
};
use serde_json::json;

use super::Selection;
use super::beside::ReadManifest;
use super::edit::Edit;
use super::layout::INDEX;
use crate::files::{self, Files};
use crate::{SharedPlaces, TransportError};

/// The annotation that names an image of a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An `index.json`, read strictly.
#[derive(Debug)]
pub(crate) struct LayoutIndex {
    raw: RawManifest,
    /// The position of what each name means, when somebody asked.
    names: OnceLock<HashMap<String, usize>>,
}

impl LayoutIndex {
    /// Reads `index.json`, if it is there.
    pub(crate) fn read(files: &dyn Files) -> Result<Option<Self>, TransportError> {
        let bytes = files::read(files, INDEX, MANIFEST_LIMIT)?;
        bytes.map(|bytes| Self::parse(bytes, files.place())).transpose()
    }

    /// As [`LayoutIndex::read`]; one that was read before serves again as long as the bytes are the same.
    pub(crate) fn read_shared(
        files: &dyn Files,
        shared: &SharedPlaces,
    ) -> Result<Option<Arc<Self>>, TransportError> {
        let bytes = files::read(files, INDEX, MANIFEST_LIMIT)?;
        let index = |bytes| shared.index(files.place(), bytes, Self::parse);
        bytes.map(index).transpose()
    }

    fn parse(bytes: Bytes, place: &Path) -> Result<Self, TransportError> {
        let media_type = MediaType::OCI_INDEX;
        let declared = Declared { media_type: Some(media_type.as_str()), ..Declared::default() };
        counted();
        let raw = RawManifest::read(bytes, declared);
        Ok(Self::new(raw.map_err(|source| unreadable(place, source))?))
    }

    fn new(raw: RawManifest) -> Self {
        Self { raw, names: OnceLock::new() }
    }

    /// An index without entries, with the members in the order of the reference.
    pub(crate) fn empty(place: &Path) -> Result<Self, TransportError> {
        let text = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": [],
        });
        Self::parse(Bytes::from(text.to_string()), place)
    }

    /// The digest of its bytes.
    pub(crate) fn digest(&self) -> &Digest {
        self.raw.digest()
    }

    /// The exact bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        self.raw.bytes()
    }

    /// The entries, in order.
    pub(crate) fn entries(&self) -> &[Descriptor] {
        self.raw.index().map(|index: &Index| index.manifests.as_slice()).unwrap_or_default()
    }

    /// The entry that a name means. Without a name `read` tells images from their evidence.
    pub(crate) fn select(
        &self,
        selection: &Selection,
        files: &dyn Files,
        read: &ReadManifest<'_>,
    ) -> Result<&Descriptor, TransportError> {
        match selection {
            Selection::Named(image) => self.named(image, files),
            Selection::Position(position) => self.entries().get(*position).ok_or_else(|| {
                let count = self.entries().len();
                wrong(files, format!("expected an image at @{position}, found only {count} images"))
            }),
            Selection::Only => self.only(files, read),
        }
    }

    /// The digest that `image` stands for, whatever that is. Without a name it is that of the only image; where several
    /// could be meant, or it cannot be told, there is none that could be lost: the next one is entered beside them.
    pub(super) fn standing(
        &self,
        image: Option<&str>,
        files: &dyn Files,
        read: &ReadManifest<'_>,
    ) -> Option<Digest> {
        let entry = match image {
            Some(image) => self.of_name(image),
            None => self.only(files, read).ok(),
        };
        entry.map(|entry| entry.digest.clone())
    }

    /// What bears that name; a manifest rather than anything else.
    fn of_name(&self, image: &str) -> Option<&Descriptor> {
        let position = self.names.get_or_init(|| self.by_name()).get(image)?;
        self.entries().get(*position)
    }

    fn by_name(&self) -> HashMap<String, usize> {
        let is_manifest = |entry: &Descriptor| entry.media_type.manifest_kind().is_some();
        let mut names = HashMap::new();
        for (position, entry) in self.entries().iter().enumerate() {
            let Some(name) = ref_name(entry) else { continue };
            let first = *names.entry(name.to_owned()).or_insert(position);
            if is_manifest(entry) && !is_manifest(&self.entries()[first]) {
                names.insert(name.to_owned(), position);
            }
        }
        names
    }

    /// The first entry here that would be lost if `new` took the place of this index: nothing there bears its name, or
    /// that name is one of several here and stands for something else there. Evidence is never exchanged.
    pub(super) fn lost_by(&self, new: &Self) -> Option<&Descriptor> {
        let (here, there) = (bearers(self.entries()), bearers(new.entries()));
        let heirs: HashSet<_> = new.entries().iter().map(named_digest).collect();
        self.entries().iter().find(|entry| {
            let name = ref_name(entry);
            let exchanged = here.get(&name) == Some(&1) && !is_evidence(entry);
            let kept = if exchanged {
                there.contains_key(&name)
            } else {
                heirs.contains(&named_digest(entry))
            };
            !kept
        })
    }

    /// The first manifest of that name, whatever else bears it.
    fn named(&self, image: &str, files: &dyn Files) -> Result<&Descriptor, TransportError> {
        match self.of_name(image) {
            Some(found) if found.media_type.manifest_kind().is_some() => Ok(found),
            None => Err(TransportError::NoSuchImage {
                name: image.to_owned(),
                place: files.place().display().to_string(),
            }),
            Some(other) => Err(wrong(
                files,
                format!(
                    "image {image} has media type {}, which is no manifest's",
                    other.media_type
                ),
            )),
        }
    }

    /// The only image. Evidence does not count: what bears the name of a fallback tag, or has a subject.
    fn only(
        &self,
        files: &dyn Files,
        read: &ReadManifest<'_>,
    ) -> Result<&Descriptor, TransportError> {
        if let [one] = self.entries() {
            return Ok(one);
        }
        let mut images =
            self.entries().iter().filter(|entry| !is_evidence(entry)).collect::<Vec<_>>();
        if images.len() > 1 {
            let subjects = images.iter().map(|entry| has_subject(entry, read));
            let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
            let mut subjects = subjects.into_iter();
            images.retain(|_| !subjects.next().unwrap_or_default());
        }
        match images[..] {
            [one] => Ok(one),
            [] => Err(files::not_found(files, "image")),
            _ => Err(TransportError::SeveralImages {
                path: files.place().to_owned(),
                problem: format!(
                    "more than one image in oci ({}), choose one by name or @N",
                    images.len()
                ),
            }),
        }
    }

    /// This index without the entry at `position`.
    pub(crate) fn without(&self, position: usize, place: &Path) -> Result<Self, TransportError> {
        Edit::of(self, place)?.seal_without(position)
    }

    /// The document, to be changed.
    pub(super) fn document(&self, place: &Path) -> Result<Document, TransportError> {
        Document::of(&self.raw).map_err(|source| unreadable(place, source))
    }

    /// The index that a changed document is.
    pub(super) fn seal(document: &Document, place: &Path) -> Result<Self, TransportError> {
        counted();
        let raw = document.seal(&MediaType::OCI_INDEX);
        Ok(Self::new(raw.map_err(|source| unreadable(place, source))?))
    }
}

/// The name of an entry, if it has one.
pub(crate) fn ref_name(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(REF_NAME).map(String::as_str).filter(|name| !name.is_empty())
}

fn named_digest(entry: &Descriptor) -> (Option<&str>, &Digest) {
    (ref_name(entry), &entry.digest)
}

/// How many entries bear each name, or none.
fn bearers(entries: &[Descriptor]) -> HashMap<Option<&str>, usize> {
    let mut bearers = HashMap::new();
    for entry in entries {
        *bearers.entry(ref_name(entry)).or_default() += 1;
    }
    bearers
}

/// Whether an entry bears the name of evidence.
pub(super) fn is_evidence(entry: &Descriptor) -> bool {
    ref_name(entry).is_some_and(is_evidence_name)
}

/// Whether an entry refers to another manifest. What is not there refers to nothing.
fn has_subject(entry: &Descriptor, read: &ReadManifest<'_>) -> Result<bool, TransportError> {
    if entry.media_type.manifest_kind().is_none() {
        return Ok(false);
    }
    match read(entry) {
        Ok(manifest) => Ok(manifest.view().subject().is_some()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn unreadable(place: &Path, source: securecp_oci::ManifestError) -> TransportError {
    TransportError::Manifest { subject: place.join(INDEX).display().to_string(), source }
}

fn wrong(files: &dyn Files, problem: String) -> TransportError {
    TransportError::Place { path: files.place().to_owned(), problem }
}

/// Counts what takes as long as an index is large; tests hold it to the number of images.
fn counted() {
    #[cfg(test)]
    READINGS.with(|readings| readings.set(readings.get() + 1));
}

#[cfg(test)]
thread_local! {
    /// How often this thread has read or sealed an index.
    pub(super) static READINGS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::edit::new_entry;
    use securecp_oci::Algorithm;

    fn descriptor(content: &str) -> Descriptor {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        Descriptor::new(MediaType::OCI_MANIFEST, digest, content.len() as u64)
    }

    fn text(index: &LayoutIndex) -> &str {
        std::str::from_utf8(index.bytes()).unwrap()
    }

    fn add(index: &LayoutIndex, content: &str, image: Option<&str>) -> LayoutIndex {
        let mut edit = Edit::of(index, Path::new("x")).unwrap();
        edit.enter(&descriptor(content), image);
        edit.seal().unwrap()
    }

    #[test]
    fn a_name_that_several_entries_bear_moves_whole() {
        let named = |content: &str| new_entry(&descriptor(content), Some("v1")).to_string();
        let text =
            format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, named("older"), named("other"));
        let index = LayoutIndex::parse(Bytes::from(text), Path::new("x")).unwrap();
        let moved = add(&index, "new", Some("v1"));
        let bearers: Vec<&Descriptor> =
            moved.entries().iter().filter(|entry| ref_name(entry) == Some("v1")).collect();
        assert_eq!(bearers.len(), 1, "{}", self::text(&moved));
        assert_eq!(bearers[0].digest, descriptor("new").digest);
    }

    #[test]
    fn writes_the_bytes_of_the_reference() {
        let index = add(&LayoutIndex::empty(Path::new("x")).unwrap(), "one", Some("v1"));
        let digest = descriptor("one").digest;
        assert_eq!(
            text(&index),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":3,"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#
            )
        );
        assert_eq!(
            text(&add(&index, "one", Some("v1"))),
            text(&index),
            "a repeated copy changes nothing"
        );
    }

    #[test]
    fn takes_the_name_and_keeps_the_older_entry() {
        let start = LayoutIndex::empty(Path::new("x")).unwrap();
        let index = add(&add(&start, "one", Some("v1")), "two", Some("v1"));
        let names: Vec<_> = index.entries().iter().map(ref_name).collect();
        assert_eq!(names, [None, Some("v1")]);
        assert!(!text(&index).contains(r#""annotations":{}"#));
        let again = add(&index, "one", Some("v2"));
        let names: Vec<_> = again.entries().iter().map(ref_name).collect();
        assert_eq!(names, [Some("v2"), Some("v1")], "the nameless entry is used again");
        assert_eq!(add(&again, "one", None).entries().len(), 3);
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let entry = json!({"size":3,"digest":descriptor("one").digest.to_string(),"mediaType":"m",
            "annotations":{"b":"1",(REF_NAME):"v1","a":"2"},"x":[1]});
        let before = format!(r#"{{"z":{{"y":1}},"manifests":[{entry}],"schemaVersion":2}}"#);
        let index = LayoutIndex::parse(Bytes::from(before), Path::new("x")).unwrap();
        let after = text(&add(&index, "two", Some("v1"))).to_owned();
        assert!(after.starts_with(r#"{"z":{"y":1},"manifests":[{"size":3,"#), "{after}");
        assert!(after.contains(r#""annotations":{"b":"1","a":"2"},"x":[1]}"#), "{after}");
        assert!(after.ends_with(r#"],"schemaVersion":2}"#), "{after}");
    }
}
