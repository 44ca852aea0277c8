//! The commands in the documentation, run as a reader would.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cli::Place;

/// The commands of a page, one script: everything in fences that are marked `sh`.
fn script(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let fences = text.split("```sh\n").skip(1);
    let blocks: Vec<&str> = fences.map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 2, "{page} has no commands");
    blocks.concat()
}

/// Runs a page in a folder of its own, with securecp and the system's programs on the path.
fn run(page: &str) {
    let place = Place::new();
    let bin = place.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_securecp"), bin.join("securecp")).unwrap();
    std::fs::create_dir(place.path("work")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let commands = script(page).replace("127.0.0.1:5000", &format!("127.0.0.1:{port}"));
    let said = place.path("said");
    let log = std::fs::File::create(&said).unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", &format!("set -eu\n{commands}")])
        .current_dir(place.path("work"))
        .env_clear()
        .env("HOME", place.path("home"))
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
    assert!(status.success(), "{page}\n{said}");
}

#[test]
fn the_quick_start_works() {
    run("quick-start.md");
}

#[test]
fn the_signing_guide_works() {
    run("signing.md");
}
