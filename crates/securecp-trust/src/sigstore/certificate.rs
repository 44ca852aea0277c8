//! Signers' certificates: the path to a trusted root at a given time (RFC 5280), and whom they name.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use securecp_oci::Escaped;
use serde::Serialize;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage as KeyUsageExtension};

use super::claims::Claims;
use super::pem::Blocks;
use super::public_key::{PublicKey, PublicKeyFault};

/// Most certificates in one chain.
pub(super) const CHAIN_LIMIT: usize = 16;
/// Most certificates in one file of roots or intermediates.
pub(super) const POOL_LIMIT: usize = 256;

/// Extended key usage "code signing" (RFC 5280 section 4.2.1.12), the value of 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
pub(super) const LABEL: &str = "CERTIFICATE";
/// What errors call the text with the signer's certificate.
const SIGNER: &str = "signature certificate data";

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
    /// Nothing leads from the certificate to a root.
    #[error("the certificate came without the path to its root")]
    NoPath,
    /// The certificate is for another key.
    #[error("the certificate is for another key")]
    OtherKey,
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
    /// An extension is present twice or cannot be read.
    #[error("invalid {claim} extension in the Fulcio certificate")]
    ClaimMalformed {
        /// Which extension.
        claim: &'static str,
    },
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
        let mut found = Vec::new();
        for text in texts {
            found.extend(read_all(subject, text, POOL_LIMIT)?);
        }
        Self::of(subject, found)
    }

    /// Takes certificates in DER.
    pub(super) fn of(
        subject: &'static str,
        found: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CertificateFault> {
        if found.is_empty() {
            return Err(CertificateFault::NoCertificate { subject });
        }
        let parse = |(position, der): (usize, CertificateDer<'static>)| {
            let malformed = |_| CertificateFault::CertificateMalformed { subject, position };
            let parsed = Certificate::from_der(&der).map_err(malformed)?;
            Ok(Root { der, parsed })
        };
        (1..).zip(found).map(parse).collect::<Result<_, _>>().map(Self)
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
    claims: Claims,
    der: CertificateDer<'static>,
    key: PublicKey,
}

impl Signer {
    /// Verifies the one certificate of a PEM text with the links between it and `roots`, as all were `at` a time.
    pub(super) fn verify(
        leaf: &[u8],
        links: &[CertificateDer<'_>],
        roots: &Roots,
        at: SystemTime,
    ) -> Result<Self, CertificateFault> {
        Self::verify_der(only(leaf)?, links, roots, at)
    }

    /// As [`Signer::verify`], for a certificate in DER.
    pub(super) fn verify_der(
        der: CertificateDer<'static>,
        links: &[CertificateDer<'_>],
        roots: &Roots,
        at: SystemTime,
    ) -> Result<Self, CertificateFault> {
        let malformed = CertificateFault::CertificateMalformed { subject: SIGNER, position: 1 };
        let claims = Claims::read(&der).map_err(|_| malformed.clone())?;
        let end = EndEntityCert::try_from(&der).map_err(|_| malformed)?;
        verify_path(&end, links, roots, at)?;
        let key = PublicKey::from_spki(&end.subject_public_key_info())
            .map_err(|fault| CertificateFault::CertificateKey { fault })?;
        Ok(Self { claims, key, der: der.clone() })
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whom the certificate names.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Checks who vouched for the signer.
    pub(super) fn require_issuer(&self, expected: &str) -> Result<(), CertificateFault> {
        let found = self.claims.issuer()?;
        let other = || CertificateFault::OtherIssuer { found: shown(&found) };
        (found == expected).then_some(()).ok_or_else(other)
    }

    /// Checks that one of the e-mail addresses is the expected one, letter by letter.
    pub(super) fn require_email(&self, expected: &str) -> Result<(), CertificateFault> {
        let found = self.claims.emails()?;
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
}

/// The one certificate of a PEM text.
pub(super) fn only(text: &[u8]) -> Result<CertificateDer<'static>, CertificateFault> {
    let mut found = read_all(SIGNER, text, CHAIN_LIMIT)?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(CertificateFault::NoCertificate { subject: SIGNER }),
        (Some(der), true) => Ok(der),
        (Some(_), false) => Err(CertificateFault::SeveralCertificates { subject: SIGNER }),
    }
}

/// The key of a certificate; nothing else of it is looked at.
pub(super) fn key_of(der: &CertificateDer<'_>) -> Result<PublicKey, CertificateFault> {
    let malformed = |_| CertificateFault::CertificateMalformed { subject: SIGNER, position: 1 };
    let end = EndEntityCert::try_from(der).map_err(malformed)?;
    PublicKey::from_spki(&end.subject_public_key_info())
        .map_err(|fault| CertificateFault::CertificateKey { fault })
}

/// The links that a chain annotation gives: all but its last certificate, which is taken to be the root.
pub(super) fn links(chain: Option<&str>) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let Some(chain) = chain else { return Ok(Vec::new()) };
    let mut found = read_all("certificate chain", chain.as_bytes(), CHAIN_LIMIT)?;
    found.pop();
    Ok(found)
}

pub(super) fn read_all(
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
