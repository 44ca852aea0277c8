//! Proving who we are: Basic, tokens that are shared and renewed, and what must never leak.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use securecp_layer::{CHUNK, Scope};
use securecp_net::Net;
use securecp_oci::Tag;
use securecp_registry::{
    Access, BlobUpload, Class, Client, Credentials, Environment, Key, Login, ManifestName,
    Registries,
};
use securecp_testkit::proxy::{Fault, Handler, Proxy, Reply, Rule};
use tempfile::TempDir;

use crate::peers::{Peer, blob, client, image, open, password, plain, pull, push};
use crate::token_server::{Doorman, Guarded};

/// `user:geheim` in base64.
const BASIC: &str = "Basic dXNlcjpnZWhlaW0=";

fn with(login: Login) -> Access {
    Access { login, ..plain() }
}

fn guarded(doorman: Doorman) -> (Peer, Guarded, Client) {
    let peer = Peer::embedded();
    let guarded = doorman.before(peer.address);
    let client = client(guarded.proxy.address(), "a", with(password("user", "geheim")));
    (peer, guarded, client)
}

fn htpasswd() -> Peer {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("htpasswd");
    let made = std::process::Command::new("htpasswd")
        .args(["-Bbn", "user", "geheim"])
        .output()
        .expect("Debian's apache2-utils is needed");
    std::fs::write(&file, made.stdout).unwrap();
    let extra = format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
    Peer::debian_with(folder, &extra)
}

#[test]
fn basic_credentials_open_a_registry_with_htpasswd() {
    let peer = htpasswd();
    let scope = Scope::new();
    let known = client(peer.address, "a", with(password("user", "geheim")));
    let (descriptor, bytes) = blob(3 * CHUNK, 1);
    push(&known, &descriptor, &bytes).unwrap();
    assert_eq!(pull(&known, &descriptor).unwrap(), bytes);
    let key = Key::parse(&peer.address.to_string()).unwrap();
    let check = |login| Registries::new(Net::default(), with(login)).check_login(&key, &scope);
    check(password("user", "geheim")).unwrap();
    for login in [password("user", "falsch-geheim"), Login::Anonymous] {
        let error = check(login.clone()).unwrap_err();
        assert_eq!((error.class(), error.status().unwrap().as_u16()), (Class::Auth, 401));
        assert!(error.to_string().contains("invalid username/password"), "{error}");
        let other = client(peer.address, "a", with(login));
        let error = other.blob(&descriptor, &scope).unwrap_err();
        assert_eq!(error.class(), Class::Auth);
        assert!(error.to_string().contains("authentication required"), "{error}");
        assert!(!format!("{error:?} {error}").contains("geheim"));
    }
}

#[test]
fn credentials_come_from_files_by_the_longest_key() {
    let peer = htpasswd();
    let root = TempDir::new().unwrap();
    let file = root.path().join("auth.json");
    let text = format!(
        r#"{{"auths":{{"{0}":{{"auth":"Zm9vOmJhcg=="}},"{0}/a":{{"auth":"dXNlcjpnZWhlaW0="}}}}}}"#,
        peer.address
    );
    std::fs::write(&file, text).unwrap();
    let environment = Environment::inside(root.path());
    let access = |authfile| Access {
        login: Login::Configured,
        authfile,
        environment: environment.clone(),
        ..plain()
    };
    let (descriptor, bytes) = blob(10, 1);
    let found = client(peer.address, "a/b", access(Some(file.clone())));
    push(&found, &descriptor, &bytes).unwrap();
    let other = client(peer.address, "b", access(Some(file.clone())));
    let error = push(&other, &descriptor, &bytes).unwrap_err();
    assert_eq!(error.credentials(), Some(file.display().to_string().as_str()));
    let none = client(peer.address, "a/b", access(None));
    assert_eq!(push(&none, &descriptor, &bytes).unwrap_err().class(), Class::Auth);
    let missing = client(peer.address, "a/b", access(Some(root.path().join("none"))));
    let error = push(&missing, &descriptor, &bytes).unwrap_err();
    assert_eq!(error.class(), Class::Local);
    assert!(error.to_string().contains("credential file is not accessible"), "{error}");
}

#[test]
fn sixteen_blobs_at_once_cause_one_token_request() {
    let (_peer, guarded, client) = guarded(Doorman { basic: Some(BASIC), ..Doorman::default() });
    thread::scope(|threads| {
        for seed in 0..16 {
            let client = &client;
            threads.spawn(move || {
                let (descriptor, bytes) = blob(2 * CHUNK, seed);
                push(client, &descriptor, &bytes).unwrap();
            });
        }
    });
    assert_eq!(guarded.fetched.load(Ordering::SeqCst), 1);
}

#[test]
fn an_image_goes_up_and_down_with_two_tokens() {
    let (_peer, guarded, client) = guarded(Doorman { basic: Some(BASIC), ..Doorman::default() });
    let (scope, tag) = (Scope::new(), "t".parse::<Tag>().unwrap());
    let manifest = image(&client, 1);
    client.put_manifest(ManifestName::Tag(&tag), &manifest, &scope).unwrap();
    client.manifest(ManifestName::Tag(&tag), &scope).unwrap();
    client.tags(&scope).unwrap();
    assert!(guarded.fetched.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_short_lived_token_is_renewed_whatever_its_server_says_of_it() {
    for says in [Some(1), Some(300), None] {
        let life = Duration::from_millis(150);
        let (_peer, guarded, client) = guarded(Doorman { life, says, ..Doorman::default() });
        for seed in 0..8 {
            let (descriptor, bytes) = blob(3 * CHUNK, seed);
            push(&client, &descriptor, &bytes).unwrap();
            thread::sleep(Duration::from_millis(60));
            assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
        }
        assert!(guarded.fetched.load(Ordering::SeqCst) >= 3);
    }
}

#[test]
fn one_repository_may_want_a_token_while_others_do_not() {
    let peer = Peer::embedded();
    let guarded = Doorman { public: &["open"], ..Doorman::default() }.before(peer.address);
    let registries = Registries::new(Net::default(), with(password("user", "geheim")));
    let (descriptor, bytes) = blob(10, 1);
    for name in ["open", "closed", "open", "other"] {
        let repository = format!("{}/{name}", guarded.proxy.address()).parse().unwrap();
        push(&registries.client(&repository).unwrap(), &descriptor, &bytes).unwrap();
    }
}

#[test]
fn a_mount_asks_for_both_repositories_at_once() {
    let peer = Peer::embedded();
    let guarded = Doorman::default().before(peer.address);
    let registries = Registries::new(Net::default(), with(password("user", "geheim")));
    let repository = |name: &str| format!("{}/{name}", guarded.proxy.address()).parse().unwrap();
    let (descriptor, bytes) = blob(2 * CHUNK, 1);
    push(&registries.client(&repository("from")).unwrap(), &descriptor, &bytes).unwrap();
    let open = || open(&descriptor, &bytes);
    let from = [repository("from")];
    let upload = BlobUpload { known: Some(&descriptor), mount_from: &from, open: &open };
    registries.client(&repository("to")).unwrap().put_blob(&upload, &Scope::new()).unwrap();
    let asked = guarded.proxy.log();
    let both = |target: &str| {
        target.contains("repository%3Afrom%3Apull") && target.contains("repository%3Ato%3A")
    };
    assert!(asked.iter().any(|seen| seen.path == "/token" && both(&seen.query)));
    assert!(!asked.iter().any(|seen| seen.path.contains("/v2/to/") && seen.method == "PUT"));
}

#[test]
fn an_identity_token_is_exchanged() {
    let peer = Peer::embedded();
    let doorman =
        Doorman { basic: Some(BASIC), refresh: Some("geheim-refresh"), ..Doorman::default() };
    let guarded = doorman.before(peer.address);
    let identity = |token: &str| {
        let token = token.to_owned().into();
        Login::Given(Credentials::Identity { user: String::new(), token })
    };
    let (descriptor, bytes) = blob(10, 1);
    let good = client(guarded.proxy.address(), "a", with(identity("geheim-refresh")));
    push(&good, &descriptor, &bytes).unwrap();
    let bad = client(guarded.proxy.address(), "a", with(identity("geheim-other")));
    let error = push(&bad, &descriptor, &bytes).unwrap_err();
    assert_eq!(error.class(), Class::Auth);
    assert!(error.to_string().contains("unable to retrieve auth token"), "{error}");
}

#[test]
fn wrong_credentials_are_said_to_be_wrong_and_asked_once() {
    let (_peer, guarded, client) =
        guarded(Doorman { basic: Some("Basic other"), ..Doorman::default() });
    let error = client.tags(&Scope::new()).unwrap_err();
    assert_eq!(error.class(), Class::Auth);
    assert!(error.to_string().contains("invalid username/password"), "{error}");
    assert_eq!(error.credentials(), Some("the command line"));
    assert_eq!(guarded.fetched.load(Ordering::SeqCst), 1);
}

#[test]
fn a_fixed_token_is_sent_with_every_request_and_never_replaced() {
    let peer = Peer::embedded();
    let guarded = Doorman::default().before(peer.address);
    let login = Login::Token("geheim-fixed".to_owned().into());
    let error = client(guarded.proxy.address(), "a", with(login)).tags(&Scope::new()).unwrap_err();
    assert_eq!((error.class(), error.credentials()), (Class::Auth, Some("--registry-token")));
    assert_eq!(guarded.fetched.load(Ordering::SeqCst), 0);
}

/// A host that notes whether credentials ever came to it.
fn listener() -> (Peer, Proxy, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let note = seen.clone();
    let handler = Handler::new(move |call| {
        note.fetch_or(call.header("authorization").is_some(), Ordering::SeqCst);
        None
    });
    proxy.add(Rule::new("*", ".*").unwrap().with(Fault::Handle(handler)));
    (peer, proxy, seen)
}

#[test]
fn credentials_never_follow_a_redirect_to_another_host() {
    let (stranger, elsewhere, leaked) = listener();
    let (descriptor, bytes) = blob(2 * CHUNK, 1);
    push(&stranger.client("a"), &descriptor, &bytes).unwrap();
    let target = elsewhere.address();
    let (_peer, guarded, client) = guarded(Doorman::default());
    let away = Handler::new(move |call| {
        call.path.contains("/blobs/sha256").then(|| {
            Reply::new(307).header("location", format!("http://{target}{}", call.target()))
        })
    });
    guarded.proxy.add(Rule::new("GET", "/blobs/").unwrap().with(Fault::Handle(away)));
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    assert!(elsewhere.requests("GET", "/blobs/") > 0);
    assert!(!leaked.load(Ordering::SeqCst));
}

#[test]
fn credentials_never_go_to_an_upload_location_on_another_host() {
    let (_stranger, elsewhere, leaked) = listener();
    let target = elsewhere.address();
    let (_peer, guarded, client) = guarded(Doorman::default());
    let location = format!("http://{target}/v2/a/blobs/uploads/x");
    let away = Reply::new(202).header("location", location);
    // The doorman comes first, so that the client is authenticated when it is sent away.
    let away =
        Handler::new(move |call| call.header("authorization").is_some().then(|| away.clone()));
    guarded.proxy.add(Rule::new("POST", "/uploads/").unwrap().with(Fault::Handle(away)));
    let (descriptor, bytes) = blob(10, 1);
    assert!(push(&client, &descriptor, &bytes).is_err());
    assert!(elsewhere.requests("PUT", "/uploads/") > 0);
    assert!(!leaked.load(Ordering::SeqCst));
}

#[test]
fn a_challenge_of_a_redirect_target_is_not_answered() {
    let (_stranger, elsewhere, leaked) = listener();
    let asks = Reply::new(401).header("www-authenticate", "Basic realm=\"x\"");
    elsewhere.add(Rule::new("*", ".*").unwrap().with(Fault::Answer(asks)));
    let target = elsewhere.address();
    let (_peer, guarded, client) = guarded(Doorman::default());
    let away = Handler::new(move |call| {
        call.path.contains("/blobs/sha256").then(|| {
            Reply::new(307).header("location", format!("http://{target}{}", call.target()))
        })
    });
    guarded.proxy.add(Rule::new("GET", "/blobs/").unwrap().with(Fault::Handle(away)));
    assert!(client.blob(&blob(10, 1).0, &Scope::new()).is_err());
    assert!(!leaked.load(Ordering::SeqCst));
}

/// An upload host that sends us back to the registry makes the registry refuse us; the answer to that refusal would go
/// to the upload host with the next try.
#[test]
fn an_upload_host_that_sends_back_earns_no_credentials() {
    let (_stranger, elsewhere, leaked) = listener();
    let (_peer, guarded, client) = guarded(Doorman::default());
    let registry = guarded.proxy.address();
    let back = Handler::new(move |call| {
        let location = format!("http://{registry}{}", call.target());
        Some(Reply::new(307).header("location", location))
    });
    elsewhere.add(Rule::new("PUT", "/uploads/").unwrap().with(Fault::Handle(back)));
    let location = format!("http://{}/v2/a/blobs/uploads/x", elsewhere.address());
    let away = Reply::new(202).header("location", location);
    let away =
        Handler::new(move |call| call.header("authorization").is_some().then(|| away.clone()));
    guarded.proxy.add(Rule::new("POST", "/uploads/").unwrap().with(Fault::Handle(away)));
    for size in [10, 2 * CHUNK] {
        let (descriptor, bytes) = blob(size, 1);
        assert!(push(&client, &descriptor, &bytes).is_err());
    }
    assert!(elsewhere.requests("PUT", "/uploads/") > 1);
    assert!(guarded.proxy.requests("PUT", "/uploads/") > 0, "the way back was taken");
    assert!(!leaked.load(Ordering::SeqCst));
}

#[test]
fn an_early_401_opens_the_source_again_with_a_fresh_token() {
    let (_peer, guarded, client) = guarded(Doorman::default());
    let expired = Handler::new({
        let used = std::sync::atomic::AtomicUsize::new(0);
        move |_| (used.fetch_add(1, Ordering::SeqCst) == 0).then(|| Reply::new(401))
    });
    guarded.proxy.add(Rule::new("PUT", "/uploads/").unwrap().with(Fault::Handle(expired)));
    let (descriptor, bytes) = blob(8 * CHUNK, 1);
    push(&client, &descriptor, &bytes).unwrap();
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
}
