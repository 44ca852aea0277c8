//! What a plan says that a copy will cost, and what it costs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use securecp_testkit::Registry;
use securecp_testkit::proxy::Proxy;
use serde_json::Value;
use support::debian_image::debian_image;
use support::run::{command, said, securecp};

/// Two registries whose requests are counted, and a two-platform image in one of them and in a layout.
struct Bench {
    _registries: [Registry; 2],
    proxies: [Proxy; 2],
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let registries = [(); 2].map(|()| Registry::start().unwrap());
        let proxies = registries.each_ref().map(|one| Proxy::start(one.address()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        debian_image(&folder.path().join("image"));
        let bench = Self { _registries: registries, proxies, folder };
        bench.copy(&["--all"], &bench.layout("image"), &bench.registry(0, "app:v1"));
        bench
    }

    fn registry(&self, which: usize, name: &str) -> String {
        format!("docker://{}/{name}", self.proxies[which].address())
    }

    fn layout(&self, name: &str) -> String {
        format!("oci:{}:v1", self.folder.path().join(name).display())
    }

    /// Runs a copy; returns what it printed and how many requests there were.
    fn copy(&self, options: &[&str], from: &str, to: &str) -> (Vec<u8>, u64) {
        self.proxies.iter().for_each(Proxy::clear_log);
        let side = |flag: &'static str, name: &str| name.starts_with("docker:").then_some(flag);
        let flags = [side("--src-tls-verify=false", from), side("--dest-tls-verify=false", to)];
        let flags: Vec<&str> = flags.into_iter().flatten().collect();
        let platform = ["--override-os=linux", "--override-arch=amd64"];
        let line = [&platform[..], &["copy"], &flags, options, &[from, to]].concat();
        // What an earlier run remembers of recompressed layers costs questions that no plan foresees.
        let cache = tempfile::tempdir().unwrap();
        let run = command().args(&line).env("XDG_CACHE_HOME", cache.path()).output().unwrap();
        assert!(run.status.success(), "{}", said(&run));
        let requests = self.proxies.iter().map(|proxy| proxy.log().len() as u64).sum();
        (run.stdout, requests)
    }

    fn plan(&self, options: &[&str], from: &str, to: &str) -> (Value, u64) {
        let options = [options, &["--dry-run", "--json"]].concat();
        let (out, requests) = self.copy(&options, from, to);
        (serde_json::from_slice(&out).unwrap(), requests)
    }

    /// Plans, copies, and compares.
    #[track_caller]
    fn check(&self, options: &[&str], from: &str, to: &str) -> u64 {
        let (plan, looking) = self.plan(options, from, to);
        let (_, all) = self.copy(options, from, to);
        let expected = plan["requestsExpected"].as_u64().unwrap();
        assert_eq!(all - looking, expected, "{options:?} {from} {to}\n{plan:#}");
        expected
    }
}

#[test]
fn a_plan_foresees_the_requests() {
    let bench = Bench::new();
    let from = bench.registry(0, "app:v1");
    assert!(bench.check(&["--all"], &from, &bench.registry(1, "all:v1")) > 10);
    assert_eq!(bench.check(&["--all"], &from, &bench.registry(1, "all:v1")), 0, "all is there");
    // A further name costs looking at what is there, and the name.
    bench.check(&["--all"], &from, &bench.registry(1, "all:v2"));
    bench.check(&[], &from, &bench.registry(1, "one:v1"));
    bench.check(&[], &from, &bench.layout("one"));
    bench.check(&[], &bench.layout("image"), &bench.registry(1, "up:v1"));
    bench.check(&["--all"], &from, &bench.registry(0, "mounted:v1"));
    bench.check(&["--dest-compress-format=zstd"], &from, &bench.registry(1, "zstd:v1"));
    bench.check(&["--format=v2s2"], &from, &bench.registry(1, "docker:v1"));
    assert_eq!(bench.check(&[], &bench.layout("image"), &bench.layout("two")), 0);
}

/// A bundle is two blobs and a manifest, and all of that is read back, with the list that names it.
#[test]
fn new_bundles_are_foreseen() {
    let bench = Bench::new();
    let [prefix, passphrase] =
        ["key", "pass"].map(|name| bench.folder.path().join(name).display().to_string());
    std::fs::write(&passphrase, "open sesame\n").unwrap();
    let words = ["--output-prefix", &prefix, "--passphrase-file", &passphrase];
    securecp(&[&["generate-sigstore-key"], &words[..]].concat());
    let key = format!("{prefix}.private");
    let sign = |to: &str| {
        let key = ["--sign-by-sigstore-private-key", &key, "--sign-passphrase-file", &passphrase];
        let options = ["--all", "--dangerous-sign-without-log", "--sign-format=bundle"];
        bench.check(&[&key[..], &options].concat(), &bench.registry(0, "app:v1"), to)
    };
    let plain =
        bench.check(&["--all"], &bench.registry(0, "app:v1"), &bench.registry(1, "plain:v1"));
    assert_eq!(sign(&bench.registry(1, "signed:v1")), plain + 3 * 9, "two images and the index");
    assert_eq!(sign(&bench.registry(1, "signed:v1")), 0, "all of it is there");
}

#[test]
fn high_levels_compress_fewer_layers_at_once() {
    let bench = Bench::new();
    let layers = |level: &str| {
        let level = format!("--dest-compress-level={level}");
        let options = ["--dest-compress-format=zstd", "--dest-force-compress-format", &level];
        let (plan, _) = bench.plan(&options, &bench.layout("image"), &bench.layout("never"));
        let memory = &plan["compression"];
        let number = |key: &str| memory[key].as_u64().unwrap();
        let together = number("layerBytes") * number("layersAtOnce");
        assert!(together <= number("budgetBytes") || number("layersAtOnce") == 1, "{memory}");
        number("layersAtOnce")
    };
    assert!(layers("1") > layers("19") && layers("19") == 1);
    let options = ["--dry-run", "--dest-compress-format=zstd"];
    let (text, _) = bench.copy(&options, &bench.layout("image"), &bench.layout("never"));
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains(" layers compressed at once, ") && text.contains(" MiB of 96.00 MiB each"),
        "{text}"
    );
    let plain = securecp(&[
        "--override-os=linux",
        "--override-arch=amd64",
        "copy",
        "--dry-run",
        &bench.layout("image"),
        &bench.layout("never"),
    ]);
    assert!(!said(&plain).contains("compressed at once"));
}
