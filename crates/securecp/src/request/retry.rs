use std::time::Duration;

use crate::args::RetryArgs;

/// How often a failure that may pass is tried again, as far as the user says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    pub(crate) times: Option<u32>,
    pub(crate) delay: Option<Duration>,
}

impl From<&RetryArgs> for Retry {
    /// A delay of zero means the usual one, as in the reference.
    fn from(args: &RetryArgs) -> Self {
        let delay = args.retry_delay.filter(|delay| !delay.is_zero());
        Self { times: args.retry_times, delay }
    }
}
