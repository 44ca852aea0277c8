use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use securecp_layer::{Event, Report, TaskId};
use securecp_oci::Escaped;

use super::warning;

const ONE: &str = "{prefix:24} [{bar:30}] {bytes:>10} / {total_bytes:10} {bytes_per_sec}";
const WHOLE: &str =
    "{prefix:24} [{bar:30}] {bytes:>10} / {total_bytes:10} {bytes_per_sec}, {eta} left";

/// Progress as moving bars: one for each thing that moves and one for the whole.
#[derive(Default)]
pub(super) struct Bars {
    screen: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole: Option<ProgressBar>,
    tasks: HashMap<TaskId, (String, ProgressBar)>,
}

impl Bars {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line above the bars; without a screen there is nobody to read it.
    fn say(&self, line: &str) {
        let _ = self.screen.println(line);
    }

    fn planned(&self, bytes: u64) {
        let bar = self.screen.add(ProgressBar::new(bytes).with_style(style(WHOLE)));
        bar.set_prefix("all");
        self.state().whole = Some(bar);
    }

    fn started(&self, task: TaskId, subject: &str, size: Option<u64>) {
        let mut state = self.state();
        let bar = ProgressBar::new(size.unwrap_or_default()).with_style(style(ONE));
        let bar = match &state.whole {
            Some(whole) => self.screen.insert_before(whole, bar),
            None => self.screen.add(bar),
        };
        let subject = short(subject);
        bar.set_prefix(subject.clone());
        state.tasks.insert(task, (subject, bar));
    }

    fn retrying(&self, task: TaskId, line: &str) {
        let state = self.state();
        let Some((subject, bar)) = state.tasks.get(&task) else { return };
        if let Some(whole) = &state.whole {
            whole.set_position(whole.position().saturating_sub(bar.position()));
        }
        bar.set_position(0);
        self.say(&format!("retrying {subject} {line}"));
    }

    fn finished(&self, task: TaskId) {
        if let Some(subject) = self.ended(task) {
            self.say(&format!("copied {subject}"));
        }
    }

    /// Takes the bar of a task away; one that is skipped may have begun.
    fn ended(&self, task: TaskId) -> Option<String> {
        let (subject, bar) = self.state().tasks.remove(&task)?;
        bar.finish_and_clear();
        self.screen.remove(&bar);
        Some(subject)
    }
}

impl Report for Bars {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Planned { bytes, .. } => self.planned(*bytes),
            Event::Started { task, subject, size } => self.started(*task, subject, *size),
            Event::Skipped { task, subject, why } => {
                self.ended(*task);
                self.say(&format!("skipping {}: {}", short(subject), Escaped::new(why)));
            }
            Event::Retrying { task, after, why } => {
                self.retrying(*task, &format!("in {after:?}: {}", Escaped::new(why)));
            }
            Event::Finished { task } => self.finished(*task),
            Event::Warning(text) => self.say(&warning(text)),
            _ => {}
        }
    }

    fn bytes(&self, task: TaskId, count: u64) {
        let state = self.state();
        if let Some((_, bar)) = state.tasks.get(&task) {
            bar.inc(count);
        }
        if let Some(whole) = &state.whole {
            whole.inc(count);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // The lines above stay, the bars have said what they had to.
        let _ = self.screen.clear();
    }
}

/// A subject with its digest cut to twelve digits, as people compare them.
fn short(subject: &str) -> String {
    let text = Escaped::new(subject).to_string();
    match text.rsplit_once(':') {
        Some((kind, hex)) if hex.len() > 12 && hex.is_ascii() => {
            let kind = kind.split(' ').next().unwrap_or(kind);
            format!("{kind} {}", &hex[..12])
        }
        _ => text,
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [ONE, WHOLE] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn digests_are_cut_for_people() {
        let digest = "blob sha256:0123456789abcdef0123456789abcdef";
        assert_eq!(short(digest), "blob 0123456789ab");
        assert_eq!(short("signatures"), "signatures");
    }

    #[test]
    fn follows_a_whole_run_without_a_screen() {
        let bars = Bars {
            screen: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()),
            state: Mutex::default(),
        };
        let task = TaskId(1);
        bars.event(&Event::Planned { tasks: 1, bytes: 10 });
        bars.event(&Event::Started { task, subject: "blob sha256:0", size: Some(10) });
        bars.bytes(task, 6);
        let after = std::time::Duration::from_millis(200);
        bars.event(&Event::Retrying { task, after, why: "reset" });
        assert_eq!(bars.state().whole.as_ref().unwrap().position(), 0);
        bars.bytes(task, 10);
        assert_eq!(bars.state().whole.as_ref().unwrap().position(), 10);
        bars.event(&Event::Finished { task });
        assert!(bars.state().tasks.is_empty());
        let (task, subject) = (TaskId(2), "blob sha256:1");
        bars.event(&Event::Started { task, subject, size: Some(10) });
        bars.event(&Event::Skipped { task, subject, why: "already there" });
        assert!(bars.state().tasks.is_empty(), "what is skipped after all has no bar");
    }
}
