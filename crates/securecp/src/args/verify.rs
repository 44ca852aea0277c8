use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ImageArgs, JudgeArgs, RetryArgs, SelectionArgs, SrcArgs};

/// Judge an image under the trust policy without copying it
///
/// Reads what a copy would read before its first layer, and shows the verdict: the entry of the policy that decided,
/// and for each manifest the requirements and signatures. Exit code 3 means refused.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Image to judge, TRANSPORT:NAME
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) judging: JudgeArgs,
    /// Where a change record by a recorder of the trust file says from what the image was made, judge that as well; it
    /// stands in for signatures that the changed image cannot have (docs/change-records.md)
    #[arg(long)]
    pub(crate) follow_record: bool,
    #[command(flatten)]
    pub(crate) side: ImageArgs,
    #[command(flatten)]
    pub(crate) recorded: SrcArgs,
    #[command(flatten)]
    pub(crate) retry: RetryArgs,

    /// Print the verdict as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look into a trust policy; no network is used
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) question: PolicyQuestion,
}

/// What is asked about a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyQuestion {
    /// Say whether a file is a valid policy, and what it asks for
    Check(PolicyCheckArgs),
    /// Say which entry of the policy decides about an image, and what it asks for
    Explain(PolicyExplainArgs),
}

/// `policy check`
#[derive(Debug, Args)]
pub(crate) struct PolicyCheckArgs {
    /// Policy file
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: PathBuf,

    /// Print the entries as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `policy explain`
#[derive(Debug, Args)]
pub(crate) struct PolicyExplainArgs {
    /// Image as it would be named in a copy, TRANSPORT:NAME
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) image: String,

    /// Trust file to explain too
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,

    /// Print the explanation as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
