use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FlockOperation;
use securecp_oci::{Algorithm, Digest};

use super::layout::BLOBS;
use crate::TransportError;
use crate::folder::Folder;
use crate::staged::STAGING_PREFIX;

/// A folder in which a new layout is built, under a name that the next run finds again. Whoever has it locked has it
/// alone.
pub(super) struct Kept {
    folder: Folder,
    remove: AtomicBool,
}

impl Kept {
    /// Takes the folder beside (or in) `place` for the layout at `layout`; `None` if another run has it or what has its
    /// name is not ours.
    pub(super) fn take(place: &Path, layout: &Path) -> Option<Self> {
        let name = Digest::of(Algorithm::Sha256, layout.as_os_str().as_encoded_bytes());
        let path = place.join(format!("{STAGING_PREFIX}begun-{}", &name.hex()[..16]));
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return None,
            _ => {}
        }
        let folder = own(&path)?;
        rustix::fs::flock(folder.fd(), FlockOperation::NonBlockingLockExclusive).ok()?;
        // Whoever had it before may have renamed or removed it meanwhile.
        let (named, open) =
            (fs::symlink_metadata(&path).ok()?, rustix::fs::fstat(folder.fd()).ok()?);
        (named.ino() == open.st_ino).then(|| Self { folder, remove: AtomicBool::new(true) })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes everything that this run has not put there, so that nothing of an earlier one gets into the layout.
    pub(super) fn prune(&self, put: &BTreeSet<String>) -> Result<(), TransportError> {
        for name in self.folder.names()?.iter().filter(|name| *name != BLOBS) {
            self.folder.remove_file(name)?;
        }
        let blobs = self.folder.enter(BLOBS)?;
        for name in blobs.names()? {
            match blobs.enter(&name) {
                Ok(algorithm) => prune_blobs(&algorithm, &name, put)?,
                Err(_) => blobs.remove_file(&name)?,
            }
        }
        Ok(())
    }

    /// Leaves the folder where it is: for the next run, or because it has another name by now.
    pub(super) fn leave(&self) {
        self.remove.store(false, Ordering::Relaxed);
    }
}

fn prune_blobs(
    folder: &Folder,
    algorithm: &str,
    put: &BTreeSet<String>,
) -> Result<(), TransportError> {
    for name in folder.names()? {
        if !put.contains(&format!("{algorithm}/{name}")) {
            folder.remove_file(&name)?;
        }
    }
    Ok(())
}

/// The folder at `path`, if it is one of ours that nobody else can write.
fn own(path: &Path) -> Option<Folder> {
    let found = fs::symlink_metadata(path).ok()?;
    let ours = found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o022 == 0;
    Folder::open(path).ok().filter(|_| ours)
}

/// Without a reason to leave it nothing is left. The lock is held until then.
impl Drop for Kept {
    fn drop(&mut self) {
        if self.remove.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(self.folder.path());
        }
    }
}
