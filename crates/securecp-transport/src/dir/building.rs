use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, RenameFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use super::destination::{Present, look};
use super::format::{MANIFEST, VERSION, is_foreign, is_signature};
use crate::TransportError;
use crate::folder::{Folder, io_error};
use crate::staged::STAGING_PREFIX;

/// Where an image is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Beside its place, to be put there by one rename.
    Beside,
    /// In the folder that it is to fill.
    Inside,
}

/// A folder being built. Dropped, it is removed with all that is in it.
#[derive(Debug)]
pub(super) struct Building {
    folder: TempDir,
    way: Way,
}

impl Building {
    pub(super) fn new(path: &Path, way: Way) -> Result<Self, TransportError> {
        let place = match way {
            Way::Beside => path.parent().unwrap_or(path),
            Way::Inside => path,
        };
        let made = tempfile::Builder::new()
            .prefix(STAGING_PREFIX)
            // Less the umask, as for any new folder; its files appear only when they are whole.
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(place);
        let folder = made.map_err(|source| TransportError::Io {
            operation: "creating a folder in",
            path: place.to_owned(),
            source,
        })?;
        Ok(Self { folder, way })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the finished image in its place, against whatever may have come there meanwhile.
    pub(super) fn put_in_place(self, path: &Path) -> Result<(), TransportError> {
        match (look(path)?, self.way) {
            (_, Way::Inside) => settle(&Folder::open(self.path())?, &Folder::open(path)?)?,
            (Present::Nothing, Way::Beside) => rename(self.path(), path)?,
            (Present::EmptyFolder | Present::Image, Way::Beside) => {
                self.take_mode(path)?;
                self.exchange(path)?;
            }
        }
        sync(path.parent().unwrap_or(path));
        self.discard();
        Ok(())
    }

    /// A folder that its owner had closed to others stays closed.
    fn take_mode(&self, path: &Path) -> Result<(), TransportError> {
        let copy = fs::metadata(path)
            .and_then(|metadata| fs::set_permissions(self.path(), metadata.permissions()));
        copy.map_err(|source| TransportError::Io {
            operation: "copying the mode of",
            path: path.to_owned(),
            source,
        })
    }

    fn exchange(&self, path: &Path) -> Result<(), TransportError> {
        let new = self.path();
        let swap = || rustix::fs::renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE);
        match swap() {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.step_aside(path),
            Err(errno) => return Err(io_error("replacing", path, errno)),
        }
        // What came out is removed next, so it must still be nothing but an image.
        look(new).map(|_| ()).map_err(|error| {
            swap().map_or_else(|errno| io_error("putting back", path, errno), |()| error)
        })
    }

    /// For file systems that cannot exchange two names: for a moment there is no image at the place, and a crash in
    /// that moment leaves the old one beside it under a temporary name.
    fn step_aside(&self, path: &Path) -> Result<(), TransportError> {
        let aside = Self::new(path, Way::Beside)?.folder;
        rename(path, aside.path())?;
        rename(self.path(), path).inspect_err(|_| {
            if let Err(error) = rename(aside.path(), path) {
                let kept = aside.keep();
                tracing::error!(%error, kept = %kept.display(), "the old image could not be put back");
            }
        })
    }

    /// The image is in its place; that what it replaced cannot be removed is no failure of the copy.
    fn discard(self) {
        let old: PathBuf = self.path().to_owned();
        if let Err(error) = self.folder.close()
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %old.display(), "the replaced image could not be removed");
        }
    }
}

/// Whether another file system, or another part of one, begins at `path`: no rename can replace it.
pub(super) fn is_mount_point(path: &Path) -> bool {
    let found = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn rename(from: &Path, to: &Path) -> Result<(), TransportError> {
    rustix::fs::rename(from, to).map_err(|errno| io_error("creating", to, errno))
}

/// Moves the files of `new` into `place`. The manifest is what makes it another image, by one rename: blobs and
/// children come before it; then goes what only the old image had, its signatures too; then come the new signatures.
fn settle(new: &Folder, place: &Folder) -> Result<(), TransportError> {
    let names = new.names()?;
    let late = |name: &str| name == MANIFEST || name == VERSION || is_signature(name);
    move_all(new, place, |name| !late(name))?;
    move_all(new, place, |name| name == MANIFEST)?;
    let stale = |name: &str, kind: FileType| {
        let ours = names.contains(name) && !is_signature(name);
        !ours && name != VERSION && !name.starts_with(STAGING_PREFIX) && !is_foreign(name, kind)
    };
    while let Some(name) = place.find_entry(stale)? {
        place.remove_file(&name)?;
    }
    move_all(new, place, |name| name != VERSION)?;
    move_all(new, place, |_| true)?;
    place.sync()
}

fn move_all(
    from: &Folder,
    to: &Folder,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), TransportError> {
    while let Some(name) = from.find_entry(|name, _| wanted(name))? {
        let moved = rustix::fs::renameat(from.fd(), &name, to.fd(), &name);
        moved.map_err(|errno| to.error("creating", &name, errno))?;
    }
    Ok(())
}

/// The rename has happened; that it cannot be made to last is only worth a warning.
fn sync(path: &Path) {
    if let Err(error) = Folder::open(path).and_then(|folder| folder.sync()) {
        tracing::warn!(%error, "the new name may not last over a power cut");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_a_folder_that_no_rename_can_replace() {
        let place = tempfile::tempdir().unwrap();
        let hex = |digit: &str| digit.repeat(64);
        let version = super::super::format::version_text(true);
        let write = |folder: &Path, name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
        };
        let old = [hex("0"), hex("1"), "signature-1".to_owned(), "signature-2".to_owned()];
        old.iter().for_each(|name| write(place.path(), name, "old"));
        write(place.path(), MANIFEST, "old");
        write(place.path(), VERSION, &version);
        let building = Building::new(place.path(), Way::Inside).unwrap();
        for name in [hex("1").as_str(), &hex("2"), "signature-1", MANIFEST] {
            write(building.path(), name, "new");
        }
        write(building.path(), VERSION, &version);
        building.put_in_place(place.path()).unwrap();
        let mut found: Vec<String> = fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, [&hex("1"), &hex("2"), MANIFEST, "signature-1", VERSION]);
        for name in &found[..4] {
            assert_eq!(fs::read_to_string(place.path().join(name)).unwrap(), "new", "{name}");
        }
    }

    #[test]
    fn steps_aside_where_names_cannot_be_exchanged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("image");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("old"), "").unwrap();
        let building = Building::new(&path, Way::Beside).unwrap();
        fs::write(building.path().join("new"), "").unwrap();
        building.step_aside(&path).unwrap();
        assert!(path.join("new").exists() && !path.join("old").exists());
        drop(building);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn knows_mount_points() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(tempfile::tempdir().unwrap().path()));
    }
}
