use std::path::PathBuf;

use clap::Args;

/// See it all work: two registries, an image, a policy, on this machine only
///
/// Nothing but loopback is used and everything is removed at the end. Each step is shown as the command line that it is.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Make everything in this new directory and leave it there
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}
