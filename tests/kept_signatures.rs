//! Signatures that a registry keeps itself (`X-Registry-Supports-Signatures`), with GnuPG and Debian's skopeo.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::gnupg::{GnuPg, configure};
use cli::{Place, Run, image, listing};
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule};
use securecp_testkit::{KeptSignatures, Registry};

const ALICE: &str = "Alice <alice@release.example>";

/// A registry that keeps signatures, and an image whose signatures must be Alice's.
struct Bench {
    place: Place,
    gnupg: GnuPg,
    digest: String,
    kept: KeptSignatures,
    proxy: Proxy,
    _registry: Registry,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::start().unwrap();
        let proxy = Proxy::start(registry.address()).unwrap();
        let kept = KeptSignatures::behind(&proxy).unwrap();
        let (place, gnupg) = (Place::new(), GnuPg::with_keys(&[(ALICE, "")]));
        let digest = image::single(&place.path("image"));
        configure(&place);
        gnupg.export("alice", &place, "key.asc");
        Self { place, gnupg, digest, kept, proxy, _registry: registry }
    }

    fn image(&self, repository: &str) -> String {
        format!("docker://{}/{repository}:v1", self.proxy.address())
    }

    fn run(&self, line: &str) -> Run {
        let options = "--policy signed.json --registries.d registries.d";
        self.gnupg.run(&self.place, &format!("{options} {line}"))
    }

    fn ok(&self, line: &str) {
        let run = self.run(line);
        assert_eq!(run.code, 0, "{line}\n{run:?}");
    }

    fn sign(&self, to: &str) {
        self.ok(&format!(
            "copy -q --dest-tls-verify=false --sign-by alice@release.example oci:image:v1 {to}"
        ));
    }

    fn verify(&self, image: &str) -> Run {
        self.run(&format!("verify --tls-verify=false {image}"))
    }

    fn skopeo(&self, line: &str) {
        let line = format!("--registries.d registries.d {line}");
        let output = self.gnupg.skopeo(&self.place, &line);
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    fn count(&self) -> usize {
        self.kept.of(&self.digest).len()
    }
}

#[test]
fn the_registry_keeps_what_is_signed_and_both_read_it() {
    let bench = Bench::new();
    let (ours, theirs) = (bench.image("our/app"), bench.image("their/app"));
    bench.sign(&ours);
    assert_eq!(bench.count(), 1);
    assert!(!bench.place.exists("lookaside") || listing(&bench.place.path("lookaside")).is_empty());
    assert_eq!(bench.verify(&ours).code, 0);
    bench.skopeo(&format!(
        "--policy signed.json copy -q --src-tls-verify=false {ours} dir:to-skopeo"
    ));
    assert!(bench.place.exists("to-skopeo/signature-1"));
    bench.skopeo(&format!(
        "--insecure-policy copy -q --dest-tls-verify=false --sign-by alice@release.example oci:image:v1 {theirs}"
    ));
    assert_eq!(bench.verify(&theirs).code, 0);
    // They travel where the digest is kept, and none is sent a second time.
    let copy = format!(
        "copy -q --src-tls-verify=false --dest-tls-verify=false {ours} {}",
        bench.image("copy/app")
    );
    let before = bench.count();
    bench.ok(&copy);
    assert_eq!(bench.count(), before + 1);
    bench.ok(&copy);
    assert_eq!(bench.count(), before + 1);
    bench.kept.clear();
    let run = bench.verify(&ours);
    assert!(run.code == 3 && run.out.contains("no signature exists"), "{run:?}");
}

#[test]
fn only_a_list_without_signatures_means_that_there_are_none() {
    for (reply, says) in [
        (Reply::error(404, "NAME_UNKNOWN", "no such image"), "no such image"),
        (Reply::error(403, "DENIED", "no"), "denied"),
        (Reply::error(500, "UNKNOWN", "broken"), "broken"),
        (Reply::html(200), "reading signatures"),
        (Reply::new(200).body(r#"{"signatures":{}}"#), "expected a list of signatures"),
        (
            Reply::new(200)
                .body(r#"{"signatures":[{"schemaVersion":2,"type":"atomic","content":"!"}]}"#),
            "a signature is not base64",
        ),
    ] {
        let bench = Bench::new();
        let image = bench.image("app");
        bench.sign(&image);
        let broken = Rule::new("GET", "^/extensions/").unwrap().with(Fault::Answer(reply));
        bench.proxy.add(broken);
        let run = bench.verify(&image);
        let said = format!("{}{}", run.out, run.err);
        assert_eq!(run.code, 3, "{said}");
        assert!(said.contains("could not be fetched"), "{said}");
        assert!(!said.contains("no signature exists"), "{said}");
        assert!(said.to_lowercase().contains(says), "{says}: {said}");
    }
}

#[test]
fn a_front_door_that_does_not_answer_settles_nothing() {
    let bench = Bench::new();
    let image = bench.image("app");
    bench.sign(&image);
    // The first ping finds the way; what it says of signatures is lost.
    let broken = Fault::Answer(Reply::error(503, "UNAVAILABLE", "later"));
    bench.proxy.add(Rule::new("GET", "^/v2/$").unwrap().with(broken));
    let run = bench.run(&format!("verify --retry-times 0 --tls-verify=false {image}"));
    assert!(run.code == 3 && run.out.contains("could not be fetched"), "{run:?}");
}

#[test]
fn a_registry_that_does_not_take_the_signature_gets_no_tag() {
    let bench = Bench::new();
    let image = bench.image("app");
    let denied = Fault::Answer(Reply::error(403, "DENIED", "no"));
    bench.proxy.add(Rule::new("PUT", "^/extensions/").unwrap().with(denied));
    let run = bench.run(&format!(
        "copy -q --dest-tls-verify=false --sign-by alice@release.example oci:image:v1 {image}"
    ));
    assert!(run.code == 1 && run.err.contains("writing signatures"), "{run:?}");
    assert_eq!(bench.proxy.requests("PUT", "/manifests/v1"), 0);
    // One that takes it and forgets it is found out too.
    let forgets = Fault::Answer(Reply::new(201));
    bench.proxy.clear_rules();
    let kept = KeptSignatures::behind(&bench.proxy).unwrap();
    bench.proxy.add(Rule::new("PUT", "^/extensions/").unwrap().with(forgets));
    let run = bench.run(&format!(
        "copy -q --dest-tls-verify=false --sign-by alice@release.example oci:image:v1 {image}"
    ));
    assert!(run.code == 1 && run.err.contains("that was just stored"), "{run:?}");
    assert_eq!(bench.proxy.requests("PUT", "/manifests/v1"), 0);
    drop(kept);
}
