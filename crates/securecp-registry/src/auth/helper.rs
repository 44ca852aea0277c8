use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use securecp_layer::Scope;
use securecp_oci::Escaped;
use securecp_oci::json::{self, Limits};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{Credentials, Problem};

/// Most that a helper may say, in bytes.
const LIMIT: u64 = 1 << 20;

/// A program `docker-credential-NAME` that keeps credentials. Everything secret goes through its pipes, nothing through
/// its arguments.
pub(crate) struct Helper<'a> {
    name: &'a str,
    /// Where the program is looked for, if not in `$PATH`.
    path: Option<&'a OsStr>,
}

impl<'a> Helper<'a> {
    /// Takes a helper by the last part of its name.
    pub(crate) fn new(name: &'a str, path: Option<&'a OsStr>) -> Result<Self, Problem> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            let shown = Escaped::new(name).limit(80).to_string();
            return Err(Problem::Settings(format!("credential helper name {shown:?} is not one")));
        }
        Ok(Self { name, path })
    }

    /// The credentials for a server; `None` if the helper has none.
    pub(crate) fn find(&self, server: &str, scope: &Scope) -> Result<Option<Credentials>, Problem> {
        let (succeeded, said) = self.run("get", server.as_bytes(), scope)?;
        if !succeeded {
            let text = String::from_utf8_lossy(&said);
            if text.contains("credentials not found") {
                return Ok(None);
            }
            return Err(self.failed(&Escaped::new(text.trim()).limit(200).to_string()));
        }
        let value = json::parse(&said, Limits::bytes(LIMIT as usize));
        let value = value.map_err(|_| self.failed("its answer is not JSON"))?;
        let text = |name| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (user, secret) = (text("Username"), text("Secret"));
        Ok(match user.as_str() {
            _ if secret.is_empty() => None,
            // Docker's convention for an identity token in place of a password.
            "<token>" => Some(Credentials::Identity { user: String::new(), token: secret.into() }),
            _ => Some(Credentials::Password { user, password: secret.into() }),
        })
    }

    /// Keeps credentials for a server.
    pub(crate) fn store(
        &self,
        server: &str,
        user: &str,
        password: &str,
        scope: &Scope,
    ) -> Result<(), Problem> {
        let entry = json!({"ServerURL": server, "Username": user, "Secret": password});
        let text = Zeroizing::new(entry.to_string());
        self.must("store", text.as_bytes(), scope)
    }

    /// Forgets the credentials for a server.
    pub(crate) fn erase(&self, server: &str, scope: &Scope) -> Result<(), Problem> {
        self.must("erase", server.as_bytes(), scope)
    }

    fn must(&self, verb: &'static str, input: &[u8], scope: &Scope) -> Result<(), Problem> {
        match self.run(verb, input, scope)? {
            (true, _) => Ok(()),
            (false, said) => {
                let text = String::from_utf8_lossy(&said);
                Err(self.failed(&Escaped::new(text.trim()).limit(200).to_string()))
            }
        }
    }

    fn run(
        &self,
        verb: &'static str,
        input: &[u8],
        scope: &Scope,
    ) -> Result<(bool, Zeroizing<Vec<u8>>), Problem> {
        let program = format!("docker-credential-{}", self.name);
        let mut command = Command::new(&program);
        if let Some(path) = self.path {
            // The program is then looked for there, too.
            command.env("PATH", path);
        }
        let child = command
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Running(child.map_err(|error| self.failed(&error.to_string()))?);
        let (stdin, stdout) = (running.0.stdin.take(), running.0.stdout.take());
        let input = Zeroizing::new(input.to_vec());
        // The pipes are served by threads, so that this one can listen to the scope.
        let writer = thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&input)));
        let reader = thread::spawn(move || stdout.map(read_bounded).transpose());
        let status = loop {
            match running.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => scope.sleep(Duration::from_millis(5))?,
                Err(error) => return Err(self.failed(&error.to_string())),
            }
        };
        // A helper need not read what it is given.
        let _ = writer.join();
        let said = reader.join().map_err(|_| self.failed("its answer was lost"))?;
        let said = said.map_err(|error| self.failed(&error.to_string()))?;
        Ok((status.success(), said.unwrap_or_default()))
    }

    fn failed(&self, why: &str) -> Problem {
        Problem::Settings(format!("credential helper docker-credential-{}: {why}", self.name))
    }
}

/// A helper that is not waited for any more is ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_bounded(pipe: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut said = Zeroizing::new(Vec::new());
    pipe.take(LIMIT).read_to_end(&mut said)?;
    Ok(said)
}
