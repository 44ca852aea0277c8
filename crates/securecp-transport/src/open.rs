use std::path::PathBuf;

use securecp_oci::{ImageName, Reference, Transport};
use securecp_registry::Registries;

use crate::dir::{DirDestination, DirSource};
use crate::docker::{self, DockerDestination, DockerSource, SignatureStorage, SignatureStorages};
use crate::docker_archive::{self, DockerArchiveDestination, DockerArchiveSource};
use crate::oci::{LayoutName, OciArchiveDestination, OciDestination, OciSource};
use crate::{DaemonAccess, Destination, SharedPlaces, Source, TransportError, daemon};

/// What a source may need to know besides its name.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// A folder that holds the blobs of OCI layouts as `ALG/HEX`, in place of the layout's own `blobs`.
    pub shared_blob_dir: Option<PathBuf>,
    /// The registries, as this side meets them.
    pub registries: Registries,
    /// Where the signatures of a registry's image live; without it none are looked up.
    pub signatures: Option<SignatureStorages>,
    /// The folder for temporary files, such as an archive that has to be uncompressed; the system's if there is none.
    pub tmpdir: Option<PathBuf>,
    /// The Docker engine of `docker-daemon:`.
    pub daemon: DaemonAccess,
    /// What images share that are read from one place.
    pub shared: SharedPlaces,
}

/// What a destination may need to know besides its name.
#[derive(Debug, Clone, Default)]
pub struct DestinationOptions {
    /// A folder that holds the blobs of OCI layouts as `ALG/HEX`, in place of the layout's own `blobs`.
    pub shared_blob_dir: Option<PathBuf>,
    /// The registries, as this side meets them.
    pub registries: Registries,
    /// Where the signatures of a registry's image live; without it none are looked up or stored.
    pub signatures: Option<SignatureStorage>,
    /// The folder for temporary files, but for those of an archive that is written to a file, which stand beside it; the
    /// system's if there is none.
    pub tmpdir: Option<PathBuf>,
    /// The Docker engine of `docker-daemon:`.
    pub daemon: DaemonAccess,
    /// More names for the image in a `docker-archive:`, each with a tag.
    pub additional_references: Vec<Reference>,
    /// What is shared with others that read or write the same places.
    pub shared: SharedPlaces,
    /// Keep what has arrived in an `oci:` layout when a copy is interrupted, and go on with what was kept.
    pub partial: bool,
    /// Make the folders above a `dir:` when writing begins; without it all but the last must be there.
    pub makes_parents: bool,
}

/// Whether `name` follows the grammar of its transport, as an image that is there or as one that is to be written. Nothing
/// is looked at.
///
/// # Errors
/// It does not.
pub fn check_name(name: &ImageName, is_destination: bool) -> Result<(), TransportError> {
    match (name.transport, is_destination) {
        (Transport::Docker, _) => docker::reference(name).map(drop),
        (Transport::Oci | Transport::OciArchive, false) => LayoutName::parse(name).map(drop),
        (Transport::Oci | Transport::OciArchive, true) => {
            LayoutName::parse_destination(name).map(drop)
        }
        (Transport::DockerArchive, false) => docker_archive::parse(name).map(drop),
        (Transport::DockerArchive, true) => docker_archive::parse_destination(name).map(drop),
        (Transport::Dir | Transport::DockerDaemon, _) => Ok(()),
    }
}

/// Opens the image that `name` stands for. Each transport reads its own part of the name here and nowhere else.
///
/// # Errors
/// The name does not follow the transport's grammar, or nothing is there.
pub fn open_source(
    name: &ImageName,
    options: &SourceOptions,
) -> Result<Box<dyn Source>, TransportError> {
    match name.transport {
        Transport::Docker => Ok(Box::new(DockerSource::open(name, options)?)),
        Transport::Oci => Ok(Box::new(OciSource::open(name, options)?)),
        Transport::Dir => Ok(Box::new(DirSource::open(name)?)),
        Transport::OciArchive => Ok(Box::new(OciSource::open_archive(name, options)?)),
        Transport::DockerArchive => Ok(Box::new(DockerArchiveSource::open(name, options)?)),
        Transport::DockerDaemon => Ok(Box::new(daemon::source(name, options)?)),
    }
}

/// Takes the place that `name` stands for, without any effect there.
///
/// # Errors
/// The name does not follow the transport's grammar.
pub fn open_destination(
    name: &ImageName,
    options: &DestinationOptions,
) -> Result<Box<dyn Destination>, TransportError> {
    match name.transport {
        Transport::Docker => Ok(Box::new(DockerDestination::new(name, options)?)),
        Transport::Oci => Ok(Box::new(OciDestination::new(name, options)?)),
        Transport::Dir => Ok(Box::new(DirDestination::new(name, options)?)),
        Transport::OciArchive => Ok(Box::new(OciArchiveDestination::new(name, options)?)),
        Transport::DockerArchive => Ok(Box::new(DockerArchiveDestination::new(name, options)?)),
        Transport::DockerDaemon => Ok(Box::new(daemon::destination(name, options)?)),
    }
}
