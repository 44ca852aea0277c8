use std::path::PathBuf;

use clap::Args;

/// Print the digest of a manifest file
#[derive(Debug, Args)]
pub(crate) struct ManifestDigestArgs {
    /// The file
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: PathBuf,
}
