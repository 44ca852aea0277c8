//! The log on standard error: only this project's own lines, which never carry secrets.

use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{GlobalArgs, LogLevel};

/// What says that a request waits to be sent again.
const WAITING: &str = "securecp_registry::retry";

/// Starts the log that was asked for; without `--debug` and `--log-level` only warnings, and if it is
/// to be `quiet` none of waiting.
pub(crate) fn start(args: &GlobalArgs, quiet: bool) {
    let level = match (args.log_level, args.debug) {
        (Some(level), _) => filter(level),
        (None, true) => LevelFilter::DEBUG,
        (None, false) => LevelFilter::WARN,
    };
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && io::IsTerminal::is_terminal(&io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
    // Libraries below may log headers and bodies; what they say is not ours to vouch for.
    let asked = args.debug || args.log_level.is_some();
    let waiting = if quiet && !asked { LevelFilter::ERROR } else { level };
    let own = Targets::new().with_target("securecp", level).with_target(WAITING, waiting);
    // A second start can only happen in tests; the first log stays.
    let _ = tracing_subscriber::registry().with(lines).with(own).try_init();
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
