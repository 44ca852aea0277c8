//! A real Docker engine. Starting one takes root and the package docker.io, so this runs only when asked for:
//!
//! ```text
//! cargo test -p securecp --test interop_engine -- --ignored
//! ```
//!
//! The stand-in of securecp-transport's conformance suite speaks the same API in every run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::debian_image::debian_image;
use support::run::{said, securecp, skopeo, try_securecp};

const AMD64: [&str; 4] = ["--override-os", "linux", "--override-arch", "amd64"];

/// A dockerd of our own; ends when dropped.
struct Engine {
    child: Child,
    folder: tempfile::TempDir,
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let log = std::fs::File::create(at("log")).unwrap();
        let child = Command::new("dockerd")
            .args([
                "--storage-driver=vfs",
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
            ])
            .arg(format!("--host=unix://{}", at("socket").display()))
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("exec").display()))
            .arg(format!("--pidfile={}", at("pid").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("dockerd is in the package docker.io");
        let engine = Self { child, folder };
        let end = Instant::now() + Duration::from_secs(60);
        while !engine.docker(&["version"]).status.success() {
            let log = std::fs::read_to_string(engine.folder.path().join("log")).unwrap();
            assert!(Instant::now() < end, "dockerd did not start\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    fn docker(&self, words: &[&str]) -> std::process::Output {
        Command::new("docker").args(["--host", &self.host()]).args(words).output().unwrap()
    }

    fn docker_ok(&self, words: &[&str]) -> String {
        let output = self.docker(words);
        assert!(output.status.success(), "docker {words:?}\n{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It must end its own children, so it is asked before it is made to.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn config(words: &[&str], image: &str) -> Value {
    let line = [&AMD64[..], &["inspect", "--config", "--raw"], words, &[image]].concat();
    serde_json::from_slice(&securecp(&line).stdout).unwrap()
}

fn oci(folder: &Path, name: &str) -> String {
    format!("oci:{}:v1", folder.join(name).display())
}

#[test]
#[ignore = "needs root and dockerd"]
fn images_go_into_a_real_engine_and_come_out_again() {
    let scratch = tempfile::tempdir().unwrap();
    debian_image(&scratch.path().join("image"));
    let (image, back) = (oci(scratch.path(), "image"), oci(scratch.path(), "back"));
    let engine = Engine::start();
    let host = engine.host();
    let (to, from) = (["--dest-daemon-host", &host], ["--src-daemon-host", &host]);
    let look = ["--daemon-host", host.as_str()];
    let named = "docker-daemon:h.example/app:v1";
    securecp(&[&["copy", "--format=v2s2"], &AMD64[..], &to, &[&image, named]].concat());

    let wanted = config(&[], &image);
    let listed = engine.docker_ok(&["image", "inspect", "h.example/app:v1"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["RootFS"]["Layers"], wanted["rootfs"]["diff_ids"]);
    assert_eq!(config(&look, named)["rootfs"], wanted["rootfs"]);
    securecp(&[&["inspect"], &look[..], &[named]].concat());
    let by_id = format!("docker-daemon:{}", listed[0]["Id"].as_str().unwrap());
    assert_eq!(config(&look, &by_id)["rootfs"], wanted["rootfs"]);
    skopeo(&["inspect", "--daemon-host", &host, named]);

    securecp(&[&["copy"], &from[..], &[named, &back]].concat());
    assert_eq!(config(&[], &back)["rootfs"], wanted["rootfs"]);
    let tar = scratch.path().join("saved.tar");
    engine.docker_ok(&["save", "--output", tar.to_str().unwrap(), "h.example/app:v1"]);
    let saved = format!("docker-archive:{}:h.example/app:v1", tar.display());
    assert_eq!(config(&[], &saved)["rootfs"], wanted["rootfs"]);
    let ours = scratch.path().join("ours.tar");
    let archive = format!("docker-archive:{}:h.example/app:v2", ours.display());
    securecp(&[&["copy", "--format=v2s2"], &AMD64[..], &[&image, &archive]].concat());
    let loaded = engine.docker_ok(&["load", "--input", ours.to_str().unwrap()]);
    assert!(loaded.contains("h.example/app:v2"), "{loaded}");

    let missing = [&["inspect"], &look[..], &["docker-daemon:h.example/none:v1"]].concat();
    assert_eq!(try_securecp(&missing).status.code(), Some(2));
}
