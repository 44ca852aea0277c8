//! Evidence in `oci:` layouts as oras, regctl and we enter it.

use std::fs;
use std::path::PathBuf;

use securecp_layer::Scope;
use securecp_oci::{Attached, Declared, MediaType, RawManifest, referrers_tag};
use securecp_transport::{Source, TransportError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::suite::copy::source;
use crate::suite::sample;

/// A layout whose entries are written by hand.
struct Layout {
    place: TempDir,
    entries: Vec<Value>,
}

impl Layout {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("blobs/sha256")).unwrap();
        fs::write(place.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { place, entries: Vec::new() }
    }

    fn blob(&self, manifest: &RawManifest) -> PathBuf {
        self.place.path().join("blobs/sha256").join(manifest.digest().hex())
    }

    fn store(&self, manifest: &RawManifest) {
        fs::write(self.blob(manifest), manifest.bytes()).unwrap();
    }

    fn enter(&mut self, manifest: &RawManifest, name: Option<&str>) {
        self.store(manifest);
        let mut entry = Value::from(&manifest.descriptor());
        if let Some(name) = name {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        self.entries.push(entry);
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.place.path().join("index.json"), index.to_string()).unwrap();
    }

    fn source(&self, name: &str) -> Box<dyn Source> {
        source(&format!("oci:{}{name}", self.place.path().display())).unwrap()
    }

    fn root(&self, name: &str) -> Result<RawManifest, TransportError> {
        self.source(name).root(&Scope::new())
    }
}

fn read(document: &Value) -> RawManifest {
    RawManifest::read(document.to_string().into(), Declared::default()).unwrap()
}

fn artifact(kind: &str, subject: &RawManifest) -> RawManifest {
    let empty = sample::descriptor(MediaType::OCI_EMPTY, b"{}");
    read(&json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "artifactType": kind,
        "config": Value::from(&empty),
        "layers": [],
        "subject": Value::from(&subject.descriptor()),
        "annotations": {"kind": kind},
    }))
}

fn list_of(manifests: &[&RawManifest]) -> RawManifest {
    let entries: Vec<Value> =
        manifests.iter().map(|manifest| (&manifest.as_referrer()).into()).collect();
    read(&json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX.as_str(),
        "manifests": entries,
    }))
}

fn kinds(layout: &Layout, of: &RawManifest) -> Vec<String> {
    let found = layout.source(":v1").referrers(of.digest(), &Scope::new()).unwrap();
    found.into_iter().map(|entry| entry.artifact_type.unwrap_or_default()).collect()
}

#[test]
fn referrers_are_found_as_plain_entries_and_under_the_fallback_name() {
    let (image, other) = (sample::image("one").manifest, sample::image("two").manifest);
    let (first, second) = (artifact("a", &image), artifact("b", &image));
    let third = artifact("c", &first);
    let mut layout = Layout::new();
    layout.enter(&image, Some("v1"));
    layout.enter(&other, Some("v2"));
    layout.enter(&first, None);
    layout.store(&second);
    let name = referrers_tag(image.digest());
    layout.enter(&list_of(&[&second, &first]), Some(name.as_str()));
    layout.enter(&third, None);
    assert_eq!(kinds(&layout, &image), ["b", "a"], "each once");
    assert_eq!(kinds(&layout, &first), ["c"], "a referrer of a referrer");
    assert!(kinds(&layout, &other).is_empty());
}

#[test]
fn attachments_are_found_under_their_names() {
    let (image, signature) = (sample::image("one").manifest, sample::image("sig").manifest);
    let mut layout = Layout::new();
    layout.enter(&image, Some("v1"));
    let tag = Attached::Signatures.tag(image.digest()).unwrap();
    layout.enter(&signature, Some(tag.as_str()));
    let look = |what| layout.source(":v1").attached(image.digest(), what, &Scope::new()).unwrap();
    let found = look(Attached::Signatures).unwrap();
    assert_eq!(found.digest(), signature.digest());
    assert!(look(Attached::Sbom).is_none());
}

#[test]
fn evidence_does_not_count_where_the_only_image_is_meant() {
    let image = sample::image("one").manifest;
    let mut layout = Layout::new();
    layout.enter(&image, None);
    layout.enter(&artifact("a", &image), None);
    layout.enter(&list_of(&[]), Some(referrers_tag(image.digest()).as_str()));
    for what in Attached::ALL {
        let tag = what.tag(image.digest()).unwrap();
        layout.enter(&sample::image(what.suffix()).manifest, Some(tag.as_str()));
    }
    assert_eq!(layout.root("").unwrap().digest(), image.digest());
    // A position counts every entry, as everybody's does.
    assert_ne!(layout.root(":@1").unwrap().digest(), image.digest());
    layout.enter(&sample::image("two").manifest, None);
    let error = layout.root("").unwrap_err().to_string();
    assert!(error.contains("more than one image in oci (2)"), "{error}");
}

#[test]
fn what_cannot_be_read_is_never_no_evidence() {
    let image = sample::image("one").manifest;
    let (mut layout, lost) = (Layout::new(), artifact("a", &image));
    layout.enter(&image, Some("v1"));
    layout.enter(&lost, None);
    fs::remove_file(layout.blob(&lost)).unwrap();
    let look = |layout: &Layout| layout.source(":v1").referrers(image.digest(), &Scope::new());
    assert!(look(&layout).is_err());
    fs::write(layout.blob(&lost), "altered").unwrap();
    assert!(look(&layout).is_err());
    let mut layout = Layout::new();
    layout.enter(&image, Some("v1"));
    layout.enter(&image, Some(referrers_tag(image.digest()).as_str()));
    let error = look(&layout).unwrap_err().to_string();
    assert!(error.contains("expected an index of referrers"), "{error}");
}
