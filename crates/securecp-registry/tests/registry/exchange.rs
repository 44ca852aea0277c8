//! What works: images go up and come down again unchanged.

use securecp_layer::{CHUNK, Layer, LayerError, Scope};
use securecp_oci::{Algorithm, Digest, MediaType, Tag};
use securecp_registry::{BlobUpload, Class, ManifestName, Problem};
use securecp_testkit::proxy::{Fault, Handler, Proxy, Reply, Rule};

use crate::peers::{Memory, Peer, blob, client, image, open, plain, pull, push};

fn peers() -> [Peer; 3] {
    [Peer::embedded(), Peer::debian(), Peer::ferro()]
}

#[test]
fn blobs_of_every_size_go_up_and_come_down() {
    for peer in peers() {
        let client = peer.client("a/b");
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3] {
            let (descriptor, bytes) = blob(size, 1);
            assert!(!client.has_blob(&descriptor, &Scope::new()).unwrap());
            assert_eq!(push(&client, &descriptor, &bytes).unwrap(), descriptor);
            assert!(client.has_blob(&descriptor, &Scope::new()).unwrap());
            assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
        }
    }
}

#[test]
fn a_blob_of_unknown_digest_is_streamed() {
    for peer in peers() {
        let client = peer.client("a");
        for size in [0, 10, 3 * CHUNK + 7] {
            let (descriptor, bytes) = blob(size, 2);
            let open = || open(&descriptor, &bytes);
            let upload = BlobUpload { known: None, mount_from: &[], open: &open };
            let put = client.put_blob(&upload, &Scope::new()).unwrap();
            assert_eq!(put.digest, descriptor.digest);
            assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
        }
    }
}

#[test]
fn a_blob_of_another_repository_is_mounted_without_opening_it() {
    for peer in [Peer::embedded(), Peer::debian()] {
        let (from, to) = (peer.client("from"), peer.client("to"));
        let (descriptor, bytes) = blob(CHUNK * 2, 3);
        push(&from, &descriptor, &bytes).unwrap();
        let open = || -> Result<Layer<'_>, LayerError> { panic!("opened") };
        let mount_from = &[from.repository().clone()];
        let upload = BlobUpload { known: Some(&descriptor), mount_from, open: &open };
        to.put_blob(&upload, &Scope::new()).unwrap();
        assert_eq!(pull(&to, &descriptor).unwrap(), bytes);
    }
}

#[test]
fn a_mount_that_fails_becomes_an_upload() {
    for peer in peers() {
        let client = peer.client("to");
        let (descriptor, bytes) = blob(CHUNK * 2, 4);
        let open = || open(&descriptor, &bytes);
        let nowhere = [client.repository().with_path("no/where").unwrap()];
        let upload = BlobUpload { known: Some(&descriptor), mount_from: &nowhere, open: &open };
        client.put_blob(&upload, &Scope::new()).unwrap();
        assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    }
}

#[test]
fn a_blob_that_is_not_what_it_should_be_leaves_nothing() {
    for peer in peers() {
        let client = peer.client("a");
        for known in [true, false] {
            for size in [100, 4 * CHUNK] {
                let (descriptor, bytes) = blob(size, 5);
                let altered = blob(size, 6).1;
                for bytes in [altered, bytes.slice(..size - 1)] {
                    let open = || Ok(Layer::verified(descriptor.clone(), Memory(bytes.clone())));
                    let upload = BlobUpload {
                        known: known.then_some(&descriptor),
                        mount_from: &[],
                        open: &open,
                    };
                    let error = client.put_blob(&upload, &Scope::new()).unwrap_err();
                    assert!(matches!(error.problem(), Problem::Layer(_)), "{error:?}");
                    assert!(!client.has_blob(&descriptor, &Scope::new()).unwrap());
                }
            }
        }
    }
}

#[test]
fn manifests_go_up_and_come_down_byte_for_byte() {
    for peer in peers() {
        let (client, scope) = (peer.client("a"), Scope::new());
        let manifest = image(&client, 1);
        let tag: Tag = "t".parse().unwrap();
        let by_digest = ManifestName::Digest(manifest.digest());
        assert!(client.head_manifest(by_digest, &scope).unwrap().is_none());
        client.put_manifest(by_digest, &manifest, &scope).unwrap();
        assert!(client.head_manifest(ManifestName::Tag(&tag), &scope).unwrap().is_none());
        client.put_manifest(ManifestName::Tag(&tag), &manifest, &scope).unwrap();
        for name in [by_digest, ManifestName::Tag(&tag)] {
            let read = client.manifest(name, &scope).unwrap();
            assert_eq!(read.bytes(), manifest.bytes());
            let head = client.head_manifest(name, &scope).unwrap().unwrap();
            assert_eq!(head.digest.as_ref(), Some(manifest.digest()));
        }
        assert_eq!(client.tags(&scope).unwrap(), [tag]);
        client.delete_manifest(manifest.digest(), &scope).unwrap();
        assert!(client.head_manifest(by_digest, &scope).unwrap().is_none());
    }
}

#[test]
fn what_is_missing_is_said_to_be() {
    for peer in peers() {
        let (client, scope) = (peer.client("a"), Scope::new());
        image(&client, 1);
        let tag: Tag = "none".parse().unwrap();
        let error = client.manifest(ManifestName::Tag(&tag), &scope).unwrap_err();
        assert!(error.is_not_found() && !error.is_transient());
        assert_eq!(error.status().unwrap(), 404);
        assert!(error.to_string().contains("manifest unknown"), "{error}");
        assert!(error.to_string().starts_with("reading manifest none in 127.0.0.1:"), "{error}");
        let error = client.blob(&blob(10, 9).0, &scope).unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        match peer.client("nothing").tags(&scope) {
            Err(error) => assert!(error.is_not_found()),
            // The independent one makes no difference between a repository without tags and none.
            Ok(tags) => assert!(tags.is_empty()),
        }
    }
}

#[test]
fn a_registry_that_only_reads_says_so() {
    let extra =
        "storage: {maintenance: {readonly: {enabled: true}}, filesystem: {rootdirectory: DATA}}\n";
    let peer = Peer::debian_with(tempfile::TempDir::new().unwrap(), extra);
    let (descriptor, bytes) = blob(10, 1);
    let error = push(&peer.client("a"), &descriptor, &bytes).unwrap_err();
    assert_eq!((error.class(), error.is_transient()), (Class::Invalid, false), "{error}");
    assert_eq!(error.status().unwrap().as_u16(), 405);
}

#[test]
fn tags_come_page_by_page() {
    let peer = Peer::embedded_with(|options| options.page_limit = 3);
    let (client, scope) = (peer.client("a"), Scope::new());
    let manifest = image(&client, 1);
    let tags: Vec<Tag> = (0..10).map(|n| format!("t{n}").parse().unwrap()).collect();
    for tag in &tags {
        client.put_manifest(ManifestName::Tag(tag), &manifest, &scope).unwrap();
    }
    assert_eq!(client.tags(&scope).unwrap(), tags);
}

/// A list that leads nowhere, or in a circle, is not known to be whole.
#[test]
fn a_list_that_cannot_be_continued_is_an_error() {
    let digest = Digest::of(Algorithm::Sha256, b"x");
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    for link in [
        "</v2/a/tags/list?last=t1; rel=\"next\"",
        "/v2/a/tags/list?last=t1; rel=\"next\"",
        "<http://[>; rel=\"next\"",
        "</v2/a/SAME>; rel=\"next\"",
    ] {
        let peer = Peer::embedded();
        let proxy = Proxy::start(peer.address).unwrap();
        for (path, kind, body) in [
            ("tags/list", "application/json", r#"{"name":"a","tags":["t1"]}"#),
            (&format!("referrers/{digest}"), MediaType::OCI_INDEX.as_str(), index),
        ] {
            let reply = Reply::new(200).header("content-type", kind).body(body);
            let reply = reply.header("link", link.replace("SAME", path));
            let rule = Rule::new("GET", &format!("/{path}")).unwrap();
            proxy.add(rule.with(Fault::Answer(reply)));
        }
        let client = client(proxy.address(), "a", plain());
        let scope = Scope::new();
        for error in
            [client.tags(&scope).unwrap_err(), client.referrers(&digest, None, &scope).unwrap_err()]
        {
            assert!(matches!(error.problem(), Problem::Protocol(_)), "{link}: {error:?}");
            assert!(!error.is_not_found() && !error.is_transient());
        }
    }
}

/// Pages that are each within bounds and never end.
#[test]
fn a_list_without_end_is_an_error() {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let tags = vec![format!("\"{}\"", "t".repeat(100)); 60_000].join(",");
    let endless = Handler::new(move |_| {
        let page = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let link = format!("</v2/a/tags/list?last={page}>; rel=\"next\"");
        Some(Reply::new(200).header("link", link).body(format!(r#"{{"tags":[{tags}]}}"#)))
    });
    proxy.add(Rule::new("GET", "/tags/list").unwrap().with(Fault::Handle(endless)));
    let error = client(proxy.address(), "a", plain()).tags(&Scope::new()).unwrap_err();
    assert!(error.to_string().contains("a list of more than"), "{error}");
    assert!(proxy.requests("GET", "/tags/list") < 20);
}
