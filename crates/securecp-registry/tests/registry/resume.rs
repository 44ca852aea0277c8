//! Uploads that a later run continues, and what a registry may not do with them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use securecp_layer::{Chunks, Journal, Layer, Scope, SourceError};
use securecp_oci::Descriptor;
use securecp_registry::{Access, BlobUpload, Client, Login, Problem, RegistryError, Uploads};
use securecp_testkit::proxy::{Fault, Handler, How, Point, Proxy, Reply, Rule, Side};
use tempfile::TempDir;

use crate::peers::{Memory, Peer, blob, client, password, plain, pull, push, quick};
use crate::token_server::Doorman;

const PIECE: u64 = 256 << 10;
const SIZE: u64 = 16 * PIECE;

/// What one run after the other uses: the same folder for notes, everything else new.
struct Bench {
    peer: Peer,
    proxy: Proxy,
    state: TempDir,
    login: Login,
}

impl Bench {
    fn new(peer: Peer) -> Self {
        let proxy = Proxy::start(peer.address).unwrap();
        Self { peer, proxy, state: TempDir::new().unwrap(), login: Login::Anonymous }
    }

    /// The client of a new run.
    fn run(&self) -> Client {
        self.run_at(self.proxy.address())
    }

    fn run_at(&self, address: SocketAddr) -> Client {
        let journal = Some(Journal::new(self.state.path().join("uploads")));
        let uploads = Uploads { journal, piece_bytes: PIECE };
        client(address, "a", Access { uploads, login: self.login.clone(), ..plain() })
    }

    fn rule(&self, method: &'static str, pattern: &str, fault: Fault) {
        self.proxy.add(Rule::new(method, pattern).unwrap().with(fault));
    }

    /// Bytes of blobs that were sent since the log was cleared.
    fn sent(&self) -> u64 {
        let log = self.proxy.log();
        log.iter().filter(|seen| seen.path.contains("/uploads/")).map(|s| s.request_bytes).sum()
    }

    fn notes(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.state.path().join("uploads")) else {
            return Vec::new();
        };
        entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }

    /// Runs once more without faults; how much was sent then.
    fn again(&self, descriptor: &Descriptor, bytes: &Bytes) -> u64 {
        self.proxy.clear_rules();
        self.proxy.clear_log();
        push(&self.run(), descriptor, bytes).unwrap();
        assert_eq!(pull(&self.run(), descriptor).unwrap(), bytes);
        assert_eq!(self.notes(), [] as [String; 0], "nothing is left to be continued");
        self.sent()
    }
}

/// Bytes that end the run at some point, as a kill would.
struct Ending {
    bytes: Memory,
    left: u64,
    scope: Scope,
}

impl Chunks for Ending {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let chunk = self.bytes.next()?;
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left = self.left.saturating_sub(length);
        if self.left == 0 {
            // The registry has time for what it was sent, and a killed process sends no more.
            std::thread::sleep(Duration::from_millis(300));
            self.scope.cancel();
        }
        Ok(chunk)
    }
}

/// Puts the blob until `at` bytes were read.
fn interrupted(client: &Client, descriptor: &Descriptor, bytes: &Bytes, at: u64) -> RegistryError {
    let scope = Scope::new();
    let open = || {
        let source = Ending { bytes: Memory(bytes.clone()), left: at, scope: scope.clone() };
        Ok(Layer::verified(descriptor.clone(), source))
    };
    let upload = BlobUpload { known: Some(descriptor), mount_from: &[], open: &open };
    client.put_blob(&upload, &scope).unwrap_err()
}

fn large() -> (Descriptor, Bytes) {
    blob(SIZE as usize, 1)
}

#[test]
fn the_next_run_sends_what_the_registry_does_not_have() {
    for (peer, most) in
        [(Peer::embedded(), SIZE / 4), (Peer::debian(), SIZE), (Peer::ferro(), SIZE)]
    {
        let bench = Bench::new(peer);
        let (descriptor, bytes) = large();
        let error = interrupted(&bench.run(), &descriptor, &bytes, SIZE * 4 / 5);
        assert!(matches!(error.problem(), Problem::Stopped(_)), "{error}");
        assert_eq!(bench.notes().len(), 1);
        assert_eq!(bench.proxy.requests("DELETE", "/uploads/"), 0, "kept, not cancelled");
        let sent = bench.again(&descriptor, &bytes);
        assert!(sent <= most, "{sent} of {SIZE}");
    }
}

#[test]
fn a_registry_that_forgets_a_cut_piece_goes_on_when_it_was_whole() {
    let bench = Bench::new(Peer::debian());
    let (descriptor, bytes) = large();
    // The tenth piece never leaves, so that the session stands after nine whole ones.
    bench.proxy.add(Rule::new("PATCH", "/uploads/").unwrap().from(10).with(Fault::Reset));
    push(&bench.run(), &descriptor, &bytes).unwrap_err();
    assert_eq!(bench.again(&descriptor, &bytes), SIZE - 9 * PIECE);
}

#[test]
fn a_break_within_a_run_is_followed_up_where_the_registry_stands() {
    for fault in [
        Fault::Answer(Reply::new(503)),
        Fault::LoseAnswer,
        Fault::Break(Side::Request, Point::Percent(50), How::Reset),
        Fault::Reset,
    ] {
        let bench = Bench::new(Peer::embedded());
        let (descriptor, bytes) = large();
        bench.proxy.add(Rule::new("PATCH", "/uploads/").unwrap().nth(9).with(fault.clone()));
        push(&bench.run(), &descriptor, &bytes).unwrap();
        assert_eq!(pull(&bench.run(), &descriptor).unwrap(), bytes, "{fault:?}");
        assert!(bench.sent() <= SIZE + PIECE, "{fault:?}: {}", bench.sent());
        assert_eq!(bench.notes(), [] as [String; 0]);
    }
}

#[test]
fn progress_renews_the_attempts() {
    let bench = Bench::new(Peer::embedded());
    let (descriptor, bytes) = large();
    // More breaks than attempts, but a piece arrives between any two of them.
    let cut = Fault::Break(Side::Request, Point::Percent(50), How::Reset);
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let every_third = Handler::new(move |_| {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (turn % 3 == 2).then(|| Reply::new(503))
    });
    bench.rule("PATCH", "/uploads/", Fault::Handle(every_third));
    bench.proxy.add(Rule::new("PATCH", "/uploads/").unwrap().nth(5).with(cut));
    assert!(SIZE / PIECE / 2 > u64::from(quick().times));
    push(&bench.run(), &descriptor, &bytes).unwrap();
    assert_eq!(pull(&bench.run(), &descriptor).unwrap(), bytes);
}

#[test]
fn a_registry_that_takes_no_pieces_gets_the_blob_whole() {
    for reply in [
        Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no"),
        Reply::error(405, "UNSUPPORTED", "no"),
        Reply::error(416, "RANGE_INVALID", "no"),
        Reply::error(400, "UNKNOWN", "no"),
        Reply::error(500, "UNKNOWN", "no"),
        Reply::error(501, "UNSUPPORTED", "no"),
        Reply::new(202).header("range", "0-5"),
        Reply::new(202).header("range", "nonsense"),
        Reply::new(202).header("range", "0-99999999999999999999"),
    ] {
        let bench = Bench::new(Peer::embedded());
        let shown = format!("{reply:?}");
        bench.rule("PATCH", "/uploads/", Fault::Answer(reply));
        let run = bench.run();
        let (descriptor, bytes) = large();
        push(&run, &descriptor, &bytes).unwrap();
        assert_eq!(pull(&run, &descriptor).unwrap(), bytes, "{shown}");
        let tried = bench.proxy.requests("PATCH", "/uploads/");
        let (other, bytes) = blob(SIZE as usize, 2);
        push(&run, &other, &bytes).unwrap();
        assert_eq!(bench.proxy.requests("PATCH", "/uploads/"), tried, "{shown} is remembered");
        assert_eq!(bench.notes(), [] as [String; 0]);
    }
}

#[test]
fn a_token_that_ends_between_two_pieces_is_renewed() {
    let peer = Peer::embedded();
    let guarded = Doorman::default().before(peer.address);
    let ended = Handler::new(|call| {
        let challenge = format!(
            "Bearer realm=\"http://{}/token\",service=\"test\",scope=\"repository:a:pull,push\"",
            call.proxy
        );
        let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
        Some(reply.header("www-authenticate", challenge))
    });
    let ended = Fault::Handle(ended);
    guarded.proxy.add(Rule::new("PATCH", "/uploads/").unwrap().nth(9).with(ended));
    let bench = Bench { login: password("user", "geheim"), ..Bench::new(peer) };
    let run = bench.run_at(guarded.proxy.address());
    let (descriptor, bytes) = large();
    push(&run, &descriptor, &bytes).unwrap();
    assert_eq!(pull(&run, &descriptor).unwrap(), bytes);
    let log = guarded.proxy.log();
    let sent: u64 = log.iter().filter(|seen| seen.method == "PATCH").map(|s| s.request_bytes).sum();
    assert!(sent <= SIZE + PIECE && log.iter().any(|seen| seen.status == 401), "{sent}");
    assert!(guarded.fetched.load(std::sync::atomic::Ordering::SeqCst) > 1);
}

#[test]
fn nothing_secret_is_noted() {
    let peer = Peer::embedded();
    let guarded = Doorman::default().before(peer.address);
    let bench = Bench { login: password("user", "geheim"), ..Bench::new(peer) };
    let (descriptor, bytes) = large();
    interrupted(&bench.run_at(guarded.proxy.address()), &descriptor, &bytes, SIZE / 2);
    let notes = bench.notes();
    assert!(notes[0].contains("session ") && notes[0].contains("/uploads/"), "{notes:?}");
    for secret in ["geheim", "Bearer", "Basic", "dXNlc", "token", "user"] {
        assert!(!notes[0].contains(secret), "{secret} in {notes:?}");
    }
}

#[test]
fn a_session_at_another_host_is_not_noted_and_gets_no_credentials() {
    let bench = Bench::new(Peer::embedded());
    let storage = Proxy::start(bench.peer.address).unwrap();
    let away = storage.address();
    let elsewhere = Handler::new(move |call| {
        let target = call.target();
        let begun = securecp_testkit::http::Request::new("POST", &target);
        let begun = begun.send(call.upstream).unwrap();
        let location = begun.header("location")?.to_owned();
        let path = location.find("/v2/").map(|at| location[at..].to_owned())?;
        Some(Reply::new(202).header("location", format!("http://key:secret@{away}{path}")))
    });
    bench.rule("POST", "/uploads/", Fault::Handle(elsewhere));
    let bench = Bench { login: Login::Token("geheim".to_owned().into()), ..bench };
    let (descriptor, bytes) = large();
    interrupted(&bench.run(), &descriptor, &bytes, SIZE / 2);
    assert_eq!(bench.notes(), [] as [String; 0]);
    assert!(storage.log().iter().all(|seen| {
        seen.header("authorization").is_none_or(|shown| !shown.starts_with("Bearer"))
    }));
    bench.again(&descriptor, &bytes);
}

#[test]
fn notes_that_point_elsewhere_are_not_followed() {
    for place in ["other", "scheme", "user", "garbage"] {
        let bench = Bench { login: password("user", "geheim"), ..Bench::new(Peer::embedded()) };
        let other = Proxy::start(bench.peer.address).unwrap();
        let (descriptor, bytes) = large();
        interrupted(&bench.run(), &descriptor, &bytes, SIZE / 2);
        let here = format!("http://{}", bench.proxy.address());
        let there = match place {
            "other" => format!("http://{}", other.address()),
            "scheme" => format!("https://{}", bench.proxy.address()),
            "user" => format!("http://a:b@{}", bench.proxy.address()),
            _ => "::".to_owned(),
        };
        rewrite(bench.state.path(), |text| {
            text.lines()
                .map(|line| match line.strip_prefix("session ") {
                    Some(rest) => format!("session {}\n", rest.replace(&here, &there)),
                    None => format!("{line}\n"),
                })
                .collect()
        });
        assert_eq!(bench.again(&descriptor, &bytes), SIZE, "{place}: begun anew");
        assert_eq!(other.log().len(), 0);
    }
}

fn rewrite(state: &Path, edit: impl Fn(&str) -> String) {
    for entry in std::fs::read_dir(state.join("uploads")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_ne!(edit(&text), text);
        std::fs::write(&path, edit(&text)).unwrap();
    }
}

#[test]
fn what_a_registry_says_of_a_session_is_held_to_what_was_sent() {
    let peer = Peer::embedded();
    let other = Proxy::start(peer.address).unwrap();
    let away = format!("http://{}/v2/a/blobs/uploads/x", other.address());
    for reply in [
        // More than was ever sent, more than the blob has, nonsense, and nothing.
        Reply::new(204).header("range", format!("0-{}", SIZE - 2)),
        Reply::new(204).header("range", format!("0-{}", 2 * SIZE)),
        Reply::new(204).header("range", "0-18446744073709551615"),
        Reply::new(204).header("range", "5-10"),
        Reply::new(204).header("range", "bytes 0-10/20"),
        Reply::new(204),
        Reply::new(204)
            .header("range", format!("0-{}", PIECE - 1))
            .header("location", away.clone()),
        Reply::new(307).header("location", away.clone()),
        Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no"),
        Reply::error(405, "UNSUPPORTED", "no"),
        Reply::html(200),
    ] {
        let bench = Bench { login: password("user", "geheim"), ..Bench::new(Peer::embedded()) };
        let shown = format!("{reply:?}");
        let (descriptor, bytes) = large();
        interrupted(&bench.run(), &descriptor, &bytes, SIZE / 2);
        bench.proxy.clear_log();
        bench.rule("GET", "/uploads/", Fault::Answer(reply));
        push(&bench.run(), &descriptor, &bytes).unwrap();
        assert_eq!(bench.sent(), SIZE, "{shown}: begun anew");
        assert_eq!(pull(&bench.run(), &descriptor).unwrap(), bytes, "{shown}");
        assert!(other.log().iter().all(|seen| seen.header("authorization").is_none()), "{shown}");
        other.clear_log();
    }
}

#[test]
fn a_session_that_holds_other_bytes_comes_to_nothing_and_the_blob_is_sent_anew() {
    let bench = Bench::new(Peer::embedded());
    let (descriptor, bytes) = large();
    let mut altered = bytes.to_vec();
    altered[1000] ^= 1;
    interrupted(&bench.run(), &descriptor, &altered.into(), SIZE / 2);
    bench.proxy.clear_log();
    let run = bench.run();
    push(&run, &descriptor, &bytes).unwrap();
    let log = bench.proxy.log();
    let commits: Vec<u16> = log.iter().filter(|s| s.method == "PUT").map(|s| s.status).collect();
    assert_eq!((commits.len(), commits[0]), (2, 400), "found by the registry, then sent whole");
    assert_eq!(pull(&run, &descriptor).unwrap(), bytes);
}

#[test]
fn an_altered_source_is_found_although_its_start_is_not_sent_again() {
    let bench = Bench::new(Peer::embedded());
    let (descriptor, bytes) = large();
    interrupted(&bench.run(), &descriptor, &bytes, SIZE / 2);
    let mut altered = bytes.to_vec();
    altered[1000] ^= 1;
    bench.proxy.clear_log();
    let error = push(&bench.run(), &descriptor, &altered.into()).unwrap_err();
    assert!(matches!(error.problem(), Problem::Layer(_)), "{error}");
    assert_eq!(bench.proxy.requests("PUT", "/uploads/"), 0, "never committed");
    assert_eq!(bench.notes(), [] as [String; 0]);
}

#[test]
fn two_runs_at_the_same_blob_do_not_share_a_session() {
    let bench = Bench::new(Peer::embedded());
    let (descriptor, bytes) = large();
    interrupted(&bench.run(), &descriptor, &bytes, SIZE / 2);
    let slow = Fault::Delay(Duration::from_millis(30));
    bench.rule("PATCH", "/uploads/", slow);
    bench.proxy.clear_log();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| push(&bench.run(), &descriptor, &bytes).unwrap());
        }
    });
    assert_eq!(pull(&bench.run(), &descriptor).unwrap(), bytes);
    assert!(bench.proxy.log().iter().all(|seen| seen.status < 400), "{:?}", bench.proxy.log());
}

#[test]
fn without_notes_or_for_small_blobs_everything_goes_whole() {
    let bench = Bench::new(Peer::embedded());
    let (small, bytes) = blob(PIECE as usize * 2 - 1, 1);
    push(&bench.run(), &small, &bytes).unwrap();
    let (descriptor, bytes) = large();
    push(&client(bench.proxy.address(), "a", plain()), &descriptor, &bytes).unwrap();
    // The journal cannot be written.
    std::fs::write(bench.state.path().join("uploads"), "").ok();
    let blocked = TempDir::new().unwrap();
    std::fs::write(blocked.path().join("uploads"), "").unwrap();
    let bench = Bench { state: blocked, ..bench };
    let (other, bytes) = blob(SIZE as usize, 3);
    push(&bench.run(), &other, &bytes).unwrap();
    assert_eq!(bench.proxy.requests("PATCH", "/uploads/"), 0);
}
