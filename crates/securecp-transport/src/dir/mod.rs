//! `dir:PATH`, the "Directory Transport Version" format: one image in one flat folder.

mod building;
mod destination;
mod format;
mod source;
mod stale;
mod writing;

pub(crate) use destination::DirDestination;
pub(crate) use source::DirSource;
