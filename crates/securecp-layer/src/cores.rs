use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

/// One of the cores of this process, spoken for until dropped.
///
/// Every chain at work holds one, whether there are so many or not; helpers hold one only if one is idle. So many
/// layers at once use the cores by themselves, and a single layer uses all of them. A helper that works beside a layer's
/// way keeps no compressor away, and several share a core: hashing or writing what one core decompresses takes a third of
/// another.
#[derive(Debug)]
pub(crate) struct Core(Use);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    Full,
    Part,
}

/// Cores are the process's, so their counts are too.
static FULLY: AtomicUsize = AtomicUsize::new(0);
static PARTLY: AtomicUsize = AtomicUsize::new(0);

impl Core {
    /// For a chain, which goes on in any case.
    pub(crate) fn take() -> Self {
        FULLY.fetch_add(1, Ordering::Relaxed);
        Self(Use::Full)
    }

    /// For a helper that works beside a layer's way.
    pub(crate) fn idle() -> Option<Self> {
        let fully = FULLY.load(Ordering::Relaxed);
        let places = all().saturating_sub(fully).saturating_mul(ON_ONE_CORE);
        let free = |partly: usize| (partly < places).then_some(partly + 1);
        Self::counted(&PARTLY, free, Use::Part)
    }

    /// For a helper that compresses.
    pub(crate) fn for_compressor() -> Option<Self> {
        let free = |fully: usize| (fully < all()).then_some(fully + 1);
        Self::counted(&FULLY, free, Use::Full)
    }

    /// Whether more is at work than there are cores.
    pub(crate) fn are_scarce() -> bool {
        FULLY.load(Ordering::Relaxed) > all()
    }

    fn counted(
        count: &AtomicUsize,
        free: impl FnMut(usize) -> Option<usize>,
        usage: Use,
    ) -> Option<Self> {
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self(usage))
    }
}

/// Helpers beside a layer's way that one idle core is enough for.
const ON_ONE_CORE: usize = 4;

impl Drop for Core {
    fn drop(&mut self) {
        let count = if self.0 == Use::Full { &FULLY } else { &PARTLY };
        count.fetch_sub(1, Ordering::Relaxed);
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
        assert!(Core::idle().is_none() && Core::for_compressor().is_none());
        let more = Core::take();
        assert!(Core::are_scarce());
        drop((chains, more));
    }
}
