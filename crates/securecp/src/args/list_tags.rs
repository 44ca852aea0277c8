use clap::Args;

use super::{ImageArgs, RetryArgs};

/// List the tags of a repository
///
/// Prints JSON. A repository is docker://HOST/PATH without tag or digest; the names in an OCI layout (oci:DIRECTORY) are
/// listed too.
#[derive(Debug, Args)]
pub(crate) struct ListTagsArgs {
    /// Repository to look into
    #[arg(value_name = "REPOSITORY", required = true)]
    pub(crate) repository: String,

    #[command(flatten)]
    pub(crate) side: ImageArgs,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
