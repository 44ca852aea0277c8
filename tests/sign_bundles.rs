//! New sigstore bundles beside copies: for every image and the index, before any name moves.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::SocketAddr;

use cli::{Place, Run, image, signing};
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule, Seen};
use securecp_testkit::{DockerRegistry, Registry};
use serde_json::{Value, json};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGN: &str = "--sign-by-sigstore-private-key key.private --sign-passphrase-file pass \
                    --dangerous-sign-without-log --sign-format";

struct Bench {
    place: Place,
    /// The digest of an index of two images.
    index: String,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        place.write("pass", "a passphrase\n");
        place.ok("generate-sigstore-key --output-prefix key --passphrase-file pass");
        let file = |accept: &str| {
            format!(
                "version: 1\nsigners: {{k: {{key: key.pub, dangerous-no-log: true}}}}\n\
                 default: {{accept: {accept}, require: k}}\n"
            )
        };
        place.write("trust.yaml", file("bundle"));
        place.write("attached.yaml", file("attachment"));
        signing::attachments(&place, true);
        let index = signing::signable(&place).remove(0);
        Self { place, index }
    }

    fn copy(&self, form: &str, to: &str) -> Run {
        let tls = if to.starts_with("docker:") { "--dest-tls-verify=false" } else { "" };
        self.place.run(&format!(
            "--policy accept.json --registries.d registries.d copy --all {tls} {SIGN} {form} oci:image:v1 {to}"
        ))
    }

    fn verify(&self, file: &str, image: &str) -> Run {
        let tls = if image.starts_with("docker:") { "--tls-verify=false" } else { "" };
        self.place.run(&format!(
            "--policy accept.json --registries.d registries.d verify --all --index-signature require --trust {file} {tls} {image}"
        ))
    }

    fn accepted(&self, file: &str, image: &str) {
        let run = self.verify(file, image);
        assert_eq!(run.code, 0, "{image}: {run:?}");
        assert_eq!(
            run.out.matches(", as k\n").count(),
            3,
            "the index and both images: {}",
            run.out
        );
    }
}

fn name(address: SocketAddr, tag: &str) -> String {
    format!("docker://{address}/app:{tag}")
}

#[test]
fn every_image_and_the_index_get_a_bundle() {
    let bench = Bench::new();
    let (with, without) = (Registry::start().unwrap(), DockerRegistry::start().unwrap());
    let (with, without) = (name(with.address(), "v1"), (name(without.address(), "v1"), without));
    let layout = "oci:out:v1".to_owned();
    for to in [&with, &without.0, &layout] {
        let run = bench.copy("bundle", to);
        assert_eq!(run.code, 0, "{to}: {run:?}");
        bench.accepted("trust.yaml", to);
        let run = bench.verify("attached.yaml", to);
        assert_eq!(run.code, 3, "no attachment was made: {run:?}");
    }
}

#[test]
fn both_forms_are_made_from_one_key() {
    let bench = Bench::new();
    let registry = DockerRegistry::start().unwrap();
    let to = name(registry.address(), "v1");
    let run = bench.copy("both", &to);
    assert_eq!(run.code, 0, "{run:?}");
    bench.accepted("trust.yaml", &to);
    bench.accepted("attached.yaml", &to);
    let requirement = json!({"type": "sigstoreSigned", "keyPath": bench.place.path("key.pub")});
    bench.place.write("signed.json", json!({"default": [requirement]}).to_string());
    let run = bench.place.run(&format!(
        "--policy signed.json --registries.d registries.d verify --all --trust trust.yaml --tls-verify=false {to}"
    ));
    assert_eq!(run.code, 0, "{run:?}");
}

/// The artifact is cosign 3's, and is found by the tag that stands in for the API.
#[test]
fn the_artifact_is_cosign_s() {
    let bench = Bench::new();
    let registry = DockerRegistry::start().unwrap();
    assert_eq!(bench.copy("bundle", &name(registry.address(), "v1")).code, 0);
    let raw = |tag: &str| -> Value {
        let image = name(registry.address(), "v1").replace(":v1", tag);
        let run = bench.place.run(&format!("inspect --raw --tls-verify=false {image}"));
        assert_eq!(run.code, 0, "{run:?}");
        serde_json::from_str(&run.out).unwrap()
    };
    let list = raw(&format!(":{}", bench.index.replace(':', "-")));
    let entry = &list["manifests"][0];
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(entry["artifactType"], BUNDLE_TYPE);
    let artifact = raw(&format!("@{}", entry["digest"].as_str().unwrap()));
    assert_eq!(artifact["artifactType"], BUNDLE_TYPE);
    assert_eq!(artifact["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(artifact["subject"]["digest"], bench.index);
    assert_eq!(artifact["subject"]["mediaType"], image::INDEX);
    let annotations = &artifact["annotations"];
    assert_eq!(annotations["dev.sigstore.bundle.content"], "dsse-envelope");
    let predicate = "https://sigstore.dev/cosign/sign/v1";
    assert_eq!(annotations["dev.sigstore.bundle.predicateType"], predicate);
    assert!(annotations["org.opencontainers.image.created"].is_string());
}

/// Nothing is visible before it is signed, and what was signed is looked for before the name moves.
#[test]
fn the_name_moves_after_the_bundles_are_read_back() {
    for registry in [true, false] {
        let bench = Bench::new();
        let (api, plain) = (Registry::start().unwrap(), DockerRegistry::start().unwrap());
        let address = if registry { api.address() } else { plain.address() };
        let proxy = Proxy::start(address).unwrap();
        assert_eq!(bench.copy("bundle", &name(proxy.address(), "v1")).code, 0);
        let log = proxy.log();
        let named = log.iter().rposition(|seen| seen.is("PUT", "/manifests/v1")).unwrap();
        let puts = |position: &usize| log[*position].is("PUT", "/manifests/");
        let last_put = (0..named).rev().find(puts).unwrap();
        let looked = log[last_put..named].iter().filter(|s| s.is("GET", "")).count();
        assert!(looked >= 3, "three bundles are read back: {looked}");
        assert!(
            !log[named..].iter().skip(1).any(|seen| seen.method != "GET" && seen.method != "HEAD")
        );
    }
}

#[test]
fn a_bundle_that_cannot_be_stored_leaves_no_name_behind() {
    for (path, reply) in [
        ("/blobs/uploads/", Reply::error(500, "UNKNOWN", "no")),
        ("/manifests/sha256-", Reply::error(403, "DENIED", "no")),
    ] {
        let bench = Bench::new();
        let registry = DockerRegistry::start().unwrap();
        let proxy = Proxy::start(registry.address()).unwrap();
        // The image itself is there already under another name.
        let to = name(proxy.address(), "v0");
        let run = bench.place.run(&format!(
            "--policy accept.json copy --all --dest-tls-verify=false oci:image:v1 {to}"
        ));
        assert_eq!(run.code, 0, "{run:?}");
        let method = if path.starts_with("/blobs") { "POST" } else { "PUT" };
        proxy.add(Rule::new(method, path).unwrap().with(Fault::Answer(reply)));
        let run = bench.copy("bundle", &name(proxy.address(), "v1"));
        assert_eq!(run.code, 1, "{path}: {run:?}");
        assert_eq!(proxy.requests("PUT", "/manifests/v1"), 0, "{path}");
    }
}

#[test]
fn what_cannot_hold_bundles_is_told_before_anything_is_written() {
    let bench = Bench::new();
    let run = bench.copy("bundle", "dir:out");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("cannot hold the bundle that"), "{run:?}");
    assert!(!bench.place.exists("out"));
    let run = bench.place.run(&format!(
        "--policy accept.json copy --all --dry-run {SIGN} bundle oci:image:v1 oci:out:v1"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains(&format!("{} in a bundle", bench.index)), "{}", run.out);
}

#[test]
fn a_bundle_needs_a_log_or_the_word_that_there_is_none() {
    let bench = Bench::new();
    let key = "--sign-by-sigstore-private-key key.private --sign-passphrase-file pass --sign-format bundle";
    let copy = |options: &str| {
        bench
            .place
            .run(&format!("--policy accept.json copy {key} {options} oci:image:v1 oci:out:v1"))
    };
    let run = copy("");
    assert_eq!(run.code, 64, "{run:?}");
    assert!(run.err.contains("--dangerous-sign-without-log"), "{run:?}");
    bench.place.write("root.json", "{}");
    let run = copy("--sign-trusted-root root.json");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("--sign-trusted-root root.json"), "{run:?}");
    let root =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/sigstore/bundles/trusted_root.json");
    let run = copy(&format!("--sign-trusted-root {root}"));
    assert_eq!(run.code, 64, "{run:?}");
    assert!(run.err.contains("would have no log entry"), "{run:?}");
}

/// What the engine's own retry is there for: the client underneath gave up, and the next attempt works.
#[test]
fn a_bundle_is_put_again_after_a_passing_failure() {
    let bench = Bench::new();
    for (method, path) in [("POST", "/blobs/uploads/"), ("PUT", "/manifests/sha256-")] {
        let registry = DockerRegistry::start().unwrap();
        bench.place.ok(&format!(
            "copy --all --dest-tls-verify=false oci:image:v1 {}",
            name(registry.address(), "v0")
        ));
        let asked = |retries: u32| {
            let proxy = Proxy::start(registry.address()).unwrap();
            let broken = Fault::Answer(Reply::error(500, "UNKNOWN", "no"));
            proxy.add(Rule::new(method, path).unwrap().with(broken));
            let to = name(proxy.address(), "v1");
            let run = bench.copy(&format!("bundle --retry-times {retries} --retry-delay 1ms"), &to);
            assert_eq!(run.code, 1, "{run:?}");
            proxy.requests(method, path)
        };
        let once = asked(0);
        assert!(asked(1) > once, "{path}: {once}");
        let proxy = Proxy::start(registry.address()).unwrap();
        let broken = Fault::Answer(Reply::error(500, "UNKNOWN", "no"));
        proxy.add(Rule::new(method, path).unwrap().first(once as u64).with(broken));
        let to = name(proxy.address(), "v1");
        let run = bench.copy("bundle --retry-delay 1ms", &to);
        assert_eq!(run.code, 0, "{path}: {run:?}");
        bench.accepted("trust.yaml", &name(registry.address(), "v1"));
    }
}

/// How many referrers the index at `image` has.
fn bundles_of(bench: &Bench, image: &str) -> usize {
    let tls = if image.starts_with("docker:") { "--tls-verify=false" } else { "" };
    let run = bench.verify("trust.yaml", image);
    assert_eq!(run.code, 0, "{run:?}");
    let line = format!(
        "--policy accept.json verify --all --json --index-signature require --trust trust.yaml {tls} {image}"
    );
    let run = bench.place.run(&line);
    let verdict: Value = serde_json::from_str(&run.out).unwrap();
    let subjects = verdict["trust"]["manifests"].as_array().unwrap();
    let index = subjects.iter().find(|subject| subject["digest"] == bench.index.as_str());
    index.unwrap()["found"].as_array().unwrap().len()
}

#[test]
fn a_good_bundle_by_the_same_key_is_not_made_again() {
    let bench = Bench::new();
    let (api, plain) = (Registry::start().unwrap(), DockerRegistry::start().unwrap());
    let (api, plain) =
        (Proxy::start(api.address()).unwrap(), Proxy::start(plain.address()).unwrap());
    for proxy in [&api, &plain] {
        let to = name(proxy.address(), "v1");
        assert_eq!(bench.copy("bundle", &to).code, 0);
        proxy.clear_log();
        let run = bench.copy("bundle", &to);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(bundles_of(&bench, &to), 1);
        let log = proxy.log();
        let writes = |seen: &&Seen| !matches!(seen.method.as_str(), "GET" | "HEAD");
        assert_eq!(log.iter().filter(writes).count(), 0, "all is there: {log:#?}");
    }
    for _ in 0..2 {
        assert_eq!(bench.copy("bundle", "oci:out:v1").code, 0);
        assert_eq!(bundles_of(&bench, "oci:out:v1"), 1);
    }
    // Another key is another witness.
    bench.place.ok("generate-sigstore-key --output-prefix other --passphrase-file pass");
    let other = SIGN.replace("key.private", "other.private");
    let to = name(plain.address(), "v1");
    for _ in 0..2 {
        bench
            .place
            .ok(&format!("copy --all --dest-tls-verify=false {other} bundle oci:image:v1 {to}"));
        assert_eq!(bundles_of(&bench, &to), 2);
    }
}

/// What was made on the way has its digest only at the end; it is looked for then.
#[test]
fn a_changed_image_copied_again_keeps_its_bundle() {
    let bench = Bench::new();
    let registry = DockerRegistry::start().unwrap();
    let to = name(registry.address(), "v1");
    for _ in 0..2 {
        let run = bench.copy("bundle --dest-compress-format zstd", &to);
        assert_eq!(run.code, 0, "{run:?}");
        let run = bench.place.run(&format!(
            "--policy accept.json verify --all --json --index-signature require --trust trust.yaml --tls-verify=false {to}"
        ));
        let verdict: Value = serde_json::from_str(&run.out).unwrap();
        for subject in verdict["trust"]["manifests"].as_array().unwrap() {
            assert_eq!(subject["found"].as_array().unwrap().len(), 1, "{verdict:#}");
        }
    }
}

/// A bundle that cannot be read may be a good one: it does not count as none.
#[test]
fn referrers_at_the_destination_that_cannot_be_read_end_the_copy() {
    let bench = Bench::new();
    let registry = DockerRegistry::start().unwrap();
    assert_eq!(bench.copy("bundle", &name(registry.address(), "v1")).code, 0);
    for path in ["/manifests/sha256-", "/blobs/sha256:"] {
        let proxy = Proxy::start(registry.address()).unwrap();
        let broken = Fault::Answer(Reply::error(403, "DENIED", "no"));
        proxy.add(Rule::new("GET", path).unwrap().with(broken));
        let run = bench.copy("bundle", &name(proxy.address(), "v2"));
        assert_eq!(run.code, 1, "{path}: {run:?}");
        assert_eq!(proxy.requests("PUT", ""), 0, "{path}");
    }
}
