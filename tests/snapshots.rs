//! What each command says, word for word: exit code, standard output and standard error of its success and of its
//! commonest mistakes.
//!
//! A file of `tests/snapshots` holds command lines, and below each what it does. They are run in order, in one folder
//! that has the OCI layout `image` (two platforms), the policies `accept.json` and `reject.json`, a signed image in
//! `signed` and a running registry at `[HOST]` with `a/b:v1` and `a/b:v2`. To add a case write its line (`$ securecp …`), and
//! let `UPDATE_SNAPSHOTS=1 cargo test -p securecp --test snapshots` fill in the rest; then read what it filled in.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use cli::serve::Served;
use cli::{Place, image, listing};

/// Output with more lines is cut to its first.
const LINES: usize = 70;

/// Lines that are left of such output.
const FIRST: usize = 3;

/// Commands without a file of their own: hidden ones.
const WITHOUT: [&str; 2] = ["help", "untrusted-signature-dump-without-verification"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/snapshots")
}

/// A place as the files expect it.
struct Stage {
    place: Place,
    served: Served,
}

impl Stage {
    fn set() -> Self {
        let place = Place::new();
        image::two_platforms(&place.path("image"));
        copy_folder(&testdata("signed-pgp-alice"), &place.path("signed"));
        copy_folder(&testdata("keys"), &place.path("keys"));
        place.write(
            "manifest.json",
            std::fs::read(testdata("signed-pgp-alice").join("manifest.json")).unwrap(),
        );
        let served = Served::start(&place, "store", &[]);
        for tag in ["v1", "v2"] {
            let to = format!("docker://{}/a/b:{tag}", served.address);
            place.ok(&format!("copy -q --all --dest-tls-verify=false oci:image:v1 {to}"));
        }
        let gnupg = place.path("gnupg");
        std::fs::create_dir(&gnupg).unwrap();
        let import = ["--batch", "--quiet", "--import", "keys/pgp-alice.sec.asc"];
        let mut gpg = Command::new("gpg");
        gpg.args(import).current_dir(place.path(".")).env("GNUPGHOME", &gnupg);
        let imported =
            gpg.output().expect("gpg is needed for the signing tests: ./test installs it");
        assert!(imported.status.success(), "{imported:?}");
        Self { place, served }
    }

    /// Runs a line and writes down everything that it did.
    fn run(&self, line: &str) -> String {
        let line = line.replace("[HOST]", &self.served.address);
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let mut command = self.place.command(&words);
        command.env("GNUPGHOME", self.place.path("gnupg"));
        command.env("PATH", std::env::var_os("PATH").unwrap());
        let output = command.output().unwrap();
        let mut text = format!("exit code {}\n", output.status.code().unwrap());
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let said = self.stable(&String::from_utf8_lossy(bytes));
            if !said.is_empty() {
                let _ = write!(text, "{name}:\n{}", indented(&said));
            }
        }
        text
    }

    /// Without what differs from run to run: folders, ports and random names.
    fn stable(&self, text: &str) -> String {
        let text =
            text.replace(self.place.path("").to_str().unwrap().trim_end_matches('/'), "[DIR]");
        let text = masked(&text, "127.0.0.1:", "[HOST]", |c| c.is_ascii_digit());
        let text = masked(&text, "securecp-demo-", "[DEMO]", |c| c.is_ascii_alphanumeric());
        masked(&text, ".sigstore-key-", "[TEMPORARY]", |c| c.is_ascii_alphanumeric())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("GNUPGHOME", self.place.path("gnupg")).status();
    }
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/trust").join(name)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in listing(from).into_iter().filter(|name| from.join(name).is_file()) {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Puts `mask` in the place of `start` and of the characters behind it that are of the kind.
fn masked(text: &str, start: &str, mask: &str, kind: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(start);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&kind);
        let _ = match rest.len() == part.len() {
            true => write!(result, "{start}{part}"),
            false => write!(result, "{mask}{rest}"),
        };
    }
    result
}

fn indented(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let shown = if lines.len() > LINES { &lines[..FIRST] } else { &lines[..] };
    let mut text: String =
        shown.iter().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
    if shown.len() < lines.len() {
        text.push_str("    …\n");
    }
    text
}

/// The file as it should be: its comments and command lines, each with what it did.
fn played(text: &str) -> String {
    let stage = Stage::set();
    let lines = text.lines().filter(|line| line.starts_with(['#', '$']));
    let blocks: Vec<String> = lines
        .map(|line| match line.strip_prefix("$ ") {
            Some(command) => format!("{line}\n{}", stage.run(command)),
            None => format!("{line}\n"),
        })
        .collect();
    blocks.join("\n")
}

/// The first lines that differ.
fn difference(name: &str, expected: &str, found: &str) -> Option<String> {
    let mut pairs = expected.lines().zip(found.lines().chain(std::iter::repeat("(nothing)")));
    let first = pairs.find(|(expected, found)| expected != found);
    let (expected, found) = first.or_else(|| {
        (expected.lines().count() < found.lines().count())
            .then(|| ("(nothing)", found.lines().nth(expected.lines().count()).unwrap()))
    })?;
    Some(format!("{name}\n  expected: {expected}\n  found:    {found}"))
}

#[test]
fn every_command_says_what_it_said_before() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let compare = |name: String| {
        let path = folder().join(&name);
        let expected = std::fs::read_to_string(&path).unwrap();
        let found = played(&expected);
        if update {
            std::fs::write(path, &found).unwrap();
            return None;
        }
        difference(&name, &expected, &found)
    };
    let differences: Vec<String> = std::thread::scope(|threads| {
        let names = listing(&folder()).into_iter().filter(|name| name.ends_with(".txt"));
        let running: Vec<_> = names.map(|name| threads.spawn(move || compare(name))).collect();
        running.into_iter().filter_map(|file| file.join().unwrap()).collect()
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_command_has_a_success_and_five_mistakes() {
    let help = Place::new().run("--help").out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let names = commands.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| !WITHOUT.contains(name)) {
        let path = folder().join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path:?} is missing"));
        let codes: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("exit code ")).collect();
        let successes = codes.iter().filter(|code| **code == "0").count();
        // What serves does not end by itself; every other file has one running.
        assert!(successes > 0 || name == "serve", "{name} has no success");
        assert!(codes.len() - successes >= 5, "{name} has {} mistakes", codes.len() - successes);
    }
}

#[test]
fn a_difference_would_be_seen() {
    assert_eq!(difference("f", "a\nb\n", "a\nb\n"), None);
    for (expected, found) in [("a\nb\n", "a\nc\n"), ("a\nb\n", "a\n"), ("a\n", "a\nb\n")] {
        assert!(difference("f", expected, found).is_some(), "{expected:?} {found:?}");
    }
    let text = "see 127.0.0.1:4711/a and 127.0.0.1: and securecp-demo-x1Y/z";
    let text = masked(text, "127.0.0.1:", "[HOST]", |c| c.is_ascii_digit());
    assert_eq!(
        masked(&text, "securecp-demo-", "[DEMO]", |c| c.is_ascii_alphanumeric()),
        "see [HOST]/a and 127.0.0.1: and [DEMO]/z"
    );
}
