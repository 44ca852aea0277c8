//! Key wrapping with PKCS#7 enveloped data (RFC 2315), in the dialect that ocicrypt's libraries share: AES-GCM inside
//! EnvelopedData, with parameters and content tagged as no other library reads or writes them.

mod content;
mod message;

use openssl::pkey::Private;
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use zeroize::Zeroizing;

use self::content::{Content, Sealed};
use self::message::{Envelope, Recipient as Part};
use crate::key::asymmetric::{Kind, issuer_and_serial};
use crate::key::{Certificate, PrivateKey};
use crate::secret::random;
use crate::{Budget, CryptError, KeyUnwrapper, KeyWrapper, Recipient, Scheme, Secret, Unwrapped};

/// Wraps layer keys for the owners of X.509 certificates with RSA keys, all in one message.
#[derive(Debug)]
pub struct Pkcs7Recipients(Vec<Certificate>);

impl Pkcs7Recipients {
    /// Takes the certificates. Their validity, usage and issuers are not judged, as in the reference.
    ///
    /// # Errors
    /// A certificate's key is not RSA, or has less than 2048 bits.
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, CryptError> {
        certificates.iter().try_for_each(check)?;
        Ok(Self(certificates))
    }
}

fn check(certificate: &Certificate) -> Result<(), CryptError> {
    let key = certificate.x509.public_key().ok();
    let problem = match key.map(|key| Kind::of(&key)) {
        Some(Ok(Kind::Rsa(2048..))) => return Ok(()),
        Some(Ok(Kind::Rsa(bits))) => format!("the RSA key has {bits} bits, expected at least 2048"),
        _ => "only RSA keys are supported".to_owned(),
    };
    let problem = format!("certificate of {}: {problem}", certificate.id());
    Err(CryptError::Wrap { scheme: Scheme::Pkcs7, problem })
}

impl KeyWrapper for Pkcs7Recipients {
    fn scheme(&self) -> Scheme {
        Scheme::Pkcs7
    }

    fn recipients(&self) -> Vec<Recipient> {
        let id = |certificate: &Certificate| {
            format!("{} ({})", certificate.fingerprint(), certificate.id())
        };
        self.0.iter().map(|c| Recipient { scheme: Scheme::Pkcs7, id: id(c) }).collect()
    }

    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError> {
        crate::wrapper::check_count(Scheme::Pkcs7, self.0.len(), message::RECIPIENT_LIMIT)?;
        let key = random::<16>()?;
        let parts = self.0.iter().map(|certificate| {
            let mut out = Vec::new();
            let mut seal = || {
                let public = certificate.x509.public_key()?;
                let mut context = PkeyCtx::new(&public)?;
                context.encrypt_init()?;
                context.set_rsa_padding(Padding::PKCS1)?;
                context.encrypt_to_vec(key.as_ref(), &mut out).map(drop)
            };
            seal()
                .map_err(|_: openssl::error::ErrorStack| CryptError::Library("RSA encryption"))?;
            Ok(message::write_recipient(&certificate.issuer, &certificate.serial, &out))
        });
        let parts = parts.collect::<Result<Vec<_>, CryptError>>()?;
        let item = message::write_envelope(parts, &Sealed::new(&key, options)?);
        let read = Envelope::read(&item).map(|envelope| envelope.recipients.len());
        crate::wrapper::check_readable(Scheme::Pkcs7, read, self.0.len())?;
        Ok(item)
    }
}

/// Unwraps layer keys with certificates and the private keys that belong to them.
#[derive(Debug)]
pub struct Pkcs7Keys {
    pairs: Vec<(Certificate, PrivateKey)>,
    unauthenticated: bool,
}

impl Pkcs7Keys {
    /// Pairs certificates and private keys, given in any order. What has no counterpart cannot open anything.
    pub fn new(certificates: &[Certificate], keys: &[PrivateKey]) -> Self {
        let mut pairs = Vec::new();
        for certificate in certificates {
            let Ok(public) = certificate.x509.public_key() else { continue };
            let own = keys.iter().filter(|key| public.public_eq(&key.key));
            pairs.extend(own.map(|key| (certificate.clone(), key.clone())));
        }
        Self { pairs, unauthenticated: false }
    }

    /// Whether no certificate has its key.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Accepts wrapped keys in CBC mode, which anybody on the way can alter unnoticed.
    #[must_use]
    pub fn dangerous_accept_unauthenticated(self, accept: bool) -> Self {
        Self { unauthenticated: accept, ..self }
    }
}

impl KeyUnwrapper for Pkcs7Keys {
    fn scheme(&self) -> Scheme {
        Scheme::Pkcs7
    }

    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError> {
        let Some(envelope) = Envelope::read(item) else { return Ok(Unwrapped::NotMine) };
        let mut outcome = Unwrapped::NotMine;
        for part in &envelope.recipients {
            for (_, key) in self.pairs.iter().filter(|(certificate, _)| part.names(certificate)) {
                let content = match Content::read(&envelope, self.unauthenticated) {
                    Ok(content) => content,
                    Err(problem) => return Ok(Unwrapped::Broken(problem)),
                };
                if part.encrypted_key.len() != key.key.size() {
                    outcome = Unwrapped::Broken("the PKCS#7 key has another length than the key");
                    continue;
                }
                budget.spend()?;
                match decrypt_key(key, part).and_then(|key| content.open(&key)) {
                    Some(options) => return Ok(Unwrapped::Mine(options)),
                    None => outcome = Unwrapped::Broken("the PKCS#7 content does not match"),
                }
            }
        }
        Ok(outcome)
    }
}

impl Part<'_> {
    fn names(&self, certificate: &Certificate) -> bool {
        self.issuer == certificate.issuer && self.serial == certificate.serial
    }
}

/// RSAES-PKCS1-v1_5. OpenSSL returns made-up bytes if the padding is wrong, so that nothing tells.
fn decrypt_key(key: &PrivateKey, part: &Part<'_>) -> Option<Secret> {
    let attempt = || -> Result<Secret, openssl::error::ErrorStack> {
        let mut context: PkeyCtx<Private> = PkeyCtx::new(&key.key)?;
        context.decrypt_init()?;
        context.set_rsa_padding(Padding::PKCS1)?;
        let mut out = Zeroizing::new(vec![0; key.key.size()]);
        let length = context.decrypt(part.encrypted_key, Some(&mut out))?;
        Ok(Secret::new(out[..length.min(out.len())].to_vec()))
    };
    attempt().ok()
}

/// For whom an item was wrapped; `None` if it is not such a message.
pub(crate) fn describe(item: &[u8]) -> Option<Vec<String>> {
    let envelope = Envelope::read(item)?;
    let id = |part: &Part<'_>| issuer_and_serial(part.issuer, part.serial);
    Some(envelope.recipients.iter().map(id).collect())
}
