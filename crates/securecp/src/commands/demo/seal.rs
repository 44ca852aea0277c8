use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use securecp_trust::FreshKey;

use crate::failure::Failure;

/// How long the throw-away key is good: long enough to repeat the commands by hand.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// What signs in the story: a throw-away key, and a store for the signatures of each registry.
pub(super) struct Seal {
    folder: PathBuf,
}

impl Seal {
    /// Makes the key and the configuration in `folder`.
    pub(super) fn make(
        folder: &Path,
        staging: SocketAddr,
        production: SocketAddr,
    ) -> Result<Self, Failure> {
        let seal = Self { folder: folder.to_owned() };
        let user = "Demo <demo@securecp.example>";
        let key = FreshKey::generate(user, SystemTime::now(), LIFETIME)?;
        seal.write(&key, staging, production).context("writing the signing key")?;
        Ok(seal)
    }

    /// The secret key.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("release.key")
    }

    /// The certificate that the policy trusts.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("release.asc")
    }

    /// The directory that says where signatures are.
    pub(super) fn registries_d(&self) -> PathBuf {
        self.folder.join("registries.d")
    }

    /// Puts a signature of staging's shop/app with digest `from` beside another digest of it, as somebody might who
    /// wants an image of their own to pass.
    pub(super) fn pass_off(&self, from: &str, to: &str) -> io::Result<()> {
        let place = |digest: &str| {
            let folder = format!("shop/app@{}", digest.replace(':', "="));
            self.store("staging").join(folder).join("signature-1")
        };
        let to = place(to);
        to.parent().map(fs::create_dir_all).transpose()?;
        fs::copy(place(from), to).map(drop)
    }

    fn store(&self, registry: &str) -> PathBuf {
        self.folder.join("signatures").join(registry)
    }

    fn write(&self, key: &FreshKey, staging: SocketAddr, production: SocketAddr) -> io::Result<()> {
        let mut secret =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.key())?;
        secret.write_all(&key.secret)?;
        fs::write(self.certificate(), &key.public)?;
        fs::create_dir(self.registries_d())?;
        let entry = |address: SocketAddr, name: &str| {
            format!("  \"{address}\":\n    lookaside: file://{}\n", self.store(name).display())
        };
        // Of production, one corner has its signatures attached in the registry.
        let attached = format!("  \"{production}/out\":\n    use-sigstore-attachments: true\n");
        let (staging, production) = (entry(staging, "staging"), entry(production, "production"));
        let text = format!("docker:\n{staging}{production}{attached}");
        fs::write(self.registries_d().join("demo.yaml"), text)
    }
}
