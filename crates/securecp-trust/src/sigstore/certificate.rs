//! Signers' certificates: the path to a trusted root at a given time (RFC 5280), and whom they name.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use securecp_oci::Escaped;
use serde::Serialize;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage as KeyUsageExtension, SubjectAltName};

use super::pem::Blocks;
use super::public_key::{PublicKey, PublicKeyFault};

/// Most certificates in one chain.
pub(super) const CHAIN_LIMIT: usize = 16;
/// Most certificates in one file of roots or intermediates.
pub(super) const POOL_LIMIT: usize = 256;

/// Extended key usage "code signing" (RFC 5280 section 4.2.1.12), the value of 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
/// Fulcio's issuer extension, raw text.
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
/// Fulcio's issuer extension, DER.
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");

const LABEL: &str = "CERTIFICATE";

/// Why a certificate does not vouch for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum CertificateFault {
    /// There is no PEM block of a certificate.
    #[error("no certificate found in {subject}")]
    NoCertificate {
        /// Which text.
        subject: &'static str,
    },
    /// A block does not hold a certificate.
    #[error("parsing {subject}: certificate {position} is malformed")]
    CertificateMalformed {
        /// Which text.
        subject: &'static str,
        /// Its place, from 1.
        position: usize,
    },
    /// There are more certificates than one.
    #[error("unexpected multiple certificates present in {subject}")]
    SeveralCertificates {
        /// Which text.
        subject: &'static str,
    },
    /// There are more certificates than any chain needs.
    #[error("{subject} has more than {limit} certificates")]
    TooManyCertificates {
        /// Which text.
        subject: &'static str,
        /// Certificates allowed.
        limit: usize,
    },
    /// No path leads to a trusted root.
    #[error("verifying leaf certificate failed: certificate signed by unknown authority")]
    UntrustedRoot,
    /// A certificate of the path was not valid at the time that counts.
    #[error(
        "verifying leaf certificate failed: a certificate of its chain has expired or is not yet valid at {at}"
    )]
    Expired {
        /// The time that counts, in seconds since 1970.
        at: u64,
    },
    /// The path breaks a rule.
    #[error("verifying leaf certificate failed: {failure}")]
    Chain {
        /// Which one.
        failure: String,
    },
    /// The certificate does not say who vouched for the signer.
    #[error("Fulcio certificate is missing the issuer extension")]
    NoIssuer,
    /// The issuer extensions contradict each other.
    #[error("inconsistent OIDC issuer extension values: v1 \"{v1}\", v2 \"{v2}\"")]
    InconsistentIssuer {
        /// The value of the older extension.
        v1: String,
        /// The value of the newer extension.
        v2: String,
    },
    /// An issuer extension is present twice or cannot be read.
    #[error("invalid OIDC issuer extension in the Fulcio certificate")]
    IssuerMalformed,
    /// The names of the certificate cannot be read.
    #[error("subject alternative names of the certificate cannot be read")]
    NamesMalformed,
    /// Another issuer vouched for the signer.
    #[error("Unexpected Fulcio OIDC issuer \"{found}\"")]
    OtherIssuer {
        /// The issuer found.
        found: String,
    },
    /// The signer has another e-mail address.
    #[error("Required email \"{expected}\" not found (got {})", quoted(.found))]
    OtherEmail {
        /// The address of the policy.
        expected: String,
        /// The addresses in the certificate.
        found: Vec<String>,
    },
    /// The signer has another host name.
    #[error("Unexpected subject hostname: certificate is not valid for \"{expected}\"")]
    OtherHostname {
        /// The host name of the policy.
        expected: String,
    },
    /// The key of the certificate cannot be used.
    #[error("public key of the certificate: {fault}")]
    CertificateKey {
        /// Why.
        fault: PublicKeyFault,
    },
}

/// Certificates by which others are judged.
#[derive(Debug, Default)]
pub(super) struct Roots(Vec<Root>);

#[derive(Debug)]
struct Root {
    der: CertificateDer<'static>,
    parsed: Certificate,
}

impl Roots {
    /// Reads every certificate of PEM texts; blocks of other kinds are passed over.
    pub(super) fn read(subject: &'static str, texts: &[Vec<u8>]) -> Result<Self, CertificateFault> {
        let mut roots = Vec::new();
        for text in texts {
            for der in read_all(subject, text, POOL_LIMIT)? {
                let position = roots.len() + 1;
                let malformed = |_| CertificateFault::CertificateMalformed { subject, position };
                let parsed = Certificate::from_der(&der).map_err(malformed)?;
                roots.push(Root { der, parsed });
            }
        }
        if roots.is_empty() {
            Err(CertificateFault::NoCertificate { subject })
        } else {
            Ok(Self(roots))
        }
    }

    /// The certificates as links between others.
    pub(super) fn into_intermediates(self) -> Vec<CertificateDer<'static>> {
        self.0.into_iter().map(|root| root.der).collect()
    }

    /// Those that may vouch for others at that time.
    fn anchors(&self, at: Duration) -> Result<Vec<(TrustAnchor<'_>, &Root)>, CertificateFault> {
        let usable = self.0.iter().filter(|root| may_sign(&root.parsed));
        let anchors: Vec<_> = usable
            .filter_map(|root| Some((webpki::anchor_from_trusted_cert(&root.der).ok()?, root)))
            .collect();
        if anchors.is_empty() {
            return Err(CertificateFault::UntrustedRoot);
        }
        // webpki takes anchors as they are; the reference wants roots to be valid too.
        let valid: Vec<_> =
            anchors.into_iter().filter(|(_, root)| is_valid(&root.parsed, at)).collect();
        if valid.is_empty() {
            Err(CertificateFault::Expired { at: at.as_secs() })
        } else {
            Ok(valid)
        }
    }
}

/// A signer's certificate whose path to a trusted root has been verified.
pub(super) struct Signer {
    parsed: Certificate,
    der: CertificateDer<'static>,
    key: PublicKey,
}

impl Signer {
    /// Verifies the one certificate of `leaf` with the links between it and `roots`, as all of them were `at` a time.
    pub(super) fn verify(
        leaf: &[u8],
        intermediates: &[CertificateDer<'_>],
        roots: &Roots,
        at: SystemTime,
    ) -> Result<Self, CertificateFault> {
        const SUBJECT: &str = "signature certificate data";
        let mut found = read_all(SUBJECT, leaf, CHAIN_LIMIT)?;
        let der = match found.len() {
            1 => found.remove(0),
            0 => return Err(CertificateFault::NoCertificate { subject: SUBJECT }),
            _ => return Err(CertificateFault::SeveralCertificates { subject: SUBJECT }),
        };
        let malformed = CertificateFault::CertificateMalformed { subject: SUBJECT, position: 1 };
        let parsed = Certificate::from_der(&der).map_err(|_| malformed.clone())?;
        let end = EndEntityCert::try_from(&der).map_err(|_| malformed)?;
        verify_path(&end, intermediates, roots, at)?;
        let key = PublicKey::from_spki(&end.subject_public_key_info())
            .map_err(|fault| CertificateFault::CertificateKey { fault })?;
        Ok(Self { parsed, key, der: der.clone() })
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Who vouched for the signer (Fulcio's extensions, the newer and the older one).
    pub(super) fn issuer(&self) -> Result<String, CertificateFault> {
        let v1 = self.extension(ISSUER_V1)?.map(|raw| String::from_utf8_lossy(raw).into_owned());
        let v2 = self
            .extension(ISSUER_V2)?
            .map(|raw| Utf8StringRef::from_der(raw).map(|text| text.as_str().to_owned()));
        let v2 = v2.transpose().map_err(|_| CertificateFault::IssuerMalformed)?;
        match (v1, v2) {
            (Some(v1), Some(v2)) if v1 != v2 => {
                Err(CertificateFault::InconsistentIssuer { v1: shown(&v1), v2: shown(&v2) })
            }
            (_, Some(issuer)) | (Some(issuer), None) => Ok(issuer),
            (None, None) => Err(CertificateFault::NoIssuer),
        }
    }

    /// Checks who vouched for the signer.
    pub(super) fn require_issuer(&self, expected: &str) -> Result<(), CertificateFault> {
        let found = self.issuer()?;
        let other = || CertificateFault::OtherIssuer { found: shown(&found) };
        (found == expected).then_some(()).ok_or_else(other)
    }

    /// Checks that one of the e-mail addresses is the expected one, letter by letter.
    pub(super) fn require_email(&self, expected: &str) -> Result<(), CertificateFault> {
        let found = self.emails()?;
        if found.iter().any(|email| email == expected) {
            return Ok(());
        }
        let found = found.iter().map(|email| shown(email)).collect();
        Err(CertificateFault::OtherEmail { expected: shown(expected), found })
    }

    /// Checks that the certificate is one for this host (RFC 6125, wildcards in the left-most label).
    pub(super) fn require_hostname(&self, expected: &str) -> Result<(), CertificateFault> {
        let other = || CertificateFault::OtherHostname { expected: shown(expected) };
        let name = ServerName::try_from(expected).map_err(|_| other())?;
        let end = EndEntityCert::try_from(&self.der).map_err(|_| other())?;
        end.verify_is_valid_for_subject_name(&name).map_err(|_| other())
    }

    fn emails(&self) -> Result<Vec<String>, CertificateFault> {
        let email = |name: &GeneralName| match name {
            GeneralName::Rfc822Name(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let names = self.parsed.tbs_certificate.get::<SubjectAltName>();
        let names = names.map_err(|_| CertificateFault::NamesMalformed)?;
        Ok(names.map(|(_, names)| names.0.iter().filter_map(email).collect()).unwrap_or_default())
    }

    fn extension(&self, oid: ObjectIdentifier) -> Result<Option<&[u8]>, CertificateFault> {
        let all = self.parsed.tbs_certificate.extensions.as_deref().unwrap_or_default();
        let mut found = all.iter().filter(|extension| extension.extn_id == oid);
        let first = found.next().map(|extension| extension.extn_value.as_bytes());
        if found.next().is_some() { Err(CertificateFault::IssuerMalformed) } else { Ok(first) }
    }
}

/// The links that a chain annotation gives: all but its last certificate, which is taken to be the root.
pub(super) fn links(chain: Option<&str>) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let Some(chain) = chain else { return Ok(Vec::new()) };
    let mut found = read_all("certificate chain", chain.as_bytes(), CHAIN_LIMIT)?;
    found.pop();
    Ok(found)
}

fn read_all(
    subject: &'static str,
    text: &[u8],
    limit: usize,
) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let found: Vec<_> = Blocks::of(text)
        .filter(|block| block.label == LABEL)
        .map(|block| CertificateDer::from(block.contents))
        .take(limit + 1)
        .collect();
    if found.len() > limit {
        return Err(CertificateFault::TooManyCertificates { subject, limit });
    }
    Ok(found)
}

/// Every certificate of the path must be valid at the one trusted time (CVE-2026-24122).
fn verify_path(
    end: &EndEntityCert<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Roots,
    at: SystemTime,
) -> Result<(), CertificateFault> {
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (anchors, roots): (Vec<_>, Vec<_>) = roots.anchors(at)?.into_iter().unzip();
    let check = |path: &VerifiedPath<'_>| check_signers(path, &anchors, &roots);
    let verified = end.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        UnixTime::since_unix_epoch(at),
        KeyUsage::required_if_present(CODE_SIGNING),
        None,
        Some(&check),
    );
    verified.map(|_| ()).map_err(|error| match error {
        Error::UnknownIssuer => CertificateFault::UntrustedRoot,
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
            CertificateFault::Expired { at: at.as_secs() }
        }
        other => CertificateFault::Chain { failure: shown(&other.to_string()) },
    })
}

/// What webpki does not look at: key usages, and how many links a root allows.
fn check_signers(
    path: &VerifiedPath<'_>,
    anchors: &[TrustAnchor<'_>],
    roots: &[&Root],
) -> Result<(), Error> {
    let mut count = 0;
    for link in path.intermediate_certificates() {
        let parsed = Certificate::from_der(&link.der()).map_err(|_| Error::BadDer)?;
        if !may_sign(&parsed) {
            return Err(Error::EndEntityUsedAsCa);
        }
        count += 1;
    }
    let same = |anchor: &TrustAnchor<'_>| {
        anchor.subject == path.anchor().subject
            && anchor.subject_public_key_info == path.anchor().subject_public_key_info
    };
    let allows = |root: &Root| path_length(&root.parsed).is_none_or(|limit| count <= limit);
    let allowed = anchors.iter().zip(roots).any(|(anchor, root)| same(anchor) && allows(root));
    allowed.then_some(()).ok_or(Error::PathLenConstraintViolated)
}

fn path_length(certificate: &Certificate) -> Option<usize> {
    let found = certificate.tbs_certificate.get::<BasicConstraints>().ok()??;
    found.1.path_len_constraint.map(usize::from)
}

/// Whether a certificate may sign others; one that does not say how it may be used may.
fn may_sign(certificate: &Certificate) -> bool {
    let usage = certificate.tbs_certificate.get::<KeyUsageExtension>();
    let authority = certificate.tbs_certificate.get::<BasicConstraints>();
    let signs = matches!(usage, Ok(None)) || matches!(usage, Ok(Some((_, u))) if u.key_cert_sign());
    let is_authority = match authority {
        Ok(Some((_, constraints))) => constraints.ca,
        Ok(None) => certificate.tbs_certificate.version == x509_cert::Version::V1,
        Err(_) => false,
    };
    signs && is_authority
}

fn is_valid(certificate: &Certificate, at: Duration) -> bool {
    let validity = &certificate.tbs_certificate.validity;
    let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
    (seconds(&validity.not_before)..=seconds(&validity.not_after)).contains(&at.as_secs())
}

fn shown(text: &str) -> String {
    Escaped::new(text).to_string()
}

fn quoted(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(" "))
}
