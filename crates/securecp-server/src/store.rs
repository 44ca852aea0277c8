//! The plain files below the root.

mod blobs;
mod manifests;
mod walk;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use securecp_oci::Digest;
use tempfile::NamedTempFile;

use crate::name::Name;
use crate::options::Options;

pub(crate) use manifests::{Conditions, Put, Wanted};
pub(crate) use walk::Page;

/// Largest link, tag or referrer file that is read.
const SMALL_FILE: u64 = 1 << 20;

/// Content, links and tags as files. All methods block.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    options: Options,
    /// Taken for reading where a link appears, for writing where content may disappear or a tag is compared and set.
    gate: RwLock<()>,
    lock: Option<File>,
}

impl Store {
    pub(crate) fn open(options: &Options) -> io::Result<Self> {
        let root = options.root.clone();
        let mut store =
            Self { root, options: options.clone(), gate: RwLock::default(), lock: None };
        if options.read_only {
            fs::read_dir(&store.root)?;
        } else {
            for folder in ["blobs", "repositories", "uploads"] {
                fs::create_dir_all(store.root.join(folder))?;
            }
            store.lock = Some(store.claim()?);
            store.clear_uploads()?;
        }
        Ok(store)
    }

    /// Lets another server write to the root.
    pub(crate) fn release(&self) {
        if let Some(lock) = &self.lock {
            // Closing the file releases the lock as well, later.
            let _ = lock.unlock();
        }
    }

    pub(crate) fn read_only(&self) -> bool {
        self.options.read_only
    }

    /// An unnamed place for an upload, on the file system of the content.
    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("").rand_bytes(32);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        builder.tempfile_in(self.root.join("uploads"))
    }

    fn claim(&self) -> io::Result<File> {
        let folder = File::open(self.root.join("uploads"))?;
        match folder.try_lock() {
            Ok(()) => Ok(folder),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "another server writes to it"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn clear_uploads(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("uploads"))? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn linking(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn content(&self, digest: &Digest) -> PathBuf {
        keyed(self.root.join("blobs"), digest)
    }

    fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    fn repository(&self, name: &Name) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    fn link(&self, name: &Name, kind: Kind, digest: &Digest) -> PathBuf {
        keyed(self.repository(name).join(kind.folder()), digest)
    }

    /// Moves a finished file to its name.
    fn place(&self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        if self.options.sync {
            file.as_file().sync_all()?;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        file.persist(path)?;
        Ok(())
    }

    fn write_small(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(text)?;
        self.place(file, path)
    }
}

/// The kinds of links of a repository.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Blob,
    Manifest,
    Referrers,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Blob => "_blobs",
            Self::Manifest => "_manifests",
            Self::Referrers => "_referrers",
        }
    }
}

fn keyed(folder: PathBuf, digest: &Digest) -> PathBuf {
    folder.join(digest.algorithm().name()).join(digest.hex())
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SMALL_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Turns "there is no such file" into `None`.
fn present<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
