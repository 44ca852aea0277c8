//! Starts programs and fails with everything that they said.

use std::io::Write;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Runs securecp with a policy that accepts everything; it must succeed.
pub(crate) fn securecp(arguments: &[&str]) -> Output {
    let output = try_securecp(arguments);
    assert!(output.status.success(), "securecp {arguments:?}\n{}", said(&output));
    output
}

/// Runs securecp with a policy that accepts everything.
pub(crate) fn try_securecp(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// securecp with a policy that accepts everything, to be given a command. It remembers nothing in the folders of whoever
/// runs the tests, and finds nothing there.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_securecp"));
    command.arg("--policy").arg(accept_all());
    command.env("XDG_CACHE_HOME", memory().join("cache"));
    command.env("XDG_STATE_HOME", memory().join("state"));
    command
}

/// One for all runs of a test program.
fn memory() -> &'static std::path::Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()).path()
}

/// Runs Debian's skopeo; it must succeed. A missing skopeo is a failure, not a reason to skip.
pub(crate) fn skopeo(arguments: &[&str]) -> Output {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output()
        .expect("skopeo is needed for the interop tests: ./test installs it");
    assert!(output.status.success(), "skopeo {arguments:?}\n{}", said(&output));
    output
}

/// Everything that a program said.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\nstdout: {}\nstderr: {}", output.status, text(&output.stdout), text(&output.stderr))
}

fn accept_all() -> &'static std::path::Path {
    static FILE: OnceLock<tempfile::NamedTempFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(br#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
        file
    });
    file.path()
}
