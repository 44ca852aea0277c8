//! Key wrapping with OpenPGP messages (RFC 4880, RFC 9580): public-key encrypted session keys and a packet that is
//! integrity protected (version 1), as the reference and gpg write them.
//!
//! sequoia judges certificates and opens session keys; packets and the protected data are read here, since what the
//! reference writes (numbers with leading zeros, short first partial chunks) is refused by strict parsers. RSA
//! private-key operations run in OpenSSL (RUSTSEC-2023-0071).

mod certs;
mod packet;
mod protected;
mod secret;

use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::PKESK;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::serialize::SerializeInto as _;
use sequoia_openpgp::types::SymmetricAlgorithm;

pub use self::certs::PgpCertificates;
pub use self::secret::PgpSecretKey;

use self::packet::{Message, Session};
use crate::{Budget, CryptError, KeyUnwrapper, KeyWrapper, Recipient, Scheme, Secret, Unwrapped};

pub(crate) use self::packet::is_binary;
pub(crate) use self::secret::Locked;

/// A public key for encryption.
pub(crate) type PublicKey = sequoia_openpgp::packet::Key<PublicParts, UnspecifiedRole>;

/// One recipient: the encryption key that was chosen and the certificate that it belongs to.
#[derive(Debug, Clone)]
pub struct PgpRecipient {
    key: PublicKey,
    fingerprint: String,
}

/// Wraps layer keys for OpenPGP encryption keys, all in one message.
#[derive(Debug)]
pub struct PgpRecipients(Vec<PgpRecipient>);

impl PgpRecipients {
    /// Takes the recipients that [`PgpCertificates::select`] found.
    pub fn new(recipients: Vec<PgpRecipient>) -> Self {
        Self(recipients)
    }
}

impl KeyWrapper for PgpRecipients {
    fn scheme(&self) -> Scheme {
        Scheme::Pgp
    }

    fn recipients(&self) -> Vec<Recipient> {
        let id = |recipient: &PgpRecipient| {
            format!("{} (key {:X})", recipient.fingerprint, recipient.key.keyid())
        };
        self.0.iter().map(|r| Recipient { scheme: Scheme::Pgp, id: id(r) }).collect()
    }

    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError> {
        let failed = |problem: &'static str| move |_| CryptError::Library(problem);
        crate::wrapper::check_count(Scheme::Pgp, self.0.len(), packet::SESSION_LIMIT)?;
        let session = SessionKey::new(32).map_err(failed("drawing a session key"))?;
        let mut out = Vec::new();
        for recipient in &self.0 {
            let wrapped =
                PKESK3::for_recipient(SymmetricAlgorithm::AES256, &session, &recipient.key)
                    .and_then(|pkesk| sequoia_openpgp::Packet::from(PKESK::from(pkesk)).to_vec());
            out.extend(wrapped.map_err(failed("encrypting for an OpenPGP key"))?);
        }
        out.extend(packet::write_protected(&protected::seal(&session, options)?));
        let read = Message::read(&out).map(|message| message.sessions.len());
        crate::wrapper::check_readable(Scheme::Pgp, read, self.0.len())?;
        Ok(out)
    }
}

/// Unwraps layer keys with OpenPGP secret keys.
#[derive(Debug)]
pub struct PgpKeys(Vec<PgpSecretKey>);

impl PgpKeys {
    /// Takes the secret keys.
    pub fn new(keys: Vec<PgpSecretKey>) -> Self {
        Self(keys)
    }
}

impl KeyUnwrapper for PgpKeys {
    fn scheme(&self) -> Scheme {
        Scheme::Pgp
    }

    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError> {
        let Some(message) = Message::read(item) else { return Ok(Unwrapped::NotMine) };
        let mut outcome = Unwrapped::NotMine;
        for session in &message.sessions {
            for key in self.0.iter().filter(|key| key.fits(session)) {
                budget.spend()?;
                match open(&message, session, key) {
                    mine @ Unwrapped::Mine(_) => return Ok(mine),
                    broken @ Unwrapped::Broken(_) if !session.is_anonymous() => outcome = broken,
                    _ => {}
                }
            }
        }
        Ok(outcome)
    }
}

fn open(message: &Message, session: &Session, key: &PgpSecretKey) -> Unwrapped {
    let Some((algorithm, session_key)) = key.decrypt(session) else {
        return Unwrapped::Broken("the OpenPGP session key does not match its checksum");
    };
    let protected = match &message.protected {
        Ok(protected) => protected,
        Err(problem) => return Unwrapped::Broken(problem),
    };
    let Some(plain) = protected::open(algorithm, &session_key, protected) else {
        return Unwrapped::Broken("the OpenPGP message is altered, or not encrypted with AES");
    };
    match packet::literal(&plain) {
        Some(options) => Unwrapped::Mine(options),
        None => Unwrapped::Broken("the OpenPGP message holds something else than plain data"),
    }
}

/// For whom an OpenPGP message was encrypted, by key id; `None` if it is not a message that only holders of secret keys
/// can open (one with a password, for example).
pub fn pgp_recipients(item: &[u8]) -> Option<Vec<String>> {
    let message = Message::read(item)?;
    let id = |session: &Session| match session.is_anonymous() {
        true => "key id hidden".to_owned(),
        false => {
            let digits: String = session.key_id.iter().map(|b| format!("{b:02X}")).collect();
            format!("key id {digits}")
        }
    };
    Some(message.sessions.iter().map(id).collect())
}
