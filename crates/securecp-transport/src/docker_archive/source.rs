use std::sync::{Arc, Mutex, PoisonError};

use securecp_layer::{Layer, Scope};
use securecp_oci::{
    Attached, Descriptor, Digest, ImageIdentity, ImageName, RawManifest, Repository, Signature,
    Transport,
};

use super::items;
use super::name::{self, Selection};
use super::saved::Saved;
use crate::archive::{Container, Members};
use crate::evidence::NoEvidence;
use crate::files::Files;
use crate::path::Resolved;
use crate::{ListedImage, Place, Source, SourceOptions, TransportError};

/// An image read from what `docker save` wrote.
pub(crate) struct DockerArchiveSource {
    name: String,
    identity: ImageIdentity,
    selection: Selection,
    origin: Box<dyn Members>,
    saved: Mutex<Option<Arc<Saved>>>,
}

impl DockerArchiveSource {
    /// Takes the name; everything is read later.
    pub(crate) fn open(name: &ImageName, options: &SourceOptions) -> Result<Self, TransportError> {
        let (path, selection) = name::parse(name)?;
        // The scope is always empty, but signatures are matched against the tag that was asked for.
        let reference = match &selection {
            Selection::Tagged(reference) => Some(reference.clone()),
            Selection::Only | Selection::Position(_) => None,
        };
        let anonymous = ImageIdentity::anonymous(Transport::DockerArchive);
        let identity = ImageIdentity { reference, ..anonymous };
        let origin = Box::new(container(name, &path, options)?);
        Ok(Self { selection, ..Self::only(name.to_string(), identity, origin) })
    }

    /// The only image of what `origin` gives.
    pub(crate) fn only(name: String, identity: ImageIdentity, origin: Box<dyn Members>) -> Self {
        let (selection, saved) = (Selection::Only, Mutex::new(None));
        Self { name, identity, selection, origin, saved }
    }

    fn saved(&self, scope: &Scope) -> Result<Arc<Saved>, TransportError> {
        scope.check()?;
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(saved) = &*saved {
            return Ok(Arc::clone(saved));
        }
        let index = self.origin.index(scope)?;
        let items = items::read(index.as_ref())?;
        let item = items::select(&items, &self.selection, index.place())?;
        let found = Arc::new(Saved::read(index, item, scope)?);
        *saved = Some(Arc::clone(&found));
        Ok(found)
    }
}

fn container(
    name: &ImageName,
    path: &str,
    options: &SourceOptions,
) -> Result<Arc<Container>, TransportError> {
    let path = Resolved::new(name, path)?;
    Ok(options.shared.archive(path.as_path(), options.tmpdir.as_deref()))
}

/// The images of an archive, in order, with their names as they are stored.
pub(crate) fn list(
    name: &ImageName,
    options: &SourceOptions,
    scope: &Scope,
) -> Result<Vec<ListedImage>, TransportError> {
    let container = container(name, &name::parse(name)?.0, options)?;
    let items = items::read(container.index(scope)?.as_ref())?;
    let listed = |item: items::Item| ListedImage { names: item.repo_tags, manifest: None };
    Ok(items.into_iter().map(listed).collect())
}

impl Source for DockerArchiveSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn repository(&self) -> Option<&Repository> {
        None
    }

    /// The manifest is made from the configuration and the layers found; it is not stored in the archive.
    fn root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        Ok(self.saved(scope)?.manifest.clone())
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<RawManifest, TransportError> {
        scope.check()?;
        Err(TransportError::NotFound {
            subject: format!("manifest {}", descriptor.digest),
            place: self.origin.place(),
        })
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        self.saved(scope)?.blob(descriptor)
    }

    /// The format has no place for signatures, so there are none.
    fn signatures(
        &self,
        _: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        scope.check()?;
        Ok(Vec::new())
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
