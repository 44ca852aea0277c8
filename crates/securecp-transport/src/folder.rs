use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use securecp_layer::FileChunks;

use crate::TransportError;
use crate::files::{Files, Opened};
use crate::staged::Staged;

/// An open folder. Everything in it is reached through its descriptor, so a folder that is exchanged meanwhile is
/// still read to its end as it was.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, TransportError> {
        let fd = rustix::fs::openat(CWD, path, FOLDER, Mode::empty());
        let fd = fd.map_err(|errno| io_error("opening", path, errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The folder at `path`, or `None` if nothing is there.
    pub(crate) fn open_if_there(path: &Path) -> Result<Option<Self>, TransportError> {
        match Self::open(path) {
            Ok(folder) => Ok(Some(folder)),
            Err(TransportError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether it is this folder that is at `path` now.
    pub(crate) fn is_still_at(&self, path: &Path) -> bool {
        let (here, there) = (rustix::fs::fstat(&self.fd), rustix::fs::stat(path));
        let same = |(here, there): (Stat, Stat)| {
            (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
        };
        here.ok().zip(there.ok()).is_some_and(same)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// A folder inside; made (mode 0755 less the umask) where it is missing.
    pub(crate) fn make(&self, name: &str) -> Result<Self, TransportError> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => self.enter(name),
            Err(errno) => Err(self.error("creating", name, errno)),
        }
    }

    pub(crate) fn enter(&self, name: &str) -> Result<Self, TransportError> {
        let fd = rustix::fs::openat(&self.fd, name, FOLDER, Mode::empty());
        let fd = fd.map_err(|errno| self.error("opening", name, errno))?;
        Ok(Self { fd, path: self.path.join(name) })
    }

    /// Opens a regular file for reading, without ever waiting for a writer of a FIFO.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<File>, TransportError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.error("opening", name, errno)),
        };
        let metadata = file.metadata().map_err(|source| TransportError::Io {
            operation: "opening",
            path: self.path.join(name),
            source,
        })?;
        if metadata.is_file() { Ok(Some(file)) } else { Err(self.not_a_file(name)) }
    }

    /// The size of a regular file, or `None` if there is nothing under that name.
    pub(crate) fn size_of(&self, name: &str) -> Result<Option<u64>, TransportError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::empty()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                Ok(u64::try_from(stat.st_size).ok())
            }
            Ok(_) => Err(self.not_a_file(name)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("examining", name, errno)),
        }
    }

    /// The first entry for which `odd` says so, looked for without listing the folder into memory.
    pub(crate) fn find_entry(
        &self,
        mut odd: impl FnMut(&str, FileType) -> bool,
    ) -> Result<Option<String>, TransportError> {
        let entries = Dir::read_from(&self.fd).map_err(|e| self.error("listing", "", e))?;
        for entry in entries {
            let entry = entry.map_err(|errno| self.error("listing", "", errno))?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." && odd(&name, entry.file_type()) {
                return Ok(Some(name.into_owned()));
            }
        }
        Ok(None)
    }

    /// Every name in this folder; only for folders that we have filled ourselves.
    pub(crate) fn names(&self) -> Result<BTreeSet<String>, TransportError> {
        let mut names = BTreeSet::new();
        self.find_entry(|name, _| !names.insert(name.to_owned()))?;
        Ok(names)
    }

    /// Writes a file whole: it appears, or replaces another, only when all bytes are on the disk.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TransportError> {
        let mut staged = Staged::create(self)?;
        staged.append(bytes)?;
        staged.publish(self, name)
    }

    pub(crate) fn remove_file(&self, name: &str) -> Result<(), TransportError> {
        let removed = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
        removed.map_err(|errno| self.error("removing", name, errno))
    }

    /// Makes the names in this folder last over a power cut.
    pub(crate) fn sync(&self) -> Result<(), TransportError> {
        match rustix::fs::fsync(&self.fd) {
            // Some network file systems cannot synchronise a folder.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(self.error("synchronising", "", errno)),
        }
    }

    pub(crate) fn error(
        &self,
        operation: &'static str,
        name: &str,
        errno: Errno,
    ) -> TransportError {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        io_error(operation, &path, errno)
    }

    fn not_a_file(&self, name: &str) -> TransportError {
        TransportError::Place {
            path: self.path.join(name),
            problem: "expected a regular file, found something else".to_owned(),
        }
    }
}

impl Files for Folder {
    fn place(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str) -> Result<Option<Opened>, TransportError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let metadata = file.metadata().map_err(|source| TransportError::Io {
            operation: "examining",
            path: self.path.join(name),
            source,
        })?;
        Ok(Some(Opened { size: metadata.len(), chunks: Box::new(FileChunks::new(file)) }))
    }

    fn open_file(&self, name: &str) -> Result<Option<File>, TransportError> {
        Self::open_file(self, name)
    }
}

/// Whether this process may make names in `folder`; asks, and changes nothing.
pub(crate) fn check_writable(folder: &Path) -> Result<(), TransportError> {
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(folder, access).map_err(|errno| io_error("writing in", folder, errno))
}

/// Whether `name` in `files` holds exactly `bytes`; reads no more than their length and one.
pub(crate) fn holds(files: &dyn Files, name: &str, bytes: &Bytes) -> Result<bool, TransportError> {
    match files.open(name)? {
        Some(opened) if opened.size == bytes.len() as u64 => {}
        _ => return Ok(false),
    }
    Ok(crate::files::read(files, name, bytes.len())?.as_ref() == Some(bytes))
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(crate) fn io_error(operation: &'static str, path: &Path, errno: Errno) -> TransportError {
    TransportError::Io { operation, path: path.to_owned(), source: errno.into() }
}
