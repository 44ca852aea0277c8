use clap::Args;

use super::{ImageArgs, RetryArgs};

/// Serve images to another program over a socket, as the reference's proxy does
#[derive(Debug, Args)]
pub(crate) struct ImageProxyArgs {
    /// File descriptor of the socket (SOCK_SEQPACKET)
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) sockfd: i32,

    #[command(flatten)]
    pub(crate) side: ImageArgs,

    #[command(flatten)]
    pub(crate) retry: RetryArgs,
}
