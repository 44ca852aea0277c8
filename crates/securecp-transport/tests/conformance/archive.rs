//! What is particular to `oci-archive:` and `docker-archive:`, hostile archives above all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{Algorithm, Digest, ImageName, MediaType};
use securecp_transport::{
    DestinationOptions, Naming, Place, SourceOptions, TransportError, list, open_destination,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interop::{skopeo, testdata};
use crate::suite;
use crate::suite::copy::{copy, destination, source};
use crate::suite::sample::{self, Sample};

/// A member as a hostile hand may write it.
struct Raw<'a> {
    name: &'a str,
    kind: u8,
    link: &'a str,
    size: u64,
    data: &'a [u8],
}

fn file<'a>(name: &'a str, data: &'a [u8]) -> Raw<'a> {
    Raw { name, kind: b'0', link: "", size: data.len() as u64, data }
}

fn link<'a>(name: &'a str, kind: u8, link: &'a str) -> Raw<'a> {
    Raw { name, kind, link, size: 0, data: b"" }
}

impl Raw<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, self.name.as_bytes());
        put(100, b"0000644\0");
        put(124, format!("{:011o}", self.size).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

fn tar(members: &[Raw<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    members.iter().for_each(|member| member.write(&mut out));
    out.extend_from_slice(&[0; 1024]);
    out
}

/// A place with one archive in it.
struct Archive {
    place: TempDir,
    path: PathBuf,
}

impl Archive {
    fn new(bytes: &[u8]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("image.tar");
        fs::write(&path, bytes).unwrap();
        Self { place, path }
    }

    fn name(&self, transport: &str, image: &str) -> String {
        format!("{transport}:{}{image}", self.path.display())
    }

    fn root_error(&self, transport: &str) -> TransportError {
        source(&self.name(transport, "")).unwrap().root(&Scope::new()).unwrap_err()
    }

    /// Copying it fails with `expected` in the message, and leaves nothing anywhere.
    fn is_refused(&self, transport: &str, expected: &str) {
        let to = format!("dir:{}", self.place.path().join("to").display());
        let error = copy(&self.name(transport, ""), &to).unwrap_err();
        let chain = format!("{error} {:?}", error);
        assert!(chain.contains(expected), "expected {expected:?} in {chain}");
        let left: Vec<_> =
            fs::read_dir(self.place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["image.tar"]);
    }
}

/// The members of an OCI archive of the vector.
fn layout_members() -> Vec<(String, Vec<u8>)> {
    let layout = testdata("compressed/plain");
    let mut found = Vec::new();
    for name in ["oci-layout", "index.json"] {
        found.push((name.to_owned(), fs::read(layout.join(name)).unwrap()));
    }
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap().map(Result::unwrap) {
        let name = format!("blobs/sha256/{}", entry.file_name().to_str().unwrap());
        found.push((name, fs::read(entry.path()).unwrap()));
    }
    found
}

fn with(tricks: &[Raw<'_>]) -> Archive {
    let members = layout_members();
    let mut out = Vec::new();
    members.iter().for_each(|(name, data)| file(name, data).write(&mut out));
    tricks.iter().for_each(|trick| trick.write(&mut out));
    out.extend_from_slice(&[0; 1024]);
    Archive::new(&out)
}

#[test]
fn the_archive_that_the_tricks_are_played_on_is_good() {
    let archive = with(&[]);
    let to = format!("dir:{}", archive.place.path().join("to").display());
    copy(&archive.name("oci-archive", ""), &to).unwrap();
    copy(&archive.name("oci-archive", ":plain"), &to).unwrap();
}

#[test]
fn refuses_names_that_leave_the_archive() {
    for name in ["../evil", "/etc/evil", "blobs/../../evil", "a/.."] {
        with(&[file(name, b"x")]).is_refused("oci-archive", "archive refused: member");
    }
}

#[test]
fn refuses_links_that_leave_the_archive() {
    for target in ["../../etc/passwd", "/etc/passwd", ".."] {
        with(&[link("trick", b'2', target)]).is_refused("oci-archive", "leads out of the archive");
    }
    for target in ["../x", "/etc/passwd"] {
        with(&[link("trick", b'1', target)]).is_refused("oci-archive", "archive refused");
    }
    with(&[link("trick", b'1', "missing")]).is_refused("oci-archive", "no regular file before it");
}

#[test]
fn refuses_devices_and_unknown_members() {
    for kind in [b'3', b'4', b'6'] {
        with(&[link("trick", kind, "")]).is_refused("oci-archive", "device or FIFO");
    }
    for kind in [b'V', b'M', b'D', b'N', b'8', 0xff] {
        with(&[link("trick", kind, "")]).is_refused("oci-archive", "unknown kind");
    }
}

#[test]
fn refuses_duplicate_members() {
    with(&[file("index.json", b"{}")]).is_refused("oci-archive", "\"index.json\" appears twice");
    with(&[file("./index.json", b"{}")]).is_refused("oci-archive", "appears twice");
    with(&[link("index.json", b'5', "")]).is_refused("oci-archive", "appears twice");
    with(&[link("index.json", b'2', "oci-layout")]).is_refused("oci-archive", "appears twice");
}

#[test]
fn refuses_sizes_that_lie() {
    for size in [1 << 20, 1 << 32, 0o777_7777_7777] {
        let lie = Raw { size, ..file("trick", b"x") };
        with(&[lie]).is_refused("oci-archive", "ends in the middle of a member");
    }
    for kind in [b'1', b'2', b'5'] {
        let lie = Raw { size: 512, data: &[0; 512], ..link("trick", kind, "index.json") };
        with(&[lie]).is_refused("oci-archive", "has data but is no regular file");
    }
    let record = b"30 size=99999999999999999999\n\n";
    with(&[pax(record), file("trick", b"x")]).is_refused("oci-archive", "archive refused");
    with(&[pax(b"13 size=9999\n"), file("trick", b"x")]).is_refused("oci-archive", "in the middle");
}

fn pax(records: &[u8]) -> Raw<'_> {
    Raw { kind: b'x', ..file("PaxHeader", records) }
}

#[test]
fn refuses_headers_that_two_readers_could_read_differently() {
    for (tricks, expected) in [
        (vec![pax(b"16 path=../evil\n"), file("trick", b"x")], "leaves the archive"),
        (vec![pax(b"9 path=a\n"), pax(b"9 path=b\n"), file("c", b"")], "describe the same member"),
        (vec![pax(b"9 path=a\n9 path=b\n"), file("c", b"")], "says the same thing twice"),
        (
            vec![pax(b"9 path=a\n"), Raw { kind: b'L', ..file("long", b"b") }, file("c", b"")],
            "describe the same member",
        ),
        (
            vec![Raw { kind: b'L', ..file("long", b"../evil") }, file("c", b"")],
            "leaves the archive",
        ),
        (vec![Raw { kind: b'g', ..file("global", b"9 path=a\n") }], "global header"),
        (vec![Raw { kind: b'S', ..file("sparse", b"") }], "sparse"),
        (vec![pax(b"22 GNU.sparse.major=1\n"), file("c", b"")], "sparse"),
        (vec![pax(&[b'x'; 70_000]), file("c", b"")], "the limit is 65536"),
        (vec![pax(b"nonsense"), file("c", b"")], "pax header is malformed"),
    ] {
        with(&tricks).is_refused("oci-archive", expected);
    }
}

#[test]
fn refuses_broken_archives() {
    let good = with(&[]);
    let bytes = fs::read(&good.path).unwrap();
    Archive::new(&bytes[..520]).is_refused("oci-archive", "ends in the middle");
    let mut altered = bytes.clone();
    altered[3] ^= 1;
    Archive::new(&altered).is_refused("oci-archive", "checksum");
    let mut hole = vec![0; 512];
    hole.extend_from_slice(&bytes);
    Archive::new(&hole).is_refused("oci-archive", "single empty block");
    Archive::new(b"").is_refused("oci-archive", "not found");
    Archive::new(&[0; 10_240]).is_refused("oci-archive", "not found");
    Archive::new(b"not a tar").is_refused("oci-archive", "archive refused");
}

#[test]
fn refuses_blobs_that_are_not_what_they_are_called() {
    for (victim, expected) in
        [("08875b3c", "Altered"), ("352fb370", "DigestMismatch"), ("62264ab4", "Altered")]
    {
        let mut out = Vec::new();
        for (name, mut data) in layout_members() {
            if name.contains(victim) {
                data[10] ^= 1;
            }
            file(&name, &data).write(&mut out);
        }
        Archive::new(&out).is_refused("oci-archive", expected);
    }
}

#[test]
fn does_not_read_gigabytes_of_zeros() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("image.tar");
    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    let start = std::time::Instant::now();
    let name = format!("oci-archive:{}", path.display());
    assert!(source(&name).unwrap().root(&Scope::new()).unwrap_err().is_not_found());
    // A member of a tebibyte where a small document is expected.
    let mut head = tar(&[Raw { size: 1 << 32, ..self::file("oci-layout", b"") }]);
    head.truncate(512);
    std::os::unix::fs::FileExt::write_all_at(&file, &head, 0).unwrap();
    let error = source(&name).unwrap().root(&Scope::new()).unwrap_err();
    assert!(!error.is_not_found() || error.to_string().contains("index"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn limits_the_number_of_members() {
    let mut out = Vec::new();
    for number in 0..=65_536 {
        link(&format!("f{number}"), b'5', "").write(&mut out);
    }
    Archive::new(&out).is_refused("oci-archive", "more than 65536 members");
}

fn shell(command: &str, folder: &Path) {
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
