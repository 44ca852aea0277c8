use std::panic::resume_unwind;
use std::thread::{self, Builder, ScopedJoinHandle};

/// Does `work` on every item, each on a thread of its own; where no more threads are to be had, the caller does the rest.
/// Results keep the order of the items.
pub fn each_on_a_thread<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    each(Builder::new, items, &work)
}

fn each<T: Sync, R: Send>(
    thread: impl Fn() -> Builder,
    items: &[T],
    work: &(impl Fn(&T) -> R + Sync),
) -> Vec<R> {
    thread::scope(|scope| {
        let begin = |item| thread().spawn_scoped(scope, move || work(item)).ok();
        let begun: Vec<Option<ScopedJoinHandle<'_, R>>> = items.iter().map(begin).collect();
        let end = |(begun, item): (Option<ScopedJoinHandle<'_, R>>, &T)| match begun {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => work(item),
        };
        begun.into_iter().zip(items).map(end).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any address space has.
    fn impossible() -> Builder {
        Builder::new().stack_size(1 << 47)
    }

    #[test]
    fn keeps_order() {
        assert_eq!(each_on_a_thread(&[1, 2, 3], |n| n * 2), [2, 4, 6]);
    }

    #[test]
    fn goes_on_without_threads() {
        assert!(impossible().spawn(|| ()).is_err(), "the premise");
        let own = thread::current().id();
        let found = each(impossible, &[1, 2, 3], &|n| (n * 2, thread::current().id()));
        assert_eq!(found, [(2, own), (4, own), (6, own)]);
    }
}
