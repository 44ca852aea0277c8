//! `securecp completion`

use clap::CommandFactory;

use crate::args::{Cli, CompletionArgs};
use crate::failure::Failure;
use crate::session::Session;

/// Prints a completion script, made from the argument table.
pub(crate) fn run(args: &CompletionArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "securecp", &mut script);
    session.write(&script)
}
