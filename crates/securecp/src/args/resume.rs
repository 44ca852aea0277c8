use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Being interrupted")]
pub(crate) struct ResumeArgs {
    /// Directory for notes about transfers under way, so that the same copy can be continued after an interruption
    /// [default: $XDG_STATE_HOME/securecp, or ~/.local/state/securecp]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Keep nothing for the case of an interruption; the next copy begins anew
    #[arg(long)]
    pub(crate) no_journal: bool,

    /// Bytes in each piece of a large blob; blobs of twice as much are sent in pieces
    #[arg(long, value_name = "BYTES", hide = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1 << 16..=1 << 40))]
    pub(crate) upload_piece_size: Option<u64>,
}
