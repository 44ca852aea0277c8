//! GnuPG with throw-away keys, in a home directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Place, Run};

/// A home directory of GnuPG with an agent that ends with it.
pub(crate) struct GnuPg {
    home: tempfile::TempDir,
}

impl GnuPg {
    /// Makes a signing key for each user ID, with its passphrase.
    pub(crate) fn with_keys(keys: &[(&str, &str)]) -> Self {
        // Sockets have short names only.
        let gnupg =
            Self { home: tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap() };
        for (user, passphrase) in keys {
            let make = ["--quick-generate-key", user, "ed25519", "sign", "never"];
            gnupg.gpg(
                &[&["--pinentry-mode", "loopback", "--passphrase", passphrase], &make[..]].concat(),
            );
        }
        gnupg
    }

    /// The fingerprint of a key.
    pub(crate) fn fingerprint(&self, user: &str) -> String {
        let listed = self.gpg(&["--with-colons", "--list-keys", user]);
        let text = String::from_utf8(listed.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Writes the public key of `user` to a file of `place`.
    pub(crate) fn export(&self, user: &str, place: &Place, name: &str) {
        place.write(name, self.gpg(&["--armor", "--export", user]).stdout);
    }

    /// Lets the agent forget every passphrase.
    pub(crate) fn forget(&self) {
        let mut command = Command::new("gpgconf");
        command.args(["--kill", "gpg-agent"]).env("GNUPGHOME", self.path());
        assert!(command.status().unwrap().success());
    }

    /// Runs the words of `line` as securecp, with these keys at hand.
    pub(crate) fn run(&self, place: &Place, line: &str) -> Run {
        place.run_with(line, |command| {
            command.env("GNUPGHOME", self.path()).env("PATH", std::env::var_os("PATH").unwrap());
        })
    }

    /// Runs the words of `line` as Debian's skopeo, with these keys at hand. A missing skopeo is a failure.
    pub(crate) fn skopeo(&self, place: &Place, line: &str) -> Output {
        let mut command = Command::new("skopeo");
        command
            .args(line.split_whitespace())
            .current_dir(place.path(""))
            .env("GNUPGHOME", self.path());
        command.output().expect("skopeo is needed for the interop tests: ./test installs it")
    }

    fn gpg(&self, words: &[&str]) -> Output {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--no-tty"]).args(words).env("GNUPGHOME", self.path());
        let output =
            command.output().expect("gpg is needed for the signing tests: ./test installs it");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn path(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for GnuPg {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        let _ = command.args(["--kill", "all"]).env("GNUPGHOME", self.path()).status();
    }
}

/// Where the signatures of a manifest are, in the lookaside store that [`configure`] names.
pub(crate) fn signatures_of(place: &Place, repository: &str, digest: &str) -> PathBuf {
    place.path("lookaside").join(format!("{repository}@{}", digest.replace(':', "=")))
}

/// Writes `registries.d` with a lookaside store in this place, and a policy that takes local images as they are and
/// those of registries only with a signature by the key in `key.asc`.
pub(crate) fn configure(place: &Place) {
    let store = place.path("lookaside");
    let lookaside = format!("default-docker:\n  lookaside: file://{}\n", store.display());
    place.write("registries.d/default.yaml", lookaside);
    place.write("signed.json", policy(&place.path("key.asc")));
}

/// A policy that takes images of registries only with a signature by the key in this file.
pub(crate) fn policy(key: &Path) -> String {
    let accept = serde_json::json!([{"type": "insecureAcceptAnything"}]);
    serde_json::json!({
        "default": [{"type": "reject"}],
        "transports": {
            "oci": {"": accept}, "dir": {"": accept},
            "docker": {"": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": key}]},
        },
    })
    .to_string()
}
