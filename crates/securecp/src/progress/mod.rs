//! What people see while an image moves, always on standard error.

mod bars;
mod json;
mod lines;
mod tally;

use std::io::{self, IsTerminal, Write};

use securecp_layer::{Event, Report, TaskId};
use securecp_oci::Escaped;

use bars::Bars;
use json::Json;
use lines::Lines;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressStyle {
    /// Warnings only.
    WarningsOnly,
    /// A line for each thing that happens, and one every few seconds.
    Lines,
    /// Moving bars.
    Bars,
    /// A JSON object for each thing that happens, and for how far everything is.
    Json,
}

impl ProgressStyle {
    /// Bars unless there is no terminal.
    pub(crate) fn usual() -> Self {
        if io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// Begins to watch.
    pub(crate) fn start(self) -> Box<dyn Report> {
        match self {
            Self::WarningsOnly => Box::new(WarningsOnly),
            Self::Lines => Box::new(Lines::start()),
            Self::Bars => Box::new(Bars::default()),
            Self::Json => Box::new(Json::default()),
        }
    }
}

/// Shows what a person should know even without progress.
struct WarningsOnly;

impl Report for WarningsOnly {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            say(&warning(text));
        }
    }

    fn bytes(&self, _: TaskId, _: u64) {}
}

fn warning(text: &str) -> String {
    format!("securecp: warning: {}", Escaped::new(text))
}

/// Warns whoever reads standard error.
pub(crate) fn warn(text: &str) {
    say(&warning(text));
}

/// A line of progress; where it cannot be written nobody is there to see it.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
