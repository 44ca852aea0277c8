use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use securecp_layer::Scope;
use securecp_layer::process::{self, RunError};
use securecp_oci::Escaped;
use securecp_oci::json::{self, Limits};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{Credentials, Problem};

/// Most that a helper may say, in bytes.
const LIMIT: usize = 1 << 20;

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
        let value = json::parse(&said, Limits::bytes(LIMIT));
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
        let mut command = Command::new(self.program()?);
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        command.arg(verb);
        let input = Zeroizing::new(input.to_vec());
        let answer = process::run(command, input, LIMIT, &|| scope.check());
        let answer = answer.map_err(|error| match error {
            RunError::Interrupted(stopped) => stopped.into(),
            RunError::Io(error) => self.failed(&error.to_string()),
            RunError::TooMuch => self.failed(&format!("its answer has more than {LIMIT} bytes")),
            RunError::HeldOpen => self.failed("something that it started holds its output open"),
        })?;
        Ok((answer.status.success(), answer.out))
    }

    /// Not from a folder that is relative to where one happens to be: that may be somebody else's.
    fn program(&self) -> Result<PathBuf, Problem> {
        let folders = self.path.map(OsStr::to_owned).or_else(|| env::var_os("PATH"));
        let found = process::find(&format!("docker-credential-{}", self.name), folders);
        found.ok_or_else(|| self.failed("no such program in the absolute folders of PATH"))
    }

    fn failed(&self, why: &str) -> Problem {
        Problem::Settings(format!("credential helper docker-credential-{}: {why}", self.name))
    }
}
