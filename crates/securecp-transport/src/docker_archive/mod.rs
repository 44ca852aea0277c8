//! `docker-archive:PATH[:REF|:@N]`, what `docker save` writes: images as configuration and uncompressed layers in a tar
//! file, without manifests.

mod destination;
mod items;
mod legacy;
mod name;
mod package;
mod saved;
mod source;

pub(crate) use destination::DockerArchiveDestination;
pub(crate) use items::MANIFEST;
pub(crate) use name::{parse, parse_destination};
pub(crate) use source::{DockerArchiveSource, list};
