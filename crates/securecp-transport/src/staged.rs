use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use securecp_layer::{Aside, Fold, LayerError, Scope};
use securecp_oci::Descriptor;
use tempfile::{NamedTempFile, TempDir};

use crate::folder::Folder;
use crate::{BlobPut, TransportError};

/// What the names of our temporary files and folders start with: of a write that has not ended, or was killed.
pub const STAGING_PREFIX: &str = ".securecp-";

/// A new folder in `place` for something that is not whole yet. Dropped, it is gone.
pub(crate) fn temporary_in(place: &Path, prefix: &str) -> Result<TempDir, TransportError> {
    let made = tempfile::Builder::new()
        .prefix(prefix)
        // Less the umask, as for any new folder; its files appear only when they are whole.
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(place);
    made.map_err(|source| TransportError::Io {
        operation: "creating a folder in",
        path: place.to_owned(),
        source,
    })
}

/// A file being written that nobody can see: without a name where the file system allows that, otherwise under a
/// temporary name and readable only by its owner. Dropped, it is gone.
pub(crate) struct Staged {
    file: Kind,
    folder: PathBuf,
    /// The mode that it gets in the end; `None` leaves what the umask has made of it.
    mode: Option<Mode>,
}

enum Kind {
    Unnamed(File),
    Named(NamedTempFile),
}

impl Staged {
    /// An empty file on the file system of `folder`, in the end of the mode that the reference gives to every file of
    /// a layout or folder, whatever the umask.
    pub(crate) fn create(folder: &Folder) -> Result<Self, TransportError> {
        Self::open(folder, Mode::RUSR | Mode::WUSR, Some(Mode::from_raw_mode(0o644)))
    }

    /// An empty file that is to stand by itself: of the mode of the one it replaces, or as any new file.
    pub(crate) fn create_alone(
        folder: &Folder,
        replaced: Option<Mode>,
    ) -> Result<Self, TransportError> {
        Self::open(folder, Mode::from_raw_mode(0o666), replaced)
    }

    fn open(folder: &Folder, first: Mode, mode: Option<Mode>) -> Result<Self, TransportError> {
        let file = match open_unnamed(folder, first) {
            Ok(file) => Kind::Unnamed(file),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                Kind::Named(open_named(folder.path(), first)?)
            }
            Err(errno) => return Err(folder.error("creating a file in", "", errno)),
        };
        Ok(Self { file, folder: folder.path().to_owned(), mode })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        let written = self.file_mut().write_all(bytes);
        written.map_err(|source| self.error("writing a file in", source))
    }

    /// Makes the file readable, puts it on the disk and gives it its name, replacing what had that name.
    pub(crate) fn publish(mut self, target: &Folder, name: &str) -> Result<(), TransportError> {
        let mode = self.mode;
        let synced = prepare(self.file_mut(), mode);
        synced.map_err(|source| self.error("writing a file in", source))?;
        match self.file {
            Kind::Unnamed(file) => link(&file, target, name),
            Kind::Named(file) => {
                let path = target.path().join(name);
                let kept = file.into_temp_path().persist(&path);
                kept.map_err(|e| TransportError::Io {
                    operation: "creating",
                    path,
                    source: e.error,
                })
            }
        }
    }

    pub(crate) fn file(&self) -> &File {
        match &self.file {
            Kind::Unnamed(file) => file,
            Kind::Named(file) => file.as_file(),
        }
    }

    /// The same file, to be read from where writing stands.
    pub(crate) fn reader(&self) -> Result<File, TransportError> {
        self.file().try_clone().map_err(|source| self.error("opening a file in", source))
    }

    /// Leaves no more than the first `size` bytes.
    pub(crate) fn cut(&self, size: u64) -> Result<(), TransportError> {
        self.file().set_len(size).map_err(|source| self.error("writing a file in", source))
    }

    fn file_mut(&mut self) -> &mut File {
        match &mut self.file {
            Kind::Unnamed(file) => file,
            Kind::Named(file) => file.as_file_mut(),
        }
    }

    pub(crate) fn error(&self, operation: &'static str, source: io::Error) -> TransportError {
        TransportError::Io { operation, path: self.folder.clone(), source }
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file_mut().flush()
    }
}

/// Reads a chain to its end into `staged` and says what it was; the bytes are then as the chain promised.
///
/// A large blob is written by a thread of its own while a core is idle, so that what makes the bytes need not wait for the
/// disk.
pub(crate) fn fill(
    staged: Staged,
    blob: &BlobPut<'_>,
    scope: &Scope,
) -> Result<(Staged, Descriptor), TransportError> {
    scope.check()?;
    let folder = staged.folder.clone();
    let failed = |error| match error {
        LayerError::Spool(source) => {
            TransportError::Io { operation: "writing a file in", path: folder.clone(), source }
        }
        other => other.into(),
    };
    let mut layer = (blob.open)()?;
    let mut writer = Aside::new(Append(staged));
    let mut size = 0;
    while let Some(chunk) = layer.next()? {
        scope.check()?;
        writer.take(&chunk).map_err(failed)?;
        size += chunk.len() as u64;
    }
    let found = layer.finish()?;
    check_promise(blob.known, &found, size)?;
    Ok((writer.end().map_err(failed)?, found))
}

/// Writing as work beside a chain's way.
struct Append(Staged);

impl Fold for Append {
    type Output = Staged;

    fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError> {
        self.0.file_mut().write_all(chunk).map_err(LayerError::Spool)
    }

    fn end(self) -> Result<Staged, LayerError> {
        Ok(self.0)
    }
}

/// A chain that says something else than was announced, or than was written, is broken.
pub(crate) fn check_promise(
    known: Option<&Descriptor>,
    found: &Descriptor,
    size: u64,
) -> Result<(), LayerError> {
    if found.size != size {
        let digest = found.digest.clone();
        return Err(LayerError::Short { digest, expected: found.size, found: size });
    }
    match known {
        Some(known) if known.digest != found.digest => {
            Err(LayerError::Altered { expected: known.digest.clone(), found: found.digest.clone() })
        }
        _ => Ok(()),
    }
}

fn open_unnamed(folder: &Folder, mode: Mode) -> Result<File, Errno> {
    // Without /proc an unnamed file could not be given a name afterwards.
    if !Path::new("/proc/self/fd").exists() {
        return Err(Errno::OPNOTSUPP);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(folder.fd(), ".", flags, mode).map(File::from)
}

fn open_named(folder: &Path, mode: Mode) -> Result<NamedTempFile, TransportError> {
    let file = tempfile::Builder::new()
        .prefix(STAGING_PREFIX)
        .permissions(Permissions::from_mode(mode.as_raw_mode()))
        .tempfile_in(folder);
    file.map_err(|source| TransportError::Io {
        operation: "creating a file in",
        path: folder.to_owned(),
        source,
    })
}

fn prepare(file: &File, mode: Option<Mode>) -> io::Result<()> {
    if let Some(mode) = mode {
        rustix::fs::fchmod(file, mode)?;
    }
    file.sync_all()
}

fn link(file: &File, target: &Folder, name: &str) -> Result<(), TransportError> {
    match link_at(file, target, Path::new(name)) {
        Err(Errno::EXIST) => replace(file, target, name),
        other => other.map_err(|errno| target.error("creating", name, errno)),
    }
}

/// A link cannot replace a name, a rename can.
fn replace(file: &File, target: &Folder, name: &str) -> Result<(), TransportError> {
    let failed = |errno| target.error("replacing", name, errno);
    let temporary = loop {
        let temporary = temporary_name();
        match link_at(file, target, Path::new(&temporary)) {
            Err(Errno::EXIST) => {}
            other => break other.map(|()| temporary).map_err(failed)?,
        }
    };
    let renamed = rustix::fs::renameat(target.fd(), &temporary, target.fd(), name);
    renamed.map_err(|errno| {
        let _ = rustix::fs::unlinkat(target.fd(), &temporary, AtFlags::empty());
        failed(errno)
    })
}

/// A name that this process has not used before.
fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{STAGING_PREFIX}{}-{count}", std::process::id())
}

fn link_at(file: &File, target: &Folder, name: &Path) -> Result<(), Errno> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, source, target.fd(), name, AtFlags::SYMLINK_FOLLOW)
}
