use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use securecp_crypt::Secret;
use securecp_oci::Escaped;

/// Most bytes of error text that are kept.
const ERROR_TEXT_LIMIT: usize = 16 << 10;
/// How long output may still come after the program itself has ended.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks whether the program has ended.
const POLL: Duration = Duration::from_millis(5);

/// Another program: run by its absolute path, without a shell, with bounds on time and output.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Option<Vec<OsString>>,
    time: Duration,
    output: usize,
}

/// Why a program gave no usable output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// Its path does not begin at the root.
    #[error("program {0} must be named by its absolute path")]
    NotAbsolute(PathBuf),
    /// It could not be started or talked to.
    #[error("running {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time and was stopped.
    #[error("{program} did not end within {} seconds and was stopped", time.as_secs())]
    Slow {
        /// The program.
        program: PathBuf,
        /// The limit.
        time: Duration,
    },
    /// It wrote too much and was stopped.
    #[error("{program} wrote more than {limit} bytes and was stopped")]
    TooMuchOutput {
        /// The program.
        program: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// It said that it failed.
    #[error("{program} failed ({status}): {text}")]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to its standard error, escaped and cut.
        text: String,
    },
}

impl Program {
    /// A program that may take `time` and write `output` bytes.
    ///
    /// # Errors
    /// The path is not absolute: where a program comes from must not depend on where this one was started.
    pub(super) fn new(path: &Path, time: Duration, output: usize) -> Result<Self, ProgramError> {
        if !path.is_absolute() {
            return Err(ProgramError::NotAbsolute(path.to_owned()));
        }
        let (path, arguments) = (path.to_owned(), Vec::new());
        Ok(Self { path, arguments, environment: None, time, output })
    }

    /// Adds arguments.
    #[must_use]
    pub(super) fn arguments<T: AsRef<OsStr>>(mut self, arguments: &[T]) -> Self {
        self.arguments.extend(arguments.iter().map(|text| text.as_ref().to_owned()));
        self
    }

    /// Passes on only these variables of the environment.
    #[must_use]
    pub(super) fn only_environment(self, names: &[&str]) -> Self {
        Self { environment: Some(names.iter().map(OsString::from).collect()), ..self }
    }

    /// Runs the program with `input` on its standard input and returns its standard output.
    ///
    /// # Errors
    /// It cannot be started, is too slow, writes too much or fails.
    pub(super) fn run(&self, input: &Secret) -> Result<Secret, ProgramError> {
        let mut running = Running::start(self, input)?;
        let status = running.wait(self)?;
        let output = running.output(self)?;
        if status.success() {
            return Ok(output);
        }
        let text = running.error_text();
        Err(ProgramError::Failed { program: self.path.clone(), status, text })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(names) = &self.environment {
            command.env_clear();
            let kept = names.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
            command.envs(kept);
        }
        command
    }

    fn start_error(&self, source: io::Error) -> ProgramError {
        ProgramError::Start { program: self.path.clone(), source }
    }
}

/// A program at work; stopped with all that it started when dropped.
struct Running {
    child: Child,
    output: Receiver<io::Result<Captured>>,
    errors: Receiver<io::Result<Captured>>,
    captured: Option<Captured>,
    ended: bool,
}

/// What was read, and whether there was more.
struct Captured {
    bytes: Secret,
    more: bool,
}

impl Running {
    fn start(program: &Program, input: &Secret) -> Result<Self, ProgramError> {
        let mut child = program.command().spawn().map_err(|error| program.start_error(error))?;
        let missing = || program.start_error(io::ErrorKind::BrokenPipe.into());
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let input = input.clone();
        // A program that does not read its input closes the pipe: its answer decides, not this.
        thread::spawn(move || stdin.write_all(&input));
        let (output, errors) = (capture(stdout, program.output), capture(stderr, ERROR_TEXT_LIMIT));
        Ok(Self { child, output, errors, captured: None, ended: false })
    }

    fn wait(&mut self, program: &Program) -> Result<ExitStatus, ProgramError> {
        let end = Instant::now() + program.time;
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| program.start_error(e))? {
                self.ended = true;
                return Ok(status);
            }
            if Instant::now() >= end {
                let time = program.time;
                return Err(ProgramError::Slow { program: program.path.clone(), time });
            }
            if self.captured.is_none() {
                self.captured = self.poll(program)?;
            } else {
                thread::sleep(POLL);
            }
        }
    }

    /// Takes the output if it is complete; too much of it ends the program at once.
    fn poll(&mut self, program: &Program) -> Result<Option<Captured>, ProgramError> {
        match self.output.recv_timeout(POLL) {
            Ok(captured) => checked(captured, program).map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(program.start_error(io::ErrorKind::BrokenPipe.into()))
            }
        }
    }

    fn output(&mut self, program: &Program) -> Result<Secret, ProgramError> {
        if let Some(captured) = self.captured.take() {
            return Ok(captured.bytes);
        }
        let slow = |_| ProgramError::Slow { program: program.path.clone(), time: program.time };
        let captured = self.output.recv_timeout(GRACE).map_err(slow)?;
        checked(captured, program).map(|captured| captured.bytes)
    }

    fn error_text(&self) -> String {
        let Ok(Ok(captured)) = self.errors.recv_timeout(GRACE) else { return String::new() };
        let text = String::from_utf8_lossy(&captured.bytes);
        Escaped::new(text.trim()).limit(500).to_string()
    }
}

fn checked(captured: io::Result<Captured>, program: &Program) -> Result<Captured, ProgramError> {
    let captured = captured.map_err(|error| program.start_error(error))?;
    if captured.more {
        let limit = program.output;
        return Err(ProgramError::TooMuchOutput { program: program.path.clone(), limit });
    }
    Ok(captured)
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Reads up to `limit` bytes in a thread of its own; of error text, the rest is read and forgotten.
fn capture(mut from: impl Read + Send + 'static, limit: usize) -> Receiver<io::Result<Captured>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::with_capacity(limit.min(64 << 10));
        let read = from.by_ref().take(limit as u64).read_to_end(&mut bytes);
        let captured = read.and_then(|_| {
            let more = from.read(&mut [0])? > 0;
            Ok(Captured { bytes: Secret::new(bytes), more })
        });
        // Nobody listens any more if the program was given up.
        let _ = sender.send(captured);
        io::copy(&mut from, &mut io::sink())
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time: Duration, output: usize) -> Program {
        Program::new(Path::new("/bin/sh"), time, output).unwrap().arguments(&["-c", script])
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn passes_input_and_output_on() {
        let program = shell("cat", LONG, 1000);
        assert_eq!(&*program.run(&secret("abc")).unwrap(), b"abc");
        let deaf = shell("exec 0<&-; echo done", LONG, 1000);
        assert_eq!(&*deaf.run(&Secret::new(vec![0; 1 << 20])).unwrap(), b"done\n");
        let chatty = shell("yes noise | head -c 1000000 >&2; echo ok", LONG, 1000);
        assert_eq!(&*chatty.run(&secret("")).unwrap(), b"ok\n");
    }

    #[test]
    fn reports_failure_with_escaped_text() {
        let error = shell("printf 'bad\\033[31m' >&2; exit 3", LONG, 1000).run(&secret(""));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("exit status: 3") && text.contains("bad\\u{1b}[31m"), "{text}");
    }

    #[test]
    fn stops_programs_that_are_slow_or_write_too_much() {
        let start = Instant::now();
        let slow = shell("sleep 60 & sleep 60", Duration::from_millis(200), 1000);
        assert!(matches!(slow.run(&secret("")), Err(ProgramError::Slow { .. })));
        let endless = shell("yes", LONG, 1000).run(&secret(""));
        assert!(matches!(endless, Err(ProgramError::TooMuchOutput { limit: 1000, .. })));
        let late = shell("head -c 1001 /dev/zero", LONG, 1000).run(&secret(""));
        assert!(matches!(late, Err(ProgramError::TooMuchOutput { .. })));
        assert!(shell("head -c 1000 /dev/zero", LONG, 1000).run(&secret("")).is_ok());
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn keeps_the_environment_small_and_the_path_absolute() {
        let program = shell("env", LONG, 100_000).only_environment(&["PATH"]);
        let found = program.run(&secret("")).unwrap();
        let names: Vec<_> = std::str::from_utf8(&found)
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .filter(|name| !["PWD", "_", "SHLVL", "OLDPWD"].contains(name))
            .collect();
        assert_eq!(names, ["PATH"]);
        assert!(Program::new(Path::new("sh"), LONG, 1).is_err());
    }

    #[test]
    fn names_what_could_not_be_started() {
        let missing = Program::new(Path::new("/nowhere/program"), LONG, 1).unwrap();
        assert!(matches!(missing.run(&secret("")), Err(ProgramError::Start { .. })));
    }
}
