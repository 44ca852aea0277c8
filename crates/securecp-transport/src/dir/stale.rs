use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, FlockOperation};

use super::format::is_foreign;
use crate::folder::Folder;
use crate::staged::STAGING_PREFIX;

/// What the names of folders in which an image is built begin with.
pub(super) const PREFIX: &str = ".securecp-dir-";

/// Folders in which nothing was made for so long are left behind, unless they are locked. Not every file system has locks
/// that others see.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The most that are removed at once.
const LIMIT: usize = 100;

/// Locks a folder that is being built, where the file system can, so that nobody takes it for one left behind.
pub(super) fn keep(building: &Folder) {
    let _ = rustix::fs::flock(building.fd(), FlockOperation::NonBlockingLockExclusive);
}

/// Removes the folders in `place` that runs which were killed have left behind.
pub(super) fn sweep(place: &Path) {
    let Ok(parent) = Folder::open(place) else { return };
    let mut found = Vec::new();
    let _ = parent.find_entry(|name, _| {
        if name.starts_with(PREFIX) {
            found.push(name.to_owned());
        }
        found.len() == LIMIT
    });
    for name in found {
        if remove(&parent, &name).is_some() {
            tracing::info!(%name, "removed what an interrupted copy has left");
        }
    }
}

/// Removes one folder that is stale, ours, unlocked, and holds nothing but what belongs to an image.
fn remove(parent: &Folder, name: &str) -> Option<()> {
    let folder = parent.enter(name).ok()?;
    let open = rustix::fs::fstat(folder.fd()).ok()?;
    let named = rustix::fs::statat(parent.fd(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let ours = (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
        && open.st_uid == rustix::process::geteuid().as_raw();
    let touched = UNIX_EPOCH + Duration::from_secs(u64::try_from(open.st_mtime).ok()?);
    let age = SystemTime::now().duration_since(touched).ok()?;
    (ours && age > STALE).then_some(())?;
    rustix::fs::flock(folder.fd(), FlockOperation::NonBlockingLockExclusive).ok()?;
    let foreign = |name: &str, kind: FileType| {
        is_foreign(name, kind) || (kind == FileType::Directory && name.starts_with(STAGING_PREFIX))
    };
    if folder.find_entry(foreign).ok()?.is_some() {
        return None;
    }
    while let Some(entry) = folder.find_entry(|_, _| true).ok()? {
        folder.remove_file(&entry).ok()?;
    }
    rustix::fs::unlinkat(parent.fd(), name, AtFlags::REMOVEDIR).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn removes_only_what_was_left_long_ago() {
        let place = tempfile::tempdir().unwrap();
        let made = |name: &str, file: &str, age: Duration| {
            let folder = place.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(file), "x").unwrap();
            File::open(&folder).unwrap().set_modified(SystemTime::now() - age).unwrap();
            folder
        };
        let old = STALE + Duration::from_secs(60);
        let stale = made("stale", "manifest.json", old);
        let locked = made("locked", "manifest.json", old);
        let kept = [
            locked.clone(),
            made("new", "manifest.json", Duration::ZERO),
            made("foreign", "thesis.txt", old),
        ];
        std::os::unix::fs::symlink(&kept[2], place.path().join(format!("{PREFIX}link"))).unwrap();
        let lock = Folder::open(&locked).unwrap();
        keep(&lock);
        sweep(place.path());
        assert!(!stale.exists());
        kept.iter().for_each(|folder| assert_eq!(fs::read_dir(folder).unwrap().count(), 1));
        drop(lock);
        sweep(place.path());
        assert!(!locked.exists());
    }
}
