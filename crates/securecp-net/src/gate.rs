use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use securecp_layer::{Scope, Stopped};

/// For each host the instant before which nobody may send, shared by all requests of the process. A server that says
/// "later" to one request means all of them; otherwise each parallel transfer would use up an attempt of its own.
#[derive(Debug, Default)]
pub struct Gate {
    not_before: Mutex<HashMap<String, Instant>>,
}

impl Gate {
    /// Lets nobody send to `host` for `time`; never shortens an earlier hold.
    pub fn hold(&self, host: &str, time: Duration) {
        let Some(end) = Instant::now().checked_add(time) else { return };
        let mut map = self.lock();
        let entry = map.entry(host.to_owned()).or_insert(end);
        *entry = end.max(*entry);
    }

    /// Waits until `host` may be sent to.
    ///
    /// # Errors
    /// The scope ended first.
    pub fn pass(&self, host: &str, scope: &Scope) -> Result<(), Stopped> {
        while let Some(rest) = self.rest(host) {
            scope.sleep(rest)?;
        }
        scope.check()
    }

    fn rest(&self, host: &str) -> Option<Duration> {
        let mut map = self.lock();
        let rest = map.get(host)?.checked_duration_since(Instant::now());
        let rest = rest.filter(|rest| !rest.is_zero());
        if rest.is_none() {
            map.remove(host);
        }
        rest
    }

    /// The map is consistent after every statement, so a poisoned lock is taken over.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_one_host_and_never_shortens() {
        let gate = Gate::default();
        gate.hold("a", Duration::from_millis(80));
        gate.hold("a", Duration::from_millis(1));
        let start = Instant::now();
        gate.pass("b", &Scope::new()).unwrap();
        assert!(start.elapsed() < Duration::from_millis(60));
        gate.pass("a", &Scope::new()).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(80));
    }

    #[test]
    fn a_cancelled_scope_does_not_wait() {
        let gate = Gate::default();
        gate.hold("a", Duration::from_secs(60));
        let scope = Scope::new();
        scope.cancel();
        assert!(matches!(gate.pass("a", &scope), Err(Stopped::Cancelled)));
    }
}
