//! The command line: arguments, configuration files, rendering, exit codes.

mod args;
mod commands;
mod connect;
mod failure;
mod files;
mod hint;
mod inspection;
mod logging;
mod lookaside;
mod plan_view;
mod policy;
mod progress;
mod prompt;
mod request;
mod session;
mod stop;
mod template;
mod usage;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use securecp_layer::Scope;

use args::Cli;
use failure::{Exit, Failure};
use request::Globals;
use session::Session;

fn main() -> ExitCode {
    match run(std::env::args_os()) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            failure.print();
            failure.exit().into()
        }
    }
}

fn run(words: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return usage::failure(&error).map_or_else(|| show(&error), Err),
    };
    logging::start(&cli.globals);
    let globals = Globals::try_from(cli.globals)?;
    let scope = globals.time_limit.map_or_else(Scope::new, Scope::lasting);
    stop::cancel_on_signals(&scope).context("listening for signals")?;
    let mut out = io::stdout().lock();
    let mut session = Session { globals, scope: &scope, out: &mut out };
    commands::run(cli.command, &mut session)
}

/// Help and version, as asked for.
fn show(text: &clap::Error) -> Result<(), Failure> {
    Ok(text.print().context("writing the help")?)
}
