use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use rustix::io::Errno;
use securecp_layer::{Scope, Stopped};
use securecp_oci::{Algorithm, Descriptor, Digest, MANIFEST_LIMIT, RawManifest, Signature};
use tempfile::TempDir;

use super::LayoutIndex;
use super::destination::{OciDestination, Present};
use super::evidence::{Blobs, Pending, check_small};
use super::kept::Kept;
use super::layout::{BLOBS, INDEX, OCI_LAYOUT, OCI_LAYOUT_TEXT, blob_name, check_layout};
use super::lock::Lock;
use super::partial::{self, Partial};
use crate::folder::{Folder, holds, io_error};
use crate::staged::{Staged, fill};
use crate::{
    BlobPut, CommitError, Destination, Naming, Piece, Place, TransportError, Writing, files,
};

/// Where a layout is being built.
pub(super) enum Building {
    /// In the layout itself, which is there already.
    InPlace(Folder),
    /// In a folder of its own; dropped, it is removed with all that is in it.
    Aside(TempDir),
    /// As that, but what has arrived is kept if the copy is interrupted.
    Kept(Kept),
}

impl Building {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::InPlace(folder) => folder.path(),
            Self::Aside(folder) => folder.path(),
            Self::Kept(kept) => kept.path(),
        }
    }
}

/// An image being written into a layout.
pub(super) struct OciWriting<'a> {
    place: &'a OciDestination,
    building: Building,
    /// The folder in which `ALG/HEX` are put.
    blobs: Folder,
    /// The names below `blobs` of all that this run has put.
    put: Mutex<BTreeSet<String>>,
    scope: Scope,
    evidence: Pending,
}

impl<'a> OciWriting<'a> {
    pub(super) fn new(
        place: &'a OciDestination,
        building: Building,
        blobs: Folder,
        scope: &Scope,
    ) -> Self {
        let (put, evidence) = (Mutex::default(), Pending::default());
        Self { place, building, blobs, put, scope: scope.clone(), evidence }
    }

    fn read_back_blob(&self, blob: &Descriptor) -> Result<(), TransportError> {
        let name = blob_name(&blob.digest);
        match self.blobs.size_of(&name)? == Some(blob.size) {
            true => Ok(()),
            false => Err(files::not_found(&self.blobs, &format!("blob {}", blob.digest))),
        }
    }

    /// Without a name there is nothing of which could be said what it stands for.
    fn check_protectable(&self, naming: &Naming<'_>) -> Result<(), TransportError> {
        match (naming.protected, naming.entry) {
            (true, None) => Err(TransportError::Unsupported {
                name: self.place.name(),
                problem: "an image without a name cannot be protected".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn note(&self, digest: &Digest) {
        self.put.lock().unwrap_or_else(PoisonError::into_inner).insert(blob_name(digest));
    }

    /// A blob that an earlier run has brought whole, found right by reading all of it.
    fn taken_over(&self, blob: &BlobPut<'_>, scope: &Scope) -> Option<Descriptor> {
        let known = blob.known.filter(|_| matches!(self.building, Building::Kept(_)))?;
        let name = blob_name(&known.digest);
        let size = self.blobs.size_of(&name).ok().flatten();
        size.filter(|size| *size == known.size)?;
        let mut layer = files::open_blob(&self.blobs, &name, known, scope).ok()?;
        while layer.next().ok()?.is_some() {
            scope.check().ok()?;
        }
        layer.finish().ok()
    }

    /// Brings a blob, in a file that is kept for the next run where that is wanted.
    fn bring(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let expected = blob.known.map_or(Algorithm::Sha256, |known| known.digest.algorithm());
        let folder = self.algorithm_folder(expected)?;
        let partial = blob.known.filter(|_| self.place.partial && blob.open_after.is_some());
        if let Some(partial) = partial.and_then(|known| Partial::take(&self.blobs, known)) {
            return partial.fill(blob, &folder, scope);
        }
        let mut staged = Staged::create(&folder)?;
        let found = fill(&mut staged, blob, scope)?;
        let algorithm = found.digest.algorithm();
        let target = if algorithm == expected { folder } else { self.algorithm_folder(algorithm)? };
        staged.publish(&target, found.digest.hex())?;
        Ok(found)
    }

    /// Whether what has arrived is worth keeping after `error`.
    fn leave_after(&self, error: &TransportError) {
        if let (Building::Kept(kept), true) = (&self.building, error.is_transient()) {
            kept.leave();
        }
    }

    fn algorithm_folder(&self, algorithm: Algorithm) -> Result<Folder, TransportError> {
        self.blobs.make(algorithm.name())
    }

    /// Makes the names of the blobs last before anything refers to them.
    fn sync_blobs(&self) -> Result<(), TransportError> {
        for algorithm in ALGORITHMS {
            if let Some(folder) = Folder::open_if_there(&self.blobs.path().join(algorithm.name()))?
            {
                folder.sync()?;
            }
        }
        self.blobs.sync()
    }

    /// `index` with every name that is to be given, and the evidence. Lists of evidence are put into `blobs`.
    fn extend(
        &self,
        index: LayoutIndex,
        names: &[Naming<'_>],
        blobs: &Folder,
    ) -> Result<LayoutIndex, TransportError> {
        let place = self.place.path.as_path();
        self.evidence.enter(index.with_all(names, place)?, &Stored(blobs), place)
    }

    /// The folder of the blobs of a layout.
    fn blobs_of(&self, layout: &Folder) -> Result<Folder, TransportError> {
        match &self.place.shared_blobs {
            Some(shared) => Folder::open(shared),
            None => layout.make(BLOBS),
        }
    }

    /// Enters the image in a layout that others may be writing too.
    fn enter(
        &self,
        layout: &Folder,
        names: &[Naming<'_>],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let _lock = Lock::exclusive(layout, scope)?;
        if !check_layout(layout)? {
            layout.write(OCI_LAYOUT, OCI_LAYOUT_TEXT)?;
        }
        let before = match LayoutIndex::read(layout)? {
            Some(index) => index,
            None => LayoutIndex::empty(layout.path())?,
        };
        let after = self.extend(before, names, &self.blobs_of(layout)?)?;
        if !holds(layout, INDEX, after.bytes())? {
            layout.write(INDEX, after.bytes())?;
        }
        warn_unless_synced(layout.sync());
        Ok(())
    }

    /// Completes the layout that was built aside and gives it its name. `false`: something has come there meanwhile.
    fn appear(&self, aside: &Path, names: &[Naming<'_>]) -> Result<bool, TransportError> {
        let layout = Folder::open(aside)?;
        layout.write(OCI_LAYOUT, OCI_LAYOUT_TEXT)?;
        let index = LayoutIndex::empty(layout.path())?;
        let index = self.extend(index, names, &self.blobs_of(&layout)?)?;
        layout.write(INDEX, index.bytes())?;
        layout.sync()?;
        let path = self.place.path.as_path();
        // A rename of a folder replaces nothing but an empty folder.
        match rustix::fs::rename(aside, path) {
            Ok(()) => {
                let parent = Folder::open(self.place.path.parent());
                warn_unless_synced(parent.and_then(|parent| parent.sync()));
                Ok(true)
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(io_error("creating", path, errno)),
        }
    }

    /// Moves the blobs that were written aside into the folder that is there, then enters the image.
    fn merge(
        &self,
        aside: &Path,
        names: &[Naming<'_>],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let layout = Folder::open(self.place.path.as_path())?;
        let target = layout.make(BLOBS)?;
        // Nobody may take away blobs of ours that another image had until they are referred to.
        let _in_use = Lock::shared(&target, scope)?;
        let built = Folder::open(&aside.join(BLOBS))?;
        for algorithm in ALGORITHMS.map(Algorithm::name) {
            if let Some(from) = Folder::open_if_there(&built.path().join(algorithm))? {
                move_files(&from, &target.make(algorithm)?)?;
            }
        }
        target.sync()?;
        self.enter(&layout, names, scope)
    }
}

/// The blobs of a layout in a folder.
struct Stored<'a>(&'a Folder);

impl Blobs for Stored<'_> {
    fn read(&self, descriptor: &Descriptor) -> Result<Bytes, TransportError> {
        let (name, limit) = (blob_name(&descriptor.digest), MANIFEST_LIMIT);
        let bytes = files::read_expected(self.0, &name, limit)?;
        check_small(bytes, descriptor)
    }

    fn write(&self, digest: &Digest, bytes: &Bytes) -> Result<(), TransportError> {
        let folder = self.0.make(digest.algorithm().name())?;
        if holds(&folder, digest.hex(), bytes)? {
            return Ok(());
        }
        folder.write(digest.hex(), bytes)?;
        folder.sync()
    }
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

fn move_files(from: &Folder, to: &Folder) -> Result<(), TransportError> {
    while let Some(name) = from.find_entry(|_, _| true)? {
        let moved = rustix::fs::renameat(from.fd(), &name, to.fd(), &name);
        moved.map_err(|errno| to.error("creating", &name, errno))?;
    }
    to.sync()
}

/// The name is there; that it cannot be made to last is only worth a warning.
fn warn_unless_synced(result: Result<(), TransportError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the new name may not last over a power cut");
    }
}

/// A job that was told to stop is one that may be taken up again.
impl Drop for OciWriting<'_> {
    fn drop(&mut self) {
        let stopped =
            matches!(self.scope.check(), Err(Stopped::Cancelled | Stopped::Deadline { .. }));
        if let (Building::Kept(kept), true) = (&self.building, stopped) {
            kept.leave();
        }
    }
}

impl Writing for OciWriting<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let found = match self.taken_over(blob, scope) {
            Some(found) => found,
            None => self.bring(blob, scope).inspect_err(|error| self.leave_after(error))?,
        };
        self.note(&found.digest);
        Ok(found)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let digest = manifest.digest();
        self.note(digest);
        let folder = self.algorithm_folder(digest.algorithm())?;
        if holds(&folder, digest.hex(), manifest.bytes())? {
            return Ok(());
        }
        folder.write(digest.hex(), manifest.bytes())
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
        if holds(&self.blobs, &blob_name(manifest.digest()), manifest.bytes())? {
            return Ok(());
        }
        Err(files::not_found(&self.blobs, &format!("manifest {}", manifest.digest())))
    }

    /// All names together, or none.
    fn commit(self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError> {
        for naming in names {
            self.read_back(naming.root, Place::Root, scope)?;
            self.check_protectable(naming)?;
        }
        self.sync_blobs()?;
        let aside = match &self.building {
            Building::InPlace(layout) => {
                self.enter(layout, names, scope)?;
                partial::sweep(&self.blobs);
                return Ok(());
            }
            Building::Aside(folder) => folder.path(),
            Building::Kept(kept) => {
                kept.prune(&self.put.lock().unwrap_or_else(PoisonError::into_inner))?;
                kept.path()
            }
        };
        match self.place.present()? {
            Present::Nothing if self.appear(aside, names)? => {
                if let Building::Kept(kept) = &self.building {
                    kept.leave();
                }
                Ok(())
            }
            _ => Ok(self.merge(aside, names, scope)?),
        }
    }
}
