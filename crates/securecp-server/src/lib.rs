//! An OCI registry over a directory, for demos, air gaps and tests.
//!
//! Speaks the OCI distribution specification 1.1: pull, push (in one request, in chunks, as a stream), cross-repository
//! mounts, tag lists with paging, referrers with filtering, deletion. Blobs are never held in memory: uploads go to
//! temporary files and are renamed into place after their digest was checked, downloads are read in pieces of 256 KiB.
//!
//! What it refuses: names, tags and digests outside the grammar (so no path leaves the root), manifests that are
//! ambiguous, over 4 MiB, of another type than declared or naming blobs that the repository does not have, content that
//! does not have the digest it was announced under, writes when started read-only, a root that another server writes to.
//! It has no authentication and listens on loopback unless told otherwise.
//!
//! Below the root lie plain files:
//!
//! ```text
//! blobs/ALGORITHM/HEX                              content, blobs and manifests alike, shared by all repositories
//! repositories/NAME/_blobs/ALGORITHM/HEX           empty: the repository has this blob
//! repositories/NAME/_manifests/ALGORITHM/HEX       the media type of a manifest of the repository
//! repositories/NAME/_referrers/ALGORITHM/HEX/DIGEST   descriptor of a manifest whose subject is ALGORITHM:HEX
//! repositories/NAME/_tags/TAG                      the digest that the tag names
//! uploads/                                         unfinished uploads; emptied at start
//! ```
//!
//! Start at [`Server::start`]:
//!
//! ```
//! use securecp_server::{Options, Server};
//! let root = tempfile::tempdir()?;
//! let running = Server::start(Options::new(root.path()))?;
//! assert!(running.address().ip().is_loopback());
//! running.stop();
//! # Ok::<(), std::io::Error>(())
//! ```

mod blob;
mod body;
mod listing;
mod log;
mod manifest;
mod name;
mod options;
mod range;
mod refusal;
mod registry;
mod route;
mod server;
mod store;
mod upload;
mod uploads;

pub use log::RequestRecord;
pub use options::Options;
pub use server::{Running, Server, StartError};
