use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::HumanBytes;
use securecp_layer::{Event, Report, TaskId};
use securecp_oci::Escaped;

use super::tally::Tally;
use super::{say, warning};

/// Time between two lines that say how far everything is.
const PAUSE: Duration = Duration::from_secs(5);

/// Progress as plain lines, for logs and pipes.
///
/// A thread of its own says how far everything is: also, and above all, when nothing moves.
#[derive(Debug)]
pub(super) struct Lines {
    tally: Arc<Mutex<Tally>>,
    /// Dropped with the lines, which ends the thread.
    _end: Sender<()>,
}

impl Lines {
    pub(super) fn start() -> Self {
        Self::every(PAUSE, say)
    }

    fn every(pause: Duration, say: impl Fn(&str) + Send + 'static) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let (end, ended) = mpsc::channel();
        let told = Arc::clone(&tally);
        let tell = move || {
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let summary = locked(&told).summary();
                summary.iter().for_each(|line| say(line));
            }
        };
        // Without the thread the lines for what begins and ends remain.
        let _ = thread::Builder::new().name("progress".to_owned()).spawn(tell);
        Self { tally, _end: end }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        locked(&self.tally)
    }
}

fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Report for Lines {
    fn event(&self, event: &Event<'_>) {
        let mut tally = self.tally();
        match event {
            Event::Planned { bytes, .. } => tally.plan(*bytes),
            Event::Started { task, subject, size } => {
                tally.begin(*task, subject);
                let size = size.map_or_else(String::new, |size| format!(" ({})", HumanBytes(size)));
                say(&format!("copying {}{size}", Escaped::new(subject)));
            }
            Event::Skipped { task, subject, why } => {
                tally.end(*task);
                say(&format!("skipping {}: {}", Escaped::new(subject), Escaped::new(why)));
            }
            Event::Retrying { task, after, why } => {
                let subject = tally.again(*task);
                say(&format!(
                    "retrying {} in {after:?}: {}",
                    Escaped::new(&subject),
                    Escaped::new(why)
                ));
            }
            Event::Finished { task } => tally.end(*task),
            Event::Warning(text) => say(&warning(text)),
            _ => {}
        }
    }

    fn bytes(&self, task: TaskId, count: u64) {
        self.tally().moved(task, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_far_everything_is_even_when_nothing_moves() {
        let (said, heard) = mpsc::channel();
        let say = move |line: &str| said.send(line.to_owned()).unwrap_or_default();
        let lines = Lines::every(Duration::from_millis(1), say);
        let task = TaskId(1);
        lines.event(&Event::Planned { tasks: 1, bytes: 2048 });
        lines.event(&Event::Started { task, subject: "blob", size: Some(2048) });
        lines.bytes(task, 1024);
        let line = heard.iter().find(|line| line.starts_with("1.00 KiB of 2.00 KiB (50 %), "));
        assert!(line.is_some_and(|line| line.ends_with(" left")));
        lines.event(&Event::Skipped { task, subject: "blob", why: "already there" });
        assert_eq!(lines.tally().summary(), None, "nothing is under way");
        drop(lines);
        // Comes to its end only when the thread has.
        heard.iter().for_each(drop);
    }
}
