//! `--trust`: bundles beside images in layouts and registries, judged by copy and verify.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use cli::{Place, Run, image};
use securecp_oci::{Declared, RawManifest, referrers_tag};
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule};
use securecp_testkit::{DockerRegistry, Registry};
use securecp_trust::BundleArtifact;
use serde_json::{Value, json};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Who signed the vectors, and what trusts them.
const FILE: &str = "
version: 1
trusted-root: trusted_root.json
signers:
  release: {issuer: 'https://issuer.securecp.test', email: release@securecp.test}
default: {accept: bundle, require: release}
";

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn vector(name: &str) -> Bytes {
    std::fs::read(testdata(&format!("sigstore/bundles/{name}.json"))).unwrap().into()
}

/// The image that the vectors sign, in a layout of its own.
struct Bench {
    place: Place,
    manifest: RawManifest,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        let from = testdata("crypt/plain");
        let blobs = place.path("image/blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for entry in std::fs::read_dir(from.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), blobs.join(entry.file_name())).unwrap();
        }
        let bytes = std::fs::read(testdata("trust/signed-sigstore/manifest.json")).unwrap();
        let manifest = RawManifest::read(Bytes::from(bytes), Declared::default()).unwrap();
        let root = std::fs::read(testdata("sigstore/bundles/trusted_root.json")).unwrap();
        place.write("trust/trusted_root.json", root);
        place.write("trust/file.yaml", FILE);
        let bench = Self { place, manifest };
        bench.refer(&[]);
        bench
    }

    fn layout(&self) -> PathBuf {
        self.place.path("image")
    }

    /// Stores bundles as referrers in the layout, named by the fallback tag.
    fn refer(&self, bundles: &[Bytes]) {
        let entries = bundles.iter().map(|bundle| self.artifact(bundle)).collect();
        self.list(entries);
    }

    fn artifact(&self, bundle: &Bytes) -> Value {
        let made = SystemTime::UNIX_EPOCH;
        let artifact = BundleArtifact::new(&self.manifest, bundle.clone(), made).unwrap();
        for (descriptor, bytes) in &artifact.blobs {
            image::keep(&self.layout(), descriptor.media_type.as_str(), bytes);
        }
        let mut entry = image::keep(&self.layout(), image::MANIFEST, artifact.manifest.bytes());
        entry["artifactType"] = json!(BUNDLE_TYPE);
        entry
    }

    /// Makes `entries` the list of the image's referrers.
    fn list(&self, entries: Vec<Value>) {
        let layout = self.layout();
        let list = json!({"schemaVersion": 2, "mediaType": image::INDEX, "manifests": entries});
        let list = image::keep(&layout, image::INDEX, list.to_string().as_bytes());
        let root = image::keep(&layout, image::MANIFEST, self.manifest.bytes());
        let tag = referrers_tag(self.manifest.digest()).to_string();
        let named = |mut entry: Value, name: &str| {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            entry
        };
        let top = json!({"schemaVersion": 2, "manifests": [named(root, "v1"), named(list, &tag)]});
        std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        std::fs::write(layout.join("index.json"), top.to_string()).unwrap();
    }

    fn verify(&self) -> Run {
        self.place.run("--policy accept.json verify --trust trust/file.yaml oci:image:v1")
    }

    fn refused(&self, expected: &str) {
        let run = self.verify();
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.out.contains(expected), "expected {expected:?} in {run:?}");
        let copy = "--policy accept.json copy --trust trust/file.yaml oci:image:v1 dir:out";
        let run = self.place.run(copy);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(!self.place.exists("out"), "nothing is written of what is refused");
    }
}

#[test]
fn a_bundle_beside_an_image_is_accepted() {
    let bench = Bench::new();
    for name in ["sign-rekor1", "sign-rekor2", "message-rekor1", "message-rekor2"] {
        bench.refer(&[vector(name)]);
        let run = bench.verify();
        assert_eq!(run.code, 0, "{name}: {run:?}");
        assert!(run.out.contains("trust file: accepted\n"), "{}", run.out);
        let signer = "bundle 1: by release@securecp.test (issuer https://issuer.securecp.test), as release\n";
        assert!(run.out.contains(signer), "{}", run.out);
    }
    // What was judged travels with the image, and is found and judged there as well.
    let run = bench
        .place
        .run("--policy accept.json copy --trust trust/file.yaml oci:image:v1 oci:out:v1");
    assert_eq!(run.code, 0, "{run:?}");
    let run = bench.place.run("--policy accept.json verify --trust trust/file.yaml oci:out:v1");
    assert_eq!(run.code, 0, "{run:?}");
    // The policy has a word too.
    let run = bench.place.run("--policy reject.json verify --trust trust/file.yaml oci:image:v1");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.out.contains("trust file: accepted\n"), "{}", run.out);
}

/// Every way to be refused is told from every other.
#[test]
fn refusals_have_their_reasons() {
    let bench = Bench::new();
    bench.refused("refused (default): no signature of the accepted form\n");
    bench.refer(&[vector("sign-workflow")]);
    bench.refused("who is none of the signers (release: other email)");
    bench.refer(&[vector("sign-other")]);
    bench.refused("bundle is about another artifact");
    bench.refer(&[vector("attest-rekor1")]);
    bench.refused("bundle is an attestation of type");
    let altered = |change: fn(&mut Value)| {
        let mut bundle: Value = serde_json::from_slice(&vector("sign-rekor1")).unwrap();
        change(&mut bundle);
        Bytes::from(bundle.to_string())
    };
    bench.refer(&[altered(|b| {
        let other: Value = serde_json::from_slice(&vector("sign-other")).unwrap();
        b["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
    })]);
    bench.refused("signature of the bundle does not verify");
    bench.refer(&[altered(|b| {
        let other: Value = serde_json::from_slice(&vector("sign-other")).unwrap();
        b["verificationMaterial"]["tlogEntries"] =
            other["verificationMaterial"]["tlogEntries"].clone();
    })]);
    bench.refused("log entry is not about this bundle");
    bench.refer(&[altered(|b| b["verificationMaterial"]["tlogEntries"] = json!([]))]);
    bench.refused("bundle has no log entry with a proof");
    bench.refer(&[altered(|b| {
        b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2")
    })]);
    bench.refused("bundle format not understood");
    let other = "
version: 1
signers: {somebody: {key: key.pem, dangerous-no-log: true}}
default: {accept: bundle, require: somebody}
";
    bench.place.write("trust/file.yaml", other);
    bench.place.write("trust/key.pem", std::fs::read(testdata("trust/keys/cosign.pub")).unwrap());
    bench.refer(&[vector("sign-rekor1")]);
    bench.refused("signed with a certificate, and no signer of the file has one");
    let foreign = FILE.replace("trusted_root.json", "foreign.json");
    let mut root: Value = serde_json::from_slice(
        &std::fs::read(testdata("sigstore/bundles/trusted_root.json")).unwrap(),
    )
    .unwrap();
    root["certificateAuthorities"] = json!([]);
    bench.place.write("trust/foreign.json", root.to_string());
    bench.place.write("trust/file.yaml", foreign);
    bench.refused("certificate of the bundle is not trusted");
}

/// A bundle names a digest and no image: it is no signature for policy.json, whose requirements are about names.
#[test]
fn a_bundle_never_satisfies_signed_identity() {
    let bench = Bench::new();
    bench.refer(&[vector("sign-rekor1"), vector("message-rekor1")]);
    for identity in [
        json!({"type": "matchRepository"}),
        json!({"type": "exactReference", "dockerReference": "registry.securecp.test/plain:v1"}),
        json!({"type": "exactRepository", "dockerRepository": "registry.securecp.test/plain"}),
    ] {
        let key = testdata("trust/keys/cosign.pub");
        let requirement =
            json!({"type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity});
        bench.place.write("signed.json", json!({"default": [requirement]}).to_string());
        for trust in ["", "--trust trust/file.yaml"] {
            let run = bench.place.run(&format!("--policy signed.json verify {trust} oci:image:v1"));
            assert_eq!(run.code, 3, "{run:?}");
            assert!(run.out.contains("no signature exists"), "{run:?}");
        }
    }
}

/// What is beside a good bundle does not matter, and what a list says is nobody's promise.
#[test]
fn lists_of_referrers_are_not_believed() {
    let bench = Bench::new();
    let good = bench.artifact(&vector("sign-rekor1"));
    let read = |entry: &Value| -> Value {
        let digest = entry["digest"].as_str().unwrap();
        serde_json::from_slice(&std::fs::read(image::blob(&bench.layout(), digest)).unwrap())
            .unwrap()
    };
    let altered = |change: &dyn Fn(&mut Value)| {
        let mut artifact = read(&good);
        change(&mut artifact);
        let mut entry =
            image::keep(&bench.layout(), image::MANIFEST, artifact.to_string().as_bytes());
        entry["artifactType"] = json!(BUNDLE_TYPE);
        entry
    };
    let two = altered(&|a| a["layers"] = json!([a["layers"][0], a["layers"][0]]));
    let of_another = altered(&|a| a["subject"]["digest"] = a["config"]["digest"].clone());
    let without_subject = altered(&|a| drop(a.as_object_mut().unwrap().remove("subject")));
    let mut untyped = good.clone();
    untyped.as_object_mut().unwrap().remove("artifactType");
    for (entries, expected) in [
        (vec![two.clone()], "bundle 1: bundle format not understood: artifact has 2 layers"),
        (vec![of_another.clone()], "no signature of the accepted form"),
        (vec![without_subject], "no signature of the accepted form"),
    ] {
        bench.list(entries);
        bench.refused(expected);
    }
    bench.list(vec![two, of_another, untyped]);
    assert_eq!(bench.verify().code, 0);
    let missing = json!({"mediaType": image::MANIFEST, "size": 7, "artifactType": BUNDLE_TYPE,
        "digest": format!("sha256:{}", "0".repeat(64))});
    bench.list(vec![good, missing]);
    bench.refused("bundles could not be fetched");
}

/// CVE-2023-46737, CVE-2024-29902: the number and the size of what is read are bounded before it is read.
#[test]
fn cve_2023_46737_bundles_are_bounded() {
    let bench = Bench::new();
    let entry = bench.artifact(&vector("sign-rekor1"));
    let listed: Vec<Value> = (0..129)
        .map(|n| {
            let mut artifact: Value = serde_json::from_slice(
                &std::fs::read(image::blob(&bench.layout(), entry["digest"].as_str().unwrap()))
                    .unwrap(),
            )
            .unwrap();
            artifact["annotations"]["n"] = json!(n.to_string());
            let mut entry =
                image::keep(&bench.layout(), image::MANIFEST, artifact.to_string().as_bytes());
            entry["artifactType"] = json!(BUNDLE_TYPE);
            entry
        })
        .collect();
    bench.list(listed[..128].to_vec());
    assert_eq!(bench.verify().code, 0);
    bench.list(listed);
    bench.refused("bundles could not be fetched: 129 are listed, the limit is 128");
    let mut large = vector("sign-rekor1").to_vec();
    large.resize((4 << 20) + 1, b' ');
    bench.refer(&[Bytes::from(large)]);
    bench.refused("bundle format not understood: bundle has 4194305 bytes, the limit is 4194304");
}

#[test]
fn the_verdict_is_json_too() {
    let bench = Bench::new();
    bench.refer(&[vector("sign-workflow"), vector("sign-rekor1")]);
    let run =
        bench.place.run("--policy accept.json verify --json --trust trust/file.yaml oci:image:v1");
    assert_eq!(run.code, 0, "{run:?}");
    let verdict: Value = serde_json::from_str(&run.out).unwrap();
    let manifest = &verdict["trust"]["manifests"][0];
    assert_eq!(verdict["trust"]["accepted"], true);
    assert_eq!(manifest["digest"], bench.manifest.digest().to_string());
    assert_eq!(manifest["found"][0]["fault"]["reason"], "otherSigner");
    assert_eq!(manifest["found"][1]["signers"], json!(["release"]));
    let run = bench.place.run("--policy accept.json verify --json oci:image:v1");
    assert_eq!(serde_json::from_str::<Value>(&run.out).unwrap().get("trust"), None);
}

#[test]
fn a_trust_file_is_explained_without_any_image() {
    let place = Place::new();
    place.write("t/f.yaml", FILE);
    let line = "--policy accept.json policy explain --trust t/f.yaml docker://127.0.0.1:9/app:v1";
    let run = place.run(line);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let expected = "entry of the trust file: default\n  a bundle by release\n    release: issuer \
                    https://issuer.securecp.test, email release@securecp.test\n  trusted root: t/trusted_root.json\n";
    assert!(run.out.ends_with(expected), "{}", run.out);
    let run = place.run(&format!("{line} --json"));
    let found: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(found["trust"]["demand"], "signed");
    assert_eq!(found["trust"]["require"], "release");
    place.write("t/f.yaml", FILE.replace("require: release", "require: nobody"));
    let run = place.run(line);
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(
        run.err.contains(
            "loading trust file t/f.yaml: rule for \"default\": there is no signer \"nobody\""
        ),
        "{}",
        run.err
    );
}

/// The image and its bundle in a registry that is reached through a proxy.
struct Remote {
    bench: Bench,
    _registry: Box<dyn std::any::Any>,
    proxy: Proxy,
}

impl Remote {
    /// Debian's registry, which has no referrers API.
    fn without_api() -> Self {
        let registry = DockerRegistry::start().unwrap();
        Self::of(registry.address(), Box::new(registry))
    }

    fn with_api() -> Self {
        let registry = Registry::start().unwrap();
        Self::of(registry.address(), Box::new(registry))
    }

    fn of(address: std::net::SocketAddr, registry: Box<dyn std::any::Any>) -> Self {
        let bench = Bench::new();
        bench.refer(&[vector("sign-rekor1")]);
        let proxy = Proxy::start(address).unwrap();
        let remote = Self { bench, _registry: registry, proxy };
        let tag = referrers_tag(remote.bench.manifest.digest());
        for name in ["v1", &tag.to_string()] {
            let to = remote.image(name);
            let line = format!(
                "--policy accept.json copy --all --dest-tls-verify=false oci:image:{name} {to}"
            );
            let run = remote.bench.place.run(&line);
            assert_eq!(run.code, 0, "{run:?}");
        }
        remote
    }

    fn image(&self, tag: &str) -> String {
        format!("docker://{}/app:{tag}", self.proxy.address())
    }

    fn verify(&self) -> Run {
        let image = self.image("v1");
        self.bench.place.run(&format!(
            "--policy accept.json verify --trust trust/file.yaml --tls-verify=false {image}"
        ))
    }
}

#[test]
fn bundles_in_a_registry_are_found_by_its_api_or_by_their_tag() {
    for remote in [Remote::with_api(), Remote::without_api()] {
        let run = remote.verify();
        assert_eq!(run.code, 0, "{run:?}");
    }
}

/// Only an authenticated "not there" is an absence: whoever can break a request cannot choose the weaker form.
#[test]
fn an_error_while_looking_for_bundles_is_not_none() {
    let file = FILE.replace("accept: bundle, ", "");
    for (path, reply) in [
        ("/referrers/", Reply::error(500, "UNKNOWN", "no")),
        ("/referrers/", Reply::error(403, "DENIED", "no")),
        ("/manifests/sha256-|/tags/list", Reply::error(500, "UNKNOWN", "no")),
        ("/manifests/sha256-", Reply::error(401, "UNAUTHORIZED", "no")),
        ("/manifests/sha256-", Reply::html(200)),
    ] {
        let remote = Remote::without_api();
        remote.bench.place.write("trust/file.yaml", &file);
        remote.proxy.add(Rule::new("GET", path).unwrap().with(Fault::Answer(reply)));
        let run = remote.verify();
        assert_eq!(run.code, 3, "{path}: {run:?}");
        assert!(run.out.contains("bundles could not be fetched: "), "{path}: {run:?}");
        assert!(!run.out.contains("no signature"), "{path}: {run:?}");
    }
}

/// A trust file that asks for attachments only, or for nothing, costs no request.
#[test]
fn bundles_are_looked_for_only_where_they_count() {
    let remote = Remote::with_api();
    let asked = || remote.proxy.requests("GET", "/referrers/");
    let before = asked();
    for file in [
        FILE.replace("accept: bundle", "accept: attachment"),
        "version: 1\ndefault: policy-only\n".to_owned(),
        "version: 1\ndefault: reject\n".to_owned(),
    ] {
        remote.bench.place.write("trust/file.yaml", &file);
        remote.verify();
    }
    assert_eq!(asked(), before);
    remote.bench.place.write("trust/file.yaml", FILE);
    remote.verify();
    assert!(asked() > before);
}

/// Verification asks nobody: it runs where there is no network at all, and where there is one it connects to nobody.
#[test]
fn verification_needs_no_network() {
    let bench = Bench::new();
    bench.refer(&[vector("sign-rekor2")]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let line = "--policy accept.json verify --trust trust/file.yaml oci:image:v1";
    let run = bench.place.run_with(line, |command| {
        for name in
            ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
        {
            command.env(name, &proxy);
        }
    });
    assert_eq!(run.code, 0, "{run:?}");
    assert!(listener.accept().is_err(), "somebody was asked");
    if let Some(output) = without_network(&bench.place, line) {
        assert!(output.0, "{}", output.1);
    }
}

/// Runs the program in a network namespace of its own; `None` where the system does not allow one, which is said.
#[expect(clippy::print_stderr, reason = "what could not be tried must be said")]
fn without_network(place: &Place, line: &str) -> Option<(bool, String)> {
    let unshare = |program: &Path, words: &[&str]| {
        let mut command = place.command_of(
            Path::new("/usr/bin/unshare"),
            &["--user", "--map-root-user", "--net", "--"],
        );
        command.arg(program).args(words);
        command.output().unwrap()
    };
    let probe = unshare(Path::new("/bin/cat"), &["/proc/net/dev"]);
    if !probe.status.success() {
        eprintln!("no namespaces here, the recording proxy has to do: {probe:?}");
        return None;
    }
    let interfaces = String::from_utf8(probe.stdout).unwrap();
    let others = interfaces.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:"));
    assert_eq!(others.count(), 0, "{interfaces}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = unshare(Path::new(env!("CARGO_BIN_EXE_securecp")), &words);
    let text = format!("{:?}", output);
    Some((output.status.success(), text))
}
