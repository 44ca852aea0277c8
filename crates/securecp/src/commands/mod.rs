//! One file for each command.

mod copy;
mod delete;
mod demo;
mod inspect;
mod list_tags;
mod manifest_digest;
mod serve;

use crate::args::Command;
use crate::failure::Failure;
use crate::session::Session;

/// Does what was asked.
pub(crate) fn run(command: Command, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Copy(args) => copy::run(*args, session),
        Command::Inspect(args) => inspect::run(*args, session),
        Command::ListTags(args) => list_tags::run(*args, session),
        Command::Delete(args) => delete::run(*args, session),
        Command::ManifestDigest(args) => manifest_digest::run(&args, session),
        Command::Serve(args) => serve::run(&args, session),
        Command::Demo(args) => demo::run(&args, session),
    }
}
