use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use securecp_layer::{CHUNK, Chunks, Layer, LayerError, Prefix, Scope, SourceError};
use securecp_oci::{Descriptor, Digest};

use crate::folder::Folder;
use crate::staged::{STAGING_PREFIX, check_promise};
use crate::{BlobPut, TransportError};

/// Smaller blobs are not worth a file that may stay behind.
const WORTHWHILE: u64 = 1 << 20;
/// Files that nobody has gone on with for so long are removed.
const STALE: Duration = Duration::from_secs(8 * 24 * 3600);

/// A blob that arrives in a file with a name of its own, so that what is there after an interruption can be gone on
/// with. Only bytes that come unchanged from their source are written so, and only their owner can read them before
/// they are known to be right.
pub(super) struct Partial<'a> {
    folder: &'a Folder,
    name: String,
    file: File,
    /// What an earlier run left, in bytes.
    held: u64,
}

impl<'a> Partial<'a> {
    /// Takes the file for a blob, new or left behind; `None` if the blob is not worth it, somebody else has it, or what
    /// has its name is not a file of ours.
    pub(super) fn take(folder: &'a Folder, blob: &Descriptor) -> Option<Self> {
        if blob.size < WORTHWHILE {
            return None;
        }
        let name = file_name(&blob.digest);
        match lock(folder, &name, OFlags::CREATE) {
            Ok(file) => {
                let held = file.metadata().map_or(0, |found| found.len());
                // A whole one is read anew as well: its end may have been cut from a larger file.
                let held = if held < blob.size { held } else { 0 };
                Some(Self { folder, name, file, held })
            }
            Err(error) => {
                tracing::info!(%name, %error, "what has arrived of the blob will not be kept");
                None
            }
        }
    }

    /// Brings the blob to its end and gives it its name in `target`. A failure that may pass leaves the file for the
    /// next attempt or run.
    pub(super) fn fill(
        mut self,
        blob: &BlobPut<'_>,
        target: &Folder,
        scope: &Scope,
    ) -> Result<Descriptor, TransportError> {
        match self.receive(blob, scope) {
            Ok(found) => self.publish(target, found.digest.hex()).map(|()| found),
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => {
                let _ = self.folder.remove_file(&self.name);
                Err(error)
            }
        }
    }

    fn receive(&mut self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        scope.check()?;
        if let Some(layer) = self.open_after(blob)? {
            tracing::info!(name = %self.name, at = self.held, "going on with a download");
            match self.write(layer, self.held, blob, scope) {
                Err(TransportError::Layer(error)) if !error.is_transient() => {
                    // What was there may be to blame; without it the same failure counts.
                    tracing::warn!(name = %self.name, %error, "the download begins anew");
                }
                result => return result,
            }
        }
        self.cut(0)?;
        self.write((blob.open)()?, 0, blob, scope)
    }

    fn open_after<'b>(&self, blob: &BlobPut<'b>) -> Result<Option<Layer<'b>>, TransportError> {
        let Some(open) = blob.open_after.filter(|_| self.held > 0) else { return Ok(None) };
        let file = self.file.try_clone().map_err(|error| self.error("opening", error))?;
        Ok(open(Prefix::new(FromStart { file, at: 0 }, self.held))?)
    }

    /// Writes what `layer` has beyond its first `at` bytes, which are in the file; all of it counts for the digest.
    fn write(
        &self,
        mut layer: Layer<'_>,
        at: u64,
        blob: &BlobPut<'_>,
        scope: &Scope,
    ) -> Result<Descriptor, TransportError> {
        let mut passed = 0;
        while let Some(chunk) = layer.next()? {
            scope.check()?;
            let known = usize::try_from(at.saturating_sub(passed)).unwrap_or(usize::MAX);
            let new = chunk.get(known..).unwrap_or_default();
            let end = passed + chunk.len() as u64;
            let written = self.file.write_all_at(new, end - new.len() as u64);
            written.map_err(|error| self.error("writing", error))?;
            passed = end;
        }
        let found = layer.finish()?;
        check_promise(blob.known, &found, passed)?;
        self.cut(passed)?;
        Ok(found)
    }

    fn cut(&self, size: u64) -> Result<(), TransportError> {
        self.file.set_len(size).map_err(|error| self.error("writing", error))
    }

    fn publish(self, target: &Folder, name: &str) -> Result<(), TransportError> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o644))
            .map_err(|errno| self.folder.error("writing", &self.name, errno))?;
        self.file.sync_all().map_err(|error| self.error("writing", error))?;
        rustix::fs::renameat(self.folder.fd(), &self.name, target.fd(), name)
            .map_err(|errno| target.error("creating", name, errno))
    }

    fn error(&self, operation: &'static str, source: std::io::Error) -> TransportError {
        TransportError::Io { operation, path: self.folder.path().join(&self.name), source }
    }
}

/// Removes what was begun long ago and is not being gone on with.
pub(super) fn sweep(folder: &Folder) {
    let Ok(names) = folder.names() else { return };
    for name in names.iter().filter(|name| name.starts_with(&prefix())) {
        // Its owner may be giving it its final name: it is never made again.
        let Ok(file) = lock(folder, name, OFlags::empty()) else { continue };
        let touched = file.metadata().and_then(|found| found.modified());
        let age = touched.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = folder.remove_file(name);
        }
    }
}

/// A source that broke, or a job that was stopped: the blob may be gone on with.
fn is_passing(error: &TransportError) -> bool {
    let stopped =
        matches!(error, TransportError::Stopped(_) | TransportError::Layer(LayerError::Stopped(_)));
    stopped || error.is_transient()
}

fn prefix() -> String {
    format!("{STAGING_PREFIX}partial-")
}

fn file_name(digest: &Digest) -> String {
    format!("{}{}-{}", prefix(), digest.algorithm(), digest.hex())
}

/// Opens and locks a file that is ours alone; `create` makes it where it is missing.
fn lock(folder: &Folder, name: &str, create: OFlags) -> Result<File, Errno> {
    let flags = OFlags::RDWR | create | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = rustix::fs::openat(folder.fd(), name, flags | OFlags::CLOEXEC, mode)?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    let found = rustix::fs::fstat(&fd)?;
    let named = rustix::fs::statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    let ours = found.st_uid == rustix::process::geteuid().as_raw()
        && found.st_nlink == 1
        && found.st_mode & 0o077 == 0
        && FileType::from_raw_mode(found.st_mode).is_file();
    // Whoever had it before may have given it its final name meanwhile.
    let same = (found.st_dev, found.st_ino) == (named.st_dev, named.st_ino);
    if ours && same { Ok(File::from(fd)) } else { Err(Errno::PERM) }
}

/// A file from its start, whatever else is done with it.
struct FromStart {
    file: File,
    at: u64,
}

impl Chunks for FromStart {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let mut chunk = vec![0; CHUNK];
        let read = self.file.read_at(&mut chunk, self.at).map_err(SourceError::lasting)?;
        chunk.truncate(read);
        self.at += read as u64;
        Ok((read > 0).then(|| chunk.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_for_stale_files_makes_none() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        assert_eq!(lock(&folder, "gone", OFlags::empty()).unwrap_err(), Errno::NOENT);
        assert!(folder.names().unwrap().is_empty());
        lock(&folder, "new", OFlags::CREATE).unwrap();
        lock(&folder, "new", OFlags::empty()).unwrap();
    }
}
