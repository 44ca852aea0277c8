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

/// Make a key pair for sigstore signatures
///
/// Writes PREFIX.private, encrypted under a passphrase, and PREFIX.pub. Files that exist are never overwritten.
#[derive(Debug, Args)]
pub(crate) struct GenerateSigstoreKeyArgs {
    /// What the names of both files begin with
    #[arg(long, value_name = "PREFIX", required = true)]
    pub(crate) output_prefix: PathBuf,

    /// File whose first line is the passphrase of the new private key; without it the passphrase is asked for
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}
