//! The requirement `sigstoreSigned`, evaluated.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use securecp_oci::Signature;

use super::annotation;
use super::certificate::{Roots, Signer as Certified};
use super::evidence::Evidence;
use super::fault::{SigstoreFault, SigstoreKeyFault};
use super::log_entry::{self, LogEntryFault};
use super::public_key::{PublicKey, PublicKeyFault};
use crate::gate::Gate;
use crate::payload::{Payload, PayloadKind};
use crate::policy::{
    FulcioTrust, Material, PkiTrust, RequirementKind, SigstoreSigned, SigstoreTrust,
};
use crate::signed::{Case, first_accepted, not_a_payload, shown};
use crate::verdict::{Denial, KeyFault, RequirementVerdict, Signer};

/// Evaluates `sigstoreSigned` over the sigstore signatures of a manifest.
pub(crate) fn sigstore_signed(
    case: Case<'_>,
    requirement: &SigstoreSigned,
    signatures: Vec<(usize, &Signature)>,
) -> Result<RequirementVerdict, Denial> {
    let trust = Trust::load(case.gate, requirement).map_err(|fault| Denial::Keys { fault })?;
    let judge = |signature: &Signature| {
        let evidence = Evidence::of(signature)?;
        let key = trust.verify(&evidence)?;
        let payload = Payload::parse(evidence.payload, PayloadKind::Sigstore);
        let payload = payload.map_err(|error| not_a_payload(&error))?;
        case.compare(&payload, &requirement.signed_identity)?;
        Ok(Signer { key, identity: shown(&payload.identity) })
    };
    Ok(first_accepted(RequirementKind::SigstoreSigned, signatures, judge))
}

/// Keys that may sign anything by themselves, without a log having to see it; `None` where the requirement asks for more.
pub(crate) fn lone_keys(
    gate: &Gate<'_>,
    requirement: &SigstoreSigned,
) -> Result<Option<Vec<PublicKey>>, KeyFault> {
    Ok(match Trust::load(gate, requirement)? {
        Trust::Keys(keys) => Some(keys),
        _ => None,
    })
}

/// The keys or certificates of one requirement, read.
enum Trust<'a> {
    Keys(Vec<PublicKey>),
    LoggedKeys { keys: Vec<PublicKey>, log: Vec<PublicKey> },
    Fulcio { it: &'a FulcioTrust, roots: Roots, log: Vec<PublicKey> },
    Pki { it: &'a PkiTrust, roots: Roots, links: Vec<CertificateDer<'static>>, now: SystemTime },
}

impl<'a> Trust<'a> {
    fn load(gate: &Gate<'_>, requirement: &'a SigstoreSigned) -> Result<Self, KeyFault> {
        let log = requirement.rekor_keys.as_ref().map(|keys| log_keys(gate, keys)).transpose()?;
        match &requirement.trust {
            SigstoreTrust::Keys(material) => {
                let keys = public_keys(gate, material)?;
                Ok(match log {
                    Some(log) => Self::LoggedKeys { keys, log },
                    None => Self::Keys(keys),
                })
            }
            SigstoreTrust::Fulcio(it) => {
                let roots = roots(gate, "Fulcio CA certificates", &it.ca)?;
                // Without a log there is no trusted time; the policy's grammar asks for one.
                Ok(Self::Fulcio { it, roots, log: log.unwrap_or_default() })
            }
            SigstoreTrust::Pki(it) => {
                let links = it.ca_intermediates.as_ref();
                let links = links.map(|l| roots(gate, "intermediate CA certificates", l));
                Ok(Self::Pki {
                    it,
                    roots: roots(gate, "root CA certificates", &it.ca_roots)?,
                    links: links.transpose()?.unwrap_or_default().into_intermediates(),
                    now: gate.now,
                })
            }
        }
    }

    /// Checks the signature over the exact bytes of the payload; returns the name of whoever made it.
    fn verify(&self, evidence: &Evidence<'_>) -> Result<String, SigstoreFault> {
        match self {
            Self::Keys(keys) => evidence.made_by(keys).map(PublicKey::name),
            Self::LoggedKeys { keys, log } => {
                let key = logged_key(evidence, keys, log)?;
                evidence.made_by([key]).map(PublicKey::name)
            }
            Self::Fulcio { it, roots, log } => verify_fulcio(evidence, it, roots, log),
            Self::Pki { it, roots, links, now } => {
                let links = [links.as_slice(), &evidence.links()?].concat();
                let certificate = evidence.annotation(annotation::CERTIFICATE)?;
                let signer = Certified::verify(certificate.as_bytes(), &links, roots, *now)?;
                verify_pki(evidence, it, &signer)
            }
        }
    }
}

/// The first key that a trusted log has seen making this signature.
fn logged_key<'k>(
    evidence: &Evidence<'_>,
    keys: &'k [PublicKey],
    log: &[PublicKey],
) -> Result<&'k PublicKey, SigstoreFault> {
    let entry = evidence.annotation(annotation::BUNDLE)?;
    let mut faults = Vec::new();
    for key in keys {
        match log_entry::verify(entry, log, evidence.claim(&key.to_pem())) {
            Ok(_) => return Ok(key),
            Err(fault) => faults.push(fault),
        }
    }
    Err(LogEntryFault::NoKey { faults }.into())
}

/// The log's time is the one at which the certificates must have been valid.
fn verify_fulcio(
    evidence: &Evidence<'_>,
    trust: &FulcioTrust,
    roots: &Roots,
    log: &[PublicKey],
) -> Result<String, SigstoreFault> {
    let entry = evidence.annotation(annotation::BUNDLE)?;
    let certificate = evidence.annotation(annotation::CERTIFICATE)?;
    let at = log_entry::verify(entry, log, evidence.claim(certificate))?;
    let signer = Certified::verify(certificate.as_bytes(), &evidence.links()?, roots, at)?;
    signer.require_issuer(&trust.oidc_issuer)?;
    signer.require_email(&trust.subject_email)?;
    evidence.made_by([signer.key()])?;
    Ok(shown(&format!("{} (issuer {})", trust.subject_email, trust.oidc_issuer)))
}

fn verify_pki(
    evidence: &Evidence<'_>,
    trust: &PkiTrust,
    signer: &Certified,
) -> Result<String, SigstoreFault> {
    if let Some(email) = &trust.subject_email {
        signer.require_email(email)?;
    }
    if let Some(hostname) = &trust.subject_hostname {
        signer.require_hostname(hostname)?;
    }
    evidence.made_by([signer.key()])?;
    let names = [&trust.subject_email, &trust.subject_hostname];
    let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    Ok(shown(&names.join(", ")))
}

fn public_keys(gate: &Gate<'_>, material: &Material) -> Result<Vec<PublicKey>, KeyFault> {
    let fault = |position, fault| SigstoreKeyFault::PublicKey { position, fault };
    read_keys(gate, material, fault)
}

fn log_keys(gate: &Gate<'_>, material: &Material) -> Result<Vec<PublicKey>, KeyFault> {
    let fault = |position, fault| SigstoreKeyFault::RekorKey { position, fault };
    let keys = read_keys(gate, material, fault)?;
    match keys.iter().position(|key| !key.kind().is_ecdsa()) {
        Some(before) => Err(SigstoreKeyFault::RekorKeyKind { position: before + 1 }.into()),
        None => Ok(keys),
    }
}

fn read_keys(
    gate: &Gate<'_>,
    material: &Material,
    fault: impl Fn(usize, PublicKeyFault) -> SigstoreKeyFault,
) -> Result<Vec<PublicKey>, KeyFault> {
    let parse = |(position, bytes): (usize, Vec<u8>)| {
        PublicKey::from_pem(&bytes).map_err(|reason| fault(position, reason).into())
    };
    (1..).zip(gate.load(material)?).map(parse).collect()
}

fn roots(gate: &Gate<'_>, subject: &'static str, material: &Material) -> Result<Roots, KeyFault> {
    let read = Roots::read(subject, &gate.load(material)?);
    read.map_err(|fault| SigstoreKeyFault::from(fault).into())
}
