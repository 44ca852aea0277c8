//! Bytes in motion: how one blob travels from a source to a destination.
//!
//! A [`Layer`] is a chain of [`Stage`]s. Chunks are pulled with [`Layer::next`], facts come with [`Layer::finish`]. The
//! first stage always verifies digest and size ([`Layer::verified`] is the only way to make a layer from raw
//! [`Chunks`]); a [`Transform`] wraps a layer into another one; [`Layer::measured`] fills in digest and size of what
//! goes out. A [`Scope`] ends every wait on cancel, deadline or failure; a [`Report`] watches.
//!
//! [`Recompress`] changes how a layer is compressed, [`CheckDiffId`] looks at its plain bytes on the way, and
//! [`TransformCache`] remembers what a layer became. Codecs work on the thread that pulls and on a bounded number of
//! helper threads, which end with the layer.
//!
//! What it refuses: bytes that are short, long or altered, compressed data that is broken, hostile or followed by
//! garbage, plain bytes with another diffID than the configuration's, and a `finish` before the end was read.
//!
//! ```
//! use bytes::Bytes;
//! use securecp_layer::{Layer, Once};
//! use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};
//! let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::of(Algorithm::Sha256, b"abc"), 3);
//! let mut layer = Layer::verified(descriptor, Once::new(Bytes::from_static(b"abd")));
//! while let Some(_chunk) = layer.next()? {}
//! assert!(layer.finish().is_err());
//! # Ok::<(), securecp_layer::LayerError>(())
//! ```

mod aside;
mod cache;
mod chunks;
mod codec;
mod content;
mod cores;
mod decode;
mod diff_id;
mod encode;
mod error;
mod guard;
mod journal;
mod measure;
mod prefix;
pub mod process;
mod recompress;
mod report;
mod scope;
mod spool;
mod stage;
mod threads;
mod verify;

pub use aside::{Aside, Fold};
pub use cache::{Confirmed, Proposal, TransformCache, TransformKey};
pub use chunks::{CHUNK, FileChunks, LayerRead, Once};
pub use codec::{Codec, Compression, GzipLevel, LevelError, Workers, ZstdLevel};
pub use diff_id::{CheckDiffId, FoundDiffId};
pub use error::{CodecError, LayerError, SourceError};
pub use guard::Guard;
pub use journal::{Journal, Notes};
pub use prefix::Prefix;
pub use recompress::Recompress;
pub use report::{Event, Quiet, Report, TaskId, Watched};
pub use scope::{Listener, Scope, Stopped};
pub use spool::{Spool, SpoolWriter};
pub use stage::{Chunks, Layer, Stage, Transform};
pub use threads::{check_threads, each_on_a_thread};
