//! Small images in OCI layouts whose bytes depend on nothing.

use std::fs;
use std::path::Path;

use securecp_oci::{Algorithm, Digest};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image of one platform under the name `v1`; gives the digest of its manifest.
pub(crate) fn single(layout: &Path) -> String {
    let entry = platform(layout, "amd64");
    name(layout, "v1", entry)
}

/// An image of two platforms under the name `v1`; gives the digest of its index.
pub(crate) fn two_platforms(layout: &Path) -> String {
    let entries = ["amd64", "arm64"].map(|arch| {
        let mut entry = platform(layout, arch);
        entry["platform"] = json!({"architecture": arch, "os": "linux"});
        entry
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let entry = keep(layout, INDEX, index.to_string().as_bytes());
    name(layout, "v1", entry)
}

/// The path of a blob.
pub(crate) fn blob(layout: &Path, digest: &str) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

/// The digest of the layer that only `arch` has.
pub(crate) fn own_layer(arch: &str) -> String {
    digest(own_bytes(arch).as_bytes())
}

/// Gives a name to what an entry describes.
pub(crate) fn name(layout: &Path, name: &str, mut entry: Value) -> String {
    let digest = entry["digest"].as_str().unwrap().to_owned();
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let top = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(layout.join("index.json"), top.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    digest
}

/// Stores a blob and describes it.
pub(crate) fn keep(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let path = blob(layout, &digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

fn own_bytes(arch: &str) -> String {
    format!("the layer of {arch}")
}

fn platform(layout: &Path, arch: &str) -> Value {
    let layers = [
        keep(layout, LAYER, b"the layer that both platforms share"),
        keep(layout, LAYER, own_bytes(arch).as_bytes()),
    ];
    let config = json!({
        "created": "2026-01-02T03:04:05.600Z",
        "architecture": arch,
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "A=<b>&c"], "Labels": {"z": "last", "a": "first"}},
        "rootfs": {"type": "layers", "diff_ids": layers.each_ref().map(|l| l["digest"].clone())},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": keep(layout, CONFIG, config.to_string().as_bytes()),
        "layers": layers,
    });
    keep(layout, MANIFEST, manifest.to_string().as_bytes())
}
