use std::time::Duration;

use clap::Args;

use super::ImageArgs;
use super::duration::parse_duration;

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

    #[command(flatten)]
    pub(crate) side: ImageArgs,

    /// Further attempts after a failure that may pass [default: 2]
    #[arg(long, value_name = "N")]
    pub(crate) retry_times: Option<u32>,

    /// Time between attempts; doubling when not given
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) retry_delay: Option<Duration>,
}
