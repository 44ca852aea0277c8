use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use securecp_layer::Scope;
use securecp_oci::{Algorithm, Descriptor, Digest, ImageName, RawManifest, Reference, Tag};

use super::building::{Building, Way, is_mount_point};
use super::format;
use super::writing::DirWriting;
use crate::folder::{Folder, check_writable};
use crate::path::Resolved;
use crate::staged::STAGING_PREFIX;
use crate::{
    Accepts, Destination, DestinationOptions, SharedPlaces, TransportError, Writing, files,
};

/// A `dir:` folder to be written: built beside its final place and put there by one rename. Where that cannot be (a
/// mount point, a parent that we may not write), it is built inside and replaces the old files one by one: its blobs and
/// signatures, then the manifest.
///
/// Nothing of an image that is there already is reused: the new folder starts empty.
#[derive(Debug)]
pub(crate) struct DirDestination {
    name: String,
    path: Resolved,
    shared: SharedPlaces,
}

/// What stands at the place of a destination.
pub(super) enum Present {
    Nothing,
    EmptyFolder,
    Image,
}

impl DirDestination {
    /// Takes the name; the place is looked at later.
    pub(crate) fn new(
        name: &ImageName,
        options: &DestinationOptions,
    ) -> Result<Self, TransportError> {
        let resolve = if options.makes_parents { Resolved::to_be_made } else { Resolved::new };
        let (path, shared) = (resolve(name, &name.rest)?, options.shared.clone());
        Ok(Self { name: name.to_string(), path, shared })
    }

    pub(super) fn path(&self) -> &Path {
        self.path.as_path()
    }

    /// Only where folders above may be missing is there something to make.
    fn make_parent(&self) -> Result<(), TransportError> {
        let parent = self.path.parent();
        let made = fs::create_dir_all(parent);
        made.map_err(|source| TransportError::Io {
            operation: "creating",
            path: parent.to_owned(),
            source,
        })
    }

    fn way(&self) -> Result<Way, TransportError> {
        let (path, parent) = (self.path.as_path(), self.path.parent());
        match look(path)? {
            Present::Nothing => check_writable(self.path.existing_parent()).map(|()| Way::Beside),
            _ if !is_mount_point(path) && check_writable(parent).is_ok() => Ok(Way::Beside),
            _ => check_writable(path).map(|()| Way::Inside),
        }
    }
}

impl Destination for DirDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reference(&self) -> Option<&Reference> {
        None
    }

    fn storage(&self) -> Option<String> {
        Some(format!("dir {}", self.path.as_path().display()))
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            manifests: &[],
            indexes: true,
            only_images: false,
            simple_signatures: true,
            sigstore_signatures: true,
            evidence: false,
            keeps_urls: false,
        }
    }

    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        self.way().map(|_| ())
    }

    fn has_blob(&self, _: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        Ok(false)
    }

    fn has_manifest(&self, _: &RawManifest, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        Ok(false)
    }

    fn current(&self, tag: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError> {
        scope.check()?;
        if tag.is_some() || !matches!(look(self.path.as_path())?, Present::Image) {
            return Ok(None);
        }
        let folder = Folder::open(self.path.as_path())?;
        let bytes = files::read(&folder, format::MANIFEST, securecp_oci::MANIFEST_LIMIT)?;
        Ok(bytes.map(|bytes| Digest::of(Algorithm::Sha256, &bytes)))
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.check(scope)?;
        self.make_parent()?;
        let building = Building::new(self.path.as_path(), self.way()?, &self.shared)?;
        Ok(Box::new(DirWriting::new(self, building)))
    }
}

/// What is at `path`; anything else than an image of this format or an empty folder is refused.
pub(super) fn look(path: &Path) -> Result<Present, TransportError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Present::Nothing),
        Err(source) => {
            return Err(TransportError::Io { operation: "examining", path: path.into(), source });
        }
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(refused(path, "it is not a folder")),
    }
    let folder = Folder::open(path)?;
    if let Some(entry) = folder.find_entry(format::is_foreign)? {
        let entry = securecp_oci::Escaped::new(&entry).limit(100).to_string();
        return Err(refused(path, &format!("it holds {entry:?}")));
    }
    if format::check_version(&folder)? {
        return Ok(Present::Image);
    }
    match folder.find_entry(|name, _| !name.starts_with(STAGING_PREFIX))? {
        Some(_) => Err(refused(path, "it holds files but no version file")),
        None => Ok(Present::EmptyFolder),
    }
}

fn refused(path: &Path, found: &str) -> TransportError {
    TransportError::Occupied {
        path: path.to_owned(),
        problem: format!(
            "not a containers image directory: {found}; expected nothing, an empty folder or an \
             image written by dir:"
        ),
    }
}
