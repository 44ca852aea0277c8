//! An image made of real Debian packages: two layers, two platforms, one index, in an OCI layout.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::run::said;
use super::sha256;

/// Writes the image to `layout` under the name `v1`.
pub(crate) fn debian_image(layout: &Path) {
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let packages = ["busybox-static", "ca-certificates"].map(package);
    let layers = packages.map(|deb| layer(layout, &deb));
    let platforms = ["amd64", "arm64"].map(|arch| platform(layout, arch, &layers));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": platforms,
    });
    let mut entry =
        keep(layout, "application/vnd.oci.image.index.v1+json", index.to_string().as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let top = json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(layout.join("index.json"), top.to_string()).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn package(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/debs");
    let entries =
        std::fs::read_dir(&folder).expect("target/debs is missing: ./test fetches the packages");
    let mut found = entries.map(|e| e.unwrap().path());
    found
        .find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}_")))
        .unwrap_or_else(|| panic!("the Debian package {name} is missing: ./test fetches it"))
}

/// One package's files as a layer, with the descriptor and the diffID.
fn layer(layout: &Path, deb: &Path) -> (Value, String) {
    let script = "set -e; dpkg-deb -x \"$1\" \"$2\"; \
        tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C \"$2\" -cf \"$2.tar\" .";
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    sh(script, &[deb, &root]);
    let tar = std::fs::read(scratch.path().join("root.tar")).unwrap();
    sh("gzip -n -k \"$1\"", &[&scratch.path().join("root.tar")]);
    let gz = std::fs::read(scratch.path().join("root.tar.gz")).unwrap();
    (keep(layout, "application/vnd.oci.image.layer.v1.tar+gzip", &gz), sha256(&tar))
}

fn sh(script: &str, arguments: &[&Path]) {
    let output = Command::new("sh").args(["-c", script, "sh"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", said(&output));
}

fn platform(layout: &Path, arch: &str, layers: &[(Value, String); 2]) -> Value {
    let config = json!({
        "architecture": arch, "os": "linux", "config": {"Cmd": ["/bin/busybox", "sh"]},
        "rootfs": {"type": "layers", "diff_ids": layers.each_ref().map(|(_, diff_id)| diff_id)},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": keep(layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
        "layers": layers.each_ref().map(|(descriptor, _)| descriptor),
    });
    let mut entry =
        keep(layout, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    entry["platform"] = json!({"architecture": arch, "os": "linux"});
    entry
}

/// Stores a blob and describes it.
fn keep(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = sha256(bytes);
    std::fs::write(layout.join("blobs/sha256").join(&digest[7..]), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}
