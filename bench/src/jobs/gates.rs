//! What judging and signing cost.

use std::path::PathBuf;

use anyhow::Result;

use super::{Step, at, plain_copy};
use crate::lab::Lab;
use crate::tools::{Change, Place, Task};

const SIGNER: &str = "bench@release.example";

/// A key, a policy that trusts it, and a place for signatures.
fn signing(lab: &Lab) -> Result<[PathBuf; 2]> {
    let [policy, registries_d, key] =
        ["policy.json", "registries.d", "bench.asc"].map(|name| lab.folder.join(name));
    if policy.exists() {
        return Ok([policy, registries_d]);
    }
    let batch = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-gen-key",
        SIGNER,
        "ed25519",
        "sign",
    ];
    lab.helper("gpg", &batch)?;
    std::fs::write(&key, lab.helper("gpg", &["--armor", "--export", SIGNER])?)?;
    std::fs::create_dir_all(&registries_d)?;
    let store = lab.folder.join("sigstore");
    let stores = format!(
        "default-docker:\n  sigstore: file://{0}\n  sigstore-staging: file://{0}\n",
        store.display()
    );
    std::fs::write(registries_d.join("default.yaml"), stores)?;
    let rule = serde_json::json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": key, "signedIdentity": {"type": "matchRepository"}}]);
    let text =
        serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": {"": rule}}});
    std::fs::write(&policy, text.to_string())?;
    Ok([policy, registries_d])
}

pub(super) fn gate_off(lab: &mut Lab) -> Result<Step> {
    let to = Place::Oci(lab.nothing_at("out")?);
    Ok(plain_copy(lab.at_source("ten", Some("v1")), to))
}

pub(super) fn gate_openpgp(lab: &mut Lab) -> Result<Step> {
    let [policy, registries_d] = signing(lab)?;
    if !lab.folder.join("sigstore").exists() {
        let (from, to) = (
            format!("docker://{}/ten:v1", lab.source.address()),
            format!("docker://{}/signed:v1", lab.source.address()),
        );
        let folder = registries_d.display().to_string();
        lab.prepare(&[
            "--insecure-policy",
            "--registries.d",
            &folder,
            "copy",
            "--quiet",
            "--sign-by",
            SIGNER,
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &from,
            &to,
        ])?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    let change = Change::Judge { policy, registries_d };
    Ok(Step::Copy(Task { from: lab.at_source("signed", Some("v1")), to, change, all: false }))
}

/// As [`gate_openpgp`], with a signature that is attached in the registry.
pub(super) fn gate_sigstore(lab: &mut Lab) -> Result<Step> {
    let [policy, registries_d, prefix, passphrase] =
        ["sigstore.json", "attached.d", "cosign", "passphrase"].map(|name| lab.folder.join(name));
    if !policy.exists() {
        std::fs::create_dir_all(&registries_d)?;
        let attached = "default-docker:\n  use-sigstore-attachments: true\n";
        std::fs::write(registries_d.join("default.yaml"), attached)?;
        std::fs::write(&passphrase, "open sesame\n")?;
        let words = [&prefix, &passphrase, &registries_d].map(|path| path.display().to_string());
        let [prefix, passphrase, folder] = words.each_ref().map(String::as_str);
        lab.prepare(&[
            "generate-sigstore-key",
            "--output-prefix",
            prefix,
            "--passphrase-file",
            passphrase,
        ])?;
        let key = format!("{prefix}.private");
        let [from, to] =
            ["ten", "attached"].map(|name| format!("docker://{}/{name}:v1", lab.source.address()));
        lab.prepare(&[
            "--insecure-policy",
            "--registries.d",
            folder,
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--sign-by-sigstore-private-key",
            &key,
            "--sign-passphrase-file",
            passphrase,
            &from,
            &to,
        ])?;
        let rule = serde_json::json!([{"type": "sigstoreSigned", "keyPath": format!("{prefix}.pub"),
            "signedIdentity": {"type": "matchRepository"}}]);
        let text = serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": {"": rule}}});
        std::fs::write(&policy, text.to_string())?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    let change = Change::Judge { policy, registries_d };
    Ok(Step::Copy(Task { from: lab.at_source("attached", Some("v1")), to, change, all: false }))
}

/// Of an image that nothing refers to: the peers leave such things behind, and we would do more work.
pub(super) fn sign(lab: &mut Lab) -> Result<Step> {
    let [_, registries_d] = signing(lab)?;
    let to = lab.empty_registry()?;
    let from = at(lab.near.address(), "pair", "v1");
    let change = Change::Sign { key: SIGNER, registries_d };
    Ok(Step::Copy(Task { from, to: at(to, "pair", "v1"), change, all: true }))
}
