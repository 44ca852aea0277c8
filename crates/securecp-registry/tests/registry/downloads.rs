//! Downloads that do not go straight: broken connections, odd ranges, lies.

use std::time::{Duration, Instant};

use securecp_layer::{LayerError, Scope};
use securecp_net::{Net, TimeLimits};
use securecp_oci::Tag;
use securecp_registry::{Class, Client, ManifestName, Problem, Registries};
use securecp_testkit::proxy::{Fault, How, Point, Proxy, Reply, Rule, Side};

use crate::peers::{Peer, blob, client, image, plain, pull, push};

const MIB: usize = 1 << 20;

fn proxied() -> (Peer, Proxy, Client) {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let client = client(proxy.address(), "a", plain());
    (peer, proxy, client)
}

fn get() -> Rule {
    Rule::new("GET", "/blobs/").unwrap()
}

fn cut(point: Point, how: How) -> Fault {
    Fault::Break(Side::Response, point, how)
}

#[test]
fn a_broken_body_is_resumed_by_range() {
    for (point, how) in [
        (Point::Percent(0), How::Reset),
        (Point::Percent(50), How::Reset),
        (Point::Percent(50), How::Close),
        (Point::Percent(99), How::Reset),
    ] {
        let (_peer, proxy, client) = proxied();
        let (descriptor, bytes) = blob(8 * MIB, 1);
        push(&client, &descriptor, &bytes).unwrap();
        proxy.add(get().first(1).with(cut(point, how)));
        assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
        let asked = proxy.log().iter().filter(|seen| seen.is("GET", "/blobs/")).count();
        let resumed = proxy.log().iter().any(|seen| seen.header("range").is_some());
        assert_eq!((asked, resumed), (2, point != Point::Percent(0)), "{point:?}");
    }
}

#[test]
fn a_registry_without_ranges_sends_all_again_and_the_known_part_is_skipped() {
    let (_peer, proxy, client) = proxied();
    let (descriptor, bytes) = blob(4 * MIB, 1);
    push(&client, &descriptor, &bytes).unwrap();
    proxy.add(get().with(Fault::DropRequestHeader("range")));
    proxy.add(get().first(1).with(cut(Point::Percent(50), How::Reset)));
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
}

#[test]
fn a_resume_that_offers_something_else_is_refused() {
    for range in ["bytes 0-4194303/4194304", "bytes 2097152-4194303/9", "bytes */*", "nonsense"] {
        let (_peer, proxy, client) = proxied();
        let (descriptor, bytes) = blob(4 * MIB, 1);
        push(&client, &descriptor, &bytes).unwrap();
        proxy.add(get().first(1).with(cut(Point::Bytes(2 * MIB as u64), How::Reset)));
        proxy.add(get().from(2).with(Fault::SetResponseHeader("content-range", range.to_owned())));
        let error = pull(&client, &descriptor).unwrap_err();
        assert!(!error.is_transient(), "{range}: {error:?}");
    }
}

#[test]
fn resumes_without_progress_are_bounded() {
    let (_peer, proxy, client) = proxied();
    let (descriptor, bytes) = blob(4 * MIB, 1);
    push(&client, &descriptor, &bytes).unwrap();
    proxy.add(get().with(cut(Point::Bytes(100), How::Reset)));
    let error = pull(&client, &descriptor).unwrap_err();
    assert!(error.is_transient());
    assert!(proxy.requests("GET", "/blobs/") <= 5);
}

#[test]
fn progress_renews_the_budget() {
    // closed in order: a reset would throw away what has arrived but was not read yet
    let (_peer, proxy, client) = proxied();
    let (descriptor, bytes) = blob(24 * MIB, 1);
    push(&client, &descriptor, &bytes).unwrap();
    proxy.add(get().with(cut(Point::Bytes(2 * MIB as u64), How::Close)));
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    assert!(proxy.requests("GET", "/blobs/") >= 12);
}

#[test]
fn a_stalled_body_is_left_and_resumed() {
    let (_peer, proxy, _) = proxied();
    let limits = TimeLimits { stall: Duration::from_millis(200), ..TimeLimits::default() };
    let repository = format!("{}/a", proxy.address()).parse().unwrap();
    let client = Registries::new(Net::new(limits), plain()).client(&repository).unwrap();
    let (descriptor, bytes) = blob(4 * MIB, 1);
    push(&client, &descriptor, &bytes).unwrap();
    proxy.add(get().first(1).with(cut(Point::Percent(50), How::Stall)));
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
}

#[test]
fn a_cancel_ends_a_stalled_body_at_once() {
    let (_peer, proxy, client) = proxied();
    let (descriptor, bytes) = blob(4 * MIB, 1);
    push(&client, &descriptor, &bytes).unwrap();
    proxy.add(get().with(cut(Point::Percent(50), How::Stall)));
    let scope = Scope::new();
    let mut download = client.blob(&descriptor, &scope).unwrap();
    let start = Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        scope.cancel();
    });
    let error = loop {
        match download.read() {
            Ok(chunk) => assert!(chunk.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.problem(), Problem::Stopped(_)));
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[test]
fn encoded_altered_short_and_long_bodies_are_refused() {
    let refused = |fault: Fault| {
        let (_peer, proxy, client) = proxied();
        let (descriptor, bytes) = blob(MIB, 1);
        push(&client, &descriptor, &bytes).unwrap();
        proxy.add(get().with(fault));
        pull(&client, &descriptor).unwrap_err()
    };
    let encoded = refused(Fault::SetResponseHeader("content-encoding", "gzip".to_owned()));
    assert!(format!("{encoded:?}").contains("content encoding"), "{encoded:?}");
    let altered = refused(cut(Point::Bytes(500_001), How::Flip));
    assert!(matches!(altered, LayerError::Altered { .. }));
    for fault in [Fault::Shorten(1), Fault::Lengthen(vec![0])] {
        let error = refused(fault);
        assert!(format!("{error:?}").contains("blob size does not match"), "{error:?}");
    }
}

#[test]
fn lies_about_a_manifest_are_found() {
    let (_peer, proxy, client) = proxied();
    let (scope, tag) = (Scope::new(), "t".parse::<Tag>().unwrap());
    let manifest = image(&client, 1);
    client.put_manifest(ManifestName::Tag(&tag), &manifest, &scope).unwrap();
    let other = blob(1, 1).0.digest.to_string();
    let lie = Fault::SetResponseHeader("docker-content-digest", other);
    proxy.add(Rule::new("*", "/manifests/").unwrap().with(lie));
    let error = client.manifest(ManifestName::Tag(&tag), &scope).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    let error = client.put_manifest(ManifestName::Tag(&tag), &manifest, &scope).unwrap_err();
    assert_eq!(error.class(), Class::Integrity);
    proxy.clear_rules();
    let flip = cut(Point::Percent(50), How::Flip);
    proxy.add(Rule::new("GET", "/manifests/").unwrap().with(flip));
    let name = ManifestName::Digest(manifest.digest());
    assert_eq!(client.manifest(name, &scope).unwrap_err().class(), Class::Integrity);
    proxy.clear_rules();
    proxy.add(Rule::new("GET", "/manifests/").unwrap().with(Fault::Answer(Reply::html(200))));
    assert_eq!(client.manifest(name, &scope).unwrap_err().class(), Class::Integrity);
}
