//! Evidence entered in a layout, under the names that registries without a referrers API use.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{
    Attached, Declared, Descriptor, Digest, Document, MANIFEST_LIMIT, ManifestError, MediaType,
    RawManifest, Tag, Union, referrers_tag,
};
use serde_json::{Value, json};

use super::beside::list_of;
use super::edit::Edit;
use crate::{Piece, Place, TransportError, Writing};

/// The blobs of a layout while it is written.
pub(super) trait Blobs {
    /// A small blob, held to its digest and size.
    fn read(&self, descriptor: &Descriptor) -> Result<Bytes, TransportError>;

    /// Stores a small blob.
    fn write(&self, digest: &Digest, bytes: &Bytes) -> Result<(), TransportError>;
}

/// Evidence that was put and is entered together with the image.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    referrers: BTreeMap<Digest, Vec<Descriptor>>,
    attached: Vec<(Digest, Attached, RawManifest)>,
}

/// Looks whether a blob that was put is there.
type ReadBackBlob<'a> = dyn Fn(&Descriptor) -> Result<(), TransportError> + 'a;

impl Pending {
    /// Stores a piece where the image is written.
    pub(super) fn put(
        &self,
        piece: &Piece<'_>,
        writing: &dyn Writing,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        writing.put_manifest(piece.manifest(), Place::Child, scope)?;
        self.add(piece);
        Ok(())
    }

    /// Looks whether pieces are there with their blobs, and will be entered.
    pub(super) fn read_back(
        &self,
        pieces: &[Piece<'_>],
        (writing, read_back_blob): (&dyn Writing, &ReadBackBlob<'_>),
        scope: &Scope,
    ) -> Result<(), TransportError> {
        for piece in pieces {
            writing.read_back(piece.manifest(), Place::Child, scope)?;
            let image = piece.manifest().image();
            let mut blobs = image.iter().flat_map(|i| std::iter::once(&i.config).chain(&i.layers));
            blobs.try_for_each(read_back_blob)?;
            if !self.has(piece) {
                let place = "the layout that is written".to_owned();
                return Err(TransportError::NotFound { subject: piece.to_string(), place });
            }
        }
        Ok(())
    }

    /// Takes a piece whose manifest is stored.
    fn add(&self, piece: &Piece<'_>) {
        let mut entries = self.entries();
        match *piece {
            Piece::Part(_) => {}
            Piece::Referrer(manifest) => {
                if let Some(subject) = manifest.view().subject() {
                    let list = entries.referrers.entry(subject.digest.clone()).or_default();
                    list.push(manifest.as_referrer());
                }
            }
            Piece::Attached { subject, what, manifest } => {
                entries.attached.push((subject.clone(), what, manifest.clone()));
            }
        }
    }

    /// Whether a piece will be entered.
    fn has(&self, piece: &Piece<'_>) -> bool {
        let entries = self.entries();
        match *piece {
            Piece::Part(_) => true,
            Piece::Referrer(manifest) => entries.referrers.iter().any(|(subject, list)| {
                manifest.view().subject().is_some_and(|of| of.digest == *subject)
                    && list.iter().any(|entry| entry.digest == *manifest.digest())
            }),
            Piece::Attached { subject, what, manifest } => {
                entries.attached.iter().any(|(of, role, found)| {
                    of == subject && *role == what && found.digest() == manifest.digest()
                })
            }
        }
    }

    /// Enters everything. What others entered before stays; lists that grow are stored first.
    pub(super) fn enter(
        &self,
        edit: &mut Edit<'_>,
        blobs: &dyn Blobs,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let entries = self.entries();
        for (subject, list) in &entries.referrers {
            scope.check()?;
            enter_list(edit, (subject, list), blobs)?;
        }
        for (subject, what, manifest) in &entries.attached {
            scope.check()?;
            let Some(tag) = what.tag(subject) else {
                let problem = format!("no name is long enough for {subject}");
                return Err(unstorable(edit.place(), &problem));
            };
            enter_attached(edit, (&tag, manifest), blobs)?;
        }
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enter_list(
    edit: &mut Edit<'_>,
    (subject, entries): (&Digest, &[Descriptor]),
    blobs: &dyn Blobs,
) -> Result<(), TransportError> {
    let (name, place) = (referrers_tag(subject), edit.place());
    let before = edit.evidence(&name).map(|entry| read(entry, blobs, place)).transpose()?;
    let listed = before.as_ref().map(list_of).transpose()?.unwrap_or_default();
    let mut listed: HashSet<Digest> = listed.into_iter().map(|entry| entry.digest).collect();
    let new: Vec<&Descriptor> =
        entries.iter().filter(|entry| listed.insert(entry.digest.clone())).collect();
    if new.is_empty() {
        return Ok(());
    }
    let list = extended(before, &new).map_err(|source| failed(place, source))?;
    blobs.write(list.digest(), list.bytes())?;
    edit.enter_evidence(&list.descriptor(), &name);
    Ok(())
}

fn extended(
    before: Option<RawManifest>,
    new: &[&Descriptor],
) -> Result<RawManifest, ManifestError> {
    let empty = || {
        let media_type = MediaType::OCI_INDEX.to_string();
        let text = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []});
        RawManifest::read(Bytes::from(text.to_string()), Declared::default())
    };
    let list = before.map_or_else(empty, Ok)?;
    let mut document = Document::of(&list)?;
    let mut all = match document.value("manifests") {
        Some(Value::Array(all)) => all.clone(),
        _ => Vec::new(),
    };
    all.extend(new.iter().map(|entry| Value::from(*entry)));
    document.set("manifests", all.into());
    document.seal(list.media_type())
}

fn enter_attached(
    edit: &mut Edit<'_>,
    (name, manifest): (&Tag, &RawManifest),
    blobs: &dyn Blobs,
) -> Result<(), TransportError> {
    let place = edit.place();
    let before = edit.evidence(name).map(|entry| read(entry, blobs, place)).transpose()?;
    let bad = |source| failed(place, source);
    let union = before.map(|before| Union::of(&before, manifest)).transpose().map_err(bad)?;
    match union {
        Some(Union::Contained) => {}
        None | Some(Union::Covers) => edit.enter_evidence(&manifest.descriptor(), name),
        Some(Union::Both(joining)) => {
            let config = blobs.read(joining.config())?;
            let (joined, config) = joining.seal(&config).map_err(bad)?;
            if let Some(image) = joined.image() {
                blobs.write(&image.config.digest, &config)?;
            }
            blobs.write(joined.digest(), joined.bytes())?;
            edit.enter_evidence(&joined.descriptor(), name);
        }
    }
    Ok(())
}

fn read(
    entry: &Descriptor,
    blobs: &dyn Blobs,
    place: &Path,
) -> Result<RawManifest, TransportError> {
    if entry.size > MANIFEST_LIMIT as u64 {
        return Err(unstorable(place, &format!("{} is too large for a list", entry.digest)));
    }
    RawManifest::read(blobs.read(entry)?, entry.into()).map_err(|source| failed(place, source))
}

/// Bytes that were read, held to their description.
pub(super) fn check_small(bytes: Bytes, descriptor: &Descriptor) -> Result<Bytes, TransportError> {
    if bytes.len() as u64 == descriptor.size && descriptor.digest.matches(&bytes) {
        return Ok(bytes);
    }
    Err(TransportError::Unsupported {
        name: descriptor.digest.to_string(),
        problem: "what is stored does not have this digest and size".to_owned(),
    })
}

fn failed(place: &Path, source: ManifestError) -> TransportError {
    TransportError::Manifest { subject: format!("evidence in {}", place.display()), source }
}

fn unstorable(place: &Path, problem: &str) -> TransportError {
    TransportError::Place { path: place.to_owned(), problem: problem.to_owned() }
}
