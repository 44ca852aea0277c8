use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{fs, io};

/// Longer than any system needs to forget a thread.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// Does `work` on every item, each on a thread of its own; where no more threads are to be had, the caller does the rest.
/// Results keep the order of the items.
pub fn each_on_a_thread<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    each(Builder::new, items, &work)
}

/// Checks that `count` threads can run beside those that run now. They are gone again when this returns, so that another
/// process of the user may take their places; ask for more than are needed.
///
/// # Errors
/// The system refuses one of them: its limit of processes (RLIMIT_NPROC), of a group (pids.max) or of memory is reached.
pub fn check_threads(count: usize) -> io::Result<()> {
    check(Builder::new, count)
}

fn check(thread: impl Fn() -> Builder, count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    // Nobody panics with it in hand, and nothing is guarded.
    let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let places = thread::scope(|scope| {
        let wait = || {
            drop(gate.lock());
            place()
        };
        let begun: io::Result<Vec<_>> =
            (0..count).map(|_| thread().spawn_scoped(scope, wait)).collect();
        drop(held);
        let end = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().map_err(|_| io::Error::other("a thread"))
        };
        begun?.into_iter().map(end).collect::<io::Result<Vec<_>>>()
    })?;
    places.into_iter().flatten().for_each(|place| forgotten(&place));
    Ok(())
}

/// Where the system keeps what it knows of the calling thread (proc(5)), if it does.
fn place() -> Option<PathBuf> {
    Some(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?))
}

/// Waits until a thread that has ended is not counted any more, which is a little later than when it can be joined.
fn forgotten(place: &Path) {
    let began = Instant::now();
    while place.exists() && began.elapsed() < FORGOTTEN {
        thread::sleep(Duration::from_micros(50));
    }
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// More than any address space has.
    fn impossible() -> Builder {
        Builder::new().stack_size(1 << 47)
    }

    #[test]
    fn keeps_order() {
        assert_eq!(each_on_a_thread(&[1, 2, 3], |n| n * 2), [2, 4, 6]);
    }

    #[test]
    fn threads_that_cannot_be_had_are_told() {
        check_threads(3).unwrap();
        check(impossible, 0).unwrap();
        assert!(check(impossible, 1).is_err());
        let begun = AtomicUsize::new(0);
        let second = || match begun.fetch_add(1, Ordering::Relaxed) {
            0 => Builder::new(),
            _ => impossible(),
        };
        assert!(check(second, 3).is_err());
        assert_eq!(begun.into_inner(), 2, "no further one is tried");
    }

    #[test]
    fn a_thread_has_a_place_that_is_gone_when_it_is_forgotten() {
        for _ in 0..100 {
            let place = thread::spawn(place).join().unwrap().unwrap();
            forgotten(&place);
            assert!(!place.exists(), "{place:?}");
        }
        assert!(place().unwrap().exists());
    }

    #[test]
    fn goes_on_without_threads() {
        assert!(impossible().spawn(|| ()).is_err(), "the premise");
        let own = thread::current().id();
        let found = each(impossible, &[1, 2, 3], &|n| (n * 2, thread::current().id()));
        assert_eq!(found, [(2, own), (4, own), (6, own)]);
    }
}
