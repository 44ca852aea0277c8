//! Each endpoint and each refusal of the registry, through raw HTTP requests.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

#[expect(unreachable_pub, reason = "the same file is public in the test kit")]
#[path = "../../securecp-testkit/src/http.rs"]
mod http;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use http::{Request, Response, connect};
use securecp_oci::{Algorithm, Digest};
use securecp_server::{Options, Running, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Peer {
    folder: TempDir,
    running: Running,
}

impl Peer {
    fn start(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options { log_requests: true, ..Options::new(folder.path()) };
        change(&mut options);
        Self { running: Server::start(options).unwrap(), folder }
    }

    fn plain() -> Self {
        Self::start(|_| {})
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    fn send(&self, request: &Request<'_>) -> Response {
        request.send(self.address()).unwrap()
    }

    fn simple(&self, method: &str, target: &str) -> Response {
        self.send(&Request::new(method, target))
    }

    fn push(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let target = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let pushed = self.send(&Request::new("POST", &target).body(bytes));
        assert_eq!(pushed.status, 201, "{}", pushed.text());
        digest
    }

    fn begin(&self, name: &str) -> String {
        let begun =
            self.send(&Request::new("POST", &format!("/v2/{name}/blobs/uploads/")).body(b""));
        assert_eq!(begun.status, 202);
        assert_eq!(begun.header("range"), Some("0-0"));
        begun.header("location").unwrap().to_owned()
    }

    fn put_manifest(&self, name: &str, target: &str, (kind, bytes): (&str, &[u8])) -> Response {
        let target = format!("/v2/{name}/manifests/{target}");
        self.send(&Request::new("PUT", &target).header("Content-Type", kind).body(bytes))
    }

    /// Pushes an image of one layer and returns its manifest.
    fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> (Digest, Vec<u8>) {
        let manifest = image(self.push(name, b"{}"), (self.push(name, layer), layer.len()), None);
        let put = self.put_manifest(name, tag, (OCI_MANIFEST, &manifest));
        assert_eq!(put.status, 201, "{}", put.text());
        (sha256(&manifest), manifest)
    }

    /// Everything below the root but the uploads folder is what it was meant to be.
    fn unfinished(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("uploads")).unwrap().count()
    }

    fn content(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.folder.path().join("blobs").join(digest.algorithm().name()).join(hex).exists()
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn image(config: Digest, (layer, size): (Digest, usize), subject: Option<&Digest>) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size}],
        "annotations": {"a": "b"},
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 3});
    }
    manifest.to_string().into_bytes()
}

fn code(response: &Response) -> String {
    assert_eq!(response.header("content-type"), Some("application/json"), "{}", response.text());
    let value: Value = serde_json::from_slice(&response.body).unwrap();
    value["errors"][0]["code"].as_str().unwrap().to_owned()
}

fn refused(response: &Response, status: u16, expected: &str) {
    assert_eq!(
        (response.status, code(response).as_str()),
        (status, expected),
        "{}",
        response.text()
    );
}

fn body_json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn answers_the_ping_and_nothing_else() {
    let peer = Peer::plain();
    let ping = peer.simple("GET", "/v2/");
    assert_eq!(ping.header("docker-distribution-api-version"), Some("registry/2.0"));
    assert_eq!(ping.status, 200);
    assert_eq!(peer.simple("HEAD", "/v2/").status, 200);
    refused(&peer.simple("GET", "/"), 404, "UNKNOWN");
    refused(&peer.simple("GET", "/v1/"), 404, "UNKNOWN");
    refused(&peer.simple("POST", "/v2/"), 405, "UNSUPPORTED");
    refused(&peer.simple("BREW", "/v2/a/tags/list"), 405, "UNSUPPORTED");
}

#[test]
fn serves_what_was_pushed_in_one_request() {
    let peer = Peer::plain();
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let digest = peer.push("a/b", &bytes);
    let target = format!("/v2/a/b/blobs/{digest}");
    let head = peer.simple("HEAD", &target);
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000000")));
    assert!(head.body.is_empty());
    let whole = peer.simple("GET", &target);
    assert_eq!(whole.body, bytes);
    assert_eq!(whole.header("docker-content-digest"), Some(digest.to_string().as_str()));
    assert_eq!(whole.header("content-length"), Some("1000000"));
    let encoded = peer.simple("GET", &target.replace("sha256:", "sha256%3A"));
    assert_eq!(encoded.body, bytes);
    assert_eq!(peer.unfinished(), 0);
}

#[test]
fn serves_empty_blobs() {
    let peer = Peer::plain();
    let digest = peer.push("a", b"");
    let found = peer.simple("GET", &format!("/v2/a/blobs/{digest}"));
    assert_eq!(
        (found.status, found.body.len(), found.header("content-length")),
        (200, 0, Some("0"))
    );
}

#[test]
fn keeps_repositories_apart() {
    let peer = Peer::plain();
    let digest = peer.push("a", b"x");
    refused(&peer.simple("GET", &format!("/v2/b/blobs/{digest}")), 404, "BLOB_UNKNOWN");
    refused(&peer.simple("GET", &format!("/v2/a/b/blobs/{digest}")), 404, "BLOB_UNKNOWN");
    refused(&peer.simple("GET", &format!("/v2/a/manifests/{digest}")), 404, "MANIFEST_UNKNOWN");
}

#[test]
fn serves_ranges() {
    let peer = Peer::plain();
    let digest = peer.push("a", b"0123456789");
    let target = format!("/v2/a/blobs/{digest}");
    let ask = |range: &str| peer.send(&Request::new("GET", &target).header("Range", range));
    let part = ask("bytes=2-4");
    assert_eq!((part.status, part.body.as_slice()), (206, b"234".as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(ask("bytes=8-").body, b"89");
    assert_eq!(ask("bytes=-1").body, b"9");
    assert_eq!(ask("bytes=0-1,3-4").status, 200);
    let outside = ask("bytes=10-");
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    let head = peer.send(&Request::new("HEAD", &target).header("Range", "bytes=2-4"));
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let other = Request::new("GET", &target).header("Range", "bytes=2-4");
    assert_eq!(peer.send(&other.clone().header("If-Range", "\"other\"")).status, 200);
    let same = format!("\"{digest}\"");
    assert_eq!(peer.send(&other.header("If-Range", &same)).status, 206);
}

#[test]
fn takes_an_upload_in_a_session() {
    let peer = Peer::plain();
    let location = peer.begin("a");
    assert_eq!(peer.unfinished(), 1);
    let digest = sha256(b"hello");
    let closed =
        peer.send(&Request::new("PUT", &format!("{location}?digest={digest}")).body(b"hello"));
    assert_eq!(closed.status, 201);
    assert_eq!(closed.header("location").unwrap(), format!("/v2/a/blobs/{digest}"));
    assert_eq!(peer.simple("GET", closed.header("location").unwrap()).body, b"hello");
    refused(&peer.simple("GET", &location), 404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(peer.unfinished(), 0);
}

#[test]
fn takes_chunks_in_order_only() {
    let peer = Peer::plain();
    let location = peer.begin("a");
    let chunk = |range: &str, body: &[u8]| {
        peer.send(&Request::new("PATCH", &location).header("Content-Range", range).body(body))
    };
    let first = chunk("0-4", b"01234");
    assert_eq!((first.status, first.header("range")), (202, Some("0-4")));
    let again = chunk("0-4", b"01234");
    refused(&again, 416, "BLOB_UPLOAD_INVALID");
    assert_eq!(again.header("range"), Some("0-4"));
    assert_eq!(again.header("location"), Some(location.as_str()));
    refused(&chunk("7-8", b"78"), 416, "BLOB_UPLOAD_INVALID");
    refused(&chunk("5-9", b"567"), 400, "SIZE_INVALID");
    refused(&chunk("x", b"567"), 400, "BLOB_UPLOAD_INVALID");
    let status = peer.simple("GET", &location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    assert_eq!(chunk("bytes 5-7/*", b"567").header("range"), Some("0-7"));
    let digest = sha256(b"0123456789");
    let last = Request::new("PUT", &location);
    refused(&peer.send(&last.body(b"89")), 400, "DIGEST_INVALID");
    let target = format!("{location}?digest={digest}");
    let last = Request::new("PUT", &target).header("Content-Range", "8-9").body(b"89");
    assert_eq!(peer.send(&last).status, 201);
    assert_eq!(peer.simple("GET", &format!("/v2/a/blobs/{digest}")).body, b"0123456789");
}

#[test]
fn takes_a_stream_without_a_length() {
    let peer = Peer::plain();
    let location = peer.begin("a");
    let mut stream = connect(peer.address()).unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").unwrap();
    let streamed = Response::read(&mut stream).unwrap();
    assert_eq!((streamed.status, streamed.header("range")), (202, Some("0-10")));
    let digest = sha256(b"hello world");
    let target = format!("{location}?digest={digest}");
    assert_eq!(peer.send(&Request::new("PUT", &target).body(b"")).status, 201);
}

#[test]
fn resumes_after_a_broken_connection() {
    let peer = Peer::plain();
    let location = peer.begin("a");
    let mut stream = connect(peer.address()).unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234");
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    let status = (0..200)
        .map(|_| peer.simple("GET", &location))
        .find(|status| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            status.header("range") == Some("0-4")
        })
        .expect("what arrived is kept");
    assert_eq!(status.status, 204);
    let rest = Request::new("PATCH", &location).header("Content-Range", "5-9").body(b"56789");
    assert_eq!(peer.send(&rest).status, 202);
    let target = format!("{location}?digest={}", sha256(b"0123456789"));
    assert_eq!(peer.send(&Request::new("PUT", &target)).status, 201);
}

#[test]
fn verifies_every_upload() {
    let peer = Peer::plain();
    let wrong = sha256(b"other");
    let post = format!("/v2/a/blobs/uploads/?digest={wrong}");
    refused(&peer.send(&Request::new("POST", &post).body(b"x")), 400, "DIGEST_INVALID");
    let location = peer.begin("a");
    let put = format!("{location}?digest={wrong}");
    refused(&peer.send(&Request::new("PUT", &put).body(b"x")), 400, "DIGEST_INVALID");
    for bad in ["sha256:00", "md5:00", "x", ""] {
        let post = format!("/v2/a/blobs/uploads/?digest={bad}");
        refused(&peer.send(&Request::new("POST", &post).body(b"x")), 400, "DIGEST_INVALID");
    }
    assert!(!peer.content(&wrong));
    assert_eq!(peer.unfinished(), 0);
    refused(&peer.simple("GET", &format!("/v2/a/blobs/{wrong}")), 404, "BLOB_UNKNOWN");
}

#[test]
fn accepts_every_digest_algorithm() {
    let peer = Peer::plain();
    for (algorithm, hint) in [
        (Algorithm::Sha384, ""),
        (Algorithm::Sha512, "?digest-algorithm=sha512"),
        (Algorithm::Sha512, ""),
    ] {
        let bytes = format!("{algorithm}{hint}").into_bytes();
        let digest = Digest::of(algorithm, &bytes);
        let target = format!("/v2/a/blobs/uploads/{hint}");
        let begun = peer.send(&Request::new("POST", &target).body(b""));
        let location = begun.header("location").unwrap();
        assert_eq!(peer.send(&Request::new("PATCH", location).body(&bytes)).status, 202);
        let put = format!("{location}?digest={digest}");
        assert_eq!(peer.send(&Request::new("PUT", &put)).status, 201);
        assert_eq!(peer.simple("GET", &format!("/v2/a/blobs/{digest}")).body, bytes);
    }
    let unknown = "/v2/a/blobs/uploads/?digest-algorithm=md5";
    refused(&peer.send(&Request::new("POST", unknown).body(b"")), 400, "DIGEST_INVALID");
}

#[test]
fn cancels_uploads() {
    let peer = Peer::plain();
    let location = peer.begin("a");
    assert_eq!(peer.send(&Request::new("PATCH", &location).body(b"x")).status, 202);
    refused(&peer.simple("DELETE", &location.replace("/a/", "/b/")), 404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(peer.simple("DELETE", &location).status, 204);
    refused(&peer.simple("DELETE", &location), 404, "BLOB_UPLOAD_UNKNOWN");
    refused(&peer.send(&Request::new("PATCH", &location).body(b"x")), 404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(peer.unfinished(), 0);
}

#[test]
fn mounts_what_the_source_has() {
    let peer = Peer::plain();
    let digest = peer.push("a", b"x");
    let mount = |target: String| peer.send(&Request::new("POST", &target).body(b""));
    let mounted = mount(format!("/v2/b/blobs/uploads/?mount={digest}&from=a"));
    assert_eq!(mounted.status, 201);
    assert_eq!(peer.simple("GET", mounted.header("location").unwrap()).body, b"x");
    for query in [
        format!("mount={}&from=a", sha256(b"y")),
        format!("mount={digest}&from=c"),
        format!("mount={digest}&from=../a"),
        format!("mount={digest}"),
    ] {
        let session = mount(format!("/v2/d/blobs/uploads/?{query}"));
        assert_eq!(session.status, 202, "{query}");
        let put = format!("{}?digest={digest}", session.header("location").unwrap());
        assert_eq!(peer.send(&Request::new("PUT", &put).body(b"x")).status, 201);
        assert_eq!(peer.simple("DELETE", &format!("/v2/d/blobs/{digest}")).status, 202);
    }
}

#[test]
fn limits_blobs() {
    let peer = Peer::start(|options| options.max_blob_bytes = Some(10));
    let digest = sha256(&[0; 11]);
    let post = format!("/v2/a/blobs/uploads/?digest={digest}");
    refused(&peer.send(&Request::new("POST", &post).body(&[0; 11])), 413, "SIZE_INVALID");
    let location = peer.begin("a");
    assert_eq!(peer.send(&Request::new("PATCH", &location).body(&[0; 10])).status, 202);
    refused(&peer.send(&Request::new("PATCH", &location).body(&[0; 1])), 413, "SIZE_INVALID");
    refused(&peer.simple("GET", &location), 404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(peer.unfinished(), 0);
}

#[test]
fn stores_manifests_by_tag_and_digest() {
    let peer = Peer::plain();
    let (digest, manifest) = peer.push_image("a", "v1", b"layer");
    for target in ["v1".to_owned(), digest.to_string()] {
        let path = format!("/v2/a/manifests/{target}");
        let found = peer.simple("GET", &path);
        assert_eq!((found.status, &found.body), (200, &manifest));
        assert_eq!(found.header("content-type"), Some(OCI_MANIFEST));
        assert_eq!(found.header("docker-content-digest"), Some(digest.to_string().as_str()));
        let head = peer.simple("HEAD", &path);
        assert_eq!(head.header("content-length"), Some(manifest.len().to_string().as_str()));
        assert!(head.body.is_empty());
    }
    let sha512 = Digest::of(Algorithm::Sha512, &manifest);
    let put = peer.put_manifest("a", &sha512.to_string(), (OCI_MANIFEST, &manifest));
    assert_eq!(put.header("docker-content-digest"), Some(sha512.to_string().as_str()));
    assert_eq!(peer.simple("GET", &format!("/v2/a/manifests/{sha512}")).body, manifest);
    refused(&peer.simple("GET", "/v2/a/manifests/v2"), 404, "MANIFEST_UNKNOWN");
    refused(&peer.simple("GET", "/v2/a/manifests/.bad"), 404, "MANIFEST_UNKNOWN");
    refused(&peer.simple("GET", "/v2/b/manifests/v1"), 404, "MANIFEST_UNKNOWN");
}

#[test]
fn refuses_bad_manifests() {
    let peer = Peer::plain();
    let (config, layer) = (peer.push("a", b"{}"), peer.push("a", b"layer"));
    let good = image(config.clone(), (layer.clone(), 5), None);
    let put =
        |target: &str, kind: &str, bytes: &[u8]| peer.put_manifest("a", target, (kind, bytes));
    refused(&put("v1", OCI_INDEX, &good), 400, "MANIFEST_INVALID");
    refused(&put("v1", "application/json", &good), 415, "MANIFEST_INVALID");
    refused(&put("v1", OCI_MANIFEST, b"{}"), 400, "MANIFEST_INVALID");
    refused(&put("v1", OCI_MANIFEST, b"\xff"), 400, "MANIFEST_INVALID");
    refused(&put("v1", OCI_MANIFEST, b"{\"a\":1,\"a\":2}"), 400, "MANIFEST_INVALID");
    refused(&put(".bad", OCI_MANIFEST, &good), 400, "TAG_INVALID");
    refused(&put(&sha256(b"x").to_string(), OCI_MANIFEST, &good), 400, "DIGEST_INVALID");
    refused(&put("sha256:00", OCI_MANIFEST, &good), 400, "DIGEST_INVALID");
    let dangling = image(config.clone(), (sha256(b"absent"), 6), None);
    refused(&put("v1", OCI_MANIFEST, &dangling), 400, "MANIFEST_BLOB_UNKNOWN");
    let missized = image(config, (layer, 6), None);
    refused(&put("v1", OCI_MANIFEST, &missized), 400, "MANIFEST_INVALID");
    let mut large = good.clone();
    large.resize((4 << 20) + 1, b' ');
    refused(&put("v1", OCI_MANIFEST, &large), 413, "SIZE_INVALID");
    large.pop();
    assert_eq!(put("full", OCI_MANIFEST, &large).status, 201);
    refused(&peer.simple("GET", "/v2/a/manifests/v1"), 404, "MANIFEST_UNKNOWN");
    refused(&peer.put_manifest("b", "v1", (OCI_MANIFEST, &good)), 400, "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn stores_sparse_indexes_unless_told_otherwise() {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": sha256(b"absent"), "size": 6}
    ]});
    let bytes = index.to_string().into_bytes();
    assert_eq!(Peer::plain().put_manifest("a", "v1", (OCI_INDEX, &bytes)).status, 201);
    let strict = Peer::start(|options| options.require_children = true);
    refused(&strict.put_manifest("a", "v1", (OCI_INDEX, &bytes)), 400, "MANIFEST_BLOB_UNKNOWN");
    let (digest, manifest) = strict.push_image("a", "child", b"layer");
    let mut index = index;
    index["manifests"][0] =
        json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len()});
    let bytes = index.to_string().into_bytes();
    assert_eq!(strict.put_manifest("a", "v1", (OCI_INDEX, &bytes)).status, 201);
}

#[test]
fn leaves_out_layers_that_live_elsewhere() {
    let peer = Peer::plain();
    let config = peer.push("a", b"{}");
    let text = String::from_utf8(image(config, (sha256(b"absent"), 6), None)).unwrap();
    let foreign = text.replace("image.layer.v1.tar", "image.layer.nondistributable.v1.tar");
    assert_eq!(peer.put_manifest("a", "v1", (OCI_MANIFEST, foreign.as_bytes())).status, 201);
}

#[test]
fn pages_tags_in_order() {
    let peer = Peer::start(|options| options.page_limit = 3);
    refused(&peer.simple("GET", "/v2/a/tags/list"), 404, "NAME_UNKNOWN");
    let (_, manifest) = peer.push_image("a", "v1", b"layer");
    for tag in ["v10", "v2", "latest", "_x"] {
        assert_eq!(peer.put_manifest("a", tag, (OCI_MANIFEST, &manifest)).status, 201);
    }
    let first = peer.simple("GET", "/v2/a/tags/list");
    assert_eq!(body_json(&first), json!({"name": "a", "tags": ["_x", "latest", "v1"]}));
    assert_eq!(first.header("link"), Some("</v2/a/tags/list?n=3&last=v1>; rel=\"next\""));
    let second = peer.simple("GET", "/v2/a/tags/list?n=3&last=v1");
    assert_eq!(body_json(&second)["tags"], json!(["v10", "v2"]));
    assert_eq!(second.header("link"), None);
    assert_eq!(
        body_json(&peer.simple("GET", "/v2/a/tags/list?n=2"))["tags"],
        json!(["_x", "latest"])
    );
    assert_eq!(body_json(&peer.simple("GET", "/v2/a/tags/list?n=0"))["tags"], json!([]));
    assert_eq!(
        body_json(&peer.simple("GET", "/v2/a/tags/list?n=99&last=m"))["tags"],
        json!(["v1", "v10", "v2"])
    );
    refused(&peer.simple("GET", "/v2/a/tags/list?n=x"), 400, "PAGINATION_NUMBER_INVALID");
    refused(&peer.simple("GET", "/v2/a/tags/list?n=-1"), 400, "PAGINATION_NUMBER_INVALID");
    assert_eq!(body_json(&peer.simple("GET", "/v2/_catalog")), json!({"repositories": ["a"]}));
}

#[test]
fn lists_and_filters_referrers() {
    let peer = Peer::start(|options| options.page_limit = 2);
    let subject = sha256(b"subject may come later");
    let (config, layer) = (peer.push("a", b"{}"), peer.push("a", b"layer"));
    let empty = peer.simple("GET", &format!("/v2/a/referrers/{subject}"));
    assert_eq!((empty.status, empty.header("content-type")), (200, Some(OCI_INDEX)));
    assert_eq!(body_json(&empty)["manifests"], json!([]));
    let mut digests = Vec::new();
    for kind in ["sbom", "sbom", "signature"] {
        let bytes = image(config.clone(), (layer.clone(), 5), Some(&subject));
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        manifest["artifactType"] = json!(format!("application/{kind}+x"));
        manifest["annotations"]["number"] = json!(digests.len().to_string());
        let bytes = manifest.to_string().into_bytes();
        let put = peer.put_manifest("a", &sha256(&bytes).to_string(), (OCI_MANIFEST, &bytes));
        assert_eq!(put.header("oci-subject"), Some(subject.to_string().as_str()));
        digests.push(sha256(&bytes).to_string());
    }
    let path = format!("/v2/a/referrers/{subject}");
    let filtered = peer.simple("GET", &format!("{path}?artifactType=application%2Fsignature%2Bx"));
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    let entry = &body_json(&filtered)["manifests"][0];
    assert_eq!(entry["digest"], json!(digests[2]));
    assert_eq!(entry["artifactType"], json!("application/signature+x"));
    assert_eq!(entry["annotations"], json!({"a": "b", "number": "2"}));
    let first = peer.simple("GET", &path);
    assert_eq!(first.header("oci-filters-applied"), None);
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    let second = peer.simple("GET", next);
    let found = [body_json(&first), body_json(&second)];
    let mut found: Vec<&str> = found
        .iter()
        .flat_map(|page| page["manifests"].as_array().unwrap())
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    digests.sort_unstable();
    assert_eq!(found, digests);
    assert_eq!(second.header("link"), None);
    for digest in &digests {
        assert_eq!(peer.simple("DELETE", &format!("/v2/a/manifests/{digest}")).status, 202);
    }
    assert_eq!(body_json(&peer.simple("GET", &path))["manifests"], json!([]));
    refused(&peer.simple("GET", "/v2/a/referrers/x"), 400, "DIGEST_INVALID");
}

#[test]
fn deletes_tags_manifests_and_blobs() {
    let peer = Peer::plain();
    let (digest, manifest) = peer.push_image("a", "v1", b"layer");
    peer.push_image("b", "v1", b"layer");
    peer.put_manifest("a", "v2", (OCI_MANIFEST, &manifest));
    assert_eq!(peer.simple("DELETE", "/v2/a/manifests/v1").status, 202);
    refused(&peer.simple("DELETE", "/v2/a/manifests/v1"), 404, "MANIFEST_UNKNOWN");
    assert_eq!(peer.simple("GET", "/v2/a/manifests/v2").status, 200);
    assert_eq!(peer.simple("DELETE", &format!("/v2/a/manifests/{digest}")).status, 202);
    refused(&peer.simple("GET", "/v2/a/manifests/v2"), 404, "MANIFEST_UNKNOWN");
    assert_eq!(body_json(&peer.simple("GET", "/v2/a/tags/list"))["tags"], json!([]));
    assert!(peer.content(&digest), "repository b still has it");
    assert_eq!(peer.simple("DELETE", &format!("/v2/b/manifests/{digest}")).status, 202);
    assert!(!peer.content(&digest));
    let layer = sha256(b"layer");
    assert_eq!(peer.simple("DELETE", &format!("/v2/a/blobs/{layer}")).status, 202);
    refused(&peer.simple("DELETE", &format!("/v2/a/blobs/{layer}")), 404, "BLOB_UNKNOWN");
    assert!(peer.content(&layer));
    assert_eq!(peer.simple("DELETE", &format!("/v2/b/blobs/{layer}")).status, 202);
    assert!(!peer.content(&layer));
}

#[test]
fn keeps_tags_when_asked() {
    let peer = Peer::start(|options| options.immutable_tags = true);
    let (_, manifest) = peer.push_image("a", "v1", b"one");
    assert_eq!(peer.put_manifest("a", "v1", (OCI_MANIFEST, &manifest)).status, 201);
    let other = image(peer.push("a", b"{}"), (peer.push("a", b"two"), 3), None);
    refused(&peer.put_manifest("a", "v1", (OCI_MANIFEST, &other)), 409, "DENIED");
    assert_eq!(peer.simple("GET", "/v2/a/manifests/v1").body, manifest);
}

#[test]
fn reads_no_manifest_without_bound() {
    let peer = Peer::plain();
    let (digest, _) = peer.push_image("a", "v1", b"one");
    let path = peer.folder.path().join("blobs/sha256").join(digest.hex());
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
    refused(&peer.simple("GET", "/v2/a/manifests/v1"), 500, "UNKNOWN");
}

#[test]
fn compares_and_sets_tags() {
    let peer = Peer::plain();
    let (digest, manifest) = peer.push_image("a", "v1", b"one");
    let other = image(peer.push("a", b"{}"), (peer.push("a", b"two"), 3), None);
    let put = |header: (&str, &str), tag: &str, bytes: &[u8]| {
        let target = format!("/v2/a/manifests/{tag}");
        let request = Request::new("PUT", &target).header("Content-Type", OCI_MANIFEST);
        peer.send(&request.header(header.0, header.1).body(bytes))
    };
    refused(&put(("If-None-Match", "*"), "v1", &other), 412, "DENIED");
    refused(&put(("If-Match", "\"sha256:other\""), "v1", &other), 412, "DENIED");
    refused(&put(("If-Match", "\"sha256:other\""), "v2", &other), 412, "DENIED");
    assert_eq!(peer.simple("GET", "/v2/a/manifests/v1").body, manifest);
    assert_eq!(put(("If-None-Match", "*"), "v2", &other).status, 201);
    assert_eq!(put(("If-Match", &format!("\"{digest}\"")), "v1", &other).status, 201);
    assert_eq!(peer.simple("GET", "/v2/a/manifests/v1").body, other);
}

#[test]
fn refuses_names_that_are_paths() {
    let peer = Peer::plain();
    let digest = sha256(b"x");
    for name in [
        "../x",
        "..",
        "a/../../x",
        "%2e%2e/x",
        "..%2fx",
        "a%2f..%2fx",
        "/etc",
        "a//b",
        "A",
        "_tags",
        "a/_blobs",
        "a%00",
    ] {
        let post = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let pushed = peer.send(&Request::new("POST", &post).body(b"x"));
        refused(&pushed, 400, "NAME_INVALID");
        refused(&peer.simple("GET", &format!("/v2/{name}/manifests/v1")), 400, "NAME_INVALID");
        refused(&peer.simple("GET", &format!("/v2/{name}/tags/list")), 400, "NAME_INVALID");
    }
    for id in ["../../blobs", "..%2f..%2fblobs", "x"] {
        let status = peer.simple("GET", &format!("/v2/a/blobs/uploads/{id}")).status;
        assert!((400..500).contains(&status), "{id}: {status}");
    }
    let outside = peer.folder.path().parent().unwrap().join("x");
    assert!(!outside.exists());
    assert!(!peer.content(&digest));
}

#[test]
fn changes_nothing_when_read_only() {
    let peer = Peer::plain();
    let (digest, manifest) = peer.push_image("a", "v1", b"layer");
    let Peer { folder, running } = peer;
    let options = || Options { read_only: true, ..Options::new(folder.path()) };
    let reader = Server::start(options()).unwrap();
    running.stop();
    let send = |request: Request<'_>| request.send(reader.address()).unwrap();
    assert_eq!(send(Request::new("GET", "/v2/a/manifests/v1")).body, manifest);
    let path = format!("/v2/a/manifests/{digest}");
    for request in [
        Request::new("POST", "/v2/a/blobs/uploads/").body(b""),
        Request::new("PUT", &path).header("Content-Type", OCI_MANIFEST).body(&manifest),
        Request::new("DELETE", &path),
    ] {
        refused(&send(request), 405, "UNSUPPORTED");
    }
    let missing = folder.path().join("missing");
    assert!(Server::start(Options { root: missing.clone(), ..options() }).is_err());
    assert!(!missing.exists());
}

#[test]
fn lets_one_server_write_and_clears_leftovers() {
    let peer = Peer::plain();
    let Err(error) = Server::start(Options::new(peer.folder.path())) else {
        panic!("two servers write to one root")
    };
    assert!(error.to_string().contains("cannot be used"), "{error}");
    let Peer { folder, running } = peer;
    running.stop();
    std::fs::write(folder.path().join("uploads/leftover"), b"x").unwrap();
    let again = Server::start(Options::new(folder.path())).unwrap();
    assert!(!folder.path().join("uploads/leftover").exists());
    drop(again);
}

#[test]
fn reports_a_taken_address() {
    let peer = Peer::plain();
    let folder = tempfile::tempdir().unwrap();
    let options = Options { listen: peer.address(), ..Options::new(folder.path()) };
    let Err(error) = Server::start(options) else { panic!("one address, two servers") };
    assert!(error.to_string().contains(&peer.address().to_string()), "{error}");
}

#[test]
fn takes_the_same_blob_from_many_at_once() {
    let peer = Peer::plain();
    let bytes = vec![7; 3_000_000];
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (peer, bytes) = (&peer, &bytes);
                scope.spawn(move || peer.push(&format!("a{}", n % 2), bytes))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for name in ["a0", "a1"] {
        assert_eq!(peer.simple("GET", &format!("/v2/{name}/blobs/{}", digests[0])).body, bytes);
    }
    assert_eq!(peer.unfinished(), 0);
}

#[test]
fn records_requests() {
    let peer = Peer::plain();
    let digest = peer.push("a", b"12345");
    peer.simple("GET", &format!("/v2/a/blobs/{digest}"));
    let records = peer.running.requests();
    let seen: Vec<_> =
        records.iter().map(|r| (r.method.as_str(), r.status, r.bytes_in, r.bytes_out)).collect();
    assert_eq!(seen, [("POST", 201, 5, 0), ("GET", 200, 0, 5)]);
    assert_eq!(records[0].target, format!("/v2/a/blobs/uploads/?digest={digest}"));
    peer.running.clear_requests();
    assert!(peer.running.requests().is_empty());
}

#[test]
fn hides_its_paths_when_the_storage_fails() {
    let peer = Peer::plain();
    let (digest, _) = peer.push_image("a", "v1", b"layer");
    let root: &Path = peer.folder.path();
    std::fs::write(root.join("repositories/a/_tags/v1"), b"not a digest").unwrap();
    let failed = peer.simple("GET", "/v2/a/manifests/v1");
    refused(&failed, 500, "UNKNOWN");
    assert!(!failed.text().contains(root.to_str().unwrap()));
    assert_eq!(peer.simple("GET", &format!("/v2/a/manifests/{digest}")).status, 200);
}

#[test]
fn cuts_the_connection_when_a_blob_gets_shorter() {
    let peer = Peer::plain();
    let digest = peer.push("a", b"x");
    let path = peer.folder.path().join("blobs/sha256").join(digest.hex());
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let size = 64 << 20;
    file.set_len(size).unwrap();
    let mut stream = connect(peer.address()).unwrap();
    let head = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut start = [0; 1000];
    stream.read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"HTTP/1.1 200"));
    file.set_len(0).unwrap();
    let mut rest = Vec::new();
    // Reset or closed, the length announced must not be reached.
    let _ = stream.read_to_end(&mut rest);
    assert!((rest.len() as u64) < size - 1000);
}

#[test]
fn stops_while_a_request_stalls() {
    let peer = Peer::plain();
    let location = peer.begin("a");
    let mut stream = connect(peer.address()).unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0");
    stream.write_all(head.as_bytes()).unwrap();
    let started = std::time::Instant::now();
    drop(peer);
    assert!(started.elapsed() < std::time::Duration::from_secs(3));
}

#[test]
fn gives_up_on_a_stalled_body() {
    let peer = Peer::start(|options| options.idle_timeout = std::time::Duration::from_millis(50));
    let location = peer.begin("a");
    let mut stream = connect(peer.address()).unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0"
    );
    stream.write_all(head.as_bytes()).unwrap();
    refused(&Response::read(&mut stream).unwrap(), 400, "BLOB_UPLOAD_INVALID");
    let status = peer.simple("GET", &location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-0")));
}
