use clap::Args;

use super::{ImageArgs, RetryArgs};

/// Show what an image is
///
/// Prints name, digest, creation time, labels, platform and layers as JSON. The trust policy is not asked.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Image to look at, TRANSPORT:NAME
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) image: String,

    /// Print the manifest's exact bytes; with --config those of the configuration
    #[arg(long)]
    pub(crate) raw: bool,

    /// Print the image's configuration
    #[arg(long)]
    pub(crate) config: bool,

    /// Do not list the repository's tags
    #[arg(short, long)]
    pub(crate) no_tags: bool,

    /// Fill in a Go template instead of printing JSON, for example '{{.Digest}}'
    #[arg(short, long, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,

    /// Compute the digest shown with this algorithm: sha256, sha384 or sha512
    #[arg(long, value_name = "ALGORITHM")]
    pub(crate) manifest_digest: Option<String>,

    #[command(flatten)]
    pub(crate) side: ImageArgs,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
