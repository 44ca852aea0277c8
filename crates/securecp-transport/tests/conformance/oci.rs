//! What is particular to `oci:`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::suite::copy::{copy, destination, source};
use crate::suite::sample::{self, Sample};
use securecp_layer::Scope;
use securecp_oci::{ImageName, MediaType, RawManifest};
use securecp_transport::{Naming, Place, SourceOptions, TransportError, delete, list};
use tempfile::TempDir;

struct Layout {
    place: TempDir,
}

impl Layout {
    fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.place.path().join("layout").join(below)
    }

    fn name(&self, image: &str) -> String {
        format!("oci:{}:{image}", self.place.path().join("layout").display())
    }

    fn image_name(&self, image: &str) -> ImageName {
        self.name(image).parse().unwrap()
    }

    fn write(&self, image: &Sample, name: &str) {
        write(&self.name(name), image, &[]).unwrap();
    }

    fn root(&self, name: &str) -> Result<RawManifest, TransportError> {
        source(&self.name(name))?.root(&Scope::new())
    }

    fn blob(&self, digest: &securecp_oci::Digest) -> PathBuf {
        self.path(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
    }

    fn names(&self) -> Vec<Vec<String>> {
        let listed = list(&self.image_name(""), &SourceOptions::default(), &Scope::new()).unwrap();
        listed.into_iter().map(|image| image.names).collect()
    }
}

fn write(name: &str, image: &Sample, tags: &[&str]) -> Result<(), TransportError> {
    let destination = destination(name)?;
    let writing = destination.begin(&Scope::new())?;
    for (descriptor, bytes) in &image.blobs {
        crate::suite::put(writing.as_ref(), descriptor, bytes)?;
    }
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new())?;
    let tags: Vec<securecp_oci::Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
    let mut names = vec![Naming::own(&*destination, &image.manifest)];
    names.extend(tags.iter().map(|tag| Naming::tag(tag, &image.manifest)));
    writing.commit(&names, &Scope::new()).map_err(|error| error.cause)
}

#[test]
fn chooses_the_image_that_the_name_means() {
    let layout = Layout::new();
    let (one, two) = (sample::image("one"), sample::image("two"));
    layout.write(&one, "localhost:5000/x:v1");
    assert_eq!(layout.root("").unwrap().digest(), one.manifest.digest());
    layout.write(&two, "v2");
    assert_eq!(layout.root("localhost:5000/x:v1").unwrap().digest(), one.manifest.digest());
    assert_eq!(layout.root("v2").unwrap().digest(), two.manifest.digest());
    assert_eq!(layout.root("@1").unwrap().digest(), two.manifest.digest());
    assert!(layout.root("v3").unwrap_err().is_not_found());
    for (name, expected) in [("", "more than one image in oci"), ("@2", "only 2 images")] {
        let error = layout.root(name).unwrap_err();
        assert!(!error.is_not_found() && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn judges_a_layout_by_its_folder_alone() {
    let layout = Layout::new();
    layout.write(&sample::image("one"), "v1");
    let source = source(&layout.name("v1")).unwrap();
    let folder = layout.path("").canonicalize().unwrap();
    assert_eq!(source.identity().scope, folder.display().to_string().trim_end_matches('/'));
}

#[test]
fn reads_the_two_fixed_files_strictly() {
    let layout = Layout::new();
    layout.write(&sample::image("one"), "v1");
    let index = fs::read_to_string(layout.path("index.json")).unwrap();
    let refuses = |what: &str| {
        let error = layout.root("v1").unwrap_err();
        assert!(!error.is_not_found(), "{what}: {error}");
        let error = destination(&layout.name("v1")).unwrap().check(&Scope::new());
        assert!(error.is_err(), "{what}");
    };
    for bad in [
        "",
        "{}",
        r#"{"imageLayoutVersion":"2.0.0"}"#,
        r#"{"imageLayoutVersion":1}"#,
        r#"{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}"#,
    ] {
        fs::write(layout.path("oci-layout"), bad).unwrap();
        refuses(bad);
    }
    fs::remove_file(layout.path("oci-layout")).unwrap();
    refuses("no oci-layout");
    fs::write(layout.path("oci-layout"), r#"{"imageLayoutVersion": "1.0.0", "x": 1}"#).unwrap();
    for bad in [
        "[]".to_owned(),
        index.replace(r#""schemaVersion":2"#, r#""schemaVersion":1"#),
        index.replacen('{', r#"{"layers":[],"#, 1),
        index.replacen('{', r#"{"schemaVersion":2,"#, 1),
        index.replace("sha256:", "md5:"),
        index.replace("image.index.v1", "image.manifest.v1"),
        format!("{index}{index}"),
        " ".repeat((4 << 20) + 1),
    ] {
        fs::write(layout.path("index.json"), &bad).unwrap();
        refuses(&bad);
    }
    fs::write(layout.path("index.json"), &index).unwrap();
    layout.root("v1").unwrap();
}

#[test]
fn names_what_is_no_manifest() {
    let layout = Layout::new();
    layout.write(&sample::image("one"), "v1");
    let index = fs::read_to_string(layout.path("index.json")).unwrap();
    let other = index.replace("application/vnd.oci.image.manifest.v1+json", "text/plain");
    fs::write(layout.path("index.json"), other).unwrap();
    for name in ["v1", "", "@0"] {
        let error = layout.root(name).unwrap_err();
        assert!(error.to_string().contains("media type text/plain"), "{error}");
    }
    let unstated = index.replace("application/vnd.oci.image.manifest.v1+json", "");
    fs::write(layout.path("index.json"), unstated).unwrap();
    layout.root("@0").unwrap();
}

#[test]
fn verifies_the_manifest_that_the_index_names() {
    let layout = Layout::new();
    let image = sample::image("one");
    layout.write(&image, "v1");
    let path = layout.blob(image.manifest.digest());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"layers\"", "\"layerz\"", 1)).unwrap();
    let error = layout.root("v1").unwrap_err();
    assert!(matches!(error, TransportError::Manifest { .. }), "{error}");
    fs::write(&path, format!("{text} ")).unwrap();
    layout.root("v1").unwrap_err();
    fs::remove_file(&path).unwrap();
    assert!(layout.root("v1").unwrap_err().is_not_found());
}

#[test]
fn loses_nothing_when_many_write_at_once() {
    for exists in [false, true] {
        let layout = Layout::new();
        if exists {
            fs::create_dir(layout.path("")).unwrap();
        }
        let images: Vec<_> = (0..8).map(|n| sample::image(&format!("image {n}"))).collect();
        std::thread::scope(|threads| {
            for (number, image) in images.iter().enumerate() {
                let layout = &layout;
                threads.spawn(move || layout.write(image, &format!("v{number}")));
            }
        });
        for (number, image) in images.iter().enumerate() {
            let found = layout.root(&format!("v{number}")).unwrap();
            assert_eq!(found.digest(), image.manifest.digest());
            image.blobs.iter().for_each(|(d, _)| assert!(layout.blob(&d.digest).exists()));
        }
        let mut files: Vec<_> =
            fs::read_dir(layout.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["blobs", "index.json", "oci-layout"]);
        assert_eq!(fs::read_dir(layout.place.path()).unwrap().count(), 1);
    }
}

#[test]
fn waits_for_the_lock_no_longer_than_its_scope() {
    let layout = Layout::new();
    let image = sample::image("one");
    layout.write(&image, "v1");
    let folder = fs::File::open(layout.path("")).unwrap();
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let destination = destination(&layout.name("v2")).unwrap();
    let writing = destination.begin(&Scope::new()).unwrap();
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    let short = Scope::lasting(Duration::from_millis(50));
    let error =
        writing.commit(&[Naming::own(&*destination, &image.manifest)], &short).unwrap_err().cause;
    assert!(matches!(error, TransportError::Stopped(_)), "{error}");
    drop(folder);
    assert!(layout.root("v2").unwrap_err().is_not_found());
}

#[test]
fn enters_every_tag() {
    let layout = Layout::new();
    let image = sample::image("one");
    write(&layout.name("v1"), &image, &["v1.0", "latest"]).unwrap();
    assert_eq!(layout.names(), [["v1"], ["v1.0"], ["latest"]]);
    let destination = destination(&layout.name("v1")).unwrap();
    let tag = |text: &str| text.parse().unwrap();
    let current = |name| destination.current(Some(&tag(name)), &Scope::new()).unwrap();
    assert_eq!(current("latest").as_ref(), Some(image.manifest.digest()));
    assert_eq!(current("v2"), None);
}

#[test]
fn refuses_folders_that_are_something_else() {
    let layout = Layout::new();
    fs::create_dir(layout.path("")).unwrap();
    fs::write(layout.path("notes"), "x").unwrap();
    let error = destination(&layout.name("v1")).unwrap().check(&Scope::new()).unwrap_err();
    assert!(error.to_string().contains("not an OCI image layout: it holds \"notes\""), "{error}");
    assert!(write(&layout.name("v1"), &sample::image("one"), &[]).is_err());
    assert_eq!(fs::read_dir(layout.path("")).unwrap().count(), 1);
    fs::remove_file(layout.path("notes")).unwrap();
    fs::create_dir_all(layout.path("blobs/sha256")).unwrap();
    layout.write(&sample::image("one"), "v1");
    assert!(destination(&format!("oci:{}/none/x", layout.path("").display())).is_err());
}

#[test]
fn mends_a_damaged_blob() {
    let layout = Layout::new();
    let image = sample::image("one");
    layout.write(&image, "v1");
    let (descriptor, bytes) = &image.blobs[1];
    let mut altered = bytes.to_vec();
    altered[0] ^= 1;
    for damaged in [b"cut".to_vec(), altered] {
        fs::write(layout.blob(&descriptor.digest), damaged).unwrap();
        let there = destination(&layout.name("v1")).unwrap();
        assert!(!there.has_blob(descriptor, &Scope::new()).unwrap());
        drop(there);
        layout.write(&image, "v1");
        assert_eq!(fs::read(layout.blob(&descriptor.digest)).unwrap(), bytes.as_ref());
    }
    fs::write(layout.blob(image.manifest.digest()), "cut").unwrap();
    let there = destination(&layout.name("v1")).unwrap();
    assert!(!there.has_manifest(&image.manifest, &Scope::new()).unwrap());
}

#[test]
fn deletes_an_image_and_what_only_it_needs() {
    let layout = Layout::new();
    let (one, two) = (sample::image("one"), sample::image("two"));
    layout.write(&one, "v1");
    layout.write(&two, "v2");
    write(&layout.name("same"), &one, &[]).unwrap();
    let remove =
        |name: &str| delete(&layout.image_name(name), &SourceOptions::default(), &Scope::new());
    let first = remove("v1").unwrap();
    assert_eq!(&first.manifest, one.manifest.digest());
    assert_eq!(first.blobs, [], "another name still needs them");
    let second = remove("same").unwrap();
    assert_eq!(second.blobs.len(), 4);
    assert!(second.blobs.iter().all(|digest| !layout.blob(digest).exists()));
    assert!(fs::read_to_string(layout.path("index.json")).unwrap().ends_with("}]}\n"));
    assert!(remove("v1").unwrap_err().is_not_found());
    crate::suite::sample::drain(
        source(&layout.name("v2")).unwrap().blob(&two.blobs[2].0, &Scope::new()).unwrap(),
    )
    .unwrap();
    layout.write(&one, "v1");
    assert_eq!(layout.names(), [["v2"], ["v1"]]);
}

#[test]
fn deletes_an_index_with_the_children_that_nothing_else_needs() {
    let layout = Layout::new();
    let (one, two) = (sample::image("one"), sample::image("two"));
    let root = sample::index(&[&one, &two]);
    layout.write(&two, "two");
    let destination = destination(&layout.name("list")).unwrap();
    let writing = destination.begin(&Scope::new()).unwrap();
    for (descriptor, bytes) in &one.blobs {
        crate::suite::put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    writing.put_manifest(&one.manifest, Place::Child, &Scope::new()).unwrap();
    writing.put_manifest(&root, Place::Root, &Scope::new()).unwrap();
    writing.commit(&[Naming::own(&*destination, &root)], &Scope::new()).unwrap();
    drop(destination);
    let gone =
        delete(&layout.image_name("list"), &SourceOptions::default(), &Scope::new()).unwrap();
    assert_eq!(gone.blobs.len(), 5, "the index, one child and its blobs");
    assert_eq!(layout.root("two").unwrap().digest(), two.manifest.digest());
    copy(&layout.name("two"), &format!("dir:{}/copy", layout.place.path().display())).unwrap();
}

#[test]
fn deletes_nothing_while_a_writer_may_need_it() {
    let layout = Layout::new();
    let image = sample::image("one");
    layout.write(&image, "v1");
    let there = destination(&layout.name("v2")).unwrap();
    assert!(there.has_blob(&image.blobs[0].0, &Scope::new()).unwrap());
    let short = Scope::lasting(Duration::from_millis(50));
    let error = delete(&layout.image_name("v1"), &SourceOptions::default(), &short).unwrap_err();
    assert!(matches!(error, TransportError::Stopped(_)), "{error}");
    drop(there);
    delete(&layout.image_name("v1"), &SourceOptions::default(), &Scope::new()).unwrap();
}

#[test]
fn does_not_delete_when_it_cannot_tell_what_is_needed() {
    let layout = Layout::new();
    let (one, two) = (sample::image("one"), sample::image("two"));
    layout.write(&one, "v1");
    layout.write(&two, "v2");
    fs::write(layout.blob(two.manifest.digest()), "{}").unwrap();
    delete(&layout.image_name("v1"), &SourceOptions::default(), &Scope::new()).unwrap_err();
    assert_eq!(layout.names(), [["v1"], ["v2"]]);
    layout.root("v1").unwrap();
}

/// Two images that share a layer; `change` makes something else of the entry of the second.
fn sharing(change: &dyn Fn(&str) -> String) -> (Layout, Sample, Sample) {
    let layout = Layout::new();
    let (one, two) = (sample::image("one"), sample::image("two"));
    let (one, two) = sample::sharing_a_layer(one, two);
    layout.write(&one, "v1");
    layout.write(&two, "v2");
    let index = fs::read_to_string(layout.path("index.json")).unwrap();
    let (before, entry) = index.rsplit_once(r#"{"mediaType":"#).unwrap();
    let entry = change(&format!(r#"{{"mediaType":{entry}"#));
    fs::write(layout.path("index.json"), format!("{before}{entry}")).unwrap();
    (layout, one, two)
}

#[test]
fn keeps_what_an_entry_without_a_type_needs() {
    let (layout, one, two) = sharing(&|entry| entry.replace(MediaType::OCI_MANIFEST.as_str(), ""));
    assert_eq!(layout.root("@1").unwrap().digest(), two.manifest.digest());
    let gone = delete(&layout.image_name("v1"), &SourceOptions::default(), &Scope::new()).unwrap();
    assert!(!gone.blobs.contains(&two.blobs[1].0.digest), "the shared layer");
    assert_eq!(gone.blobs.len(), one.blobs.len(), "its manifest, configuration and own layer");
    two.blobs.iter().for_each(|(blob, _)| assert!(layout.blob(&blob.digest).exists()));
}

#[test]
fn does_not_delete_beside_an_entry_of_unknown_type() {
    let artifact = "application/vnd.oci.artifact.manifest.v1+json";
    let (layout, one, _) =
        sharing(&|entry| entry.replace(MediaType::OCI_MANIFEST.as_str(), artifact));
    let remove = || delete(&layout.image_name("v1"), &SourceOptions::default(), &Scope::new());
    let error = remove().unwrap_err();
    assert!(error.to_string().contains(artifact), "{error}");
    layout.root("v1").unwrap();
    one.blobs.iter().for_each(|(blob, _)| assert!(layout.blob(&blob.digest).exists()));
}

#[test]
fn reads_a_manifest_that_is_some_layer_too() {
    let layout = Layout::new();
    let (one, two) = (sample::image("one"), sample::image("two"));
    layout.write(&one, "v1");
    layout.write(&two, "v2");
    layout.write(&sample::with_layer(&one.manifest), "v3");
    layout.write(&sample::sharing_a_layer(one, sample::image("four")).1, "v4");
    let gone = delete(&layout.image_name("v4"), &SourceOptions::default(), &Scope::new()).unwrap();
    assert_eq!(gone.blobs.len(), 3, "its manifest, configuration and own layer");
    layout.root("v1").unwrap();
}

/// A name stands for whatever bears it, and nothing is nothing.
#[test]
fn says_what_a_name_stands_for_whatever_that_is() {
    let (layout, _, two) =
        sharing(&|entry| entry.replace(MediaType::OCI_MANIFEST.as_str(), "application/x-unknown"));
    let current =
        |name: &str| destination(&layout.name(name)).unwrap().current(None, &Scope::new()).unwrap();
    assert_eq!(current("v2").as_ref(), Some(two.manifest.digest()));
    assert_eq!(current("v3"), None);
}

#[test]
fn protects_nothing_that_has_no_name() {
    let layout = Layout::new();
    let image = sample::image("one");
    layout.write(&image, "v1");
    let name = layout.name("v1");
    let nameless = destination(name.trim_end_matches(":v1")).unwrap();
    let writing = nameless.begin(&Scope::new()).unwrap();
    for (descriptor, bytes) in &image.blobs {
        crate::suite::put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    let naming = Naming::own(&*nameless, &image.manifest).protected();
    writing.commit(&[naming], &Scope::new()).unwrap_err();
    assert_eq!(layout.names(), [["v1"]]);
}

#[test]
fn never_deletes_shared_blobs() {
    let layout = Layout::new();
    let image = sample::image("one");
    layout.write(&image, "v1");
    let shared = layout.place.path().join("shared");
    fs::rename(layout.path("blobs"), &shared).unwrap();
    let options =
        SourceOptions { shared_blob_dir: Some(shared.clone()), ..SourceOptions::default() };
    let gone = delete(&layout.image_name("v1"), &options, &Scope::new()).unwrap();
    assert_eq!(gone.blobs, []);
    assert!(shared.join("sha256").join(image.manifest.digest().hex()).exists());
    assert!(Path::new(&layout.path("blobs")).exists());
}
