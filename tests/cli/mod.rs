//! Runs the program in a folder of its own, with an environment of its own, and shows everything that it did.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod gnupg;
pub(crate) mod image;
pub(crate) mod serve;
pub(crate) mod signing;
pub(crate) mod stand_in;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder in which securecp runs; gone when dropped.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    root: PathBuf,
}

/// Everything that one run did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// A folder with a policy that accepts everything in `accept.json` and one that rejects everything in
    /// `reject.json`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let place = Self { folder, root };
        place.write("accept.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        place.write("reject.json", r#"{"default":[{"type":"reject"}]}"#);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Takes away a file or folder, if it is there.
    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(name);
        let gone = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        assert!(gone.is_ok() || !path.exists(), "{}: {gone:?}", path.display());
    }

    /// The command, ready to run in this place and to see nothing of the machine's configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_securecp")), words)
    }

    /// The same for a program by another name.
    pub(crate) fn command_of(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.root).env_clear().env("HOME", self.path("home"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_with(line, |_| {})
    }

    /// Runs the words of `line` after `prepare` has had its way with the command.
    pub(crate) fn run_with(&self, line: &str, prepare: impl FnOnce(&mut Command)) -> Run {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.command(&words);
        prepare(&mut command);
        let output = command.output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: self.stable(&output.stdout),
            err: self.stable(&output.stderr),
        }
    }

    /// Runs the words of `line` behind `--policy accept.json`; it must succeed.
    pub(crate) fn ok(&self, line: &str) -> Run {
        let run = self.run(&format!("--policy accept.json {line}"));
        assert_eq!(run.code, 0, "{line}\n{run:?}");
        run
    }

    /// Runs the words of `line`; it must fail with this code and these lines on standard error, and print nothing.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, code: i32, err: &[&str]) {
        let run = self.run(line);
        assert_eq!(
            run.err,
            err.iter().map(|line| format!("{line}\n")).collect::<String>(),
            "{line}"
        );
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}");
    }

    /// Output with this folder's name taken out.
    fn stable(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(self.root.to_str().unwrap(), "[DIR]")
    }
}

/// The names of everything in a folder, sorted.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
