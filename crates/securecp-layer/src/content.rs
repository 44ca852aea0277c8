//! Small content that an earlier run has read, known by its digest.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use securecp_oci::Digest;

use crate::Journal;
use crate::journal::sweep;

/// Most bytes of one piece.
const SIZE_LIMIT: usize = 64 << 10;
/// Most pieces that are kept.
const COUNT_LIMIT: usize = 10_000;

impl Journal {
    /// Content that an earlier run kept. It has the digest: what is damaged is as good as not there.
    pub fn kept(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.content().join(digest.hex());
        let bytes = read(&path).ok()?;
        if digest.matches(&bytes) {
            return Some(bytes.into());
        }
        let _ = fs::remove_file(&path);
        None
    }

    /// Keeps small content for later runs. What cannot be kept is read again then, no more.
    pub fn keep(&self, digest: &Digest, bytes: &[u8]) {
        if bytes.len() > SIZE_LIMIT {
            return;
        }
        if let Err(error) = self.try_keep(digest, bytes) {
            tracing::debug!(%digest, %error, "not kept for later runs");
        }
    }

    fn try_keep(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let folder = self.content();
        let target = folder.join(digest.hex());
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        }
        if !self.takes_one_more(&folder) {
            return Ok(());
        }
        let temporary = folder.join(temporary_name());
        let written = write(&temporary, bytes).and_then(|()| fs::rename(&temporary, &target));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Old content goes before the rest is counted, once.
    fn takes_one_more(&self, folder: &Path) -> bool {
        let room = self.room().get_or_init(|| {
            sweep(folder);
            let there =
                fs::read_dir(folder).map_or(COUNT_LIMIT, |all| all.take(COUNT_LIMIT).count());
            AtomicUsize::new(COUNT_LIMIT - there)
        });
        let take = |left: usize| left.checked_sub(1);
        room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn content(&self) -> PathBuf {
        self.folder().join("content")
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// A name that no other thread or process uses, and that is swept as any other when it is left.
fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:032x}{count:032x}", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::Algorithm;
    use std::os::unix::fs::PermissionsExt;

    fn sha(bytes: &[u8]) -> Digest {
        Digest::of(Algorithm::Sha256, bytes)
    }

    #[test]
    fn what_was_kept_is_there_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("not/yet"));
        assert_eq!(journal.kept(&sha(b"one")), None);
        journal.keep(&sha(b"one"), b"one");
        journal.keep(&sha(b"one"), b"one");
        assert_eq!(journal.kept(&sha(b"one")).as_deref(), Some(&b"one"[..]));
        let files: Vec<_> = fs::read_dir(journal.content()).unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(files.len(), 1, "nothing temporary stays");
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_damaged_foreign_or_large_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path());
        let digest = sha(b"one");
        journal.keep(&digest, b"one");
        let path = journal.content().join(digest.hex());
        fs::write(&path, b"two").unwrap();
        assert_eq!(journal.kept(&digest), None);
        assert!(!path.exists());
        let outside = folder.path().join("outside");
        fs::write(&outside, b"one").unwrap();
        std::os::unix::fs::symlink(&outside, &path).unwrap();
        assert_eq!(journal.kept(&digest), None, "a link leads anywhere");
        let large = vec![0; SIZE_LIMIT + 1];
        journal.keep(&sha(&large), &large);
        assert_eq!(journal.kept(&sha(&large)), None);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let journal = Journal::new(file.path().join("below/a/file"));
        journal.keep(&sha(b"one"), b"one");
        assert_eq!(journal.kept(&sha(b"one")), None);
    }
}
