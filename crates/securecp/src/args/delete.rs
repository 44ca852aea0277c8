use clap::Args;

use super::{ImageArgs, RetryArgs};

/// Delete an image
///
/// A registry deletes by digest: every other tag of the repository that stands for the same digest goes with it. Those
/// tags are named.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Image to delete, docker:// or oci:
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) side: ImageArgs,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
