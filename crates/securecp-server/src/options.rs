use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a registry is started; [`Options::new`] gives the defaults, all restrictions off.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that holds everything; created if missing, unless `read_only`.
    pub root: PathBuf,
    /// Where to listen; loopback and a free port by default.
    pub listen: SocketAddr,
    /// Refuse everything that would change the store.
    pub read_only: bool,
    /// Keep a [`crate::RequestRecord`] of each request (the latest 65536).
    pub log_requests: bool,
    /// Largest blob accepted, in bytes; 413 above it.
    pub max_blob_bytes: Option<u64>,
    /// Most tags or referrers in one answer; more are paged.
    pub page_limit: usize,
    /// Refuse indexes that name manifests which the repository does not have.
    pub require_children: bool,
    /// Refuse to move an existing tag to another digest.
    pub immutable_tags: bool,
    /// Flush each file to the disk before it appears under its name.
    pub sync: bool,
    /// How long a request body may pause.
    pub idle_timeout: Duration,
}

impl Options {
    /// A writable registry over `root` on a free loopback port.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            read_only: false,
            log_requests: false,
            max_blob_bytes: None,
            page_limit: 1000,
            require_children: false,
            immutable_tags: false,
            sync: false,
            idle_timeout: Duration::from_secs(60),
        }
    }
}
