use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, RenameFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use super::destination::{Present, look};
use super::format::{MANIFEST, VERSION, is_foreign, is_signature};
use super::stale;
use crate::folder::{Folder, io_error};
use crate::staged::{STAGING_PREFIX, temporary_in};
use crate::{SharedPlaces, TransportError};

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
    /// The same, opened; locked for as long as this is.
    open: Folder,
    way: Way,
}

/// Why an image is not, or not wholly, in its place.
#[derive(Debug)]
pub(super) struct Unplaced {
    pub(super) cause: TransportError,
    pub(super) standing: Standing,
}

/// Which image is at the place after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Old,
    New,
    Unclear,
}

impl From<TransportError> for Unplaced {
    fn from(cause: TransportError) -> Self {
        Self { cause, standing: Standing::Old }
    }
}

impl Building {
    pub(super) fn new(
        path: &Path,
        way: Way,
        shared: &SharedPlaces,
    ) -> Result<Self, TransportError> {
        let place = match way {
            Way::Beside => path.parent().unwrap_or(path),
            Way::Inside => path,
        };
        if shared.is_first_in(place) {
            stale::sweep(place);
        }
        let folder = temporary_in(place, stale::PREFIX)?;
        let open = Folder::open(folder.path())?;
        stale::keep(&open);
        Ok(Self { folder, open, way })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.open
    }

    /// Puts the finished image in its place, against whatever may have come there meanwhile.
    pub(super) fn put_in_place(self, path: &Path) -> Result<(), Unplaced> {
        match (look(path)?, self.way) {
            (_, Way::Inside) => settle(&self.open, &Folder::open(path)?)?,
            (Present::Nothing, Way::Beside) => appear(self.path(), path)?,
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

    fn exchange(&self, path: &Path) -> Result<(), Unplaced> {
        let new = self.path();
        let swap = || rustix::fs::renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE);
        match swap() {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.step_aside(path),
            Err(errno) => return Err(io_error("replacing", path, errno).into()),
        }
        // What came out is removed next, so it must still be nothing but an image.
        look(new).map(|_| ()).map_err(|error| match swap() {
            Ok(()) => error.into(),
            Err(errno) => {
                let cause = io_error("putting back", path, errno);
                Unplaced { cause, standing: Standing::New }
            }
        })
    }

    /// For file systems that cannot exchange two names: for a moment there is no image at the place, and a crash in
    /// that moment leaves the old one beside it under a temporary name.
    fn step_aside(&self, path: &Path) -> Result<(), Unplaced> {
        let aside = temporary_in(path.parent().unwrap_or(path), STAGING_PREFIX)?;
        rename(path, aside.path())?;
        rename(self.path(), path).map_err(|cause| match rename(aside.path(), path) {
            Ok(()) => cause.into(),
            Err(error) => {
                let kept = aside.keep();
                tracing::error!(%error, kept = %kept.display(), "the old image could not be put back");
                Unplaced { cause, standing: Standing::Unclear }
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

/// Gives a folder a name that nothing had. A rename of a folder replaces nothing but an empty folder.
fn appear(from: &Path, to: &Path) -> Result<(), TransportError> {
    rustix::fs::rename(from, to).map_err(|errno| match errno {
        Errno::NOTEMPTY | Errno::EXIST => TransportError::Occupied {
            path: to.to_owned(),
            problem:
                "expected nothing there as when this copy began, found a folder that is not empty: \
                      another copy put an image there meanwhile"
                    .to_owned(),
        },
        errno => io_error("creating", to, errno),
    })
}

fn rename(from: &Path, to: &Path) -> Result<(), TransportError> {
    rustix::fs::rename(from, to).map_err(|errno| io_error("creating", to, errno))
}

/// Moves the files of `new` into `place`. The manifest is what makes it another image, by one rename. What it needs comes
/// before it: blobs, children, and its signatures in place of the old ones, so that it is never seen without them (the
/// old image is for a moment, and may stay so after a crash). What only the old image had goes after it.
fn settle(new: &Folder, place: &Folder) -> Result<(), Unplaced> {
    let names = new.names()?;
    let last = |name: &str| name == MANIFEST || name == VERSION;
    let stale = |name: &str, kind: FileType| {
        let ours = names.contains(name) || name == VERSION || name.starts_with(STAGING_PREFIX);
        !ours && !is_foreign(name, kind)
    };
    move_all(new, place, |name| !last(name) && !is_signature(name))?;
    remove_all(place, |name, kind| is_signature(name) && stale(name, kind))?;
    move_all(new, place, is_signature)?;
    move_all(new, place, |name| name == MANIFEST)?;
    let finish = || {
        remove_all(place, stale)?;
        move_all(new, place, |_| true)?;
        place.sync()
    };
    finish().map_err(|cause| Unplaced { cause, standing: Standing::New })
}

fn remove_all(
    place: &Folder,
    unwanted: impl Fn(&str, FileType) -> bool,
) -> Result<(), TransportError> {
    while let Some(name) = place.find_entry(&unwanted)? {
        place.remove_file(&name)?;
    }
    Ok(())
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
        let building = Building::new(place.path(), Way::Inside, &SharedPlaces::default()).unwrap();
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

    /// Puts a new image of one blob and one signature over an old one of two; `spoil` makes that fail.
    fn settled(spoil: &dyn Fn(&Path)) -> (tempfile::TempDir, Result<(), Unplaced>) {
        let place = tempfile::tempdir().unwrap();
        let write = |folder: &Path, name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
        };
        for name in ["signature-1", "signature-2"] {
            write(place.path(), name, "old");
        }
        spoil(place.path());
        let building = Building::new(place.path(), Way::Inside, &SharedPlaces::default()).unwrap();
        for name in [MANIFEST, VERSION, "signature-1"] {
            write(building.path(), name, "new");
        }
        let ended = settle(building.folder(), &Folder::open(place.path()).unwrap());
        drop(building);
        (place, ended)
    }

    #[test]
    fn the_signatures_are_there_before_the_manifest() {
        let (place, ended) = settled(&|place| fs::create_dir(place.join(MANIFEST)).unwrap());
        assert_eq!(ended.unwrap_err().standing, Standing::Old);
        assert_eq!(fs::read_to_string(place.path().join("signature-1")).unwrap(), "new");
        assert!(!place.path().join("signature-2").exists());
    }

    #[test]
    fn what_fails_after_the_manifest_has_moved_it() {
        let (place, ended) = settled(&|place| fs::create_dir(place.join(VERSION)).unwrap());
        assert_eq!(ended.unwrap_err().standing, Standing::New);
        assert_eq!(fs::read_to_string(place.path().join(MANIFEST)).unwrap(), "new");
    }

    #[test]
    fn steps_aside_where_names_cannot_be_exchanged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("image");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("old"), "").unwrap();
        let building = Building::new(&path, Way::Beside, &SharedPlaces::default()).unwrap();
        fs::write(building.path().join("new"), "").unwrap();
        building.step_aside(&path).unwrap();
        assert!(path.join("new").exists() && !path.join("old").exists());
        drop(building);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_slower_of_two_copies_says_that_there_was_another() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("new"), place.path().join("image"));
        [&from, &to].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        fs::write(to.join(MANIFEST), "theirs").unwrap();
        let error = appear(&from, &to).unwrap_err();
        assert!(error.to_string().contains("another copy put an image there"), "{error}");
        assert_eq!(fs::read_to_string(to.join(MANIFEST)).unwrap(), "theirs");
        fs::remove_file(to.join(MANIFEST)).unwrap();
        appear(&from, &to).unwrap();
    }

    #[test]
    fn knows_mount_points() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(tempfile::tempdir().unwrap().path()));
    }
}
