use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use securecp_layer::{Layer, Once, Scope};
use securecp_oci::{
    Descriptor, Digest, Escaped, ImageName, ManifestKind, MediaType, RawManifest, Reference,
    Signature, Tag,
};

use super::edit::Edit;
use super::evidence::{Blobs, Pending, check_small};
use super::index::ref_name;
use super::layout::{BLOBS, INDEX, OCI_LAYOUT, OCI_LAYOUT_TEXT, blob_name, check_layout};
use super::{LayoutIndex, LayoutName};
use crate::archive::{Container, Members, Output, Pool, Present, Slot};
use crate::staged::check_promise;
use crate::tar::{Content, TarWriter};
use crate::{
    Accepts, BlobPut, CommitError, Destination, DestinationOptions, Naming, Piece, Place,
    SharedPlaces, TransportError, Writing, files,
};

/// An OCI layout in a tar file, to be written anew.
#[derive(Debug)]
pub(crate) struct OciArchiveDestination {
    name: String,
    output: Output,
    image: Option<String>,
    temporary: Option<PathBuf>,
    shared: SharedPlaces,
    /// The archive that was there when it was last looked at, kept open for the next look.
    seen: Mutex<Option<Arc<Container>>>,
    /// Its index, kept for the next who asks.
    index: Mutex<Option<Arc<LayoutIndex>>>,
}

impl OciArchiveDestination {
    /// Takes the name; the place is looked at later.
    pub(crate) fn new(
        name: &ImageName,
        options: &DestinationOptions,
    ) -> Result<Self, TransportError> {
        let (path, image) = LayoutName::parse_destination(name)?;
        let (output, temporary) = (Output::new(name, &path)?, options.tmpdir.clone());
        let (shared, seen, index) = (options.shared.clone(), Mutex::default(), Mutex::default());
        Ok(Self { name: name.to_string(), output, image, temporary, shared, seen, index })
    }

    /// The layout that is there now. A file that is no such archive is somebody else's and stays.
    fn present(&self, scope: &Scope) -> Result<Option<Arc<Container>>, TransportError> {
        if !matches!(self.output.check()?, Present::File(_)) {
            return Ok(None);
        }
        let found = self.shared.archive(self.output.path(), self.temporary.as_deref());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&found));
        found.index(scope)?;
        match check_layout(found.as_ref())? {
            true => Ok(Some(found)),
            false => {
                Err(self.output.refused("expected an OCI archive to replace, found another file"))
            }
        }
    }

    /// An archive is written anew, and only with what this run brings: nothing that is protected may go by that.
    fn check_kept(&self, there: &Container, new: &LayoutIndex) -> Result<(), TransportError> {
        let Some(old) = LayoutIndex::read(there)? else { return Ok(()) };
        let Some(lost) = old.lost_by(new) else { return Ok(()) };
        let name = ref_name(lost).map_or("without a name".to_owned(), |name| {
            format!("called {}", Escaped::new(name).limit(100))
        });
        let problem = format!("the image {name} ({}) in the archive would be lost", lost.digest);
        Err(self.output.refused(&problem))
    }
}

impl Destination for OciArchiveDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reference(&self) -> Option<&Reference> {
        None
    }

    fn storage(&self) -> Option<String> {
        Some(format!("oci-archive {}", self.output.path().display()))
    }

    fn entry(&self) -> Option<&str> {
        self.image.as_deref()
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            manifests: &[ManifestKind::OciManifest, ManifestKind::OciIndex],
            indexes: true,
            only_images: false,
            simple_signatures: false,
            sigstore_signatures: false,
            evidence: true,
            keeps_urls: true,
        }
    }

    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        self.present(scope).map(|_| ())
    }

    fn has_blob(&self, _: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        Ok(false)
    }

    fn has_manifest(&self, _: &RawManifest, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        Ok(false)
    }

    fn current(&self, tag: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError> {
        scope.check()?;
        let Some(layout) = self.present(scope)? else { return Ok(None) };
        let index = LayoutIndex::read_shared(layout.as_ref(), &self.shared)?;
        self.index.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&index);
        let Some(index) = index else { return Ok(None) };
        let wanted = tag.map(Tag::as_str).or(self.image.as_deref());
        let read = |entry: &Descriptor| {
            let name = format!("{BLOBS}/{}", blob_name(&entry.digest));
            files::read_manifest(layout.as_ref(), &name, entry.into())
        };
        Ok(index.standing(wanted, layout.as_ref(), &read))
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.check(scope)?;
        let pool = Pool::create(&self.output.waiting_folder(self.temporary.as_deref()))?;
        let (blobs, evidence) = (Mutex::default(), Pending::default());
        Ok(Box::new(ArchiveWriting { place: self, pool, blobs, evidence }))
    }
}

/// The blobs so far; the archive itself is written at the end.
struct ArchiveWriting<'a> {
    place: &'a OciArchiveDestination,
    pool: Pool,
    /// By their names below `blobs`, sorted as they will be written.
    blobs: Mutex<BTreeMap<String, Slot>>,
    evidence: Pending,
}

impl ArchiveWriting<'_> {
    fn blobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Slot>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, names: &[Naming<'_>], scope: &Scope) -> Result<LayoutIndex, TransportError> {
        let path = self.place.output.path();
        let empty = LayoutIndex::empty(path)?;
        let mut edit = Edit::of(&empty, path)?;
        edit.enter_all(names, scope)?;
        self.evidence.enter(&mut edit, self, scope)?;
        edit.seal()
    }

    fn read_back_blob(&self, blob: &Descriptor) -> Result<(), TransportError> {
        match self.blobs().get(&blob_name(&blob.digest)).map(|slot| slot.size) {
            Some(size) if size == blob.size => Ok(()),
            _ => Err(TransportError::NotFound {
                subject: format!("blob {}", blob.digest),
                place: self.place.name(),
            }),
        }
    }
}

impl Blobs for ArchiveWriting<'_> {
    fn read(&self, descriptor: &Descriptor) -> Result<Bytes, TransportError> {
        self.read_back_blob(descriptor)?;
        let slot = self.blobs().get(&blob_name(&descriptor.digest)).copied();
        let bytes = slot.map(|slot| self.pool.read(slot, descriptor.size)).transpose()?;
        check_small(bytes.unwrap_or_default().into(), descriptor)
    }

    fn write(&self, digest: &Digest, bytes: &Bytes) -> Result<(), TransportError> {
        let described = Descriptor::new(MediaType::OCI_INDEX, digest.clone(), bytes.len() as u64);
        let layer = Layer::verified(described, Once::new(bytes.clone()));
        let (found, slot) = self.pool.turn().put(layer, &Scope::new())?;
        self.blobs().insert(blob_name(&found.digest), slot);
        Ok(())
    }
}

impl Writing for ArchiveWriting<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let turn = self.pool.turn();
        scope.check()?;
        let (found, slot) = turn.put((blob.open)()?, scope)?;
        check_promise(blob.known, &found, slot.size)?;
        self.blobs().insert(blob_name(&found.digest), slot);
        Ok(found)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let layer = Layer::verified(manifest.descriptor(), Once::new(manifest.bytes().clone()));
        let (found, slot) = self.pool.turn().put(layer, scope)?;
        self.blobs().insert(blob_name(&found.digest), slot);
        Ok(())
    }

    fn put_signatures(
        &self,
        _: &RawManifest,
        _: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        super::refuse_signatures(self.place.name(), signatures, scope)
    }

    fn put_evidence(&self, piece: &Piece<'_>, scope: &Scope) -> Result<(), TransportError> {
        self.evidence.put(piece, self, scope)
    }

    fn read_back_evidence(
        &self,
        pieces: &[Piece<'_>],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let blob = |blob: &Descriptor| self.read_back_blob(blob);
        self.evidence.read_back(pieces, (self, &blob), scope)
    }

    fn read_back(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let slot = self.blobs().get(&blob_name(manifest.digest())).copied();
        let found = slot.map(|slot| self.pool.read(slot, manifest.size())).transpose()?;
        if found.map(Bytes::from).as_ref() == Some(manifest.bytes()) {
            return Ok(());
        }
        Err(TransportError::NotFound {
            subject: format!("manifest {}", manifest.digest()),
            place: self.place.name(),
        })
    }

    fn commit(self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError> {
        for naming in names {
            self.read_back(naming.root, Place::Root, scope)?;
        }
        let index = self.index(names, scope)?;
        // What came there since the check may be somebody else's.
        let there = self.place.present(scope)?;
        if let Some(there) = there.filter(|_| names.iter().any(|naming| naming.protected)) {
            self.place.check_kept(&there, &index)?;
        }
        let mut members = |tar: &mut TarWriter<&mut dyn Write>| {
            tar.add(BLOBS, FOLDER_MODE, Content::Folder)?;
            let mut folder = "";
            let blobs = self.blobs();
            for (name, slot) in blobs.iter() {
                let algorithm = name.split_once('/').map_or("", |(algorithm, _)| algorithm);
                if folder != algorithm {
                    folder = algorithm;
                    tar.add(&format!("{BLOBS}/{folder}"), FOLDER_MODE, Content::Folder)?;
                }
                let content = Content::File(slot.size, &mut self.pool.reader(*slot));
                tar.add(&format!("{BLOBS}/{name}"), FILE_MODE, content)?;
            }
            for (name, bytes) in [(INDEX, index.bytes().as_ref()), (OCI_LAYOUT, OCI_LAYOUT_TEXT)] {
                let size = bytes.len() as u64;
                tar.add(name, FILE_MODE, Content::File(size, &mut &bytes[..]))?;
            }
            Ok(())
        };
        Ok(self.place.output.write(&mut members, scope)?)
    }
}

const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
