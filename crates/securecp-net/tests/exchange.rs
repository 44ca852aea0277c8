//! The facade against servers that behave, stall, answer early, or break.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use securecp_layer::{CHUNK, Chunks, Scope, Stopped};
use securecp_net::{
    Lane, Method, Net, NetError, Request, Response, TimeLimits, TlsOptions, Upload, Url,
};

fn limits() -> TimeLimits {
    TimeLimits {
        stall: Duration::from_millis(300),
        slow_answer: Duration::from_millis(600),
        ..TimeLimits::default()
    }
}

/// Serves every connection with `serve`, each in a thread of its own.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap()).parse().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    url
}

/// Reads one request head; `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(head);
        }
        head.push_str(&line);
    }
}

fn content_length(head: &str) -> Option<u64> {
    let lower = head.to_ascii_lowercase();
    let line = lower.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    line.trim().parse().ok()
}

fn client() -> securecp_net::HttpClient {
    Net::new(limits()).client(&TlsOptions::default()).unwrap()
}

fn put(url: &Url) -> Request {
    Request::new(Method::PUT, url.clone()).lane(Lane::Bulk)
}

/// Writes chunks until something else than "taken" comes, at most `count`.
fn fill(upload: &mut Upload, count: usize, scope: &Scope) -> Result<Option<Response>, NetError> {
    let chunk = Bytes::from(vec![7; CHUNK]);
    for _ in 0..count {
        if let Some(early) = upload.write(chunk.clone(), scope)? {
            return Ok(Some(early));
        }
    }
    Ok(None)
}

#[test]
fn a_body_comes_in_chunks_and_is_bounded() {
    let size = 3 * CHUNK + 17;
    let url = server(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while head(&mut reader).is_some() {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
            for piece in vec![5; size].chunks(10_000) {
                stream.write_all(piece).unwrap();
            }
        }
    });
    let scope = Scope::new();
    let response = client().send(Request::get(url.clone()).lane(Lane::Bulk), &scope).unwrap();
    assert_eq!(response.length(), Some(size as u64));
    let mut body = response.body(&scope);
    let mut sizes = Vec::new();
    while let Some(chunk) = body.next().unwrap() {
        assert!(chunk.iter().all(|byte| *byte == 5));
        sizes.push(chunk.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), size);
    assert!(sizes.len() <= 7, "not coalesced: {sizes:?}");
    let whole = client().send(Request::get(url.clone()), &scope).unwrap();
    assert_eq!(whole.bytes(size, &scope).unwrap().len(), size);
    let large = client().send(Request::get(url), &scope).unwrap();
    assert!(matches!(large.bytes(size - 1, &scope), Err(NetError::TooLarge { .. })));
}

#[test]
fn a_body_without_stated_length_is_bounded_too() {
    let url = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        head(&mut reader);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[1; 4096]).is_ok() {}
    });
    let scope = Scope::new();
    let endless = client().send(Request::get(url.clone()), &scope).unwrap();
    assert!(matches!(endless.bytes(100_000, &scope), Err(NetError::TooLarge { .. })));
    let endless = client().send(Request::get(url), &scope).unwrap();
    assert_eq!(endless.beginning(50, &scope).len(), 50);
}

#[test]
fn a_cut_body_gives_what_came_and_then_a_passing_failure() {
    let url = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        head(&mut reader);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n12345").unwrap();
    });
    let scope = Scope::new();
    let mut body = client().send(Request::get(url), &scope).unwrap().body(&scope);
    assert_eq!(body.next().unwrap().unwrap(), "12345");
    assert!(body.next().unwrap_err().transient);
}

#[test]
fn a_stalled_body_ends_but_a_slow_reader_does_not_start_the_clock() {
    let url = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        head(&mut reader);
        let size = 4 * CHUNK;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size + 1).unwrap();
        stream.write_all(&vec![1; size]).unwrap();
        thread::sleep(Duration::from_secs(30));
    });
    let scope = Scope::new();
    let mut body = client().send(Request::get(url), &scope).unwrap().body(&scope);
    let mut seen = body.read().unwrap().unwrap().len();
    // Longer than the limit, but it is our own side that is slow.
    thread::sleep(Duration::from_millis(400));
    while seen < 4 * CHUNK {
        seen += body.read().unwrap().unwrap().len();
    }
    let start = Instant::now();
    assert!(matches!(body.read(), Err(NetError::Stalled { .. })));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn cancel_ends_a_stalled_body_at_once() {
    let url = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        head(&mut reader);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").unwrap();
        thread::sleep(Duration::from_secs(30));
    });
    let patient = TimeLimits { stall: Duration::from_secs(60), ..limits() };
    let client = Net::new(patient).client(&TlsOptions::default()).unwrap();
    let scope = Scope::new();
    let mut body = client.send(Request::get(url), &scope).unwrap().body(&scope);
    let start = Instant::now();
    let other = scope.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        other.cancel();
    });
    assert!(matches!(body.read(), Err(NetError::Stopped(Stopped::Cancelled))));
    assert!(start.elapsed() < Duration::from_millis(500));
}

#[test]
fn a_server_that_never_answers_ends_in_a_stall() {
    let url = server(|stream| {
        let mut reader = BufReader::new(stream);
        while head(&mut reader).is_some() {}
    });
    let result = client().send(Request::get(url), &Scope::new());
    assert!(matches!(result, Err(NetError::Stalled { .. })));
}

#[test]
fn an_upload_of_known_size_states_it_and_arrives_whole() {
    let url = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let head = head(&mut reader).unwrap();
        let length = content_length(&head).unwrap();
        let count = std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        write!(stream, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nSeen: {count}\r\n\r\n")
            .unwrap();
    });
    let scope = Scope::new();
    let size = 5 * CHUNK as u64;
    let mut upload = client().upload(put(&url), Some(size), &scope).unwrap();
    assert!(matches!(fill(&mut upload, 5, &scope), Ok(None)));
    let response = upload.finish(&scope).unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["seen"], size.to_string().as_str());
}

/// What the server of a cut upload saw: whether it found the body complete.
fn sees_complete(size: Option<u64>) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    let url = server(move |stream| {
        let mut reader = BufReader::new(stream);
        let head = head(&mut reader).unwrap();
        let mut body = Vec::new();
        let _ = reader.read_to_end(&mut body);
        let complete = match content_length(&head) {
            Some(length) => body.len() as u64 >= length,
            None => body.ends_with(b"0\r\n\r\n"),
        };
        sender.send(complete).unwrap();
    });
    let scope = Scope::new();
    let mut upload = client().upload(put(&url), size, &scope).unwrap();
    // More than fits between us and the connection, so that the server has seen the beginning.
    assert!(matches!(fill(&mut upload, 8, &scope), Ok(None)));
    drop(upload);
    receiver.recv_timeout(Duration::from_secs(5)).unwrap()
}

#[test]
fn an_upload_dropped_before_finish_is_cut() {
    assert!(!sees_complete(Some(8 * CHUNK as u64)));
    assert!(!sees_complete(None));
}

#[test]
fn an_early_answer_is_seen_while_the_server_keeps_the_connection_and_reads_nothing() {
    let url = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        head(&mut reader);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").unwrap();
        thread::sleep(Duration::from_secs(30));
    });
    let scope = Scope::new();
    let start = Instant::now();
    let mut upload = patient().upload(put(&url), Some(1 << 40), &scope).unwrap();
    let Some(response) = fill(&mut upload, 4000, &scope).unwrap() else {
        panic!("the answer was not seen");
    };
    assert_eq!(response.status(), 413);
    assert!(start.elapsed() < Duration::from_secs(10), "long before anything counts as stalled");
    assert!(upload.write(Bytes::from_static(b"x"), &scope).is_err());
}

#[test]
fn an_upload_that_nobody_reads_stalls_or_is_cancelled() {
    let url = server(|stream| {
        let mut reader = BufReader::new(stream);
        head(&mut reader);
        thread::sleep(Duration::from_secs(30));
    });
    let scope = Scope::new();
    let mut upload = client().upload(put(&url), None, &scope).unwrap();
    assert!(matches!(fill(&mut upload, 4000, &scope), Err(NetError::Stalled { .. })));
    let mut upload = client().upload(put(&url), None, &scope).unwrap();
    // Begins only now, so that a busy machine does not end it before there is an upload.
    let scope = Scope::lasting(Duration::from_millis(100));
    let result = fill(&mut upload, 4000, &scope);
    assert!(matches!(result, Err(NetError::Stopped(Stopped::Deadline { .. }))), "before it stalls");
}

#[test]
fn a_broken_upload_is_a_passing_failure() {
    let url = server(|stream| {
        let mut reader = BufReader::new(stream);
        head(&mut reader);
    });
    let scope = Scope::new();
    let mut upload = client().upload(put(&url), None, &scope).unwrap();
    let result = fill(&mut upload, 4000, &scope);
    assert!(result.unwrap_err().is_transient());
}

/// A server that answers each request on a connection with `answer`, and the numbers of the connections that requests
/// came by.
fn counting(answer: &'static [u8]) -> (Url, std::sync::mpsc::Receiver<usize>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let url = server(move |mut stream| {
        let number = connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while head(&mut reader).is_some() {
            sender.send(number).unwrap();
            stream.write_all(answer).unwrap();
        }
        sender.send(usize::MAX).unwrap();
    });
    (url, receiver)
}

fn bulk(url: &Url) -> Request {
    Request::get(url.clone()).lane(Lane::Bulk)
}

/// A client that a busy machine cannot hurry.
fn patient() -> securecp_net::HttpClient {
    Net::default().client(&TlsOptions::default()).unwrap()
}

#[test]
fn transfers_one_after_another_share_a_connection() {
    let scope = Scope::new();
    let (url, numbers) = counting(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let client = patient();
    let mut body = client.send(bulk(&url), &scope).unwrap().body(&scope);
    assert_eq!(body.read().unwrap().unwrap(), "hello");
    assert!(body.read().unwrap().is_none() && body.read().unwrap().is_none());
    assert_eq!(client.send(bulk(&url), &scope).unwrap().bytes(9, &scope).unwrap(), "hello");
    let response = client.send(bulk(&url), &scope).unwrap();
    let beside = client.send(bulk(&url), &scope).unwrap();
    drop((response, beside, body));
    assert_eq!(numbers.iter().take(4).collect::<Vec<_>>(), [0, 0, 0, 1]);
    let (url, numbers) = counting(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..3 {
        drop(client.send(put(&url), &scope).unwrap());
    }
    assert_eq!(numbers.iter().take(3).collect::<Vec<_>>(), [0; 3]);
}

#[test]
fn a_transfer_finds_its_host_by_name() {
    let (mut url, numbers) = counting(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    url.set_host(Some("localhost")).unwrap();
    let answer = patient().send(bulk(&url), &Scope::new()).unwrap();
    assert_eq!(answer.bytes(9, &Scope::new()).unwrap(), "OK");
    assert_eq!(numbers.recv(), Ok(0));
    url.set_host(Some("no-such-host.invalid")).unwrap();
    let error = patient().send(bulk(&url), &Scope::new()).unwrap_err();
    assert!(matches!(error, NetError::Connect { transient: false, .. }), "{error:?}");
}

#[test]
fn a_body_that_is_given_up_closes_its_connection_at_once() {
    let scope = Scope::new();
    let (url, numbers) = counting(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello");
    let client = patient();
    let body = client.send(bulk(&url), &scope).unwrap().body(&scope);
    assert_eq!(numbers.recv(), Ok(0));
    drop(body);
    assert_eq!(numbers.recv_timeout(Duration::from_secs(5)), Ok(usize::MAX));
    drop(client.send(bulk(&url), &scope).unwrap().body(&scope));
    assert_eq!(numbers.recv(), Ok(1));
}

#[test]
fn a_connection_that_the_server_has_closed_meanwhile_is_not_used() {
    let scope = Scope::new();
    let url = server(|mut stream| {
        head(&mut BufReader::new(&stream)).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").unwrap();
    });
    let client = patient();
    for _ in 0..5 {
        let answer = client.send(bulk(&url), &scope).unwrap();
        assert_eq!(answer.bytes(9, &scope).unwrap(), "OK");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_connection_is_not_kept_for_longer_than_wanted() {
    let scope = Scope::new();
    let (url, numbers) = counting(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    let limits = TimeLimits { keep: Duration::from_millis(20), ..TimeLimits::default() };
    let client = Net::new(limits).client(&TlsOptions::default()).unwrap();
    client.send(bulk(&url), &scope).unwrap().bytes(9, &scope).unwrap();
    thread::sleep(Duration::from_millis(50));
    // Another host's transfer is enough to close it.
    let (other, _numbers) = counting(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    client.send(bulk(&other), &scope).unwrap().bytes(9, &scope).unwrap();
    assert_eq!(numbers.recv(), Ok(0));
    assert_eq!(numbers.recv_timeout(Duration::from_secs(5)), Ok(usize::MAX));
}

#[test]
fn only_the_last_chunk_of_a_known_size_is_held_back() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let url = server(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let size = content_length(&head(&mut reader).unwrap()).unwrap();
        let (mut seen, mut buffer) = (0, vec![0; CHUNK]);
        while seen < size {
            seen += reader.read(&mut buffer).unwrap() as u64;
            sender.send(seen).unwrap();
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let (scope, piece) = (Scope::new(), Bytes::from_static(&[7; 1000]));
    let mut upload = patient().upload(put(&url), Some(3000), &scope).unwrap();
    for _ in 0..3 {
        assert!(matches!(upload.write(piece.clone(), &scope), Ok(None)));
    }
    assert_eq!(receiver.iter().find(|seen| *seen >= 2000), Some(2000));
    assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err(), "the last one is not out");
    assert_eq!(upload.finish(&scope).unwrap().status(), 201);
    assert_eq!(receiver.recv(), Ok(3000));
}

#[test]
fn an_upload_cannot_run_over_its_size() {
    let url = server(|stream| {
        let _ = BufReader::new(stream).read_to_end(&mut Vec::new());
    });
    let scope = Scope::new();
    let mut upload = patient().upload(put(&url), Some(CHUNK as u64 + 1), &scope).unwrap();
    assert!(matches!(fill(&mut upload, 2, &scope), Ok(None)));
    assert!(upload.finish(&scope).is_err());
}

#[test]
fn refused_connections_and_unknown_hosts_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = client().send(Request::get(url), &Scope::new()).unwrap_err();
    assert!(matches!(error, NetError::Connect { transient: true, .. }), "{error:?}");
}

#[test]
fn plain_http_where_tls_is_expected_has_its_own_error() {
    let url = server(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    });
    let url: Url = url.as_str().replace("http:", "https:").parse().unwrap();
    let error = client().send(Request::get(url), &Scope::new()).unwrap_err();
    assert!(matches!(error, NetError::PlainHttp { .. }), "{error:?}");
    assert!(error.to_string().contains("server gave HTTP response to HTTPS client"));
}

#[test]
fn redirects_are_followed_without_credentials_and_end_somewhere() {
    let target = server(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(head) = head(&mut reader) {
            let leaked = head.to_ascii_lowercase().contains("authorization");
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{leaked:5}").unwrap();
        }
    });
    let to = target.clone();
    let from = server(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(head) = head(&mut reader) {
            let next = if head.contains("/loop") { "/loop" } else { to.as_str() };
            write!(stream, "HTTP/1.1 307 x\r\nLocation: {next}\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        }
    });
    let scope = Scope::new();
    let request = Request::get(from.clone()).authorization("Bearer secret").unwrap();
    let response = client().send(request, &scope).unwrap();
    assert_eq!(response.url(), &target);
    assert_eq!(response.bytes(10, &scope).unwrap(), "false");
    let circle = client().send(Request::get(from.join("/loop").unwrap()), &scope);
    assert!(matches!(circle, Err(NetError::Redirect { .. })));
}

#[test]
fn a_request_never_shows_its_secrets() {
    let url: Url = "https://r.example/v2/?token=geheim".parse().unwrap();
    let request = Request::get(url).authorization("Basic geheim").unwrap();
    assert!(!format!("{request:?}").contains("geheim"));
}

#[test]
fn talks_over_a_unix_socket() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let request = head(&mut BufReader::new(&stream)).unwrap();
        assert!(request.starts_with("GET /_ping HTTP/1.1\r\n"), "{request}");
        (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").unwrap();
    });
    let client = Net::new(limits()).unix_socket(&path).unwrap();
    let request = || Request::get("http://engine/_ping".parse().unwrap());
    let answer = client.send(request(), &Scope::new()).unwrap();
    assert_eq!(answer.bytes(10, &Scope::new()).unwrap(), "OK");
    let nobody = Net::new(limits()).unix_socket(&place.path().join("none")).unwrap();
    let error = nobody.send(request(), &Scope::new()).unwrap_err();
    assert!(matches!(error, NetError::Connect { .. }), "{error}");
}

/// Set in a child process that has another environment: what it asks for, and what it must be told.
const ASKED: &str = "SECURECP_TEST_ASKS";
const TOLD: &str = "SECURECP_TEST_IS_TOLD";

/// Whether this is such a child, which has then done its work.
fn is_child() -> bool {
    let Ok(url) = std::env::var(ASKED) else { return false };
    let response = client().send(Request::get(url.parse().unwrap()), &Scope::new()).unwrap();
    let told = response.bytes(100, &Scope::new()).unwrap();
    assert_eq!(told, std::env::var(TOLD).unwrap());
    true
}

/// Runs `test` in a process with one variable for proxies.
fn ask_from_child(test: &str, url: &str, told: &str, (variable, value): (&str, &str)) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.args(["--exact", test]).env(ASKED, url).env(TOLD, told).env(variable, value);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn proxies_of_the_environment_are_used() {
    if is_child() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let proxy = server(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(head) = head(&mut reader) {
            sender.send(head).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nby proxy").unwrap();
        }
    });
    let named = proxy.as_str().replace("http://", "http://me:geheim@");
    let test = "proxies_of_the_environment_are_used";
    ask_from_child(test, "http://registry.example/v2/", "by proxy", ("http_proxy", &named));
    let asked = receiver.recv_timeout(Duration::from_secs(1)).unwrap();
    assert!(asked.starts_with("GET http://registry.example/v2/ "), "{asked}");
    let shown = asked.to_lowercase().contains("proxy-authorization: basic ");
    assert!(shown, "{asked}");
}

/// Credentials for a registry on this machine are nobody else's business.
#[test]
fn what_is_meant_for_this_machine_goes_to_no_proxy() {
    if is_child() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let proxy = server(move |_| sender.send(()).unwrap());
    let direct = server(|mut stream| {
        head(&mut BufReader::new(stream.try_clone().unwrap()));
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndirect").unwrap();
    });
    let test = "what_is_meant_for_this_machine_goes_to_no_proxy";
    for variable in ["http_proxy", "ALL_PROXY"] {
        ask_from_child(test, direct.as_str(), "direct", (variable, proxy.as_str()));
    }
    assert!(receiver.try_recv().is_err());
}

#[test]
fn socks_proxies_are_used() {
    if is_child() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let proxy = server(move |mut stream| {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&[5, 0]).unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).unwrap();
        let mut target = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut target).unwrap();
        sender.send((request, String::from_utf8_lossy(&target).into_owned())).unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        head(&mut BufReader::new(stream.try_clone().unwrap()));
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nby socks").unwrap();
    });
    let value = proxy.as_str().replace("http://", "socks5h://");
    ask_from_child(
        "socks_proxies_are_used",
        "http://r.example/",
        "by socks",
        ("http_proxy", &value),
    );
    let (request, target) = receiver.recv_timeout(Duration::from_secs(1)).unwrap();
    assert_eq!(request[..4], [5, 1, 0, 3], "the proxy looks the name up");
    assert!(target.starts_with("r.example"), "{target}");
}
