//! `dir:PATH`, the "Directory Transport Version" format: one image in one flat folder.

mod destination;
mod format;
mod source;

pub(crate) use destination::DirDestination;
pub(crate) use source::DirSource;
