use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use securecp_layer::{Codec, Scope};

use super::{Members, detect, spool, unpack};
use crate::TransportError;
use crate::files::{Files, Opened};
use crate::tar::TarIndex;

/// An archive to be read: found, indexed and, only if it is compressed or a pipe, unpacked into an unnamed file when it
/// is first needed.
#[derive(Debug)]
pub(crate) struct Container {
    path: PathBuf,
    temporary: PathBuf,
    index: Mutex<Option<Arc<TarIndex>>>,
}

impl Container {
    /// An archive at `path`; `temporary` is the folder for what has to be unpacked.
    pub(crate) fn new(path: &Path, temporary: Option<&Path>) -> Self {
        Self {
            path: path.to_owned(),
            temporary: temporary.map_or_else(std::env::temp_dir, Path::to_owned),
            index: Mutex::new(None),
        }
    }

    fn read(&self, scope: &Scope) -> Result<TarIndex, TransportError> {
        let file = self.open()?;
        let metadata = file.metadata().map_err(|source| self.error("examining", source))?;
        // A device could go on for ever.
        if !metadata.is_file() && !metadata.file_type().is_fifo() {
            let problem = "expected a file or a pipe, found something else".to_owned();
            return Err(TransportError::Place { path: self.path.clone(), problem });
        }
        let file = match metadata.is_file() {
            true if self.codec(&file)? == Codec::Plain => file,
            true => self.spool(file, scope)?,
            false => self.spool(Patient { file, scope: scope.clone() }, scope)?,
        };
        TarIndex::read(file, &self.path, scope)
    }

    /// Does not wait for the writer of a pipe: it may never come.
    fn open(&self) -> Result<File, TransportError> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
        file.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TransportError::NotFound {
                subject: "archive".to_owned(),
                place: self.path.display().to_string(),
            },
            _ => self.error("opening", source),
        })
    }

    fn codec(&self, file: &File) -> Result<Codec, TransportError> {
        let mut prefix = [0; Codec::PREFIX];
        let count = file.read_at(&mut prefix, 0);
        let count = count.map_err(|source| self.error("reading", source))?;
        detect(&prefix[..count]).map_err(|source| self.error("reading", source))
    }

    /// Unpacks into a file without a name.
    fn spool(
        &self,
        file: impl Read + Send + 'static,
        scope: &Scope,
    ) -> Result<File, TransportError> {
        let unless_stopped =
            |error: TransportError| scope.check().err().map_or(error, TransportError::from);
        let chunks = unpack(file).map_err(|error| unless_stopped(error.into()))?;
        spool(chunks, &self.temporary, scope, |error| {
            unless_stopped(self.error("reading", io::Error::other(error)))
        })
    }

    fn error(&self, operation: &'static str, source: io::Error) -> TransportError {
        TransportError::Io { operation, path: self.path.clone(), source }
    }
}

impl Members for Container {
    fn index(&self, scope: &Scope) -> Result<Arc<TarIndex>, TransportError> {
        scope.check()?;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*index {
            return Ok(Arc::clone(index));
        }
        let found = Arc::new(self.read(scope)?);
        *index = Some(Arc::clone(&found));
        Ok(found)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl Files for Container {
    fn place(&self) -> &Path {
        &self.path
    }

    fn prepare(&self, scope: &Scope) -> Result<(), TransportError> {
        self.index(scope).map(|_| ())
    }

    fn open(&self, name: &str) -> Result<Option<Opened>, TransportError> {
        self.index(&Scope::new())?.open(name)
    }
}

/// The longest that a scope which has ended is not looked at.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A pipe whose writer may be slow, or not there yet: waits for bytes, no longer than its scope lasts.
struct Patient {
    file: File,
    scope: Scope,
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            self.scope.check().map_err(io::Error::other)?;
            // Reading before the first writer has come would look like the end.
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            match self.file.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}
