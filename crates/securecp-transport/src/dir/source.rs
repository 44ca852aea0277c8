use std::sync::OnceLock;

use securecp_layer::{Layer, Prefix, Scope};
use securecp_oci::{
    Attached, Declared, Descriptor, Digest, ImageIdentity, ImageName, RawManifest, Repository,
    SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT, Signature, Transport,
};

use super::format::{MANIFEST, blob_name, check_version, manifest_name, signature_name};
use crate::evidence::NoEvidence;
use crate::files::Files as _;
use crate::folder::Folder;
use crate::path::Resolved;
use crate::{BlobFile, Place, Source, TransportError, files};

/// An image read from a `dir:` folder.
#[derive(Debug)]
pub(crate) struct DirSource {
    name: String,
    identity: ImageIdentity,
    folder: Folder,
    root: OnceLock<RawManifest>,
}

impl DirSource {
    /// Opens the folder; the image in it is read later.
    pub(crate) fn open(name: &ImageName) -> Result<Self, TransportError> {
        let path = Resolved::new(name, &name.rest)?;
        Ok(Self {
            name: name.to_string(),
            identity: path.identity(Transport::Dir),
            folder: path.folder(name)?,
            root: OnceLock::new(),
        })
    }
}

impl Source for DirSource {
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
        scope.check()?;
        if let Some(root) = self.root.get() {
            return Ok(root.clone());
        }
        check_version(&self.folder)?;
        let root = files::read_manifest(&self.folder, MANIFEST, Declared::default())?;
        Ok(self.root.get_or_init(|| root).clone())
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<RawManifest, TransportError> {
        scope.check()?;
        let name = manifest_name(&descriptor.digest, Place::Child);
        files::read_manifest(&self.folder, &name, descriptor.into())
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        files::open_blob(&self.folder, &blob_name(&descriptor.digest), descriptor, scope)
    }

    fn blob_after(
        &self,
        descriptor: &Descriptor,
        prefix: Prefix,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        scope.check()?;
        files::open_blob_after(&self.folder, &blob_name(&descriptor.digest), descriptor, prefix)
    }

    fn blob_file(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<BlobFile>, TransportError> {
        scope.check()?;
        Ok(self.folder.open_file(&blob_name(&descriptor.digest))?.map(BlobFile::new))
    }

    fn blob_size(&self, digest: &Digest, scope: &Scope) -> Result<u64, TransportError> {
        scope.check()?;
        let name = blob_name(digest);
        let opened = self.folder.open(&name)?;
        Ok(opened.ok_or_else(|| files::not_found(&self.folder, &name))?.size)
    }

    fn signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        let mut found = Vec::new();
        loop {
            scope.check()?;
            let name = signature_name(manifest, place, found.len() + 1);
            let Some(blob) = files::read(&self.folder, &name, SIGNATURE_LIMIT)? else {
                return Ok(found);
            };
            let path = self.folder.path().join(name);
            if found.len() == SIGNATURE_COUNT_LIMIT {
                let problem =
                    format!("expected at most {SIGNATURE_COUNT_LIMIT} signatures, found more");
                return Err(TransportError::Place { path, problem });
            }
            found.push(
                Signature::parse(blob)
                    .map_err(|source| TransportError::Signature { path, source })?,
            );
        }
    }

    fn referrers(&self, _: &Digest, scope: &Scope) -> Result<Vec<Descriptor>, TransportError> {
        NoEvidence::referrers(scope)
    }

    fn attached(
        &self,
        _: &Digest,
        _: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        NoEvidence::attached(scope)
    }
}
