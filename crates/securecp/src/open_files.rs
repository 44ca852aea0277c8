//! How many files and connections may be open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for the largest runs, and few enough for programs that go through all of them when they start.
const WANTED: u64 = 1 << 16;

/// Raises the limit of this process, which is often set for programs that cannot take more, as far as is allowed. If that
/// fails the old one holds, and whoever meets it says so.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let (Some(current), maximum) = (limit.current, limit.maximum) {
        let raised = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
        if raised > current {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
        }
    }
}
