use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::NetError;
use crate::pinned::PinnedVerifier;

/// The oldest TLS version accepted. Older ones than 1.2 do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// How servers are verified and how we show who we are. Equal options share connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    roots: Vec<CertificateDer<'static>>,
    identities: Vec<ClientIdentity>,
    accept_any_certificate: bool,
    oldest: Option<TlsVersion>,
    cipher_suites: Vec<String>,
    named_groups: Vec<String>,
}

impl TlsOptions {
    /// Trusts the certificates in `pem` beside the system's; `subject` names the file in errors.
    ///
    /// # Errors
    /// There is no certificate in it, or one that cannot be read.
    pub fn root_pem(mut self, pem: &[u8], subject: &str) -> Result<Self, NetError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(pem, subject)? {
            store.add(certificate.clone()).map_err(|error| bad(subject, &error.to_string()))?;
            self.roots.push(certificate);
        }
        Ok(self)
    }

    /// Shows `identity` to servers that ask for a client certificate; the first that fits is taken.
    #[must_use]
    pub fn identity(mut self, identity: ClientIdentity) -> Self {
        self.identities.push(identity);
        self
    }

    /// Accepts whatever certificate the server shows: no protection against an active attacker. For `tls-verify=false`
    /// only.
    #[must_use]
    pub fn dangerously_accept_any_certificate(self) -> Self {
        Self { accept_any_certificate: true, ..self }
    }

    /// Whether any certificate is accepted.
    pub fn accepts_any_certificate(&self) -> bool {
        self.accept_any_certificate
    }

    /// Refuses older versions.
    #[must_use]
    pub fn oldest(self, version: TlsVersion) -> Self {
        Self { oldest: Some(version), ..self }
    }

    /// Restricts the TLS 1.2 cipher suites to these, by their IANA names. Suites that exist but are not available here are
    /// left out.
    ///
    /// # Errors
    /// A name is unknown, or none of them is available.
    pub fn cipher_suites(self, names: &[String]) -> Result<Self, NetError> {
        let known = ring::default_provider().cipher_suites;
        let available = |name: &str| known.iter().any(|suite| suite_name(suite) == name);
        if let Some(unknown) = names.iter().find(|name| !is_suite(name)) {
            return Err(bad("cipherSuites", &format!("unknown suite {unknown:?}")));
        }
        if !names.is_empty() && !names.iter().any(|name| available(name)) {
            return Err(bad("cipherSuites", "none of the suites is available"));
        }
        Ok(Self { cipher_suites: names.to_vec(), ..self })
    }

    /// Restricts the key exchange groups to these. Groups that are known but not available here are left out.
    ///
    /// # Errors
    /// A name is unknown, or none of them is available.
    pub fn named_groups(self, names: &[String]) -> Result<Self, NetError> {
        if let Some(unknown) = names.iter().find(|name| group(name).is_none()) {
            return Err(bad("namedGroups", &format!("unknown group {unknown:?}")));
        }
        let known = ring::default_provider().kx_groups;
        let available = |name: &String| known.iter().any(|g| Some(g.name()) == group(name));
        if !names.is_empty() && !names.iter().any(available) {
            return Err(bad("namedGroups", "none of the groups is available"));
        }
        Ok(Self { named_groups: names.to_vec(), ..self })
    }

    /// The same without client certificates, for hosts that a redirect leads to.
    pub(crate) fn without_identity(&self) -> Self {
        Self { identities: Vec::new(), ..self.clone() }
    }

    /// The configuration, with what `system` gives as roots beside our own; it is only asked where certificates are
    /// verified. ALPN is left to the caller.
    pub(crate) fn config<'a>(
        &self,
        system: impl FnOnce() -> &'a RootCertStore,
    ) -> Result<ClientConfig, NetError> {
        let provider = Arc::new(self.provider());
        let broken = |error: rustls::Error| bad("TLS", &error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions())
            .map_err(broken)?;
        let verifier = self.verifier(system, provider)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        if self.identities.is_empty() {
            return Ok(builder.with_no_client_auth());
        }
        let keys = self.identities.iter().map(|identity| Arc::clone(&identity.key)).collect();
        Ok(builder.with_client_cert_resolver(Arc::new(OfferedIdentities(keys))))
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match self.oldest {
            Some(TlsVersion::V1_3) => ONLY_1_3,
            _ => rustls::ALL_VERSIONS,
        }
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let wanted = |name: &str| self.cipher_suites.iter().any(|wish| wish == name);
            provider.cipher_suites.retain(|suite| {
                suite.version() == &rustls::version::TLS13 || wanted(&suite_name(suite))
            });
        }
        if !self.named_groups.is_empty() {
            let wanted = |name| self.named_groups.iter().any(|wish| group(wish) == Some(name));
            provider.kx_groups.retain(|group| wanted(group.name()));
        }
        provider
    }

    fn verifier<'a>(
        &self,
        system: impl FnOnce() -> &'a RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, NetError> {
        if self.accept_any_certificate {
            return Ok(Arc::new(AcceptAny(provider.signature_verification_algorithms)));
        }
        let mut roots = system().clone();
        for root in &self.roots {
            roots.add(root.clone()).map_err(|error| bad("root", &error.to_string()))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let usual = verifier.build().map_err(|error| bad("roots", &error.to_string()))?;
        Ok(Arc::new(PinnedVerifier { usual, pinned: self.roots.clone() }))
    }
}

/// A client certificate with its key.
#[derive(Clone)]
pub struct ClientIdentity {
    key: Arc<CertifiedKey>,
}

impl ClientIdentity {
    /// Reads certificate chain and private key; `subject` names the files in errors.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8], subject: &str) -> Result<Self, NetError> {
        let chain = certificates(chain, subject)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| bad(subject, "no private key can be read"))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| bad(subject, &error.to_string()))?;
        Ok(Self { key: Arc::new(key) })
    }
}

/// Only the public certificate makes the difference: one certificate has one key.
impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Eq for ClientIdentity {}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.cert.hash(state);
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Roots of the operating system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub(crate) fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("system certificates: {error}");
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    store
}

fn certificates(pem: &[u8], subject: &str) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| bad(subject, &error.to_string()))?;
    if found.is_empty() {
        return Err(bad(subject, "no certificate in it"));
    }
    Ok(found)
}

fn bad(subject: &str, problem: &str) -> NetError {
    NetError::TlsSettings { problem: format!("{subject}: {problem}") }
}

/// Whether IANA has a suite of this name, available here or not.
fn is_suite(name: &str) -> bool {
    !name.is_empty() && (0..=u16::MAX).any(|number| iana_name(CipherSuite::from(number)) == name)
}

fn suite_name(suite: &rustls::SupportedCipherSuite) -> String {
    iana_name(suite.suite())
}

/// The library names TLS 1.3 suites `TLS13_…`, where IANA has `TLS_…`; one that it does not know has no name.
fn iana_name(suite: CipherSuite) -> String {
    suite.as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}

fn group(name: &str) -> Option<NamedGroup> {
    match name {
        "secp256r1" => Some(NamedGroup::secp256r1),
        "secp384r1" => Some(NamedGroup::secp384r1),
        "secp521r1" => Some(NamedGroup::secp521r1),
        "x25519" => Some(NamedGroup::X25519),
        "X25519MLKEM768" => Some(NamedGroup::X25519MLKEM768),
        _ => None,
    }
}

/// Offers the first certificate whose key can sign as the server asks.
#[derive(Debug)]
struct OfferedIdentities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for OfferedIdentities {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|key| key.key.choose_scheme(schemes).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The verifier behind [`TlsOptions::dangerously_accept_any_certificate`]. The handshake's own signature is still
/// checked, so the peer holds the key of whatever certificate it shows.
#[derive(Debug)]
struct AcceptAny(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn roots_of_the_system_are_only_asked_for_where_certificates_are_verified() {
        let (asked, none) = (Cell::new(0), RootCertStore::empty());
        let system = || {
            asked.set(asked.get() + 1);
            &none
        };
        let options = TlsOptions::default();
        options.clone().dangerously_accept_any_certificate().config(system).unwrap();
        assert_eq!(asked.get(), 0);
        let refused = options.config(system).unwrap_err().to_string();
        assert!(refused.contains("roots"), "{refused}");
        assert_eq!(asked.get(), 1);
    }
}
