use std::time::Duration;

use clap::Args;

use super::duration::parse_duration;
use super::number::parse_number;

/// How often a failure that may pass is tried again.
#[derive(Debug, Args)]
#[command(next_help_heading = "How hard to try")]
pub(crate) struct RetryArgs {
    /// Further attempts after a failure that may pass
    #[arg(long, value_name = "N", value_parser = parse_number::<u32>)]
    pub(crate) retry_times: Option<u32>,

    /// Time between attempts; doubling when not given
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retry_delay: Option<Duration>,
}
