use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use securecp_oci::Digest;

use crate::TransportError;
use crate::archive::Container;
use crate::folder::Folder;
use crate::oci::{Beside, LayoutIndex};

/// What several images are read from, opened once for all of them: folders of layouts, and archives, which may have to be
/// unpacked. Clones share it. What nobody uses any longer is closed, and what was exchanged meanwhile is opened anew.
#[derive(Debug, Clone, Default)]
pub struct SharedPlaces {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    folders: HashMap<PathBuf, Weak<Folder>>,
    archives: HashMap<PathBuf, (State, Weak<Container>)>,
    indexes: HashMap<PathBuf, Weak<LayoutIndex>>,
    evidence: HashMap<Listing, Weak<SharedEvidence>>,
    swept: HashSet<PathBuf>,
}

/// The evidence in one layout, looked for by the first who asks while the others wait for it.
#[derive(Debug)]
pub(crate) struct SharedEvidence {
    index: Arc<LayoutIndex>,
    found: OnceLock<Beside>,
    looking: Mutex<()>,
}

impl SharedEvidence {
    /// What was found, or what `look` finds. A failure is nobody else's.
    pub(crate) fn or_look(
        &self,
        look: impl FnOnce(&LayoutIndex) -> Result<Beside, TransportError>,
    ) -> Result<&Beside, TransportError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let _alone = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        match self.found.get() {
            Some(found) => Ok(found),
            None => look(&self.index).map(|found| self.found.get_or_init(|| found)),
        }
    }
}

/// Where evidence was looked for: by which `index.json` of which layout, with the manifests in which folder.
type Listing = (PathBuf, Digest, Option<PathBuf>);

/// What an archive was when it was opened: another file, or the same with other bytes, differs in some of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    temporary: Option<PathBuf>,
}

impl SharedPlaces {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder at `path`, or `None` if nothing is there.
    pub(crate) fn folder(&self, path: &Path) -> Result<Option<Arc<Folder>>, TransportError> {
        let mut open = self.open();
        let shared = open.folders.get(path).and_then(Weak::upgrade);
        if let Some(folder) = shared.filter(|folder| folder.is_still_at(path)) {
            return Ok(Some(folder));
        }
        let Some(folder) = Folder::open_if_there(path)?.map(Arc::new) else { return Ok(None) };
        open.folders.retain(|_, folder| folder.strong_count() > 0);
        open.folders.insert(path.to_owned(), Arc::downgrade(&folder));
        Ok(Some(folder))
    }

    /// The archive at `path`, which need not be there. A pipe is shared with nobody.
    pub(crate) fn archive(&self, path: &Path, temporary: Option<&Path>) -> Arc<Container> {
        let made = || Arc::new(Container::new(path, temporary));
        let Ok(found) = fs::metadata(path) else { return made() };
        if !found.is_file() {
            return made();
        }
        let state = State::of(&found, temporary);
        let mut open = self.open();
        let shared = open.archives.get(path).filter(|(seen, _)| *seen == state);
        if let Some(container) = shared.and_then(|(_, container)| container.upgrade()) {
            return container;
        }
        let container = made();
        open.archives.retain(|_, (_, container)| container.strong_count() > 0);
        open.archives.insert(path.to_owned(), (state, Arc::downgrade(&container)));
        container
    }

    /// The index of the layout at `place` that has these bytes, read by `parse` unless it was before.
    pub(crate) fn index(
        &self,
        place: &Path,
        bytes: Bytes,
        parse: impl FnOnce(Bytes, &Path) -> Result<LayoutIndex, TransportError>,
    ) -> Result<Arc<LayoutIndex>, TransportError> {
        let known = self.open().indexes.get(place).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| *known.bytes() == bytes) {
            return Ok(known);
        }
        let index = Arc::new(parse(bytes, place)?);
        let mut open = self.open();
        open.indexes.retain(|_, index| index.strong_count() > 0);
        open.indexes.insert(place.to_owned(), Arc::downgrade(&index));
        Ok(index)
    }

    /// The evidence in a layout, which everybody who reads the same one fills in or finds.
    pub(crate) fn evidence(
        &self,
        layout: &Path,
        index: Arc<LayoutIndex>,
        blobs: Option<&Path>,
    ) -> Arc<SharedEvidence> {
        let listing = (layout.to_owned(), index.digest().clone(), blobs.map(Path::to_owned));
        let mut open = self.open();
        if let Some(found) = open.evidence.get(&listing).and_then(Weak::upgrade) {
            return found;
        }
        let (found, looking) = (OnceLock::new(), Mutex::default());
        let new = Arc::new(SharedEvidence { index, found, looking });
        open.evidence.retain(|_, evidence| evidence.strong_count() > 0);
        open.evidence.insert(listing, Arc::downgrade(&new));
        new
    }

    /// Whether nobody has asked so about `folder` before.
    pub(crate) fn is_first_in(&self, folder: &Path) -> bool {
        self.open().swept.insert(folder.to_owned())
    }
}

impl State {
    fn of(found: &Metadata, temporary: Option<&Path>) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            temporary: temporary.map(Path::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_opened_once_until_it_is_exchanged() {
        let place = tempfile::tempdir().unwrap();
        let (path, shared) = (place.path().join("layout"), SharedPlaces::default());
        assert!(shared.folder(&path).unwrap().is_none());
        fs::create_dir(&path).unwrap();
        let first = shared.folder(&path).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &shared.clone().folder(&path).unwrap().unwrap()));
        fs::rename(&path, place.path().join("old")).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!Arc::ptr_eq(&first, &shared.folder(&path).unwrap().unwrap()));
        drop(first);
        assert_eq!(shared.open().folders.values().filter_map(Weak::upgrade).count(), 0);
    }

    #[test]
    fn an_archive_is_opened_once_until_it_changes() {
        let place = tempfile::tempdir().unwrap();
        let (path, shared) = (place.path().join("x.tar"), SharedPlaces::default());
        let (one, other) = (shared.archive(&path, None), shared.archive(&path, None));
        assert!(!Arc::ptr_eq(&one, &other), "what is not there is not shared");
        fs::write(&path, "one").unwrap();
        let first = shared.archive(&path, None);
        assert!(Arc::ptr_eq(&first, &shared.archive(&path, None)));
        assert!(!Arc::ptr_eq(&first, &shared.archive(&path, Some(place.path()))));
        let first = shared.archive(&path, None);
        fs::write(&path, "more").unwrap();
        assert!(!Arc::ptr_eq(&first, &shared.archive(&path, None)));
    }
}
