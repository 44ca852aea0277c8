use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Run an OCI registry over a directory
///
/// There is no authentication: whoever reaches the address may read, and write unless --read-only is given.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 chooses a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,

    /// Directory that holds everything; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Refuse everything that would change the directory
    #[arg(long)]
    pub(crate) read_only: bool,
}
