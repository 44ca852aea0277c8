//! Development only: fixtures, fault proxy, registry simulators, peers.
//!
//! [`Fixture`] makes images, [`Registry`] is the project's own registry over a temporary directory,
//! [`proxy::Proxy`] breaks things on purpose in front of any registry. Everything runs on loopback and ends when it is
//! dropped. It refuses to skip: a peer tool that is missing is an error.
//!
//! ```
//! use securecp_testkit::{Fixture, Registry};
//! let registry = Registry::start()?;
//! Fixture::tiny()?.push(registry.address(), "tiny", Some("v1"))?;
//! assert!(registry.requests().iter().all(|request| request.status < 400 || request.method == "HEAD"));
//! # Ok::<(), securecp_testkit::TestkitError>(())
//! ```

pub mod auth;
mod bent;
mod bent_source;
mod docker_registry;
mod embedded;
mod error;
mod evidence;
mod fixture;
pub mod http;
mod kept;
mod layer;
mod place;
pub mod proxy;
pub mod sigstore;
pub mod simulate;
pub mod tls;
mod watched;

pub use bent::{Bend, Bent, LayerChunks};
pub use bent_source::BentSource;
pub use docker_registry::{DockerRegistry, DockerRegistrySettings};
pub use embedded::Registry;
pub use error::{Result, TestkitError};
pub use evidence::EvidenceSet;
pub use fixture::{Fixture, Manifest};
pub use kept::KeptSignatures;
pub use layer::{Blob, Content, Layer, Noise};
pub use place::tamper;
pub use watched::{Effect, WatchedDestination};
