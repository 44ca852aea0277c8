use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration};
use securecp_layer::TaskId;

/// How far everything is.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    total_bytes: u64,
    moved_bytes: u64,
    tasks: HashMap<TaskId, Task>,
}

#[derive(Debug)]
struct Task {
    subject: String,
    moved_bytes: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { started: Instant::now(), total_bytes: 0, moved_bytes: 0, tasks: HashMap::new() }
    }
}

impl Tally {
    pub(super) fn plan(&mut self, total_bytes: u64) {
        *self = Self { total_bytes, ..Self::default() };
    }

    pub(super) fn begin(&mut self, task: TaskId, subject: &str) {
        self.tasks.insert(task, Task { subject: subject.to_owned(), moved_bytes: 0 });
    }

    pub(super) fn moved(&mut self, task: TaskId, count: u64) {
        self.moved_bytes = self.moved_bytes.saturating_add(count);
        if let Some(task) = self.tasks.get_mut(&task) {
            task.moved_bytes = task.moved_bytes.saturating_add(count);
        }
    }

    /// What a task had moved will move again; gives its name.
    pub(super) fn again(&mut self, task: TaskId) -> String {
        let Some(task) = self.tasks.get_mut(&task) else { return String::new() };
        self.moved_bytes = self.moved_bytes.saturating_sub(task.moved_bytes);
        task.moved_bytes = 0;
        task.subject.clone()
    }

    pub(super) fn end(&mut self, task: TaskId) {
        self.tasks.remove(&task);
    }

    /// `12 MiB of 48 MiB (25 %), 4 MiB/s, 9 seconds left`, while something is under way.
    pub(super) fn summary(&self) -> Option<String> {
        (!self.tasks.is_empty()).then(|| self.line())
    }

    fn line(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = (self.moved_bytes as f64 / seconds) as u64;
        let moved = HumanBytes(self.moved_bytes);
        let Some(left_bytes) = self.total_bytes.checked_sub(self.moved_bytes) else {
            return format!("{moved}, {}/s", HumanBytes(rate));
        };
        let percent = self.moved_bytes.saturating_mul(100).checked_div(self.total_bytes);
        let left = left_bytes.checked_div(rate).map(Duration::from_secs);
        let left =
            left.map_or_else(String::new, |time| format!(", {:#} left", HumanDuration(time)));
        format!(
            "{moved} of {} ({} %), {}/s{left}",
            HumanBytes(self.total_bytes),
            percent.unwrap_or(100),
            HumanBytes(rate)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_attempt_is_not_counted_twice() {
        let mut tally = Tally::default();
        tally.plan(2048);
        tally.begin(TaskId(1), "blob a");
        tally.moved(TaskId(1), 1024);
        assert!(tally.line().starts_with("1.00 KiB of 2.00 KiB (50 %), "), "{}", tally.line());
        assert_eq!(tally.again(TaskId(1)), "blob a");
        assert!(tally.line().starts_with("0 B of 2.00 KiB (0 %), "), "{}", tally.line());
        tally.moved(TaskId(1), 2048);
        tally.end(TaskId(1));
        assert!(tally.line().starts_with("2.00 KiB of 2.00 KiB (100 %), "));
        assert_eq!(tally.summary(), None, "nothing is under way");
    }

    #[test]
    fn more_than_planned_is_no_fault() {
        let mut tally = Tally::default();
        tally.moved(TaskId(7), 5);
        assert!(tally.line().starts_with("5 B, "), "{}", tally.line());
        assert_eq!(tally.again(TaskId(7)), "");
    }
}
