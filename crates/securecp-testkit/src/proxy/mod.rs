//! A proxy that breaks things on purpose: plain HTTP/1.1 on loopback in front of any registry.
//!
//! Threads and blocking sockets, so that a reset is a reset and a stall is a stall. What happens to which request is
//! said by [`Rule`]s; every request is written down as [`Seen`].
//!
//! ```no_run
//! use securecp_testkit::proxy::{Fault, How, Point, Proxy, Rule, Side};
//! # let registry = "127.0.0.1:5000".parse().unwrap();
//! let proxy = Proxy::start(registry)?;
//! // The first download of a blob is reset in the middle.
//! let half = Fault::Break(Side::Response, Point::Percent(50), How::Reset);
//! proxy.add(Rule::new("GET", "/blobs/")?.first(1).with(half));
//! assert_eq!(proxy.requests("GET", "/blobs/"), 0);
//! # Ok::<(), securecp_testkit::TestkitError>(())
//! ```

mod connection;
mod flow;
mod log;
mod message;
mod plan;
mod rule;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Result, Tried};
use connection::Connection;
use log::Log;
use plan::Plan;

pub use log::Seen;
pub use rule::{Call, Fault, Handler, Hook, How, Point, Reply, Rule, Side};

/// What a proxy writes down.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Keep credentials in the log.
    pub keep_secrets: bool,
    /// Bytes of each request body to keep.
    pub keep_body: usize,
}

/// A running proxy; it ends, and resets what is open, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    address: SocketAddr,
    settings: Settings,
    log: Log,
    rules: Mutex<Vec<Rule>>,
    latency: Mutex<Duration>,
    down: AtomicBool,
    ended: AtomicBool,
    connections: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
    keys: AtomicU64,
}

impl Proxy {
    /// Starts a proxy in front of `upstream` on a free loopback port.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_with(upstream, Settings::default())
    }

    /// Starts a proxy that writes down what `settings` say.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start_with(upstream: SocketAddr, settings: Settings) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).tried("listening")?;
        let address = listener.local_addr().tried("listening")?;
        let shared = Arc::new(Shared {
            upstream,
            address,
            settings,
            log: Log::new(),
            rules: Mutex::default(),
            latency: Mutex::default(),
            down: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            open: Mutex::default(),
            keys: AtomicU64::new(0),
        });
        let serving = shared.clone();
        let accepting = thread::spawn(move || accept(&listener, &serving));
        Ok(Self { shared, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Adds a rule behind those that are there.
    pub fn add(&self, rule: Rule) {
        locked(&self.shared.rules).push(rule);
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        locked(&self.shared.rules).clear();
    }

    /// Lets every request wait so long.
    pub fn set_latency(&self, latency: Duration) {
        *locked(&self.shared.latency) = latency;
    }

    /// Resets all connections, and every new one, until [`Proxy::revive`].
    pub fn kill(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        self.shared.reset_all();
    }

    /// Serves again.
    pub fn revive(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// All requests in order of arrival.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.log.list()
    }

    /// Forgets the requests seen so far.
    pub fn clear_log(&self) {
        self.shared.log.all().clear();
    }

    /// How many requests of that method have a path that contains `part`.
    pub fn requests(&self, method: &str, part: &str) -> usize {
        self.shared.log.all().iter().filter(|seen| seen.is(method, part)).count()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The time during which at least one request was under way.
    pub fn busy(&self) -> Duration {
        let now = self.shared.log.all().iter().map(|s| s.finished.unwrap_or(s.started)).max();
        let mut spans: Vec<(Duration, Duration)> = self
            .log()
            .iter()
            .map(|seen| (seen.started, seen.finished.or(now).unwrap_or_default()))
            .collect();
        spans.sort_unstable();
        let (mut total, mut reached) = (Duration::ZERO, Duration::ZERO);
        for (start, end) in spans {
            total += end.saturating_sub(start.max(reached));
            reached = reached.max(end);
        }
        total
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.down.store(true, Ordering::SeqCst);
        self.shared.reset_all();
        // One last connection wakes the accepting thread.
        let _ = TcpStream::connect(self.shared.address);
        if let Some(accepting) = self.accepting.take() {
            // A panic there was reported by the thread itself.
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    fn latency(&self) -> Duration {
        *locked(&self.latency)
    }

    /// What the rules want of a request, and whether they want anything.
    fn plan(&self, method: &str, target: &str) -> (Plan, bool) {
        let mut plan = Plan::default();
        let mut faulty = false;
        for rule in locked(&self.rules).iter_mut() {
            for fault in rule.apply(method, target) {
                faulty = true;
                plan.add(fault.clone());
            }
        }
        (plan, faulty)
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.is_down() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    fn received(&self, entry: usize, piece: &[u8]) {
        let keep = self.settings.keep_body;
        self.log.edit(entry, |seen| {
            seen.request_bytes += piece.len() as u64;
            let room = keep.saturating_sub(seen.body.len()).min(piece.len());
            seen.body.extend_from_slice(&piece[..room]);
        });
    }

    /// Remembers a connection for as long as the guard lives, so that it can be reset from outside.
    fn track(&self, stream: &TcpStream) -> io::Result<Tracked<'_>> {
        let key = self.keys.fetch_add(1, Ordering::SeqCst);
        locked(&self.open).insert(key, stream.try_clone()?);
        Ok(Tracked { shared: self, key })
    }

    fn reset_all(&self) {
        for stream in locked(&self.open).values() {
            reset(stream);
            // Wakes a thread that waits for room, too; a socket that is gone needs nothing.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct Tracked<'a> {
    shared: &'a Shared,
    key: u64,
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        locked(&self.shared.open).remove(&self.key);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the last close of the socket a reset, and wakes whoever reads from it.
fn reset(stream: &TcpStream) {
    // A socket that is gone needs no reset.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Read);
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.is_down() {
            reset(&stream);
            continue;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let shared = shared.clone();
        thread::spawn(move || serve(&shared, stream, number));
    }
}

fn serve(shared: &Shared, stream: TcpStream, number: u64) {
    let Ok(_guard) = shared.track(&stream) else { return };
    // A client that is gone before it was served needs nothing.
    if let Ok(connection) = Connection::new(shared, stream, number) {
        connection.serve();
    }
}
