//! Asking on the terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use securecp_registry::Secret;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::stop;

/// Longest answer, in bytes; a terminal hands out no longer lines.
const ANSWER_LIMIT: usize = 4096;

/// How often it is looked whether the user has had enough.
const PATIENCE: Duration = Duration::from_millis(50);

/// Asks for a line.
pub(crate) fn line(question: &str) -> Result<String, Failure> {
    Ok(answer(question)?.as_str().to_owned())
}

/// Asks for a line that is not shown while it is typed.
pub(crate) fn secret(question: &str) -> Result<Secret, Failure> {
    let hidden = Hidden::begin();
    let text = answer(question);
    if hidden.is_some() {
        let _ = io::stderr().write_all(b"\n");
    }
    Ok(Secret::new(text?.as_str().to_owned()))
}

fn answer(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new("there is no terminal to ask on")
            .hint("--username and --password-stdin need none"));
    }
    let _ = io::stderr().write_all(question.as_bytes());
    // A terminal is read by a thread of its own: nothing ends a read that waits for somebody to type.
    let (send, answered) = mpsc::channel();
    let read = move || drop(send.send(typed()));
    let reading = "reading from the terminal";
    thread::Builder::new().name("prompt".to_owned()).spawn(read).context(reading)?;
    loop {
        match answered.recv_timeout(PATIENCE) {
            Ok(text) => return Ok(text.context(reading)?),
            Err(RecvTimeoutError::Timeout) if !stop::asked() => {}
            Err(_) => return Err(Failure::new("nothing was answered").context(reading.to_owned())),
        }
    }
}

/// What somebody types, without the end of the line. It goes through no buffer that is not wiped.
fn typed() -> io::Result<Zeroizing<String>> {
    let (stdin, mut bytes) = (io::stdin(), Zeroizing::new(vec![0; ANSWER_LIMIT]));
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&stdin, &mut bytes[..]))?;
    let text = bytes[..read].split(|byte| matches!(byte, b'\n' | b'\r')).next();
    let text = std::str::from_utf8(text.unwrap_or_default());
    let text = text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
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
