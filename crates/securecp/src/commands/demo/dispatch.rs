use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::Context;

use super::stage::Stage;
use super::tale::{Ending, Tale};
use super::{absent_signature, copy, with_policy};
use crate::failure::Failure;

/// An image is signed with a throw-away sigstore key where it arrives, and one that is not does not leave.
pub(super) fn seal_on_arrival(tale: &mut Tale<'_, '_>, stage: &Stage) -> Result<(), Failure> {
    let passphrase = stage.path("dispatch.pass");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&passphrase)
        .context("writing a passphrase")?;
    file.write_all(b"thrown away with the key\n").context("writing a passphrase")?;
    let prefix = format!("--output-prefix={}", stage.path("dispatch").display());
    let passphrase_file = format!("--passphrase-file={}", passphrase.display());
    let words = ["generate-sigstore-key", &prefix, &passphrase_file];
    tale.step(
        "Production signs what arrives with a sigstore key of its own",
        Ending::DONE,
        &words.map(str::to_owned),
    )?;
    let (sealed, bare) = (stage.at_production("out/app:v1"), stage.at_production("out/bare:v1"));
    let key =
        format!("--sign-by-sigstore-private-key={}", stage.path("dispatch.private").display());
    let passphrase = format!("--sign-passphrase-file={}", passphrase.display());
    let sign = ["--dest-tls-verify=false", &key, &passphrase, &stage.in_layout("v2"), &sealed];
    tale.step(
        "An image arrives and is signed before it has a name",
        Ending::DONE,
        &copy(stage, &sign),
    )?;
    let verify = |image: &str| {
        with_policy(
            stage,
            &["verify", "--all", "--index-signature=require", "--tls-verify=false", image],
        )
    };
    tale.step("The policy knows that key", Ending::DONE, &verify(&sealed))?;
    let push = ["--dest-tls-verify=false", &stage.in_layout("v2"), &bare];
    tale.step("The same image under another name, unsigned", Ending::DONE, &copy(stage, &push))?;
    absent_signature(tale, &verify(&bare))
}
