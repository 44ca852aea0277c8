use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use securecp_layer::{Compression, FoundDiffId, Layer, LayerError, Recompress, Scope, Stage};
use securecp_oci::{
    CONFIG_LIMIT, Descriptor, Digest, Image, ImageName, LayerType, ManifestKind, MediaType,
    RawManifest, Reference, Signature, Tag,
};

use super::package::Package;
use super::{legacy, name, saved};
use crate::archive::{Output, Pool, Present, Sink, Slot, Turn, WriteMembers};
use crate::staged::check_promise;
use crate::{
    Accepts, BlobPut, CommitError, Destination, DestinationOptions, Naming, Place, TransportError,
    Writing,
};

/// An archive as `docker save` writes it, to be written anew.
#[derive(Debug)]
pub(crate) struct DockerArchiveDestination {
    name: String,
    sink: Box<dyn Sink>,
    reference: Option<Reference>,
    additional: Vec<Reference>,
    /// The file, if it is one: it cannot be written twice.
    storage: Option<String>,
}

/// A file that must not be there yet, or a pipe.
#[derive(Debug)]
struct NewFile {
    output: Output,
    temporary: Option<PathBuf>,
}

impl Sink for NewFile {
    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        match self.output.check()? {
            Present::File(_) => {
                Err(self.output.refused("docker-archive doesn't support modifying existing images"))
            }
            _ => Ok(()),
        }
    }

    fn waiting_folder(&self) -> PathBuf {
        self.output.waiting_folder(self.temporary.as_deref())
    }

    fn write(&self, members: &mut WriteMembers<'_>, scope: &Scope) -> Result<(), TransportError> {
        self.check(scope)?;
        self.output.write(members, scope)
    }
}

impl DockerArchiveDestination {
    /// Takes the name; the place is looked at later.
    pub(crate) fn new(
        name: &ImageName,
        options: &DestinationOptions,
    ) -> Result<Self, TransportError> {
        let (path, reference) = name::parse_destination(name)?;
        let (output, temporary) = (Output::new(name, &path)?, options.tmpdir.clone());
        let storage = Some(format!("docker-archive {}", output.path().display()));
        let sink = Box::new(NewFile { output, temporary });
        let additional = options.additional_references.clone();
        Ok(Self { additional, storage, ..Self::into_sink(name.to_string(), reference, sink) })
    }

    /// An archive that goes to `sink`.
    pub(crate) fn into_sink(
        name: String,
        reference: Option<Reference>,
        sink: Box<dyn Sink>,
    ) -> Self {
        Self { name, sink, reference, additional: Vec::new(), storage: None }
    }

    fn unsupported(&self, problem: impl Into<String>) -> TransportError {
        TransportError::Unsupported { name: self.name.clone(), problem: problem.into() }
    }

    /// Every name that the image is to have, in the order given.
    fn names(&self, further: &[Naming<'_>]) -> Result<Vec<Reference>, TransportError> {
        let mut names: Vec<Reference> =
            self.reference.iter().chain(&self.additional).cloned().collect();
        for entry in further.iter().filter_map(|naming| naming.entry) {
            let repository = self.reference.as_ref().map(Reference::repository);
            let repository = repository.ok_or_else(|| {
                self.unsupported(format!("there is no repository for tag {entry}"))
            })?;
            let tag = entry.parse();
            let tag = tag.map_err(|source| TransportError::Reference {
                name: format!("{repository}:{entry}"),
                source,
            })?;
            names.push(repository.tagged(tag));
        }
        Ok(names)
    }
}

impl Destination for DockerArchiveDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    fn storage(&self) -> Option<String> {
        self.storage.clone()
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            // Only configuration and layers are stored, so the manifest's format does not matter.
            manifests: &[ManifestKind::DockerManifest, ManifestKind::OciManifest],
            indexes: false,
            only_images: true,
            simple_signatures: false,
            sigstore_signatures: false,
            evidence: false,
            keeps_urls: false,
        }
    }

    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        self.sink.check(scope)
    }

    fn has_blob(&self, _: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        Ok(false)
    }

    fn has_manifest(&self, _: &RawManifest, scope: &Scope) -> Result<bool, TransportError> {
        scope.check()?;
        Ok(false)
    }

    /// An archive stores no manifests, so what its names stand for cannot be told; names that are to be protected are
    /// refused.
    fn current(&self, _: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError> {
        scope.check()?;
        Ok(None)
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.check(scope)?;
        let pool = Pool::create(&self.sink.waiting_folder())?;
        Ok(Box::new(ArchiveWriting {
            place: self,
            pool,
            blobs: Mutex::default(),
            root: Mutex::default(),
        }))
    }
}

/// The blobs so far; the archive itself is written at the end.
struct ArchiveWriting<'a> {
    place: &'a DockerArchiveDestination,
    pool: Pool,
    blobs: Mutex<HashMap<Digest, Stored>>,
    root: Mutex<Option<RawManifest>>,
}

/// A blob as the archive will have it: layers are uncompressed.
#[derive(Debug, Clone)]
struct Stored {
    digest: Digest,
    slot: Slot,
}

impl ArchiveWriting<'_> {
    fn blobs(&self) -> MutexGuard<'_, HashMap<Digest, Stored>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self, digest: &Digest) -> Result<Stored, TransportError> {
        self.blobs().get(digest).cloned().ok_or_else(|| self.missing(format!("blob {digest}")))
    }

    fn missing(&self, subject: String) -> TransportError {
        TransportError::NotFound { subject, place: self.place.name() }
    }

    fn check_unprotected(&self, naming: &Naming<'_>) -> Result<(), TransportError> {
        match naming.protected {
            false => Ok(()),
            true => Err(self.place.unsupported(
                "what a name stands for there cannot be told, so it cannot be protected",
            )),
        }
    }

    fn package(&self, image: &Image, names: &[Reference]) -> Result<Package, TransportError> {
        let config = self.stored(&image.config.digest)?;
        let text = self.pool.read(config.slot, CONFIG_LIMIT as u64)?;
        let failed = |problem: String| {
            self.place.unsupported(format!("configuration {}: {problem}", config.digest))
        };
        let diff_ids = saved::diff_ids(&text).map_err(failed)?;
        let layers: Vec<Stored> = image
            .layers
            .iter()
            .map(|layer| self.stored(&layer.digest))
            .collect::<Result<_, _>>()?;
        if !diff_ids.iter().eq(layers.iter().map(|layer| &layer.digest)) {
            let found: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
            return Err(failed(format!("its diffIDs are not those of the layers, {found:?}")));
        }
        let layers: Vec<_> = layers.into_iter().map(|layer| (layer.digest, layer.slot)).collect();
        let legacy = legacy::layers(&text, &diff_ids).map_err(|error| failed(error.to_string()))?;
        Ok(Package::new((&config.digest, config.slot), &layers, &legacy, names))
    }
}

fn put_as_it_is(
    turn: Turn<'_>,
    layer: Layer<'_>,
    scope: &Scope,
) -> Result<(Descriptor, Stored), TransportError> {
    let (found, slot) = turn.put(layer, scope)?;
    check_promise(None, &found, slot.size)?;
    let digest = found.digest.clone();
    Ok((found, Stored { digest, slot }))
}

fn put_uncompressed(
    turn: Turn<'_>,
    layer: Layer<'_>,
    scope: &Scope,
) -> Result<(Descriptor, Stored), TransportError> {
    let (seen, diff_id) = (Seen::default(), FoundDiffId::default());
    let layer = Layer { known: layer.known, body: Box::new(Watch(layer.body, seen.clone())) };
    let plain = Recompress::new(Compression::None).record(diff_id.clone()).scoped(scope.clone());
    let (made, slot) = turn.put(layer.pipe(Some(&plain))?, scope)?;
    let found = seen.take().unwrap_or(made);
    let digest = diff_id.digest().unwrap_or_else(|| found.digest.clone());
    Ok((found, Stored { digest, slot }))
}

/// What a chain said at its end, before its bytes were uncompressed.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Option<Descriptor>>>);

impl Seen {
    fn take(&self) -> Option<Descriptor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Watch<'a>(Box<dyn Stage + 'a>, Seen);

impl Stage for Watch<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        self.0.next()
    }

    fn measures(&self) -> bool {
        self.0.measures()
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        let found = self.0.finish()?;
        *self.1.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }
}

/// Whether a blob of this type is a layer of the file system. A chain that does not know its type yet has changed a
/// layer: nothing else is ever changed.
fn is_layer(media_type: Option<&MediaType>) -> bool {
    media_type.is_none_or(|media_type| LayerType::of(media_type).is_some_and(|l| !l.encrypted))
}

impl Writing for ArchiveWriting<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let turn = self.pool.turn();
        scope.check()?;
        let layer = (blob.open)()?;
        let known = blob.known.or(layer.known.as_ref()).map(|known| known.media_type.clone());
        let (found, stored) = match is_layer(known.as_ref()) {
            true => put_uncompressed(turn, layer, scope)?,
            false => put_as_it_is(turn, layer, scope)?,
        };
        check_promise(blob.known, &found, found.size)?;
        self.blobs().insert(found.digest.clone(), stored);
        Ok(found)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let Some(image) = manifest.image() else {
            return Err(self.place.unsupported("an index cannot be stored there"));
        };
        if !image.config.media_type.is_image_config() {
            return Err(self.place.unsupported("only images can be stored there, not artifacts"));
        }
        if let Some(layer) = image.layers.iter().find(|layer| !is_layer(Some(&layer.media_type))) {
            let media_type = &layer.media_type;
            return Err(self
                .place
                .unsupported(format!("a layer of type {media_type} cannot be stored there")));
        }
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(manifest.clone());
        Ok(())
    }

    fn put_signatures(
        &self,
        _: &RawManifest,
        _: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        match signatures {
            [] => Ok(()),
            _ => Err(self
                .place
                .unsupported("Storing signatures for docker tar files is not supported")),
        }
    }

    fn read_back(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        match &*root {
            Some(root) if root.bytes() == manifest.bytes() => Ok(()),
            _ => Err(self.missing(format!("manifest {}", manifest.digest()))),
        }
    }

    fn commit(self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError> {
        for naming in names {
            self.read_back(naming.root, Place::Root, scope)?;
            self.check_unprotected(naming)?;
        }
        let image = names.first().and_then(|naming| naming.root.image());
        let image =
            image.ok_or_else(|| self.place.unsupported("an index cannot be stored there"))?;
        let names = self.place.names(names)?;
        let package = self.package(image, &names)?;
        Ok(self.place.sink.write(&mut |tar| package.write(&self.pool, tar), scope)?)
    }
}
