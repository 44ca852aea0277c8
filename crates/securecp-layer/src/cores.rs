use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

/// One of the cores of this process, spoken for until dropped.
///
/// Every chain at work holds one, whether there are so many or not; helpers hold one only if one is idle. So many
/// layers at once use the cores by themselves, and a single layer uses all of them.
#[derive(Debug)]
pub(crate) struct Core(());

/// Cores are the process's, so their count is too.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Core {
    /// For a chain, which goes on in any case.
    pub(crate) fn take() -> Self {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// For a helper.
    pub(crate) fn idle() -> Option<Self> {
        let free = |taken: usize| (taken < all()).then_some(taken + 1);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self(()))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

fn all() -> usize {
    static ALL: OnceLock<usize> = OnceLock::new();
    *ALL.get_or_init(|| available_parallelism().map_or(1, NonZeroUsize::get))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_gets_none_while_all_are_taken() {
        let chains: Vec<Core> = (0..all()).map(|_| Core::take()).collect();
        assert!(Core::idle().is_none());
        drop(chains);
    }
}
