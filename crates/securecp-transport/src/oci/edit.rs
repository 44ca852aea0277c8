use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, Document, Tag};
use serde_json::{Map, Value, json};

use super::LayoutIndex;
use super::index::{REF_NAME, ref_name};
use crate::{Naming, TransportError};

/// Changes to an `index.json`, which is read once before all of them and written once after them. Everything in the
/// document that is not changed stays as it is.
pub(super) struct Edit<'a> {
    place: &'a Path,
    document: Document,
    entries: Vec<Value>,
    /// The same entries, read.
    described: Vec<Descriptor>,
    /// The positions of the entries that bear a name.
    named: HashMap<String, BTreeSet<usize>>,
    /// The positions of those without a name.
    nameless: HashMap<Digest, BTreeSet<usize>>,
}

impl<'a> Edit<'a> {
    /// Takes an index; `place` is the layout, for messages.
    pub(super) fn of(index: &LayoutIndex, place: &'a Path) -> Result<Self, TransportError> {
        let document = index.document(place)?;
        let entries = document.value("manifests").and_then(Value::as_array);
        let entries = entries.cloned().unwrap_or_default();
        let (named, nameless) = (HashMap::new(), HashMap::new());
        let described = index.entries().to_vec();
        let mut edit = Self { place, document, entries, described, named, nameless };
        for position in 0..edit.described.len() {
            edit.note(position);
        }
        Ok(edit)
    }

    /// The layout, for messages.
    pub(super) fn place(&self) -> &'a Path {
        self.place
    }

    /// Enters every one of `names`, in their order.
    pub(super) fn enter_all(
        &mut self,
        names: &[Naming<'_>],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        for naming in names {
            scope.check()?;
            self.enter(&naming.root.descriptor(), naming.entry);
        }
        Ok(())
    }

    /// Enters `descriptor` under `image`, by the rule of the reference: an older entry of that name loses the name and
    /// stays; an entry without a name for the same digest is replaced; otherwise the new one comes last.
    pub(super) fn enter(&mut self, descriptor: &Descriptor, image: Option<&str>) {
        if let Some(image) = image {
            self.take_name(image);
        }
        let same = self.nameless.get_mut(&descriptor.digest).and_then(BTreeSet::pop_first);
        self.put(same, descriptor, image);
    }

    /// The evidence that bears a name.
    pub(super) fn evidence(&self, name: &Tag) -> Option<&Descriptor> {
        let position = self.named.get(name.as_str())?.first()?;
        self.described.get(*position)
    }

    /// Enters evidence under its name. What bore the name before is replaced, for nobody could tell it from an image
    /// without its name.
    pub(super) fn enter_evidence(&mut self, descriptor: &Descriptor, name: &Tag) {
        let old = self.named.get(name.as_str()).and_then(BTreeSet::first).copied();
        self.put(old, descriptor, Some(name.as_str()));
    }

    /// The index with all changes.
    pub(super) fn seal(mut self) -> Result<LayoutIndex, TransportError> {
        self.document.set("manifests", Value::Array(self.entries));
        LayoutIndex::seal(&self.document, self.place)
    }

    /// The index with all changes and without the entry at `position`.
    pub(super) fn seal_without(mut self, position: usize) -> Result<LayoutIndex, TransportError> {
        if position < self.entries.len() {
            self.entries.remove(position);
        }
        self.seal()
    }

    /// Puts an entry in the place of another one, or last.
    fn put(&mut self, position: Option<usize>, descriptor: &Descriptor, name: Option<&str>) {
        let position = position.unwrap_or(self.entries.len());
        let entry = new_entry(descriptor, name);
        let mut described = Descriptor::new(
            descriptor.media_type.clone(),
            descriptor.digest.clone(),
            descriptor.size,
        );
        let name = name.map(|name| (REF_NAME.to_owned(), name.to_owned()));
        described.annotations.extend(name);
        if position < self.entries.len() {
            self.entries[position] = entry;
            self.described[position] = described;
        } else {
            self.entries.push(entry);
            self.described.push(described);
        }
        self.note(position);
    }

    fn note(&mut self, position: usize) {
        let described = &self.described[position];
        match ref_name(described) {
            Some(name) => self.named.entry(name.to_owned()).or_default().insert(position),
            None => self.nameless.entry(described.digest.clone()).or_default().insert(position),
        };
    }

    /// Takes the name from every entry that bears it (the reference leaves all but the first, and then finds one of
    /// them); annotations that are then empty go.
    fn take_name(&mut self, image: &str) {
        for position in self.named.remove(image).unwrap_or_default() {
            self.described[position].annotations.remove(REF_NAME);
            if let Some(entry) = self.entries[position].as_object_mut() {
                without_name(entry);
            }
            self.note(position);
        }
    }
}

fn without_name(entry: &mut Map<String, Value>) {
    let annotations = entry.get_mut("annotations").and_then(Value::as_object_mut);
    let empty = annotations.is_some_and(|annotations| {
        annotations.shift_remove(REF_NAME);
        annotations.is_empty()
    });
    if empty {
        entry.shift_remove("annotations");
    }
}

/// Type, digest, size and name: the reference enters nothing else.
pub(super) fn new_entry(descriptor: &Descriptor, image: Option<&str>) -> Value {
    let mut entry = Map::new();
    entry.insert("mediaType".to_owned(), descriptor.media_type.as_str().into());
    entry.insert("digest".to_owned(), descriptor.digest.to_string().into());
    entry.insert("size".to_owned(), descriptor.size.into());
    if let Some(image) = image {
        entry.insert("annotations".to_owned(), json!({ REF_NAME: image }));
    }
    Value::Object(entry)
}
