//! The only async room: HTTP, TLS, proxies and time limits behind a blocking facade.
//!
//! One private multi-threaded runtime serves all small exchanges of the process. A transfer of blob bytes is moved by the
//! very thread that waits for it, so no byte goes from thread to thread; it stands still while that thread is busy, and the
//! buffers of the system's sockets bridge such pauses. Every call takes a [`Scope`](securecp_layer::Scope) and
//! blocks the calling thread until there is an answer, the scope ends, or nothing has moved for a while; the clock of
//! that last limit runs only while the other side is awaited, never while the caller is busy.
//!
//! Start at [`Net`], which gives an [`HttpClient`] for each set of [`TlsOptions`]. Answers are [`Response`]s, whose
//! bodies are [`Chunks`](securecp_layer::Chunks); bodies of unknown origin or size go out through an [`Upload`].
//! [`GrpcService`] calls a gRPC service of this machine.
//!
//! What it refuses: calls from inside an async task, certificates that do not verify, redirects that leave https or
//! that lead from a public host into a private network, and unbounded answers.
//!
//! ```no_run
//! use securecp_layer::Scope;
//! use securecp_net::{Net, Request, TlsOptions};
//! let client = Net::default().client(&TlsOptions::default())?;
//! let response = client.send(Request::get("https://registry.example/v2/".parse()?), &Scope::new())?;
//! println!("{}", response.status());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod client;
mod error;
mod gate;
mod grpc;
mod outcome;
mod pinned;
mod proxies;
mod redirect;
mod request;
mod response;
mod runtime;
mod tls;
mod track;
mod upload;

pub use address::{is_private, same_origin};
pub use client::{HttpClient, Net, TimeLimits};
pub use error::NetError;
pub use gate::Gate;
pub use grpc::{GrpcAddress, GrpcService};
pub use redirect::resolve_location;
pub use request::{Lane, Request};
pub use response::{Body, Response};
pub use tls::{ClientIdentity, TlsOptions, TlsVersion};
pub use upload::Upload;

pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use url::Url;
