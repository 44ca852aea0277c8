//! Recompression and conversion: Debian's skopeo and umoci read every result, and write the same where they can.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use securecp_testkit::Registry;
use serde_json::Value;
use support::debian_image::debian_image;
use support::registry::DockerRegistry;
use support::run::{said, securecp, skopeo, try_securecp};
use support::tree;

const AMD64: [&str; 4] = ["--override-os", "linux", "--override-arch", "amd64"];

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        debian_image(&bench.0.path().join("image"));
        bench
    }

    fn at(&self, transport: &str, name: &str) -> String {
        let tag = if transport == "oci" { ":v1" } else { "" };
        format!("{transport}:{}{tag}", self.0.path().join(name).display())
    }

    fn image(&self) -> String {
        self.at("oci", "image")
    }

    fn copy(&self, options: &[&str], from: &str, to: &str) {
        securecp(&[&["copy"], &AMD64[..], options, &[from, to]].concat());
    }
}

fn raw(image: &str) -> Value {
    serde_json::from_slice(&skopeo(&["inspect", "--raw", image]).stdout).unwrap()
}

fn media_types(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
}

fn diff_ids(image: &str) -> Value {
    let line = [&AMD64[..], &["inspect", "--config", "--raw", image]].concat();
    let config: Value = serde_json::from_slice(&skopeo(&line).stdout).unwrap();
    config["rootfs"]["diff_ids"].clone()
}

#[test]
fn recompressed_layers_unpack_to_what_they_were() {
    let bench = Bench::new();
    let (zstd, again) = (bench.at("oci", "zstd"), bench.at("oci", "gzip"));
    bench.copy(&["--dest-compress-format=zstd"], &bench.image(), &zstd);
    assert!(media_types(&raw(&zstd)).iter().all(|t| t.ends_with("tar+zstd")));
    bench.copy(&["--dest-compress-format=gzip", "--dest-compress-level=9"], &zstd, &again);
    assert!(media_types(&raw(&again)).iter().all(|t| t.ends_with("tar+gzip")));
    for image in [&zstd, &again] {
        // skopeo decompresses both forms and names the files by what comes out
        let plain = tempfile::tempdir().unwrap();
        let dir = format!("dir:{}", plain.path().join("plain").display());
        skopeo(&["copy", "--dest-decompress", image, &dir]);
        let layers = raw(&dir)["layers"].as_array().unwrap().clone();
        let found: Vec<Value> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        assert_eq!(Value::from(found), diff_ids(&bench.image()), "{image}");
    }
}

#[test]
fn umoci_unpacks_the_same_files() {
    let bench = Bench::new();
    bench.copy(&["--dest-compress-format=zstd"], &bench.image(), &bench.at("oci", "zstd"));
    bench.copy(
        &["--dest-compress-format=gzip"],
        &bench.at("oci", "zstd"),
        &bench.at("oci", "gzip"),
    );
    bench.copy(&[], &bench.image(), &bench.at("oci", "same"));
    let unpacked = ["same", "gzip"].map(|name| {
        let to = bench.0.path().join(format!("{name}-files"));
        let image = format!("{}:v1", bench.0.path().join(name).display());
        let run = Command::new("umoci")
            .args(["unpack", "--rootless", "--image", &image])
            .arg(&to)
            .output();
        let run = run.expect("umoci is needed for the interop tests: ./test installs it");
        assert!(run.status.success(), "{}", said(&run));
        tree::files(&to.join("rootfs/bin"))
    });
    assert_eq!(unpacked[0], unpacked[1]);
}

/// Runs buildah with a storage of its own, where nothing of this machine's is seen or touched.
fn buildah(bench: &Bench, words: &[&str]) -> String {
    let storage = bench.0.path().join("storage");
    let run = Command::new("buildah")
        .arg("--root")
        .arg(storage.join("root"))
        .arg("--runroot")
        .arg(storage.join("run"))
        .args(["--storage-driver", "vfs"])
        // buildah makes a name of the path, and no name has capitals.
        .current_dir(bench.0.path())
        .args(words)
        .output();
    let run = run.expect("buildah is needed for the interop tests: ./test installs it");
    assert!(run.status.success(), "buildah {words:?}\n{}", said(&run));
    String::from_utf8(run.stdout).unwrap().trim().to_owned()
}

#[test]
fn buildah_unpacks_the_same_files_from_zstd() {
    let bench = Bench::new();
    bench.copy(&[], &bench.image(), &bench.at("oci", "same"));
    bench.copy(&["--dest-compress-format=zstd"], &bench.image(), &bench.at("oci", "zstd"));
    assert!(media_types(&raw(&bench.at("oci", "zstd"))).iter().all(|t| t.ends_with("tar+zstd")));
    let policy = bench.0.path().join("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let policy = format!("--signature-policy={}", policy.display());
    let unpacked = ["same", "zstd"].map(|name| {
        let container = buildah(&bench, &["from", "--pull", &policy, &format!("oci:{name}:v1")]);
        let root = buildah(&bench, &["mount", &container]);
        tree::files(&Path::new(&root).join("bin"))
    });
    assert_eq!(unpacked[0], unpacked[1]);
    assert!(unpacked[0].contains_key("busybox"), "{:?}", unpacked[0].keys());
}

#[test]
fn the_same_copy_gives_the_same_bytes() {
    let bench = Bench::new();
    for format in ["zstd", "gzip"] {
        let option = format!("--dest-compress-format={format}");
        let once = bench.at("oci", &format!("{format}-1"));
        let twice = bench.at("oci", &format!("{format}-2"));
        let source = bench.at("dir", &format!("{format}-plain"));
        bench.copy(&["--dest-decompress"], &bench.image(), &source);
        bench.copy(&[&option], &source, &once);
        bench.copy(&[&option, "--image-parallel-copies=1"], &source, &twice);
        assert_eq!(raw(&once), raw(&twice));
    }
}

#[test]
fn conversions_are_the_references_to_the_byte() {
    let bench = Bench::new();
    let (ours, theirs) = (bench.at("dir", "ours"), bench.at("dir", "theirs"));
    bench.copy(&["--format=v2s2"], &bench.image(), &ours);
    skopeo(&[&AMD64[..], &["copy", "--format=v2s2", &bench.image(), &theirs]].concat());
    let files = |name: &str| tree::files(&bench.0.path().join(name));
    assert_eq!(files("ours"), files("theirs"));
    // back again, which an OCI layout needs without being told
    let (back, peer) = (bench.at("oci", "back"), bench.at("oci", "peer"));
    bench.copy(&[], &ours, &back);
    skopeo(&["copy", &theirs, &peer]);
    assert_eq!(files("back/blobs"), files("peer/blobs"));
}

#[test]
fn a_registry_takes_converted_images_of_all_platforms() {
    let (bench, registry) = (Bench::new(), DockerRegistry::start());
    let to = format!("{}:v1", registry.image("app"));
    securecp(&["copy", "--all", "--format=v2s2", "--dest-tls-verify=false", &bench.image(), &to]);
    let list: Value = {
        let run = skopeo(&["inspect", "--raw", "--tls-verify=false", &to]);
        serde_json::from_slice(&run.stdout).unwrap()
    };
    assert_eq!(list["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    for arch in ["amd64", "arm64"] {
        skopeo(&["--override-arch", arch, "inspect", "--config", "--tls-verify=false", &to]);
    }
}

#[test]
fn preserved_digests_and_impossible_wishes_are_told_before_anything_is_written() {
    let bench = Bench::new();
    let zstd = bench.at("oci", "zstd");
    bench.copy(&["--dest-compress-format=zstd"], &bench.image(), &zstd);
    let never = bench.at("dir", "never");
    for (options, from, expected) in [
        (
            &["--preserve-digests", "--format=v2s2"][..],
            bench.image(),
            "Instructed to preserve digests",
        ),
        (
            &["--preserve-digests", "--dest-compress-format=zstd"],
            bench.image(),
            "layer 0 becomes zstd",
        ),
        (&["--format=v2s2"], zstd, "format v2s2 has no zstd layers"),
    ] {
        let run = try_securecp(&[&["copy"], &AMD64[..], options, &[&from, &never]].concat());
        assert_eq!(run.status.code(), Some(1));
        assert!(said(&run).contains(expected), "expected {expected:?} in\n{}", said(&run));
        assert!(!bench.0.path().join("never").exists());
    }
}

#[test]
fn a_sparse_index_keeps_its_digest_where_the_registry_allows_it() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let to = format!("docker://{}/app:v1", registry.address());
    let options = ["copy", "--json", "--platform=linux/arm64", "--dest-tls-verify=false"];
    let run = securecp(&[&options[..], &[&bench.image(), &to]].concat());
    let result: Value = serde_json::from_slice(&run.stdout).unwrap();
    let index = skopeo(&["inspect", "--raw", &bench.image()]).stdout;
    assert_eq!(result["digest"], support::sha256(&index));
    let strict = DockerRegistry::start();
    let to = format!("{}:v1", strict.image("app"));
    let run = try_securecp(&[&options[..], &[&bench.image(), &to]].concat());
    assert!(!run.status.success() && said(&run).contains("--index rewrite"), "{}", said(&run));
    securecp(&[&options[..], &["--index=rewrite", &bench.image(), &to]].concat());
    skopeo(&["--override-arch", "arm64", "inspect", "--tls-verify=false", &to]);
}

/// Writes `plain` compressed by `program` as the first layer of a copy of the image, labelled gzip.
fn relabel(bench: &Bench, name: &str, bytes: &[u8]) -> String {
    let dir = bench.0.path().join(name);
    bench.copy(&[], &bench.image(), &format!("dir:{}", dir.display()));
    let file = dir.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let digest = support::sha256(bytes);
    std::fs::write(dir.join(&digest[7..]), bytes).unwrap();
    manifest["layers"][0]["digest"] = digest.into();
    manifest["layers"][0]["size"] = bytes.len().into();
    std::fs::write(&file, manifest.to_string()).unwrap();
    format!("dir:{}", dir.display())
}

fn first_layer(bench: &Bench) -> Vec<u8> {
    let dir = bench.0.path().join("plain-dir");
    bench.copy(&["--dest-decompress"], &bench.image(), &format!("dir:{}", dir.display()));
    let manifest = tree::json(&dir.join("manifest.json"));
    let digest = manifest["layers"][0]["digest"].as_str().unwrap()[7..].to_owned();
    std::fs::read(dir.join(digest)).unwrap()
}

fn piped(program: &str, options: &[&str], input: &Path) -> Vec<u8> {
    let run = Command::new(program).args(options).arg(input).output().unwrap();
    assert!(run.status.success(), "{}", said(&run));
    run.stdout
}

#[test]
fn what_a_layer_is_labelled_does_not_matter_but_what_it_holds_does() {
    let bench = Bench::new();
    let plain = first_layer(&bench);
    let file = bench.0.path().join("layer.tar");
    std::fs::write(&file, &plain).unwrap();
    let expected = diff_ids(&bench.image())[0].clone();
    for (name, bytes) in [
        ("as-zstd", piped("zstd", &["-c", "-q"], &file)),
        ("as-xz", piped("xz", &["-c", "-0"], &file)),
        ("as-plain", plain.clone()),
    ] {
        let from = relabel(&bench, name, &bytes);
        let to = format!("dir:{}", bench.0.path().join(format!("{name}-out")).display());
        bench.copy(&["--dest-decompress"], &from, &to);
        assert_eq!(raw(&to)["layers"][0]["digest"], expected, "{name}");
    }
    let mut other = plain.clone();
    other[600] ^= 1;
    std::fs::write(&file, &other).unwrap();
    let gzip = piped("gzip", &["-c"], &file);
    let cut = gzip[..gzip.len() - 9].to_vec();
    for (name, bytes, expected) in [
        ("lies", gzip, "diffID"),
        ("cut", cut, "cannot be decompressed"),
        ("bomb", bomb(), "decompress"),
    ] {
        let from = relabel(&bench, name, &bytes);
        let never = bench.0.path().join("never");
        let to = format!("oci:{}:v1", never.display());
        let line = ["copy", "--dest-compress-format=zstd", &from, &to];
        let run = try_securecp(&line);
        assert!(!run.status.success(), "{name}");
        assert!(said(&run).contains(expected), "{name}: expected {expected:?} in\n{}", said(&run));
        assert!(!never.join("index.json").exists());
    }
}

/// More than a gigabyte of zeros in some kilobytes.
fn bomb() -> Vec<u8> {
    let script = "head -c 1400000000 /dev/zero | zstd -q -c";
    let run = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(run.status.success());
    run.stdout
}

/// Copies to zstd with a cache folder of its own, and says how many bytes were sent.
fn to_zstd(bench: &Bench, cache: &Path, options: &[&str], to: &str) -> (Value, u64) {
    let line = [&["copy", "--json", "--dest-compress-format=zstd"], options, &[&bench.image(), to]];
    let mut command = support::run::command();
    let run =
        command.env("XDG_CACHE_HOME", cache).args(AMD64).args(line.concat()).output().unwrap();
    assert!(run.status.success(), "{}", said(&run));
    let result: Value = serde_json::from_slice(&run.stdout).unwrap();
    (result["digest"].clone(), result["bytesSent"].as_u64().unwrap())
}

#[test]
fn a_second_recompressing_copy_sends_nothing() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let cache = bench.0.path().join("cache");
    let docker = format!("docker://{}/app:v1", registry.address());
    for (to, options) in [(docker, &["--dest-tls-verify=false"][..]), (bench.at("oci", "z"), &[])] {
        let (first, sent) = to_zstd(&bench, &cache, options, &to);
        assert!(sent > 100_000, "{to}");
        let (second, sent) = to_zstd(&bench, &cache, options, &to);
        assert_eq!((second, sent), (first, 0), "{to}");
    }
}

#[test]
fn a_poisoned_cache_puts_no_foreign_layer_into_an_image() {
    let bench = Bench::new();
    let (cache, to) = (bench.0.path().join("cache"), bench.at("oci", "z"));
    let (expected, _) = to_zstd(&bench, &cache, &[], &to);
    // every entry now proposes what another one should
    let entries: Vec<_> = walk(&cache);
    let texts: Vec<String> = entries.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    for (path, other) in entries.iter().zip(texts.iter().rev()) {
        std::fs::write(path, other).unwrap();
    }
    let (found, _) = to_zstd(&bench, &cache, &[], &to);
    assert_eq!(found, expected);
    for path in &entries {
        std::fs::write(path, b"\xff\0 not an entry").unwrap();
    }
    let (found, _) = to_zstd(&bench, &cache, &[], &bench.at("oci", "anew"));
    assert_eq!(found, expected);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}
