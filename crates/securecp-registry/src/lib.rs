//! The OCI distribution protocol: authentication, manifests, blobs, uploads, mirrors, referrers.
//!
//! [`Registries`] is every registry as one side of a copy meets it, under one set of credentials and TLS settings (its
//! [`Access`]). It gives a [`Client`] for each repository.
//!
//! What it refuses: to send credentials to another host, port or scheme than the registry's and its token server's, to
//! take anything but a definite answer for absence, and answers that are not what was asked for or have no bound.
//!
//! ```no_run
//! use securecp_layer::Scope;
//! use securecp_net::Net;
//! use securecp_registry::{Access, Registries};
//! let registries = Registries::new(Net::default(), Access::default());
//! let client = registries.client(&"registry.example/app".parse()?)?;
//! for tag in client.tags(&Scope::new())? {
//!     println!("{tag}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod attached;
mod auth;
mod beside;
mod certs;
mod client;
mod conf;
mod download;
mod environment;
mod error;
mod flight;
mod host;
mod link;
mod login;
mod quirks;
mod referrers;
mod reply;
mod retry;
mod retry_after;
mod secret;
mod shared_tag;
mod signatures;
mod tls_details;
mod upload;
mod waiting;
mod warning;

pub use access::{Access, Login, Registries};
pub use auth::{Credentials, Key};
pub use beside::{Beside, Referrers};
pub use client::{Client, ManifestHead, ManifestName, PutManifest};
pub use download::Download;
pub use environment::{Environment, is_there};
pub use error::{Class, Operation, Problem, RegistryError};
pub use login::{AuthStore, LoggedOut};
pub use reply::{Code, Refusal};
pub use retry::RetryPolicy;
pub use secret::Secret;
pub use shared_tag::Wanted;
pub use tls_details::tls_details;
pub use upload::{BlobUpload, Uploads};
