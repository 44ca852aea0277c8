use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use securecp_layer::Scope;
use securecp_oci::{
    Algorithm, Descriptor, Digest, ImageName, RawManifest, Reference, SIGNATURE_COUNT_LIMIT,
    Signature, Tag,
};
use tempfile::TempDir;

use super::format;
use crate::folder::{Folder, check_writable, holds, io_error};
use crate::path::Resolved;
use crate::staged::{STAGING_PREFIX, Staged, fill};
use crate::{Accepts, BlobPut, Destination, Place, TransportError, Writing, files};

/// A `dir:` folder to be written: built beside its final place and put there by one rename.
///
/// Nothing of an image that is there already is reused: the new folder starts empty.
#[derive(Debug)]
pub(crate) struct DirDestination {
    name: String,
    path: Resolved,
}

/// What stands at the place of a destination.
enum Present {
    Nothing,
    EmptyFolder,
    Image,
}

impl DirDestination {
    /// Takes the name; the place is looked at later.
    pub(crate) fn new(name: &ImageName) -> Result<Self, TransportError> {
        Ok(Self { name: name.to_string(), path: Resolved::new(name, &name.rest)? })
    }

    fn present(&self) -> Result<Present, TransportError> {
        look(self.path.as_path())
    }
}

impl Destination for DirDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reference(&self) -> Option<&Reference> {
        None
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            manifests: &[],
            indexes: true,
            simple_signatures: true,
            sigstore_signatures: true,
            keeps_urls: false,
            parallel: true,
            private_staging: Staged::is_unnamed_in(self.path.parent()),
        }
    }

    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        self.present()?;
        check_writable(self.path.parent())
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
        if tag.is_some() || !matches!(self.present()?, Present::Image) {
            return Ok(None);
        }
        let folder = Folder::open(self.path.as_path())?;
        let bytes = files::read(&folder, format::MANIFEST, securecp_oci::MANIFEST_LIMIT)?;
        Ok(bytes.map(|bytes| Digest::of(Algorithm::Sha256, &bytes)))
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.check(scope)?;
        let place = self.path.parent();
        let building = tempfile::Builder::new()
            .prefix(STAGING_PREFIX)
            // Less the umask, as for any new folder; its files appear only when they are whole.
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(place)
            .map_err(|source| TransportError::Io {
                operation: "creating a folder in",
                path: place.to_owned(),
                source,
            })?;
        Ok(Box::new(DirWriting {
            place: self,
            folder: Folder::open(building.path())?,
            building,
            only_sha256: AtomicBool::new(true),
            signing: Mutex::new(()),
        }))
    }
}

/// What is at `path`; anything else than an image of this format or an empty folder is refused.
fn look(path: &Path) -> Result<Present, TransportError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Present::Nothing),
        Err(source) => {
            return Err(TransportError::Io { operation: "examining", path: path.into(), source });
        }
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(refused(path, "it is not a folder")),
    }
    let folder = Folder::open(path)?;
    if let Some(entry) = folder.find_entry(format::is_foreign)? {
        let entry = securecp_oci::Escaped::new(&entry).limit(100).to_string();
        return Err(refused(path, &format!("it holds {entry:?}")));
    }
    if format::check_version(&folder)? {
        return Ok(Present::Image);
    }
    match folder.find_entry(|name, _| !name.starts_with(STAGING_PREFIX))? {
        Some(_) => Err(refused(path, "it holds files but no version file")),
        None => Ok(Present::EmptyFolder),
    }
}

fn refused(path: &Path, found: &str) -> TransportError {
    TransportError::Place {
        path: path.to_owned(),
        problem: format!(
            "not a containers image directory: {found}; expected nothing, an empty folder or an \
             image written by dir:"
        ),
    }
}

/// A folder being built. Dropped, it is removed with all that is in it.
struct DirWriting<'a> {
    place: &'a DirDestination,
    folder: Folder,
    building: TempDir,
    only_sha256: AtomicBool,
    /// Signatures are numbered, so they are added one after the other.
    signing: Mutex<()>,
}

impl DirWriting<'_> {
    fn note_algorithm(&self, digest: &Digest) {
        if digest.algorithm() != Algorithm::Sha256 {
            self.only_sha256.store(false, Ordering::Relaxed);
        }
    }

    fn add_signature(
        &self,
        manifest: &RawManifest,
        place: Place,
        signature: &Signature,
    ) -> Result<(), TransportError> {
        let blob = signature.to_blob();
        for position in 1..=SIGNATURE_COUNT_LIMIT {
            let name = format::signature_name(manifest, place, position);
            if self.folder.size_of(&name)?.is_none() {
                return self.folder.write(&name, &blob);
            }
            if holds(&self.folder, &name, &blob)? {
                return Ok(());
            }
        }
        Err(TransportError::Unsupported {
            name: self.place.name(),
            problem: format!("more than {SIGNATURE_COUNT_LIMIT} signatures of one manifest"),
        })
    }

    /// Puts the finished folder in its place, against whatever may have come there meanwhile.
    fn put_in_place(&self) -> Result<(), TransportError> {
        let path = self.place.path.as_path();
        match self.place.present()? {
            // A rename of a folder replaces nothing but an empty folder.
            Present::Nothing => rename(self.building.path(), path),
            Present::EmptyFolder => {
                self.take_mode(path)?;
                rename(self.building.path(), path)
            }
            Present::Image => {
                self.take_mode(path)?;
                self.exchange(path)
            }
        }
    }

    /// A folder that its owner had closed to others stays closed.
    fn take_mode(&self, path: &Path) -> Result<(), TransportError> {
        let copy = fs::metadata(path)
            .and_then(|metadata| fs::set_permissions(self.building.path(), metadata.permissions()));
        copy.map_err(|source| TransportError::Io {
            operation: "copying the mode of",
            path: path.to_owned(),
            source,
        })
    }

    fn exchange(&self, path: &Path) -> Result<(), TransportError> {
        let new = self.building.path();
        let swap = || rustix::fs::renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE);
        match swap() {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.step_aside(path),
            Err(errno) => return Err(place_error(path, errno)),
        }
        // What came out is removed next, so it must still be nothing but an image.
        look(new)
            .map(|_| ())
            .map_err(|error| swap().map_or_else(|e| place_error(path, e), |()| error))
    }

    /// For file systems that cannot exchange two names: for a moment there is no image at the place, and a crash in
    /// that moment leaves the old one beside it under a temporary name.
    fn step_aside(&self, path: &Path) -> Result<(), TransportError> {
        let aside =
            tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(self.place.path.parent());
        let aside = aside.map_err(|source| TransportError::Io {
            operation: "creating a folder beside",
            path: path.to_owned(),
            source,
        })?;
        rename(path, aside.path())?;
        rename(self.building.path(), path).inspect_err(|_| {
            if let Err(error) = rename(aside.path(), path) {
                let kept = aside.keep();
                tracing::error!(%error, kept = %kept.display(), "the old image could not be put back");
            }
        })
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), TransportError> {
    rustix::fs::rename(from, to).map_err(|errno| place_error(to, errno))
}

fn place_error(path: &Path, errno: Errno) -> TransportError {
    if errno == Errno::BUSY {
        return TransportError::Place {
            path: path.to_owned(),
            problem: "is a mount point and cannot be replaced; expected a folder below it"
                .to_owned(),
        };
    }
    io_error("replacing", path, errno)
}

impl Writing for DirWriting<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let mut staged = Staged::create(&self.folder)?;
        let found = fill(&mut staged, blob, scope)?;
        self.note_algorithm(&found.digest);
        staged.publish(&self.folder, &format::blob_name(&found.digest))?;
        Ok(found)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        self.note_algorithm(manifest.digest());
        self.folder.write(&format::manifest_name(manifest.digest(), place), manifest.bytes())
    }

    fn put_signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let _one = self.signing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        signatures.iter().try_for_each(|signature| {
            scope.check()?;
            self.add_signature(manifest, place, signature)
        })
    }

    fn read_back(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let name = format::manifest_name(manifest.digest(), place);
        if holds(&self.folder, &name, manifest.bytes())? {
            return Ok(());
        }
        Err(files::not_found(&self.folder, &format!("manifest {}", manifest.digest())))
    }

    fn commit(
        self: Box<Self>,
        root: &RawManifest,
        tags: &[Tag],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        if let Some(tag) = tags.first() {
            return Err(TransportError::Unsupported {
                name: self.place.name(),
                problem: format!("a folder has no tags, so it cannot be tagged {tag} too"),
            });
        }
        self.read_back(root, Place::Root, scope)?;
        let version = format::version_text(self.only_sha256.load(Ordering::Relaxed));
        self.folder.write(format::VERSION, version.as_bytes())?;
        self.folder.sync()?;
        self.put_in_place()?;
        sync_parent(self.place.path.parent());
        self.discard_old();
        Ok(())
    }
}

impl DirWriting<'_> {
    /// The image is in its place; that what it replaced cannot be removed is no failure of the copy.
    fn discard_old(self) {
        let old: PathBuf = self.building.path().to_owned();
        match self.building.close() {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, path = %old.display(), "the replaced image could not be removed");
            }
            _ => {}
        }
    }
}

/// The rename has happened; that it cannot be made to last is only worth a warning.
fn sync_parent(path: &Path) {
    if let Err(error) = Folder::open(path).and_then(|folder| folder.sync()) {
        tracing::warn!(%error, "the new name may not last over a power cut");
    }
}
