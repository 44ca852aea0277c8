//! Archives beside Debian's podman and skopeo: they load what securecp writes, and securecp reads what they save.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use support::debian_image::debian_image;
use support::run::{said, securecp, skopeo, try_securecp};

const AMD64: [&str; 4] = ["--override-os", "linux", "--override-arch", "amd64"];

/// A folder with an image, and a podman whose storage lies in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        debian_image(&bench.path("image"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, transport: &str, name: &str) -> String {
        format!("{transport}:{}", self.path(name).display())
    }

    fn image(&self) -> String {
        self.at("oci", "image:v1")
    }

    fn try_podman(&self, words: &[&str]) -> Output {
        let [root, run, tmp] = ["root", "run", "tmp"].map(|name| self.path(name));
        std::fs::create_dir_all(&tmp).unwrap();
        Command::new("podman")
            .args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"])
            .arg("--root")
            .arg(root)
            .arg("--runroot")
            .arg(run)
            .args(words)
            .env("TMPDIR", tmp)
            .output()
            .expect("podman is needed for the interop tests: ./test installs it")
    }

    fn podman(&self, words: &[&str]) -> String {
        let output = self.try_podman(words);
        assert!(output.status.success(), "podman {words:?}\n{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn copy(&self, options: &[&str], from: &str, to: &str) {
        securecp(&[&["copy"], &AMD64[..], options, &[from, to]].concat());
    }
}

/// The configuration of what a program reads in an image.
fn config(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ours(image: &str) -> Value {
    config(&securecp(&[&AMD64[..], &["inspect", "--config", "--raw", image]].concat()))
}

fn theirs(image: &str) -> Value {
    config(&skopeo(&[&AMD64[..], &["inspect", "--config", "--raw", image]].concat()))
}

#[test]
fn podman_and_skopeo_load_what_securecp_writes() {
    let bench = Bench::new();
    let wanted = ours(&bench.image());
    for (transport, file, options) in
        [("oci-archive", "o.tar", &[][..]), ("docker-archive", "d.tar", &["--format=v2s2"])]
    {
        let name = format!("h.example/{transport}:v1");
        let archive = bench.at(transport, file);
        bench.copy(options, &bench.image(), &format!("{archive}:{name}"));
        assert_eq!(theirs(&archive), wanted, "{archive}");
        let loaded =
            bench.podman(&["load", "--quiet", "--input", bench.path(file).to_str().unwrap()]);
        assert!(loaded.contains(&name), "{loaded}");
        let seen = bench.podman(&["image", "inspect", &name]);
        let seen: Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen[0]["RootFS"]["Layers"], wanted["rootfs"]["diff_ids"], "{name}");
        assert_eq!(seen[0]["Config"]["Labels"], wanted["config"]["Labels"], "{name}");
    }
}

#[test]
fn securecp_reads_what_podman_and_skopeo_save() {
    let bench = Bench::new();
    let wanted = ours(&bench.image());
    let source = bench.at("docker-archive", "first.tar");
    bench.copy(&["--format=v2s2"], &bench.image(), &format!("{source}:h.example/app:v1"));
    bench.podman(&["load", "--quiet", "--input", bench.path("first.tar").to_str().unwrap()]);
    for (format, transport) in
        [("docker-archive", "docker-archive"), ("oci-archive", "oci-archive")]
    {
        let file = format!("podman-{format}.tar");
        let to = bench.path(&file);
        let words = ["save", "--quiet", "--format", format, "--output", to.to_str().unwrap()];
        bench.podman(&[&words[..], &["h.example/app:v1"]].concat());
        let archive = bench.at(transport, &file);
        let found = ours(&archive);
        assert_eq!(found["rootfs"], wanted["rootfs"], "{archive}");
        let back = bench.at("oci", &format!("back-{format}:v1"));
        securecp(&["copy", &archive, &back]);
        assert_eq!(theirs(&back)["rootfs"], wanted["rootfs"], "{back}");
    }
    for transport in ["docker-archive", "oci-archive"] {
        let archive = bench.at(transport, &format!("skopeo-{transport}.tar:h.example/app:v2"));
        skopeo(&[&AMD64[..], &["copy", &bench.image(), &archive]].concat());
        assert_eq!(ours(&archive)["rootfs"], wanted["rootfs"], "{archive}");
    }
}

#[test]
fn several_images_of_one_archive_are_told_apart() {
    let bench = Bench::new();
    let first = bench.at("docker-archive", "first.tar");
    bench.copy(
        &["--format=v2s2", "--additional-tag=h.example/app:stable"],
        &bench.image(),
        &format!("{first}:h.example/app:v1"),
    );
    let loaded =
        bench.podman(&["load", "--quiet", "--input", bench.path("first.tar").to_str().unwrap()]);
    assert!(loaded.contains("app:v1") && loaded.contains("app:stable"), "{loaded}");
    // a second image, so that the archive of podman holds two
    std::fs::create_dir(bench.path("context")).unwrap();
    let dockerfile = "FROM h.example/app:v1\nLABEL second=yes\n";
    std::fs::write(bench.path("context/Dockerfile"), dockerfile).unwrap();
    let context = bench.path("context");
    let build = ["build", "--quiet", "--isolation=chroot", "--tag", "h.example/other:v1"];
    bench.podman(&[&build[..], &[context.to_str().unwrap()]].concat());
    let both = bench.path("both.tar");
    let save = ["save", "--quiet", "--multi-image-archive", "--output", both.to_str().unwrap()];
    bench.podman(&[&save[..], &["h.example/app:v1", "h.example/other:v1"]].concat());
    let archive = bench.at("docker-archive", "both.tar");
    let listed = securecp(&["list-tags", &archive]).stdout;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed["Tags"].as_array().unwrap().len(), 2, "{listed}");
    for (position, name) in ["h.example/app:v1", "h.example/other:v1"].iter().enumerate() {
        let by_name = ours(&format!("{archive}:{name}"));
        assert_eq!(by_name, theirs(&format!("{archive}:{name}")));
        assert_eq!(by_name, ours(&format!("{archive}:@{position}")));
        let has_label = by_name["config"]["Labels"]["second"] == "yes";
        assert_eq!(has_label, *name == "h.example/other:v1");
    }
    let unnamed = try_securecp(&["inspect", &archive]);
    assert!(!unnamed.status.success(), "which of the two?\n{}", said(&unnamed));
}
