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
use super::edit::Edit;
use super::evidence::{Blobs, Pending, check_small};
use super::kept::Kept;
use super::layout::{BLOBS, INDEX, OCI_LAYOUT, OCI_LAYOUT_TEXT, blob_name, check_layout};
use super::lock::Lock;
use super::partial::{self, Partial};
use crate::folder::{Folder, holds, io_error};
use crate::reflink::share;
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
        let staged = Staged::create(&folder)?;
        if let Some(found) = share(&staged, blob, scope)? {
            return staged.publish(&folder, found.digest.hex()).map(|()| found);
        }
        let partial = blob.known.filter(|_| self.place.partial && blob.open_after.is_some());
        if let Some(partial) = partial.and_then(|known| Partial::take(&self.blobs, known)) {
            return partial.fill(blob, &folder, scope);
        }
        let (staged, found) = fill(staged, blob, scope)?;
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
        index: &LayoutIndex,
        names: &[Naming<'_>],
        (blobs, scope): (&Folder, &Scope),
    ) -> Result<LayoutIndex, TransportError> {
        let mut edit = Edit::of(index, self.place.path.as_path())?;
        edit.enter_all(names, scope)?;
        self.evidence.enter(&mut edit, &Stored(blobs), scope)?;
        edit.seal()
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
        let after = self.extend(&before, names, (&self.blobs_of(layout)?, scope))?;
        scope.check()?;
        if !holds(layout, INDEX, after.bytes())? {
            layout.write(INDEX, after.bytes())?;
        }
        warn_unless_synced(layout.sync());
        Ok(())
    }

    /// Completes the layout that was built aside and gives it its name. `false`: something has come there meanwhile.
    fn appear(
        &self,
        aside: &Path,
        names: &[Naming<'_>],
        scope: &Scope,
    ) -> Result<bool, TransportError> {
        let layout = Folder::open(aside)?;
        layout.write(OCI_LAYOUT, OCI_LAYOUT_TEXT)?;
        let index = LayoutIndex::empty(layout.path())?;
        let index = self.extend(&index, names, (&self.blobs_of(&layout)?, scope))?;
        layout.write(INDEX, index.bytes())?;
        layout.sync()?;
        scope.check()?;
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
                move_files(&from, &target.make(algorithm)?, scope)?;
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

fn move_files(from: &Folder, to: &Folder, scope: &Scope) -> Result<(), TransportError> {
    while let Some(name) = from.find_entry(|_, _| true)? {
        scope.check()?;
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
            Present::Nothing if self.appear(aside, names, scope)? => {
                if let Building::Kept(kept) = &self.building {
                    kept.leave();
                }
                Ok(())
            }
            _ => Ok(self.merge(aside, names, scope)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::OciSource;
    use crate::oci::index::READINGS;
    use crate::{DestinationOptions, SharedPlaces, Source, SourceOptions};
    use securecp_oci::{Declared, ImageName, MediaType, Tag};
    use serde_json::json;

    fn image(number: usize) -> RawManifest {
        let config = Digest::of(Algorithm::Sha256, b"{}");
        let text = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.to_string(), "size": 2},
            "layers": [],
            "annotations": {"number": number.to_string()},
        });
        RawManifest::read(text.to_string().into(), Declared::default()).unwrap()
    }

    fn images(count: usize) -> Vec<(String, RawManifest)> {
        (0..count).map(|number| (format!("v{number}"), image(number))).collect()
    }

    fn namings(images: &[(String, RawManifest)]) -> Vec<Naming<'_>> {
        images
            .iter()
            .map(|(name, root)| Naming {
                entry: Some(name),
                root,
                stands: false,
                further: false,
                protected: false,
            })
            .collect()
    }

    fn name(place: &Path, image: &str) -> ImageName {
        format!("oci:{}:{image}", place.join("layout").display()).parse().unwrap()
    }

    fn put(
        place: &Path,
        images: &[(String, RawManifest)],
        scope: &Scope,
    ) -> Result<(), CommitError> {
        let options = DestinationOptions::default();
        let to = OciDestination::new(&name(place, "v0"), &options).unwrap();
        let writing = to.begin(&Scope::new()).unwrap();
        for (_, root) in images {
            writing.put_manifest(root, Place::Root, &Scope::new()).unwrap();
        }
        writing.commit(&namings(images), scope)
    }

    /// How often an index is read or sealed while `work` is done.
    fn readings(work: impl FnOnce()) -> usize {
        let before = READINGS.get();
        work();
        READINGS.get() - before
    }

    #[test]
    fn many_names_are_one_change_of_the_index() {
        let place = tempfile::tempdir().unwrap();
        let counts = [2, 40].map(|count| {
            let place = place.path().join(count.to_string());
            std::fs::create_dir(&place).unwrap();
            let put = || put(&place, &images(count), &Scope::new()).unwrap();
            (readings(put), readings(put))
        });
        assert_eq!(counts[0], counts[1], "for a new layout, and for one that is there");
    }

    #[test]
    fn an_index_is_read_once_for_many_images() {
        let place = tempfile::tempdir().unwrap();
        let images = images(40);
        put(place.path(), &images, &Scope::new()).unwrap();
        let (shared, scope) = (SharedPlaces::default(), Scope::new());
        let from = SourceOptions { shared: shared.clone(), ..SourceOptions::default() };
        let to = DestinationOptions { shared, ..DestinationOptions::default() };
        let open = |(image, _): &(String, RawManifest)| {
            let name = name(place.path(), image);
            (OciSource::open(&name, &from).unwrap(), OciDestination::new(&name, &to).unwrap())
        };
        let opened: Vec<_> = images.iter().map(open).collect();
        let count = readings(|| {
            for ((source, destination), (_, image)) in opened.iter().zip(&images) {
                assert_eq!(source.root(&scope).unwrap().bytes(), image.bytes());
                assert!(source.referrers(image.digest(), &scope).unwrap().is_empty());
                let now = destination.current(None, &scope).unwrap();
                assert_eq!(now.as_ref(), Some(image.digest()));
            }
        });
        assert_eq!(count, 1);
        // What is there now counts, however often it was looked at before.
        let moved = [("v1".to_owned(), image(100))];
        put(place.path(), &moved, &scope).unwrap();
        let tag = "v1".parse::<Tag>().unwrap();
        let now = opened[0].1.current(Some(&tag), &scope).unwrap();
        assert_eq!(now.as_ref(), Some(moved[0].1.digest()));
    }

    #[test]
    fn nothing_is_named_once_the_job_was_stopped() {
        let place = tempfile::tempdir().unwrap();
        let (images, stopped) = (images(2), Scope::new());
        stopped.cancel();
        let options = DestinationOptions::default();
        let to = OciDestination::new(&name(place.path(), "v0"), &options).unwrap();
        let building = to.aside(place.path()).unwrap();
        let blobs = Folder::open(building.path()).unwrap().make(BLOBS).unwrap();
        let aside = building.path().to_owned();
        let writing = OciWriting::new(&to, building, blobs, &Scope::new());
        let appeared = writing.appear(&aside, &namings(&images), &stopped);
        assert!(matches!(appeared, Err(TransportError::Stopped(_))), "{appeared:?}");
        let appeared = writing.appear(&aside, &[], &stopped);
        assert!(matches!(appeared, Err(TransportError::Stopped(_))), "{appeared:?}");
        assert!(!to.path.as_path().exists());
        put(place.path(), &images[..1], &Scope::new()).unwrap();
        let before = std::fs::read(to.path.as_path().join(INDEX)).unwrap();
        let there = Folder::open(to.path.as_path()).unwrap();
        let index = LayoutIndex::empty(there.path()).unwrap();
        let extended = writing.extend(&index, &namings(&images), (&there, &stopped));
        assert!(matches!(extended, Err(TransportError::Stopped(_))));
        assert!(put(place.path(), &images, &stopped).is_err());
        assert_eq!(std::fs::read(to.path.as_path().join(INDEX)).unwrap(), before);
    }
}
