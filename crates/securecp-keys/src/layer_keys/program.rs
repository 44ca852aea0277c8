use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use securecp_crypt::Secret;
use securecp_oci::Escaped;
use zeroize::Zeroizing;

use securecp_layer::process::{self, RunError};

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
        let start = Instant::now();
        let late = || if start.elapsed() < self.time { Ok(()) } else { Err(()) };
        let answer =
            process::run(self.command(), Zeroizing::new(input.to_vec()), self.output, &late);
        let mut answer = answer.map_err(|error| self.failed(error))?;
        if answer.status.success() {
            return Ok(Secret::new(std::mem::take(&mut answer.out)));
        }
        let text = String::from_utf8_lossy(&answer.err);
        let text = Escaped::new(text.trim()).limit(500).to_string();
        Err(ProgramError::Failed { program: self.path.clone(), status: answer.status, text })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        if let Some(names) = &self.environment {
            command.env_clear();
            let kept = names.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
            command.envs(kept);
        }
        command
    }

    fn failed(&self, error: RunError<()>) -> ProgramError {
        let program = self.path.clone();
        match error {
            RunError::Io(source) => ProgramError::Start { program, source },
            RunError::TooMuch => ProgramError::TooMuchOutput { program, limit: self.output },
            RunError::HeldOpen | RunError::Interrupted(()) => {
                ProgramError::Slow { program, time: self.time }
            }
        }
    }
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
