use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::Head;

/// One request as the proxy saw it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The query, without question mark.
    pub query: String,
    /// Headers, names in lower case; credentials are replaced by their scheme unless [`super::Settings::keep_secrets`].
    pub headers: Vec<(String, String)>,
    /// The status that the client got; 0 if it got none (yet).
    pub status: u16,
    /// Body bytes read from the client.
    pub request_bytes: u64,
    /// Body bytes written to the client.
    pub response_bytes: u64,
    /// The start of the request body, as far as [`super::Settings::keep_body`] asks for it.
    pub body: Vec<u8>,
    /// The connection on which it came, counted from 1.
    pub connection: u64,
    /// When its head was read, since the proxy started.
    pub started: Duration,
    /// When its answer was written, or given up; `None` while it runs.
    pub finished: Option<Duration>,
    /// Whether a fault was applied.
    pub faulty: bool,
}

impl Seen {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether the method matches and the path contains the text.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// All requests in order of arrival.
#[derive(Debug)]
pub(super) struct Log {
    start: Instant,
    seen: Mutex<Vec<Seen>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), seen: Mutex::default() }
    }

    pub(super) fn begin(&self, mut seen: Seen) -> usize {
        seen.started = self.start.elapsed();
        let mut all = self.all();
        all.push(seen);
        all.len() - 1
    }

    /// Changes an entry, unless the log was cleared in the meantime.
    pub(super) fn edit(&self, entry: usize, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.all().get_mut(entry) {
            change(seen);
        }
    }

    pub(super) fn finish(&self, entry: usize) {
        let now = self.start.elapsed();
        self.edit(entry, |seen| seen.finished = Some(now));
    }

    pub(super) fn list(&self) -> Vec<Seen> {
        self.all().clone()
    }

    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits a request line into method, path and query.
pub(super) fn split(first: &str) -> Option<(String, String, String)> {
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some((method.to_owned(), path.to_owned(), query.to_owned()))
}

/// The headers as they may be written down.
pub(super) fn shown(head: &Head, keep_secrets: bool) -> Vec<(String, String)> {
    let hidden = |name: &str| {
        !keep_secrets && matches!(name, "authorization" | "proxy-authorization" | "cookie")
    };
    let show = |(name, value): &(String, String)| {
        let scheme = value.split(' ').next().unwrap_or_default();
        let value = if hidden(name) { format!("{scheme} …") } else { value.clone() };
        (name.clone(), value)
    };
    head.headers.iter().map(show).collect()
}
