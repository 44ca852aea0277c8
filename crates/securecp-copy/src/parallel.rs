use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Calls `work` on every item from at most `workers` threads; results keep the order of the items.
///
/// After a failure no further item is begun; the failure of the first item in order is returned.
pub(crate) fn each<T: Sync, R: Send, E: Send>(
    workers: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if items.len() < 2 || workers < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<R, E>>>> =
        items.iter().map(|_| Mutex::default()).collect();
    let worker = || {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(turn) else { return };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            *results[turn].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.min(items.len()) {
            scope.spawn(worker);
        }
    });
    collect(results)
}

fn collect<R, E>(results: Vec<Mutex<Option<Result<R, E>>>>) -> Result<Vec<R>, E> {
    let mut done = Vec::with_capacity(results.len());
    let mut failure = None;
    for result in results {
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(value)) => done.push(value),
            Some(Err(error)) => failure = failure.or(Some(error)),
            None => {}
        }
    }
    failure.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = each(8, &items, |n| Ok::<_, ()>(n * 2)).unwrap();
        assert_eq!(doubled, items.iter().map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn stops_at_a_failure_and_returns_it() {
        let items: Vec<usize> = (0..10_000).collect();
        let begun = AtomicUsize::new(0);
        let result = each(4, &items, |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *n == 3 { Err("three") } else { Ok(()) }
        });
        assert_eq!(result, Err("three"));
        assert!(begun.load(Ordering::Relaxed) < items.len());
    }
}
