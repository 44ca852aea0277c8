//! Where images live, as sources and destinations: registries, OCI layouts, plain directories, archives, Docker engines.
//!
//! A [`Source`] hands out manifests as exact bytes and blobs as verified layers. A [`Destination`] answers questions
//! without any effect; [`Destination::begin`] is the first effect and gives a [`Writing`], in which everything is put
//! under its digest, and whose [`Writing::commit`] is the only thing that makes the name that the user gave appear or
//! change. A `Writing` dropped without commit leaves nothing under that name.
//!
//! What it refuses: sources whose bytes are not what their digests say, archives that two readers could understand
//! differently, destinations that hold something else than an image, names that a transport cannot take.
//!
//! Start at [`open_source`] and [`open_destination`].
//!
//! ```
//! use securecp_layer::Scope;
//! use securecp_transport::{SourceOptions, open_source};
//! let folder = tempfile::tempdir()?;
//! let name = format!("dir:{}", folder.path().display()).parse()?;
//! let source = open_source(&name, &SourceOptions::default())?;
//! assert!(source.root(&Scope::new()).is_err_and(|error| error.is_not_found()), "the folder is empty");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod daemon;
mod destination;
mod dir;
mod docker;
mod docker_archive;
mod error;
mod evidence;
mod files;
mod folder;
mod list;
mod oci;
mod open;
mod path;
mod position;
mod range;
mod reflink;
mod requests;
mod shared;
mod source;
mod staged;
mod tar;
mod wrapped;

pub use daemon::DaemonAccess;
pub use destination::{
    Accepts, BlobPut, CommitError, Destination, Naming, OpenAfter, OpenFile, Place, Writing,
};
pub use docker::{SignatureLocation, SignatureLocator, SignatureStorage, SignatureStorages};
pub use error::TransportError;
pub use evidence::Piece;
pub use list::{Deleted, ListedImage, delete, list};
pub use open::{DestinationOptions, SourceOptions, check_name, open_destination, open_source};
pub use reflink::BlobFile;
pub use requests::{OfSignatures, Requests};
pub use shared::SharedPlaces;
pub use source::Source;
pub use staged::STAGING_PREFIX;
pub use wrapped::WrappedSource;
