use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::number::parse_number;
use super::switch::parse_switch;
use super::{ChainArgs, RetryArgs, RunArgs, SidesArgs};

/// Copy an image
///
/// An image is TRANSPORT:NAME, for example docker://registry.example/app:v1, oci:DIRECTORY:NAME or dir:DIRECTORY. The
/// names at the destinations change last, after everything else has arrived and was read back.
///
/// Groups of options stand in the order in which an image meets them: what is chosen, whether it may pass, what is changed
/// on the way, signatures, names; then how the sides are reached.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Image to copy
    #[arg(value_name = "SOURCE", required = true)]
    pub(crate) source: String,

    /// Where to copy it to; several places are one plan, and no name moves before all of them have everything
    #[arg(value_name = "DESTINATION", required = true, num_args = 1..)]
    pub(crate) destinations: Vec<String>,

    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    #[command(flatten)]
    pub(crate) names: NameArgs,
    #[command(flatten)]
    pub(crate) sides: SidesArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is copied")]
pub(crate) struct SelectionArgs {
    /// Copy the index with all its images; the same as --multi-arch all
    #[arg(short, long)]
    pub(crate) all: bool,

    /// What to copy of an index: system (the image for one platform), all, or index-only
    #[arg(long, value_name = "WHAT")]
    pub(crate) multi_arch: Option<String>,

    /// Copy the image for this platform with its attestations, under its index; may be repeated
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Vec<String>,

    /// With --platform, what becomes of the index: sparse (its bytes stay) or rewrite (it names only what is copied)
    #[arg(long, value_name = "MODE")]
    pub(crate) index: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is changed")]
pub(crate) struct ChangeArgs {
    /// Fail rather than change any manifest
    #[arg(long)]
    pub(crate) preserve_digests: bool,

    /// Convert manifests: oci or v2s2
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Leave the source's signatures behind
    #[arg(long)]
    pub(crate) remove_signatures: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Names and results")]
pub(crate) struct NameArgs {
    /// Further tags in the destination's repository; may be repeated
    #[arg(long, value_name = "TAG,…")]
    pub(crate) additional_tag: Vec<String>,

    /// Copy every tag of the source's repository, or name of its layout, under the same name; all in one plan
    #[arg(long)]
    pub(crate) all_tags: bool,

    /// With --all-tags, only the tags that fit: GLOB, regex:EXPRESSION or range:VERSIONS; may be repeated
    #[arg(long, value_name = "FILTER")]
    pub(crate) tag_filter: Vec<String>,

    /// Do not move a name that stands for another digest
    #[arg(long)]
    pub(crate) no_clobber: bool,

    /// Move names only from this digest, looked at directly before and after
    #[arg(long, value_name = "DIGEST")]
    pub(crate) expect_dest_digest: Option<String>,

    /// Write the digest of the copied manifest to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Reaching both sides")]
pub(crate) struct BothSidesArgs {
    /// File with credentials for both sides, instead of the usual ones
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    /// The reference's old option for both sides
    #[arg(long, hide = true, value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How hard to try")]
pub(crate) struct EffortArgs {
    #[command(flatten)]
    pub(crate) retry: RetryArgs,

    /// Blobs in motion at the same time; 0 means the default [default: 6]
    #[arg(long, value_name = "N", value_parser = parse_number::<usize>)]
    pub(crate) image_parallel_copies: Option<usize>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Judge and plan, show the plan, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// How to show progress, on standard error
    #[arg(long, value_name = "FORM", value_enum)]
    pub(crate) progress: Option<ProgressArg>,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressArg {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Moving bars
    Bars,
    /// A line for each thing that happens
    Lines,
    /// A JSON object on each line
    Json,
    /// Nothing but warnings
    None,
}
