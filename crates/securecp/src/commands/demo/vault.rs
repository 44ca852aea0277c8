use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;
use securecp_crypt::FreshKeyPair;

use super::stage::Stage;
use super::tale::{Ending, Tale};
use super::{inspect, with_policy};
use crate::failure::{Exit, Failure};

/// Layer 1 of one platform is encrypted on its way to production, cannot be read with another key, and is decrypted.
pub(super) fn lock_away(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<(), Failure> {
    let (own, other) = (keys(stage, "vault")?, keys(stage, "thief")?);
    let (plain, vault) = (stage.in_layout("v1"), stage.at_production("shop/vault:v1"));
    let opened = format!("oci:{}:v1", stage.path("opened").display());
    let recipient = format!("--encryption-key=jwe:{}", own.public.display());
    let lock = ["--encrypt-layer=1", &recipient, "--dest-tls-verify=false", &plain, &vault];
    tale.step(
        "Layer 1 of another image is encrypted on its way to production",
        Ending::DONE,
        &copy_one(stage, &lock),
    )?;
    let key = format!("--decryption-key={}", other.private.display());
    let refused = Ending::failed(Exit::Failed, "no suitable key unwrapper found");
    let open = [&key, "--src-tls-verify=false", &vault, &opened];
    tale.step("Somebody else's key does not open it", refused, &copy_one(stage, &open))?;
    let key = format!("--decryption-key={}", own.private.display());
    let open = [&key, "--src-tls-verify=false", &vault, &opened];
    tale.step("The right key does", Ending::DONE, &copy_one(stage, &open))?;
    let once = stage.path("plain");
    let straight = format!("oci:{}:v1", once.display());
    tale.step(
        "The same image, never encrypted",
        Ending::DONE,
        &copy_one(stage, &[&plain, &straight]),
    )?;
    let before = inspect(tale, "What it was", &straight)?;
    let after = inspect(tale, "What came out of the vault", &opened)?;
    tale.check("the decrypted image has the digest that it had before", before == after)
}

fn copy_one(stage: &Stage, rest: &[&str]) -> Vec<String> {
    let usual = ["copy", "--quiet", "--override-os=linux", "--override-arch=amd64"];
    with_policy(stage, &[&usual[..], rest].concat())
}

/// A key pair in files.
struct KeyFiles {
    private: PathBuf,
    public: PathBuf,
}

fn keys(stage: &Stage, name: &str) -> Result<KeyFiles, Failure> {
    let files = KeyFiles {
        private: stage.path(&format!("{name}.key.pem")),
        public: stage.path(&format!("{name}.pub.pem")),
    };
    let pair = FreshKeyPair::generate().context("making a key")?;
    let private = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&files.private);
    private
        .and_then(|mut file| file.write_all(&pair.private))
        .and_then(|()| fs::write(&files.public, &pair.public))
        .context("writing a key")?;
    Ok(files)
}
