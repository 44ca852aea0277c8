//! A whole copy through the two traits, without an engine.

use securecp_layer::Scope;
use securecp_oci::{ImageName, RawManifest, View};
use securecp_transport::{
    BlobPut, Destination, DestinationOptions, Naming, Place, Source, SourceOptions, TransportError,
    Writing, open_destination, open_source,
};

pub(crate) fn source(name: &str) -> Result<Box<dyn Source>, TransportError> {
    let name: ImageName = name.parse().unwrap();
    open_source(&name, &SourceOptions::default())
}

pub(crate) fn destination(name: &str) -> Result<Box<dyn Destination>, TransportError> {
    let name: ImageName = name.parse().unwrap();
    open_destination(&name, &DestinationOptions::default())
}

/// Copies everything that `from` holds to `to`.
pub(crate) fn copy(from: &str, to: &str) -> Result<(), TransportError> {
    copy_into(from, &*destination(to)?)
}

/// Copies everything that `from` holds there.
pub(crate) fn copy_into(from: &str, destination: &dyn Destination) -> Result<(), TransportError> {
    let (source, scope) = (source(from)?, Scope::new());
    let root = source.root(&scope)?;
    destination.check(&scope)?;
    let writing = destination.begin(&scope)?;
    copy_tree(source.as_ref(), writing.as_ref(), &root, Place::Root)?;
    writing.commit(&[Naming::own(destination, &root)], &scope).map_err(|error| error.cause)
}

fn copy_tree(
    source: &dyn Source,
    writing: &dyn Writing,
    manifest: &RawManifest,
    place: Place,
) -> Result<(), TransportError> {
    let scope = Scope::new();
    match manifest.view() {
        View::Index(index) => {
            for entry in &index.manifests {
                let child = source.manifest(entry, &scope)?;
                copy_tree(source, writing, &child, Place::Child)?;
            }
        }
        View::Image(image) => {
            for blob in image.layers.iter().chain([&image.config]) {
                let open = || {
                    source.blob(blob, &scope).map_err(|error| match error {
                        TransportError::Layer(error) => error,
                        other => securecp_layer::LayerError::Source {
                            digest: blob.digest.clone(),
                            source: securecp_layer::SourceError::lasting(other),
                        },
                    })
                };
                let put = BlobPut::new(blob, &open);
                writing.put_blob(&put, &scope)?;
            }
        }
        View::Schema1(_) => unreachable!("no destination takes this format"),
    }
    writing.put_manifest(manifest, place, &scope)?;
    writing.read_back(manifest, place, &scope)?;
    let signatures = source.signatures(manifest, place, &scope)?;
    writing.put_signatures(manifest, place, &signatures, &scope)
}
