//! Asking on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use securecp_registry::Secret;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Asks for a line.
pub(crate) fn line(question: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new("there is no terminal to ask on")
            .hint("--username and --password-stdin need none"));
    }
    let _ = io::stderr().write_all(question.as_bytes());
    let mut text = String::new();
    stdin.lock().read_line(&mut text).context("reading from the terminal")?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks for a line that is not shown while it is typed.
pub(crate) fn secret(question: &str) -> Result<Secret, Failure> {
    let hidden = Hidden::begin();
    let text = line(question);
    if hidden.is_some() {
        let _ = io::stderr().write_all(b"\n");
    }
    Ok(Secret::new(text?))
}

/// Asks for the passphrase of a key.
pub(crate) fn passphrase(question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !io::stdin().is_terminal() {
        let problem =
            "the key's passphrase was not given, and there is no terminal to ask for it on";
        return Err(Failure::new(problem)
            .hint("--sign-passphrase-file FILE (for new keys: --passphrase-file FILE) gives it"));
    }
    let secret = secret(question)?;
    Ok(Zeroizing::new(secret.expose().as_bytes().to_vec()))
}

/// A terminal that does not echo; the old state comes back when this is dropped.
struct Hidden(Termios);

impl Hidden {
    /// `None` if standard input is no terminal; then nothing is asked either.
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing better can be done for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
