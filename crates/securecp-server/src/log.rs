use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode, Uri};

const KEPT: usize = 65_536;

/// One request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// The method.
    pub method: String,
    /// Path and query as received.
    pub target: String,
    /// The status sent; 0 while the request is being worked on.
    pub status: u16,
    /// Bytes of the request body received so far.
    pub bytes_in: u64,
    /// Bytes of the response body handed to the connection so far.
    pub bytes_out: u64,
}

/// The latest requests; nothing is kept unless it was asked for.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    enabled: bool,
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    method: Method,
    target: String,
    tally: Arc<Tally>,
}

/// What is counted while a request runs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    status: AtomicU16,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

impl Tally {
    pub(crate) fn answer(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }
}

impl RequestLog {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, entries: Mutex::default() }
    }

    pub(crate) fn begin(&self, method: &Method, uri: &Uri) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        if self.enabled {
            let target = uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
            let entry = Entry { method: method.clone(), target, tally: tally.clone() };
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if entries.len() == KEPT {
                entries.pop_front();
            }
            entries.push_back(entry);
        }
        tally
    }

    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(Entry::record).collect()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Entry {
    fn record(&self) -> RequestRecord {
        RequestRecord {
            method: self.method.to_string(),
            target: self.target.clone(),
            status: self.tally.status.load(Ordering::Relaxed),
            bytes_in: self.tally.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.tally.bytes_out.load(Ordering::Relaxed),
        }
    }
}
