use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use securecp_layer::Scope;
use securecp_oci::ImageName;

use super::WriteMembers;
use crate::TransportError;
use crate::folder::{Folder, check_writable};
use crate::path::Resolved;
use crate::staged::Staged;
use crate::tar::TarWriter;

/// Where an archive goes: a file, which appears whole or not at all, or a pipe or device, which is written to at the end.
#[derive(Debug)]
pub(crate) struct Output {
    path: Resolved,
}

/// What is at the place now.
pub(crate) enum Present {
    Nothing,
    EmptyFile(Mode),
    File(Mode),
    Stream,
}

impl Output {
    pub(crate) fn new(name: &ImageName, path: &str) -> Result<Self, TransportError> {
        Ok(Self { path: Resolved::new(name, path)? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.path.as_path()
    }

    /// Looks at the place and refuses what can never be an archive.
    pub(crate) fn present(&self) -> Result<Present, TransportError> {
        let path = self.path();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.nothing(),
            Err(source) => return Err(self.error("examining", source)),
        };
        let kind = metadata.file_type();
        let mode = Mode::from_raw_mode(metadata.mode() & 0o7777);
        match () {
            () if kind.is_file() && metadata.len() == 0 => Ok(Present::EmptyFile(mode)),
            () if kind.is_file() => Ok(Present::File(mode)),
            () if kind.is_fifo() || kind.is_char_device() => Ok(Present::Stream),
            () => Err(self.refused("expected a file or pipe, found something else")),
        }
    }

    /// A link to nowhere is also "not found" when it is followed.
    fn nothing(&self) -> Result<Present, TransportError> {
        match fs::symlink_metadata(self.path()) {
            Ok(_) => Err(self.refused("it is a link to a file that does not exist")),
            Err(_) => Ok(Present::Nothing),
        }
    }

    pub(crate) fn refused(&self, problem: &str) -> TransportError {
        TransportError::Occupied { path: self.path().to_owned(), problem: problem.to_owned() }
    }

    /// Checks that the archive can be put there.
    pub(crate) fn check(&self) -> Result<Present, TransportError> {
        let present = self.present()?;
        if !matches!(present, Present::Stream) {
            check_writable(self.path.parent())?;
        }
        Ok(present)
    }

    /// The folder in which blobs wait: that of the archive, so that nothing crosses file systems twice, unless the
    /// archive is no file.
    pub(crate) fn waiting_folder(&self, temporary: Option<&Path>) -> PathBuf {
        match self.present() {
            Ok(Present::Stream) => temporary.map_or_else(std::env::temp_dir, Path::to_owned),
            _ => self.path.parent().to_owned(),
        }
    }

    /// Writes the whole archive and gives it its name.
    pub(crate) fn write(
        &self,
        members: &mut WriteMembers<'_>,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let replaced = match self.present()? {
            Present::Stream => return self.stream(members, scope),
            Present::EmptyFile(mode) | Present::File(mode) => Some(mode),
            Present::Nothing => None,
        };
        let folder = Folder::open(self.path.parent())?;
        let mut staged = Staged::create_alone(&folder, replaced)?;
        fill(&mut staged, members, scope).map_err(|error| self.unless_stopped(error, scope))?;
        let name = self.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        staged.publish(&folder, name)?;
        folder.sync().or_else(|error| {
            tracing::warn!(%error, "the new name may not last over a power cut");
            Ok(())
        })
    }

    fn unless_stopped(&self, source: io::Error, scope: &Scope) -> TransportError {
        scope.check().map_or_else(TransportError::from, |()| self.error("writing", source))
    }

    fn stream(&self, members: &mut WriteMembers<'_>, scope: &Scope) -> Result<(), TransportError> {
        let file = self.open_stream(scope)?;
        fill(&mut Patient { file, scope }, members, scope)
            .map_err(|error| self.unless_stopped(error, scope))
    }

    /// Waits for a reader, no longer than `scope` lasts.
    fn open_stream(&self, scope: &Scope) -> Result<File, TransportError> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        loop {
            scope.check()?;
            match OpenOptions::new().write(true).custom_flags(flags).open(self.path()) {
                Ok(file) => return Ok(file),
                Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                    scope.sleep(PAUSE)?;
                }
                Err(source) => return Err(self.error("opening", source)),
            }
        }
    }

    fn error(&self, operation: &'static str, source: io::Error) -> TransportError {
        TransportError::Io { operation, path: self.path().to_owned(), source }
    }
}

/// Writes the whole archive to `out`.
pub(crate) fn fill(
    out: &mut dyn Write,
    members: &mut WriteMembers<'_>,
    scope: &Scope,
) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(1 << 20, Stoppable { out, scope });
    let mut writer = TarWriter::new(&mut buffered as &mut dyn Write);
    members(&mut writer)?;
    writer.finish()?;
    buffered.flush()
}

const PAUSE: Duration = Duration::from_millis(1);

/// Ends with its scope, between two writes.
struct Stoppable<'a> {
    out: &'a mut dyn Write,
    scope: &'a Scope,
}

impl Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scope.check().map_err(io::Error::other)?;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A pipe whose reader may be slow: waits for room, no longer than its scope lasts.
struct Patient<'a> {
    file: File,
    scope: &'a Scope,
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.scope.sleep(PAUSE).map_err(io::Error::other)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
