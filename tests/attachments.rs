//! Sigstore signatures attached in a registry, made by the reference, judged by `sigstoreSigned`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use securecp_testkit::Registry;
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule};
use support::run::{command, said, securecp};

const SIGNED: &str = "352fb370f4a9978d04c14127b3b855dcc981475071b5902d8b006a00ca515d6f";

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

struct Bench {
    _registry: Registry,
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::start().unwrap();
        let proxy = Proxy::start(registry.address()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("registries.d")).unwrap();
        let bench = Self { _registry: registry, proxy, folder };
        bench.attachments(true);
        bench.policy("registry.securecp.test/plain:v1");
        bench.push("crypt/plain", "plain", "v1");
        bench
    }

    fn image(&self, tag: &str) -> String {
        format!("docker://{}/app:{tag}", self.proxy.address())
    }

    fn push(&self, layout: &str, name: &str, tag: &str) {
        let from = format!("oci:{}:{name}", testdata(layout).display());
        securecp(&["copy", "--dest-tls-verify=false", &from, &self.image(tag)]);
    }

    fn push_signature(&self) {
        self.push("sigstore/attachment-sigstore", "sha256-sig", &format!("sha256-{SIGNED}.sig"));
    }

    fn attachments(&self, used: bool) {
        let store = self.folder.path().join("store");
        let text = format!(
            "default-docker:\n  use-sigstore-attachments: {used}\n  lookaside: file://{}\n",
            store.display()
        );
        std::fs::write(self.folder.path().join("registries.d/default.yaml"), text).unwrap();
    }

    fn policy(&self, identity: &str) {
        let policy = serde_json::json!({"default": [{
            "type": "sigstoreSigned",
            "keyPath": key(),
            "signedIdentity": {"type": "exactReference", "dockerReference": identity},
        }]});
        std::fs::write(self.folder.path().join("policy.json"), policy.to_string()).unwrap();
    }

    fn verify(&self) -> Output {
        let at = |name: &str| self.folder.path().join(name);
        command_with(&at("policy.json"), &at("registries.d"))
            .args(["verify", "--tls-verify=false", &self.image("v1")])
            .output()
            .unwrap()
    }
}

/// The key of the reference's attachment.
fn key() -> PathBuf {
    testdata("trust/keys/cosign.pub")
}

fn command_with(policy: &Path, registries_d: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(command().get_program());
    command.arg("--policy").arg(policy).arg("--registries.d").arg(registries_d);
    command
}

fn assert_refused(run: &Output, expected: &str) {
    assert_eq!(run.status.code(), Some(3), "{}", said(run));
    assert!(said(run).contains(expected), "expected {expected:?} in\n{}", said(run));
}

#[test]
fn an_attached_signature_of_the_reference_is_accepted() {
    let bench = Bench::new();
    assert_refused(&bench.verify(), "no signature exists");
    bench.push_signature();
    let run = bench.verify();
    assert!(run.status.success(), "{}", said(&run));
    bench.policy("registry.securecp.test/other:v1");
    assert_refused(&bench.verify(), "is not accepted");
}

#[test]
fn attachments_count_only_where_the_configuration_says_so() {
    let bench = Bench::new();
    bench.push_signature();
    bench.attachments(false);
    assert_refused(&bench.verify(), "no signature exists");
}

#[test]
fn an_error_while_looking_for_attachments_is_not_none() {
    for (reply, expected) in [
        (Reply::error(403, "DENIED", "no"), "denied"),
        (Reply::error(500, "UNKNOWN", "no"), "unknown: no"),
        (Reply::html(200), "manifest"),
    ] {
        let bench = Bench::new();
        bench.push_signature();
        let rule = Rule::new("GET", "/manifests/sha256-").unwrap();
        bench.proxy.add(rule.with(Fault::Answer(reply)));
        let run = bench.verify();
        assert_refused(&run, "");
        assert!(!said(&run).contains("no signature exists"), "{}", said(&run));
        assert!(said(&run).to_lowercase().contains(expected), "{expected}: {}", said(&run));
    }
}

#[test]
fn attached_signatures_are_not_lost_silently() {
    let bench = Bench::new();
    bench.push_signature();
    let at = |name: &str| bench.folder.path().join(name);
    let copy = |options: &[&str], to: &str| {
        let run = command_with(&at("policy.json"), &at("registries.d"))
            .args(["copy", "--src-tls-verify=false"])
            .args(options)
            .args([bench.image("v1"), format!("{to}:{}", at(to).display())])
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", said(&run));
    };
    let signed = format!("sha256-{SIGNED}.sig");
    let index = || std::fs::read_to_string(at("oci").join("index.json")).unwrap();
    copy(&["--remove-signatures"], "oci");
    assert!(!index().contains(&signed), "{}", index());
    copy(&[], "oci");
    assert!(index().contains(&signed), "{}", index());
    // A folder has room for the signature itself, if not for the tag.
    copy(&[], "dir");
    assert!(at("dir").join("signature-1").exists());
}
