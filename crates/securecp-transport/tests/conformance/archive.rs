//! What is particular to `oci-archive:` and `docker-archive:`; hostile archives have a file of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use securecp_layer::{Chunks, Layer, Once, Scope, SourceError};
use securecp_oci::{Algorithm, Digest, ImageName, MediaType};
use securecp_transport::{
    BlobPut, DestinationOptions, Naming, Place, SourceOptions, TransportError, list,
    open_destination, open_source,
};
use serde_json::{Value, json};

use crate::hostile::{Archive, file, link, tar};
use crate::interop::{skopeo, testdata};
use crate::suite;
use crate::suite::copy::{copy, destination, source};
use crate::suite::sample::{self, Sample};

pub(crate) fn shell(command: &str, folder: &Path) {
    let output = Command::new("sh").arg("-c").arg(command).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn reads_what_tar_writes_in_every_format_and_compression() {
    let place = tempfile::tempdir().unwrap();
    let layout = testdata("compressed/plain").canonicalize().unwrap();
    let expected = format!("dir:{}", place.path().join("expected").display());
    copy(&format!("oci:{}:plain", layout.display()), &expected).unwrap();
    for options in ["--format=ustar", "--format=gnu", "--format=pax", "-z", "-J", "-j"] {
        shell(&format!("tar -C {} {options} -cf image.tar .", layout.display()), place.path());
        let name = format!("oci-archive:{}:plain", place.path().join("image.tar").display());
        let to = place.path().join("to");
        copy(&name, &format!("dir:{}", to.display())).unwrap();
        shell("diff -r expected to", place.path());
    }
}

#[test]
fn reads_a_pipe() {
    let place = tempfile::tempdir().unwrap();
    let archive = testdata("images/docker-archive.tar");
    shell(
        &format!("mkfifo pipe; (cat {} > pipe) > output 2>&1 &", archive.display()),
        place.path(),
    );
    let from = format!("docker-archive:{}", place.path().join("pipe").display());
    copy(&from, &format!("dir:{}", place.path().join("to").display())).unwrap();
    assert!(place.path().join("to/manifest.json").exists());
}

#[test]
fn refuses_archives_that_expand_without_end() {
    let place = tempfile::tempdir().unwrap();
    // Zeros in next to nothing: more than 200 to 1 beyond the first gibibyte.
    shell("head -c 1200000000 /dev/zero | zstd -q > image.tar", place.path());
    let name = format!("oci-archive:{}", place.path().join("image.tar").display());
    let error = source(&name).unwrap().root(&Scope::new()).unwrap_err();
    assert!(format!("{error:?}").contains("Expands"), "{error:?}");
}

#[test]
fn reads_the_archives_of_the_reference() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let archive = testdata("images/oci-archive.tar");
    let name = format!("oci-archive:{}:plain", archive.display());
    copy(&name, &format!("dir:{}", to.display())).unwrap();
    shell(
        &format!("diff -r {} to", testdata("images/dir-oci").canonicalize().unwrap().display()),
        place.path(),
    );

    let archive = testdata("images/docker-archive.tar");
    for image in ["", ":@0", ":securecp.test/plain:v1"] {
        let name = format!("docker-archive:{}{image}", archive.display());
        let source = source(&name).unwrap();
        let root = source.root(&Scope::new()).unwrap();
        assert_eq!(root.media_type(), &MediaType::DOCKER_MANIFEST);
        let image = root.image().unwrap();
        assert!(image.config.digest.hex().starts_with("ff8091a8"));
        let layers: Vec<_> = image.layers.iter().map(|l| (&l.digest.hex()[..8], l.size)).collect();
        assert_eq!(layers, [("c5532983", 10_240), ("57946df8", 30_720), ("011f58e0", 10_240)]);
        for blob in image.layers.iter().chain([&image.config]) {
            sample::drain(source.blob(blob, &Scope::new()).unwrap()).unwrap();
        }
    }
    let name = |image: &str| format!("docker-archive:{}:{image}", archive.display());
    let reference = |image: &str| source(&name(image)).unwrap().identity().reference.clone();
    assert_eq!(reference("securecp.test/plain:v1").unwrap().to_string(), "securecp.test/plain:v1");
    assert_eq!(reference("@0"), None);
    let missing = source(&name("other")).unwrap().root(&Scope::new()).unwrap_err();
    assert!(missing.is_not_found());
    let beyond = source(&name("@1")).unwrap().root(&Scope::new()).unwrap_err();
    assert!(!beyond.is_not_found() && beyond.to_string().contains("only 1 images"), "{beyond}");
}

/// Two images that share a layer, one of whose layers is compressed.
fn two_images() -> (Vec<u8>, Vec<Sample>) {
    let images = vec![sample::image("one"), sample::image("two")];
    let shared = &images[0].blobs[1].1;
    let config = |layers: &[&Bytes]| {
        let ids: Vec<_> =
            layers.iter().map(|l| Digest::of(Algorithm::Sha256, l).to_string()).collect();
        json!({"architecture":"amd64","os":"linux","rootfs":{"diff_ids":ids}}).to_string()
    };
    let large = &images[1].blobs[2].1;
    let (first, second) = (config(&[shared]), config(&[shared, large]));
    let compressed = gzip(large);
    let manifest = json!([
        {"Config":"one.json","RepoTags":["busybox:one","docker.io/library/busybox:uno"],
         "Layers":["shared/layer.tar"],"LayerSources":{}},
        {"Config":"two.json","RepoTags":null,"Layers":["id/layer.tar","./large.tar.gz"]},
    ])
    .to_string();
    let bytes = tar(&[
        file("one.json", first.as_bytes()),
        file("two.json", second.as_bytes()),
        file("shared/layer.tar", shared),
        link("id/layer.tar", b'2', "../shared/layer.tar"),
        file("large.tar.gz", &compressed),
        file("manifest.json", manifest.as_bytes()),
    ]);
    (bytes, images)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("x"), bytes).unwrap();
    shell("gzip -n x", place.path());
    fs::read(place.path().join("x.gz")).unwrap()
}

#[test]
fn reads_several_images_with_shared_and_compressed_layers() {
    let (bytes, images) = two_images();
    let archive = Archive::new(&bytes);
    for image in [":busybox:one", ":docker.io/library/busybox:uno", ":@0"] {
        let source = source(&archive.name("docker-archive", image)).unwrap();
        let root = source.root(&Scope::new()).unwrap();
        assert_eq!(root.image().unwrap().layers.len(), 1, "{image}");
    }
    let source = source(&archive.name("docker-archive", ":@1")).unwrap();
    let root = source.root(&Scope::new()).unwrap();
    let layers = &root.image().unwrap().layers;
    let expected = [&images[0].blobs[1].1, &images[1].blobs[2].1];
    for (layer, bytes) in layers.iter().zip(expected) {
        assert_eq!(layer.size, bytes.len() as u64);
        assert_eq!(
            sample::drain(source.blob(layer, &Scope::new()).unwrap()).unwrap(),
            bytes.as_ref()
        );
    }
    let error = archive.root_error("docker-archive").to_string();
    assert!(error.contains("more than one image (2)"), "{error}");
    let name: ImageName = archive.name("docker-archive", "").parse().unwrap();
    let listed = list(&name, &SourceOptions::default(), &Scope::new()).unwrap();
    let names: Vec<_> = listed.into_iter().map(|image| image.names).collect();
    assert_eq!(names, [vec!["busybox:one", "docker.io/library/busybox:uno"], vec![]]);
    let archive = Archive::new(&fs::read(testdata("images/oci-archive.tar")).unwrap());
    let name: ImageName = archive.name("oci-archive", "").parse().unwrap();
    assert_eq!(list(&name, &SourceOptions::default(), &Scope::new()).unwrap()[0].names, ["plain"]);
}

#[test]
fn refuses_docker_archives_that_contradict_themselves() {
    let layer = b"a layer";
    let id = Digest::of(Algorithm::Sha256, layer).to_string();
    let config = json!({"rootfs":{"diff_ids":[id]}}).to_string();
    let item =
        |layers: Value| json!([{"Config":"c.json","RepoTags":[],"Layers":layers}]).to_string();
    let good = item(json!(["l.tar"]));
    let build = |config: &str, manifest: &str, layer: &[u8]| {
        Archive::new(&tar(&[
            file("c.json", config.as_bytes()),
            file("l.tar", layer),
            file("manifest.json", manifest.as_bytes()),
            link("loop", b'2', "loop2"),
            link("loop2", b'2', "loop"),
        ]))
    };
    let to = tempfile::tempdir().unwrap();
    let name = build(&config, &good, layer);
    copy(&name.name("docker-archive", ""), &format!("dir:{}/x", to.path().display())).unwrap();
    build(&config, &good, b"a lager").is_refused("docker-archive", "Altered");
    for (config, manifest, expected) in [
        (config.as_str(), item(json!([])), "has 1 layers, found 0"),
        (&config, item(json!(["l.tar", "l.tar"])), "has 1 layers, found 2"),
        (&config, item(json!(["missing"])), "layer missing not found"),
        (&config, item(json!(["../l.tar"])), "leaves the archive"),
        (&config, item(json!(["loop"])), "not a regular file"),
        (&config, item(json!("l.tar")), "Layers is not an array of strings"),
        (&config, "{}".to_owned(), "is not an array"),
        (&config, "[]".to_owned(), "not found"),
        (&config, format!("{good}{good}"), "Malformed"),
        (&config, good.replace("\"Layers\"", "\"Config\":\"x\",\"Layers\""), "Malformed"),
        ("{}", good.clone(), "has 0 layers, found 1"),
        ("[", good.clone(), "configuration \"c.json\""),
        (r#"{"rootfs":{"diff_ids":["md5:00"]}}"#, good.clone(), "md5"),
        (r#"{"rootfs":{"diff_ids":[1]}}"#, good.clone(), "a diffID is not a string"),
    ] {
        build(config, &manifest, layer).is_refused("docker-archive", expected);
    }
    let padded = format!("{good}{}", " ".repeat(1 << 20));
    build(&config, &padded, layer).is_refused("docker-archive", "more than 1048576 bytes");
    Archive::new(&tar(&[])).is_refused("docker-archive", "no manifest.json");
}

/// The members of an archive, in order.
fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    let list = Command::new("tar").arg("tf").arg(path).output().unwrap();
    let names = String::from_utf8(list.stdout).unwrap();
    let content = |name: &str| {
        Command::new("tar").arg("xOf").arg(path).arg("--").arg(name).output().unwrap().stdout
    };
    names.lines().map(|name| (name.to_owned(), content(name))).collect()
}

#[test]
fn writes_the_members_of_skopeo_in_order() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let from = format!("dir:{}", testdata("images/dir-v2s2").display());
    let name =
        |file: &str| format!("docker-archive:{}:securecp.test/plain:v1", path(file).display());
    copy(&from, &name("ours")).unwrap();
    skopeo(&["copy", "-q", &from, &name("theirs")]);
    let (ours, theirs) = (members(&path("ours")), members(&path("theirs")));
    assert!(ours.is_sorted());
    let sorted = |list: Vec<(String, Vec<u8>)>| list.into_iter().collect::<BTreeMap<_, _>>();
    assert_eq!(sorted(ours), sorted(theirs));
    let before = fs::read(path("ours")).unwrap();
    let error = copy(&from, &name("ours")).unwrap_err().to_string();
    assert!(error.contains("docker-archive doesn't support modifying existing images"), "{error}");
    assert_eq!(fs::read(path("ours")).unwrap(), before);
    fs::write(path("empty"), "").unwrap();
    copy(&from, &name("empty")).unwrap();
    assert_eq!(fs::read(path("empty")).unwrap(), before, "the same bytes each time");
    skopeo(&["copy", "-q", &name("ours"), &format!("dir:{}", path("back").display())]);
}

#[test]
fn writes_an_oci_archive_as_the_reference_does_but_for_times() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("image.tar");
    let from = format!("dir:{}", testdata("images/dir-oci").display());
    let name = format!("oci-archive:{}:plain", path.display());
    copy(&from, &name).unwrap();
    assert_eq!(members(&path), members(&testdata("images/oci-archive.tar")));
    let bytes = fs::read(&path).unwrap();
    copy(&from, &name).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes, "replaced by the same bytes");
    assert_eq!(skopeo(&["inspect", "--raw", &name]).len(), 739);
    fs::write(&path, "a thesis").unwrap();
    copy(&from, &name).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"a thesis");
    let docker = testdata("images/docker-archive.tar");
    fs::copy(&docker, &path).unwrap();
    let error = copy(&from, &name).unwrap_err().to_string();
    assert!(error.contains("expected an OCI archive to replace"), "{error}");
}

#[test]
fn gives_every_name_and_refuses_what_cannot_be_stored() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("image.tar");
    let name: ImageName = format!("docker-archive:{}:x:v1", path.display()).parse().unwrap();
    let additional_references = vec!["other.test/y:v2".parse().unwrap()];
    let options = DestinationOptions { additional_references, ..DestinationOptions::default() };
    let image = sample::image("one");
    let destination = open_destination(&name, &options).unwrap();
    let writing = destination.begin(&Scope::new()).unwrap();
    for (descriptor, bytes) in &image.blobs {
        suite::put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    let index = sample::index(&[&image]);
    writing.put_manifest(&index, Place::Root, &Scope::new()).unwrap_err();
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    let tag = "v1.0".parse().unwrap();
    let names = [Naming::own(&*destination, &image.manifest), Naming::tag(&tag, &image.manifest)];
    writing.commit(&names, &Scope::new()).unwrap();
    let list = list(&name, &SourceOptions::default(), &Scope::new()).unwrap();
    let expected = ["docker.io/library/x:v1", "other.test/y:v2", "docker.io/library/x:v1.0"];
    assert_eq!(list[0].names, expected);
}

#[test]
fn refuses_layers_that_are_not_those_of_the_configuration() {
    let place = tempfile::tempdir().unwrap();
    let image = sample::image("one");
    let other = sample::image("two");
    let name = format!("docker-archive:{}", place.path().join("x.tar").display());
    let destination = destination(&name).unwrap();
    let writing = destination.begin(&Scope::new()).unwrap();
    for (descriptor, bytes) in image.blobs.iter().chain(&other.blobs) {
        suite::put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    let text = String::from_utf8(image.manifest.bytes().to_vec()).unwrap();
    let swapped =
        text.replace(&image.blobs[1].0.digest.to_string(), &other.blobs[1].0.digest.to_string());
    let swapped =
        securecp_oci::RawManifest::read(Bytes::from(swapped), Default::default()).unwrap();
    writing.put_manifest(&swapped, Place::Root, &Scope::new()).unwrap();
    let error = writing
        .commit(&[Naming::own(&*destination, &swapped)], &Scope::new())
        .unwrap_err()
        .cause
        .to_string();
    assert!(error.contains("its diffIDs are not those of the layers"), "{error}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn writes_to_a_pipe() {
    let place = tempfile::tempdir().unwrap();
    shell("mkfifo pipe; (cat pipe > copy.tar) > output 2>&1 &", place.path());
    let from = format!("dir:{}", testdata("images/dir-oci").display());
    let to = |name: &str| format!("docker-archive:{}:x", place.path().join(name).display());
    copy(&from, &to("pipe")).unwrap();
    copy(&from, &to("file.tar")).unwrap();
    let expected = fs::read(place.path().join("file.tar")).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while fs::read(place.path().join("copy.tar")).unwrap() != expected {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Bytes changed at random places, with a fixed seed: whatever comes of it, it is no panic and nothing is invented.
#[test]
fn survives_altered_archives() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for (transport, vector) in
        [("oci-archive", "oci-archive.tar"), ("docker-archive", "docker-archive.tar")]
    {
        let good = fs::read(testdata("images").join(vector)).unwrap();
        let archive = Archive::new(&good);
        let name = archive.name(transport, "");
        let expected = source(&name).unwrap().root(&Scope::new()).unwrap();
        for _ in 0..400 {
            let mut bad = good.clone();
            for _ in 0..=random(3) {
                let at = random(bad.len());
                bad[at] = u8::try_from(random(256)).unwrap();
            }
            if random(10) == 0 {
                bad.truncate(random(good.len()));
            }
            fs::write(&archive.path, bad).unwrap();
            let source = source(&name).unwrap();
            let Ok(root) = source.root(&Scope::new()) else { continue };
            if transport == "oci-archive" {
                assert_eq!(root.digest(), expected.digest());
            }
            let image = root.image().unwrap();
            for blob in image.layers.iter().chain([&image.config]) {
                let _ = source.blob(blob, &Scope::new()).map(sample::drain);
            }
        }
    }
}

#[test]
fn several_images_share_one_open_archive() {
    let place = tempfile::tempdir().unwrap();
    let image = sample::image("one");
    for transport in ["oci-archive", "docker-archive"] {
        let file = place.path().join(format!("{transport}.tar"));
        let name = format!("{transport}:{}:x:v1", file.display());
        write_protected_or_not(&name, &image, false).unwrap();
        shell(&format!("gzip {} && mv {0}.gz {0}", file.display()), place.path());
        let (name, options): (ImageName, _) = (name.parse().unwrap(), SourceOptions::default());
        let [one, other] = [(); 2].map(|()| open_source(&name, &options).unwrap());
        let root = one.root(&Scope::new()).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(other.root(&Scope::new()).unwrap().digest(), root.digest(), "it is unpacked");
    }
}

#[test]
fn one_archive_by_two_paths_is_one_storage() {
    let place = tempfile::tempdir().unwrap();
    let storage = |path: &str| {
        let name = format!("docker-archive:{}/{path}:x:v1", place.path().display());
        destination(&name).unwrap().storage()
    };
    assert!(storage("a.tar").is_some());
    assert_eq!(storage("a.tar"), storage("./a.tar"));
    assert_ne!(storage("a.tar"), storage("b.tar"));
}

#[test]
fn waits_beside_an_archive_and_else_in_the_folder_for_temporary_files() {
    let place = tempfile::tempdir().unwrap();
    shell("mkfifo pipe", place.path());
    let options = DestinationOptions {
        tmpdir: Some(place.path().join("missing")),
        ..DestinationOptions::default()
    };
    for transport in ["oci-archive", "docker-archive"] {
        let name = |file: &str| format!("{transport}:{}/{file}:x:v1", place.path().display());
        let begin = |file: &str| {
            let destination = open_destination(&name(file).parse().unwrap(), &options).unwrap();
            destination.begin(&Scope::new()).map(drop)
        };
        begin("new.tar").unwrap();
        let error = begin("pipe").unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}

#[test]
fn does_not_wait_for_a_pipe_longer_than_its_scope_lasts() {
    let place = tempfile::tempdir().unwrap();
    shell("mkfifo pipe", place.path());
    let path = place.path().join("pipe");
    for transport in ["oci-archive", "docker-archive"] {
        let read = || {
            let source = source(&format!("{transport}:{}", path.display())).unwrap();
            source.root(&Scope::lasting(Duration::from_millis(50))).unwrap_err()
        };
        let error = read();
        assert!(matches!(error, TransportError::Stopped(_)), "nobody writes: {error}");
        let writer = fs::File::options().read(true).write(true).open(&path).unwrap();
        let error = read();
        assert!(matches!(error, TransportError::Stopped(_)), "nothing comes: {error}");
        drop(writer);
    }
}

/// A blob of which nothing comes before it is told to.
struct Held(std::sync::mpsc::Receiver<()>, Once);

impl Chunks for Held {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let _ = self.0.recv();
        self.1.next()
    }
}

/// Somebody whose bytes nobody reads would give up.
#[test]
fn opens_a_blob_only_when_it_is_its_turn() {
    let place = tempfile::tempdir().unwrap();
    let image = sample::image("one");
    for transport in ["oci-archive", "docker-archive"] {
        let name = format!("{transport}:{}/x.tar:x:v1", place.path().display());
        let destination = destination(&name).unwrap();
        let writing = destination.begin(&Scope::new()).unwrap();
        let (opened, other_opened) = (std::sync::Barrier::new(2), AtomicBool::new(false));
        let (go_on, held) = std::sync::mpsc::channel();
        let held = std::sync::Mutex::new(Some(held));
        let first = || {
            let (known, bytes) = &image.blobs[1];
            opened.wait();
            let held = Held(held.lock().unwrap().take().unwrap(), Once::new(bytes.clone()));
            Ok(Layer::verified(known.clone(), held))
        };
        let second = || {
            other_opened.store(true, Ordering::SeqCst);
            sample::layer(&image.blobs[2].0, &image.blobs[2].1)
        };
        let first = BlobPut::new(&image.blobs[1].0, &first);
        let second = BlobPut::new(&image.blobs[2].0, &second);
        let put = |blob| drop(writing.put_blob(blob, &Scope::new()).unwrap());
        std::thread::scope(|threads| {
            threads.spawn(|| put(&first));
            opened.wait();
            threads.spawn(|| put(&second));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!other_opened.load(Ordering::SeqCst), "{transport}");
            go_on.send(()).unwrap();
            drop(go_on);
        });
        assert!(other_opened.load(Ordering::SeqCst));
    }
}

/// Writes `image` to `name`, protected.
fn write_protected(name: &str, image: &Sample) -> Result<(), TransportError> {
    write_protected_or_not(name, image, true)
}

fn write_protected_or_not(
    name: &str,
    image: &Sample,
    protected: bool,
) -> Result<(), TransportError> {
    let destination = destination(name)?;
    let writing = destination.begin(&Scope::new())?;
    for (descriptor, bytes) in &image.blobs {
        suite::put(writing.as_ref(), descriptor, bytes)?;
    }
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new())?;
    let naming = Naming::own(&*destination, &image.manifest);
    let naming = Naming { protected, ..naming };
    writing.commit(&[naming], &Scope::new()).map_err(|error| error.cause)
}

#[test]
fn an_archive_loses_no_image_to_a_protected_name() {
    let place = tempfile::tempdir().unwrap();
    let name = |image: &str| format!("oci-archive:{}/x.tar{image}", place.path().display());
    let (one, two) = (sample::image("one"), sample::image("two"));
    write_protected(&name(":v1"), &one).unwrap();
    let error = write_protected(&name(":v2"), &two).unwrap_err();
    assert!(error.to_string().contains("the image called v1"), "{error}");
    let found = source(&name("")).unwrap().root(&Scope::new()).unwrap();
    assert_eq!(found.digest(), one.manifest.digest());
    let error = write_protected(&name(""), &one).unwrap_err();
    assert!(error.to_string().contains("the image called v1"), "{error}");
    write_protected(&name(":v1"), &two).unwrap();
    let found = source(&name(":v1")).unwrap().root(&Scope::new()).unwrap();
    assert_eq!(found.digest(), two.manifest.digest(), "which digest may go is not its concern");
}

#[test]
fn names_of_images_in_a_docker_archive_cannot_be_protected() {
    let place = tempfile::tempdir().unwrap();
    let name = format!("docker-archive:{}/x.tar:x:v1", place.path().display());
    let error = write_protected(&name, &sample::image("one")).unwrap_err();
    assert!(error.to_string().contains("cannot be protected"), "{error}");
    assert!(!place.path().join("x.tar").exists());
}
