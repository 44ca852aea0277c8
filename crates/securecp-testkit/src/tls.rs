//! Private certificate authorities and TLS in front of any registry.

use std::fmt::{self, Debug};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use crate::error::{Result, TestkitError, Tried};

/// A certificate authority made for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

impl Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority of that common name.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        Ok(Self { issuer })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for host names and addresses.
    ///
    /// # Errors
    /// A name is not one.
    pub fn server(&self, names: &[&str]) -> Result<Identity> {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, |_| {})
    }

    /// A server certificate that has expired long ago.
    ///
    /// # Errors
    /// A name is not one.
    pub fn expired_server(&self, names: &[&str]) -> Result<Identity> {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    /// A client certificate of that common name.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn client(&self, name: &str) -> Result<Identity> {
        self.issue(&[], ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.distinguished_name = common_name(name);
        })
    }

    /// Writes `ca.crt`, and `client.cert` and `client.key` if there is a client, as a certs.d directory has them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_cert_dir(&self, folder: &Path, client: Option<&Identity>) -> Result<()> {
        fs::create_dir_all(folder).tried("making a certificate directory")?;
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).tried("writing a certificate")
        };
        write("ca.crt", &self.certificate())?;
        if let Some(client) = client {
            write("client.cert", &client.certificate)?;
            write("client.key", &client.key)?;
        }
        Ok(())
    }

    fn issue(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// How a [`TlsFront`] talks TLS.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate and key of the server.
    pub identity: Identity,
    /// If set, a client must show a certificate of this authority (PEM).
    pub client_authority: Option<String>,
    /// The newest protocol spoken: TLS 1.3, or only 1.2 if false.
    pub tls13: bool,
}

impl TlsSettings {
    /// TLS 1.2 and 1.3 without client certificates.
    pub fn new(identity: Identity) -> Self {
        Self { identity, client_authority: None, tls13: true }
    }
}

/// TLS on a free loopback port in front of a plain registry or proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl TlsFront {
    /// Starts to terminate TLS for `upstream`.
    ///
    /// # Errors
    /// The certificate is unusable, or no port can be had.
    pub fn start(upstream: SocketAddr, settings: &TlsSettings) -> Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(settings)?));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .tried("starting a TLS front")?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).tried("listening")?;
        listener.set_nonblocking(true).tried("listening")?;
        let address = listener.local_addr().tried("listening")?;
        let inside = runtime.enter();
        let listener = TcpListener::from_std(listener).tried("listening")?;
        drop(inside);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(acceptor.clone(), client, upstream));
            }
        });
        Ok(Self { address, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn join(acceptor: TlsAcceptor, client: TcpStream, upstream: SocketAddr) {
    // A client that does not like the certificate, or breaks off, is what some tests want: it learns of it itself.
    let Ok(()) = client.set_nodelay(true) else { return };
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let Ok(()) = server.set_nodelay(true) else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

fn server_config(settings: &TlsSettings) -> Result<ServerConfig> {
    static ONLY_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
    let versions = if settings.tls13 { rustls::ALL_VERSIONS } else { ONLY_12 };
    let builder = ServerConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(versions)
        .map_err(failed)?;
    let builder = match &settings.client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authority)? {
                roots.add(certificate).map_err(failed)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(
                roots.into(),
                default_provider().into(),
            );
            builder.with_client_cert_verifier(verifier.build().map_err(failed)?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(settings.identity.key.as_bytes()).map_err(failed)?;
    let mut config = builder
        .with_single_cert(certificates(&settings.identity.certificate)?, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(failed)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

fn failed(error: impl fmt::Display) -> TestkitError {
    TestkitError::Certificate(error.to_string())
}
