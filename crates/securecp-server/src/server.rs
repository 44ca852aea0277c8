use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use securecp_layer::check_threads;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::log::RequestRecord;
use crate::options::Options;
use crate::registry::Registry;

/// How long running requests may take to end after [`Running::stop`], and after a drop.
const GRACE: Duration = Duration::from_secs(5);
const DROP_GRACE: Duration = Duration::from_millis(500);
/// Threads that serve connections.
const WORKERS: usize = 2;
/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Starts registries.
#[derive(Debug)]
pub struct Server;

/// Why a registry does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The root directory cannot be used.
    #[error("registry root {root:?} cannot be used")]
    Root {
        /// The directory.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Threads cannot be had.
    #[error("cannot start the server's threads")]
    Threads(#[source] io::Error),
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> Self {
        let kind = match &error {
            StartError::Root { source, .. }
            | StartError::Listen { source, .. }
            | StartError::Threads(source) => source.kind(),
        };
        Self::new(kind, error)
    }
}

impl Server {
    /// Starts a registry on threads of its own and returns as soon as it accepts connections.
    ///
    /// # Errors
    /// The root cannot be used (another server writes to it, it cannot be created), or the address is taken.
    pub fn start(options: Options) -> Result<Running, StartError> {
        let listen = options.listen;
        let root = options.root.clone();
        let registry =
            Registry::open(options).map_err(|source| StartError::Root { root, source })?;
        let (listener, address) =
            bind(listen).map_err(|source| StartError::Listen { address: listen, source })?;
        Running::begin(Arc::new(registry), listener, address).map_err(StartError::Threads)
    }
}

/// A registry at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    registry: Arc<Registry>,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    /// Locked only to be shareable between threads.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The latest requests in order of arrival; empty unless [`Options::log_requests`] is set.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.registry.log.records()
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        self.registry.log.clear();
    }

    /// Stops accepting, lets running requests end for up to five seconds, and ends.
    pub fn stop(mut self) {
        self.end(GRACE);
    }

    fn begin(
        registry: Arc<Registry>,
        listener: TcpListener,
        address: SocketAddr,
    ) -> io::Result<Self> {
        let runtime = runtime()?;
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = mpsc::channel();
        let inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let served = registry.clone();
        runtime.spawn(async move {
            serve(listener, served, stopped).await;
            // Nobody waits if this was dropped in the meantime.
            let _ = ending.send(());
        });
        drop(inside);
        Ok(Self {
            address,
            registry,
            runtime: Some(runtime),
            stop: Some(stop),
            ended: ended.into(),
        })
    }

    fn end(&mut self, grace: Duration) {
        let (Some(runtime), Some(stop)) = (self.runtime.take(), self.stop.take()) else { return };
        // If the task is gone already, there is nothing to wait for either.
        if stop.send(()).is_ok() {
            let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(grace);
        }
        if Handle::try_current().is_ok() {
            // Waiting is not allowed on a thread of another runtime.
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(DROP_GRACE);
        }
        self.registry.store.release();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(DROP_GRACE);
    }
}

/// tokio panics where a thread cannot be had, so it is asked for none that cannot.
fn runtime() -> io::Result<Runtime> {
    // One more for files, and as many again for what else starts in the meantime.
    check_threads(2 * (WORKERS + 1))?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(WORKERS).thread_name("securecp-server").enable_all();
    let runtime = builder.thread_keep_alive(FOR_EVER).build()?;
    // As long as there is one such thread, work that finds no other waits for it.
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(
    listener: tokio::net::TcpListener,
    registry: Arc<Registry>,
    stopped: oneshot::Receiver<()>,
) {
    let listener = listener.tap_io(|connection| {
        if let Err(cause) = connection.set_nodelay(true) {
            tracing::debug!(%cause, "cannot disable delayed sending");
        }
    });
    let router = Router::new().fallback(move |request| {
        let registry = registry.clone();
        async move { registry.answer(request).await }
    });
    let until = async {
        // A dropped sender stops the server as well.
        let _ = stopped.await;
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(until).await;
    if let Err(cause) = served {
        tracing::error!(%cause, "registry ended");
    }
}
