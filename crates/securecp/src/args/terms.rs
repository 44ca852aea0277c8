use clap::Args;

use super::copy::{ChangeArgs, OutputArgs};
use super::{
    BothSidesArgs, CompressArgs, CryptArgs, DestArgs, EffortArgs, EvidenceArgs, JudgeArgs,
    ResumeArgs, SelectionArgs, SignArgs, SrcArgs,
};

/// What images go through, in the order in which they meet it; the same for every command that copies.
#[derive(Debug, Args)]
pub(crate) struct ChainArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) judging: JudgeArgs,
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
    #[command(flatten)]
    pub(crate) changes: ChangeArgs,
    #[command(flatten)]
    pub(crate) encryption: CryptArgs,
    #[command(flatten)]
    pub(crate) compression: CompressArgs,
    #[command(flatten)]
    pub(crate) signing: SignArgs,
}

/// How a run goes about it, and what it shows; the same for every command that copies.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) effort: EffortArgs,
    #[command(flatten)]
    pub(crate) resuming: ResumeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How the two sides of a copy are reached.
#[derive(Debug, Args)]
pub(crate) struct SidesArgs {
    #[command(flatten)]
    pub(crate) source: SrcArgs,
    #[command(flatten)]
    pub(crate) destination: DestArgs,
    #[command(flatten)]
    pub(crate) both: BothSidesArgs,
}
