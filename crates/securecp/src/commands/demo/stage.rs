use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use securecp_server::{Options, Running, Server};
use serde_json::json;
use tempfile::TempDir;

use super::image::layer_of;
use super::seal::Seal;
use crate::failure::Failure;

/// The place of the story: a folder and two registries, gone when this is dropped.
pub(super) struct Stage {
    pub(super) staging: SocketAddr,
    pub(super) production: SocketAddr,
    pub(super) seal: Seal,
    folder: PathBuf,
    /// Declared before the folder's guard, so that the servers end before their files go.
    _running: [Running; 2],
    _temporary: Option<TempDir>,
}

impl Stage {
    /// Makes everything that stands still in the story, in `keep` or in a folder of its own below `tmpdir`.
    pub(super) fn set(keep: Option<&Path>, tmpdir: &Path) -> Result<Self, Failure> {
        let (folder, temporary) = folder(keep, tmpdir).with_context(|| {
            let place = keep.unwrap_or(tmpdir).display();
            format!("making a folder for the demo, {place}")
        })?;
        let start = |name: &str| Server::start(Options::new(folder.join(name)));
        let running = [
            start("staging").context("starting the staging registry")?,
            start("production").context("starting the production registry")?,
        ];
        let [staging, production] = running.each_ref().map(Running::address);
        let seal = Seal::make(&folder, staging, production)?;
        let stage =
            Self { staging, production, seal, folder, _running: running, _temporary: temporary };
        fs::write(stage.policy(), stage.policy_text()).context("writing the policy")?;
        Ok(stage)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn layout(&self) -> PathBuf {
        self.path("image")
    }

    /// The layout that the build system made, with evidence.
    pub(super) fn attested(&self) -> PathBuf {
        self.path("attested")
    }

    /// The same with evidence of which most is signed.
    pub(super) fn built(&self) -> PathBuf {
        self.path("built")
    }

    /// Says who must have signed what is in the shop, and whose evidence counts.
    pub(super) fn trust(&self) -> PathBuf {
        self.path("trust.yaml")
    }

    /// Lets the trust file know the build system.
    pub(super) fn trust_builder(&self, public_pem: &str) -> io::Result<()> {
        fs::write(self.path("builder.pub"), public_pem)?;
        let shop =
            |registry: SocketAddr| format!("  docker:{registry}/shop/app: {{require: builder}}\n");
        let text = format!(
            "version: 1\nsigners:\n  builder: {{key: builder.pub, dangerous-no-log: true}}\nimages:\n{}{}default: policy-only\n",
            shop(self.staging),
            shop(self.production),
        );
        fs::write(self.trust(), text)
    }

    /// Somewhere else, where nothing goes.
    pub(super) fn onward(&self) -> String {
        format!("oci:{}:v1", self.path("onward").display())
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.path("policy.json")
    }

    pub(super) fn in_layout(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.layout().display())
    }

    pub(super) fn at_staging(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.staging)
    }

    pub(super) fn at_production(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.production)
    }

    /// Alters one byte of the layer that only the second version has.
    pub(super) fn alter_a_layer(&self) -> Result<PathBuf, Failure> {
        let digest = layer_of(2).context("finding the layer")?.digest;
        let place = format!("blobs/{}/{}", digest.algorithm(), digest.hex());
        let path = self.path("staging").join(place);
        alter(&path).with_context(|| format!("altering {}", path.display()))?;
        Ok(path)
    }

    fn policy_text(&self) -> String {
        let accept = json!([{"type": "insecureAcceptAnything"}]);
        let shop = format!("{}/shop", self.staging);
        let vault = format!("{}/shop/vault", self.production);
        let layout = self.layout().display().to_string();
        let attested = self.attested().display().to_string();
        let built = self.built().display().to_string();
        let arrived = format!("{}/shop/app", self.production);
        let key = self.seal.certificate();
        let out = format!("{}/out", self.production);
        let dispatch = self.path("dispatch.pub");
        let sealed = json!([{
            "type": "sigstoreSigned",
            "keyPath": dispatch,
            "signedIdentity": {"type": "matchRepository"},
        }]);
        let signed = json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": key}]);
        let policy = json!({
            "default": [{"type": "reject"}],
            "transports": {
                "oci": {layout: accept, attested: accept, built: accept},
                "docker": {shop: signed, arrived: accept, vault: accept, out: sealed},
            },
        });
        format!("{policy:#}")
    }
}

/// The folder, free of symbolic links as policies want it, and what removes it if it is ours.
fn folder(keep: Option<&Path>, tmpdir: &Path) -> io::Result<(PathBuf, Option<TempDir>)> {
    if let Some(keep) = keep {
        fs::create_dir(keep)?;
        return Ok((keep.canonicalize()?, None));
    }
    let made = tempfile::Builder::new().prefix("securecp-demo-").tempdir_in(tmpdir)?;
    Ok((made.path().canonicalize()?, Some(made)))
}

fn alter(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(700))?;
    file.write_all(b"!")
}
