//! Where images live, as sources and destinations: registries, OCI layouts, plain directories.
//!
//! A [`Source`] hands out manifests as exact bytes and blobs as verified layers. A [`Destination`] answers questions
//! without any effect; [`Destination::begin`] is the first effect and gives a [`Writing`], in which everything is put
//! under its digest, and whose [`Writing::commit`] is the only thing that makes the name that the user gave appear or
//! change. A `Writing` dropped without commit leaves nothing under that name.
//!
//! What it refuses: sources whose bytes are not what their digests say, destinations that hold something else than an
//! image, names that a transport cannot take.
//!
//! Start at [`Source`] and [`Destination`].

mod destination;
mod error;
mod source;

pub use destination::{Accepts, BlobPut, Destination, Place, Writing};
pub use error::TransportError;
pub use source::{Source, SourceTraits};
