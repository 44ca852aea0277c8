use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder};

/// The threads of one job: however deeply its work is split, no more than so many do it at once.
#[derive(Debug)]
pub(crate) struct Workers {
    /// Threads that may still be started beside the caller's own.
    spare: AtomicUsize,
    thread: fn() -> Builder,
}

impl Workers {
    pub(crate) fn new(count: usize) -> Self {
        Self { spare: AtomicUsize::new(count.saturating_sub(1)), thread: Builder::new }
    }

    /// Calls `work` on every item; results keep the order of the items. May be called from within `work`.
    ///
    /// The caller works too, and is joined by others as long as some are free and the system gives them, so nobody waits
    /// for a thread. After a failure no further item is begun; the failure of the first item in order is returned.
    pub(crate) fn each<T: Sync, R: Send, E: Send>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<R, E> + Sync,
    ) -> Result<Vec<R>, E> {
        let batch = Batch {
            items,
            next: AtomicUsize::new(0),
            results: items.iter().map(|_| Mutex::default()).collect(),
        };
        thread::scope(|scope| self.take_part(scope, &batch, &work));
        batch.collect()
    }

    /// Does two things, at the same time if a thread is free.
    pub(crate) fn both<A: Send + Sync, B: Send + Sync>(
        &self,
        first: impl Fn() -> A + Sync,
        second: impl Fn() -> B + Sync,
    ) -> (A, B) {
        let (one, other) = (OnceLock::new(), OnceLock::new());
        let work = |turn: &bool| {
            match turn {
                true => drop(one.get_or_init(&first)),
                false => drop(other.get_or_init(&second)),
            }
            Ok::<_, Infallible>(())
        };
        let Ok(_) = self.each(&[true, false], work);
        // Both were done; a failure to begin would have been a panic above.
        (one.into_inner().unwrap_or_else(first), other.into_inner().unwrap_or_else(second))
    }

    fn take_part<'scope, 'env, T: Sync, R: Send, E: Send>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        batch: &'env Batch<'_, T, R, E>,
        work: &'env (impl Fn(&T) -> Result<R, E> + Sync),
    ) {
        while let Some((turn, item)) = batch.take() {
            if let Some(permit) = batch.has_more().then(|| self.permit()).flatten() {
                let join = move || {
                    let _held = permit;
                    self.take_part(scope, batch, work);
                };
                // Where there are no more threads, those that are there do it all.
                let _ = (self.thread)().spawn_scoped(scope, join);
            }
            batch.note(turn, work(item));
        }
    }

    fn permit(&self) -> Option<Permit<'_>> {
        let take = |spare: usize| spare.checked_sub(1);
        let taken = self.spare.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.ok().map(|_| Permit(self))
    }
}

/// The right to one thread more.
struct Permit<'a>(&'a Workers);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.spare.fetch_add(1, Ordering::AcqRel);
    }
}

struct Batch<'a, T, R, E> {
    items: &'a [T],
    next: AtomicUsize,
    results: Vec<Mutex<Option<Result<R, E>>>>,
}

impl<'a, T, R, E> Batch<'a, T, R, E> {
    fn take(&self) -> Option<(usize, &'a T)> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.items.get(turn).map(|item| (turn, item))
    }

    fn has_more(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.items.len()
    }

    fn note(&self, turn: usize, result: Result<R, E>) {
        if result.is_err() {
            self.next.store(self.items.len(), Ordering::Relaxed);
        }
        *self.results[turn].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    fn collect(self) -> Result<Vec<R>, E> {
        let mut done = Vec::with_capacity(self.results.len());
        let mut failure = None;
        for result in self.results {
            match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(Ok(value)) => done.push(value),
                Some(Err(error)) => failure = failure.or(Some(error)),
                None => {}
            }
        }
        failure.map_or(Ok(done), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keeps_order() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = Workers::new(8).each(&items, |n| Ok::<_, ()>(n * 2)).unwrap();
        assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn stops_at_a_failure_and_returns_it() {
        let items: Vec<usize> = (0..10_000).collect();
        let begun = AtomicUsize::new(0);
        let result = Workers::new(4).each(&items, |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *n == 3 { Err("three") } else { Ok(()) }
        });
        assert_eq!(result, Err("three"));
        assert!(begun.load(Ordering::Relaxed) < items.len());
    }

    #[test]
    fn work_within_work_shares_the_threads() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let workers = Workers::new(4);
        let request = |_: &usize| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        };
        workers.each(&[0; 10], |_| workers.each(&[0; 10], request).map(drop)).unwrap();
        assert!((2..=4).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        assert_eq!(workers.spare.load(Ordering::SeqCst), 3, "every thread was given back");
    }

    #[test]
    fn two_things_are_done_at_the_same_time_if_a_thread_is_free() {
        let begin = std::time::Instant::now();
        let meet = std::sync::Barrier::new(2);
        let (one, other) =
            Workers::new(2).both(|| meet.wait().is_leader(), || meet.wait().is_leader());
        assert!(one != other && begin.elapsed() < Duration::from_secs(5));
        assert_eq!(Workers::new(1).both(|| 1, || "two"), (1, "two"));
    }

    #[test]
    fn goes_on_where_no_thread_is_to_be_had() {
        let impossible = || Builder::new().stack_size(1 << 47);
        let workers = Workers { thread: impossible, ..Workers::new(4) };
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(workers.each(&items, |n| Ok::<_, ()>(*n)).unwrap(), items);
        assert_eq!(workers.spare.load(Ordering::SeqCst), 3, "every permit was given back");
    }

    #[test]
    fn one_thread_is_enough() {
        let workers = Workers::new(0);
        let nested = |n: &usize| workers.each(&[1, 2], |m| Ok::<_, ()>(n * m));
        assert_eq!(workers.each(&[1, 2], nested).unwrap(), [vec![1, 2], vec![2, 4]]);
    }
}
