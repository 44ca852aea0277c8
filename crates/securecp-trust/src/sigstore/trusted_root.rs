//! Trusted roots: the authorities and logs of one sigstore instance, as its operators publish them.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use securecp_oci::Escaped;
use securecp_oci::json::{self, JsonError, Limits};
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::TrustedRoot as Material;
use sigstore_verify::types::TimeRange;

use super::certificate::{CertificateFault, Roots, Signer};
use super::provider;
use super::public_key::PublicKey;

/// Largest trusted root that is read, in bytes: 4 MiB.
pub const TRUSTED_ROOT_LIMIT: usize = 4 << 20;

/// Every version of the format begins so.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";

/// The authorities and logs of one sigstore instance.
pub(crate) struct TrustedRoot {
    verifier: Verifier,
    authorities: Vec<Authority>,
    log_ids: Vec<Vec<u8>>,
    log_keys: Vec<(PublicKey, Window)>,
    certificate_logs: bool,
}

/// Why bytes are not a trusted root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustedRootError {
    /// Not one strict JSON document, or larger than [`TRUSTED_ROOT_LIMIT`].
    #[error("trusted root cannot be read")]
    Json(#[source] JsonError),
    /// The document is something else.
    #[error("media type {0:?} is not that of a trusted root")]
    MediaType(String),
    /// A key, certificate or member cannot be used.
    #[error("trusted root is not valid: {0}")]
    Invalid(String),
}

/// One certificate authority: its own certificates, and when they count.
struct Authority {
    roots: Roots,
    links: Vec<CertificateDer<'static>>,
    window: Window,
}

#[derive(Clone, Copy)]
struct Window(Option<TimeRange>);

impl Window {
    fn contains(self, at: SystemTime) -> bool {
        let Self(Some(range)) = self else { return true };
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        seconds >= range.start.as_second() && range.end.is_none_or(|end| seconds <= end.as_second())
    }
}

impl TrustedRoot {
    /// Reads a trusted root; every key and certificate in it must be usable.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TrustedRootError> {
        provider::install();
        let value = json::parse(bytes, Limits::bytes(TRUSTED_ROOT_LIMIT))
            .map_err(TrustedRootError::Json)?;
        let material: Material = serde_json::from_value(value).map_err(invalid)?;
        if !material.media_type.starts_with(MEDIA_TYPE) {
            let found = Escaped::new(&material.media_type).limit(80).to_string();
            return Err(TrustedRootError::MediaType(found));
        }
        let authorities = material.certificate_authorities.iter().map(|authority| {
            let certificates = &authority.cert_chain.certificates;
            let certificates = certificates.iter().map(|c| c.raw_bytes.as_bytes().to_vec().into());
            Authority::new(certificates.collect(), Window(authority.valid_for))
        });
        // Whatever is not one of our keys makes no promises here; the library reads checkpoints by others.
        let log_keys = material.tlogs.iter().filter_map(|log| {
            let key = PublicKey::from_spki(log.public_key.raw_bytes.as_bytes()).ok()?;
            Some((key, Window(log.public_key.valid_for)))
        });
        Ok(Self {
            authorities: authorities.collect::<Result<_, _>>()?,
            log_keys: log_keys.collect(),
            log_ids: material.tlogs.iter().map(|l| l.log_id.key_id.as_bytes().to_vec()).collect(),
            certificate_logs: !material.ctlogs.is_empty(),
            verifier: Verifier::new(&material).map_err(invalid)?,
        })
    }

    /// One that trusts nobody; keys are verified without it.
    pub(crate) fn empty() -> Result<Self, TrustedRootError> {
        Self::parse(format!(r#"{{"mediaType":"{MEDIA_TYPE}+json;version=0.1"}}"#).as_bytes())
    }

    /// What verifies bundles.
    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whether there is any log of certificates.
    pub(super) fn has_certificate_logs(&self) -> bool {
        self.certificate_logs
    }

    /// Whether there is a log with this identifier.
    pub(super) fn knows_log(&self, id: &[u8]) -> bool {
        self.log_ids.iter().any(|known| known == id)
    }

    /// The keys of the logs that were in use at a time.
    pub(super) fn log_keys_at(&self, at: SystemTime) -> Vec<PublicKey> {
        let used = self.log_keys.iter().filter(|(_, window)| window.contains(at));
        used.map(|(key, _)| key.clone()).collect()
    }

    /// The signer of a certificate whose whole path, root included, was valid at a time.
    pub(super) fn signer(
        &self,
        certificate: &CertificateDer<'static>,
        links: &[CertificateDer<'static>],
        at: SystemTime,
    ) -> Result<Signer, CertificateFault> {
        let mut worst = CertificateFault::UntrustedRoot;
        for authority in self.authorities.iter().filter(|a| a.window.contains(at)) {
            let links = [links, &authority.links].concat();
            match Signer::verify_der(certificate.clone(), &links, &authority.roots, at) {
                Err(CertificateFault::UntrustedRoot) => {}
                Err(fault) => worst = fault,
                Ok(signer) => return Ok(signer),
            }
        }
        Err(worst)
    }
}

impl Authority {
    fn new(
        mut certificates: Vec<CertificateDer<'static>>,
        window: Window,
    ) -> Result<Self, TrustedRootError> {
        let root = certificates.pop().into_iter().collect();
        let roots = Roots::of("a certificate authority of the trusted root", root);
        Ok(Self { roots: roots.map_err(invalid)?, links: certificates, window })
    }
}

/// The time in the libraries' own form.
pub(super) fn at_seconds(seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn invalid(error: impl std::fmt::Display) -> TrustedRootError {
    TrustedRootError::Invalid(Escaped::new(&error.to_string()).to_string())
}
