//! `--evidence verified`: only what somebody signed whom the policy or the trust file names arrives.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::io::Write;
use std::process::{Command, Stdio};

use cli::gnupg::{GnuPg, configure, policy};
use cli::{Place, Run};
use securecp_oci::{Attached, Digest, MediaType, base64};
use securecp_testkit::http::Request;
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule};
use securecp_testkit::{Blob, EvidenceSet, Fixture, Manifest, Registry};
use serde_json::{Value, json};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SPDX: &str = "application/spdx+json";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const SLSA: &str = "https://slsa.dev/provenance/v1";
const TRUST: &str = "version: 1\nsigners: {alice: {key: alice.pub, dangerous-no-log: true}}\n\
                     default: {require: alice}\n";

/// A place with the keys of Alice, whom the trust file names, and of Mallory.
struct Bench {
    place: Place,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        for name in ["alice", "mallory"] {
            let key = format!("{name}.pem");
            openssl(
                &place,
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-out",
                    &key,
                ],
                b"",
            );
            openssl(&place, &["pkey", "-in", &key, "-pubout", "-out", &format!("{name}.pub")], b"");
        }
        place.write("trust.yaml", TRUST);
        Self { place }
    }

    /// A statement about `subject` in an envelope.
    fn envelope(&self, key: &str, predicate: &str, subject: &Digest) -> Value {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "app", "digest": {"sha256": subject.hex()}}],
            "predicateType": predicate,
            "predicate": {},
        });
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let key = format!("{key}.pem");
        let signature =
            openssl(&self.place, &["dgst", "-sha256", "-sign", &key], signed.as_bytes());
        json!({
            "payload": base64::encode(payload.as_bytes()),
            "payloadType": kind,
            "signatures": [{"sig": base64::encode(&signature)}],
        })
    }

    /// A bundle that refers to `subject`, and speaks of `of`.
    fn bundle_of(&self, key: &str, predicate: &str, subject: &Manifest, of: &Digest) -> Fixture {
        let bundle = json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
            "dsseEnvelope": self.envelope(key, predicate, of),
        });
        let annotations = json!({"dev.sigstore.bundle.predicateType": predicate});
        let blob = Blob::new(MediaType::new(BUNDLE), bundle.to_string());
        Fixture::annotated_artifact(BUNDLE, blob, subject, annotations)
    }

    fn bundle(&self, key: &str, predicate: &str, subject: &Manifest) -> Fixture {
        self.bundle_of(key, predicate, subject, &subject.digest)
    }

    fn copy(&self, rest: &str) -> Run {
        self.place.run(&format!(
            "--policy accept.json copy -q --all --trust trust.yaml --evidence verified {rest}"
        ))
    }

    fn copied(&self, rest: &str) -> Value {
        let run = self.copy(&format!("--json {rest}"));
        assert_eq!(run.code, 0, "{run:?}");
        serde_json::from_str(&run.out).unwrap()
    }
}

fn openssl(place: &Place, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(words).current_dir(place.path("")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {words:?}");
    output.stdout
}

fn sbom(subject: &Manifest, text: &str) -> Fixture {
    Fixture::artifact(SPDX, Blob::new(MediaType::new(SPDX), text.to_owned()), Some(subject))
}

/// What arrives and what stays behind.
struct Scene {
    image: Fixture,
    all: EvidenceSet,
    arrives: Vec<Digest>,
    stays: Vec<Digest>,
}

/// Signed and unsigned, tampered and posing evidence of an index of two platforms.
fn scene(bench: &Bench) -> Scene {
    let image = Fixture::two_platforms().unwrap();
    let (root, first, second) =
        (image.root.clone(), image.children[0].clone(), image.children[1].clone());
    let (mut all, mut arrives, mut stays) = (EvidenceSet::default(), Vec::new(), Vec::new());
    let mut good = |set: &mut EvidenceSet, subject: &Manifest, piece: Fixture| {
        arrives.push(piece.digest().clone());
        set.refer(subject, piece);
    };
    for manifest in [&root, &first, &second] {
        good(&mut all, manifest, bench.bundle("alice", SIGN, manifest));
    }
    good(&mut all, &first, bench.bundle("alice", SLSA, &first));
    let signed = sbom(&first, "signed");
    good(&mut all, &signed.root, bench.bundle("alice", SIGN, &signed.root));
    good(&mut all, &first, signed);
    let mut bad = |set: &mut EvidenceSet, subject: &Manifest, piece: Fixture| {
        stays.push(piece.digest().clone());
        set.refer(subject, piece);
    };
    bad(&mut all, &root, bench.bundle("mallory", SIGN, &root));
    bad(&mut all, &first, bench.bundle("mallory", SLSA, &first));
    // Alice's own signature, of something else, passed off as one of this image.
    bad(&mut all, &second, bench.bundle_of("alice", SLSA, &second, &first.digest));
    bad(&mut all, &second, Fixture::bundle(&second, SLSA));
    bad(&mut all, &second, Fixture::notation(&second));
    bad(&mut all, &second, sbom(&second, "unsigned"));
    let forged = sbom(&second, "signed by somebody");
    bad(&mut all, &forged.root, bench.bundle("mallory", SIGN, &forged.root));
    bad(&mut all, &second, forged);
    // What Alice says about a document is not that it is right.
    let spoken_of = sbom(&second, "spoken of");
    bad(&mut all, &spoken_of.root, bench.bundle("alice", SLSA, &spoken_of.root));
    bad(&mut all, &second, spoken_of);
    all.attach(&first, Attached::Sbom, &["a bill of materials"]);
    let envelope = |key: &str, of: &Manifest| bench.envelope(key, SLSA, &of.digest).to_string();
    let (alice, mallory) = (envelope("alice", &root), envelope("mallory", &root));
    all.attach(&root, Attached::Attestations, &[&alice, &mallory]);
    all.attach(&second, Attached::Attestations, &[&envelope("mallory", &second)]);
    Scene { image, all, arrives, stays }
}

fn get(registry: &Registry, name: &str) -> Option<Value> {
    let accept =
        "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    let path = format!("/v2/app/manifests/{name}");
    let response =
        Request::new("GET", &path).header("accept", accept).send(registry.address()).unwrap();
    (response.status == 200).then(|| serde_json::from_slice(&response.body).unwrap())
}

#[test]
fn only_what_is_signed_by_those_named_arrives_and_the_rest_is_listed() {
    let bench = Bench::new();
    let Scene { image, all, arrives, stays } = scene(&bench);
    let (source, destination) = (Registry::start().unwrap(), Registry::start().unwrap());
    image.push(source.address(), "app", Some("v1")).unwrap();
    all.push(source.address(), "app", false).unwrap();
    let proxy = Proxy::start(destination.address()).unwrap();
    let rest = format!(
        "--src-tls-verify=false --dest-tls-verify=false docker://{}/app:v1 docker://{}/app:v1",
        source.address(),
        proxy.address()
    );
    let plan = bench.copied(&format!("--dry-run {rest}"));
    let receipt = bench.copied(&rest);
    for digest in &arrives {
        assert!(get(&destination, &digest.to_string()).is_some(), "{digest} is missing");
    }
    for digest in &stays {
        assert!(get(&destination, &digest.to_string()).is_none(), "{digest} arrived");
    }
    // Of what is attached the layer that Alice signed arrives, and the tag has nothing else.
    let tag = |digest: &Digest, suffix: &str| format!("sha256-{}.{suffix}", digest.hex());
    let attached = get(&destination, &tag(image.digest(), "att")).unwrap();
    let wanted = first_layer(&all, image.digest());
    let layers = attached["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1, "{attached:#}");
    assert_eq!(layers[0]["digest"], wanted.as_str());
    assert!(get(&destination, &tag(&image.children[1].digest, "att")).is_none());
    assert!(get(&destination, &tag(&image.children[0].digest, "sbom")).is_none());
    check_receipt(&receipt["evidence"], &stays);
    check_plan(&plan, &arrives, &stays);
    // Once more: nothing is sent, and the reduced attachment counts as there.
    proxy.clear_log();
    let again = bench.copied(&rest);
    assert_eq!(again["evidence"]["carried"], 0, "{again:#}");
    assert_eq!(again["evidence"]["alreadyThere"], receipt["evidence"]["carried"]);
    assert_eq!(proxy.requests("PUT", "") + proxy.requests("POST", ""), 0);
}

/// The digest of the first layer attested to `subject`.
fn first_layer(all: &EvidenceSet, subject: &Digest) -> String {
    let tag = Attached::Attestations.tag(subject).unwrap().to_string();
    let (_, attached) = all.attached.iter().find(|(found, _)| *found == tag).unwrap();
    let document: Value = serde_json::from_slice(&attached.root.bytes).unwrap();
    document["layers"][0]["digest"].as_str().unwrap().to_owned()
}

fn check_receipt(receipt: &Value, stays: &[Digest]) {
    assert_eq!(receipt["verified"], true);
    assert_eq!(receipt["carried"], 7, "six referrers and a part of one attachment: {receipt:#}");
    let skipped = receipt["skippedPieces"].as_array().unwrap();
    let why = |piece: &Value| piece["why"].as_str().unwrap().to_owned();
    assert!(skipped.iter().all(|piece| why(piece).starts_with("not verified: ")), "{skipped:#?}");
    for digest in stays {
        let listed = skipped.iter().any(|piece| piece["digest"] == digest.to_string());
        assert!(listed, "{digest} is not listed: {skipped:#?}");
    }
    assert_eq!(skipped.len(), stays.len() + 3, "a layer, an attachment and a document besides");
    let reasons: Vec<String> = skipped.iter().map(why).collect();
    for part in [
        "does not verify",
        "another artifact",
        "notary.signature",
        "what it refers to",
        "of which image",
    ] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:#?}");
    }
}

fn check_plan(plan: &Value, arrives: &[Digest], stays: &[Digest]) {
    let pieces = plan["evidence"].as_array().unwrap();
    let one = |digest: &Digest| {
        pieces.iter().find(|piece| piece["digest"] == digest.to_string()).unwrap()
    };
    for digest in arrives {
        assert_eq!(one(digest)["action"], "copy");
        assert!(one(digest)["verified"].as_str().unwrap().contains("alice ("), "{:#}", one(digest));
    }
    for digest in stays {
        assert_eq!(
            (one(digest)["action"].as_str(), &one(digest)["verified"]),
            (Some("leave"), &Value::Null)
        );
    }
}

/// A layout, where evidence is listed in another way, and a place that has no room for any.
#[test]
fn layouts_take_it_and_places_without_room_refuse_only_what_is_verified() {
    let bench = Bench::new();
    let image = Fixture::tiny().unwrap();
    let mut all = EvidenceSet::default();
    all.refer(&image.root, bench.bundle("alice", SIGN, &image.root));
    all.refer(&image.root, sbom(&image.root, "unsigned"));
    let source = Registry::start().unwrap();
    image.push(source.address(), "app", Some("v1")).unwrap();
    all.push(source.address(), "app", false).unwrap();
    let from = format!("--src-tls-verify=false docker://{}/app:v1", source.address());
    let receipt = bench.copied(&format!("{from} oci:out:v1"));
    assert_eq!(
        (&receipt["evidence"]["carried"], &receipt["evidence"]["skipped"]),
        (&json!(1), &json!(1))
    );
    let back = bench.copied("oci:out:v1 oci:back:v1");
    assert_eq!((&back["evidence"]["found"], &back["evidence"]["carried"]), (&json!(1), &json!(1)));
    let run = bench.copy(&format!("{from} dir:plain"));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("1 piece") || run.err.contains("sigstore signature"), "{run:?}");
    assert!(!run.err.contains("sbom"), "what nobody signed may stay behind anywhere: {run:?}");
}

#[test]
fn without_anybody_named_it_is_a_usage_error() {
    let place = Place::new();
    Fixture::tiny().unwrap().write_layout(&place.path("image"), Some("v1")).unwrap();
    let line = "--policy accept.json copy --evidence verified";
    let run = place.run(&format!("{line} oci:image:v1 oci:out:v1"));
    assert_eq!(run.code, 64, "{run:?}");
    assert!(run.err.contains("names anybody who signs"), "{run:?}");
    assert!(run.err.contains("hint: --evidence verified needs a policy"), "{run:?}");
    place.write("trust.yaml", "version: 1\ndefault: policy-only\n");
    let run = place.run(&format!("{line} --trust trust.yaml oci:image:v1 oci:out:v1"));
    assert_eq!(run.code, 64, "{run:?}");
    assert!(!place.exists("out"));
}

/// What cannot be read is not unverified: nobody knows.
#[test]
fn a_failure_to_judge_ends_the_copy() {
    let bench = Bench::new();
    let image = Fixture::tiny().unwrap();
    let mut all = EvidenceSet::default();
    all.refer(&image.root, bench.bundle("alice", SIGN, &image.root));
    let envelope = bench.envelope("alice", SLSA, image.digest()).to_string();
    all.attach(&image.root, Attached::Attestations, &[&envelope]);
    let source = Registry::start().unwrap();
    image.push(source.address(), "app", Some("v1")).unwrap();
    all.push(source.address(), "app", false).unwrap();
    let layer = first_layer(&all, image.digest());
    let from = |address| format!("--src-tls-verify=false docker://{address}/app:v1 oci:out:v1");
    for (path, reply) in [
        (format!("/blobs/{layer}"), Reply::error(403, "DENIED", "no")),
        (format!("/blobs/{layer}"), Reply::error(404, "BLOB_UNKNOWN", "no")),
        ("/manifests/sha256-".to_owned(), Reply::error(403, "DENIED", "no")),
    ] {
        let proxy = Proxy::start(source.address()).unwrap();
        proxy.add(Rule::new("GET", &path).unwrap().with(Fault::Answer(reply)));
        let run = bench.copy(&from(proxy.address()));
        assert_eq!(run.code, 1, "{path}: {run:?}");
        assert!(!bench.place.exists("out"), "{path}");
    }
    let receipt = bench.copied(&from(source.address()));
    assert_eq!(receipt["evidence"]["carried"], 2, "{receipt:#}");
}

/// Signatures of two keys under one tag, of which the policy names one; statements by its key count too.
#[test]
fn a_policy_alone_tells_signatures_apart() {
    let bench = Bench::new();
    let place = &bench.place;
    place.write("pass", "a passphrase\n");
    place.write("registries.d/default.yaml", "default-docker: {use-sigstore-attachments: true}\n");
    let image = Fixture::tiny().unwrap();
    let source = Registry::start().unwrap();
    let (from, to) = (format!("docker://{}/app:v1", source.address()), Registry::start().unwrap());
    image.write_layout(&place.path("image"), Some("v1")).unwrap();
    for name in ["anna", "mark"] {
        place.ok(&format!("generate-sigstore-key --output-prefix {name} --passphrase-file pass"));
        place.ok(&format!(
            "--registries.d registries.d copy -q --dest-tls-verify=false --sign-identity example.test/app:v1 \
             --sign-by-sigstore-private-key {name}.private --sign-passphrase-file pass oci:image:v1 {from}"
        ));
        let signed = json!([{
            "type": "sigstoreSigned",
            "keyPath": place.path(&format!("{name}.pub")),
            "signedIdentity": {"type": "exactReference", "dockerReference": "example.test/app:v1"},
        }]);
        place.write(&format!("{name}.json"), json!({"default": signed}).to_string());
    }
    let destination = format!("docker://{}/app:v1", to.address());
    let both = "--registries.d registries.d";
    let run = place.run(&format!(
        "--policy anna.json {both} copy -q --json --evidence verified --src-tls-verify=false --dest-tls-verify=false {from} {destination}"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&receipt["evidence"]["carried"], &receipt["evidence"]["skipped"]),
        (&json!(1), &json!(1)),
        "{receipt:#}"
    );
    // A folder holds signatures that are read as such, the verified one alone; without that it has no room for them.
    let run = place.run(&format!(
        "--policy anna.json {both} copy -q --evidence verified --src-tls-verify=false {from} dir:folder"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(place.exists("folder/signature-1") && !place.exists("folder/signature-2"));
    let unread = |options: &str| {
        place.run(&format!(
            "--policy accept.json copy -q {options} --src-tls-verify=false {from} dir:unread"
        ))
    };
    let run = unread("");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("sigstore signature") && !place.exists("unread"), "{run:?}");
    assert_eq!(unread("--evidence none").code, 0);
    for (policy, code) in [("anna", 0), ("mark", 3)] {
        let run = place
            .run(&format!("--policy {policy}.json {both} verify --tls-verify=false {destination}"));
        assert_eq!(run.code, code, "{policy}: {run:?}");
        let run =
            place.run(&format!("--policy {policy}.json {both} verify --tls-verify=false {from}"));
        assert_eq!(run.code, 0, "both are at the source: {run:?}");
    }
}

/// Signatures of simple signing travel as signatures, one by one.
#[test]
fn simple_signatures_of_others_stay_behind() {
    let (place, gnupg) = (Place::new(), GnuPg::with_keys(&[("alice", ""), ("bob", "")]));
    let image = Fixture::tiny().unwrap();
    image.write_layout(&place.path("image"), Some("v1")).unwrap();
    configure(&place);
    gnupg.export("alice", &place, "key.asc");
    gnupg.export("bob", &place, "bob.asc");
    place.write("bob.json", policy(&place.path("bob.asc")));
    let (source, destination) = (Registry::start().unwrap(), Registry::start().unwrap());
    // A lookaside store knows no hosts.
    let (from, to) = (
        format!("docker://{}/from:v1", source.address()),
        format!("docker://{}/to:v1", destination.address()),
    );
    let run = |line: &str, code: i32| {
        let run = gnupg.run(&place, &format!("--registries.d registries.d {line}"));
        assert_eq!(run.code, code, "{line}\n{run:?}");
        run.out
    };
    for key in ["bob", "alice"] {
        run(
            &format!(
                "--policy accept.json copy -q --dest-tls-verify=false --sign-identity {} --sign-by {key} oci:image:v1 {from}",
                to.trim_start_matches("docker://")
            ),
            0,
        );
    }
    let identity = |file: &str| {
        let bytes = place.read(file);
        let text = String::from_utf8(bytes).unwrap();
        let named = format!(
            "\"signedIdentity\":{{\"type\":\"exactReference\",\"dockerReference\":\"{}\"}},\"type\":\"signedBy\"",
            to.trim_start_matches("docker://")
        );
        text.replace("\"type\":\"signedBy\"", &named)
    };
    place.write("alice-there.json", identity("signed.json"));
    let tls = "--src-tls-verify=false --dest-tls-verify=false";
    let out = run(
        &format!("--policy alice-there.json copy -q --json --evidence verified {tls} {from} {to}"),
        0,
    );
    let receipt: Value = serde_json::from_str(&out).unwrap();
    let skipped = receipt["evidence"]["skippedPieces"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{receipt:#}");
    assert_eq!(skipped[0]["type"], "simple signature");
    assert!(skipped[0]["why"].as_str().unwrap().starts_with("not verified: policy: "));
    run(&format!("--policy signed.json verify --tls-verify=false {to}"), 0);
    run(&format!("--policy bob.json verify --tls-verify=false {to}"), 3);
}
