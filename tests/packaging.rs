//! The container image: built from `Containerfile` with podman, and its root run as it is meant to be run, read-only and
//! by an unprivileged user.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cli::{Place, image};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// podman with storage of its own in `place`.
fn podman(place: &Place) -> Command {
    let mut command = Command::new("podman");
    command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
    command.arg("--root").arg(place.path("storage")).arg("--runroot").arg(place.path("run"));
    command.env("TMPDIR", place.path("tmp")).current_dir(place.path("."));
    command
}

/// Builds the image and gives the folder of its root.
fn build(place: &Place) -> PathBuf {
    let stripped = place.path("securecp");
    done(Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_securecp")));
    let script = checkout().join("packaging/image-root");
    done(Command::new(&script).arg(&stripped).arg(place.path("root")));
    std::fs::copy(checkout().join("Containerfile"), place.path("Containerfile")).unwrap();
    std::fs::create_dir(place.path("tmp")).unwrap();
    done(podman(place).args(["build", "--quiet", "--tag", "securecp", "."]));
    let container = done(podman(place).args(["create", "securecp", "--version"]));
    done(podman(place).args(["mount", container.trim()])).trim().into()
}

/// Runs a line as user 65532 in `root`, which is mounted read-only but for `/tmp`, with nothing of this machine but its
/// network.
fn confined(root: &Path, writable: &Path, line: &str) -> Output {
    let script = "set -eu\nmount --bind \"$1\" \"$1\"\nmount --bind \"$2\" \"$1/tmp\"\nmount -o remount,bind,ro \"$1\"\n\
                  root=$1\nshift 2\nexec chroot --userspec=65532:65532 \"$root\" /usr/bin/securecp \"$@\"";
    Command::new("unshare")
        .args(["--mount", "--propagation=private", "sh", "-c", script, "sh"])
        .arg(root)
        .arg(writable)
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", "/tmp")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap()
}

fn own(path: &Path) {
    done(Command::new("chown").arg("-R").arg("65532:65532").arg(path));
}

#[test]
fn the_image_runs_read_only_and_unprivileged() {
    let place = Place::new();
    let root = build(&place);
    let config = done(podman(&place).args(["image", "inspect", "securecp"]));
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config[0]["Config"]["User"], "65532:65532");
    assert_eq!(config[0]["Config"]["Entrypoint"], serde_json::json!(["/usr/bin/securecp"]));

    let tmp = place.path("writable");
    image::two_platforms(&tmp.join("image"));
    std::fs::copy(place.path("accept.json"), tmp.join("policy.json")).unwrap();
    own(&tmp);
    let served = cli::serve::Served::start(&place, "store", &[]);
    let at = format!("docker://{}/a/b:v1", served.address);
    for line in [
        "--version".to_owned(),
        format!(
            "copy -q --all --policy /tmp/policy.json --tmpdir /tmp --dest-tls-verify=false oci:/tmp/image:v1 {at}"
        ),
        format!(
            "copy -q --all --policy /tmp/policy.json --tmpdir /tmp --src-tls-verify=false {at} oci:/tmp/back:v1"
        ),
        format!(
            "copy -q --override-arch amd64 --policy /tmp/policy.json --tmpdir /tmp --src-tls-verify=false \
             --dest-compress-format zstd {at} oci:/tmp/zstd:v1"
        ),
        "inspect --raw oci:/tmp/back:v1".to_owned(),
    ] {
        let run = confined(&root, &tmp, &line);
        assert!(run.status.success(), "{line}\n{}", said(&run));
    }
    let blobs = |layout: &str| cli::listing(&tmp.join(layout).join("blobs/sha256"));
    assert_eq!(blobs("back"), blobs("image"));
    let refused = confined(
        &root,
        &tmp,
        "copy -q --all --policy /tmp/policy.json --tmpdir /tmp oci:/tmp/image:v1 oci:/etc/image:v1",
    );
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(!root.join("etc/image").exists(), "the root is read-only");
    let trusted = root.join("etc/ssl/certs/ca-certificates.crt");
    assert!(trusted.metadata().unwrap().len() > 100_000, "the CA bundle is there");
}
