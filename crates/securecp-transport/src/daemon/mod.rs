//! `docker-daemon:NAME:TAG` and `docker-daemon:sha256:HEX`, images of a running Docker engine.
//!
//! The engine hands out and takes archives as `docker save` and `docker load` know them; the rest is `docker-archive:`.

mod engine;
mod load;
mod name;
mod save;

use std::path::PathBuf;

use securecp_net::{Net, TlsOptions};
use securecp_oci::ImageName;

use crate::docker_archive::{DockerArchiveDestination, DockerArchiveSource};
use crate::{DestinationOptions, SourceOptions, TransportError};

use engine::Engine;
use load::LoadSink;
use name::DaemonName;
use save::SavedByEngine;

/// How a Docker engine is reached.
#[derive(Debug, Clone, Default)]
pub struct DaemonAccess {
    /// `unix://PATH`, `tcp://HOST:PORT` and `https://HOST:PORT` (TLS), or `http://HOST:PORT`; the usual unix socket if
    /// there is none. The environment is not asked.
    pub host: Option<String>,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub cert_dir: Option<PathBuf>,
    /// Restrictions of TLS.
    pub tls: TlsOptions,
    /// Accepts whatever certificate the engine shows: no protection against an active attacker.
    pub dangerously_accept_any_certificate: bool,
    /// The network to use.
    pub net: Net,
}

/// An image of an engine, to be read.
pub(crate) fn source(
    name: &ImageName,
    options: &SourceOptions,
) -> Result<DockerArchiveSource, TransportError> {
    let image = DaemonName::parse(name)?;
    let engine = Engine::new(&options.daemon)?;
    let identity = image.identity();
    let origin = SavedByEngine::new(engine, image, options.tmpdir.as_deref());
    Ok(DockerArchiveSource::only(name.to_string(), identity, Box::new(origin)))
}

/// An image of an engine, to be written.
pub(crate) fn destination(
    name: &ImageName,
    options: &DestinationOptions,
) -> Result<DockerArchiveDestination, TransportError> {
    let reference = DaemonName::parse(name)?.tagged(name)?;
    let engine = Engine::new(&options.daemon)?;
    let sink = LoadSink::new(engine, options.tmpdir.as_deref());
    Ok(DockerArchiveDestination::into_sink(name.to_string(), Some(reference), Box::new(sink)))
}
