use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use securecp_layer::{Layer, Prefix, Scope};
use securecp_oci::{
    Attached, Declared, Descriptor, Digest, ImageIdentity, ImageName, ManifestError, RawManifest,
    Reference, Repository, Signature,
};
use securecp_registry::{Beside, Client, ManifestName, Registries};

use crate::docker::attachments::attached;
use crate::docker::{SignatureStorages, failure, kept, reference};
use crate::{Place, Source, SourceOptions, TransportError};

/// An image in a registry, to be read.
pub(crate) struct DockerSource {
    name: String,
    identity: ImageIdentity,
    reference: Reference,
    registries: Registries,
    signatures: Option<SignatureStorages>,
    root: Mutex<Option<Root>>,
    /// What holds the signatures attached to a manifest, as it was read: it is judged and carried, but read once.
    attached: Mutex<HashMap<Digest, RawManifest>>,
}

/// Most bytes of what holds attached signatures that are kept until it is carried; what is larger is read again.
const KEPT_BYTES: u64 = 64 << 10;

/// The manifest that the name stands for, and the place that had it: all else is read there too.
#[derive(Clone)]
struct Root {
    client: Client,
    beside: Arc<Beside>,
    /// What the image is called there.
    place: Reference,
    manifest: RawManifest,
}

impl DockerSource {
    /// Nothing is asked of the registry yet.
    pub(crate) fn open(name: &ImageName, options: &SourceOptions) -> Result<Self, TransportError> {
        let reference = reference(name)?;
        Ok(Self {
            name: name.to_string(),
            identity: ImageIdentity::docker(&reference),
            registries: options.registries.clone(),
            signatures: options.signatures.clone(),
            reference,
            root: Mutex::default(),
            attached: Mutex::default(),
        })
    }

    fn chosen(&self, scope: &Scope) -> Result<Root, TransportError> {
        let known = || locked(&self.root);
        if let Some(found) = known().clone() {
            return Ok(found);
        }
        // Read without the lock, which nobody could be called back from; the first to arrive decides for all.
        let read = self.read_root(scope)?;
        Ok(known().get_or_insert(read).clone())
    }

    fn read_root(&self, scope: &Scope) -> Result<Root, TransportError> {
        let read = self.registries.read(&self.reference, |client, place| {
            // A reference always has a tag or a digest here; a rewritten one keeps it.
            let found = ManifestName::of(place).map(|name| client.manifest(name, scope));
            found.transpose().map(|found| found.map(|manifest| (place.clone(), manifest)))
        });
        match read.map_err(failure)? {
            (client, Some((place, manifest))) => {
                let beside = Arc::new(Beside::new(client.clone()));
                Ok(Root { client, beside, place, manifest })
            }
            (_, None) => Err(TransportError::Name {
                name: self.name.clone(),
                problem: "expected a tag or digest".to_owned(),
            }),
        }
    }

    fn keep(&self, subject: &Digest, holder: Option<&RawManifest>) {
        if let Some(holder) = holder.filter(|holder| holder.size() <= KEPT_BYTES) {
            locked(&self.attached).insert(subject.clone(), holder.clone());
        }
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

    fn repository(&self) -> Option<&Repository> {
        Some(self.reference.repository())
    }

    fn root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        Ok(self.chosen(scope)?.manifest)
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<RawManifest, TransportError> {
        let name = ManifestName::Digest(&descriptor.digest);
        let found = self.chosen(scope)?.client.manifest(name, scope).map_err(failure)?;
        // Read once more as the parent describes it: its size and media type are promises too.
        let read = RawManifest::read(found.bytes().clone(), Declared::from(descriptor));
        read.map_err(|error| self.not_as_described(&descriptor.digest, error))
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        let download = self.chosen(scope)?.client.blob(descriptor, scope).map_err(failure)?;
        Ok(Layer::verified(descriptor.clone(), download))
    }

    fn blob_after(
        &self,
        descriptor: &Descriptor,
        prefix: Prefix,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        let client = self.chosen(scope)?.client;
        let rest = client.blob_after(descriptor, prefix.size_bytes(), scope).map_err(failure)?;
        Ok(rest.map(|rest| Layer::verified_after(descriptor.clone(), prefix, rest)))
    }

    fn blob_size(&self, digest: &Digest, scope: &Scope) -> Result<u64, TransportError> {
        self.chosen(scope)?.client.blob_size(digest, scope).map_err(failure)
    }

    /// The signatures that the registry keeps itself, or else those in the lookaside store, then those attached in the
    /// registry where the configuration says so. Everything by the name of the place that was read, which may be a mirror.
    /// Without a store nothing is looked up there, and a policy that needs a signature refuses the image.
    fn signatures(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        scope.check()?;
        let Some(storages) = &self.signatures else { return Ok(Vec::new()) };
        let Root { client, place, .. } = self.chosen(scope)?;
        let storage = storages.at(&place);
        let mut found = match kept::keeps(&client, scope)? {
            true => kept::signatures(&client, manifest.digest(), scope)?,
            false => storage.signatures(manifest.digest(), scope)?,
        };
        if storage.attachments {
            let known = locked(&self.attached).get(manifest.digest()).cloned();
            let (signatures, holder) = attached(&client, manifest.digest(), known, scope)?;
            found.extend(signatures);
            self.keep(manifest.digest(), holder.as_ref());
        }
        Ok(found)
    }

    fn referrers(
        &self,
        subject: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        let found = self.chosen(scope)?.beside.referrers(subject, scope).map_err(failure)?;
        Ok(found.manifests)
    }

    fn attached(
        &self,
        subject: &Digest,
        what: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        let keeps = what == Attached::Signatures;
        let kept = locked(&self.attached).get(subject).filter(|_| keeps).cloned();
        if kept.is_some() {
            return Ok(kept);
        }
        let found = self.chosen(scope)?.beside.attached(subject, what, scope).map_err(failure)?;
        self.keep(subject, found.as_ref().filter(|_| keeps));
        Ok(found)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
