//! What a signer's certificate says of its holder: names, and Fulcio's extensions.

use std::time::SystemTime;

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::CertificateFault;

/// An extension of Fulcio's certificates (the arc 1.3.6.1.4.1.57264.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    name: &'static str,
    oid: ObjectIdentifier,
}

/// The older issuer extension, raw text.
const ISSUER_V1: Claim = Claim::new("OIDC issuer", "1.3.6.1.4.1.57264.1.1");
/// The newer issuer extension; like all that came with it, DER.
const ISSUER_V2: Claim = Claim::new("OIDC issuer", "1.3.6.1.4.1.57264.1.8");
/// The repository of the source.
pub(super) const SOURCE_REPOSITORY: Claim =
    Claim::new("source repository", "1.3.6.1.4.1.57264.1.12");
/// The branch or tag of the source.
pub(super) const SOURCE_REF: Claim = Claim::new("source ref", "1.3.6.1.4.1.57264.1.14");
/// What started the build.
pub(super) const BUILD_TRIGGER: Claim = Claim::new("build trigger", "1.3.6.1.4.1.57264.1.20");

impl Claim {
    const fn new(name: &'static str, oid: &str) -> Self {
        Self { name, oid: ObjectIdentifier::new_unwrap(oid) }
    }

    fn malformed(self) -> CertificateFault {
        CertificateFault::ClaimMalformed { claim: self.name }
    }
}

/// The claims of one certificate. They are worth something only when its path has been verified.
#[derive(Debug, Clone)]
pub(super) struct Claims(Certificate);

impl Claims {
    pub(super) fn read(der: &[u8]) -> Result<Self, x509_cert::der::Error> {
        Certificate::from_der(der).map(Self)
    }

    /// When the certificate ends.
    pub(super) fn expires(&self) -> SystemTime {
        self.0.tbs_certificate.validity.not_after.to_system_time()
    }

    /// Who vouched for the signer.
    pub(super) fn issuer(&self) -> Result<String, CertificateFault> {
        let v1 = self.raw(ISSUER_V1)?.map(|raw| String::from_utf8_lossy(raw).into_owned());
        match (v1, self.text(ISSUER_V2)?) {
            (Some(v1), Some(v2)) if v1 != v2 => {
                let shown = |text: &str| securecp_oci::Escaped::new(text).to_string();
                Err(CertificateFault::InconsistentIssuer { v1: shown(&v1), v2: shown(&v2) })
            }
            (_, Some(issuer)) | (Some(issuer), None) => Ok(issuer),
            (None, None) => Err(CertificateFault::NoIssuer),
        }
    }

    /// The e-mail addresses among the subject alternative names.
    pub(super) fn emails(&self) -> Result<Vec<String>, CertificateFault> {
        self.names(|name| match name {
            GeneralName::Rfc822Name(text) => Some(text.as_str().to_owned()),
            _ => None,
        })
    }

    /// The URIs among the subject alternative names.
    pub(super) fn uris(&self) -> Result<Vec<String>, CertificateFault> {
        self.names(|name| match name {
            GeneralName::UniformResourceIdentifier(text) => Some(text.as_str().to_owned()),
            _ => None,
        })
    }

    /// The holder as verdicts name it: everything that the certificate is for, and who vouched for it.
    pub(super) fn holder(&self) -> Result<String, CertificateFault> {
        let names = [self.emails()?, self.uris()?].concat().join(", ");
        let text = format!("{names} (issuer {})", self.issuer()?);
        Ok(securecp_oci::Escaped::new(&text).to_string())
    }

    /// The text of an extension in DER.
    pub(super) fn text(&self, claim: Claim) -> Result<Option<String>, CertificateFault> {
        let text = |raw| Utf8StringRef::from_der(raw).map(|text| text.as_str().to_owned());
        self.raw(claim)?.map(text).transpose().map_err(|_| claim.malformed())
    }

    fn names(
        &self,
        wanted: impl Fn(&GeneralName) -> Option<String>,
    ) -> Result<Vec<String>, CertificateFault> {
        let names = self.0.tbs_certificate.get::<SubjectAltName>();
        let names = names.map_err(|_| CertificateFault::NamesMalformed)?;
        Ok(names.map(|(_, names)| names.0.iter().filter_map(wanted).collect()).unwrap_or_default())
    }

    fn raw(&self, claim: Claim) -> Result<Option<&[u8]>, CertificateFault> {
        let all = self.0.tbs_certificate.extensions.as_deref().unwrap_or_default();
        let mut found = all.iter().filter(|extension| extension.extn_id == claim.oid);
        let first = found.next().map(|extension| extension.extn_value.as_bytes());
        if found.next().is_some() { Err(claim.malformed()) } else { Ok(first) }
    }
}
