use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Print a script that completes command lines in a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL", required = true)]
    pub(crate) shell: Shell,
}

/// Write manual pages
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory to write them to; made if it is missing
    #[arg(value_name = "DIR", required = true)]
    pub(crate) directory: PathBuf,
}
