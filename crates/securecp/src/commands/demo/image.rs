use std::fs;
use std::io;
use std::path::Path;

use securecp_oci::{Algorithm, Descriptor, Digest, MediaType, Platform};
use serde_json::{Value, json};

/// Adds an image of two platforms to the layout at `root` under `name`. The bytes depend on nothing but `version`.
pub(super) fn write_image(root: &Path, name: &str, version: u32) -> io::Result<()> {
    fs::create_dir_all(root.join("blobs/sha256"))?;
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let entries = ["amd64", "arm64"].map(|architecture| platform(root, version, architecture));
    let [amd64, arm64] = entries;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX.as_str(),
        "manifests": [Value::from(&amd64?), Value::from(&arm64?)],
    });
    let index = keep(root, MediaType::OCI_INDEX, index.to_string().as_bytes())?;
    add_name(root, name, index)
}

/// Adds what a build system leaves beside an image: a bill of materials of the index, and a statement about the image of
/// the first platform, entered as oras enters them.
pub(super) fn write_evidence(root: &Path, version: u32) -> io::Result<()> {
    let index: Value = serde_json::from_slice(&fs::read(root.join("index.json"))?)?;
    let image = &index["manifests"][0];
    let first = platform(root, version, "amd64")?;
    let sbom = json!({"spdxVersion": "SPDX-2.3", "name": "app", "packages": []});
    refer(root, image, ("application/spdx+json", &sbom))?;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {"sha256": first.digest.hex()}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {},
    });
    refer(root, &Value::from(&first), ("application/vnd.in-toto+json", &statement)).map(drop)
}

/// Adds an artifact with this content and describes it.
pub(super) fn refer(
    root: &Path,
    subject: &Value,
    (kind, content): (&str, &Value),
) -> io::Result<Descriptor> {
    let config = keep(root, MediaType::OCI_EMPTY, b"{}")?;
    let layer = keep(root, MediaType::new(kind), content.to_string().as_bytes())?;
    let members = ["mediaType", "digest", "size"].map(|key| (key, subject[key].clone()));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "artifactType": kind,
        "config": Value::from(&config),
        "layers": [Value::from(&layer)],
        "subject": members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<serde_json::Map<_, _>>(),
    });
    let entry = keep(root, MediaType::OCI_MANIFEST, manifest.to_string().as_bytes())?;
    add_entry(root, &entry)?;
    Ok(entry)
}

/// The layer that only this version has.
pub(super) fn layer_of(version: u32) -> io::Result<Descriptor> {
    let bytes = layer("app/version", format!("version {version}\n").as_bytes())?;
    Ok(describe(MediaType::OCI_LAYER, &bytes))
}

fn platform(root: &Path, version: u32, architecture: &str) -> io::Result<Descriptor> {
    let base = layer("etc/base", &b"the base that both platforms share\n".repeat(500))?;
    let program = layer("app/program", format!("the program for {architecture}\n").as_bytes())?;
    let own = layer("app/version", format!("version {version}\n").as_bytes())?;
    let mut layers = Vec::new();
    for bytes in [&base, &program, &own] {
        layers.push(keep(root, MediaType::OCI_LAYER, bytes)?);
    }
    let config = json!({
        "created": "2026-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/app/program"], "Labels": {"version": version.to_string()}},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| l.digest.to_string()).collect::<Vec<_>>()},
    });
    let config = keep(root, MediaType::OCI_CONFIG, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "config": Value::from(&config),
        "layers": layers.iter().map(Value::from).collect::<Vec<_>>(),
    });
    let mut entry = keep(root, MediaType::OCI_MANIFEST, manifest.to_string().as_bytes())?;
    entry.platform = Some(Platform::new("linux", architecture));
    Ok(entry)
}

/// A tar with one file, the same bytes each time.
fn layer(name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content)?;
    archive.into_inner()
}

pub(super) fn keep(root: &Path, media_type: MediaType, bytes: &[u8]) -> io::Result<Descriptor> {
    let descriptor = describe(media_type, bytes);
    fs::write(root.join("blobs/sha256").join(descriptor.digest.hex()), bytes)?;
    Ok(descriptor)
}

fn describe(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
}

fn add_name(root: &Path, name: &str, mut index: Descriptor) -> io::Result<()> {
    index.annotations.insert("org.opencontainers.image.ref.name".to_owned(), name.to_owned());
    add_entry(root, &index)
}

pub(super) fn add_entry(root: &Path, entry: &Descriptor) -> io::Result<()> {
    let path = root.join("index.json");
    let mut entries = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Value>(&bytes)?["manifests"].take(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!([]),
        Err(error) => return Err(error),
    };
    if let Some(entries) = entries.as_array_mut() {
        entries.push(Value::from(entry));
    }
    fs::write(path, json!({"schemaVersion": 2, "manifests": entries}).to_string())
}
