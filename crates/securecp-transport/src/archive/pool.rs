use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use securecp_layer::{Layer, Scope};
use securecp_oci::Descriptor;

use crate::TransportError;
use crate::range::Range;

/// Blobs of an archive that is being written, one after the other in an unnamed file: gone with this process, and never
/// seen by another.
#[derive(Debug)]
pub(crate) struct Pool {
    folder: PathBuf,
    file: Arc<File>,
    /// Where the next blob goes; held while one is written.
    end: Mutex<u64>,
}

/// Where a blob is in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    offset: u64,
    pub(crate) size: u64,
}

/// The right to put the next blob.
pub(crate) struct Turn<'a> {
    pool: &'a Pool,
    end: MutexGuard<'a, u64>,
}

impl Turn<'_> {
    /// Reads `layer` to its end; what it turns out to be is only kept if the whole chain agrees.
    pub(crate) fn put(
        mut self,
        mut layer: Layer<'_>,
        scope: &Scope,
    ) -> Result<(Descriptor, Slot), TransportError> {
        let mut slot = Slot { offset: *self.end, size: 0 };
        while let Some(chunk) = layer.next()? {
            scope.check()?;
            let written = self.pool.file.write_all_at(&chunk, slot.offset + slot.size);
            written.map_err(|source| self.pool.error(source))?;
            slot.size += chunk.len() as u64;
        }
        let found = layer.finish()?;
        *self.end = slot.offset + slot.size;
        Ok((found, slot))
    }
}

impl Pool {
    pub(crate) fn create(folder: &Path) -> Result<Self, TransportError> {
        let file = tempfile::tempfile_in(folder).map_err(|source| TransportError::Io {
            operation: "creating a temporary file in",
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self { folder: folder.to_owned(), file: Arc::new(file), end: Mutex::new(0) })
    }

    /// Waits until nobody else puts a blob. Whoever opens one does so after this: a connection that is not read from while
    /// others put theirs would be given up by the other side.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { pool: self, end: self.end.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The bytes of a blob.
    pub(crate) fn reader(&self, slot: Slot) -> Range {
        Range::new(&self.file, slot.offset, slot.size)
    }

    /// A whole small blob.
    pub(crate) fn read(&self, slot: Slot, limit: u64) -> Result<Vec<u8>, TransportError> {
        let mut bytes = Vec::new();
        let count = self.reader(slot).take(limit + 1).read_to_end(&mut bytes);
        match count.map_err(|source| self.error(source))? as u64 > limit {
            true => Err(self.error(io::Error::other(format!("more than {limit} bytes")))),
            false => Ok(bytes),
        }
    }

    fn error(&self, source: io::Error) -> TransportError {
        let operation = "using a temporary file in";
        TransportError::Io { operation, path: self.folder.clone(), source }
    }
}
