use std::collections::HashMap;
use std::future::Future;
use std::net::ToSocketAddrs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use securecp_layer::Scope;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, yield_now};

use crate::NetError;
use crate::runtime::{self, check_outside, wait_on};

/// What moves the connection of one exchange.
pub(crate) enum Drive {
    /// The threads that all small exchanges share.
    Shared,
    /// Whoever waits for it, so that no byte goes from thread to thread.
    Own(Box<Ride>),
}

impl Drive {
    /// As [`runtime::wait`].
    pub(crate) fn wait<T>(
        &self,
        scope: &Scope,
        future: impl Future<Output = Result<T, NetError>>,
    ) -> Result<T, NetError> {
        match self {
            Self::Shared => runtime::wait(scope, future),
            Self::Own(ride) => wait_on(ride.track.runtime(), scope, future),
        }
    }

    /// Runs `future` beside the waits; on a track of its own it stands still between them.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>, NetError> {
        match self {
            Self::Shared => runtime::spawn(future),
            Self::Own(ride) => Ok(ride.track.runtime().spawn(future)),
        }
    }

    /// Says whether the connection may serve others when this is dropped. If it may not, it is closed then.
    pub(crate) fn set_reusable(&mut self, reusable: bool) {
        if let Self::Own(ride) = self {
            ride.reusable = reusable;
        }
    }
}

/// A client for one transfer at a time. Its connections move only while somebody waits for them.
struct Track {
    /// There until dropped.
    runtime: Option<Runtime>,
    client: reqwest::Client,
}

impl Track {
    fn new(client: reqwest::Client) -> Result<Self, NetError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| NetError::Runtime(Arc::new(error)))?;
        Ok(Self { runtime: Some(runtime), client })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("taken by nothing but drop")
    }

    /// Lets the connections see what has happened while nobody waited: that a body was read to its end, or that the
    /// server has closed. In the first turn they hear of it, in the second they act.
    fn settle(&self) {
        self.runtime().block_on(async {
            yield_now().await;
            yield_now().await;
        });
    }
}

/// Closes the connections; may be done anywhere, and waits for nothing.
impl Drop for Track {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Build = dyn Fn() -> Result<reqwest::Client, NetError> + Send + Sync;

/// The tracks that nobody uses, by the origin that they were last used for.
pub(crate) struct Tracks {
    build: Box<Build>,
    keep: Duration,
    idle: Mutex<HashMap<String, Vec<Idle>>>,
}

struct Idle {
    track: Arc<Track>,
    since: Instant,
}

impl Tracks {
    /// Clients are made by `build`; a track that was not used for `keep` is closed.
    pub(crate) fn new(build: Box<Build>, keep: Duration) -> Self {
        Self { build, keep, idle: Mutex::default() }
    }

    /// A track to `origin`: the one that was used last, because its connection is the least likely to be closed, or a
    /// new one.
    pub(crate) fn take(self: &Arc<Self>, origin: String) -> Result<Ride, NetError> {
        check_outside()?;
        let found = self.fresh().get_mut(&origin).and_then(Vec::pop);
        let track = match found {
            Some(Idle { track, .. }) => {
                track.settle();
                track
            }
            None => Arc::new(Track::new((self.build)()?)?),
        };
        Ok(Ride { track, home: Arc::clone(self), origin, reusable: false })
    }

    fn put_back(&self, origin: String, track: Arc<Track>) {
        let idle = Idle { track, since: Instant::now() };
        self.fresh().entry(origin).or_default().push(idle);
    }

    /// The idle ones without those that are too old. The map is consistent after every statement, so a poisoned lock
    /// is taken over.
    fn fresh(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, tracks| {
            tracks.retain(|idle| idle.since.elapsed() < self.keep);
            !tracks.is_empty()
        });
        idle
    }
}

/// Looks names of hosts up on the threads that all share: a track has none, and might get none.
pub(crate) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = runtime::blocking(move || (host.as_str(), 0).to_socket_addrs())?;
            Ok(Box::new(found.await??) as Addrs)
        })
    }
}

/// A track in use.
pub(crate) struct Ride {
    track: Arc<Track>,
    home: Arc<Tracks>,
    origin: String,
    reusable: bool,
}

impl Ride {
    /// The client whose connections this moves.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.track.client
    }
}

/// A body that was not read is read or cut now, as the client sees fit.
impl Drop for Ride {
    fn drop(&mut self) {
        if self.reusable && check_outside().is_ok() {
            self.track.settle();
            self.home.put_back(std::mem::take(&mut self.origin), Arc::clone(&self.track));
        }
    }
}
