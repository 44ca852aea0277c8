use std::sync::{Mutex, PoisonError};

use securecp_layer::{Layer, Scope};
use securecp_oci::{
    Declared, Descriptor, Digest, ImageIdentity, ImageName, ManifestError, RawManifest, Reference,
    Repository, Signature,
};
use securecp_registry::{Client, ManifestName, Registries};

use crate::docker::{failure, reference};
use crate::{Place, Source, SourceTraits, TransportError};

/// An image in a registry, to be read.
pub(crate) struct DockerSource {
    name: String,
    identity: ImageIdentity,
    reference: Reference,
    client: Client,
    root: Mutex<Option<RawManifest>>,
}

impl DockerSource {
    /// Nothing is asked of the registry yet.
    pub(crate) fn open(name: &ImageName, registries: &Registries) -> Result<Self, TransportError> {
        let reference = reference(name)?;
        Ok(Self {
            name: name.to_string(),
            identity: ImageIdentity::docker(&reference),
            client: registries.client(reference.repository())?,
            reference,
            root: Mutex::default(),
        })
    }

    fn read_root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        let name = ManifestName::of(&self.reference).ok_or_else(|| TransportError::Name {
            name: self.name.clone(),
            problem: "expected a tag or digest".to_owned(),
        })?;
        self.client.manifest(name, scope).map_err(failure)
    }

    fn not_as_described(&self, digest: &Digest, source: ManifestError) -> TransportError {
        let subject = format!("{digest} of {}", self.name);
        TransportError::Manifest { subject, source }
    }
}

impl Source for DockerSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn traits(&self) -> SourceTraits {
        SourceTraits { parallel: true }
    }

    fn repository(&self) -> Option<&Repository> {
        Some(self.reference.repository())
    }

    fn root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        let known = || self.root.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().clone() {
            return Ok(found);
        }
        // Read without the lock, which nobody could be called back from; the first to arrive decides for all.
        let read = self.read_root(scope)?;
        Ok(known().get_or_insert(read).clone())
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<RawManifest, TransportError> {
        let name = ManifestName::Digest(&descriptor.digest);
        let found = self.client.manifest(name, scope).map_err(failure)?;
        // Read once more as the parent describes it: its size and media type are promises too.
        let read = RawManifest::read(found.bytes().clone(), Declared::from(descriptor));
        read.map_err(|error| self.not_as_described(&descriptor.digest, error))
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        let download = self.client.blob(descriptor, scope).map_err(failure)?;
        Ok(Layer::verified(descriptor.clone(), download))
    }

    /// Always empty, because nothing is looked up yet: lookaside (registries.d), the signature extension and attached
    /// signatures are not read. A policy that needs a signature therefore refuses images from registries; none is
    /// accepted for want of looking.
    fn signatures(
        &self,
        _: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        scope.check()?;
        Ok(Vec::new())
    }
}
