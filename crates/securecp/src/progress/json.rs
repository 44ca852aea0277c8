use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use securecp_layer::{Event, Report, TaskId};
use serde::Serialize;
use serde_json::json;

use super::say;

/// Time between two reports of bytes.
const PAUSE: Duration = Duration::from_millis(200);

/// Progress as one JSON object a line, for programs (docs/progress.md).
#[derive(Default)]
pub(super) struct Json {
    state: Mutex<State>,
}

struct State {
    /// Bytes moved of the tasks under way that have not been told yet, all in all.
    moved: BTreeMap<TaskId, u64>,
    last: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self { moved: BTreeMap::new(), last: Instant::now() }
    }
}

impl Json {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells how far every task is.
    fn flush(&mut self) {
        self.last = Instant::now();
        for (task, bytes) in &self.moved {
            tell(&json!({"event": "progress", "task": task.0, "bytes": bytes}));
        }
    }
}

impl Report for Json {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state();
        match event {
            Event::Planned { tasks, bytes } => {
                tell(&json!({"event": "planned", "tasks": tasks, "bytes": bytes}));
            }
            Event::Started { task, subject, size } => {
                state.moved.insert(*task, 0);
                tell(
                    &json!({"event": "started", "task": task.0, "subject": subject, "size": size}),
                );
            }
            Event::Skipped { task, subject, why } => {
                state.moved.remove(task);
                tell(&json!({"event": "skipped", "task": task.0, "subject": subject, "why": why}));
            }
            Event::Retrying { task, after, why } => {
                state.moved.insert(*task, 0);
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tell(
                    &json!({"event": "retrying", "task": task.0, "afterMilliseconds": after, "why": why}),
                );
            }
            Event::Finished { task } => {
                let bytes = state.moved.remove(task).unwrap_or_default();
                tell(&json!({"event": "finished", "task": task.0, "bytes": bytes}));
            }
            Event::Warning(text) => tell(&json!({"event": "warning", "text": text})),
            _ => {}
        }
    }

    fn bytes(&self, task: TaskId, count: u64) {
        let mut state = self.state();
        let moved = state.moved.entry(task).or_default();
        *moved = moved.saturating_add(count);
        if state.last.elapsed() >= PAUSE {
            state.flush();
        }
    }
}

fn tell(event: &impl Serialize) {
    // Numbers and texts always have a form in JSON.
    if let Ok(line) = serde_json::to_string(event) {
        say(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_after_it_began_is_no_longer_under_way() {
        let (json, task, subject) = (Json::default(), TaskId(1), "blob sha256:0");
        json.event(&Event::Started { task, subject, size: None });
        assert_eq!(json.state().moved.len(), 1);
        json.event(&Event::Skipped { task, subject, why: "already there" });
        assert!(json.state().moved.is_empty());
    }
}
