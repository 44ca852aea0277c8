//! Another implementation of sigstore: PyPI sigstore, and stand-ins for Fulcio, Rekor and a timestamp authority on loopback.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What ./test installs below the build folder.
fn installed(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join(name);
    assert!(path.exists(), "{} is needed: ./test installs it", path.display());
    path
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/sigstore/pypi").join(name)
}

/// Runs a script with PyPI sigstore; gives what it said and whether it succeeded.
pub(crate) fn pypi(name: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(installed("pypi/bin/python"));
    command.arg(script(name)).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Fulcio, Rekor and a timestamp authority; they end when this is dropped.
pub(crate) struct StandIn {
    child: Child,
    pub(crate) url: String,
    folder: tempfile::TempDir,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let modules = installed("stand-in/node_modules");
        let child = Command::new("node")
            .arg(modules.with_file_name("server.cjs"))
            .arg(port.to_string())
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stand_in = Self { child, url: format!("http://127.0.0.1:{port}"), folder };
        let limit = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < limit, "the stand-in does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        stand_in
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
