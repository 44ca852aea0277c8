//! The fault table: every request of a copy meets every fault, once and for ever. The copy converges, or fails with the
//! right class, and there is no tag unless it succeeded.

use std::time::{Duration, Instant};

use securecp_layer::{Layer, LayerError, Scope};
use securecp_net::{Net, TimeLimits};
use securecp_oci::{Descriptor, RawManifest, Tag};
use securecp_registry::{
    Access, BlobUpload, Class, Client, ManifestName, Problem, Registries, RegistryError,
    RetryPolicy,
};
use securecp_testkit::proxy::{Fault, How, Point, Proxy, Reply, Rule, Side};

use crate::peers::{Peer, blob, client, image, plain, push};

/// Two registries, each behind a proxy, and an image at the first.
struct Stage {
    source: Proxy,
    target: Proxy,
    from: Client,
    to: Client,
    direct: Client,
    large: Descriptor,
    _peers: [Peer; 2],
}

/// Large enough that a cut in the middle is in the middle.
const LARGE: usize = 2 << 20;

impl Stage {
    fn new() -> Self {
        let peers = [Peer::embedded(), Peer::embedded()];
        let stocked = peers[0].client("a");
        let manifest = image(&stocked, 1);
        stocked.put_manifest(ManifestName::Tag(&tag()), &manifest, &Scope::new()).unwrap();
        let (large, bytes) = blob(LARGE, 9);
        push(&stocked, &large, &bytes).unwrap();
        let [source, target] = [0, 1].map(|n: usize| Proxy::start(peers[n].address).unwrap());
        let limits = TimeLimits {
            stall: Duration::from_secs(1),
            slow_answer: Duration::from_secs(2),
            ..TimeLimits::default()
        };
        let client = |proxy: &Proxy| {
            let repository = format!("{}/a", proxy.address()).parse().unwrap();
            Registries::new(Net::new(limits), plain()).client(&repository).unwrap()
        };
        let (from, to, direct) = (client(&source), client(&target), peers[1].client("a"));
        // The first contact is not part of the table.
        from.tags(&Scope::new()).unwrap();
        let _ = to.tags(&Scope::new());
        Self { source, target, from, to, direct, large, _peers: peers }
    }

    /// The blobs, then the manifest by digest, then the tag, as the engine does it.
    fn copy(&self) -> Result<(), RegistryError> {
        let scope = Scope::new();
        let manifest = self.from.manifest(ManifestName::Tag(&tag()), &scope)?;
        let image = manifest.image().unwrap();
        let blobs = image.layers.iter().chain([&image.config, &self.large]);
        for descriptor in blobs {
            if !self.to.has_blob(descriptor, &scope)? {
                self.put(descriptor, &scope)?;
            }
        }
        self.put_unknown(&self.large, &scope)?;
        self.to.put_manifest(ManifestName::Digest(manifest.digest()), &manifest, &scope)?;
        self.read_back(&manifest, &scope)?;
        self.to.put_manifest(ManifestName::Tag(&tag()), &manifest, &scope).map(drop)
    }

    fn put(&self, descriptor: &Descriptor, scope: &Scope) -> Result<(), RegistryError> {
        let open = || self.open(descriptor, scope);
        let upload = BlobUpload { known: Some(descriptor), mount_from: &[], open: &open };
        self.to.put_blob(&upload, scope).map(drop)
    }

    /// As a chain that changes bytes would send it.
    fn put_unknown(&self, descriptor: &Descriptor, scope: &Scope) -> Result<(), RegistryError> {
        let open = || self.open(descriptor, scope);
        let upload = BlobUpload { known: None, mount_from: &[], open: &open };
        self.to.put_blob(&upload, scope).map(drop)
    }

    fn open<'a>(&self, descriptor: &Descriptor, scope: &Scope) -> Result<Layer<'a>, LayerError> {
        let download = self.from.blob(descriptor, scope).map_err(|error| LayerError::Source {
            digest: descriptor.digest.clone(),
            source: securecp_layer::SourceError {
                transient: error.is_transient(),
                source: Box::new(error),
            },
        })?;
        Ok(Layer::verified(descriptor.clone(), download))
    }

    fn read_back(&self, manifest: &RawManifest, scope: &Scope) -> Result<(), RegistryError> {
        let found = self.to.head_manifest(ManifestName::Digest(manifest.digest()), scope)?;
        assert!(found.is_some(), "not there after it was written");
        Ok(())
    }

    fn is_tagged(&self) -> bool {
        let tag = tag();
        self.direct.head_manifest(ManifestName::Tag(&tag), &Scope::new()).unwrap().is_some()
    }
}

fn tag() -> Tag {
    "t".parse().unwrap()
}

/// Where in a copy a fault strikes.
#[derive(Debug, Clone, Copy)]
struct Place {
    party: Party,
    method: &'static str,
    path: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Party {
    Source,
    Target,
}

const fn at(party: Party, method: &'static str, path: &'static str) -> Place {
    Place { party, method, path }
}

const PLACES: [Place; 9] = [
    at(Party::Source, "GET", "/manifests/"),
    at(Party::Source, "GET", "/blobs/"),
    at(Party::Target, "HEAD", "/blobs/"),
    at(Party::Target, "POST", "/uploads/"),
    at(Party::Target, "PUT", "/uploads/"),
    at(Party::Target, "PATCH", "/uploads/"),
    at(Party::Target, "PUT", "/manifests/sha256:"),
    at(Party::Target, "HEAD", "/manifests/"),
    at(Party::Target, "PUT", "/manifests/t$"),
];

/// The class of a failure, seen through a chain that failed at its source.
fn class_of(error: &RegistryError) -> Class {
    match error.problem() {
        Problem::Layer(LayerError::Source { source, .. }) => {
            let inner = source.source.downcast_ref::<RegistryError>();
            inner.map_or(Class::Local, RegistryError::class)
        }
        _ => error.class(),
    }
}

/// Copies under one rule and looks whether the tag is there exactly if the copy says so.
fn outcome(place: Place, turns: Option<u64>, fault: &Fault) -> Result<(), Class> {
    let stage = Stage::new();
    let rule = Rule::new(place.method, place.path).unwrap();
    let rule = turns.map_or(rule.clone(), |turns| rule.first(turns)).with(fault.clone());
    let proxy = if place.party == Party::Source { &stage.source } else { &stage.target };
    proxy.add(rule);
    let result = stage.copy();
    // A tag whose write was answered with a failure may be there: the registry had it before the answer was lost.
    let unsure = place.path.ends_with("t$");
    assert!(stage.is_tagged() == result.is_ok() || unsure, "{place:?} {fault:?}: {result:?}");
    result.map_err(|error| class_of(&error))
}

/// Whether the fault can be told apart there: an answer to `HEAD` has no text that could say what is meant.
fn speaks(place: Place, fault: &Fault) -> bool {
    place.method != "HEAD"
        || !matches!(fault, Fault::Answer(reply) if reply.status == 403 && !reply.body.is_empty())
}

fn status(status: u16) -> Fault {
    Fault::Answer(Reply::new(status))
}

#[test]
fn what_passes_is_got_over_wherever_it_strikes() {
    let retry_after = Reply::new(429).header("retry-after", "0");
    let faults = [
        status(500),
        status(502),
        status(503),
        status(504),
        status(429),
        Fault::Answer(retry_after),
        Fault::Answer(Reply::html(503)),
        Fault::Answer(Reply::error(403, "DENIED", "You have exceeded a secondary rate limit")),
        Fault::Reset,
        Fault::LoseAnswer,
    ];
    for place in PLACES {
        for fault in faults.iter().filter(|fault| speaks(place, fault)) {
            assert_eq!(outcome(place, Some(2), fault), Ok(()), "{place:?} {fault:?}");
        }
    }
}

#[test]
fn what_does_not_pass_fails_with_its_class_and_without_a_tag() {
    let table = [
        (status(500), Class::Server),
        (status(503), Class::Server),
        (status(501), Class::Server),
        (status(429), Class::RateLimited),
        (status(401), Class::Auth),
        (status(403), Class::Auth),
        (status(400), Class::Invalid),
        (Fault::Answer(Reply::html(418)), Class::Invalid),
        (Fault::Answer(Reply::error(403, "DENIED", "storage quota exceeded")), Class::Quota),
        (status(507), Class::Quota),
        (Fault::Reset, Class::Network),
    ];
    for place in PLACES {
        for (fault, class) in table.iter().filter(|(fault, _)| speaks(place, fault)) {
            assert_eq!(outcome(place, None, fault), Err(*class), "{place:?} {fault:?}");
        }
    }
}

#[test]
fn what_refuses_for_good_is_asked_once() {
    for place in PLACES {
        for code in [400, 403, 501] {
            let stage = Stage::new();
            let proxy = if place.party == Party::Source { &stage.source } else { &stage.target };
            let rule = Rule::new(place.method, place.path).unwrap();
            proxy.add(rule.with(status(code)));
            assert!(stage.copy().is_err());
            let asked = proxy.log().iter().filter(|seen| seen.faulty).count();
            assert_eq!(asked, 1, "{place:?} {code}");
        }
    }
}

#[test]
fn bodies_that_break_or_stall_are_got_over() {
    let download = at(Party::Source, "GET", "/blobs/");
    for point in [Point::Percent(0), Point::Percent(50), Point::Percent(99)] {
        for how in [How::Reset, How::Close, How::Stall] {
            let fault = Fault::Break(Side::Response, point, how);
            assert_eq!(outcome(download, Some(3), &fault), Ok(()), "{fault:?}");
            for method in ["PUT", "PATCH"] {
                let fault = Fault::Break(Side::Request, point, how);
                let place = at(Party::Target, method, "/uploads/");
                assert_eq!(outcome(place, Some(1), &fault), Ok(()), "{method} {fault:?}");
            }
        }
    }
}

#[test]
fn connections_closed_while_idle_do_no_harm() {
    for place in PLACES {
        let fault = Fault::CloseAfter(Duration::ZERO);
        assert_eq!(outcome(place, None, &fault), Ok(()), "{place:?}");
    }
}

#[test]
fn a_page_of_html_is_never_taken_for_success() {
    for place in PLACES {
        let fault = Fault::Answer(Reply::html(200));
        // A blob that is "there" with another length, or none, is not there, and is sent.
        let wanted = if place.method == "HEAD" { Ok(()) } else { Err(()) };
        assert_eq!(outcome(place, None, &fault).map_err(drop), wanted, "{place:?}");
    }
}

#[test]
fn a_host_that_asks_for_time_gets_it_from_everybody() {
    let stage = Stage::new();
    let reply = Reply::new(429).header("retry-after", "1");
    stage.target.add(Rule::new("HEAD", "/blobs/").unwrap().first(1).with(Fault::Answer(reply)));
    let (descriptor, scope, start) = (stage.large.clone(), Scope::new(), Instant::now());
    std::thread::scope(|threads| {
        threads.spawn(|| stage.to.has_blob(&descriptor, &scope).unwrap());
        std::thread::sleep(Duration::from_millis(200));
        // Another request to the same host waits too; one to another host does not.
        threads.spawn(|| {
            let _ = stage.to.tags(&scope);
            assert!(start.elapsed() >= Duration::from_secs(1));
        });
        threads.spawn(|| {
            stage.from.tags(&scope).unwrap();
            assert!(start.elapsed() < Duration::from_millis(900));
        });
    });
}

/// A server that says "at once" with every refusal does not undo our own patience.
#[test]
fn a_server_that_says_at_once_is_not_pressed() {
    let peer = Peer::embedded();
    let front = Proxy::start(peer.address).unwrap();
    for (status, header) in [(503, "0"), (429, "Sun, 06 Nov 1994 08:49:37 GMT")] {
        let reply = Reply::new(status).header("retry-after", header);
        front.add(Rule::new("GET", "/tags/list").unwrap().first(2).with(Fault::Answer(reply)));
        let delay = Duration::from_millis(150);
        let retry = RetryPolicy { times: 4, delay: Some(delay), ..RetryPolicy::NEVER };
        let start = Instant::now();
        let tags = client(front.address(), "a", Access { retry, ..plain() }).tags(&Scope::new());
        assert!(!tags.is_err_and(|error| error.is_transient()));
        assert!(start.elapsed() >= 2 * delay, "{header}: {:?}", start.elapsed());
    }
}

#[test]
fn a_copy_that_is_there_already_sends_no_put_and_no_blob() {
    let stage = Stage::new();
    stage.copy().unwrap();
    stage.target.clear_log();
    stage.source.clear_log();
    let scope = Scope::new();
    let manifest = stage.from.manifest(ManifestName::Tag(&tag()), &scope).unwrap();
    let image = manifest.image().unwrap();
    for descriptor in image.layers.iter().chain([&image.config]) {
        assert!(stage.to.has_blob(descriptor, &scope).unwrap());
    }
    let there = stage.to.head_manifest(ManifestName::Tag(&tag()), &scope).unwrap().unwrap();
    assert_eq!(there.digest.as_ref(), Some(manifest.digest()));
    assert!(stage.target.log().iter().all(|seen| seen.method == "HEAD"));
    assert_eq!(stage.source.requests("GET", "/blobs/"), 0);
}

/// Gone is what was wanted; what was not there before is still said.
#[test]
fn a_deletion_whose_answer_was_lost_has_happened() {
    for fault in [Fault::LoseAnswer, Fault::Status(502)] {
        let peer = Peer::embedded();
        let proxy = Proxy::start(peer.address).unwrap();
        let (client, scope) = (client(proxy.address(), "a", plain()), Scope::new());
        let manifest = image(&client, 1);
        let name = ManifestName::Digest(manifest.digest());
        client.put_manifest(name, &manifest, &scope).unwrap();
        proxy.add(Rule::new("DELETE", "/manifests/").unwrap().first(1).with(fault));
        client.delete_manifest(manifest.digest(), &scope).unwrap();
        assert!(client.head_manifest(name, &scope).unwrap().is_none());
        assert!(client.delete_manifest(manifest.digest(), &scope).unwrap_err().is_not_found());
    }
}
