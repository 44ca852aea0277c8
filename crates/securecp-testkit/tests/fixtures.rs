//! Fixtures are valid images, and land where they are sent.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::collections::BTreeSet;
use std::path::Path;

use securecp_oci::{Declared, Digest, RawManifest, View};
use securecp_testkit::http::Request;
use securecp_testkit::{Blob, Fixture, Layer, Registry, tamper};
use serde_json::Value;

fn all() -> Vec<Fixture> {
    let layer = Layer::plain(&[("a", b"b".as_slice())]).unwrap();
    let image = Fixture::image("amd64", std::slice::from_ref(&layer));
    let docker = Fixture::docker_image("amd64", &[layer]);
    let payload = Blob::new(securecp_oci::MediaType::new("text/plain"), "signature");
    vec![
        Fixture::tiny().unwrap(),
        Fixture::two_platforms().unwrap(),
        Fixture::two_platforms_attested().unwrap(),
        Fixture::nested().unwrap(),
        Fixture::artifact("application/x", payload, Some(&image.root)),
        Fixture::docker_list(std::slice::from_ref(&docker)),
        docker,
        image,
    ]
}

fn read(bytes: &[u8], kind: &str) -> RawManifest {
    let declared = Declared { media_type: Some(kind), ..Declared::default() };
    RawManifest::read(bytes.to_vec().into(), declared).unwrap()
}

/// Everything that the manifests of a fixture name is in it, with the size stated.
#[test]
fn fixtures_are_complete() {
    for fixture in all() {
        let blobs: BTreeSet<(Digest, u64)> =
            fixture.blobs.iter().map(|blob| (blob.digest.clone(), blob.size)).collect();
        let manifests: BTreeSet<(Digest, u64)> =
            fixture.manifests().map(|m| (m.digest.clone(), m.bytes.len() as u64)).collect();
        for manifest in fixture.manifests() {
            let raw = read(&manifest.bytes, manifest.media_type.as_str());
            assert_eq!(*raw.digest(), manifest.digest);
            match raw.view() {
                View::Image(image) => {
                    for wanted in image.layers.iter().chain([&image.config]) {
                        assert!(blobs.contains(&(wanted.digest.clone(), wanted.size)));
                    }
                }
                View::Index(index) => {
                    for wanted in &index.manifests {
                        assert!(manifests.contains(&(wanted.digest.clone(), wanted.size)));
                    }
                }
                View::Schema1(_) => unreachable!("fixtures are of current formats"),
            }
        }
    }
}

#[test]
fn fixtures_are_deterministic() {
    let digests = || all().iter().map(|fixture| fixture.digest().clone()).collect::<Vec<_>>();
    assert_eq!(digests(), digests());
    let distinct: BTreeSet<Digest> = digests().into_iter().collect();
    assert_eq!(distinct.len(), all().len());
}

#[test]
fn pushed_and_planted_fixtures_are_served() {
    let registry = Registry::start_with(|options| options.require_children = true).unwrap();
    for (number, fixture) in all().iter().enumerate() {
        let (pushed, planted) = (format!("pushed/{number}"), format!("planted/{number}"));
        fixture.push(registry.address(), &pushed, Some("v1")).unwrap();
        fixture.plant(registry.root(), &planted, Some("v1")).unwrap();
        for name in [pushed, planted] {
            let path = format!("/v2/{name}/manifests/v1");
            let served = Request::new("GET", &path).send(registry.address()).unwrap();
            assert_eq!(served.body, fixture.root.bytes);
            assert_eq!(served.header("content-type"), Some(fixture.root.media_type.as_str()));
            for blob in &fixture.blobs {
                let path = format!("/v2/{name}/blobs/{}", blob.digest);
                let served = Request::new("GET", &path).send(registry.address()).unwrap();
                assert!(blob.digest.matches(&served.body));
            }
        }
    }
}

#[test]
fn layouts_are_written_and_extended() {
    let folder = tempfile::tempdir().unwrap();
    let (tiny, nested) = (Fixture::tiny().unwrap(), Fixture::nested().unwrap());
    tiny.write_layout(folder.path(), Some("tiny")).unwrap();
    nested.write_layout(folder.path(), None).unwrap();
    let index: Value = serde_json::from_slice(&read_file(folder.path(), "index.json")).unwrap();
    let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    assert_eq!(name, "tiny");
    assert_eq!(index["manifests"][1]["digest"], nested.digest().to_string());
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    for (digest, _) in [(tiny.digest(), 0), (nested.digest(), 0)] {
        assert!(
            digest.matches(&read_file(folder.path(), &format!("blobs/sha256/{}", digest.hex())))
        );
    }
}

fn read_file(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn big_layers_are_pushed_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start().unwrap();
    let layer = Layer::incompressible(folder.path(), 1, 4).unwrap();
    let fixture = Fixture::image("amd64", std::slice::from_ref(&layer));
    fixture.push(registry.address(), "big", None).unwrap();
    let path = format!("/v2/big/blobs/{}", layer.blob.digest);
    let head = Request::new("HEAD", &path).send(registry.address()).unwrap();
    assert_eq!(head.header("content-length"), Some(layer.blob.size.to_string().as_str()));
}

#[test]
fn a_refused_push_is_an_error() {
    let registry = Registry::start().unwrap();
    let mut fixture = Fixture::tiny().unwrap();
    fixture.blobs.pop();
    let error = fixture.push(registry.address(), "a", Some("v1")).unwrap_err().to_string();
    assert!(error.contains("expected status 201, found 400"), "{error}");
}

#[test]
fn tampered_content_is_served_altered() {
    let registry = Registry::start().unwrap();
    let fixture = Fixture::tiny().unwrap();
    fixture.push(registry.address(), "a", Some("v1")).unwrap();
    let digest = &fixture.blobs[1].digest;
    tamper(registry.root(), digest, |bytes| bytes[0] ^= 1).unwrap();
    let path = format!("/v2/a/blobs/{digest}");
    let served = Request::new("GET", &path).send(registry.address()).unwrap();
    assert_eq!(served.body.len() as u64, fixture.blobs[1].size);
    assert!(!digest.matches(&served.body));
}
