//! Evidence in `oci:` layouts as oras, regctl and we enter it.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{Attached, Declared, MediaType, RawManifest, referrers_tag};
use securecp_transport::{
    Naming, Piece, Place, Source, SourceOptions, TransportError, open_source,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::suite::copy::{destination, source};
use crate::suite::sample::{self, Sample};

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
fn images_of_one_layout_look_for_evidence_once() {
    let (image, other) = (sample::image("one").manifest, sample::image("two").manifest);
    let (first, second) = (artifact("a", &image), artifact("b", &image));
    let mut layout = Layout::new();
    layout.enter(&image, Some("v1"));
    layout.enter(&other, Some("v2"));
    layout.enter(&first, None);
    let (options, path) = (SourceOptions::default(), layout.place.path().to_owned());
    let open = |name: &str| {
        let name = format!("oci:{}:{name}", path.display());
        open_source(&name.parse().unwrap(), &options).unwrap()
    };
    let count =
        |source: &dyn Source| source.referrers(image.digest(), &Scope::new()).map(|r| r.len());
    let (one, two, late) = (open("v1"), open("v2"), open("v2"));
    assert_eq!(count(&*one).unwrap(), 1);
    fs::remove_file(layout.blob(&first)).unwrap();
    assert_eq!(count(&*two).unwrap(), 1, "nothing is read again");
    layout.enter(&second, None);
    assert!(count(&*late).is_err(), "another index is another question");
    layout.store(&first);
    assert_eq!(count(&*late).unwrap(), 2);
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

#[test]
fn another_image_that_is_gone_does_not_keep_one_from_being_copied() {
    let (image, other) = (sample::image("one").manifest, sample::image("two").manifest);
    let mut layout = Layout::new();
    layout.enter(&image, Some("v1"));
    layout.enter(&other, Some("v2"));
    layout.enter(&artifact("a", &image), None);
    fs::remove_file(layout.blob(&other)).unwrap();
    assert_eq!(kinds(&layout, &image), ["a"]);
    let says = |layout: &Layout| {
        let look = layout.source(":v1").referrers(image.digest(), &Scope::new());
        look.unwrap_err().to_string()
    };
    // What is there and cannot be read may be anything.
    fs::write(layout.blob(&other), "altered").unwrap();
    let error = says(&layout);
    assert!(error.starts_with(&format!("entry @1, called v2, ({})", other.digest())), "{error}");
    layout.store(&other);
    // And what has no name of an image may have been evidence.
    let lost = artifact("b", &image);
    layout.enter(&lost, None);
    fs::remove_file(layout.blob(&lost)).unwrap();
    let error = says(&layout);
    assert!(error.starts_with(&format!("entry @3 ({})", lost.digest())), "{error}");
}

/// Evidence with one blob.
fn with_blob(kind: &str, subject: &RawManifest) -> Sample {
    let blob = Bytes::from(kind.to_owned());
    let empty = (sample::descriptor(MediaType::OCI_EMPTY, b"{}"), Bytes::from_static(b"{}"));
    let layer = (sample::descriptor(MediaType::new("text/x"), &blob), blob);
    let manifest = read(&json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "artifactType": kind,
        "config": Value::from(&empty.0),
        "layers": [Value::from(&layer.0)],
        "subject": Value::from(&subject.descriptor()),
    }));
    Sample { manifest, blobs: vec![empty, layer] }
}

/// Copies an image into a layout together with evidence.
fn write(name: &str, image: &Sample, referrers: &[&Sample], signature: Option<&Sample>) {
    let (destination, scope) = (destination(name).unwrap(), Scope::new());
    assert!(destination.accepts().evidence);
    let writing = destination.begin(&scope).unwrap();
    let all = referrers.iter().copied().chain(signature).chain([image]);
    for (descriptor, bytes) in all.flat_map(|sample| &sample.blobs) {
        crate::suite::put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    writing.put_manifest(&image.manifest, Place::Root, &scope).unwrap();
    let referrers = referrers.iter().map(|sample| Piece::Referrer(&sample.manifest));
    let subject = image.manifest.digest();
    let attached = signature.map(|sample| Piece::Attached {
        subject,
        what: Attached::Signatures,
        manifest: &sample.manifest,
    });
    let pieces: Vec<Piece<'_>> = referrers.chain(attached).collect();
    for piece in &pieces {
        let missing = writing.read_back_evidence(&[*piece], &scope).unwrap_err();
        assert!(missing.is_not_found(), "{piece} was not put yet");
        writing.put_evidence(piece, &scope).unwrap();
    }
    writing.read_back_evidence(&pieces, &scope).unwrap();
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &scope).unwrap();
}

#[test]
fn evidence_is_entered_with_the_image_and_added_to_what_is_there() {
    for transport in ["oci", "oci-archive"] {
        let place = tempfile::tempdir().unwrap();
        let name = format!("{transport}:{}", place.path().join("layout").display());
        let image = sample::image("one");
        let [a, b] = ["a", "b"].map(|kind| with_blob(kind, &image.manifest));
        let signature = sample::image("sig");
        write(&name, &image, &[&a], Some(&signature));
        let found = |name: &str| {
            let source = source(name).unwrap();
            let digest = image.manifest.digest();
            assert_eq!(source.root(&Scope::new()).unwrap().digest(), digest, "the only image");
            let referrers = source.referrers(digest, &Scope::new()).unwrap();
            for entry in &referrers {
                source.manifest(entry, &Scope::new()).unwrap();
            }
            let attached = source.attached(digest, Attached::Signatures, &Scope::new()).unwrap();
            let kinds = referrers.into_iter().map(|entry| entry.artifact_type.unwrap_or_default());
            (kinds.collect::<Vec<_>>(), attached.unwrap().image().unwrap().layers.len())
        };
        assert_eq!(found(&name), (vec!["a".to_owned()], 2), "{transport}");
        if transport == "oci" {
            let destination = destination(&name).unwrap();
            let wanted = [a.manifest.as_referrer(), b.manifest.as_referrer()];
            let digest = image.manifest.digest();
            let there = destination.has_referrers(digest, &wanted, &Scope::new()).unwrap();
            assert_eq!(there, [true, false]);
            let signed = (digest, Attached::Signatures);
            let has = |m: &Sample| destination.has_attached(signed, &m.manifest, &Scope::new());
            let other = sample::image("other");
            assert!(has(&signature).unwrap() && !has(&other).unwrap());
            drop(destination);
            write(&name, &image, &[&b], Some(&other));
            assert_eq!(found(&name), (vec!["a".to_owned(), "b".to_owned()], 4));
        }
    }
}

#[test]
fn a_place_without_room_for_evidence_says_so() {
    let place = tempfile::tempdir().unwrap();
    let destination = destination(&format!("dir:{}", place.path().join("d").display())).unwrap();
    assert!(!destination.accepts().evidence);
    let writing = destination.begin(&Scope::new()).unwrap();
    let image = sample::image("one").manifest;
    let error = writing.put_evidence(&Piece::Referrer(&image), &Scope::new()).unwrap_err();
    assert!(error.to_string().contains("cannot hold evidence"), "{error}");
    assert!(writing.read_back_evidence(&[Piece::Referrer(&image)], &Scope::new()).is_err());
}
