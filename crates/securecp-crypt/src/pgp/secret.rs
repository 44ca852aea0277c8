use std::fmt;

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::crypto::{Decryptor, KeyPair, Password, S2K, SessionKey, mpi};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{SecretKeyMaterial, SecretParts, UnspecifiedRole};
use sequoia_openpgp::packet::pkesk::PKESK3;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::types::SymmetricAlgorithm;
use sequoia_openpgp::{Error, KeyID};
use zeroize::Zeroizing;

use super::PublicKey;
use super::packet::Session;
use crate::Passphrase;

/// A secret key that can decrypt, unlocked.
#[derive(Clone)]
pub struct PgpSecretKey {
    key_id: KeyID,
    secret: Material,
}

/// RSA keys live in OpenSSL, all others in sequoia.
#[derive(Clone)]
enum Material {
    Rsa(Box<PublicKey>, PKey<Private>),
    Other(Box<KeyPair>),
}

/// Why secret keys could not be had from a file.
pub(crate) enum Locked {
    NoSecret,
    PassphraseMissing,
    PassphraseWrong,
    TooMuchMemory,
}

/// Keys whose passphrase takes so much memory or more are not opened: 2 to this power in KiB, one GiB, as for signing keys.
const ARGON2_MEMORY_LIMIT: u8 = 20;

impl PgpSecretKey {
    /// All secret keys in an armoured or binary file that can decrypt, also expired and revoked ones: what was
    /// encrypted for them must stay readable. `None` if the file has no certificate at all.
    pub(crate) fn read_all(
        bytes: &[u8],
        passphrase: &Passphrase,
    ) -> Option<Result<Vec<Self>, Locked>> {
        let certs: Vec<_> = CertParser::from_bytes(bytes).ok()?.filter_map(Result::ok).collect();
        if certs.is_empty() {
            return None;
        }
        let mut found = Vec::new();
        let mut locked = Locked::NoSecret;
        for key in certs.iter().flat_map(|cert| cert.keys().secret()) {
            if !key.key().pk_algo().for_encryption() {
                continue;
            }
            if takes_too_much_memory(key.key().secret()) {
                locked = Locked::TooMuchMemory;
                continue;
            }
            // It must not forget whether it is a primary key, which authenticated encryption covers.
            match unlock(key.key().clone(), passphrase) {
                Some(key) => found.extend(Self::new(key)),
                None if passphrase.is_some() => locked = Locked::PassphraseWrong,
                None => locked = Locked::PassphraseMissing,
            }
        }
        Some(if found.is_empty() { Err(locked) } else { Ok(found) })
    }

    fn new(key: Key<SecretParts, UnspecifiedRole>) -> Option<Self> {
        let key_id = key.keyid();
        let pair = key.into_keypair().ok()?;
        let secret = match pair.public().mpis() {
            mpi::PublicKey::RSA { e, n } => {
                let key = pair.secret().map(|secret| rsa(n, e, secret))?;
                Material::Rsa(Box::new(pair.public().clone()), key)
            }
            _ => Material::Other(Box::new(pair)),
        };
        Some(Self { key_id, secret })
    }

    /// Whether the session key is for this key, as far as it says.
    pub(crate) fn fits(&self, session: &Session) -> bool {
        let own = match &self.secret {
            Material::Rsa(key, _) => key.pk_algo(),
            Material::Other(pair) => pair.public().pk_algo(),
        };
        let named = session.is_anonymous() || self.key_id.as_bytes() == session.key_id;
        named && own == session.algorithm
    }

    /// The session key and the cipher it is for.
    pub(crate) fn decrypt(&self, session: &Session) -> Option<(SymmetricAlgorithm, SessionKey)> {
        let recipient = Some(KeyID::from_bytes(&session.key_id));
        let packet = PKESK3::new(recipient, session.algorithm, session.ciphertext.clone()).ok()?;
        match &self.secret {
            Material::Rsa(public, key) => {
                packet.decrypt(&mut Guarded(OpensslRsa { public, key }), None)
            }
            Material::Other(pair) => packet.decrypt(&mut Guarded((**pair).clone()), None),
        }
    }
}

impl fmt::Debug for PgpSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgpSecretKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn takes_too_much_memory(secret: &SecretKeyMaterial) -> bool {
    let SecretKeyMaterial::Encrypted(locked) = secret else { return false };
    matches!(locked.s2k(), S2K::Argon2 { m: ARGON2_MEMORY_LIMIT.., .. })
}

/// The key without protection; `None` if no candidate opens it.
fn unlock(
    key: Key<SecretParts, UnspecifiedRole>,
    passphrase: &Passphrase,
) -> Option<Key<SecretParts, UnspecifiedRole>> {
    if key.has_unencrypted_secret() {
        return Some(key);
    }
    let mut candidates = passphrase.candidates();
    candidates.find_map(|candidate| key.clone().decrypt_secret(&Password::from(candidate)).ok())
}

/// The key in OpenSSL. OpenPGP's `u` is the inverse of p modulo q, so the primes change places.
fn rsa(n: &mpi::MPI, e: &mpi::MPI, secret: &mpi::SecretKeyMaterial) -> Option<PKey<Private>> {
    let mpi::SecretKeyMaterial::RSA { d, p, q, u } = secret else { return None };
    let build = || -> Result<_, ErrorStack> {
        let (d, p, q) = (secret_number(d)?, secret_number(p)?, secret_number(q)?);
        let (dp, dq) = (reduced(&d, &p)?, reduced(&d, &q)?);
        let (n, e) = (BigNum::from_slice(n.value())?, BigNum::from_slice(e.value())?);
        let key = Rsa::from_private_components(n, e, d, q, p, dq, dp, secret_number(u)?)?;
        PKey::from_rsa(key)
    };
    build().ok()
}

fn secret_number(number: &mpi::ProtectedMPI) -> Result<BigNum, ErrorStack> {
    let mut found = BigNum::from_slice(number.value())?;
    found.set_const_time();
    Ok(found)
}

/// `d` modulo `prime - 1`.
fn reduced(d: &BigNumRef, prime: &BigNumRef) -> Result<BigNum, ErrorStack> {
    let mut order = prime.to_owned()?;
    order.sub_word(1)?;
    order.set_const_time();
    let mut found = BigNum::new()?;
    let mut context = BigNumContext::new_secure()?;
    found.nnmod(d, &order, &mut context)?;
    order.clear();
    Ok(found)
}

/// Refuses session keys that are too short to be any, which anybody can encrypt: sequoia 2.4.2 looks at the first byte
/// of what comes out without asking whether there is one.
struct Guarded<D>(D);

impl<D: Decryptor> Decryptor for Guarded<D> {
    fn public(&self) -> &PublicKey {
        self.0.public()
    }

    fn decrypt(
        &mut self,
        ciphertext: &mpi::Ciphertext,
        length: Option<usize>,
    ) -> sequoia_openpgp::Result<SessionKey> {
        let found = self.0.decrypt(ciphertext, length)?;
        if found.len() < SHORTEST {
            return Err(Error::InvalidSessionKey("too short".to_owned()).into());
        }
        Ok(found)
    }
}

/// Length of an AES-128 key; all algorithms but the newest add three bytes.
const SHORTEST: usize = 16;

/// RSA decryption behind sequoia's own trait for keys that live elsewhere.
struct OpensslRsa<'a> {
    public: &'a PublicKey,
    key: &'a PKey<Private>,
}

impl Decryptor for OpensslRsa<'_> {
    fn public(&self) -> &PublicKey {
        self.public
    }

    /// OpenSSL returns made-up bytes if the padding is wrong; the session key's checksum then fails.
    fn decrypt(
        &mut self,
        ciphertext: &mpi::Ciphertext,
        _: Option<usize>,
    ) -> sequoia_openpgp::Result<SessionKey> {
        let mpi::Ciphertext::RSA { c } = ciphertext else {
            return Err(Error::InvalidArgument("not an RSA ciphertext".to_owned()).into());
        };
        let padded = c.value_padded(self.key.size())?;
        let mut context = PkeyCtx::new(self.key)?;
        context.decrypt_init()?;
        context.set_rsa_padding(Padding::PKCS1)?;
        let mut out = Zeroizing::new(vec![0; self.key.size()]);
        let length = context.decrypt(&padded, Some(&mut out))?;
        Ok(SessionKey::from(&out[..length.min(out.len())]))
    }
}
