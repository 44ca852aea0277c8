use std::net::SocketAddr;
use std::path::Path;

use securecp_server::{Options, RequestRecord, Running, Server};
use tempfile::TempDir;

use crate::error::{Result, TestkitError, Tried};

/// The project's own registry over a temporary directory; both end when this is dropped.
#[derive(Debug)]
pub struct Registry {
    // Before the folder, so that it has ended when the folder goes.
    running: Running,
    folder: TempDir,
}

impl Registry {
    /// Starts an empty registry on a free loopback port that records its requests.
    ///
    /// # Errors
    /// There is no temporary directory or no port.
    pub fn start() -> Result<Self> {
        Self::start_with(|_| {})
    }

    /// Starts a registry after `change` has had its way with the options.
    ///
    /// # Errors
    /// There is no temporary directory or no port.
    pub fn start_with(change: impl FnOnce(&mut Options)) -> Result<Self> {
        let folder = tempfile::tempdir().tried("making a temporary directory")?;
        let mut options = Options { log_requests: true, ..Options::new(folder.path()) };
        change(&mut options);
        let running = Server::start(options).map_err(|source| TestkitError::Io {
            what: "starting the registry".to_owned(),
            source: source.into(),
        })?;
        Ok(Self { running, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// The directory that it serves; its layout is described in the documentation of `securecp-server`.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.running.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.running.clear_requests();
    }
}
