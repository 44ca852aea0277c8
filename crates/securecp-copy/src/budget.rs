use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes may still be kept in memory, so that no registry can make a survey endless by many things of which each
/// is within its bound.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    limit: u64,
}

/// More was found than may be kept.
#[derive(Debug, thiserror::Error)]
#[error("together they have more than {limit} bytes")]
pub(crate) struct Exceeded {
    /// Bytes that may be kept.
    pub(crate) limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: AtomicU64::new(limit), limit }
    }

    pub(crate) fn take(&self, bytes: u64) -> Result<(), Exceeded> {
        let take = |left: u64| left.checked_sub(bytes);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Exceeded { limit: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_what_is_refused_is_not() {
        let budget = Budget::new(10);
        assert!(budget.take(7).is_ok());
        let error = budget.take(4).unwrap_err();
        assert_eq!(error.to_string(), "together they have more than 10 bytes");
        assert!(budget.take(3).is_ok() && budget.take(1).is_err());
    }
}
