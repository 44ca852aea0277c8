use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
        let plain = metadata.is_file() && self.codec(&file)? == Codec::Plain;
        let file = if plain { file } else { self.spool(file, scope)? };
        TarIndex::read(file, &self.path, scope)
    }

    fn open(&self) -> Result<File, TransportError> {
        File::open(&self.path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => TransportError::NotFound {
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
    fn spool(&self, file: File, scope: &Scope) -> Result<File, TransportError> {
        spool(unpack(file)?, &self.temporary, scope, |error| {
            self.error("reading", std::io::Error::other(error))
        })
    }

    fn error(&self, operation: &'static str, source: std::io::Error) -> TransportError {
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
