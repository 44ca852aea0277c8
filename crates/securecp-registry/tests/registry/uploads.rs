//! Uploads that do not go straight: limits, lost answers, sessions that must be ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use securecp_layer::{CHUNK, Layer, Scope};
use securecp_oci::Descriptor;
use securecp_registry::{Access, BlobUpload, Client, Problem, RegistryError, RetryPolicy};
use securecp_testkit::proxy::{Fault, Handler, How, Point, Proxy, Reply, Rule, Side};

use crate::peers::{Memory, Peer, blob, client, open, plain, pull, push};

const MIB: usize = 1 << 20;

fn proxied() -> (Peer, Proxy, Client) {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let client = client(proxy.address(), "a", plain());
    (peer, proxy, client)
}

fn rule(method: &'static str, pattern: &str) -> Rule {
    Rule::new(method, pattern).unwrap()
}

/// Puts a blob whose digest is not said beforehand.
fn stream(
    client: &Client,
    descriptor: &Descriptor,
    bytes: &bytes::Bytes,
) -> Result<Descriptor, RegistryError> {
    let open = || open(descriptor, bytes);
    let upload = BlobUpload { known: None, mount_from: &[], open: &open };
    client.put_blob(&upload, &Scope::new())
}

/// A proxy on the way takes no request body of more than 9 MiB.
fn limit(proxy: &Proxy) {
    let refuse = Handler::new(|call| {
        let length: Option<u64> = call.header("content-length").and_then(|l| l.parse().ok());
        let endless = call.header("transfer-encoding").is_some();
        let large = length.is_some_and(|length| length > 9 << 20) || endless;
        large.then(|| Reply::html(413))
    });
    proxy.add(rule("*", "/uploads/").with(Fault::Handle(refuse)));
}

#[test]
fn a_413_is_answered_with_pieces_and_remembered() {
    let (_peer, proxy, client) = proxied();
    limit(&proxy);
    for (seed, unknown) in [(1, false), (2, false), (3, true)] {
        let (descriptor, bytes) = blob(20 * MIB + 5, seed);
        let put = if unknown {
            stream(&client, &descriptor, &bytes)
        } else {
            push(&client, &descriptor, &bytes)
        };
        assert_eq!(put.unwrap().digest, descriptor.digest);
        assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    }
    // Only the very first blob was tried whole.
    assert_eq!(
        proxy.log().iter().filter(|seen| seen.method == "PUT" && seen.request_bytes > 0).count(),
        1
    );
    let pieces: Vec<String> = proxy
        .log()
        .iter()
        .filter(|seen| seen.method == "PATCH")
        .filter_map(|seen| seen.header("content-range").map(str::to_owned))
        .take(3)
        .collect();
    assert_eq!(pieces, ["0-8388607", "8388608-16777215", "16777216-20971524"]);
}

#[test]
fn a_piece_that_fails_is_sent_again_from_where_the_registry_stands() {
    for fault in [
        Fault::Answer(Reply::new(503)),
        Fault::LoseAnswer,
        Fault::Break(Side::Request, Point::Percent(50), How::Reset),
        Fault::Reset,
    ] {
        let (_peer, proxy, client) = proxied();
        limit(&proxy);
        proxy.add(rule("PATCH", "/uploads/").nth(3).with(fault.clone()));
        let (descriptor, bytes) = blob(30 * MIB, 1);
        push(&client, &descriptor, &bytes).unwrap();
        assert_eq!(pull(&client, &descriptor).unwrap(), bytes, "{fault:?}");
    }
}

#[test]
fn a_limit_below_every_piece_is_a_clear_error() {
    let (_peer, proxy, client) = proxied();
    proxy.add(rule("PUT", "/uploads/").with(Fault::Answer(Reply::html(413))));
    proxy.add(rule("PATCH", "/uploads/").with(Fault::Answer(Reply::html(413))));
    let (descriptor, bytes) = blob(MIB, 1);
    let error = push(&client, &descriptor, &bytes).unwrap_err();
    assert_eq!(error.status().unwrap().as_u16(), 413);
}

#[test]
fn an_early_413_is_seen_at_once_although_the_connection_stays() {
    let (_peer, proxy, client) = proxied();
    proxy.add(rule("PUT", "/uploads/").first(1).with(Fault::AnswerEarly(Reply::html(413))));
    let (descriptor, bytes) = blob(24 * MIB, 1);
    let start = Instant::now();
    push(&client, &descriptor, &bytes).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
}

#[test]
fn a_commit_whose_answer_was_lost_is_looked_up_and_not_repeated() {
    for unknown in [false, true] {
        let (_peer, proxy, client) = proxied();
        proxy.add(rule("PUT", "/uploads/").with(Fault::LoseAnswer));
        let (descriptor, bytes) = blob(3 * MIB, 1);
        let put = if unknown {
            stream(&client, &descriptor, &bytes)
        } else {
            push(&client, &descriptor, &bytes)
        };
        put.unwrap();
        assert_eq!(proxy.requests("PUT", "/uploads/"), 1);
        assert_eq!(proxy.requests("HEAD", "/blobs/"), 1);
    }
}

#[test]
fn a_failed_copy_ends_its_session() {
    let (_peer, proxy, client) = proxied();
    let (descriptor, bytes) = blob(4 * CHUNK, 1);
    let cut = bytes.slice(..bytes.len() - 1);
    let open = || Ok(Layer::verified(descriptor.clone(), Memory(cut.clone())));
    let upload = BlobUpload { known: Some(&descriptor), mount_from: &[], open: &open };
    let error = client.put_blob(&upload, &Scope::new()).unwrap_err();
    assert!(matches!(error.problem(), Problem::Layer(_)));
    assert_eq!(proxy.requests("DELETE", "/uploads/"), 1);
    assert!(!client.has_blob(&descriptor, &Scope::new()).unwrap());
}

#[test]
fn a_cancelled_upload_ends_at_once() {
    let (_peer, proxy, client) = proxied();
    proxy.add(rule("PUT", "/uploads/").with(Fault::Break(
        Side::Request,
        Point::Bytes(1000),
        How::Stall,
    )));
    let (descriptor, bytes) = blob(32 * MIB, 1);
    let scope = Scope::new();
    let other = scope.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        other.cancel();
    });
    let start = Instant::now();
    let open = || open(&descriptor, &bytes);
    let upload = BlobUpload { known: Some(&descriptor), mount_from: &[], open: &open };
    let error = client.put_blob(&upload, &scope).unwrap_err();
    assert!(matches!(error.problem(), Problem::Stopped(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_millis(1200), "{:?}", start.elapsed());
}

#[test]
fn every_attempt_opens_the_source_anew_and_attempts_are_bounded() {
    let (_peer, proxy, _) = proxied();
    let retry =
        RetryPolicy { times: 2, delay: Some(Duration::from_millis(1)), ..RetryPolicy::NEVER };
    let client = client(proxy.address(), "a", Access { retry, ..plain() });
    proxy.add(rule("PUT", "/uploads/").with(Fault::Break(
        Side::Request,
        Point::Percent(50),
        How::Reset,
    )));
    let (descriptor, bytes) = blob(2 * MIB, 1);
    let opened = AtomicUsize::new(0);
    let open = || {
        opened.fetch_add(1, Ordering::SeqCst);
        open(&descriptor, &bytes)
    };
    let upload = BlobUpload { known: Some(&descriptor), mount_from: &[], open: &open };
    let error = client.put_blob(&upload, &Scope::new()).unwrap_err();
    assert!(error.is_transient());
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

#[test]
fn a_registry_that_answers_yes_before_it_has_the_blob_is_not_believed() {
    let (_peer, proxy, client) = proxied();
    proxy.add(rule("PUT", "/uploads/").with(Fault::AnswerEarly(Reply::new(201))));
    let (descriptor, bytes) = blob(32 * MIB, 1);
    let error = push(&client, &descriptor, &bytes).unwrap_err();
    assert!(matches!(error.problem(), Problem::Protocol(_)), "{error:?}");
}

#[test]
fn a_session_without_location_is_a_clear_error() {
    let (_peer, proxy, client) = proxied();
    let bare = Handler::new(|call| {
        (call.path.ends_with("/uploads/") && call.query.is_empty()).then(|| Reply::new(202))
    });
    proxy.add(rule("POST", "/uploads/").first(1).with(Fault::Handle(bare)));
    let (descriptor, bytes) = blob(10, 1);
    let error = push(&client, &descriptor, &bytes).unwrap_err();
    assert!(error.to_string().contains("without location"), "{error}");
    push(&client, &descriptor, &bytes).unwrap();
}

#[test]
fn an_upload_that_is_sent_elsewhere_goes_there_without_credentials() {
    let (peer, proxy, _) = proxied();
    let storage = Proxy::start(peer.address).unwrap();
    let away = storage.address();
    let redirect = Handler::new(move |call| {
        let location = format!("http://{away}{}", call.target());
        Some(Reply::new(307).header("location", location))
    });
    for method in ["PUT", "PATCH"] {
        proxy.add(rule(method, "/uploads/").with(Fault::Handle(redirect.clone())));
    }
    let token = securecp_registry::Login::Token("geheim".to_owned().into());
    let client = client(proxy.address(), "a", Access { login: token, ..plain() });
    for (seed, size) in [(1, 100), (2, 2 * MIB)] {
        let (descriptor, bytes) = blob(size, seed);
        push(&client, &descriptor, &bytes).unwrap();
        assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    }
    assert_eq!(storage.requests("PUT", "/uploads/"), 2);
    assert!(storage.log().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(proxy.log().iter().any(|seen| seen.header("authorization").is_some()));
}
