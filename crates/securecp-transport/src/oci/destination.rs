use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use securecp_layer::{Layer, LayerError, Scope};
use securecp_oci::{
    Attached, Descriptor, Digest, ImageName, ManifestKind, RawManifest, Reference, Tag, Union,
};

use super::LayoutIndex;
use super::LayoutName;
use super::beside::Beside;
use super::kept::Kept;
use super::layout::{BLOBS, OCI_LAYOUT, blob_name, check_layout};
use super::lock::Lock;
use super::writing::{Building, OciWriting};
use crate::files;
use crate::folder::{Folder, check_writable, holds};
use crate::path::Resolved;
use crate::staged::{STAGING_PREFIX, temporary_in};
use crate::{Accepts, Destination, DestinationOptions, SharedPlaces, TransportError, Writing};

/// An OCI layout to be written or extended.
///
/// Blobs go straight into a layout that is there already: nothing refers to them until `index.json` does. A layout
/// that is not there yet is built beside its place and appears with one rename.
#[derive(Debug)]
pub(crate) struct OciDestination {
    pub(super) name: String,
    pub(super) path: Resolved,
    pub(super) image: Option<String>,
    pub(super) shared_blobs: Option<PathBuf>,
    /// What arrives is kept for the next run if this one is interrupted.
    pub(super) partial: bool,
    /// Keeps blobs that were found there from being deleted before the image that needs them is entered.
    held: Mutex<Option<Lock>>,
    /// The index that was there when somebody last looked at it, kept for the next who asks.
    index: Mutex<Option<Arc<LayoutIndex>>>,
    shared: SharedPlaces,
}

/// What stands at the place of a destination.
pub(super) enum Present {
    Nothing,
    /// A folder without anything but, perhaps, blobs: no image is lost if one is put there.
    Unused,
    Layout(Folder),
}

impl OciDestination {
    /// Takes the name; the place is looked at later.
    pub(crate) fn new(
        name: &ImageName,
        options: &DestinationOptions,
    ) -> Result<Self, TransportError> {
        let (path, image) = LayoutName::parse_destination(name)?;
        Ok(Self {
            name: name.to_string(),
            path: Resolved::new(name, &path)?,
            image,
            shared_blobs: options.shared_blob_dir.clone(),
            partial: options.partial,
            held: Mutex::new(None),
            index: Mutex::new(None),
            shared: options.shared.clone(),
        })
    }

    /// Looks at the place and refuses what is neither a layout nor an empty folder.
    pub(super) fn present(&self) -> Result<Present, TransportError> {
        let path = self.path.as_path();
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Present::Nothing),
            Err(source) => {
                return Err(TransportError::Io {
                    operation: "examining",
                    path: path.into(),
                    source,
                });
            }
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(refused(path, "it is not a folder")),
        }
        let folder = Folder::open(path)?;
        if check_layout(&folder)? {
            return Ok(Present::Layout(folder));
        }
        let odd = |name: &str, _| name != BLOBS && !name.starts_with(STAGING_PREFIX);
        match folder.find_entry(odd)? {
            None => Ok(Present::Unused),
            Some(entry) => {
                let entry = securecp_oci::Escaped::new(&entry).limit(100).to_string();
                Err(refused(path, &format!("it holds {entry:?} but no {OCI_LAYOUT} file")))
            }
        }
    }

    /// The folder in which a blob's `ALG/HEX` would be now.
    fn blobs(&self) -> Result<Option<Folder>, TransportError> {
        if let Some(shared) = &self.shared_blobs {
            return Folder::open_if_there(shared);
        }
        match self.present()? {
            Present::Layout(layout) => Folder::open_if_there(&layout.path().join(BLOBS)),
            Present::Nothing | Present::Unused => Ok(None),
        }
    }

    /// The index that is there now.
    fn index(&self, layout: &Folder) -> Result<Option<Arc<LayoutIndex>>, TransportError> {
        let index = LayoutIndex::read_shared(layout, &self.shared)?;
        self.index.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&index);
        Ok(index)
    }

    fn manifest_of(&self, entry: &Descriptor) -> Result<RawManifest, TransportError> {
        let name = blob_name(&entry.digest);
        match self.blobs()? {
            Some(blobs) => files::read_manifest(&blobs, &name, entry.into()),
            None => Err(TransportError::NotFound { subject: name, place: self.name.clone() }),
        }
    }

    /// The evidence that is there. What cannot be read is put again, and counts as none.
    fn beside(&self, scope: &Scope) -> Result<Beside, TransportError> {
        scope.check()?;
        let Present::Layout(layout) = self.present()? else { return Ok(Beside::default()) };
        let Some(index) = self.index(&layout)? else { return Ok(Beside::default()) };
        Beside::read(&index, |entry| Ok(self.manifest_of(entry).ok()))
    }

    /// Whether a manifest and its blobs are there.
    fn is_whole(&self, entry: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        let Ok(manifest) = self.manifest_of(entry) else { return Ok(false) };
        let image = manifest.image();
        let mut blobs = image.iter().flat_map(|i| std::iter::once(&i.config).chain(&i.layers));
        blobs.try_fold(true, |all, blob| Ok(all && self.has_blob(blob, scope)?))
    }

    pub(super) fn hold(&self, blobs: &Folder, scope: &Scope) -> Result<(), TransportError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(Lock::shared(blobs, scope)?);
        }
        Ok(())
    }

    fn building(&self) -> Result<Building, TransportError> {
        match self.present()? {
            Present::Layout(layout) => Ok(Building::InPlace(layout)),
            Present::Unused => self.aside(self.path.as_path()),
            Present::Nothing => self.aside(self.path.parent()),
        }
    }

    pub(super) fn aside(&self, place: &Path) -> Result<Building, TransportError> {
        let kept = self.partial.then(|| Kept::take(place, self.path.as_path())).flatten();
        kept.map_or_else(
            || temporary_in(place, STAGING_PREFIX).map(Building::Aside),
            |kept| Ok(Building::Kept(kept)),
        )
    }
}

/// Reads a blob to its end; `false` if its bytes are not what its descriptor says.
fn is_whole(mut blob: Layer<'_>, scope: &Scope) -> Result<bool, TransportError> {
    let found = loop {
        scope.check()?;
        match blob.next() {
            Ok(Some(_)) => {}
            Ok(None) => break blob.finish().map(drop),
            Err(error) => break Err(error),
        }
    };
    match found {
        Ok(()) => Ok(true),
        Err(
            error @ (LayerError::Short { .. }
            | LayerError::Long { .. }
            | LayerError::Altered { .. }),
        ) => {
            tracing::warn!(%error, "a blob in the layout is damaged and is written anew");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a folder can be written, or made together with those that it is to be in.
fn check_makable(path: &Path) -> Result<(), TransportError> {
    let is_there = |folder: &&Path| fs::symlink_metadata(folder).is_ok();
    let above = path.ancestors().map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    let folder = above.into_iter().find(is_there).unwrap_or(path);
    check_writable(folder)?;
    Folder::open(folder).map(|_| ())
}

/// A folder, made where it is missing as the reference does.
fn made(path: &Path) -> Result<Folder, TransportError> {
    fs::create_dir_all(path).map_err(|source| TransportError::Io {
        operation: "creating",
        path: path.to_owned(),
        source,
    })?;
    Folder::open(path)
}

fn refused(path: &Path, found: &str) -> TransportError {
    TransportError::Occupied {
        path: path.to_owned(),
        problem: format!(
            "not an OCI image layout: {found}; expected nothing, an empty folder or a layout"
        ),
    }
}

impl Destination for OciDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reference(&self) -> Option<&Reference> {
        None
    }

    fn storage(&self) -> Option<String> {
        Some(format!("oci {} {:?}", self.path.as_path().display(), self.shared_blobs))
    }

    fn entry(&self) -> Option<&str> {
        self.image.as_deref()
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            manifests: &[ManifestKind::OciManifest, ManifestKind::OciIndex],
            indexes: true,
            only_images: false,
            simple_signatures: false,
            sigstore_signatures: false,
            evidence: true,
            keeps_urls: true,
        }
    }

    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        if let Some(shared) = &self.shared_blobs {
            check_makable(shared)?;
        }
        match self.present()? {
            Present::Nothing => check_writable(self.path.parent()),
            Present::Unused => check_writable(self.path.as_path()),
            Present::Layout(layout) => {
                // An index that cannot be extended is known before the blobs are sent.
                self.index(&layout)?;
                check_writable(layout.path())
            }
        }
    }

    /// A blob counts as there when the file with its name was read and is what the name says: one that was damaged
    /// since it was written is put anew.
    fn has_blob(&self, descriptor: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        let Some(blobs) = self.blobs()? else { return Ok(false) };
        self.hold(&blobs, scope)?;
        let name = blob_name(&descriptor.digest);
        if blobs.size_of(&name)? != Some(descriptor.size) {
            return Ok(false);
        }
        is_whole(files::open_blob(&blobs, &name, descriptor, scope)?, scope)
    }

    fn read_blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        let Some(blobs) = self.blobs()? else { return Ok(None) };
        files::open_blob(&blobs, &blob_name(&descriptor.digest), descriptor, scope).map(Some)
    }

    fn has_manifest(&self, manifest: &RawManifest, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        let Some(blobs) = self.blobs()? else { return Ok(false) };
        self.hold(&blobs, scope)?;
        holds(&blobs, &blob_name(manifest.digest()), manifest.bytes())
    }

    fn current(&self, tag: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError> {
        scope.check()?;
        let Present::Layout(layout) = self.present()? else { return Ok(None) };
        let Some(index) = self.index(&layout)? else { return Ok(None) };
        let name = tag.map(Tag::as_str).or(self.image.as_deref());
        Ok(index.standing(name, &layout, &|entry| self.manifest_of(entry)))
    }

    fn referrers(
        &self,
        subject: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        self.beside(scope)?.referrers(subject, &|entry| self.manifest_of(entry))
    }

    fn read_manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        scope.check()?;
        match self.manifest_of(descriptor) {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    fn has_referrers(
        &self,
        subject: &Digest,
        wanted: &[Descriptor],
        scope: &Scope,
    ) -> Result<Vec<bool>, TransportError> {
        let beside = self.beside(scope)?;
        let listed = beside.referrers(subject, &|entry| self.manifest_of(entry))?;
        let there = |entry: &Descriptor| {
            let listed = listed.iter().any(|other| other.digest == entry.digest);
            Ok(listed && self.is_whole(entry, scope)?)
        };
        wanted.iter().map(there).collect()
    }

    fn has_attached(
        &self,
        (subject, what): (&Digest, Attached),
        manifest: &RawManifest,
        scope: &Scope,
    ) -> Result<bool, TransportError> {
        let there = self.beside(scope)?.attached(subject, what, &|e| self.manifest_of(e))?;
        let Some(there) = there else { return Ok(false) };
        let union = Union::of(&there, manifest).map_err(|source| TransportError::Manifest {
            subject: format!("attached to {subject} ({})", what.suffix()),
            source,
        })?;
        Ok(matches!(union, Union::Contained))
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.check(scope)?;
        let building = self.building()?;
        let layout = Folder::open(building.path())?;
        let own_blobs = layout.make(BLOBS)?;
        let blobs = match &self.shared_blobs {
            Some(shared) => made(shared)?,
            None => own_blobs,
        };
        self.hold(&blobs, scope)?;
        Ok(Box::new(OciWriting::new(self, building, blobs, scope)))
    }
}
