use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::error::GpgError;

/// Most that one answer may have, in bytes: 4 MiB.
const OUTPUT_LIMIT: usize = 4 << 20;

/// How often a running program is looked at.
const PULSE: Duration = Duration::from_millis(10);

/// Fails when the program is not to be waited for any longer.
pub(super) type Interrupt<'a> = &'a dyn Fn() -> Result<(), GpgError>;

/// What a program that has ended said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
}

/// A program of this name in the absolute folders of `PATH`; others depend on where one happens to be.
pub(super) fn find(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path?;
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a program to its end: `input` goes to its standard input, and it is killed when `interrupt` fails.
pub(super) fn run(
    mut command: Command,
    input: Zeroizing<Vec<u8>>,
    interrupt: Interrupt<'_>,
) -> Result<Answer, GpgError> {
    interrupt()?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().map_err(GpgError::Run)?);
    if let Some(mut pipe) = running.0.stdin.take() {
        // A program need not read what it is given; that it did not shows in what it answers.
        thread::spawn(move || pipe.write_all(&input));
    }
    let out = read(running.0.stdout.take());
    let err = read(running.0.stderr.take());
    let status = running.wait(interrupt)?;
    Ok(Answer { status, out: take(&out, interrupt)?, err: take(&err, interrupt)? })
}

/// A program that is not waited for any more is ended.
struct Running(Child);

impl Running {
    fn wait(&mut self, interrupt: Interrupt<'_>) -> Result<ExitStatus, GpgError> {
        loop {
            if let Some(status) = self.0.try_wait().map_err(GpgError::Run)? {
                return Ok(status);
            }
            interrupt()?;
            thread::sleep(PULSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended by itself needs neither.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a pipe in a thread of its own; it may stay open when the program has ended, held by one that it started.
fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let done = match pipe {
            Some(mut pipe) => drain(&mut pipe, &mut bytes),
            None => Ok(()),
        };
        // Nobody listens any more after an interruption.
        let _ = sender.send(done.map(|()| bytes));
    });
    receiver
}

/// Keeps a byte more than allowed at most and lets the rest pass, so that the program can go on.
fn drain(pipe: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    pipe.by_ref().take(OUTPUT_LIMIT as u64 + 1).read_to_end(bytes)?;
    io::copy(pipe, &mut io::sink()).map(drop)
}

fn take(
    pipe: &Receiver<io::Result<Vec<u8>>>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<u8>, GpgError> {
    loop {
        match pipe.recv_timeout(PULSE) {
            Ok(bytes) => {
                let bytes = bytes.map_err(GpgError::Run)?;
                let too_much = bytes.len() > OUTPUT_LIMIT;
                let limit = OUTPUT_LIMIT;
                return if too_much { Err(GpgError::TooMuch { limit }) } else { Ok(bytes) };
            }
            Err(RecvTimeoutError::Timeout) => interrupt()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(GpgError::Run(io::Error::from(io::ErrorKind::BrokenPipe)));
            }
        }
    }
}

/// Ends a wait after `limit`.
pub(super) fn until(start: Instant, limit: Duration) -> Result<(), GpgError> {
    if start.elapsed() >= limit { Err(GpgError::TooLong { limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn quick(script: &str) -> Result<Answer, GpgError> {
        let start = Instant::now();
        let limit = Duration::from_millis(300);
        run(shell(script), Zeroizing::new(b"in\n".to_vec()), &|| until(start, limit))
    }

    #[test]
    fn gives_both_outputs_and_takes_input() {
        let answer = quick("read x; echo \"$x out\"; echo err >&2; exit 3").unwrap();
        assert_eq!(answer.out, b"in out\n");
        assert_eq!(answer.err, b"err\n");
        assert_eq!(answer.status.code(), Some(3));
    }

    #[test]
    fn ends_what_takes_too_long() {
        let start = Instant::now();
        assert!(matches!(quick("exec sleep 60"), Err(GpgError::TooLong { .. })));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn does_not_wait_for_what_the_program_left_behind() {
        let start = Instant::now();
        assert!(matches!(quick("sleep 5 & exit 0"), Err(GpgError::TooLong { .. })));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn refuses_endless_output() {
        let start = Instant::now();
        let limit = Duration::from_secs(60);
        let script = "dd if=/dev/zero bs=1048576 count=6 2>/dev/null";
        let answer = run(shell(script), Zeroizing::default(), &|| until(start, limit));
        assert!(matches!(answer, Err(GpgError::TooMuch { .. })), "{answer:?}");
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
