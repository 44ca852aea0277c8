//! Registries that are far away or slow: what a copy costs in round trips, and tokens that expire on the way.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod support;

use std::time::{Duration, Instant};

use securecp_testkit::auth::{AuthServer, AuthSettings, User};
use securecp_testkit::proxy::{Fault, Proxy, Rule, Seen};
use securecp_testkit::{Fixture, Layer, Registry};
use support::run::{said, try_securecp};

const DELAY: Duration = Duration::from_millis(50);

/// Pushes an image of so many layers.
fn push(registry: &Registry, layers: u64, mebibytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    let layers: Vec<Layer> = (0..layers)
        .map(|seed| Layer::incompressible(folder.path(), seed, mebibytes).unwrap())
        .collect();
    let image = Fixture::image("amd64", &layers);
    image.push(registry.address(), "app", Some("v1")).unwrap();
}

/// Two registries, each request to which takes 50 ms longer.
struct Far {
    _registries: [Registry; 2],
    from: Proxy,
    to: Proxy,
}

/// What a copy cost.
struct Cost {
    /// Requests to both sides.
    requests: usize,
    /// The most of them that came one after the other.
    chain: usize,
    time: Duration,
}

impl Far {
    fn new(fill: impl Fn(&Registry)) -> Self {
        let registries = [(); 2].map(|()| Registry::start().unwrap());
        fill(&registries[0]);
        let [from, to] = registries.each_ref().map(|one| Proxy::start(one.address()).unwrap());
        from.set_latency(DELAY);
        to.set_latency(DELAY);
        Self { _registries: registries, from, to }
    }

    fn copy(&self, what: &str, options: &[&str], [source, target]: [&str; 2]) -> Cost {
        let start = Instant::now();
        let names = [
            format!("docker://{}/{source}", self.from.address()),
            format!("docker://{}/{target}", self.to.address()),
        ];
        let line = ["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"];
        let run =
            try_securecp(&[&line[..], options, &names.each_ref().map(String::as_str)].concat());
        assert!(run.status.success(), "{}", said(&run));
        let time = start.elapsed();
        let all = [self.from.log(), self.to.log()].concat();
        self.from.clear_log();
        self.to.clear_log();
        let cost = Cost { requests: all.len(), chain: chain(&all), time };
        let delays = cost.time.as_millis() / DELAY.as_millis();
        eprintln!(
            "{what}: {} requests, {} after each other, {:?}, {delays} delays long",
            cost.requests, cost.chain, cost.time
        );
        cost
    }
}

/// The most requests of which each began when the one before it was over. The proxies began to count at about the same time.
fn chain(seen: &[Seen]) -> usize {
    let mut spans: Vec<_> = seen.iter().map(|one| (one.finished.unwrap(), one.started)).collect();
    spans.sort();
    let (mut count, mut end) = (0, Duration::ZERO);
    for (finished, started) in spans {
        if started + DELAY / 4 >= end {
            (count, end) = (count + 1, finished);
        }
    }
    count
}

/// The cheapest of three: a machine that is busy begins late what could begin at once.
fn cheapest(copy: impl Fn(usize) -> Cost) -> Cost {
    (0..3).map(copy).min_by_key(|cost| cost.chain).unwrap()
}

#[test]
fn ten_layers_move_in_few_round_trips() {
    let far = Far::new(|registry| push(registry, 10, 1));
    let named = |name: String, what: &str| far.copy(what, &[], ["app:v1", &name]);
    let cold = cheapest(|turn| named(format!("app{turn}:v1"), "nothing is there"));
    let warm = cheapest(|_| named("app0:v1".to_owned(), "everything is there"));
    let again = cheapest(|turn| named(format!("app0:w{turn}"), "a further name"));
    assert!(cold.requests <= 52 && cold.chain <= 11, "one after the other: {}", cold.chain);
    assert!(warm.requests <= 17 && warm.chain <= 4, "one after the other: {}", warm.chain);
    assert!(again.requests <= 20 && again.chain <= 7, "one after the other: {}", again.chain);
}

/// Five tags of two platforms each.
#[test]
fn many_tags_move_in_few_round_trips() {
    let far = Far::new(|registry| {
        for tag in 0..5 {
            let image = |arch: &str| {
                let layer = Layer::gzip(&[("f", format!("{arch} {tag}").as_bytes())]).unwrap();
                Fixture::image(arch, &[layer])
            };
            let index = Fixture::index(&[image("amd64"), image("arm64")]);
            index.push(registry.address(), "app", Some(&format!("v{tag}"))).unwrap();
        }
    });
    let copy = |name: String, what: &str| far.copy(what, &["--all", "--all-tags"], ["app", &name]);
    let cold = cheapest(|turn| copy(format!("app{turn}"), "five tags, nothing is there"));
    let warm = cheapest(|_| copy("app0".to_owned(), "five tags, everything is there"));
    assert!(cold.requests <= 145 && cold.chain <= 15, "one after the other: {}", cold.chain);
    assert!(warm.requests <= 40 && warm.chain <= 8, "one after the other: {}", warm.chain);
}

/// Tokens of two seconds, and a source that takes thirty for one layer.
#[test]
fn a_token_of_two_seconds_survives_a_copy_of_thirty() {
    let (staging, production) = (Registry::start().unwrap(), Registry::start().unwrap());
    push(&staging, 3, 4);
    let guard = |registry: &Registry| {
        let user = User::new("robot", "secret-word").may("pull,push", "app");
        let settings =
            AuthSettings { lifetime: Duration::from_secs(2), ..AuthSettings::bearer(vec![user]) };
        AuthServer::start(registry.address(), settings).unwrap()
    };
    let (from, to) = (guard(&staging), guard(&production));
    let slow = Rule::new("GET", "/blobs/sha256:").unwrap();
    from.proxy().add(slow.with(Fault::Throttle(400 << 10)));
    let start = Instant::now();
    let run = try_securecp(&[
        "copy",
        "--image-parallel-copies=1",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--src-creds=robot:secret-word",
        "--dest-creds=robot:secret-word",
        &format!("docker://{}/app:v1", from.address()),
        &format!("docker://{}/app:v1", to.address()),
    ]);
    assert!(run.status.success(), "{}", said(&run));
    assert!(!said(&run).contains("secret-word"));
    let took = start.elapsed();
    eprintln!("{took:?}, {} and {} tokens", from.token_requests().len(), to.token_requests().len());
    assert!(took > Duration::from_secs(25), "it was not slow: {took:?}");
}
