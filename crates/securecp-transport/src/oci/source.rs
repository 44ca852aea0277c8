use std::path::Path;
use std::sync::{Arc, OnceLock};

use securecp_layer::{Layer, Prefix, Scope};
use securecp_oci::{
    Attached, Descriptor, Digest, ImageIdentity, ImageName, MANIFEST_LIMIT, RawManifest,
    Repository, Signature,
};

use super::beside::Beside;
use super::layout::{BLOBS, blob_name, check_layout};
use super::{LayoutIndex, LayoutName, Selection};
use crate::docker_archive;
use crate::files::{self, Files};
use crate::folder::Folder;
use crate::path::Resolved;
use crate::shared::SharedEvidence;
use crate::{BlobFile, Place, SharedPlaces, Source, SourceOptions, TransportError};

/// An image read from an OCI layout, in a folder or an archive.
pub(crate) struct OciSource {
    name: String,
    identity: ImageIdentity,
    selection: Selection,
    layout: Arc<dyn Files>,
    /// Where `ALG/HEX` is, when it is not below the layout's own `blobs`.
    shared_blobs: Option<Arc<Folder>>,
    /// Shared as well, and the same for the image and its evidence.
    index: OnceLock<Arc<LayoutIndex>>,
    root: OnceLock<RawManifest>,
    /// Shared with the other images of the layout.
    beside: OnceLock<Arc<SharedEvidence>>,
    shared: SharedPlaces,
}

impl OciSource {
    /// Opens the layout in a folder; the image is read later.
    pub(crate) fn open(name: &ImageName, options: &SourceOptions) -> Result<Self, TransportError> {
        let LayoutName { path, selection } = LayoutName::parse(name)?;
        let path = Resolved::new(name, &path)?;
        let shared_blobs = options.shared_blob_dir.as_deref();
        let shared_blobs = shared_blobs.map(|blobs| shared_folder(blobs, &options.shared));
        let shared_blobs = shared_blobs.transpose()?;
        let layout = path.shared_folder(name, &options.shared)?;
        let shared = options.shared.clone();
        Ok(Self { shared_blobs, shared, ..Self::new(name, selection, &path, layout) })
    }

    /// Takes the layout in an archive; everything is read later.
    pub(crate) fn open_archive(
        name: &ImageName,
        options: &SourceOptions,
    ) -> Result<Self, TransportError> {
        let LayoutName { path, selection } = LayoutName::parse(name)?;
        let path = Resolved::new(name, &path)?;
        let layout = options.shared.archive(path.as_path(), options.tmpdir.as_deref());
        let shared = options.shared.clone();
        Ok(Self { shared, ..Self::new(name, selection, &path, layout) })
    }

    fn new(
        name: &ImageName,
        selection: Selection,
        path: &Resolved,
        layout: Arc<dyn Files>,
    ) -> Self {
        Self {
            name: name.to_string(),
            identity: path.identity(name.transport),
            selection,
            layout,
            shared_blobs: None,
            index: OnceLock::new(),
            root: OnceLock::new(),
            beside: OnceLock::new(),
            shared: SharedPlaces::default(),
        }
    }

    fn blobs(&self, digest: &securecp_oci::Digest) -> (&dyn Files, String) {
        match &self.shared_blobs {
            Some(folder) => (folder.as_ref(), blob_name(digest)),
            None => (self.layout.as_ref(), format!("{BLOBS}/{}", blob_name(digest))),
        }
    }

    fn read_manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, TransportError> {
        let (files, name) = self.blobs(&descriptor.digest);
        files::read_manifest(files, &name, descriptor.into())
    }

    fn index(&self) -> Result<&Arc<LayoutIndex>, TransportError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let layout = self.layout.as_ref();
        let index = checked(layout, LayoutIndex::read_shared(layout, &self.shared)?)?;
        Ok(self.index.get_or_init(|| index))
    }

    fn read_root(&self) -> Result<RawManifest, TransportError> {
        let layout = self.layout.as_ref();
        let index = self.index()?;
        let entry = index.select(&self.selection, layout, &|entry| self.read_manifest(entry))?;
        let kind = entry.media_type.manifest_kind();
        if kind.is_none() && !entry.media_type.as_str().is_empty() {
            return Err(TransportError::Place {
                path: layout.place().to_owned(),
                problem: format!(
                    "{} has media type {}, which is no manifest's",
                    entry.digest, entry.media_type
                ),
            });
        }
        self.read_manifest(entry)
    }

    fn beside(&self, scope: &Scope) -> Result<&Beside, TransportError> {
        self.layout.prepare(scope)?;
        let shared = match self.beside.get() {
            Some(shared) => shared,
            None => {
                let index = Arc::clone(self.index()?);
                let blobs = self.shared_blobs.as_deref().map(Folder::path);
                let shared = self.shared.evidence(self.layout.place(), index, blobs);
                self.beside.get_or_init(|| shared)
            }
        };
        shared.or_look(|index| {
            Beside::read(index, |entry| {
                scope.check()?;
                self.read_manifest(entry).map(Some)
            })
        })
    }
}

fn shared_folder(path: &Path, shared: &SharedPlaces) -> Result<Arc<Folder>, TransportError> {
    match shared.folder(path)? {
        Some(folder) => Ok(folder),
        None => Folder::open(path).map(Arc::new),
    }
}

/// The index of a layout whose version is known.
pub(super) fn read_layout(files: &dyn Files) -> Result<LayoutIndex, TransportError> {
    checked(files, LayoutIndex::read(files)?)
}

/// `index`, if it is that of a layout whose version is known.
fn checked<I>(files: &dyn Files, index: Option<I>) -> Result<I, TransportError> {
    match (check_layout(files)?, index) {
        (true, Some(index)) => Ok(index),
        (true, None) => Err(files::not_found(files, "index.json")),
        (false, None) => Err(no_layout(files)?),
        (false, Some(_)) => Err(TransportError::Place {
            path: files.place().to_owned(),
            problem: "expected an OCI image layout, found no oci-layout file".to_owned(),
        }),
    }
}

/// Something else may be there.
fn no_layout(files: &dyn Files) -> Result<TransportError, TransportError> {
    let manifest = files::read(files, docker_archive::MANIFEST, MANIFEST_LIMIT)?;
    let (true, Some(_)) = (files.place().is_file(), manifest) else {
        return Ok(files::not_found(files, "OCI image layout"));
    };
    Ok(TransportError::Place {
        path: files.place().to_owned(),
        problem: "expected an OCI image layout, found an archive of docker save, which docker-archive: reads"
            .to_owned(),
    })
}

impl std::fmt::Debug for OciSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OciSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source for OciSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn repository(&self) -> Option<&Repository> {
        None
    }

    fn root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        self.layout.prepare(scope)?;
        if let Some(root) = self.root.get() {
            return Ok(root.clone());
        }
        let root = self.read_root()?;
        Ok(self.root.get_or_init(|| root).clone())
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<RawManifest, TransportError> {
        self.layout.prepare(scope)?;
        self.read_manifest(descriptor)
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        self.layout.prepare(scope)?;
        let (files, name) = self.blobs(&descriptor.digest);
        files::open_blob(files, &name, descriptor, scope)
    }

    fn blob_after(
        &self,
        descriptor: &Descriptor,
        prefix: Prefix,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        self.layout.prepare(scope)?;
        let (files, name) = self.blobs(&descriptor.digest);
        files::open_blob_after(files, &name, descriptor, prefix)
    }

    fn blob_file(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<BlobFile>, TransportError> {
        self.layout.prepare(scope)?;
        let (files, name) = self.blobs(&descriptor.digest);
        Ok(files.open_file(&name)?.map(BlobFile::new))
    }

    /// A layout has no place for signatures, so there are none.
    fn signatures(
        &self,
        _: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        scope.check()?;
        Ok(Vec::new())
    }

    fn referrers(
        &self,
        subject: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        self.beside(scope)?.referrers(subject, &|entry| self.read_manifest(entry))
    }

    fn attached(
        &self,
        subject: &Digest,
        what: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        self.beside(scope)?.attached(subject, what, &|entry| self.read_manifest(entry))
    }
}
