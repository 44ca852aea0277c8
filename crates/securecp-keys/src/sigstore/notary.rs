use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use securecp_layer::Scope;
use securecp_net::HttpClient;
use securecp_oci::Signature;
use securecp_trust::{Payload, SigstoreSigner};

use super::fulcio::Fulcio;
use super::identity::{Identity, Tell};
use super::{Ambient, FulcioParameters, KeylessError, Rekor};

/// A certificate is not used when less than this is left of it: the log must see the signature in time.
const MARGIN: Duration = Duration::from_secs(60);

/// Signs with a key, or with certificates that it gets as they are needed, and has a log see it.
#[derive(Debug)]
pub struct Notary {
    holder: Holder,
    rekor: Option<Rekor>,
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
    pub fn with_key(signer: SigstoreSigner, rekor: Option<Rekor>) -> Self {
        Self { holder: Holder::Key(Arc::new(signer)), rekor }
    }

    /// Signs with new keys that Fulcio certifies. Nobody is asked before the first signature.
    ///
    /// # Errors
    /// The parameters cannot work.
    pub fn certified(
        http: &HttpClient,
        parameters: &FulcioParameters,
        rekor: Rekor,
        (ambient, tell): (Ambient, Tell),
    ) -> Result<Self, KeylessError> {
        let identity = Identity::new(parameters, ambient, tell)?;
        let fulcio = Fulcio::new(http, &parameters.address)?;
        let (http, current) = (http.clone(), Mutex::new(Current::Nobody));
        let holder = Holder::Certified(Box::new(Certified { fulcio, identity, http, current }));
        Ok(Self { holder, rekor: Some(rekor) })
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

    /// The log that sees signatures.
    pub fn rekor(&self) -> Option<&Rekor> {
        self.rekor.as_ref()
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

    /// Signs a payload. The result has been verified: signature, certificate and log entry belong together.
    ///
    /// # Errors
    /// A service refuses, or what it answered does not vouch for the signature.
    pub fn sign(&self, payload: &Payload, scope: &Scope) -> Result<Signature, KeylessError> {
        let signer = self.signer(scope)?;
        let draft = signer.draft(payload)?;
        let record = |rekor: &Rekor| rekor.record(&draft.rekor_v1_proposal(), scope);
        let answer = self.rekor.as_ref().map(record).transpose()?;
        Ok(draft.finish(answer.as_deref())?)
    }
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
