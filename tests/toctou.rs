//! What was judged is what arrives: sources that say something else when they are asked again.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cli::gnupg::{configure, signatures_of};
use cli::{Place, Run, image};
use securecp_testkit::Registry;
use securecp_testkit::http::Request;
use securecp_testkit::proxy::{Call, Fault, Handler, Proxy, Reply, Rule};
use securecp_trust::FreshKey;

/// A signed image of two platforms behind a proxy, and another image that nobody signed.
struct Bench {
    place: Place,
    registry: Registry,
    proxy: Proxy,
    index: String,
    evil: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let (place, registry) = (Place::new(), Registry::start().unwrap());
        let proxy = Proxy::start(registry.address()).unwrap();
        let index = image::two_platforms(&place.path("image"));
        let evil = evil(&place);
        configure(&place);
        let now = SystemTime::now();
        let key =
            FreshKey::generate("Key <key@x.example>", now, Duration::from_secs(3600)).unwrap();
        place.write("key", &*key.secret);
        place.write("key.asc", &key.public);
        let bench = Self { place, registry, proxy, index, evil };
        let signed = bench.run(&format!(
            "copy -q --all --dest-tls-verify=false --sign-by-key-file key oci:image:v1 {}",
            bench.name()
        ));
        assert_eq!(signed.code, 0, "{signed:?}");
        bench.proxy.clear_log();
        bench
    }

    fn name(&self) -> String {
        format!("docker://{}/shop/app:v1", self.proxy.address())
    }

    fn run(&self, line: &str) -> Run {
        self.place.run(&format!("--policy signed.json --registries.d registries.d {line}"))
    }

    fn copy(&self, options: &str) -> Run {
        self.run(&format!("copy -q --src-tls-verify=false {options} {} dir:out", self.name()))
    }

    /// From its second request on, whatever matches is answered with the image that nobody signed.
    fn evil_from(&self, turn: u64, pattern: &str) {
        let reply = Reply::new(200)
            .header("content-type", image::MANIFEST)
            .header("docker-content-digest", image::digest(&self.evil))
            .body(self.evil.clone());
        let rule = Rule::new("GET", pattern).unwrap().from(turn);
        self.proxy.add(rule.with(Fault::Answer(reply)));
    }

    /// Exactly what was signed has arrived, and no manifest was read again.
    #[track_caller]
    fn arrived(&self, run: &Run, digest: &str) {
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(image::digest(&self.place.read("out/manifest.json")), digest);
        let mut reads: HashMap<String, usize> = HashMap::new();
        for seen in self.proxy.log().iter().filter(|seen| seen.is("GET", "/manifests/")) {
            *reads.entry(seen.path.clone()).or_default() += 1;
        }
        assert!(!reads.is_empty());
        assert!(reads.values().all(|count| *count == 1), "{reads:?}");
        // The tag was asked for once; the bytes behind its digest were in hand then.
        let by_digest = format!("/manifests/{}", self.index);
        assert_eq!(self.proxy.requests("GET", &by_digest), 0);
    }

    fn instances(&self) -> Vec<String> {
        let bytes = std::fs::read(image::blob(&self.place.path("image"), &self.index)).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
    }
}

/// A manifest of the same layers, so that everything else that a copy would need is there.
fn evil(place: &Place) -> Vec<u8> {
    let good = image::single(&place.path("single"));
    let good = std::fs::read(image::blob(&place.path("single"), &good)).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&good).unwrap();
    manifest["annotations"] = serde_json::json!({"signed": "by nobody"});
    manifest.to_string().into_bytes()
}

#[test]
fn other_bytes_at_the_second_read_never_arrive() {
    let bench = Bench::new();
    bench.evil_from(2, "/manifests/v1");
    let run = bench.copy("--all");
    bench.arrived(&run, &bench.index);
    assert_eq!(bench.proxy.requests("GET", "/manifests/v1"), 1);
}

#[test]
fn other_bytes_at_the_first_read_are_refused() {
    let bench = Bench::new();
    bench.evil_from(1, "/manifests/v1");
    let run = bench.copy("--all");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains("no signature exists"), "{}", run.err);
    assert!(!bench.place.exists("out"));
}

#[test]
fn an_instance_with_other_bytes_than_the_index_says_is_an_error() {
    let bench = Bench::new();
    bench.evil_from(1, "/manifests/sha256:");
    let run = bench.copy("--all");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!bench.place.exists("out"));
}

#[test]
fn a_tag_that_moves_between_the_verdict_and_the_copy_changes_nothing() {
    let bench = Bench::new();
    let moved = Arc::new(Mutex::new(false));
    let once = moved.clone();
    // The first blob is asked for after the verdict: that is when somebody moves the tag.
    let mover = Handler::new(move |call: &Call| {
        let mut done = once.lock().unwrap();
        if !*done {
            let put = Request::new("PUT", "/v2/shop/app/manifests/v1")
                .header("content-type", image::INDEX);
            let list =
                format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, image::INDEX);
            assert_eq!(put.body(list.as_bytes()).send(call.upstream).unwrap().status, 201);
            *done = true;
        }
        None
    });
    bench.proxy.add(Rule::new("GET", "/blobs/").unwrap().with(Fault::Handle(mover)));
    let run = bench.copy("--all");
    bench.arrived(&run, &bench.index);
    assert!(*moved.lock().unwrap(), "the tag was not moved: the test shows nothing");
    let now =
        Request::new("HEAD", "/v2/shop/app/manifests/v1").send(bench.registry.address()).unwrap();
    assert_ne!(now.header("docker-content-digest"), Some(bench.index.as_str()));
}

#[test]
fn an_index_swapped_for_an_image_never_arrives() {
    let bench = Bench::new();
    bench.evil_from(2, "/manifests/");
    // The second read is that of the instance: what the index promised does not come.
    let run = bench.copy("--override-os linux --override-arch amd64");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!bench.place.exists("out"));
    bench.proxy.clear_rules();
    bench.proxy.clear_log();
    bench.evil_from(2, "/manifests/v1");
    let run = bench.copy("--override-os linux --override-arch amd64");
    bench.arrived(&run, &bench.instances()[0]);
}

#[test]
fn signatures_stripped_at_the_second_read_arrive_as_they_were_judged() {
    let bench = Bench::new();
    // The same store over HTTP; every signature is there for one read only.
    let store = bench.place.path("lookaside");
    let reads: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counted = reads.clone();
    let serve = Handler::new(move |call: &Call| {
        let mut counted = counted.lock().unwrap();
        let count = counted.entry(call.path.clone()).or_default();
        *count += 1;
        let file = store.join(call.path.trim_start_matches("/sigs/").replace("%3D", "="));
        match std::fs::read(file) {
            Ok(bytes) if *count == 1 => Some(Reply::new(200).body(bytes)),
            _ => Some(Reply::new(404)),
        }
    });
    bench.proxy.add(Rule::new("GET", "^/sigs/").unwrap().with(Fault::Handle(serve)));
    let yaml = format!("default-docker:\n  lookaside: http://{}/sigs\n", bench.proxy.address());
    bench.place.write("registries.d/default.yaml", yaml);
    let run = bench.copy("--all");
    bench.arrived(&run, &bench.index);
    let reads = reads.lock().unwrap();
    assert_eq!(reads.len(), 6, "one signature and one end for each of three manifests: {reads:?}");
    assert!(reads.values().all(|count| *count == 1), "{reads:?}");
    let judged = signatures_of(&bench.place, "shop/app", &bench.index).join("signature-1");
    assert_eq!(bench.place.read("out/signature-1"), std::fs::read(judged).unwrap());
    for digest in bench.instances() {
        let judged = signatures_of(&bench.place, "shop/app", &digest).join("signature-1");
        let copied = format!("out/{}.signature-1", digest.strip_prefix("sha256:").unwrap());
        assert_eq!(bench.place.read(&copied), std::fs::read(judged).unwrap());
    }
}

#[test]
fn a_signature_store_that_fails_is_not_an_empty_one() {
    let bench = Bench::new();
    for status in [401, 403, 500, 503] {
        bench.proxy.clear_rules();
        let rule = Rule::new("GET", "^/sigs/").unwrap();
        bench.proxy.add(rule.with(Fault::Answer(Reply::new(status))));
        let yaml = format!("default-docker:\n  lookaside: http://{}/sigs\n", bench.proxy.address());
        bench.place.write("registries.d/default.yaml", yaml);
        let run = bench.copy("--all --retry-times 0");
        assert_eq!(run.code, 3, "{status}: {run:?}");
        assert!(run.err.contains("signatures could not be fetched: "), "{}", run.err);
        assert!(!bench.place.exists("out"));
    }
}
