//! The commands in the documentation, run as a reader would: every page from its top, in an empty folder.
//!
//! Fences say what they hold. `sh` is run here. `sh checkout` needs the repository and its tools: only that its programs
//! exist is checked here, and `./test --fresh` runs those of the README. Anything else must hold no commands.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cli::{Place, listing};

/// Languages of fences that hold no commands.
const DATA: [&str; 5] = ["json", "yaml", "toml", "text", "diff"];

/// What stands between two lines of backquotes.
#[derive(Debug, PartialEq)]
struct Fence {
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The README and every page of the documentation, below the root.
fn pages() -> Vec<String> {
    let docs = listing(&root().join("docs")).into_iter();
    let docs = docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    ["README.md".to_owned()].into_iter().chain(docs).collect()
}

fn fences(text: &str) -> Vec<Fence> {
    let mut found: Vec<Fence> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), false) => {
                found.push(Fence { language: language.trim().to_owned(), text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let fence = found.last_mut().unwrap();
                fence.text.push_str(line);
                fence.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "a fence is not closed");
    found
}

/// What is wrong with a fence, if something is.
fn problem(fence: &Fence) -> Option<String> {
    let is_command = |line: &str| {
        let line = line.trim_start();
        line.starts_with("securecp ") || line.starts_with("$ ") || line.starts_with("./test")
    };
    match fence.language.as_str() {
        "sh" => None,
        "sh checkout" => fence.text.lines().find_map(missing_program),
        "" => Some("a fence without a language".to_owned()),
        data if DATA.contains(&data) => {
            let line = fence.text.lines().find(|line| is_command(line))?;
            Some(format!("a command that is not run: {line}"))
        }
        other => Some(format!("a fence in an unknown language: {other}")),
    }
}

/// A program that a line for a checkout names and that the checkout does not have.
fn missing_program(line: &str) -> Option<String> {
    let word = line.split_whitespace().find(|word| !word.contains('=') && *word != "#")?;
    let known = word == "cargo" || line.starts_with('#');
    let is_there = || root().join(word).is_file();
    (!known && !is_there()).then(|| format!("no such program in a checkout: {word}"))
}

/// The commands of a page, one script, which leaves a line in `reached` behind each fence.
fn script(fences: &[Fence]) -> Option<(String, usize)> {
    let blocks: Vec<&str> =
        fences.iter().filter(|f| f.language == "sh").map(|f| f.text.as_str()).collect();
    let count = blocks.len();
    let marked = blocks.iter().map(|block| format!("{block}echo >> \"$REACHED\"\n"));
    (count > 0).then(|| (marked.collect(), count))
}

/// Puts free ports in the place of 127.0.0.1:5000 and so on.
fn with_free_ports(commands: &str) -> String {
    let listeners: Vec<TcpListener> =
        (0..10).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports = listeners.iter().enumerate();
    ports.fold(commands.to_owned(), |text, (number, listener)| {
        let free = listener.local_addr().unwrap().to_string();
        text.replace(&format!("127.0.0.1:500{number}"), &free)
    })
}

/// Runs a page's commands with securecp and the system's programs on the path; gives what was said when one fails, or
/// when not every fence was reached.
fn run(commands: &str, fences: usize) -> Result<(), String> {
    let place = Place::new();
    let bin = place.path("bin");
    for folder in ["bin", "work", "home"] {
        std::fs::create_dir(place.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_securecp"), bin.join("securecp")).unwrap();
    let (said, reached) = (place.path("said"), place.path("reached"));
    let log = std::fs::File::create(&said).unwrap();
    std::fs::write(&reached, "").unwrap();
    let mut shell = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &with_free_ports(commands)])
        .current_dir(place.path("work"))
        .env_clear()
        .env("HOME", place.path("home"))
        .env("REACHED", &reached)
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let status = shell.wait().unwrap();
    // What runs in the background ends with the page.
    let group = format!("-{}", shell.id());
    let _ = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
    let said = String::from_utf8_lossy(&std::fs::read(&said).unwrap()).into_owned();
    let passed = std::fs::read_to_string(&reached).unwrap().lines().count();
    match status.success() && passed == fences {
        true => Ok(()),
        false => Err(format!("{status}, {passed} of {fences} fences were run\n{said}")),
    }
}

#[test]
fn every_fence_is_run_or_holds_no_commands() {
    let mut problems = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        let found = fences(&text).iter().filter_map(problem).collect::<Vec<_>>();
        problems.extend(found.into_iter().map(|problem| format!("{page}: {problem}")));
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn the_commands_of_every_page_work() {
    let read = |page: String| {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        script(&fences(&text)).map(|(commands, count)| (page, commands, count))
    };
    let scripts: Vec<_> = pages().into_iter().filter_map(read).collect();
    for guide in [
        "README.md",
        "docs/quick-start.md",
        "docs/signing.md",
        "docs/encryption.md",
        "docs/sigstore.md",
    ] {
        assert!(scripts.iter().any(|(page, ..)| page == guide), "{guide} has no commands");
    }
    let failures: Vec<String> = std::thread::scope(|threads| {
        let start = |(page, commands, count): &(String, String, usize)| {
            let (page, commands, count) = (page.clone(), commands.clone(), *count);
            threads.spawn(move || run(&commands, count).map_err(|said| format!("{page}: {said}")))
        };
        let running: Vec<_> = scripts.iter().map(start).collect();
        running.into_iter().filter_map(|page| page.join().unwrap().err()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_page_that_does_not_work_would_be_seen() {
    assert!(run("true\necho >> \"$REACHED\"\n", 1).is_ok());
    for bad in ["false", "securecp fly", "false | true", "echo $unset", "exit 0"] {
        assert!(run(&format!("{bad}\necho >> \"$REACHED\"\n"), 1).is_err(), "{bad}");
    }
    let text =
        "```sh\na\n```\nx\n```\nb\n```\n```json\n$ c\n```\n```sh checkout\nbench/none\n```\n";
    let found = fences(text);
    assert_eq!(found[0], Fence { language: "sh".to_owned(), text: "a\n".to_owned() });
    let problems: Vec<bool> = found.iter().map(|fence| problem(fence).is_some()).collect();
    assert_eq!(problems, [false, true, true, true]);
    assert_eq!(script(&found), Some(("a\necho >> \"$REACHED\"\n".to_owned(), 1)));
    assert_eq!(script(&found[1..]), None);
}
