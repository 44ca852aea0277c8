use std::time::Duration;

use super::Globals;
use crate::args::RetryArgs;

/// How often a failure that may pass is tried again, as far as the user says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    pub(crate) times: Option<u32>,
    pub(crate) delay: Option<Duration>,
}

impl Retry {
    /// For a command that only looks: the reference tries once if nothing else is said.
    pub(crate) fn looking(args: &RetryArgs, globals: &Globals) -> Self {
        let given = Self::from(args);
        Self { times: given.times.or(globals.lenient.then_some(0)), ..given }
    }
}

impl From<&RetryArgs> for Retry {
    /// A delay of zero means the usual one, as in the reference.
    fn from(args: &RetryArgs) -> Self {
        let delay = args.retry_delay.filter(|delay| !delay.is_zero());
        Self { times: args.retry_times, delay }
    }
}
