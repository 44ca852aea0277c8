//! Signing with the user's own GnuPG, through its program `gpg`: whatever that can use (agent, smartcards, keyboxd) can
//! be used here. Nothing secret stands among the arguments, and no shell is involved.

mod decrypt;
mod error;
mod listing;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use securecp_oci::{Escaped, Signature};
use securecp_trust::{Payload, PayloadKind, SignError, confirm_simple};
use zeroize::Zeroizing;

use securecp_layer::process::{self, Answer, RunError};

pub use error::{GpgError, KeyMatch};

/// How long one run may take, unless said otherwise. People may have to find their card and type a PIN.
const PATIENCE: Duration = Duration::from_secs(300);

/// Most that one answer may have, in bytes: 4 MiB.
const OUTPUT_LIMIT: usize = 4 << 20;

/// Fails when nobody waits any longer; asked every few milliseconds while the program runs.
pub type Watch =
    Arc<dyn Fn() -> Result<(), Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// The user's GnuPG.
#[derive(Clone)]
pub struct GpgHome {
    program: PathBuf,
    home: Option<PathBuf>,
    patience: Duration,
    watch: Option<Watch>,
}

/// A secret key in the user's GnuPG, found and unambiguous.
pub struct GpgSigner {
    gpg: GpgHome,
    fingerprint: String,
    /// What makes GnuPG choose the key: the fingerprint, or a subkey that the user insists on.
    choice: String,
    public: Vec<u8>,
    passphrase: Option<Zeroizing<Vec<u8>>>,
    /// One signature after the other: nobody wants to be asked for a PIN by several windows at once.
    turn: Mutex<()>,
}

impl GpgHome {
    /// The program `gpg` of `PATH` with the user's keys: `GNUPGHOME` and all other settings of the environment apply.
    ///
    /// # Errors
    /// It is not installed.
    pub fn of_user() -> Result<Self, GpgError> {
        let program = process::find("gpg", std::env::var_os("PATH"));
        let program = program.ok_or(GpgError::NotInstalled)?;
        Ok(Self { program, home: None, patience: PATIENCE, watch: None })
    }

    /// Uses the keys of another home directory.
    #[must_use]
    pub fn home(self, home: impl Into<PathBuf>) -> Self {
        Self { home: Some(home.into()), ..self }
    }

    /// Gives up on one run after this time.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Ends a run as soon as `watch` fails.
    #[must_use]
    pub fn watch(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Finds the one secret key that `id` names: a fingerprint, a key ID, or a part of a user ID. A `!` behind a
    /// fingerprint or key ID insists on that very subkey, as in GnuPG.
    ///
    /// # Errors
    /// No key, or more than one, has that name, or its public part cannot be had.
    pub fn signing_key(
        &self,
        id: &str,
        passphrase: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<GpgSigner, GpgError> {
        if passphrase.as_ref().is_some_and(|text| text.contains(&b'\n')) {
            return Err(GpgError::PassphraseLines);
        }
        let (found, exported) = self.both_parts(id);
        let fingerprint = found?.fingerprint;
        let public = match exported {
            Some(public) => public,
            None => self.public_keys(&[&fingerprint])?,
        };
        let choice = if insists(id) { id.to_owned() } else { fingerprint.clone() };
        let (gpg, turn) = (self.clone(), Mutex::new(()));
        Ok(GpgSigner { gpg, fingerprint, choice, public, passphrase, turn })
    }

    /// The secret key that `id` names, and what is exported under that name at the same time: its public part, perhaps
    /// with others whose names are alike. It is asked for anew where the name is one of a subkey, or that failed.
    fn both_parts(&self, id: &str) -> (Result<KeyMatch, GpgError>, Option<Vec<u8>>) {
        thread::scope(|scope| {
            let export = || self.public_keys(&[id]).ok();
            let exporting = (!id.ends_with('!'))
                .then(|| Builder::new().spawn_scoped(scope, export).ok())
                .flatten();
            let found = self.only_match(id);
            (found, exporting.and_then(|exporting| exporting.join().ok().flatten()))
        })
    }

    /// The public keys with these fingerprints or other names, as certificates behind each other.
    ///
    /// # Errors
    /// There is none for one of them.
    pub fn public_keys(&self, ids: &[&str]) -> Result<Vec<u8>, GpgError> {
        let mut keys = Vec::new();
        for id in ids {
            let none = || GpgError::NoPublicKey { id: shown(id) };
            let id = named(id).ok_or_else(none)?;
            let arguments = ["--export-options", "export-minimal", "--export", "--", id];
            let answer = self.run(&arguments, Zeroizing::default())?;
            if answer.out.is_empty() {
                return Err(none());
            }
            keys.extend_from_slice(&succeeded(answer, "export a public key")?.out);
        }
        Ok(keys)
    }

    fn only_match(&self, id: &str) -> Result<KeyMatch, GpgError> {
        let none = || GpgError::NoSecretKey { id: shown(id) };
        let name = named(id).ok_or_else(none)?;
        let arguments = ["--with-colons", "--fixed-list-mode", "--list-secret-keys", "--", name];
        let answer = self.run(&arguments, Zeroizing::default())?;
        let mut matches = listing::secret_keys(&String::from_utf8_lossy(&answer.out));
        match matches.len() {
            0 if answer.status.success() || says(&answer, "No secret key") => Err(none()),
            0 => Err(failed(&answer, "list secret keys")),
            1 => matches.pop().ok_or_else(none),
            _ => Err(GpgError::Ambiguous { id: shown(id), matches }),
        }
    }

    fn run(&self, arguments: &[&str], input: Zeroizing<Vec<u8>>) -> Result<Answer, GpgError> {
        let mut command = Command::new(&self.program);
        // Messages are read by this program: they must not depend on the user's language.
        command.args(["--batch", "--no-tty"]).args(arguments);
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        if let Some(home) = &self.home {
            command.env("GNUPGHOME", home);
        }
        let (start, limit) = (Instant::now(), self.patience);
        let answer = process::run(command, input, OUTPUT_LIMIT, &|| {
            if start.elapsed() >= limit {
                return Err(GpgError::TooLong { limit });
            }
            self.watch.as_ref().map_or(Ok(()), |watch| watch()).map_err(GpgError::Stopped)
        });
        answer.map_err(|error| match error {
            RunError::Io(source) => GpgError::Run(source),
            RunError::TooMuch => GpgError::TooMuch { limit: OUTPUT_LIMIT },
            RunError::HeldOpen => GpgError::TooLong { limit },
            RunError::Interrupted(error) => error,
        })
    }
}

impl fmt::Debug for GpgHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpgHome")
            .field("program", &self.program)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl GpgSigner {
    /// The fingerprint of the primary key, in upper-case hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Signs a payload; the result has been verified by the code that judges signatures.
    ///
    /// # Errors
    /// GnuPG does not sign, or what it made would not be accepted.
    pub fn sign(&self, payload: &Payload, now: SystemTime) -> Result<Signature, GpgError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let message = self.message(&payload.to_bytes(PayloadKind::Simple))?;
        // GnuPG's clock may have gone on since.
        let now = now.max(SystemTime::now());
        let unusable = |source| GpgError::NotUsable { key: self.fingerprint.clone(), source };
        match confirm_simple(&message, &self.public, payload, now) {
            Ok(key) if key == self.fingerprint => Ok(Signature::Simple(Bytes::from(message))),
            Ok(_) => Err(unusable(SignError::SomethingElse)),
            Err(error) => Err(unusable(error)),
        }
    }

    /// A passphrase goes through standard input as its first line, the payload behind it.
    fn message(&self, payload: &[u8]) -> Result<Vec<u8>, GpgError> {
        const LOOPBACK: [&str; 4] = ["--pinentry-mode", "loopback", "--passphrase-fd", "0"];
        let mut input = Zeroizing::new(Vec::with_capacity(payload.len() + 1024));
        let unlock = self.passphrase.as_ref().map_or(&[][..], |passphrase| {
            input.extend_from_slice(passphrase);
            input.push(b'\n');
            &LOOPBACK[..]
        });
        input.extend_from_slice(payload);
        let sign = ["--no-armor", "--local-user", &self.choice, "--output", "-", "--sign"];
        let answer = self.gpg.run(&[unlock, &sign].concat(), input)?;
        if !answer.status.success() && says(&answer, "Bad passphrase") {
            return Err(GpgError::WrongPassphrase { key: self.fingerprint.clone() });
        }
        Ok(succeeded(answer, "sign")?.out.to_vec())
    }
}

impl fmt::Debug for GpgSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpgSigner").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// A name that GnuPG can look for; an empty one would mean every key.
fn named(id: &str) -> Option<&str> {
    Some(id).filter(|id| !id.trim().is_empty() && !id.contains(['\0', '\n']))
}

/// Whether `id` is a fingerprint or key ID with GnuPG's mark behind it.
fn insists(id: &str) -> bool {
    let hex = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    id.strip_suffix('!').is_some_and(|key| hex(key.strip_prefix("0x").unwrap_or(key)))
}

fn succeeded(answer: Answer, what: &'static str) -> Result<Answer, GpgError> {
    if answer.status.success() { Ok(answer) } else { Err(failed(&answer, what)) }
}

fn says(answer: &Answer, text: &str) -> bool {
    String::from_utf8_lossy(&answer.err).contains(text)
}

fn failed(answer: &Answer, what: &'static str) -> GpgError {
    let text = String::from_utf8_lossy(&answer.err);
    let said = match text.lines().collect::<Vec<_>>().join("; ") {
        said if said.is_empty() => answer.status.to_string(),
        said => said,
    };
    GpgError::Failed { what, said: Escaped::new(&said).limit(400).to_string() }
}

fn shown(id: &str) -> String {
    Escaped::new(id).limit(200).to_string()
}
