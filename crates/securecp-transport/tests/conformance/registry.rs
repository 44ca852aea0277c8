//! `docker:` against the embedded registry.

use std::time::{Duration, Instant};

use securecp_net::Net;
use securecp_oci::ImageName;
use securecp_registry::{Access, Login, Registries};
use securecp_server::{Options, Running, Server};
use securecp_transport::{
    Destination, DestinationOptions, Source, SourceOptions, TransportError, open_destination,
    open_source,
};
use tempfile::TempDir;

use crate::suite::Fixture;

/// A repository of a registry of its own.
pub(crate) struct Repository {
    root: TempDir,
    registry: Running,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let registry = Server::start(Options { sync: false, ..Options::new(root.path()) }).unwrap();
        Self { root, registry }
    }

    fn name(&self) -> ImageName {
        format!("docker://{}/some/image:v1", self.registry.address()).parse().unwrap()
    }

    fn registries() -> Registries {
        let access =
            Access { login: Login::Anonymous, tls_verify: Some(false), ..Access::default() };
        Registries::new(Net::default(), access)
    }
}

impl Fixture for Repository {
    fn source(&self) -> Result<Box<dyn Source>, TransportError> {
        let options = SourceOptions { registries: Self::registries(), ..SourceOptions::default() };
        open_source(&self.name(), &options)
    }

    fn destination(&self) -> Box<dyn Destination> {
        let options =
            DestinationOptions { registries: Self::registries(), ..DestinationOptions::default() };
        open_destination(&self.name(), &options).unwrap()
    }

    /// Uploads that were given up; the registry notices a little later.
    fn leftovers(&self) -> Vec<String> {
        let uploads = self.root.path().join("uploads");
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let found: Vec<String> = std::fs::read_dir(&uploads)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            if found.is_empty() || Instant::now() > end {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn make_unwritable(&self) -> bool {
        false
    }

    fn keeps_blobs(&self) -> bool {
        true
    }
}
