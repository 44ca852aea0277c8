use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::HttpClient;
use securecp_oci::Signature;
use securecp_trust::{
    AttachmentCheck, BundleCheck, BundleDraft, BundleHolder, BundleLogEntry, LogVersion, Payload,
    SignedDraft, SigstoreKeyError, SigstoreSigner,
};

use super::fulcio::Fulcio;
use super::identity::{Identity, Tell};
use super::{Ambient, FulcioParameters, KeylessError, Rekor, TimestampAuthority, WitnessAddresses};

/// A certificate is not used when less than this is left of it: the log must see the signature in time.
const MARGIN: Duration = Duration::from_secs(60);

/// Signs with a key, or with certificates that it gets as they are needed, and has a log see it.
#[derive(Debug)]
pub struct Notary {
    holder: Holder,
    witnesses: Witnesses,
}

/// Who witnesses signatures.
#[derive(Debug, Clone, Default)]
pub struct Witnesses {
    rekor: Option<Rekor>,
    rekor_v2: Option<Rekor>,
    tsa: Option<TimestampAuthority>,
}

#[derive(Debug)]
enum Holder {
    Key(Arc<SigstoreSigner>),
    Certified(Box<Certified>),
}

/// New keys, with certificates of Fulcio.
#[derive(Debug)]
struct Certified {
    fulcio: Fulcio,
    identity: Identity,
    http: HttpClient,
    current: Mutex<Current>,
}

/// Who signs now.
#[derive(Debug)]
enum Current {
    Nobody,
    Signer(Arc<SigstoreSigner>),
    /// There was no token or no certificate.
    Failed(Arc<KeylessError>),
}

impl Notary {
    /// Signs with a key; a log, if there is one, sees each signature.
    pub fn with_key(signer: SigstoreSigner, witnesses: Witnesses) -> Self {
        Self { holder: Holder::Key(Arc::new(signer)), witnesses }
    }

    /// Signs with new keys that Fulcio certifies. Nobody is asked before the first signature.
    ///
    /// # Errors
    /// The parameters cannot work.
    pub fn certified(
        http: &HttpClient,
        parameters: &FulcioParameters,
        witnesses: Witnesses,
        (ambient, tell): (Ambient, Tell),
    ) -> Result<Self, KeylessError> {
        let identity = Identity::new(parameters, ambient, tell)?;
        let fulcio = Fulcio::new(http, &parameters.address)?;
        let (http, current) = (http.clone(), Mutex::new(Current::Nobody));
        let holder = Holder::Certified(Box::new(Certified { fulcio, identity, http, current }));
        Ok(Self { holder, witnesses })
    }

    /// What the signer is called in messages.
    pub fn name(&self) -> String {
        match &self.holder {
            Holder::Key(signer) => signer.key_name(),
            Holder::Certified(it) => format!("a certificate of Fulcio at {}", it.fulcio.host()),
        }
    }

    /// The key that everybody who verifies has to know, PEM; `None` where a certificate vouches for every new key.
    pub fn key_pem(&self) -> Option<String> {
        match &self.holder {
            Holder::Key(signer) => Some(signer.public_pem()),
            Holder::Certified(_) => None,
        }
    }

    /// Checks, before anybody is asked for anything, that bundles of this signer can be verified.
    ///
    /// # Errors
    /// No log would see them, or a log takes no keys of this kind.
    pub fn check_bundles(&self) -> Result<(), KeylessError> {
        let version = self.witnesses.bundle_log().ok_or(KeylessError::NoLog)?.1;
        match &self.holder {
            Holder::Key(signer) => Ok(holder_of(signer)?.check_log(version)?),
            // New keys are of the kind that every log takes.
            Holder::Certified(_) => Ok(()),
        }
    }

    /// Whoever signs now: with a certificate that is good for a while, where there are certificates.
    ///
    /// # Errors
    /// There is no identity token, or no certificate for it.
    pub fn signer(&self, scope: &Scope) -> Result<Arc<SigstoreSigner>, KeylessError> {
        match &self.holder {
            Holder::Key(signer) => Ok(Arc::clone(signer)),
            Holder::Certified(certified) => certified.signer(scope),
        }
    }

    /// Signs a payload. The result has been verified: signature, certificate and log entry belong together, and are by those
    /// whom `check` knows.
    ///
    /// # Errors
    /// A service refuses, or what it answered does not vouch for the signature.
    pub fn sign(
        &self,
        payload: &Payload,
        check: &AttachmentCheck,
        scope: &Scope,
    ) -> Result<Signature, KeylessError> {
        let signer = self.signer(scope)?;
        let draft = signer.draft(payload)?;
        let record = |rekor: &Rekor| rekor.record(&draft.rekor_v1_proposal(), scope);
        let answer = self.witnesses.rekor.as_ref().map(record).transpose()?;
        Ok(draft.finish(answer.as_deref(), check)?)
    }

    /// Signs a statement, and has it witnessed: by the log of the second version if there is one, and by the timestamp
    /// authority. The result has been verified.
    ///
    /// # Errors
    /// A service refuses, or the bundle is not one that `check` accepts.
    pub fn bundle(
        &self,
        draft: BundleDraft,
        check: &BundleCheck,
        scope: &Scope,
    ) -> Result<Bytes, KeylessError> {
        let signer = self.signer(scope)?;
        let signature = signer.sign_for_bundle(&draft.to_sign())?;
        let signed = draft.signed(signature, holder_of(&signer)?);
        let stamp = |authority: &TimestampAuthority| authority.stamp(signed.signature(), scope);
        let stamp = self.witnesses.tsa.as_ref().map(stamp).transpose()?;
        let entry = self.witnesses.record(&signed, scope)?;
        Ok(signed.finish(&[entry], stamp.as_slice(), check)?)
    }
}

impl Witnesses {
    /// Those at these addresses.
    ///
    /// # Errors
    /// An address is none that may be used.
    pub fn at(http: &HttpClient, addresses: &WitnessAddresses) -> Result<Self, KeylessError> {
        let log = |address: &Option<String>| {
            address.as_deref().map(|address| Rekor::new(http, address)).transpose()
        };
        let tsa = addresses.tsa.as_deref();
        let tsa = tsa.map(|address| TimestampAuthority::new(http, address)).transpose()?;
        Ok(Self { rekor: log(&addresses.rekor)?, rekor_v2: log(&addresses.rekor_v2)?, tsa })
    }

    /// The log that bundles go to.
    fn bundle_log(&self) -> Option<(&Rekor, LogVersion)> {
        let second = self.rekor_v2.as_ref().map(|log| (log, LogVersion::Second));
        second.or_else(|| self.rekor.as_ref().map(|log| (log, LogVersion::First)))
    }

    fn record(&self, signed: &SignedDraft, scope: &Scope) -> Result<BundleLogEntry, KeylessError> {
        let (log, version) = self.bundle_log().ok_or(KeylessError::NoLog)?;
        Ok(match version {
            LogVersion::First => {
                BundleLogEntry::of_rekor_v1(&log.record(&signed.rekor_v1_proposal(), scope)?)?
            }
            LogVersion::Second => {
                let proposal = signed.rekor_v2_proposal()?;
                BundleLogEntry::of_rekor_v2(&log.record_v2(&proposal, scope)?)?
            }
        })
    }
}

/// Who signs, as bundles name them.
fn holder_of(signer: &SigstoreSigner) -> Result<BundleHolder, KeylessError> {
    Ok(match signer.certificate() {
        Some(certificate) => BundleHolder::certificate(&certificate.pem())?,
        None => BundleHolder::key(&signer.public_pem()).map_err(SigstoreKeyError::Unusable)?,
    })
}

impl Certified {
    fn signer(&self, scope: &Scope) -> Result<Arc<SigstoreSigner>, KeylessError> {
        // Held while others are asked: one certificate is enough, and users log in once.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Current::Signer(signer) if lasts(signer) => return Ok(Arc::clone(signer)),
            // Whoever waited here must not ask the user again for what they have refused.
            Current::Failed(error) => return Err(KeylessError::Shared(Arc::clone(error))),
            _ => {}
        }
        let made = self.identity.token(&self.http, scope).and_then(|identity| {
            let token = identity.fresh(SystemTime::now())?;
            self.fulcio.signer(&identity, token, scope)
        });
        let made = made.map(Arc::new).map_err(Arc::new);
        *current = match &made {
            Ok(signer) => Current::Signer(Arc::clone(signer)),
            Err(error) => Current::Failed(Arc::clone(error)),
        };
        made.map_err(KeylessError::Shared)
    }
}

fn lasts(signer: &SigstoreSigner) -> bool {
    let needed = SystemTime::now() + MARGIN;
    signer.certificate().is_none_or(|certificate| certificate.expires() > needed)
}
