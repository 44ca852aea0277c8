//! The whole program against registries that break at the worst moment: it converges or says what happened, and never
//! leaves a tag that should not be there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use securecp_oci::MediaType;
use securecp_testkit::http::Request;
use securecp_testkit::proxy::{Fault, How, Point, Proxy, Reply, Rule, Side};
use securecp_testkit::simulate::{self, Referrers};
use securecp_testkit::{Blob, Fixture, Layer, Registry};
use support::run::{command, said, try_securecp};

/// A source and a destination registry, each behind a proxy, and an image with one large layer at the source.
struct Bench {
    _staging: Registry,
    production: Registry,
    from: Proxy,
    to: Proxy,
    image: Fixture,
}

const BLOB: &str = "/v2/app/blobs/sha256:";

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let staging = Registry::start().unwrap();
        let production = Registry::start().unwrap();
        let layer = Layer::incompressible(folder.path(), 7, 3).unwrap();
        let image = Fixture::image("amd64", &[layer]);
        image.push(staging.address(), "app", Some("v1")).unwrap();
        Self {
            from: Proxy::start(staging.address()).unwrap(),
            to: Proxy::start(production.address()).unwrap(),
            _staging: staging,
            production,
            image,
        }
    }

    fn copy(&self, options: &[&str]) -> Output {
        let from = format!("docker://{}/app:v1", self.from.address());
        let to = format!("docker://{}/app:v1", self.to.address());
        let usual =
            ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--retry-delay=10ms"];
        try_securecp(&[&usual, options, &[&from, &to]].concat())
    }

    /// The digest that the tag at the destination stands for.
    fn tag(&self) -> Option<String> {
        let answer = Request::new("HEAD", "/v2/app/manifests/v1").send(self.production.address());
        let answer = answer.unwrap();
        (answer.status == 200).then(|| answer.header("docker-content-digest").unwrap().to_owned())
    }

    /// The hexadecimal digits of the layer's digest.
    fn layer(&self) -> String {
        let root = self.image.manifests().last().unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&root.bytes).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap()[7..].to_owned()
    }

    fn source_fault(&self, pattern: &str, turn: u64, fault: Fault) {
        self.from.add(Rule::new("GET", pattern).unwrap().nth(turn).with(fault));
    }
}

fn assert_whole(bench: &Bench, run: &Output) {
    assert!(run.status.success(), "{}", said(run));
    assert_eq!(bench.tag(), Some(bench.image.digest().to_string()));
}

fn assert_nothing(bench: &Bench, run: &Output, expected: &str) {
    assert!(!run.status.success(), "{}", said(run));
    assert!(said(run).contains(expected), "expected {expected:?} in\n{}", said(run));
    assert_eq!(bench.tag(), None);
}

#[test]
fn a_connection_reset_half_way_through_a_blob_is_survived() {
    for percent in [0, 50, 99] {
        let bench = Bench::new();
        bench.source_fault(
            BLOB,
            1,
            Fault::Break(Side::Response, Point::Percent(percent), How::Reset),
        );
        bench.source_fault(
            BLOB,
            2,
            Fault::Break(Side::Response, Point::Percent(percent), How::Close),
        );
        assert_whole(&bench, &bench.copy(&[]));
    }
}

#[test]
fn an_upload_that_breaks_is_begun_anew() {
    for fault in [
        Fault::Break(Side::Request, Point::Percent(50), How::Reset),
        Fault::LoseAnswer,
        Fault::Answer(Reply::error(503, "UNAVAILABLE", "later")),
        Fault::AnswerEarly(Reply::error(500, "UNKNOWN", "no")),
    ] {
        let bench = Bench::new();
        let shown = format!("{fault:?}");
        // the layer's upload: a short body is sent whole before any answer can come early
        let pattern = format!("/blobs/uploads/.*{}", bench.layer());
        bench.to.add(Rule::new("PUT", &pattern).unwrap().nth(1).with(fault));
        let start = Instant::now();
        assert_whole(&bench, &bench.copy(&[]));
        assert!(bench.to.log().iter().any(|seen| seen.faulty), "{shown} was not met");
        assert!(start.elapsed() < Duration::from_secs(20), "{shown} took {:?}", start.elapsed());
    }
}

#[test]
fn bytes_that_are_not_what_was_promised_reach_no_tag() {
    for (fault, expected) in [
        (Fault::Break(Side::Response, Point::Percent(50), How::Flip), "Digest did not match"),
        (Fault::Shorten(5), "size does not match"),
        (Fault::Lengthen(b"more".to_vec()), "size does not match"),
    ] {
        let bench = Bench::new();
        bench.from.add(Rule::new("GET", BLOB).unwrap().with(fault));
        assert_nothing(&bench, &bench.copy(&[]), expected);
    }
}

#[test]
fn answers_that_are_no_answers_reach_no_tag() {
    for (method, pattern, reply, expected) in [
        ("GET", "/manifests/v1", Reply::html(200), "manifest"),
        ("GET", "/manifests/v1", Reply::html(502), "502"),
        ("GET", BLOB, Reply::html(200), "size does not match"),
    ] {
        let bench = Bench::new();
        bench.from.add(Rule::new(method, pattern).unwrap().with(Fault::Answer(reply)));
        assert_nothing(&bench, &bench.copy(&["--retry-times=0"]), expected);
    }
    for (method, pattern) in [("PUT", "/manifests/sha256:"), ("HEAD", BLOB), ("PUT", "/blobs/")] {
        let bench = Bench::new();
        let refusal = Fault::Answer(Reply::error(403, "DENIED", "requested access is denied"));
        bench.to.add(Rule::new(method, pattern).unwrap().with(refusal));
        assert_nothing(&bench, &bench.copy(&[]), "destination docker:");
    }
}

#[test]
fn what_was_judged_is_copied_although_the_source_changes_its_mind() {
    let bench = Bench::new();
    let other = Fixture::tiny().unwrap();
    let bytes = other.manifests().last().unwrap().bytes.clone();
    let swap = Reply::new(200)
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(bytes);
    let rule = Rule::new("GET", "/manifests/").unwrap();
    bench.from.add(rule.nth(2).with(Fault::Answer(swap)));
    assert_whole(&bench, &bench.copy(&["--all"]));
    assert_eq!(bench.from.requests("GET", "/manifests/"), 1, "no manifest is read twice");
}

#[test]
fn nothing_is_sent_when_everything_is_there() {
    let bench = Bench::new();
    assert_whole(&bench, &bench.copy(&[]));
    bench.to.clear_log();
    assert_whole(&bench, &bench.copy(&[]));
    let asked = bench.to.log();
    let only_asks =
        |method: &str, path: &str| method == "HEAD" || (method, path) == ("GET", "/v2/");
    assert!(asked.iter().all(|seen| only_asks(&seen.method, &seen.path)), "{asked:?}");
}

#[test]
fn a_bare_yes_does_not_count_as_a_manifest() {
    let bench = Bench::new();
    // It says yes to every question, and not to what.
    let yes = Fault::Answer(Reply::new(200));
    bench.to.add(Rule::new("HEAD", "/manifests/").unwrap().with(yes));
    assert_whole(&bench, &bench.copy(&[]));
    assert_eq!(bench.to.requests("PUT", "/manifests/sha256:"), 1, "it was not there");
}

#[test]
fn a_referrer_whose_listing_failed_is_listed_by_the_next_run() {
    let bench = Bench::new();
    let subject = bench.image.manifests().last().unwrap();
    let payload = Blob::new(MediaType::new("text/plain"), "evidence");
    let artifact = Fixture::artifact("test/evidence", payload, Some(subject));
    artifact.push(bench._staging.address(), "app", Some("v1")).unwrap();
    // A registry without a referrers API, whose fallback tag cannot be written at first.
    simulate::referrers(&bench.to, Referrers::NotFound).unwrap();
    let denied = Fault::Answer(Reply::error(403, "DENIED", "not this tag"));
    bench.to.add(Rule::new("PUT", "/manifests/sha256-").unwrap().with(denied));
    assert_nothing(&bench, &bench.copy(&[]), "not this tag");
    assert_eq!(bench.to.requests("PUT", "/manifests/sha256:"), 1, "the manifest itself arrived");
    bench.to.clear_rules();
    simulate::referrers(&bench.to, Referrers::NotFound).unwrap();
    let run = bench.copy(&[]);
    assert!(run.status.success(), "{}", said(&run));
    let list = format!("/v2/app/manifests/sha256-{}", &subject.digest.to_string()[7..]);
    let list = Request::new("GET", &list).send(bench.production.address()).unwrap();
    let listed = String::from_utf8_lossy(&list.body).into_owned();
    assert!(list.status == 200 && listed.contains(&artifact.digest().to_string()), "{listed}");
}

/// Encrypts a layer of `mebibytes` into an OCI layout, alters a byte in its last kilobyte under a digest that fits,
/// and pushes it to the source.
fn push_altered_ciphertext(bench: &Bench, mebibytes: u64, folder: &Path) {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/crypt/keys");
    let layer = Layer::incompressible(folder, 9, mebibytes).unwrap();
    let image = Fixture::image("amd64", &[layer]);
    image.write_layout(&folder.join("plain"), Some("v1")).unwrap();
    let plain = format!("oci:{}:v1", folder.join("plain").display());
    let encrypted = folder.join("enc");
    let recipient = format!("jwe:{}", keys.join("rsa-a.pub.pem").display());
    let dir = format!("dir:{}", encrypted.display());
    let made = try_securecp(&["copy", "--encryption-key", &recipient, &plain, &dir]);
    assert!(made.status.success(), "{}", said(&made));
    let file = encrypted.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let old = manifest["layers"][0]["digest"].as_str().unwrap()[7..].to_owned();
    let mut bytes = std::fs::read(encrypted.join(&old)).unwrap();
    let near_end = bytes.len() - 500;
    bytes[near_end] ^= 1;
    let digest = support::sha256(&bytes);
    std::fs::write(encrypted.join(&digest[7..]), &bytes).unwrap();
    manifest["layers"][0]["digest"] = digest.into();
    std::fs::write(&file, manifest.to_string()).unwrap();
    let to = format!("docker://{}/enc:v1", bench.from.address());
    let pushed = try_securecp(&["copy", "--dest-tls-verify=false", &dir, &to]);
    assert!(pushed.status.success(), "{}", said(&pushed));
}

fn altered_ciphertext_releases_nothing(mebibytes: u64) {
    let bench = Bench::new();
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    push_altered_ciphertext(&bench, mebibytes, folder.path());
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/crypt/keys/rsa-a.pem");
    let from = format!("docker://{}/enc:v1", bench.from.address());
    let to = format!("docker://{}/app:v1", bench.to.address());
    let run = command()
        .args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--decryption-key"])
        .arg(key)
        .args([from, to])
        .output()
        .unwrap();
    assert_nothing(&bench, &run, "HMAC");
    let sent: u64 = bench.to.log().iter().map(|seen| seen.request_bytes).sum();
    assert!(sent < 4096, "{sent} bytes went to the destination; only the configuration may");
}

#[test]
fn not_one_byte_of_plaintext_is_released_before_the_mac_was_checked() {
    altered_ciphertext_releases_nothing(20);
}

/// The same with a layer of one gibibyte: `cargo test --release --test faults -- --ignored`.
#[test]
#[ignore = "moves several gibibytes"]
fn not_one_byte_of_a_gibibyte_is_released_before_the_mac_was_checked() {
    altered_ciphertext_releases_nothing(1024);
}
