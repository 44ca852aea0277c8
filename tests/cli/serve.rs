//! `securecp serve` in the background.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::Place;

/// A running registry; killed when dropped.
pub(crate) struct Served {
    /// `HOST:PORT`.
    pub(crate) address: String,
    child: Child,
}

impl Served {
    /// Serves the folder `root` of `place` on a free port.
    pub(crate) fn start(place: &Place, root: &str, options: &[&str]) -> Self {
        let words = [&["serve", "--listen", "127.0.0.1:0", "--root", root], options].concat();
        let mut child = place.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("http://").expect("a line with the address").to_owned();
        Self { address, child }
    }

    /// Asks it to end and gives its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
