use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use securecp_layer::{Event, Report, TaskId};
use securecp_oci::Escaped;

use super::tally::Tally;
use super::{say, warning};

/// Time between two lines that say how far everything is.
const PAUSE: Duration = Duration::from_secs(5);

/// Progress as plain lines, for logs and pipes.
#[derive(Default)]
pub(super) struct Lines {
    state: Mutex<State>,
}

struct State {
    tally: Tally,
    last: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self { tally: Tally::default(), last: Instant::now() }
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for Lines {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state();
        match event {
            Event::Planned { bytes, .. } => state.tally.plan(*bytes),
            Event::Started { task, subject, size } => {
                state.tally.begin(*task, subject);
                let size = size.map_or_else(String::new, |size| format!(" ({})", HumanBytes(size)));
                say(&format!("copying {}{size}", Escaped::new(subject)));
            }
            Event::Skipped { subject, why, .. } => {
                say(&format!("skipping {}: {}", Escaped::new(subject), Escaped::new(why)));
            }
            Event::Retrying { task, after, why } => {
                let subject = state.tally.again(*task);
                say(&format!(
                    "retrying {} in {after:?}: {}",
                    Escaped::new(&subject),
                    Escaped::new(why)
                ));
            }
            Event::Finished { task } => state.tally.end(*task),
            Event::Warning(text) => say(&warning(text)),
            _ => {}
        }
    }

    fn bytes(&self, task: TaskId, count: u64) {
        let mut state = self.state();
        state.tally.moved(task, count);
        if state.last.elapsed() >= PAUSE {
            state.last = Instant::now();
            say(&state.tally.summary());
        }
    }
}
