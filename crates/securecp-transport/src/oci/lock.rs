use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use securecp_layer::Scope;

use crate::TransportError;
use crate::folder::Folder;

const PAUSE: Duration = Duration::from_millis(10);

/// A lock on a folder itself, so that no lock file stays behind. Given back when dropped, and by the system when the
/// process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _fd: OwnedFd,
}

impl Lock {
    /// Waits until nobody else holds the folder.
    pub(super) fn exclusive(folder: &Folder, scope: &Scope) -> Result<Self, TransportError> {
        Self::take(folder, FlockOperation::NonBlockingLockExclusive, scope)
    }

    /// Waits until nobody holds the folder exclusively.
    pub(super) fn shared(folder: &Folder, scope: &Scope) -> Result<Self, TransportError> {
        Self::take(folder, FlockOperation::NonBlockingLockShared, scope)
    }

    fn take(folder: &Folder, kind: FlockOperation, scope: &Scope) -> Result<Self, TransportError> {
        let failed = |errno| folder.error("locking", "", errno);
        // A descriptor of its own, so that two locks of one process exclude each other too.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(folder.fd(), ".", flags, Mode::empty()).map_err(failed)?;
        loop {
            scope.check()?;
            match rustix::fs::flock(&fd, kind) {
                Ok(()) => return Ok(Self { _fd: fd }),
                Err(Errno::WOULDBLOCK) => scope.sleep(PAUSE)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}
