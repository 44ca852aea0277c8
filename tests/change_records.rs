//! `--on-orphaned record` and `verify --follow-record`: a changed image is judged by what it was made from, and by nothing
//! else that says so.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use cli::gnupg::{GnuPg, configure};
use cli::{Place, Run, image};
use securecp_oci::{Declared, RawManifest, base64};
use securecp_testkit::auth::{AuthServer, AuthSettings, User};
use securecp_testkit::proxy::Proxy;
use securecp_testkit::{DockerRegistry, Fixture, Registry};
use securecp_trust::BundleArtifact;
use serde_json::{Value, json};

const RECORD: &str = "urn:securecp:change-record:v1";
const CHANGE: &str = "--remove-signatures --on-orphaned record --dest-compress-format zstd";

/// `release` signs images, `mover` records changes, and nobody knows `stranger`.
struct Bench {
    place: Place,
}

/// What stands in a layout beside an image.
struct Stored {
    layout: PathBuf,
    /// The bundle that is a record.
    bundle: Value,
}

impl Bench {
    /// An image that `release` has signed, in the layout `staging`.
    fn new() -> Self {
        Self::of(&Fixture::tiny().unwrap())
    }

    fn of(image: &Fixture) -> Self {
        let place = Place::new();
        place.write("pass", "a passphrase\n");
        for key in ["release", "mover", "stranger"] {
            place
                .ok(&format!("generate-sigstore-key --output-prefix {key} --passphrase-file pass"));
        }
        place.write("trust.yaml", trust("release"));
        image.write_layout(&place.path("image"), Some("v1")).unwrap();
        let bench = Self { place };
        bench.ok("release", "", "oci:image:v1", "oci:staging:v1");
        bench
    }

    fn copy(&self, key: &str, options: &str, from: &str, to: &str) -> Run {
        let http = |name: &str, option: &str| match name.starts_with("docker:") {
            true => format!("--{option}-tls-verify=false"),
            false => String::new(),
        };
        let (src, dest) = (http(from, "src"), http(to, "dest"));
        self.place.run(&format!(
            "--policy accept.json copy -q --all --json --sign-by-sigstore-private-key {key}.private \
             --sign-passphrase-file pass --sign-format bundle --dangerous-sign-without-log \
             {src} {dest} {options} {from} {to}"
        ))
    }

    fn ok(&self, key: &str, options: &str, from: &str, to: &str) -> Value {
        let run = self.copy(key, options, from, to);
        assert_eq!(run.code, 0, "{from} to {to}: {run:?}");
        serde_json::from_str(&run.out).unwrap()
    }

    fn verify(&self, options: &str, image: &str) -> Run {
        let tls = if image.starts_with("docker:") { "--tls-verify=false" } else { "" };
        self.place
            .run(&format!("--policy accept.json verify --trust trust.yaml {tls} {options} {image}"))
    }

    /// Recompresses `staging` into the layout `prod`, recorded by `key`, and takes the record out again.
    fn recorded(&self, key: &str) -> Stored {
        let receipt = self.ok(key, CHANGE, "oci:staging:v1", "oci:prod:v1");
        let layout = self.place.path("prod");
        let read = |digest: &Value| -> Value {
            let bytes = std::fs::read(image::blob(&layout, digest.as_str().unwrap())).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        let artifact = read(&receipt["changed"][0]["records"][0]);
        assert_eq!(artifact["annotations"]["dev.sigstore.bundle.predicateType"], RECORD);
        let bundle = read(&artifact["layers"][0]["digest"]);
        let stored = Stored { layout, bundle };
        stored.forget();
        stored
    }

    fn refused(&self, expected: &str) {
        let run = self.verify("--follow-record", "oci:prod:v1");
        assert_eq!(run.code, 3, "{expected}: {run:?}");
        assert!(run.out.contains(expected), "{expected}: {}", run.out);
    }
}

impl Stored {
    fn index(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.layout.join("index.json")).unwrap()).unwrap()
    }

    fn write(&self, index: &Value) {
        std::fs::write(self.layout.join("index.json"), index.to_string()).unwrap();
    }

    /// Leaves nothing beside the image.
    fn forget(&self) {
        let mut index = self.index();
        index["manifests"]
            .as_array_mut()
            .unwrap()
            .retain(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == "v1");
        self.write(&index);
    }

    fn image(&self) -> RawManifest {
        let digest = self.index()["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(image::blob(&self.layout, &digest)).unwrap();
        RawManifest::read(Bytes::from(bytes), Declared::default()).unwrap()
    }

    /// Puts a bundle beside the image, as a plain entry.
    fn attach(&self, bundle: &Value) {
        let bundle = Bytes::from(bundle.to_string());
        let artifact =
            BundleArtifact::record(&self.image(), bundle, SystemTime::UNIX_EPOCH).unwrap();
        for (descriptor, bytes) in &artifact.blobs {
            image::keep(&self.layout, descriptor.media_type.as_str(), bytes);
        }
        let mut entry = image::keep(&self.layout, image::MANIFEST, artifact.manifest.bytes());
        entry["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
        let mut index = self.index();
        index["manifests"].as_array_mut().unwrap().push(entry);
        self.write(&index);
    }

    fn statement(&self) -> Value {
        let payload = self.bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        serde_json::from_slice(&base64::decode(payload).unwrap()).unwrap()
    }

    /// The bundle with another statement and the old signature.
    fn with(&self, change: impl FnOnce(&mut Value)) -> Value {
        let (mut statement, mut bundle) = (self.statement(), self.bundle.clone());
        change(&mut statement);
        bundle["dsseEnvelope"]["payload"] = json!(base64::encode(statement.to_string().as_bytes()));
        bundle
    }
}

fn trust(required: &str) -> String {
    format!(
        "version: 1\nsigners:\n  release: {{key: release.pub, dangerous-no-log: true}}\n  \
         mover: {{key: mover.pub, dangerous-no-log: true}}\nrecorders: [mover]\n\
         default: {{accept: bundle, require: {required}}}\n"
    )
}

fn name(registry: std::net::SocketAddr, image: &str) -> String {
    format!("docker://{registry}/{image}")
}

/// Under `--evidence verified` a record travels if a recorder made it; to sign images is another right.
#[test]
fn a_recorder_s_record_is_verified_evidence_and_its_signature_is_not() {
    let bench = Bench::new();
    bench.ok("mover", CHANGE, "oci:staging:v1", "oci:prod:v1");
    bench.ok("release", "", "oci:prod:v1", "oci:signed:v1");
    let run = bench.place.run(
        "--policy accept.json copy -q --all --json --evidence verified --trust trust.yaml oci:signed:v1 oci:end:v1",
    );
    assert_eq!(run.code, 0, "{run:?}");
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    let evidence = &receipt["evidence"];
    assert_eq!(
        (&evidence["carried"], &evidence["skipped"]),
        (&json!(2), &json!(1)),
        "{evidence:#}"
    );
    assert_eq!(evidence["skippedPieces"][0]["type"], "sigstore signature");
    let kinds: Vec<_> =
        evidence["rows"].as_array().unwrap().iter().map(|row| &row["type"]).collect();
    assert!(kinds.contains(&&json!("change record")), "{evidence:#}");
}

/// From a registry with the referrers API into registries with it and without, and into a layout.
#[test]
fn a_changed_image_is_judged_by_its_source() {
    let bench = Bench::new();
    let (staging, with) = (Registry::start().unwrap(), Registry::start().unwrap());
    let without = DockerRegistry::start().unwrap();
    let source = name(staging.address(), "app:v1");
    bench.ok("release", "", "oci:image:v1", &source);
    let places =
        [name(with.address(), "prod:v1"), name(without.address(), "prod:v1"), "oci:prod:v1".into()];
    for to in &places {
        let receipt = bench.ok("mover", &format!("--trust trust.yaml {CHANGE}"), &source, to);
        let changed = &receipt["changed"][0];
        assert_eq!(changed["records"].as_array().unwrap().len(), 1, "{receipt}");
        let run = bench.verify("", to);
        assert_eq!(run.code, 3, "it is not signed by release: {run:?}");
        let follow = "--follow-record --src-tls-verify=false";
        let run = bench.verify(follow, to);
        assert_eq!(run.code, 0, "{run:?}");
        let digest = changed["sourceDigest"].as_str().unwrap();
        for said in [
            "trust file: refused".to_owned(),
            "with its change records: accepted\n".to_owned(),
            format!("made from {digest} of {source} (layer 0 recompressed to zstd"),
            format!(
                "      docker://{}@{digest}: accepted",
                &source["docker://".len()..source.len() - 3]
            ),
        ] {
            assert!(
                run.out.replace("    docker", "docker").contains(said.trim()),
                "{said}: {}",
                run.out
            );
        }
        let run = bench.verify(&format!("--json {follow}"), to);
        let json: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!((&json["accepted"], &json["acceptedItself"]), (&json!(true), &json!(false)));
        assert_eq!(json["records"][0]["source"]["digest"], digest);
        assert_eq!(json["records"][0]["source"]["verdict"]["accepted"], true);
        let record = &json["records"][0]["found"][0]["record"];
        assert_eq!(record["source"]["image"], source);
        assert_eq!(record["leftBehind"][0]["kind"], "sigstore signature", "{record}");
        assert_eq!(record["verdict"]["trustSigners"], json!(["release"]));
    }
}

/// The same key says the same only once; somebody else may say it too.
#[test]
fn what_was_recorded_is_not_recorded_again() {
    let bench = Bench::new();
    let registry = DockerRegistry::start().unwrap();
    for to in [name(registry.address(), "prod:v1"), "oci:prod:v1".to_owned()] {
        let records = |key: &str| {
            let receipt = bench.ok(key, CHANGE, "oci:staging:v1", &to);
            receipt["changed"][0]["records"].as_array().unwrap().len()
        };
        let counts = ["mover", "mover", "stranger", "mover"].map(records);
        assert_eq!(counts, [1, 0, 1, 0], "{to}");
        let run = bench.verify("--follow-record", &to);
        assert_eq!(run.code, 0, "{run:?}");
        let shown =
            ["  record 1: ", "  record 2: ", "  record 3: "].map(|text| run.out.contains(text));
        assert_eq!(shown, [true, true, false], "{}", run.out);
    }
}

#[test]
fn the_record_is_read_back_before_the_name_moves() {
    let bench = Bench::new();
    let registry = Registry::start().unwrap();
    let proxy = Proxy::start(registry.address()).unwrap();
    let receipt = bench.ok("mover", CHANGE, "oci:staging:v1", &name(proxy.address(), "prod:v1"));
    let record = receipt["changed"][0]["records"][0].as_str().unwrap();
    let log = proxy.log();
    let at = |method: &str, path: &str| log.iter().rposition(|seen| seen.is(method, path));
    let put = at("PUT", &format!("/manifests/{record}")).unwrap();
    let named = at("PUT", "/manifests/v1").unwrap();
    let read = log[put..named].iter().any(|seen| seen.is("GET", "/referrers/"));
    assert!(put < named && read, "{log:?}");
}

/// A record that cannot be stored leaves no name behind.
#[test]
fn without_its_record_nothing_gets_a_name() {
    use securecp_testkit::proxy::{Fault, Reply, Rule};
    let bench = Bench::new();
    let registry = DockerRegistry::start().unwrap();
    let proxy = Proxy::start(registry.address()).unwrap();
    let reply = Fault::Answer(Reply::error(403, "DENIED", "no"));
    proxy.add(Rule::new("PUT", "/manifests/sha256-").unwrap().with(reply));
    let to = name(proxy.address(), "prod:v1");
    let run = bench.copy("mover", CHANGE, "oci:staging:v1", &to);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(proxy.requests("PUT", "/manifests/v1"), 0);
}

#[test]
fn each_record_that_does_not_count_says_why() {
    let bench = Bench::new();
    let stored = bench.recorded("mover");
    bench.refused("no change record\n");
    stored.attach(&stored.bundle);
    let run = bench.verify("--follow-record", "oci:prod:v1");
    assert_eq!(run.code, 0, "what was taken out counts again when it is back: {run:?}");

    let altered = stored.with(|statement| {
        statement["predicate"]["source"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    });
    let other = stored.with(|statement| {
        statement["subject"][0]["digest"]["sha256"] = json!("0".repeat(64));
    });
    let mut unsigned = stored.bundle.clone();
    unsigned["dsseEnvelope"]["signatures"] = json!([]);
    for (bundle, expected) in [
        (altered, "record 1: untrusted: signature of the bundle does not verify"),
        (other, "record 1: untrusted: signature of the bundle does not verify"),
        (unsigned, "record 1: untrusted: not signed: anybody may have written it"),
    ] {
        stored.forget();
        stored.attach(&bundle);
        bench.refused(expected);
        bench.refused("no change record that counts");
    }
}

/// Whoever can write to a registry can write a record. An unsigned one is shown, and never changes a verdict.
#[test]
fn an_unsigned_record_changes_no_verdict() {
    let bench = Bench::new();
    let stored = bench.recorded("mover");
    let statement = stored.statement().to_string();
    let layer = image::keep(&stored.layout, "application/vnd.in-toto+json", statement.as_bytes());
    let config = image::keep(&stored.layout, "application/vnd.oci.empty.v1+json", b"{}");
    let subject = stored.image().descriptor();
    let artifact = json!({
        "schemaVersion": 2, "mediaType": image::MANIFEST, "config": config, "layers": [layer],
        "artifactType": "application/vnd.in-toto+json",
        "subject": {"mediaType": subject.media_type.as_str(), "digest": subject.digest.to_string(), "size": subject.size},
    });
    let mut entry = image::keep(&stored.layout, image::MANIFEST, artifact.to_string().as_bytes());
    entry["artifactType"] = json!("application/vnd.in-toto+json");
    let mut index = stored.index();
    index["manifests"].as_array_mut().unwrap().push(entry);
    stored.write(&index);
    bench.refused("record 1: untrusted: not signed: anybody may have written it");
    // Nor does it take anything away from an image that is accepted.
    bench.place.write(
        "trust.yaml",
        trust("release").replace("{accept: bundle, require: release}", "policy-only"),
    );
    let run = bench.verify("--follow-record", "oci:prod:v1");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("record 1: untrusted: not signed"), "{}", run.out);
}

#[test]
fn a_record_by_somebody_else_does_not_count() {
    let bench = Bench::new();
    let stored = bench.recorded("stranger");
    stored.attach(&stored.bundle);
    bench.refused("record 1: untrusted: ");
    bench.refused("no change record that counts");
    // One who signs images is no recorder for that.
    let stored = bench.recorded("release");
    stored.attach(&stored.bundle);
    bench.refused("no change record that counts");
}

/// A good record beside another image is about something else (replay).
#[test]
fn a_record_does_not_move_to_another_image() {
    let bench = Bench::new();
    let stored = bench.recorded("mover");
    let other = Fixture::two_platforms().unwrap();
    other.write_layout(&bench.place.path("other"), Some("v1")).unwrap();
    bench.place.ok("copy -q --override-arch arm64 oci:other:v1 oci:victim:v1");
    let victim = Stored { layout: bench.place.path("victim"), bundle: stored.bundle.clone() };
    victim.attach(&stored.bundle);
    let run = bench.verify("--follow-record", "oci:victim:v1");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.out.contains("record 1: untrusted: bundle is about another artifact"),
        "{}",
        run.out
    );
}

#[test]
fn a_source_that_is_refused_refuses() {
    let bench = Bench::new();
    bench.ok("mover", CHANGE, "oci:image:v1", "oci:prod:v1");
    bench.refused("its source sha256:");
    let run = bench.verify("--follow-record", "oci:prod:v1");
    assert!(
        run.err.contains("was made from sha256:") && run.err.contains("Source image rejected"),
        "{run:?}"
    );
    // Also where the image itself would do.
    bench.place.write("trust.yaml", trust("mover"));
    let run = bench.verify("", "oci:prod:v1");
    assert_eq!(run.code, 0, "{run:?}");
    bench.refused("its source sha256:");
}

/// What cannot be read is an error, never "no record".
#[test]
fn a_source_that_cannot_be_read_is_an_error() {
    let bench = Bench::new();
    let staging = Registry::start().unwrap();
    let source = name(staging.address(), "app:v1");
    bench.ok("release", "", "oci:image:v1", &source);
    let receipt = bench.ok("mover", CHANGE, &source, "oci:prod:v1");
    let follow = "--follow-record --src-tls-verify=false";
    assert_eq!(bench.verify(follow, "oci:prod:v1").code, 0);
    // The tag may go elsewhere: the digest counts.
    bench.place.ok("copy -q --dest-compress-format zstd oci:image:v1 oci:else:v1");
    bench.ok("stranger", "", "oci:else:v1", &source);
    assert_eq!(bench.verify(follow, "oci:prod:v1").code, 0);
    let digest = receipt["changed"][0]["sourceDigest"].as_str().unwrap();
    bench
        .place
        .ok(&format!("delete --tls-verify=false {}@{digest}", source.trim_end_matches(":v1")));
    let run = bench.verify(follow, "oci:prod:v1");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(run.err.contains("following the change record of sha256:"), "{run:?}");
    drop(staging);
    let run = bench.verify(follow, "oci:prod:v1");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
}

/// What policy.json asks for is had from the source as well: here OpenPGP signatures in a lookaside store.
#[test]
fn signatures_that_the_policy_asks_for_are_found_at_the_source() {
    const ALICE: &str = "Alice <alice@release.example>";
    let (bench, gnupg) = (Bench::new(), GnuPg::with_keys(&[(ALICE, "")]));
    gnupg.export("alice", &bench.place, "key.asc");
    configure(&bench.place);
    bench.place.write(
        "trust.yaml",
        trust("release").replace("{accept: bundle, require: release}", "policy-only"),
    );
    let (staging, prod) = (Registry::start().unwrap(), Registry::start().unwrap());
    let (source, to) = (name(staging.address(), "app:v1"), name(prod.address(), "app:v1"));
    let run = |line: &str| {
        gnupg.run(&bench.place, &format!("--policy signed.json --registries.d registries.d {line}"))
    };
    let copied = run(&format!(
        "copy -q --dest-tls-verify=false --sign-by alice@release.example oci:image:v1 {source}"
    ));
    assert_eq!(copied.code, 0, "{copied:?}");
    let change = format!(
        "copy -q --src-tls-verify=false --dest-tls-verify=false --sign-by-sigstore-private-key mover.private \
         --sign-passphrase-file pass --sign-format bundle --dangerous-sign-without-log \
         --dest-compress-format zstd {source} {to}"
    );
    let refused = run(&format!("{change} --on-orphaned record"));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("hint: --remove-signatures copies the image without them"));
    let copied = run(&format!("{change} --on-orphaned record --remove-signatures"));
    assert_eq!(copied.code, 0, "{copied:?}");
    let verify = format!("verify --json --trust trust.yaml --tls-verify=false {to}");
    assert_eq!(run(&verify).code, 3);
    let followed = run(&format!("{verify} --follow-record --src-tls-verify=false"));
    assert_eq!(followed.code, 0, "{followed:?}");
    let verdict: Value = serde_json::from_str(&followed.out).unwrap();
    let record = &verdict["records"][0]["found"][0]["record"];
    let alice = gnupg.fingerprint("alice");
    let met = json!([{"type": "signedBy", "signers": [alice]}]);
    assert_eq!(record["verdict"]["requirements"], met);
    assert_eq!(record["leftBehind"][0]["kind"], "simple-signing signature");
    // The signature is gone: so is what the record stood for.
    std::fs::remove_dir_all(bench.place.path("lookaside")).unwrap();
    let followed = run(&format!("{verify} --follow-record --src-tls-verify=false"));
    assert_eq!(followed.code, 3, "{followed:?}");
}

/// Credentials for the image are not for wherever a record points.
#[test]
fn credentials_for_the_image_stay_with_the_image() {
    let bench = Bench::new();
    let (staging, prod) = (Registry::start().unwrap(), Registry::start().unwrap());
    let guard = |registry: &Registry, name: &str| {
        let user = User::new(name, "secret-word").may("pull,push", "app");
        AuthServer::start(registry.address(), AuthSettings::basic(vec![user])).unwrap()
    };
    let (from, to) = (guard(&staging, "stager"), guard(&prod, "keeper"));
    let (source, image) = (name(from.address(), "app:v1"), name(to.address(), "app:v1"));
    bench.ok("release", "--dest-creds stager:secret-word", "oci:image:v1", &source);
    let both = "--src-creds stager:secret-word --dest-creds keeper:secret-word";
    bench.ok("mover", &format!("{both} {CHANGE}"), &source, &image);
    from.proxy().clear_log();
    let follow = "--creds keeper:secret-word --follow-record --src-tls-verify=false";
    let run = bench.verify(follow, &image);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("hint: no credentials were sent; --src-creds"), "{run:?}");
    let log = from.proxy().log();
    assert!(!log.is_empty() && log.iter().all(|seen| seen.header("authorization").is_none()));
    let run = bench.verify(&format!("{follow} --src-creds stager:secret-word"), &image);
    assert_eq!(run.code, 0, "{run:?}");
}

/// An image that keeps its digest keeps its signature; only the index needs a record.
#[test]
fn an_index_of_fewer_platforms_is_recorded_alone() {
    let bench = Bench::of(&Fixture::two_platforms().unwrap());
    let key = "--sign-by-sigstore-private-key mover.private --sign-passphrase-file pass \
               --sign-format bundle --dangerous-sign-without-log";
    let run = bench.place.ok(&format!(
        "copy -q --json --platform linux/arm64 --index rewrite {key} --remove-signatures \
         --on-orphaned record oci:staging:v1 oci:part:v1"
    ));
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(receipt["changed"].as_array().unwrap().len(), 1, "{receipt}");
    let run = bench.verify("--follow-record --all --index-signature require --json", "oci:part:v1");
    let verdict: Value = serde_json::from_str(&run.out).unwrap();
    let records = verdict["records"].as_array().unwrap();
    let recorded = records.iter().find(|one| !one["found"].as_array().unwrap().is_empty()).unwrap();
    let changes = &recorded["found"][0]["record"]["changes"];
    assert_eq!(changes, &json!([{"change": "subset", "removed": 1, "of": 2}]), "{verdict}");
    assert_eq!(recorded["accepted"], true);
}

/// More bundles than any image has: what was not read is not nothing.
#[test]
fn records_that_are_too_many_are_a_refusal() {
    let bench = Bench::new();
    let stored = bench.recorded("mover");
    stored.attach(&stored.bundle);
    assert_eq!(bench.verify("--follow-record", "oci:prod:v1").code, 0);
    for number in 0..128 {
        stored.attach(&json!({"number": number}));
    }
    // The image itself would do.
    bench.place.write(
        "trust.yaml",
        trust("release").replace("{accept: bundle, require: release}", "policy-only"),
    );
    bench.refused("change records could not be fetched: 129 are listed, the limit is 128");
}

#[test]
fn a_source_that_was_altered_is_an_error() {
    let bench = Bench::new();
    let receipt = bench.ok("mover", CHANGE, "oci:staging:v1", "oci:prod:v1");
    assert_eq!(bench.verify("--follow-record", "oci:prod:v1").code, 0);
    let digest = receipt["changed"][0]["sourceDigest"].as_str().unwrap();
    let path = image::blob(&bench.place.path("staging"), digest);
    let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    std::fs::write(&path, text.replacen("layers", "sreyal", 1)).unwrap();
    let run = bench.verify("--follow-record", "oci:prod:v1");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    // Other kinds of places are not followed to.
    bench.place.ok("copy -q oci:image:v1 dir:plain");
    bench.ok("mover", CHANGE, "dir:plain", "oci:other:v1");
    let run = bench.verify("--follow-record", "oci:other:v1");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("docker: and oci: images, found dir:"), "{run:?}");
}

/// Records stand in for signatures, and for nothing else.
#[test]
fn what_is_rejected_stays_rejected() {
    let bench = Bench::new();
    bench.ok("mover", CHANGE, "oci:staging:v1", "oci:prod:v1");
    let policy = json!({
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"oci": {bench.place.path("prod").to_str().unwrap(): [{"type": "reject"}]}},
    });
    bench.place.write("policy.json", policy.to_string());
    let verify = |policy: &str, file: &str| {
        bench
            .place
            .run(&format!("--policy {policy} verify --trust {file} --follow-record oci:prod:v1"))
    };
    let run = verify("policy.json", "trust.yaml");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.out.contains("refused for more than missing signatures"), "{}", run.out);
    let entry = format!("images:\n  oci:{}: reject\n", bench.place.path("prod").display());
    bench.place.write("reject.yaml", trust("release") + &entry);
    let run = verify("accept.json", "reject.yaml");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.out.contains("refused for more than missing signatures"), "{}", run.out);
    assert_eq!(verify("accept.json", "trust.yaml").code, 0);
}

#[test]
fn every_manifest_of_an_index_gets_its_record() {
    let bench = Bench::of(&Fixture::two_platforms().unwrap());
    let run = bench.copy("mover", &format!("--dry-run {CHANGE}"), "oci:staging:v1", "oci:prod:v1");
    let plan: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(plan["records"].as_array().unwrap().len(), 3, "{plan}");
    let receipt = bench.ok("mover", CHANGE, "oci:staging:v1", "oci:prod:v1");
    let changed = receipt["changed"].as_array().unwrap();
    assert!(changed.iter().all(|one| one["records"].as_array().unwrap().len() == 1), "{receipt}");
    for (mode, all) in [
        ("ignore", ""),
        ("ignore", "--all"),
        ("require", "--all"),
        ("accept", ""),
        ("accept", "--all"),
    ] {
        let options = format!("--follow-record --index-signature {mode} {all}");
        let run = bench.verify(&options, "oci:prod:v1");
        assert_eq!(run.code, 0, "{options}: {run:?}");
        let run = bench.verify(&options.replace("--follow-record", ""), "oci:prod:v1");
        assert_eq!(run.code, 3, "{options}: {run:?}");
    }
}

/// A record of what was made by a record; and images that were made from each other.
#[test]
fn records_are_followed_step_by_step() {
    let bench = Bench::new();
    let step = |from: &str, form: &str, to: &str| {
        let change =
            format!("--remove-signatures --on-orphaned record --dest-compress-format {form}");
        bench.ok("mover", &change, from, to)
    };
    step("oci:staging:v1", "zstd", "oci:a:v1");
    step("oci:a:v1", "gzip", "oci:b:v1");
    let run = bench.verify("--follow-record", "oci:b:v1");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.out.matches("its source:").count(), 2, "{}", run.out);
    // The same bytes as before, made in a circle: the way out is found.
    step("oci:b:v1", "zstd", "oci:a:v1");
    let run = bench.verify("--follow-record", "oci:a:v1");
    assert_eq!(run.code, 0, "{run:?}");
    let run = bench.verify("--follow-record", "oci:b:v1");
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn a_chain_of_records_has_an_end() {
    let bench = Bench::new();
    let mut from = "oci:staging:v1".to_owned();
    for (step, form) in [
        "--dest-compress-level 1",
        "--dest-compress-level 2",
        "--dest-compress-level 3",
        "--dest-compress-level 4",
        "--dest-compress-level 6",
    ]
    .iter()
    .enumerate()
    {
        let to = format!("oci:step{step}:v1");
        let other = if step % 2 == 0 { "zstd" } else { "gzip" };
        let change = format!(
            "--remove-signatures --on-orphaned record --dest-compress-format {other} {form}"
        );
        bench.ok("mover", &change, &from, &to);
        let run = bench.verify("--follow-record", &to);
        let expected = if step < 4 { 0 } else { 1 };
        assert_eq!(run.code, expected, "{step}: {run:?}");
        from = to;
    }
    let run = bench.verify("--follow-record", &from);
    assert!(run.err.contains("for more than 4 sources"), "{run:?}");
}

#[test]
fn encrypting_a_signed_image_records_what_was_done_and_for_whom_only_by_kind() {
    let bench = Bench::new();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/crypt/keys/rsa-a.pub.pem");
    let encrypt = format!("--encryption-key jwe:{key} --encrypt-layer 1");
    let run = bench.copy("mover", &encrypt, "oci:staging:v1", "oci:prod:v1");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("hint: --remove-signatures leaves it behind; --on-orphaned record"),
        "{run:?}"
    );
    assert!(!bench.place.exists("prod"));
    let options = format!("--remove-signatures --on-orphaned record {encrypt}");
    let receipt = bench.ok("mover", &options, "oci:staging:v1", "oci:prod:v1");
    assert_eq!(receipt["changed"][0]["records"].as_array().unwrap().len(), 1);
    let run = bench.verify("--follow-record --json", "oci:prod:v1");
    assert_eq!(run.code, 0, "{run:?}");
    let verdict: Value = serde_json::from_str(&run.out).unwrap();
    let record = &verdict["records"][0]["found"][0]["record"];
    assert_eq!(record["changes"], json!([{"change": "encrypted", "layer": 1}]));
    assert_eq!(record["recipients"], json!([{"kind": "jwe", "count": 1}]));
    let drop = format!("--remove-signatures --on-orphaned drop {encrypt}");
    let receipt = bench.ok("mover", &drop, "oci:staging:v1", "oci:other:v1");
    assert_eq!(receipt["changed"][0]["records"], json!([]));
    assert_eq!(receipt["evidence"]["skipped"], 1, "{receipt}");
}

#[test]
fn records_that_nobody_could_sign_or_follow_are_told_at_once() {
    let bench = Bench::new();
    let usage = |line: &str, expected: &str| {
        let run = bench.place.run(&format!("--policy accept.json {line}"));
        assert_eq!(run.code, 64, "{line}: {run:?}");
        assert!(run.err.contains(expected), "{line}: {run:?}");
    };
    let needs = "--on-orphaned record needs a sigstore key and --sign-format bundle or both";
    let images = "oci:staging:v1 oci:prod:v1";
    let key = "--sign-by-sigstore-private-key mover.private --sign-passphrase-file pass";
    usage(&format!("copy {CHANGE} {images}"), needs);
    usage(&format!("copy {CHANGE} --sign-by nobody {images}"), needs);
    usage(&format!("copy {CHANGE} {key} {images}"), needs);
    let run = bench.copy("mover", CHANGE, "oci:staging:v1", "dir:prod");
    assert!(run.code == 1 && run.err.contains("cannot hold"), "{run:?}");
    assert!(!bench.place.exists("prod"));
    usage("verify --follow-record oci:staging:v1", "--follow-record needs --trust FILE");
    bench.place.write("none.yaml", "version: 1\ndefault: policy-only\n");
    usage("verify --follow-record --trust none.yaml oci:staging:v1", "names no recorders");
    usage("verify --src-tls-verify=false oci:staging:v1", "has no effect without --follow-record");
}
