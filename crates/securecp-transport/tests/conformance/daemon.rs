//! `docker-daemon:` against a stand-in for the engine's API.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use securecp_layer::Scope;
use securecp_oci::ImageName;
use securecp_transport::{
    DaemonAccess, Destination, DestinationOptions, Naming, Source, SourceOptions, TransportError,
    open_destination, open_source,
};
use tempfile::TempDir;

use crate::interop::testdata;
use crate::suite::{self, Fixture, sample};

/// An engine with at most one image, called `docker.io/library/x:v1`.
pub(crate) struct StandIn {
    place: TempDir,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    image: Mutex<Option<Vec<u8>>>,
    /// What the engine says after it has taken an archive.
    report: Mutex<Option<String>>,
    requests: Mutex<Vec<String>>,
    /// It answers nothing but errors.
    sick: AtomicBool,
}

impl StandIn {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(place.path().join("socket")).unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { place, state }
    }

    fn access(&self) -> DaemonAccess {
        let host = Some(format!("unix://{}", self.place.path().join("socket").display()));
        DaemonAccess { host, ..DaemonAccess::default() }
    }

    fn open(&self, name: &str) -> Result<Box<dyn Source>, TransportError> {
        let options = SourceOptions { daemon: self.access(), ..SourceOptions::default() };
        open_source(&name.parse().unwrap(), &options)
    }

    fn reports(&self, text: &str) {
        *self.state.report.lock().unwrap() = Some(text.to_owned());
    }
}

impl Fixture for StandIn {
    fn source(&self) -> Result<Box<dyn Source>, TransportError> {
        self.open("docker-daemon:x:v1")
    }

    fn destination(&self) -> Box<dyn Destination> {
        let name: ImageName = "docker-daemon:x:v1".parse().unwrap();
        let options = DestinationOptions { daemon: self.access(), ..DestinationOptions::default() };
        open_destination(&name, &options).unwrap()
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    fn make_unwritable(&mut self) {
        self.state.sick.store(true, Ordering::Relaxed);
    }

    fn keeps_manifests(&self) -> bool {
        false
    }

    fn keeps_blobs(&self) -> bool {
        false
    }
}

/// Answers the requests of one connection.
fn serve(stream: &UnixStream, state: &State) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let line = head.lines().next().unwrap_or_default().to_owned();
        state.requests.lock().unwrap().push(line.clone());
        let (status, body) = match line.split(' ').nth(1).unwrap_or_default() {
            _ if state.sick.load(Ordering::Relaxed) => {
                ("500 Internal Server Error", br#"{"message":"read-only file system"}"#.to_vec())
            }
            "/_ping" => ("200 OK", b"OK".to_vec()),
            "/images/get?names=docker.io%2Flibrary%2Fx%3Av1" => match &*state.image.lock().unwrap()
            {
                Some(image) => ("200 OK", image.clone()),
                None => ("404 Not Found", br#"{"message":"No such image: x:v1"}"#.to_vec()),
            },
            "/images/get?names=docker.io%2Flibrary%2Fsick%3Av1" => {
                ("500 Internal Server Error", b"{\"message\":\"no space\\u001b[31m\"}".to_vec())
            }
            "/images/load?quiet=1" => {
                let Some(archive) = chunked(&mut reader) else { return };
                let report = state.report.lock().unwrap().clone();
                if report.is_none() {
                    *state.image.lock().unwrap() = Some(archive);
                }
                let loaded = r#"{"stream":"Loaded image: x:v1\n"}"#.to_owned() + "\r\n";
                ("200 OK", report.unwrap_or(loaded).into_bytes())
            }
            _ => ("400 Bad Request", b"<html>".to_vec()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut out = stream;
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(&body)).is_err() {
            return;
        }
    }
}

/// A chunked body; `None` if it is cut.
fn chunked(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        reader.take(size).read_to_end(&mut body).ok()?;
        let mut end = [0; 2];
        reader.read_exact(&mut end).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}

#[test]
fn says_what_the_engine_says() {
    let engine = StandIn::new();
    let root = |name: &str| engine.open(name).unwrap().root(&Scope::new()).unwrap_err();
    let error = root("docker-daemon:sick:v1").to_string();
    assert!(error.contains("status 500: no space\\u{1b}[31m"), "{error}");
    let error = root("docker-daemon:other:v1").to_string();
    assert!(error.contains("status 400: no reason given"), "{error}");
    assert!(root("docker-daemon:x:v1").is_not_found());
}

#[test]
fn reads_what_docker_save_gives() {
    let engine = StandIn::new();
    let archive = fs::read(testdata("images/docker-archive.tar")).unwrap();
    *engine.state.image.lock().unwrap() = Some(archive.clone());
    let source = engine.source().unwrap();
    let root = source.root(&Scope::new()).unwrap();
    let image = root.image().unwrap();
    for blob in image.layers.iter().chain([&image.config]) {
        sample::drain(source.blob(blob, &Scope::new()).unwrap()).unwrap();
    }
    assert_eq!(engine.state.requests.lock().unwrap().len(), 1, "the image is fetched once");
    let reference = source.identity().reference.as_ref().unwrap();
    assert_eq!(reference.to_string(), "docker.io/library/x:v1");
    *engine.state.image.lock().unwrap() = Some(archive[..20_000].to_vec());
    let error = engine.source().unwrap().root(&Scope::new()).unwrap_err().to_string();
    assert!(error.contains("ends in the middle of a member"), "{error}");
}

#[test]
fn takes_the_report_of_the_engine_seriously() {
    for (report, expected) in [
        (
            r#"{"errorDetail":{"message":"disk full"},"error":"disk full"}"#,
            "loading the image: disk full",
        ),
        ("{\"stream\":\"ok\"}\n{\"error\":\"late\"}\n", "loading the image: late"),
        ("<html>", "cannot be read"),
    ] {
        let engine = StandIn::new();
        engine.reports(report);
        let image = sample::image("alpha");
        let destination = engine.destination();
        let writing = destination.begin(&Scope::new()).unwrap();
        for (descriptor, bytes) in &image.blobs {
            suite::put(writing.as_ref(), descriptor, bytes).unwrap();
        }
        let place = securecp_transport::Place::Root;
        writing.put_manifest(&image.manifest, place, &Scope::new()).unwrap();
        let error = writing
            .commit(&[Naming::own(&*destination, &image.manifest)], &Scope::new())
            .unwrap_err()
            .cause
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn names_the_engine_that_cannot_be_reached() {
    for (host, expected) in [
        ("unix:///nowhere/socket", "docker engine unix:///nowhere/socket: connecting"),
        ("npipe:////./pipe/docker", "expected unix://PATH"),
        ("localhost", "expected unix://PATH"),
        ("tcp://", "malformed"),
    ] {
        let daemon = DaemonAccess { host: Some(host.to_owned()), ..DaemonAccess::default() };
        let options = DestinationOptions { daemon, ..DestinationOptions::default() };
        let opened = open_destination(&"docker-daemon:x:v1".parse().unwrap(), &options);
        let checked = opened.and_then(|destination| destination.check(&Scope::new()));
        let error = checked.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
