use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Why a job must not go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// Somebody asked for it.
    #[error("cancelled")]
    Cancelled,
    /// The time given is over.
    #[error("the time limit of {limit:?} is over")]
    Deadline {
        /// The time that was given.
        limit: Duration,
    },
    /// Another part of the same job failed; this is that failure.
    #[error("stopped because another part failed")]
    Failed(#[source] Arc<dyn Error + Send + Sync>),
}

/// What every wait of a job listens to: cancel, deadline, and the first failure. Clones share one state.
#[derive(Clone)]
pub struct Scope {
    inner: Arc<Inner>,
}

struct Inner {
    stopped: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
    deadline: Option<(Instant, Duration)>,
    parent: OnceLock<(Scope, Listener)>,
    next_listener: AtomicU64,
}

#[derive(Default)]
struct State {
    why: Option<Stopped>,
    listeners: Vec<(u64, Arc<dyn Fn() + Send + Sync>)>,
}

/// Keeps a callback registered; dropping it takes the callback back.
pub struct Listener {
    scope: Weak<Inner>,
    id: u64,
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl Scope {
    /// A scope without deadline.
    pub fn new() -> Self {
        Self::build(None)
    }

    /// A scope that ends after `limit`.
    pub fn lasting(limit: Duration) -> Self {
        Self::build(Instant::now().checked_add(limit).map(|end| (end, limit)))
    }

    /// A scope that ends with this one, but whose own failure or cancellation leaves this one going.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::build(self.inner.deadline);
        let weak = Arc::downgrade(&child.inner);
        let parent = Arc::downgrade(&self.inner);
        let listener = self.on_stop(move || {
            if let (Some(child), Some(parent)) = (weak.upgrade(), parent.upgrade()) {
                let why = lock(&parent.state).why.clone();
                Scope { inner: child }.stop(why.unwrap_or(Stopped::Cancelled));
            }
        });
        let _ = child.inner.parent.set((self.clone(), listener));
        child
    }

    /// Asks everything under this scope to end.
    pub fn cancel(&self) {
        self.stop(Stopped::Cancelled);
    }

    /// Ends the scope because of `error`; the first failure stays.
    pub fn fail(&self, error: Arc<dyn Error + Send + Sync>) {
        self.stop(Stopped::Failed(error));
    }

    /// Fails if the scope has ended.
    ///
    /// # Errors
    /// Why it has ended.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.inner.stopped.load(Ordering::Acquire) {
            return Err(lock(&self.inner.state).why.clone().unwrap_or(Stopped::Cancelled));
        }
        match self.inner.deadline {
            Some((end, limit)) if Instant::now() >= end => {
                self.stop(Stopped::Deadline { limit });
                Err(Stopped::Deadline { limit })
            }
            _ => Ok(()),
        }
    }

    /// When the scope ends by itself.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline.map(|(end, _)| end)
    }

    /// Sleeps for `time` unless the scope ends first.
    ///
    /// # Errors
    /// Why it has ended.
    pub fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            let until = self.deadline().map_or(end, |deadline| deadline.min(end));
            let state = lock(&self.inner.state);
            if state.why.is_none() {
                let wait =
                    self.inner.wake.wait_timeout(state, until.saturating_duration_since(now));
                drop(wait.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Calls `callback` once when the scope ends (at once if it has), from the thread that ends it. A passed deadline
    /// is noticed by [`Scope::check`] and [`Scope::sleep`], so a waiter also needs [`Scope::deadline`].
    #[must_use]
    pub fn on_stop(&self, callback: impl Fn() + Send + Sync + 'static) -> Listener {
        let id = self.inner.next_listener.fetch_add(1, Ordering::Relaxed);
        let mut state = lock(&self.inner.state);
        if state.why.is_some() {
            drop(state);
            callback();
        } else {
            state.listeners.push((id, Arc::new(callback)));
        }
        Listener { scope: Arc::downgrade(&self.inner), id }
    }

    fn build(deadline: Option<(Instant, Duration)>) -> Self {
        Self {
            inner: Arc::new(Inner {
                stopped: AtomicBool::new(false),
                state: Mutex::default(),
                wake: Condvar::new(),
                deadline,
                parent: OnceLock::new(),
                next_listener: AtomicU64::new(0),
            }),
        }
    }

    fn stop(&self, why: Stopped) {
        let mut state = lock(&self.inner.state);
        if state.why.is_some() {
            return;
        }
        state.why = Some(why);
        self.inner.stopped.store(true, Ordering::Release);
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        self.inner.wake.notify_all();
        for (_, callback) in listeners {
            callback();
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("stopped", &self.check().err()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(inner) = self.scope.upgrade() {
            lock(&inner.state).listeners.retain(|(id, _)| *id != self.id);
        }
    }
}

/// A panic elsewhere leaves this small state consistent, so a poisoned lock is taken over.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn keeps_the_first_failure() {
        let scope = Scope::new();
        scope.check().unwrap();
        scope.fail(Arc::from(Box::<dyn Error + Send + Sync>::from("first")));
        scope.cancel();
        let Err(Stopped::Failed(first)) = scope.check() else { panic!("expected a failure") };
        assert_eq!(first.to_string(), "first");
    }

    #[test]
    fn ends_at_its_deadline() {
        let scope = Scope::lasting(Duration::from_millis(20));
        assert!(matches!(scope.sleep(Duration::from_secs(60)), Err(Stopped::Deadline { .. })));
        assert!(scope.child().check().is_err());
    }

    #[test]
    fn a_cancel_ends_a_sleep_at_once() {
        let scope = Scope::new();
        let other = scope.child();
        let start = Instant::now();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(20));
        scope.cancel();
        assert!(matches!(sleeper.join().unwrap(), Err(Stopped::Cancelled)));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_child_ends_with_its_parent_and_not_the_other_way() {
        let parent = Scope::new();
        let child = parent.child();
        let sibling = parent.child();
        child.cancel();
        parent.check().unwrap();
        sibling.check().unwrap();
        parent.cancel();
        assert!(sibling.check().is_err());
        assert!(parent.child().check().is_err());
    }

    #[test]
    fn listeners_are_called_once_and_can_be_taken_back() {
        let scope = Scope::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = || {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let _kept = scope.on_stop(count());
        drop(scope.on_stop(count()));
        scope.cancel();
        scope.cancel();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let _late = scope.on_stop(count());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
