//! Certificates: whom we trust, who we are, and what is refused.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use securecp_layer::{CHUNK, Scope};
use securecp_registry::{Access, Environment, Problem, RegistryError};
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule};
use securecp_testkit::tls::{Authority, TlsFront, TlsSettings};
use tempfile::TempDir;

use crate::peers::{Peer, blob, client, password, plain, pull, push};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM.
fn issued(issuer: &Issuer, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (parameters.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

/// Debian's registry with a certificate of `server`; clients must have one of `clients`, if given.
fn registry(server: (String, String), clients: Option<&Issuer>) -> Peer {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("server.crt"), server.0).unwrap();
    std::fs::write(path("server.key"), server.1).unwrap();
    let wanted = clients.map_or(String::new(), |issuer| {
        std::fs::write(path("clients.crt"), issuer.pem()).unwrap();
        format!(", clientcas: [\"{}\"]", path("clients.crt"))
    });
    let extra = format!(
        "http: {{addr: \"ADDRESS\", tls: {{certificate: \"{}\", key: \"{}\"{wanted}}}}}\n",
        path("server.crt"),
        path("server.key"),
    );
    Peer::debian_with(folder, &extra)
}

fn verifying(environment: &Path) -> Access {
    Access { tls_verify: None, environment: Environment::inside(environment), ..plain() }
}

fn works(peer: &Peer, access: Access) -> Result<(), RegistryError> {
    let client = client(peer.address, "a", access);
    let (descriptor, bytes) = blob(2 * CHUNK, 1);
    push(&client, &descriptor, &bytes)?;
    assert_eq!(pull(&client, &descriptor).unwrap(), bytes);
    Ok(())
}

#[test]
fn a_private_authority_is_trusted_through_certs_d_only() {
    let issuer = authority("ours");
    let peer = registry(issued(&issuer, "127.0.0.1"), None);
    let root = TempDir::new().unwrap();
    let error = works(&peer, verifying(root.path())).unwrap_err();
    assert!(matches!(error.problem(), Problem::Net(_)) && !error.is_transient());
    assert!(error.to_string().contains("pinging container registry"), "{error}");
    let directory = root.path().join("etc/containers/certs.d").join(peer.address.to_string());
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("ca.crt"), authority("other").pem()).unwrap();
    works(&peer, verifying(root.path())).unwrap_err();
    std::fs::write(directory.join("ca.crt"), issuer.pem()).unwrap();
    works(&peer, verifying(root.path())).unwrap();
    let named = TempDir::new().unwrap();
    let cert_dir = Some(named.path().to_owned());
    works(&peer, Access { cert_dir: cert_dir.clone(), ..verifying(root.path()) }).unwrap_err();
    std::fs::copy(directory.join("ca.crt"), named.path().join("any.crt")).unwrap();
    works(&peer, Access { cert_dir, ..verifying(Path::new("/none")) }).unwrap();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let issuer = authority("ours");
    let peer = registry(issued(&issuer, "registry.example"), None);
    let root = TempDir::new().unwrap();
    std::fs::write(root.path().join("ca.crt"), issuer.pem()).unwrap();
    let cert_dir = Some(root.path().to_owned());
    works(&peer, Access { cert_dir, ..verifying(Path::new("/none")) }).unwrap_err();
    works(&peer, plain()).unwrap();
}

/// A registry with a certificate that signs itself, and what comes of trusting exactly that.
fn self_signed(adjust: impl FnOnce(&mut CertificateParams)) -> Result<(), RegistryError> {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    adjust(&mut parameters);
    let pem = parameters.self_signed(&key).unwrap().pem();
    let peer = registry((pem.clone(), key.serialize_pem()), None);
    let root = TempDir::new().unwrap();
    std::fs::write(root.path().join("ca.crt"), pem).unwrap();
    let cert_dir = Some(root.path().to_owned());
    works(&peer, Access { cert_dir, ..verifying(Path::new("/none")) })
}

#[test]
fn a_self_signed_certificate_may_be_its_own_root() {
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    self_signed(|parameters| parameters.is_ca = IsCa::ExplicitNoCa).unwrap();
    self_signed(|parameters| parameters.is_ca = authority).unwrap();
    let out_of_time = self_signed(|parameters| {
        parameters.is_ca = authority;
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    assert!(matches!(out_of_time.unwrap_err().problem(), Problem::Net(_)));
    let other_name = self_signed(|parameters| {
        parameters.is_ca = authority;
        parameters.subject_alt_names =
            vec![rcgen::SanType::DnsName("r.example".try_into().unwrap())];
    });
    assert!(matches!(other_name.unwrap_err().problem(), Problem::Net(_)));
}

#[test]
fn a_client_certificate_opens_a_registry_that_asks_for_one() {
    let (server, clients) = (authority("server"), authority("clients"));
    let peer = registry(issued(&server, "127.0.0.1"), Some(&clients));
    let root = TempDir::new().unwrap();
    let cert_dir = Some(root.path().to_owned());
    let access = || Access { cert_dir: cert_dir.clone(), ..verifying(Path::new("/none")) };
    std::fs::write(root.path().join("ca.crt"), server.pem()).unwrap();
    works(&peer, access()).unwrap_err();
    let (certificate, key) = issued(&clients, "me");
    std::fs::write(root.path().join("me.cert"), certificate).unwrap();
    std::fs::write(root.path().join("me.key"), key).unwrap();
    works(&peer, access()).unwrap();
}

#[test]
fn http_is_spoken_only_without_verification() {
    let peer = Peer::embedded();
    let access = Access { tls_verify: Some(true), ..plain() };
    let error = client(peer.address, "a", access).tags(&Scope::new()).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("server gave HTTP response to HTTPS client"), "{text}");
    works(&peer, plain()).unwrap();
}

/// CVE-2019-10214: the token server was met without verification, or over http, and got the password.
#[test]
fn cve_2019_10214_the_token_server_is_held_to_the_registrys_tls() {
    let (ours, theirs) = (Authority::new("ours").unwrap(), Authority::new("theirs").unwrap());
    let upstream = Peer::embedded();
    let tokens = Proxy::start(upstream.address).unwrap();
    let forged = TlsSettings::new(theirs.server(&["127.0.0.1"]).unwrap());
    let forged = TlsFront::start(tokens.address(), &forged).unwrap();
    let root = TempDir::new().unwrap();
    std::fs::write(root.path().join("ca.crt"), ours.certificate()).unwrap();
    for realm in [
        format!("http://{}/token", tokens.address()),
        format!("https://{}/token", forged.address()),
    ] {
        let registry = Proxy::start(upstream.address).unwrap();
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let challenge = Reply::new(401).header("www-authenticate", challenge);
        registry.add(Rule::new("*", ".*").unwrap().with(Fault::Answer(challenge)));
        let front = TlsSettings::new(ours.server(&["127.0.0.1"]).unwrap());
        let front = TlsFront::start(registry.address(), &front).unwrap();
        let cert_dir = Some(root.path().to_owned());
        let login = password("user", "geheim");
        let access = Access { cert_dir, login, ..verifying(Path::new("/none")) };
        let error = client(front.address(), "a", access).tags(&Scope::new()).unwrap_err();
        assert!(registry.requests("GET", "/tags/list") > 0, "{error}");
        assert!(tokens.log().is_empty(), "{realm}: {error}");
        assert!(!error.to_string().contains("geheim"));
    }
}

/// Who stores blobs for a registry has no business with who we are.
#[test]
fn a_client_certificate_is_not_shown_to_an_upload_host() {
    let (ours, clients) = (Authority::new("ours").unwrap(), Authority::new("clients").unwrap());
    let upstream = Peer::embedded();
    let asking = || {
        let identity = ours.server(&["127.0.0.1"]).unwrap();
        TlsSettings { client_authority: Some(clients.certificate()), ..TlsSettings::new(identity) }
    };
    let (registry, storage) =
        (Proxy::start(upstream.address).unwrap(), Proxy::start(upstream.address).unwrap());
    let front = TlsFront::start(registry.address(), &asking()).unwrap();
    let elsewhere = TlsFront::start(storage.address(), &asking()).unwrap();
    let root = TempDir::new().unwrap();
    ours.write_cert_dir(root.path(), Some(&clients.client("me").unwrap())).unwrap();
    let cert_dir = Some(root.path().to_owned());
    let client = client(front.address(), "a", Access { cert_dir, ..verifying(Path::new("/none")) });
    let location = format!("https://{}/v2/a/blobs/uploads/x", elsewhere.address());
    let away = Reply::new(202).header("location", location);
    registry.add(Rule::new("POST", "/uploads/").unwrap().with(Fault::Answer(away)));
    for size in [10, 2 * CHUNK] {
        let (descriptor, bytes) = blob(size, 1);
        push(&client, &descriptor, &bytes).unwrap_err();
    }
    assert!(registry.requests("POST", "/uploads/") > 0, "the registry has seen the certificate");
    assert!(storage.log().is_empty());
}
