//! Nothing secret in the log, however verbose: planted secrets are looked for in everything that is written down.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use securecp_layer::{Layer, Once, Scope};
use securecp_net::Net;
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};
use securecp_registry::{
    Access, BlobUpload, Credentials, Environment, Login, Registries, RegistryError, RetryPolicy,
};
use securecp_testkit::Registry;
use securecp_testkit::auth::{AuthServer, AuthSettings, User};
use securecp_testkit::proxy::{Fault, Handler, Reply, Rule};
use securecp_testkit::tls::{Authority, TlsFront, TlsSettings};
use tempfile::TempDir;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What libraries write to the older logging interface goes to the same place.
struct Bridge(Written);

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        writeln!(self.0.clone(), "{} {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

/// Everything that is written down, at the most verbose level.
fn listen() -> Written {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Not `init`, which with some features would also take the other interface.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    log::set_logger(Box::leak(Box::new(Bridge(written.clone())))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    written
}

/// A registry that wants tokens, sends blobs from a signed URL elsewhere, and has secrets in its upload locations.
struct Stage {
    _registry: Registry,
    storage: Registry,
    auth: AuthServer,
    shown: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn new() -> Self {
        let (registry, storage) = (Registry::start().unwrap(), Registry::start().unwrap());
        let user = User::new("me", "geheim").may("pull,push", "*").refresh_token("geheim-refresh");
        let auth = AuthServer::start(registry.address(), AuthSettings::bearer(vec![user])).unwrap();
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = shown.clone();
        let notes = Handler::new(move |call| {
            let value = call.header("authorization").and_then(|value| value.split_once(' '));
            note.lock().unwrap().extend(value.map(|(_, secret)| secret.to_owned()));
            None
        });
        auth.proxy().add(Rule::new("*", ".*").unwrap().with(Fault::Handle(notes)));
        let away = storage.address();
        let signed = Handler::new(move |call| {
            let location = format!("http://{away}{}?signature=geheim-signature", call.path);
            call.header("authorization").map(|_| Reply::new(307).header("location", location))
        });
        auth.proxy().add(Rule::new("GET", "/blobs/sha256").unwrap().with(Fault::Handle(signed)));
        Self { _registry: registry, storage, auth, shown }
    }
}

fn access(login: Login, root: &Path) -> Access {
    Access {
        login,
        tls_verify: Some(false),
        environment: Environment::inside(root),
        retry: RetryPolicy {
            times: 1,
            delay: Some(std::time::Duration::from_millis(1)),
            ..RetryPolicy::NEVER
        },
        ..Access::default()
    }
}

fn password(password: &str) -> Login {
    let password = password.to_owned().into();
    Login::Given(Credentials::Password { user: "me".to_owned(), password })
}

/// Pushes and pulls; the text of whatever went wrong, in every form that somebody could print.
fn exercise(address: SocketAddr, access: Access) -> String {
    let registries = Registries::new(Net::default(), access.clone());
    let client = registries.client(&format!("{address}/a").parse().unwrap()).unwrap();
    let bytes = Bytes::from_static(b"a blob");
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let blob = Descriptor::new(MediaType::OCI_LAYER, digest, bytes.len() as u64);
    let open = || Ok(Layer::verified(blob.clone(), Once::new(bytes.clone())));
    let scope = Scope::new();
    let upload = BlobUpload { known: Some(&blob), mount_from: &[], open: &open };
    let mut said = format!("{registries:?} {client:?} {access:?} {upload:?}");
    let mut note = |error: RegistryError| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(found) = cause {
            said += &format!(" {found} {found:?}");
            cause = found.source();
        }
    };
    client.put_blob(&upload, &scope).map(drop).unwrap_or_else(&mut note);
    match client.blob(&blob, &scope) {
        Ok(mut download) => drop(download.read()),
        Err(error) => note(error),
    }
    client.tags(&scope).map(drop).unwrap_or_else(&mut note);
    said
}

/// The address of `upstream` behind TLS with HTTP/2, and the folder with its authority.
fn with_tls(upstream: SocketAddr) -> (TlsFront, TempDir) {
    let authority = Authority::new("test").unwrap();
    let identity = authority.server(&["127.0.0.1"]).unwrap();
    let folder = TempDir::new().unwrap();
    authority.write_cert_dir(folder.path(), None).unwrap();
    (TlsFront::start(upstream, &TlsSettings::new(identity)).unwrap(), folder)
}

#[test]
fn planted_secrets_appear_nowhere() {
    let written = listen();
    let stage = Stage::new();
    let root = TempDir::new().unwrap();
    let address = stage.auth.address();
    let mut said = String::new();
    for login in [
        password("geheim"),
        password("geheim-but-wrong"),
        Login::Token("geheim-token".to_owned().into()),
        Login::Given(Credentials::Identity {
            user: String::new(),
            token: "geheim-refresh".to_owned().into(),
        }),
    ] {
        said += &exercise(address, access(login.clone(), root.path()));
        let (tls, folder) = with_tls(address);
        let secure = Access {
            tls_verify: Some(true),
            cert_dir: Some(folder.path().to_owned()),
            ..access(login, root.path())
        };
        said += &exercise(tls.address(), secure);
    }
    let file = root.path().join("auth.json");
    std::fs::write(&file, r#"{"auths":{"x":{"auth":"Z2VoZWlt"}}, "geheim": }"#).unwrap();
    let broken = Access { authfile: Some(file), ..access(Login::Configured, root.path()) };
    said += &exercise(address, broken);
    let log = String::from_utf8_lossy(&written.0.lock().unwrap()).into_owned() + &said;
    // The listening itself works, and the secrets really were in play.
    assert!(log.contains("securecp_net") && log.contains(&address.to_string()));
    assert!(!stage.storage.requests().is_empty());
    let mut secrets = stage.shown.lock().unwrap().clone();
    assert!(secrets.len() > 4, "{secrets:?}");
    secrets.extend(["geheim", "Z2VoZWlt", "bWU6Z2VoZWlt"].map(str::to_owned));
    for secret in secrets {
        if let Some(at) = log.find(&secret) {
            let line = log[..at].lines().last().unwrap_or_default().to_owned();
            panic!("{secret} is in the log: {line}…");
        }
    }
}
