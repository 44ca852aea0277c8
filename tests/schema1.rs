//! Docker schema 1 images in Debian's registry and in folders become what skopeo makes of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::registry::DockerRegistry;
use support::run::{said, securecp, skopeo, try_securecp};
use support::tree;

struct Bench {
    registry: DockerRegistry,
    folder: tempfile::TempDir,
}

impl Bench {
    /// A schema 1 image, signed as every one is that comes from a registry.
    fn new() -> Self {
        let bench = Self {
            registry: DockerRegistry::start_with("compatibility: {schema1: {enabled: true}}\n"),
            folder: tempfile::tempdir().unwrap(),
        };
        let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/crypt/plain");
        let plain = format!("oci:{}:plain", plain.display());
        skopeo(&["copy", "--format=v2s1", "--dest-tls-verify=false", &plain, &bench.image()]);
        bench
    }

    fn image(&self) -> String {
        self.registry.image("old:v1")
    }

    fn at(&self, transport: &str, name: &str) -> String {
        let tag = if transport == "oci" { ":v1" } else { "" };
        format!("{transport}:{}{tag}", self.folder.path().join(name).display())
    }

    fn files(&self, name: &str) -> std::collections::BTreeMap<String, (u32, usize, String)> {
        tree::files(&self.folder.path().join(name))
    }
}

#[test]
fn becomes_what_skopeo_makes_of_it_wherever_it_comes_from() {
    let bench = Bench::new();
    let kept = bench.at("dir", "kept");
    skopeo(&["copy", "--src-tls-verify=false", &bench.image(), &kept]);
    let found = std::fs::read(bench.folder.path().join("kept/manifest.json")).unwrap();
    let found: Value = serde_json::from_slice(&found).unwrap();
    assert!(found["signatures"].is_array() && found["schemaVersion"] == 1, "{found}");
    for source in [bench.image(), kept] {
        for format in ["oci", "v2s2"] {
            let (ours, theirs) = (format!("ours-{format}"), format!("theirs-{format}"));
            let copy = ["copy", "--src-tls-verify=false", "--format", format, &source];
            let copy = if source.starts_with("dir") {
                [&copy[..1], &copy[2..]].concat()
            } else {
                copy.to_vec()
            };
            securecp(&[&copy[..], &[&bench.at("dir", &ours)]].concat());
            skopeo(&[&copy[..], &[&bench.at("dir", &theirs)]].concat());
            assert_eq!(bench.files(&ours), bench.files(&theirs), "{source} as {format}");
        }
    }
    // Without being asked, as what the destination takes.
    securecp(&["copy", "--src-tls-verify=false", &bench.image(), &bench.at("oci", "layout")]);
    let raw = skopeo(&["inspect", "--raw", &bench.at("oci", "layout")]).stdout;
    let raw: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(raw["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let layers = raw["layers"].as_array().unwrap().len();
    assert_eq!(layers, found["fsLayers"].as_array().unwrap().len());
}

#[test]
fn can_be_changed_on_the_way_like_any_other() {
    let bench = Bench::new();
    let to = bench.at("oci", "zstd");
    securecp(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-compress-format=zstd",
        &bench.image(),
        &to,
    ]);
    let raw: Value = serde_json::from_slice(&skopeo(&["inspect", "--raw", &to]).stdout).unwrap();
    let layers = raw["layers"].as_array().unwrap();
    assert!(layers.iter().all(|layer| layer["mediaType"].as_str().unwrap().ends_with("tar+zstd")));
    let again = bench.registry.image("new:v1");
    securecp(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &bench.image(),
        &again,
    ]);
    skopeo(&["copy", "--src-tls-verify=false", &again, &bench.at("dir", "read")]);
    let plan = securecp(&[
        "copy",
        "--src-tls-verify=false",
        "--dry-run",
        &bench.image(),
        &bench.at("oci", "never"),
    ]);
    assert!(said(&plan).contains("it is converted to oci"), "{}", said(&plan));
    assert!(!bench.folder.path().join("never").exists());
}

#[test]
fn cannot_keep_its_digest_and_is_judged_first() {
    let bench = Bench::new();
    let copy = |options: &[&str]| {
        let (from, to) = (bench.image(), bench.at("oci", "never"));
        let line = [&["copy", "--src-tls-verify=false"], options, &[&from, &to]].concat();
        let run = try_securecp(&line);
        assert!(!run.status.success() && !bench.folder.path().join("never").exists());
        said(&run)
    };
    let text = copy(&["--preserve-digests"]);
    assert!(text.contains("Instructed to preserve digests"), "{text}");
    let text = copy(&["--platform=linux/arm64"]);
    assert!(text.contains("architecture \"arm64\""), "{text}");
    let before = bench.registry.log_lines(&["GET", "HEAD"]);
    let reject = bench.folder.path().join("reject.json");
    std::fs::write(&reject, r#"{"default":[{"type":"reject"}]}"#).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_securecp"));
    command.arg("--policy").arg(&reject).args(["copy", "--src-tls-verify=false"]);
    let run = command.args([bench.image(), bench.at("oci", "never")]).output().unwrap();
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(bench.registry.log_lines(&["GET", "HEAD"]) - before <= 2, "no layer was asked for");
    let run = try_securecp(&["inspect", "--tls-verify=false", &bench.image()]);
    assert!(said(&run).contains("schema 1") && !run.status.success(), "{}", said(&run));
}
