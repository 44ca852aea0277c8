//! One maker at a time: whoever else wants the same value waits for it, and for its own scope.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use securecp_layer::{Scope, Stopped};

/// Values by key, each made by one thread while the others wait.
pub(crate) struct Flights<K, V> {
    slots: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

struct Slot<V> {
    state: Mutex<State<V>>,
    changed: Condvar,
}

enum State<V> {
    Empty,
    Making,
    Made(V),
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { slots: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone + Send + 'static> Flights<K, V> {
    /// The value of `key`, made anew if there is none that is `fresh`. A failure is the maker's alone: the next in line
    /// makes its own attempt.
    pub(crate) fn take<E: From<Stopped>>(
        &self,
        key: &K,
        scope: &Scope,
        fresh: impl Fn(&V) -> bool,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let slot = Arc::clone(lock(&self.slots).entry(key.clone()).or_insert_with(Slot::new));
        if let Some(found) = slot.claim(scope, fresh)? {
            return Ok(found);
        }
        let claim = Claim(&slot);
        let made = make()?;
        claim.fill(made.clone());
        Ok(made)
    }
}

impl<V: Clone + Send + 'static> Slot<V> {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Empty), changed: Condvar::new() })
    }

    /// The value, or `None` when it is now this caller's to make.
    fn claim(
        self: &Arc<Self>,
        scope: &Scope,
        fresh: impl Fn(&V) -> bool,
    ) -> Result<Option<V>, Stopped> {
        let stopped = Arc::new(AtomicBool::new(false));
        let _listener = scope.on_stop(self.waker(&stopped));
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Made(value) if fresh(value) => return Ok(Some(value.clone())),
                State::Making => {}
                _ => {
                    *state = State::Making;
                    return Ok(None);
                }
            }
            drop(state);
            // Never under the lock: a scope that ends here calls the waker, which takes the lock.
            scope.check()?;
            state = self.sleep(scope.deadline(), &stopped);
        }
    }

    fn waker(self: &Arc<Self>, stopped: &Arc<AtomicBool>) -> impl Fn() + Send + Sync + 'static {
        let (slot, stopped) = (Arc::downgrade(self), Arc::clone(stopped));
        move || {
            stopped.store(true, Ordering::Release);
            if let Some(slot) = slot.upgrade() {
                // Taking the lock makes sure that a waiter either sees the flag or is already asleep.
                drop(lock(&slot.state));
                slot.changed.notify_all();
            }
        }
    }

    /// Sleeps while somebody makes the value, until the scope is stopped or its deadline comes.
    fn sleep(&self, deadline: Option<Instant>, stopped: &AtomicBool) -> MutexGuard<'_, State<V>> {
        let state = lock(&self.state);
        if !matches!(*state, State::Making) || stopped.load(Ordering::Acquire) {
            return state;
        }
        match deadline {
            Some(end) => {
                let rest = end.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(state, rest);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The right to make a value; given back, also by a panic, so that nobody waits for ever.
struct Claim<'a, V>(&'a Slot<V>);

impl<V> Claim<'_, V> {
    fn fill(self, value: V) {
        *lock(&self.0.state) = State::Made(value);
    }
}

impl<V> Drop for Claim<'_, V> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if matches!(*state, State::Making) {
            *state = State::Empty;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

/// Every critical section here leaves its state consistent, so a poisoned lock is taken over.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn one_makes_and_all_get_it() {
        let flights = Flights::default();
        let count = AtomicU32::new(0);
        thread::scope(|threads| {
            for _ in 0..16 {
                threads.spawn(|| {
                    let made = flights.take(
                        &"k",
                        &Scope::new(),
                        |_| true,
                        || {
                            thread::sleep(Duration::from_millis(20));
                            count.fetch_add(1, Ordering::SeqCst);
                            Ok::<_, Stopped>(7)
                        },
                    );
                    assert_eq!(made.unwrap(), 7);
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn a_failure_leaves_the_place_to_the_next() {
        let flights: Flights<&str, u8> = Flights::default();
        let scope = Scope::new();
        assert!(flights.take(&"k", &scope, |_| true, || Err(Stopped::Cancelled)).is_err());
        assert_eq!(flights.take(&"k", &scope, |_| true, || Ok::<_, Stopped>(1)).unwrap(), 1);
        assert_eq!(flights.take(&"k", &scope, |_| false, || Ok::<_, Stopped>(2)).unwrap(), 2);
        assert_eq!(flights.take(&"k", &scope, |_| true, || Ok::<_, Stopped>(3)).unwrap(), 2);
    }

    #[test]
    fn a_waiter_is_stopped_by_its_own_scope() {
        let flights: Flights<&str, u8> = Flights::default();
        let (started, wait) = std::sync::mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(|| {
                flights.take(
                    &"k",
                    &Scope::new(),
                    |_| true,
                    || {
                        started.send(()).unwrap();
                        thread::sleep(Duration::from_millis(400));
                        Ok::<_, Stopped>(1)
                    },
                )
            });
            wait.recv().unwrap();
            let begin = Instant::now();
            for scope in [Scope::new(), Scope::lasting(Duration::from_millis(30))] {
                let other = scope.clone();
                threads.spawn(move || {
                    thread::sleep(Duration::from_millis(60));
                    other.cancel();
                });
                let waited = flights.take(&"k", &scope, |_| true, || Ok::<_, Stopped>(2));
                assert!(waited.is_err());
            }
            assert!(begin.elapsed() < Duration::from_millis(300));
        });
    }
}
