//! Each fault of the proxy, seen by a raw client and by the registry behind it.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use securecp_oci::{Algorithm, Digest};
use securecp_testkit::Registry;
use securecp_testkit::http::{Request, Response, connect};
use securecp_testkit::proxy::{Fault, Handler, How, Point, Proxy, Reply, Rule, Settings, Side};

const SIZE: usize = 300_000;

struct Bench {
    registry: Registry,
    proxy: Proxy,
    blob: Vec<u8>,
    digest: Digest,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::start().unwrap();
        let proxy = Proxy::start(registry.address()).unwrap();
        let blob: Vec<u8> = (0..SIZE).map(|n| (n % 253) as u8).collect();
        let digest = Digest::of(Algorithm::Sha256, &blob);
        let bench = Self { registry, proxy, blob, digest };
        let target = format!("/v2/a/blobs/uploads/?digest={}", bench.digest);
        let pushed = Request::new("POST", &target).body(&bench.blob);
        assert_eq!(pushed.send(bench.registry.address()).unwrap().status, 201);
        bench.registry.clear_requests();
        bench
    }

    fn fault(&self, method: &'static str, fault: Fault) -> &Self {
        self.proxy.add(Rule::new(method, "").unwrap().with(fault));
        self
    }

    fn path(&self) -> String {
        format!("/v2/a/blobs/{}", self.digest)
    }

    fn fetch(&self) -> std::io::Result<Response> {
        Request::new("GET", &self.path()).send(self.proxy.address())
    }

    fn push(&self, blob: &[u8]) -> std::io::Result<Response> {
        let digest = Digest::of(Algorithm::Sha256, blob);
        let target = format!("/v2/b/blobs/uploads/?digest={digest}");
        Request::new("POST", &target).body(blob).send(self.proxy.address())
    }

    fn has(&self, blob: &[u8]) -> bool {
        let path = format!("/v2/b/blobs/{}", Digest::of(Algorithm::Sha256, blob));
        Request::new("HEAD", &path).send(self.registry.address()).unwrap().status == 200
    }

    /// What arrives of a download, and how it ends.
    fn raw(&self) -> (Vec<u8>, Option<std::io::ErrorKind>) {
        let mut stream = connect(self.proxy.address()).unwrap();
        let head = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", self.path());
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        let body = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |end| end + 4);
        (bytes.split_off(body), ended.err().map(|error| error.kind()))
    }
}

#[test]
fn passes_everything_by_default() {
    let bench = Bench::new();
    assert_eq!(bench.fetch().unwrap().body, bench.blob);
    assert_eq!(bench.push(b"new").unwrap().status, 201);
    assert!(bench.has(b"new"));
    let log = bench.proxy.log();
    assert_eq!((log[0].method.as_str(), log[0].status), ("GET", 200));
    assert_eq!((log[0].request_bytes, log[0].response_bytes), (0, SIZE as u64));
    assert_eq!((log[1].status, log[1].request_bytes), (201, 3));
    assert!(log[1].query.starts_with("digest=") && !log[1].faulty);
    assert_eq!(bench.proxy.requests("POST", "/uploads/"), 1);
    assert_eq!(bench.proxy.connections(), 2);
    assert!(bench.proxy.busy() > Duration::ZERO);
}

#[test]
fn keeps_connections_for_many_requests() {
    let bench = Bench::new();
    let mut stream = connect(bench.proxy.address()).unwrap();
    let request = format!("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", bench.path());
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let mut tail = [0; 4096];
        let mut seen = 0;
        while !tail[..seen].ends_with(b"\r\n\r\n") {
            seen += stream.read(&mut tail[seen..]).unwrap();
        }
    }
    assert_eq!((bench.proxy.connections(), bench.proxy.log().len()), (1, 3));
}

#[test]
fn answers_by_itself() {
    let bench = Bench::new();
    let reply = Reply::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1");
    bench.proxy.add(Rule::new("GET", "/blobs/").unwrap().nth(2).with(Fault::Answer(reply)));
    assert_eq!(bench.fetch().unwrap().status, 200);
    let refused = bench.fetch().unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert!(refused.text().contains("TOOMANYREQUESTS"));
    assert_eq!(bench.fetch().unwrap().status, 200);
    bench.fault("POST", Fault::Answer(Reply::html(502)));
    let page = bench.push(b"new").unwrap();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!bench.has(b"new"));
    assert!(bench.proxy.log()[3].faulty);
}

#[test]
fn answers_before_the_body_was_read() {
    let bench = Bench::new();
    bench.fault("POST", Fault::AnswerEarly(Reply::new(413)));
    let mut stream = connect(bench.proxy.address()).unwrap();
    let head = "POST /v2/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // The connection stays open, but nothing reads from it.
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut rest = Vec::new();
    let kind = stream.read_to_end(&mut rest).unwrap_err().kind();
    assert!(matches!(kind, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
}

#[test]
fn resets_before_the_answer() {
    let bench = Bench::new();
    bench.fault("*", Fault::Reset);
    assert_eq!(bench.fetch().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(bench.registry.requests().is_empty());
}

#[test]
fn loses_answers_after_the_work_is_done() {
    let bench = Bench::new();
    bench.fault("POST", Fault::LoseAnswer);
    assert_eq!(bench.push(b"new").unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(bench.has(b"new"));
}

#[test]
fn breaks_downloads_at_a_point() {
    for (point, expected) in [
        (Point::Percent(0), 0),
        (Point::Percent(50), SIZE / 2),
        (Point::Percent(99), SIZE * 99 / 100),
        (Point::Bytes(1000), 1000),
    ] {
        let bench = Bench::new();
        bench.fault("GET", Fault::Break(Side::Response, point, How::Close));
        assert_eq!(bench.raw(), (bench.blob[..expected].to_vec(), None), "{point:?}");
        let bench = Bench::new();
        bench.fault("GET", Fault::Break(Side::Response, point, How::Reset));
        let (body, ended) = bench.raw();
        assert!(body.len() <= expected && bench.blob.starts_with(&body));
        assert_eq!(ended, Some(std::io::ErrorKind::ConnectionReset), "{point:?}");
        assert_eq!(bench.proxy.log()[0].response_bytes, expected as u64);
    }
}

#[test]
fn stalls_downloads_until_the_client_gives_up() {
    let bench = Bench::new();
    bench.fault("GET", Fault::Break(Side::Response, Point::Bytes(10), How::Stall));
    let (body, ended) = bench.raw();
    assert_eq!(body, bench.blob[..10]);
    assert!(matches!(ended, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)));
    let noticed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        bench.proxy.log()[0].finished.is_some()
    });
    assert!(noticed, "the proxy does not notice that the client is gone");
}

#[test]
fn flips_one_byte() {
    let bench = Bench::new();
    let flip = Fault::Break(Side::Response, Point::Percent(50), How::Flip);
    bench.proxy.add(Rule::new("GET", "").unwrap().nth(2).with(flip));
    assert_eq!(bench.fetch().unwrap().body, bench.blob);
    let body = bench.fetch().unwrap().body;
    let differ: Vec<usize> = (0..SIZE).filter(|n| body[*n] != bench.blob[*n]).collect();
    assert_eq!((body.len(), differ), (SIZE, vec![SIZE / 2]));
    bench.fault("POST", Fault::Break(Side::Request, Point::Bytes(0), How::Flip));
    assert_eq!(bench.push(b"new").unwrap().status, 400);
}

#[test]
fn breaks_uploads_at_a_point() {
    let blob = vec![5; SIZE];
    let bench = Bench::new();
    bench.fault("POST", Fault::Break(Side::Request, Point::Percent(50), How::Reset));
    assert!(bench.push(&blob).is_err());
    assert!(!bench.has(&blob));
    let (first, second) = (bench.proxy.log()[0].clone(), bench.registry.requests()[0].clone());
    assert!(first.request_bytes >= SIZE as u64 / 2 && first.status == 0);
    assert!(second.bytes_in <= SIZE as u64 / 2);
}

#[test]
fn stalls_uploads() {
    let bench = Bench::new();
    bench.fault("POST", Fault::Break(Side::Request, Point::Bytes(0), How::Stall));
    let mut stream = connect(bench.proxy.address()).unwrap();
    let target = format!("/v2/b/blobs/uploads/?digest={}", bench.digest);
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0]).is_err());
    assert_eq!(bench.proxy.log()[0].status, 0);
}

#[test]
fn changes_lengths_consistently() {
    let bench = Bench::new();
    let fetch = |fault: Fault| {
        bench.proxy.clear_rules();
        bench.fault("GET", fault);
        bench.fetch().unwrap()
    };
    let short = fetch(Fault::Shorten(1));
    assert_eq!(short.body, bench.blob[..SIZE - 1]);
    assert_eq!(short.header("content-length"), Some((SIZE - 1).to_string().as_str()));
    let long = fetch(Fault::Lengthen(b"xy".to_vec()));
    assert!(long.body.ends_with(b"xy") && long.body.len() == SIZE + 2);
    assert_eq!(long.header("content-length"), Some((SIZE + 2).to_string().as_str()));
    let hidden = fetch(Fault::HideLength);
    assert_eq!((&hidden.body, hidden.header("content-length")), (&bench.blob, None));
}

#[test]
fn edits_heads() {
    let bench = Bench::new();
    bench.fault("GET", Fault::DropRequestHeader("range"));
    bench.fault("GET", Fault::DropResponseHeader("docker-content-digest"));
    bench.fault("GET", Fault::SetResponseHeader("content-type", "text/html".to_owned()));
    let path = bench.path();
    let ranged = Request::new("GET", &path).header("Range", "bytes=0-1");
    let whole = ranged.send(bench.proxy.address()).unwrap();
    assert_eq!((whole.status, whole.body.len()), (200, SIZE));
    assert_eq!(whole.header("docker-content-digest"), None);
    assert_eq!(whole.header("content-type"), Some("text/html"));
    bench.fault("GET", Fault::Status(203));
    assert_eq!(bench.fetch().unwrap().status, 203);
}

#[test]
fn delays_and_throttles() {
    let bench = Bench::new();
    let took = || {
        let started = Instant::now();
        assert_eq!(bench.fetch().unwrap().body, bench.blob);
        started.elapsed()
    };
    assert!(took() < Duration::from_millis(150));
    bench.proxy.set_latency(Duration::from_millis(60));
    bench.fault("GET", Fault::Delay(Duration::from_millis(100)));
    assert!(took() >= Duration::from_millis(160));
    bench.proxy.set_latency(Duration::ZERO);
    bench.proxy.clear_rules();
    bench.fault("GET", Fault::Throttle(1_000_000));
    assert!(took() >= Duration::from_millis(250));
}

#[test]
fn closes_idle_connections_without_notice() {
    let bench = Bench::new();
    bench.fault("HEAD", Fault::CloseAfter(Duration::from_millis(20)));
    let mut stream = connect(bench.proxy.address()).unwrap();
    let request = format!("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", bench.path());
    stream.write_all(request.as_bytes()).unwrap();
    let answer = Response::read(&mut stream).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, None));
}

#[test]
fn hands_requests_to_a_function() {
    let bench = Bench::new();
    let handler = Handler::new(|call| {
        (call.path == "/token").then(|| Reply::new(200).body(call.body.clone()))
    });
    bench.fault("*", Fault::Handle(handler));
    let echoed = Request::new("POST", "/token?x=y").body(b"form=1").send(bench.proxy.address());
    assert_eq!(echoed.unwrap().body, b"form=1");
    assert_eq!(bench.fetch().unwrap().status, 200);
}

#[test]
fn dies_and_comes_back() {
    let bench = Bench::new();
    bench.fault("GET", Fault::Break(Side::Response, Point::Bytes(10), How::Stall));
    let mut stalled = connect(bench.proxy.address()).unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", bench.path());
    stalled.write_all(head.as_bytes()).unwrap();
    stalled.read_exact(&mut [0; 100]).unwrap();
    bench.proxy.kill();
    let started = Instant::now();
    let _ = stalled.read_to_end(&mut Vec::new());
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(bench.fetch().is_err());
    bench.proxy.revive();
    bench.proxy.clear_rules();
    assert_eq!(bench.fetch().unwrap().status, 200);
    let address = bench.proxy.address();
    drop(bench);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn hides_secrets_unless_asked() {
    let registry = Registry::start().unwrap();
    for keep_secrets in [false, true] {
        let settings = Settings { keep_secrets, keep_body: 2 };
        let proxy = Proxy::start_with(registry.address(), settings).unwrap();
        let request =
            Request::new("POST", "/v2/a/blobs/uploads/").header("Authorization", "Bearer planted");
        request.body(b"12345").send(proxy.address()).unwrap();
        let seen = &proxy.log()[0];
        let expected = if keep_secrets { "Bearer planted" } else { "Bearer …" };
        assert_eq!(seen.header("authorization"), Some(expected));
        assert_eq!((seen.body.as_slice(), seen.request_bytes), (b"12".as_slice(), 5));
        assert_eq!(format!("{seen:?}").contains("planted"), keep_secrets);
    }
}

#[test]
fn lets_a_registry_answer_before_the_upload_ends() {
    let bench = Bench::new();
    // The registry refuses a session that it does not know without waiting for the whole body.
    let target = "/v2/b/blobs/uploads/unknown";
    let answer =
        Request::new("PATCH", target).body(&vec![0; 4_000_000]).send(bench.proxy.address());
    assert_eq!(answer.unwrap().status, 404);
}
