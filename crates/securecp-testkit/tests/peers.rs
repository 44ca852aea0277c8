//! Debian's docker-registry in each of its shapes, and TLS in front of the embedded registry.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};
use securecp_testkit::http::Request;
use securecp_testkit::tls::{Authority, Identity, TlsFront, TlsSettings};
use securecp_testkit::{DockerRegistry, DockerRegistrySettings, Fixture, Layer, Registry};

fn client(authority: &str, identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate.unwrap()], key).unwrap()
        }
    }
}

/// The start of the answer to a ping, and the protocol spoken.
fn ping(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<(String, Option<ProtocolVersion>)> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok((String::from_utf8_lossy(&answer).into_owned(), stream.conn.protocol_version()))
}

fn works(address: SocketAddr, config: ClientConfig) -> bool {
    ping(address, config).is_ok_and(|(answer, _)| answer == "HTTP/1.1 200")
}

#[test]
fn tls_front_shows_its_certificate_and_asks_for_one() {
    let registry = Registry::start().unwrap();
    let (ours, theirs) = (Authority::new("ours").unwrap(), Authority::new("theirs").unwrap());
    let identity = ours.server(&["localhost", "127.0.0.1"]).unwrap();
    let plain = TlsSettings::new(identity.clone());
    let front = TlsFront::start(registry.address(), &plain).unwrap();
    let (answer, version) = ping(front.address(), client(&ours.certificate(), None)).unwrap();
    assert_eq!((answer.as_str(), version), ("HTTP/1.1 200", Some(ProtocolVersion::TLSv1_3)));
    assert!(!works(front.address(), client(&theirs.certificate(), None)));
    let old = TlsSettings { tls13: false, ..plain.clone() };
    let front = TlsFront::start(registry.address(), &old).unwrap();
    let (_, version) = ping(front.address(), client(&ours.certificate(), None)).unwrap();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
    let mutual = TlsSettings { client_authority: Some(ours.certificate()), ..plain };
    let front = TlsFront::start(registry.address(), &mutual).unwrap();
    let known = ours.client("client").unwrap();
    let unknown = theirs.client("client").unwrap();
    assert!(works(front.address(), client(&ours.certificate(), Some(&known))));
    assert!(!works(front.address(), client(&ours.certificate(), Some(&unknown))));
    assert!(!works(front.address(), client(&ours.certificate(), None)));
}

#[test]
fn expired_and_misnamed_certificates_are_what_they_say() {
    let registry = Registry::start().unwrap();
    let authority = Authority::new("ours").unwrap();
    for identity in
        [authority.expired_server(&["localhost"]).unwrap(), authority.server(&["other"]).unwrap()]
    {
        let front = TlsFront::start(registry.address(), &TlsSettings::new(identity)).unwrap();
        assert!(!works(front.address(), client(&authority.certificate(), None)));
    }
}

#[test]
fn cert_dirs_hold_what_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours").unwrap();
    let client = authority.client("client").unwrap();
    authority.write_cert_dir(folder.path(), Some(&client)).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("ca.crt"), authority.certificate());
    assert_eq!(
        (read("client.cert"), read("client.key")),
        (client.certificate.clone(), client.key.clone())
    );
    assert!(!format!("{authority:?}{client:?}").contains("PRIVATE"));
}

#[test]
fn docker_registry_serves_and_deletes() {
    let peer = DockerRegistry::start().unwrap();
    let fixture = Fixture::two_platforms().unwrap();
    fixture.push(peer.address(), "a/b", Some("v1")).unwrap();
    let path = "/v2/a/b/manifests/v1";
    let kind = fixture.root.media_type.as_str();
    let served = Request::new("GET", path).header("Accept", kind).send(peer.address()).unwrap();
    assert_eq!(served.body, fixture.root.bytes);
    let path = format!("/v2/a/b/manifests/{}", fixture.digest());
    assert_eq!(Request::new("DELETE", &path).send(peer.address()).unwrap().status, 202);
    assert!(peer.log().contains("DELETE"));
    let address = peer.address();
    drop(peer);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn docker_registry_asks_for_a_password() {
    let settings = DockerRegistrySettings { htpasswd: true, ..Default::default() };
    let peer = DockerRegistry::start_with(&settings).unwrap();
    let fixture = Fixture::tiny().unwrap();
    assert!(fixture.push(peer.address(), "a", Some("v1")).is_err());
    let pair = format!("{}:{}", DockerRegistry::USER, DockerRegistry::PASSWORD);
    let header = format!("Basic {}", STANDARD.encode(pair));
    fixture.push_as(peer.address(), "a", Some("v1"), Some(&header)).unwrap();
    let wrong = format!("Basic {}", STANDARD.encode("tester:wrong"));
    let ping = Request::new("GET", "/v2/").header("Authorization", &wrong);
    assert_eq!(ping.send(peer.address()).unwrap().status, 401);
}

#[test]
fn docker_registry_speaks_tls() {
    let authority = Authority::new("ours").unwrap();
    let settings = DockerRegistrySettings {
        tls: Some(authority.server(&["localhost", "127.0.0.1"]).unwrap()),
        ..Default::default()
    };
    let peer = DockerRegistry::start_with(&settings).unwrap();
    assert!(works(peer.address(), client(&authority.certificate(), None)));
    let settings =
        DockerRegistrySettings { client_authority: Some(authority.certificate()), ..settings };
    let peer = DockerRegistry::start_with(&settings).unwrap();
    let identity = authority.client("client").unwrap();
    assert!(works(peer.address(), client(&authority.certificate(), Some(&identity))));
    assert!(!works(peer.address(), client(&authority.certificate(), None)));
}

#[test]
fn docker_registry_can_be_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Some(folder.path().to_owned());
    let settings = DockerRegistrySettings { storage, ..Default::default() };
    let fixture = Fixture::tiny().unwrap();
    let writable = DockerRegistry::start_with(&settings).unwrap();
    fixture.push(writable.address(), "a", Some("v1")).unwrap();
    drop(writable);
    let settings = DockerRegistrySettings { read_only: true, ..settings };
    let peer = DockerRegistry::start_with(&settings).unwrap();
    let path = format!("/v2/a/blobs/{}", fixture.blobs[0].digest);
    assert_eq!(Request::new("HEAD", &path).send(peer.address()).unwrap().status, 200);
    let other = Fixture::nested().unwrap();
    assert!(other.push(peer.address(), "b", Some("v1")).is_err());
}

#[test]
fn a_peer_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Identity { certificate: "no certificate".to_owned(), key: String::new() };
    let settings = DockerRegistrySettings {
        tls: Some(broken),
        storage: Some(folder.path().to_owned()),
        ..Default::default()
    };
    let error = DockerRegistry::start_with(&settings).unwrap_err().to_string();
    assert!(error.contains("docker-registry is not ready: ended with"), "{error}");
}

/// A real client against the project's own server: streamed uploads, indexes with attestations, mounts.
#[test]
fn skopeo_copies_through_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start_with(|options| options.require_children = true).unwrap();
    let fixture = Fixture::two_platforms_attested().unwrap();
    let big = Layer::incompressible(folder.path(), 5, 20).unwrap();
    let big = Fixture::image("amd64", std::slice::from_ref(&big));
    for (name, fixture) in [("index", &fixture), ("big", &big)] {
        let (from, to) = (folder.path().join(name), folder.path().join(format!("{name}-back")));
        fixture.write_layout(&from, Some("v1")).unwrap();
        let image = format!("docker://{}/{name}:v1", registry.address());
        let copy = format!("docker://{}/copy/{name}:v1", registry.address());
        skopeo(&[&format!("oci:{}:v1", from.display()), &image]);
        skopeo(&[&image, &copy]);
        skopeo(&[&copy, &format!("oci:{}:v1", to.display())]);
        for manifest in fixture.manifests() {
            let back = to.join("blobs/sha256").join(manifest.digest.hex());
            assert_eq!(std::fs::read(back).unwrap(), manifest.bytes);
        }
        for blob in &fixture.blobs {
            let back = to.join("blobs/sha256").join(blob.digest.hex());
            assert!(blob.digest.matches(&std::fs::read(back).unwrap()));
        }
    }
    let failed = registry.requests().into_iter().find(|request| request.status >= 500);
    assert_eq!(failed, None);
}

fn skopeo(names: &[&str]) {
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false"])
        .arg("--dest-tls-verify=false")
        .args(names)
        .output()
        .expect("peer skopeo is missing: install the Debian package skopeo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
