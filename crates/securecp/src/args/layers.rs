use clap::Args;

use super::{ImageArgs, RetryArgs};

/// Write layers of an image into a new directory
///
/// The directory is called layers-… and is made in the current one. `copy IMAGE dir:DIRECTORY` does the same for a whole
/// image.
#[derive(Debug, Args)]
pub(crate) struct LayersArgs {
    /// Image whose layers are wanted
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) image: String,

    /// Which of its blobs, by digest or by the hexadecimal part of one [default: all layers and the configuration]
    #[arg(value_name = "DIGEST")]
    pub(crate) digests: Vec<String>,

    #[command(flatten)]
    pub(crate) side: ImageArgs,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
