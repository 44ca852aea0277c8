//! Other programs: run without a shell, with bounds on time and output, ended with all that they started.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

/// Most bytes of error text that are kept.
const ERROR_TEXT_LIMIT: usize = 64 << 10;
/// How long output may still come after the program itself has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How often a running program is looked at, unless its output tells sooner that it has ended.
const PULSE: Duration = Duration::from_millis(5);
/// How long a program whose output has ended is expected to take until it is gone.
const LAST_BREATH: Duration = Duration::from_micros(200);

/// What a program that has ended said.
pub struct Answer {
    /// How it has ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub out: Zeroizing<Vec<u8>>,
    /// The beginning of what it wrote to its standard error.
    pub err: Vec<u8>,
}

/// Without what the program said, which may be secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why a program gave no answer.
#[derive(Debug)]
pub enum RunError<E> {
    /// It could not be started or talked to.
    Io(io::Error),
    /// It wrote more than it may and was ended.
    TooMuch,
    /// It has ended, but something that it left behind holds its output open.
    HeldOpen,
    /// It was not to be waited for any longer and was ended.
    Interrupted(E),
}

/// A program of this name in the absolute folders of `PATH`; others depend on where one happens to be.
pub fn find(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path?;
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end: `input` goes to its standard input, at most `limit` bytes are taken of its output, and it
/// is killed with all that it started when `interrupt`, asked every few milliseconds, fails.
///
/// # Errors
/// It gave no answer; what answer it gave is for the caller to judge.
pub fn run<E>(
    mut command: Command,
    input: Zeroizing<Vec<u8>>,
    limit: usize,
    interrupt: &dyn Fn() -> Result<(), E>,
) -> Result<Answer, RunError<E>> {
    interrupt().map_err(RunError::Interrupted)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut running = Running { child: command.spawn().map_err(RunError::Io)?, ended: false };
    if let Some(mut pipe) = running.child.stdin.take() {
        // A program need not read what it is given; that it did not shows in what it answers.
        let feed = move || pipe.write_all(&input);
        Builder::new().spawn(feed).map_err(RunError::Io)?;
    }
    let out = Capture::start(Builder::new(), running.child.stdout.take(), limit);
    let err = Capture::start(Builder::new(), running.child.stderr.take(), ERROR_TEXT_LIMIT);
    let (mut out, mut err) = (out.map_err(RunError::Io)?, err.map_err(RunError::Io)?);
    let status = running.wait(&mut out, interrupt)?;
    let end = Instant::now() + GRACE;
    let out = out.rest(end, interrupt)?.within()?;
    let err = match err.rest(end, interrupt) {
        // What it said is only for people.
        Err(RunError::HeldOpen) => Vec::new(),
        found => found?.bytes.to_vec(),
    };
    Ok(Answer { status, out, err })
}

/// A program at work; ended with all that it started when dropped.
struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    /// Too much output ends the program at once.
    fn wait<E>(
        &mut self,
        out: &mut Capture,
        interrupt: &dyn Fn() -> Result<(), E>,
    ) -> Result<ExitStatus, RunError<E>> {
        let mut pause = LAST_BREATH;
        loop {
            if let Some(status) = self.child.try_wait().map_err(RunError::Io)? {
                self.ended = true;
                return Ok(status);
            }
            if out.look(pause)? {
                return Err(RunError::TooMuch);
            }
            interrupt().map_err(RunError::Interrupted)?;
            // One that goes on without its output is looked at less and less often.
            pause = if out.has_ended() { (pause * 2).min(PULSE) } else { LAST_BREATH };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let group = Pid::from_child(&self.child);
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// What was read, and whether there was more.
struct Captured {
    bytes: Zeroizing<Vec<u8>>,
    more: bool,
}

impl Captured {
    fn within<E>(self) -> Result<Zeroizing<Vec<u8>>, RunError<E>> {
        if self.more { Err(RunError::TooMuch) } else { Ok(self.bytes) }
    }
}

/// One output, read in a thread of its own.
struct Capture {
    from: Receiver<io::Result<Captured>>,
    found: Option<Captured>,
}

impl Capture {
    fn start(
        thread: Builder,
        pipe: Option<impl Read + Send + 'static>,
        limit: usize,
    ) -> io::Result<Self> {
        let (sender, from) = channel();
        thread.spawn(move || {
            let Some(mut pipe) = pipe else { return };
            // Nobody listens any more if the program was given up.
            let _ = sender.send(capture(&mut pipe, limit));
            let _ = io::copy(&mut pipe, &mut io::sink());
        })?;
        Ok(Self { from, found: None })
    }

    /// Whether there is more than is taken; waits a while for the end, or for `after_end` if the output has ended.
    fn look<E>(&mut self, after_end: Duration) -> Result<bool, RunError<E>> {
        match self.found {
            Some(_) => thread::sleep(after_end),
            None => match self.from.recv_timeout(PULSE) {
                Ok(found) => self.found = Some(found.map_err(RunError::Io)?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(broken()),
            },
        }
        Ok(self.found.as_ref().is_some_and(|found| found.more))
    }

    fn has_ended(&self) -> bool {
        self.found.is_some()
    }

    /// Waits for the end of the output, but not for long.
    fn rest<E>(
        &mut self,
        end: Instant,
        interrupt: &dyn Fn() -> Result<(), E>,
    ) -> Result<Captured, RunError<E>> {
        loop {
            if let Some(found) = self.found.take() {
                return Ok(found);
            }
            match self.from.recv_timeout(PULSE) {
                Ok(found) => self.found = Some(found.map_err(RunError::Io)?),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= end => {
                    return Err(RunError::HeldOpen);
                }
                Err(RecvTimeoutError::Timeout) => interrupt().map_err(RunError::Interrupted)?,
                Err(RecvTimeoutError::Disconnected) => return Err(broken()),
            }
        }
    }
}

fn broken<E>() -> RunError<E> {
    RunError::Io(io::ErrorKind::BrokenPipe.into())
}

fn capture(pipe: &mut impl Read, limit: usize) -> io::Result<Captured> {
    // Taken at once: a vector that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    pipe.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    let more = bytes.len() > limit;
    bytes.truncate(limit);
    Ok(Captured { bytes, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    /// Runs a script for at most `time`.
    fn within(
        time: Duration,
        script: &str,
        input: &[u8],
        limit: usize,
    ) -> Result<Answer, RunError<&'static str>> {
        let start = Instant::now();
        let input = Zeroizing::new(input.to_vec());
        run(shell(script), input, limit, &|| {
            if start.elapsed() < time { Ok(()) } else { Err("late") }
        })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn gives_both_outputs_and_takes_input() {
        let script = "read x; echo \"$x out\"; echo err >&2; exit 3";
        let answer = within(LONG, script, b"in\n", 100).unwrap();
        assert_eq!((&**answer.out, &*answer.err), (&b"in out\n"[..], &b"err\n"[..]));
        assert_eq!(answer.status.code(), Some(3));
        let deaf = within(LONG, "exec 0<&-; echo done", &vec![0; 1 << 20], 100).unwrap();
        assert_eq!(&**deaf.out, b"done\n");
        let chatty = "yes noise | head -c 1000000 >&2; echo ok";
        let chatty = within(LONG, chatty, b"", 100).unwrap();
        assert_eq!((&**chatty.out, chatty.err.len()), (&b"ok\n"[..], ERROR_TEXT_LIMIT));
    }

    #[test]
    fn waits_for_a_program_that_goes_on_without_its_output() {
        let answer = within(LONG, "echo out; exec 1>&-; sleep 0.3; exit 4", b"", 100).unwrap();
        assert_eq!((&**answer.out, answer.status.code()), (&b"out\n"[..], Some(4)));
        let endless = within(Duration::from_millis(200), "exec 1>&-; sleep 60", b"", 100);
        assert!(matches!(endless, Err(RunError::Interrupted("late"))), "{endless:?}");
    }

    #[test]
    fn a_missing_thread_is_an_error() {
        let impossible = Builder::new().stack_size(1 << 47);
        assert!(Capture::start(impossible, Some(io::empty()), 1).is_err());
    }

    #[test]
    fn ends_what_takes_too_long_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch '{}') & sleep 60", mark.display());
        let start = Instant::now();
        let late = within(Duration::from_millis(200), &script, b"", 100);
        assert!(matches!(late, Err(RunError::Interrupted("late"))), "{late:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(1500));
        assert!(!mark.exists());
        let never = within(Duration::ZERO, "touch /nowhere", b"", 100);
        assert!(matches!(never, Err(RunError::Interrupted(_))));
    }

    #[test]
    fn does_not_wait_for_what_the_program_left_behind() {
        let start = Instant::now();
        let held = within(LONG, "sleep 50 & exit 0", b"", 100);
        assert!(matches!(held, Err(RunError::HeldOpen)), "{held:?}");
        let late = within(Duration::from_millis(300), "sleep 50 & exit 0", b"", 100);
        assert!(matches!(late, Err(RunError::Interrupted(_) | RunError::HeldOpen)), "{late:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn ends_what_writes_too_much() {
        let start = Instant::now();
        for script in ["yes", "head -c 1001 /dev/zero"] {
            let answer = within(LONG, script, b"", 1000);
            assert!(matches!(answer, Err(RunError::TooMuch)), "{script}: {answer:?}");
        }
        assert_eq!(within(LONG, "head -c 1000 /dev/zero", b"", 1000).unwrap().out.len(), 1000);
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn says_what_could_not_be_started() {
        let missing = Command::new("/nowhere/program");
        let answer = run::<()>(missing, Zeroizing::default(), 1, &|| Ok(()));
        assert!(matches!(answer, Err(RunError::Io(_))));
    }

    #[test]
    fn looks_in_absolute_folders_only() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find("sh", Some(".:bin:".into())), None);
        assert_eq!(find("sh", None), None);
        let path = format!(".:{}:/bin", folder.path().display());
        std::fs::write(folder.path().join("sh"), "not a program").unwrap();
        assert_eq!(find("sh", Some(path.into())), Some(PathBuf::from("/bin/sh")));
    }
}
