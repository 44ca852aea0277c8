use std::path::PathBuf;

use clap::Args;

use super::{ChainArgs, RunArgs, SidesArgs};

/// Copy many images
///
/// All images go as one set: no name at the destination changes before every image has arrived and was read back. With
/// --keep-going each image goes by itself.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Where the images are: a repository or an image of a registry, a directory, or a YAML file, as --src says
    #[arg(value_name = "SOURCE", required = true)]
    pub(crate) source: String,

    /// Where to copy them to: a registry with a path, or a directory, as --dest says
    #[arg(value_name = "DESTINATION", required = true)]
    pub(crate) destination: String,

    #[command(flatten)]
    pub(crate) many: ManyArgs,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    #[command(flatten)]
    pub(crate) sides: SidesArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Which images, and what they are called.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which images, under which names")]
pub(crate) struct ManyArgs {
    /// What SOURCE is: docker (registry/repository, with a tag or digest for one image), dir, or yaml
    #[arg(short, long, value_name = "TRANSPORT")]
    pub(crate) src: Option<String>,

    /// What DESTINATION is: docker or dir
    #[arg(short, long, value_name = "TRANSPORT")]
    pub(crate) dest: Option<String>,

    /// Keep the whole name of each image below DESTINATION, not only its last part
    #[arg(long)]
    pub(crate) scoped: bool,

    /// Add this to the end of every name at the destination
    #[arg(long, value_name = "TEXT")]
    pub(crate) append_suffix: Option<String>,

    /// Do not move a name that stands for another digest
    #[arg(long)]
    pub(crate) no_clobber: bool,

    /// Copy each image by itself, go on after one that fails, and fail at the end
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Write a line with digest and name of each copied image to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
}
