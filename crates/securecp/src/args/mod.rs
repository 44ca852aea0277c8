//! The argument table: what the command line may say, word by word.
//!
//! This level only splits and names. What options mean, and which of them exclude each other, is decided by
//! [`crate::request`], so that every rule stands in one place and its error says what to do.

mod compress;
mod copy;
mod crypt;
mod delete;
mod demo;
mod duration;
mod empty;
mod evidence;
mod generate;
mod global;
mod image_proxy;
mod inspect;
mod later;
mod layers;
mod list;
mod list_tags;
mod login;
mod manifest_digest;
mod number;
mod resume;
mod retry;
mod secret;
mod serve;
mod side;
mod sign;
mod standalone;
mod switch;
mod sync;
mod table;
mod terms;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use compress::CompressArgs;
pub(crate) use copy::{BothSidesArgs, CopyArgs, EffortArgs, NameArgs, ProgressArg, SelectionArgs};
pub(crate) use crypt::CryptArgs;
pub(crate) use delete::DeleteArgs;
pub(crate) use demo::DemoArgs;
pub(crate) use evidence::EvidenceArgs;
pub(crate) use generate::{CompletionArgs, GenerateSigstoreKeyArgs, ManArgs};
pub(crate) use global::{GlobalArgs, LogLevel};
pub(crate) use image_proxy::ImageProxyArgs;
pub(crate) use inspect::InspectArgs;
pub(crate) use later::not_supported_yet;
pub(crate) use layers::LayersArgs;
pub(crate) use list::split_list;
pub(crate) use list_tags::ListTagsArgs;
pub(crate) use login::{AuthFileArgs, LoginArgs, LogoutArgs};
pub(crate) use manifest_digest::ManifestDigestArgs;
pub(crate) use resume::ResumeArgs;
pub(crate) use retry::RetryArgs;
pub(crate) use secret::Secret;
pub(crate) use serve::ServeArgs;
#[cfg(test)]
pub(crate) use side::Prefix;
pub(crate) use side::{DestArgs, ImageArgs, SideArgs, SrcArgs};
pub(crate) use sign::{JudgeArgs, SignArgs};
pub(crate) use standalone::{StandaloneSignArgs, StandaloneVerifyArgs, UntrustedDumpArgs};
pub(crate) use sync::SyncArgs;
pub(crate) use table::{Unread, parse};
pub(crate) use terms::{ChainArgs, RunArgs, SidesArgs};
pub(crate) use verify::{
    PolicyArgs, PolicyCheckArgs, PolicyExplainArgs, PolicyQuestion, VerifyArgs,
};

/// Copies container images between registries, OCI layouts and directories; nothing appears under the name that you
/// gave before everything else has succeeded.
#[derive(Debug, Parser)]
#[command(name = "securecp", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy an image
    Copy(Box<CopyArgs>),
    /// Copy many images
    Sync(Box<SyncArgs>),
    /// Judge an image under the trust policy without copying it
    Verify(Box<VerifyArgs>),
    /// Look into a trust policy; no network is used
    Policy(PolicyArgs),
    /// Show what an image is
    Inspect(Box<InspectArgs>),
    /// List the tags of a repository
    ListTags(Box<ListTagsArgs>),
    /// Delete an image
    Delete(Box<DeleteArgs>),
    /// Store credentials for a registry
    Login(Box<LoginArgs>),
    /// Remove the credentials for a registry
    Logout(LogoutArgs),
    /// Print the digest of a manifest file
    ManifestDigest(ManifestDigestArgs),
    /// Sign a manifest file with a key of your GnuPG
    StandaloneSign(StandaloneSignArgs),
    /// Verify a signature of a manifest file
    StandaloneVerify(StandaloneVerifyArgs),
    /// Show what a signature claims, WITHOUT VERIFYING ANY OF IT
    #[command(hide = true)]
    UntrustedSignatureDumpWithoutVerification(UntrustedDumpArgs),
    /// Make a key pair for sigstore signatures
    GenerateSigstoreKey(GenerateSigstoreKeyArgs),
    /// Serve images to another program over a socket
    #[command(hide = true)]
    ExperimentalImageProxy(Box<ImageProxyArgs>),
    /// Write layers of an image into a new directory
    #[command(hide = true)]
    Layers(Box<LayersArgs>),
    /// Run an OCI registry over a directory
    Serve(ServeArgs),
    /// Print a script that completes command lines in a shell
    Completion(CompletionArgs),
    /// Write manual pages
    Man(ManArgs),
    /// See it all work: two registries, an image, a policy, on this machine only
    Demo(DemoArgs),
}

impl Command {
    /// Whether a person is to be told nothing of what goes on.
    pub(crate) fn is_quiet(&self) -> bool {
        let output = match self {
            Self::Copy(args) => &args.run.output,
            Self::Sync(args) => &args.run.output,
            _ => return false,
        };
        output.quiet || matches!(output.progress, Some(ProgressArg::Json | ProgressArg::None))
    }
}

/// Reads a line of a test under the program's own name.
#[cfg(test)]
pub(crate) fn read<'a>(
    line: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Result<Cli, clap::Error> {
    let words: Vec<_> = line.into_iter().map(|word| word.as_ref().into()).collect();
    parse(&words, false).map(|(cli, _)| cli).map_err(|unread| match unread {
        Unread::Parser(error) => *error,
        Unread::Empty(option) => panic!("{option} is empty"),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        Cli::command().debug_assert();
        table::table().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_behind_the_command() {
        for line in [
            ["securecp", "--insecure-policy", "copy", "dir:a", "dir:b"],
            ["securecp", "copy", "--insecure-policy", "dir:a", "dir:b"],
            ["securecp", "copy", "dir:a", "dir:b", "--insecure-policy"],
        ] {
            assert!(read(&line).unwrap().globals.insecure_policy, "{line:?}");
        }
    }
}
