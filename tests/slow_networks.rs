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
use securecp_testkit::proxy::{Fault, Proxy, Rule};
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

/// Every request of both sides takes 50 ms longer; the figures are printed.
#[test]
fn ten_layers_move_in_few_round_trips() {
    let (staging, production) = (Registry::start().unwrap(), Registry::start().unwrap());
    push(&staging, 10, 1);
    let (from, to) =
        (Proxy::start(staging.address()).unwrap(), Proxy::start(production.address()).unwrap());
    from.set_latency(DELAY);
    to.set_latency(DELAY);
    let copy = || {
        let start = Instant::now();
        let run = try_securecp(&[
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &format!("docker://{}/app:v1", from.address()),
            &format!("docker://{}/app:v1", to.address()),
        ]);
        assert!(run.status.success(), "{}", said(&run));
        let requests = from.log().len() + to.log().len();
        from.clear_log();
        to.clear_log();
        (requests, start.elapsed())
    };
    let ((cold, cold_time), (warm, warm_time)) = (copy(), copy());
    let trips = |time: Duration| time.as_millis() / DELAY.as_millis();
    eprintln!("cold: {cold} requests in {cold_time:?}, {} delays long", trips(cold_time));
    eprintln!("warm: {warm} requests in {warm_time:?}, {} delays long", trips(warm_time));
    assert!(cold <= 60 && warm <= 20, "{cold} requests cold, {warm} warm");
    assert!(trips(cold_time) < 30, "one after the other it would be {cold} delays: {cold_time:?}");
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
