//! Debian's docker-registry behind nginx, as it is met in the field: with a limit on bodies, with a password, below another
//! path, and with everything buffered.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use securecp_layer::{Journal, Scope};
use securecp_registry::{Access, Class, ManifestName, Uploads};
use tempfile::TempDir;

use crate::peers::{Peer, blob, client, free_address, image, password, plain, pull, push};

const MIB: usize = 1 << 20;

/// nginx in front of a registry; gone when dropped.
struct Nginx {
    address: SocketAddr,
    process: Child,
    _folder: TempDir,
    _registry: Peer,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nginx {
    /// `server` is what the server does, with `UPSTREAM` for the registry and `FOLDER` for the folder of its files.
    fn start(server: &str) -> Self {
        let (registry, folder, address) = (Peer::debian(), TempDir::new().unwrap(), free_address());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path FOLDER/{kind};\n"))
            .collect();
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid FOLDER/pid; error_log FOLDER/error;\n\
             events {{}}\n\
             http {{ access_log off; {temporary}\
             server {{ listen {address}; proxy_set_header Host $http_host; proxy_http_version 1.1; {server} }} }}\n"
        );
        let config = config
            .replace("UPSTREAM", &format!("http://{}", registry.address))
            .replace("FOLDER", &folder.path().display().to_string());
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let made = Command::new("htpasswd").args(["-Bbn", "user", "geheim"]).output();
        std::fs::write(folder.path().join("htpasswd"), made.unwrap().stdout).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", &folder.path().join("error").display().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's nginx is needed");
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let said = std::fs::read_to_string(folder.path().join("error")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(20), "nginx does not start: {said}");
            sleep(Duration::from_millis(20));
        }
        Self { address, process, _folder: folder, _registry: registry }
    }
}

/// An image with a large layer goes there and back.
fn there_and_back(address: SocketAddr, repository: &str, access: Access, size: usize) {
    let client = client(address, repository, access);
    let scope = Scope::new();
    let (descriptor, bytes) = blob(size, 7);
    push(&client, &descriptor, &bytes).unwrap();
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    let manifest = image(&client, 1);
    let tag = "v1".parse().unwrap();
    client.put_manifest(ManifestName::Tag(&tag), &manifest, &scope).unwrap();
    let found = client.manifest(ManifestName::Tag(&tag), &scope).unwrap();
    assert_eq!(found.bytes(), manifest.bytes());
    assert_eq!(client.tags(&scope).unwrap(), [tag]);
}

/// The access of a run that notes its uploads, in pieces of `piece_bytes`.
fn noted(state: &TempDir, piece_bytes: u64) -> Access {
    let journal = Some(Journal::new(state.path().join("journal")));
    Access { uploads: Uploads { journal, piece_bytes }, ..plain() }
}

#[test]
fn buffered_or_not_everything_goes_through() {
    for (buffering, expected) in [("on", 3), ("off", 3)] {
        let nginx = Nginx::start(&format!(
            "client_max_body_size 0; location /v2/ {{ proxy_pass UPSTREAM; \
             proxy_request_buffering {buffering}; proxy_buffering {buffering}; }}"
        ));
        there_and_back(nginx.address, "a", plain(), expected * MIB);
        let state = TempDir::new().unwrap();
        there_and_back(nginx.address, "b", noted(&state, MIB as u64), 5 * MIB + 1);
        assert_eq!(std::fs::read_dir(state.path().join("journal")).unwrap().count(), 0);
    }
}

#[test]
fn a_limit_on_bodies_is_met_with_pieces() {
    let nginx = Nginx::start("client_max_body_size 9m; location /v2/ { proxy_pass UPSTREAM; }");
    there_and_back(nginx.address, "a", plain(), 20 * MIB);
    // Large pieces run into the limit as well, and small ones do not.
    let state = TempDir::new().unwrap();
    there_and_back(nginx.address, "b", noted(&state, 10 * MIB as u64), 20 * MIB);
    there_and_back(nginx.address, "c", noted(&state, 5 * MIB as u64), 20 * MIB);
    assert_eq!(std::fs::read_dir(state.path().join("journal")).unwrap().count(), 0);
}

#[test]
fn the_limit_that_nginx_has_by_itself_is_a_clear_error() {
    let nginx = Nginx::start("location /v2/ { proxy_pass UPSTREAM; }");
    let client = client(nginx.address, "a", plain());
    let (descriptor, bytes) = blob(9 * MIB, 1);
    let error = push(&client, &descriptor, &bytes).unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(413), "{error}");
    let (small, bytes) = blob(MIB - 1, 1);
    push(&client, &small, &bytes).unwrap();
}

#[test]
fn a_password_that_nginx_asks_for_is_given_to_it() {
    let nginx = Nginx::start(
        "client_max_body_size 0; location /v2/ { proxy_pass UPSTREAM; proxy_set_header Authorization \"\"; \
         auth_basic images; auth_basic_user_file FOLDER/htpasswd; }",
    );
    there_and_back(
        nginx.address,
        "a",
        Access { login: password("user", "geheim"), ..plain() },
        MIB,
    );
    let state = TempDir::new().unwrap();
    let access = Access { login: password("user", "geheim"), ..noted(&state, MIB as u64) };
    there_and_back(nginx.address, "b", access, 4 * MIB);
    for login in [password("user", "falsch"), plain().login] {
        let client = client(nginx.address, "a", Access { login, ..plain() });
        let (descriptor, bytes) = blob(10, 1);
        let error = push(&client, &descriptor, &bytes).unwrap_err();
        assert_eq!(error.class(), Class::Auth, "{error}");
    }
}

#[test]
fn below_another_path_uploads_go_where_nginx_says() {
    let nginx = Nginx::start(
        "client_max_body_size 0; \
         location = /v2/ { proxy_pass UPSTREAM; } \
         location /v2/shelf/ { proxy_pass UPSTREAM/v2/; \
         proxy_redirect http://$http_host/v2/ http://$http_host/v2/shelf/; }",
    );
    there_and_back(nginx.address, "shelf/a", plain(), 3 * MIB);
    let state = TempDir::new().unwrap();
    there_and_back(nginx.address, "shelf/b", noted(&state, MIB as u64), 5 * MIB);
}

#[test]
fn a_registry_that_is_away_is_a_failure_that_may_pass_and_never_absence() {
    let nginx = Nginx::start(&format!("location /v2/ {{ proxy_pass http://{}; }}", free_address()));
    let client = client(nginx.address, "a", plain());
    let (descriptor, _) = blob(10, 1);
    let error = client.has_blob(&descriptor, &Scope::new()).unwrap_err();
    assert!(error.is_transient() && error.status().unwrap().as_u16() == 502, "{error}");
}
