//! Signing with sigstore keys at the destination: key files, attachments in registries, and what judges them.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use cli::{Place, Run, image, signing};
use securecp_testkit::http::Request;
use securecp_testkit::proxy::{Fault, Handler, Proxy, Rule};
use securecp_testkit::{DockerRegistry, Registry};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A place with a two-platform image in `oci:image:v1`, and keys of which Alice's is trusted.
struct Bench {
    place: Place,
    /// Those of the index and of its images.
    digests: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        let digests = signing::signable(&place);
        place.write("passphrase", "open sesame\nand more\n");
        let bench = Self { place, digests };
        bench.attachments(true);
        for name in ["alice", "bob"] {
            let line = format!(
                "generate-sigstore-key --output-prefix {name} --passphrase-file passphrase"
            );
            let run = bench.place.run(&line);
            let expected = format!("Key written to \"{name}.private\" and \"{name}.pub\"\n");
            assert_eq!((run.code, run.out), (0, expected), "{}", run.err);
            bench
                .place
                .write(&format!("{name}.json"), policy(&bench.place, &format!("{name}.pub")));
        }
        bench
    }

    fn attachments(&self, used: bool) {
        signing::attachments(&self.place, used);
    }

    fn run(&self, line: &str) -> Run {
        self.place.run(&format!("--registries.d registries.d {line}"))
    }

    /// Copies the image with a signature by this key.
    fn sign(&self, key: &str, to: &str) -> Run {
        self.run(&signing(key, to))
    }

    #[track_caller]
    fn sign_ok(&self, key: &str, to: &str) {
        let run = self.sign(key, to);
        assert_eq!(run.code, 0, "{run:?}");
    }

    #[track_caller]
    fn judged(&self, policy: &str, image: &str, code: i32) -> String {
        let line = format!(
            "--policy {policy}.json verify --all --json --index-signature require --tls-verify=false {image}"
        );
        let run = self.run(&line);
        assert_eq!(run.code, code, "{run:?}");
        run.out
    }
}

fn signing(key: &str, to: &str) -> String {
    let plain = if to.starts_with("docker:") { "--dest-tls-verify=false" } else { "" };
    format!(
        "--policy accept.json copy -q --all {plain} \
         --sign-by-sigstore-private-key {key}.private --sign-passphrase-file passphrase oci:image:v1 {to}"
    )
}

fn policy(place: &Place, key: &str) -> String {
    let accept = json!([{"type": "insecureAcceptAnything"}]);
    let signed = json!([{"type": "sigstoreSigned", "keyPath": place.path(key)}]);
    json!({"default": signed, "transports": {"oci": {"": accept}, "dir": {"": accept}}}).to_string()
}

fn tag_of(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

fn get(registry: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let response = Request::new("GET", path).header("accept", MANIFEST).send(registry).unwrap();
    (response.status, response.body)
}

/// The attachment manifest of an image, and the tag's path.
fn attachment(registry: SocketAddr, repository: &str, digest: &str) -> Value {
    let (status, body) = get(registry, &format!("/v2/{repository}/manifests/{}", tag_of(digest)));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn layers(registry: SocketAddr, repository: &str, digest: &str) -> usize {
    attachment(registry, repository, digest)["layers"].as_array().unwrap().len()
}

fn blob(registry: SocketAddr, repository: &str, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let (status, body) = get(registry, &format!("/v2/{repository}/blobs/{digest}"));
    assert_eq!((status, body.len() as u64), (200, descriptor["size"].as_u64().unwrap()));
    body
}

/// A document with what differs from signature to signature taken out: digests, sizes, the signature.
fn shape(document: &Value) -> String {
    let mut document = document.clone();
    let blot = |descriptor: &mut Value| {
        descriptor["digest"] = "D".into();
        descriptor["size"] = "S".into();
        if let Some(annotation) =
            descriptor.pointer_mut(&format!("/annotations/{}", SIGNATURE.replace('/', "~1")))
        {
            *annotation = "A".into();
        }
    };
    blot(&mut document["config"]);
    document["layers"].as_array_mut().unwrap().iter_mut().for_each(blot);
    document.to_string()
}

/// The attachment that the reference pushed, with its configuration and payload.
fn vector() -> (Value, Vec<u8>, Vec<u8>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/sigstore/attachment-sigstore");
    let index: Value =
        serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let bytes = |descriptor: &Value| {
        std::fs::read(image::blob(&folder, descriptor["digest"].as_str().unwrap())).unwrap()
    };
    let manifest: Value = serde_json::from_slice(&bytes(&index["manifests"][0])).unwrap();
    let (config, payload) = (bytes(&manifest["config"]), bytes(&manifest["layers"][0]));
    (manifest, config, payload)
}

fn signs_and_judges(registry: SocketAddr) {
    let bench = Bench::new();
    let app = format!("docker://{registry}/shop/app");
    bench.sign_ok("alice", &format!("{app}:v1"));
    let verdict = bench.judged("alice", &format!("{app}:v1"), 0);
    assert_eq!(verdict.matches("\"outcome\":\"accepted\"").count() % 3, 0, "{verdict}");
    assert!(
        bench
            .judged("bob", &format!("{app}:v1"), 3)
            .contains("cryptographic signature verification failed")
    );
    for digest in &bench.digests {
        assert_eq!(layers(registry, "shop/app", digest), 1);
    }
    // The same image by a second key: one more layer; and under another name: the other name's signature is needed.
    bench.sign_ok("bob", &format!("{app}:v1"));
    bench.judged("alice", &format!("{app}:v1"), 0);
    bench.judged("bob", &format!("{app}:v1"), 0);
    let run = bench.run(&format!(
        "--policy accept.json copy -q --all --dest-tls-verify=false oci:image:v1 {app}:v2"
    ));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(bench.judged("alice", &format!("{app}:v2"), 3).contains("identity"));
    // A copy takes them along, and a second one changes nothing.
    let before = attachment(registry, "shop/app", &bench.digests[0]);
    for _ in 0..2 {
        let line = format!(
            "--policy alice.json copy -q --all --src-tls-verify=false --dest-tls-verify=false {app}:v1 docker://{registry}/shop/taken:v1"
        );
        let run = bench.run(&line);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(attachment(registry, "shop/taken", &bench.digests[0]), before);
    }
}

#[test]
fn what_is_signed_is_accepted_in_debians_registry() {
    signs_and_judges(DockerRegistry::start().unwrap().address());
}

#[test]
fn what_is_signed_is_accepted_in_our_registry() {
    signs_and_judges(Registry::start().unwrap().address());
}

#[test]
fn an_attachment_has_the_reference_s_form_and_openssl_verifies_it() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let address = registry.address();
    bench.sign_ok("alice", &format!("docker://{address}/shop/app:v1"));
    let (theirs, their_config, their_payload) = vector();
    for digest in &bench.digests {
        let ours = attachment(address, "shop/app", digest);
        assert_eq!(shape(&ours), shape(&theirs));
        let payload = blob(address, "shop/app", &ours["layers"][0]);
        let config = String::from_utf8(blob(address, "shop/app", &ours["config"])).unwrap();
        let (our, their) =
            (ours["layers"][0]["digest"].as_str(), theirs["layers"][0]["digest"].as_str());
        assert_eq!(
            config.replace(our.unwrap(), "D"),
            String::from_utf8(their_config.clone()).unwrap().replace(their.unwrap(), "D")
        );
        let (mut read, mut expected): (Value, Value) = (
            serde_json::from_slice(&payload).unwrap(),
            serde_json::from_slice(&their_payload).unwrap(),
        );
        assert_eq!(read["critical"]["image"]["docker-manifest-digest"], *digest);
        assert_eq!(
            read["critical"]["identity"]["docker-reference"],
            format!("{address}/shop/app:v1")
        );
        for document in [&mut read, &mut expected] {
            document["critical"]["image"]["docker-manifest-digest"] = "D".into();
            document["critical"]["identity"]["docker-reference"] = "N".into();
            document["optional"]["creator"] = "C".into();
            document["optional"]["timestamp"] = 1.into();
        }
        assert_eq!(read.to_string(), expected.to_string(), "members, order and all");
        let signature = ours["layers"][0]["annotations"][SIGNATURE].as_str().unwrap();
        bench.place.write("payload", &payload);
        bench.place.write("signature", securecp_oci::base64::decode(signature).unwrap());
        assert!(openssl_verifies(&bench.place));
        bench.place.write("payload", payload.to_ascii_uppercase());
        assert!(!openssl_verifies(&bench.place));
    }
}

fn openssl_verifies(place: &Place) -> bool {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-verify", "alice.pub", "-signature", "signature", "payload"]);
    openssl
        .current_dir(place.path(""))
        .output()
        .expect("openssl is needed for this test")
        .status
        .success()
}

#[test]
fn a_wrong_passphrase_ends_the_copy_before_it_begins() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let to = format!("docker://{}/shop/app:v1", registry.address());
    bench.place.write("passphrase", "open sesame \n");
    let run = bench.sign("alice", &to);
    assert_eq!(
        (run.code, run.err.as_str()),
        (
            1,
            "securecp: error: --sign-by-sigstore-private-key alice.private: decrypt: encrypted: decryption failed\n\
             hint: the first line of the file that --sign-passphrase-file (for new keys --passphrase-file) names is taken\n"
        )
    );
    let line = format!(
        "--policy accept.json copy -q --all --sign-by-sigstore-private-key alice.private oci:image:v1 {to}"
    );
    let run = bench.run(&line);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("the key's passphrase was not given"), "{}", run.err);
    assert!(run.err.contains("--sign-passphrase-file"), "{}", run.err);
    assert!(registry.requests().is_empty(), "nothing was asked of the registry");
}

#[test]
fn where_attachments_are_off_nothing_is_uploaded_to_find_out() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    bench.attachments(false);
    let run = bench.sign("alice", &format!("docker://{}/shop/app:v1", registry.address()));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("cannot hold a signature made by ECDSA P-256 key sha256:"),
        "{}",
        run.err
    );
    assert!(run.err.contains("use-sigstore-attachments: true"), "{}", run.err);
    let methods = registry.requests().into_iter().map(|request| request.method);
    assert!(
        methods.into_iter().all(|method| ["GET", "HEAD"].contains(&method.to_string().as_str()))
    );
    // Signatures that are there already travel all the same, as what stands beside the image.
    bench.attachments(true);
    let to = format!("docker://{}/shop/app:v1", registry.address());
    bench.sign_ok("alice", &to);
    bench.place.write(
        "registries.d/default.yaml",
        format!(
            "docker: {{\"{}/shop\": {{use-sigstore-attachments: true}}}}\n",
            registry.address()
        ),
    );
    let taken = format!("docker://{}/other/app:v1", registry.address());
    let line = format!(
        "--policy alice.json copy -q --all --src-tls-verify=false --dest-tls-verify=false {to} {taken}"
    );
    let run = bench.run(&line);
    assert_eq!(run.code, 0, "{run:?}");
    let tags = bench
        .run(&format!("list-tags --tls-verify=false docker://{}/other/app", registry.address()));
    assert_eq!(tags.out.matches(".sig\"").count(), 3, "{}", tags.out);
}

#[test]
fn directories_hold_them_and_layouts_do_not() {
    let bench = Bench::new();
    let options = "--sign-identity h.example/app:v1";
    let line = signing("alice", "dir:out").replace("copy", &format!("copy {options}"));
    assert_eq!(bench.run(&line).code, 0);
    assert!(bench.place.read("out/signature-1").starts_with(b"\0sigstore-json\n{\"mimeType\":"));
    let run =
        bench.run(&signing("alice", "oci:signed:v1").replace("copy", &format!("copy {options}")));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("cannot hold a signature made by"), "{}", run.err);
    assert!(!bench.place.exists("signed"));
}

#[test]
fn key_files_are_private_and_never_overwritten() {
    let bench = Bench::new();
    let mode = |name: &str| {
        std::fs::metadata(bench.place.path(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("alice.private"), mode("alice.pub")), (0o600, 0o644));
    let before = (bench.place.read("alice.private"), bench.place.read("alice.pub"));
    let generate = |prefix: &str| {
        bench.place.run(&format!(
            "generate-sigstore-key --output-prefix {prefix} --passphrase-file passphrase"
        ))
    };
    let run = generate("alice");
    assert_eq!(
        (run.code, run.err.as_str()),
        (1, "securecp: error: Refusing to overwrite existing \"alice.private\"\n")
    );
    assert_eq!((bench.place.read("alice.private"), bench.place.read("alice.pub")), before);
    bench.place.write("carol.pub", "mine");
    let run = generate("carol");
    assert_eq!(run.err, "securecp: error: Refusing to overwrite existing \"carol.pub\"\n");
    assert!(!bench.place.exists("carol.private"));
    let run = bench.place.run("generate-sigstore-key --output-prefix dave");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("--passphrase-file"), "{}", run.err);
    assert_eq!(bench.place.run("generate-sigstore-key").code, 64);
    assert_eq!(generate("nowhere/key").code, 1);
    let names = cli::listing(&bench.place.path(""));
    assert!(
        !names.iter().any(|name| name.starts_with('.') || name.starts_with("dave")),
        "{names:?}"
    );
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let app = format!("docker://{}/shop/app:v1", registry.address());
    std::thread::scope(|threads| {
        for number in 0..6 {
            let (bench, app) = (&bench, &app);
            let key = if number % 2 == 0 { "alice" } else { "bob" };
            threads.spawn(move || bench.sign_ok(key, app));
        }
    });
    for digest in &bench.digests {
        assert_eq!(layers(registry.address(), "shop/app", digest), 6);
    }
    bench.judged("alice", &app, 0);
    bench.judged("bob", &app, 0);
}

/// Signs with Alice's key while, at the `nth` reading of the index's attachment, somebody puts there what holds only Bob's
/// signature, in a registry that compares nothing. Gives the layers that are there in the end, and how often it was written.
fn overtaken(nth: u64) -> (usize, usize) {
    let (bench, registry) = (Bench::new(), DockerRegistry::start().unwrap());
    let proxy = Proxy::start(registry.address()).unwrap();
    let app = format!("docker://{}/shop/app:v1", proxy.address());
    bench.sign_ok("bob", &app);
    let path = format!("/v2/shop/app/manifests/{}", tag_of(&bench.digests[0]));
    let (_, bobs) = get(registry.address(), &path);
    bench.sign_ok("bob", &app);
    proxy.clear_log();
    let put = path.clone();
    let handler = Handler::new(move |call| {
        let request = Request::new("PUT", &put).header("content-type", MANIFEST).body(&bobs);
        assert_eq!(request.send(call.upstream).unwrap().status, 201);
        None
    });
    let rule = Rule::new("GET", &tag_of(&bench.digests[0])).unwrap();
    proxy.add(rule.nth(nth).with(Fault::Handle(handler)));
    bench.sign_ok("alice", &app);
    bench.judged("alice", &app, 0);
    (
        layers(registry.address(), "shop/app", &bench.digests[0]),
        proxy.requests("PUT", &tag_of(&bench.digests[0])),
    )
}

#[test]
fn a_change_before_the_write_is_seen() {
    assert_eq!(overtaken(2), (2, 1), "Bob's first and Alice's, in one write");
}

#[test]
fn a_change_after_the_write_is_seen() {
    assert_eq!(overtaken(3), (2, 2), "Alice's was lost and is written again");
}

/// What holds signatures is judged, and carried as it was judged: it is read once.
#[test]
fn attached_signatures_are_read_once() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let proxy = Proxy::start(registry.address()).unwrap();
    let app = format!("docker://{}/shop/app:v1", proxy.address());
    bench.sign_ok("alice", &app);
    proxy.clear_log();
    let copy = format!(
        "--policy alice.json copy -q --all --index-signature require --src-tls-verify=false {app} oci:out:v1"
    );
    let run = bench.run(&copy);
    assert_eq!(run.code, 0, "{run:?}");
    for digest in &bench.digests {
        assert_eq!(proxy.requests("GET", &tag_of(digest)), 1, "{digest}");
    }
}

#[test]
fn errors_while_looking_are_never_absence() {
    for (status, code) in [(403, "DENIED"), (500, "UNKNOWN"), (404, "NAME_UNKNOWN")] {
        let (bench, registry) = (Bench::new(), Registry::start().unwrap());
        let proxy = Proxy::start(registry.address()).unwrap();
        let app = format!("docker://{}/shop/app:v1", proxy.address());
        bench.sign_ok("alice", &app);
        let reply = securecp_testkit::proxy::Reply::error(status, code, "no");
        proxy.add(Rule::new("GET", r"sig").unwrap().with(Fault::Answer(reply)));
        let verdict = bench.judged("alice", &app, 3);
        assert!(verdict.contains("\"reason\":\"notFetched\""), "{code}: {verdict}");
        if code == "NAME_UNKNOWN" {
            continue;
        }
        let run = bench.sign("bob", &app);
        assert_eq!(run.code, 1, "{code}: {run:?}");
        assert_eq!(layers(registry.address(), "shop/app", &bench.digests[0]), 1);
    }
}
