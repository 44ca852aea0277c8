//! The command line: arguments, configuration files, rendering, exit codes.

mod args;
mod commands;
mod connect;
mod copying;
mod dialect;
mod evidence_view;
mod failure;
mod files;
mod follow;
mod hint;
mod inspection;
mod logging;
mod lookaside;
mod open_files;
mod plan_view;
mod policy;
mod policy_view;
mod progress;
mod prompt;
mod request;
mod routes;
mod session;
mod signers;
mod stop;
mod sync;
mod tag_filter;
mod template;
mod trust;
mod usage;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use securecp_layer::Scope;

use args::Unread;
use dialect::Dialect;
use failure::{Exit, Failure};
use request::Globals;
use session::Session;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let exit = std::env::var_os("SECURECP_EXIT");
    let dialect = Dialect::choose(words.first().map(OsString::as_os_str), exit.as_deref());
    let ended = match run(words, dialect) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            failure.print(dialect);
            failure.exit()
        }
    };
    dialect.number(ended).into()
}

fn run(words: Vec<OsString>, dialect: Dialect) -> Result<(), Failure> {
    let (cli, emptied) = match args::parse(&words, dialect.is_skopeo()) {
        Ok(read) => read,
        Err(Unread::Empty(option)) => return Err(usage::empty(&option)),
        Err(Unread::Parser(error)) => {
            let failure = usage::failure(&error, &words, dialect);
            return failure.map_or_else(|| show(&error, dialect), Err);
        }
    };
    for option in emptied.0 {
        progress::warn(&format!("{option} is empty, which is taken as not given"));
    }
    logging::start(&cli.globals, cli.command.is_quiet());
    open_files::raise_limit();
    let globals = Globals::try_from(cli.globals)?.with_manners(dialect.is_skopeo())?;
    let scope = globals.time_limit.map_or_else(Scope::new, Scope::lasting);
    stop::cancel_on_signals(&scope).context("listening for signals")?;
    let mut out = io::stdout().lock();
    let mut session = Session { globals, dialect, scope: &scope, out: &mut out };
    commands::run(cli.command, &mut session)
}

/// Help and version, as asked for.
fn show(text: &clap::Error, dialect: Dialect) -> Result<(), Failure> {
    let printed = match dialect.version().filter(|_| text.kind() == ErrorKind::DisplayVersion) {
        Some(version) => io::stdout().write_all(version.as_bytes()),
        None => text.print(),
    };
    match printed {
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed.context("writing the help")?),
    }
}
