use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, ImageName, Transport};

use crate::{SourceOptions, TransportError, docker_archive, oci};

/// One image of a place that holds many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// The names it has there, as they are stored.
    pub names: Vec<String>,
    /// Its manifest, if the place stores one.
    pub manifest: Option<Descriptor>,
}

/// What [`delete`] took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The manifest whose entry is gone.
    pub manifest: Digest,
    /// The blobs that went with it, in order of their digests.
    pub blobs: Vec<Digest>,
}

/// Lists the images of the layout or archive that `name` is in, in their order; which of them `name` means does not
/// matter.
///
/// # Errors
/// The place cannot be read, or is of a transport that holds one image or cannot list.
pub fn list(
    name: &ImageName,
    options: &SourceOptions,
    scope: &Scope,
) -> Result<Vec<ListedImage>, TransportError> {
    scope.check()?;
    match name.transport {
        Transport::Oci => oci::list(&oci::layout(name)?),
        Transport::OciArchive => oci::list(&oci::archived_layout(name, options, scope)?),
        Transport::DockerArchive => docker_archive::list(name, options, scope),
        _ => Err(unsupported(name, "images cannot be listed there")),
    }
}

/// Deletes the image that `name` stands for, with everything that only it needs.
///
/// # Errors
/// It does not exist, cannot be deleted, or is of a transport that cannot delete.
pub fn delete(
    name: &ImageName,
    options: &SourceOptions,
    scope: &Scope,
) -> Result<Deleted, TransportError> {
    match name.transport {
        Transport::Oci => oci::delete(name, options, scope),
        _ => Err(unsupported(name, "images cannot be deleted there")),
    }
}

fn unsupported(name: &ImageName, problem: &str) -> TransportError {
    TransportError::Unsupported { name: name.to_string(), problem: problem.to_owned() }
}
