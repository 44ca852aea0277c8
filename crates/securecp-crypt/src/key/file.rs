use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use securecp_oci::Escaped;
use zeroize::Zeroizing;

use super::asymmetric::Kind;
use super::jwk::Jwk;
use super::{Certificate, PrivateKey, PublicKey, pem};
use crate::pgp::{self, Locked};
use crate::{PgpCertificates, PgpSecretKey, Secret, der};

/// Largest key file that is read, in bytes; keyrings with photographs can be large.
pub(crate) const FILE_LIMIT: usize = 16 << 20;

/// Why a key file cannot be used. Never quotes the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is no key of any known form.
    #[error(
        "{name}: not a key, certificate or OpenPGP key of any known form (PEM, DER, JWK, armoured or binary)"
    )]
    Unknown {
        /// The file.
        name: String,
    },
    /// It holds something that is recognised but cannot serve.
    #[error("{name}: holds {found}, which cannot be used here")]
    Unusable {
        /// The file.
        name: String,
        /// What it holds.
        found: &'static str,
    },
    /// The file is larger than any key.
    #[error("{name}: has {found} bytes, the limit for a key file is {limit}")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The private key is encrypted and no passphrase was given.
    #[error("{name}: Missing password for encrypted private key")]
    PassphraseMissing {
        /// The file.
        name: String,
    },
    /// The passphrase does not open the private key.
    #[error("{name}: Wrong password: could not decrypt private key")]
    PassphraseWrong {
        /// The file.
        name: String,
    },
}

/// What one key file holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeyMaterial {
    /// A private RSA or EC key.
    Private(PrivateKey),
    /// A public RSA or EC key.
    Public(PublicKey),
    /// An X.509 certificate.
    Certificate(Certificate),
    /// An OpenPGP secret key.
    Pgp(PgpSecretKey),
    /// OpenPGP certificates without any secret key.
    PgpPublic(PgpCertificates),
}

/// A passphrase, or none.
#[derive(Debug, Clone, Default)]
pub struct Passphrase(Option<Secret>);

impl Passphrase {
    /// No passphrase was given.
    pub fn none() -> Self {
        Self(None)
    }

    /// The passphrase as it was typed or stored.
    pub fn new(secret: Secret) -> Self {
        Self(Some(secret))
    }

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// What to try: the bytes as they are, as the reference does; then without one line end, since editors add one.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &[u8]> {
        let whole = self.0.as_deref();
        let cut = whole.and_then(|bytes| bytes.strip_suffix(b"\n"));
        let cut = cut.map(|bytes| bytes.strip_suffix(b"\r").unwrap_or(bytes));
        whole.into_iter().chain(cut)
    }
}

/// Reads everything that a key file holds, telling the form from the contents; labels and file names say nothing.
///
/// PEM (several blocks, with text between them) and DER of PKCS#8 (also encrypted), PKCS#1, SEC 1, SubjectPublicKeyInfo
/// and X.509; the old encrypted PEM; JWK; OpenPGP keys, armoured or binary. `name` is for error messages.
///
/// # Errors
/// See [`KeyFileError`]; a file of no known kind is one, never skipped.
pub fn read_key_file(
    name: &str,
    bytes: &[u8],
    passphrase: &Passphrase,
) -> Result<Vec<KeyMaterial>, KeyFileError> {
    let name = Escaped::new(name).limit(300).to_string();
    let limit = FILE_LIMIT;
    if bytes.len() > limit {
        return Err(KeyFileError::TooLarge { name, found: bytes.len(), limit });
    }
    let outcome = match std::str::from_utf8(bytes) {
        Ok(text) if pem::is_mixed(text) => Err(Problem::Unusable(MIXED)),
        Ok(text) if text.trim_start().starts_with('{') => read_jwk(text),
        Ok(text) if text.contains("-----BEGIN PGP") => read_pgp(bytes, passphrase),
        Ok(text) if pem::is_pem(text) => read_pem(text, passphrase),
        Ok(text) if text.contains("pkcs11:") => {
            Err(Problem::Unusable("a PKCS#11 configuration (tokens are not supported yet)"))
        }
        _ if pgp::is_binary(bytes) => read_pgp(bytes, passphrase),
        Err(_) if is_framed(bytes) => {
            let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
            read_pem(&text, passphrase)
        }
        _ => read_der(bytes, passphrase).map(|material| vec![material]),
    };
    outcome.map_err(|problem| problem.of(name))
}

/// Whether there is a PEM block; notes around it may be in any encoding.
fn is_framed(bytes: &[u8]) -> bool {
    bytes.split(|b| *b == b'\n').any(|line| line.starts_with(b"-----BEGIN "))
}

/// A [`KeyFileError`] that does not know the file's name yet.
enum Problem {
    Unknown,
    Unusable(&'static str),
    PassphraseMissing,
    PassphraseWrong,
}

impl Problem {
    fn of(self, name: String) -> KeyFileError {
        match self {
            Self::Unknown => KeyFileError::Unknown { name },
            Self::Unusable(found) => KeyFileError::Unusable { name, found },
            Self::PassphraseMissing => KeyFileError::PassphraseMissing { name },
            Self::PassphraseWrong => KeyFileError::PassphraseWrong { name },
        }
    }
}

fn read_jwk(text: &str) -> Result<Vec<KeyMaterial>, Problem> {
    if Jwk::is_set(text.as_bytes()) {
        return Err(Problem::Unusable("a JWK set (give each of its keys in a file of its own)"));
    }
    let jwk = Jwk::parse(text.as_bytes()).ok_or(Problem::Unknown)?;
    let material = if jwk.is_private() {
        jwk.private().map(KeyMaterial::Private)
    } else {
        jwk.public().map(KeyMaterial::Public)
    };
    material.map(|material| vec![material]).map_err(Problem::Unusable)
}

fn read_pgp(bytes: &[u8], passphrase: &Passphrase) -> Result<Vec<KeyMaterial>, Problem> {
    match PgpSecretKey::read_all(bytes, passphrase).ok_or(Problem::Unknown)? {
        Ok(keys) => Ok(keys.into_iter().map(KeyMaterial::Pgp).collect()),
        Err(Locked::PassphraseMissing) => Err(Problem::PassphraseMissing),
        Err(Locked::PassphraseWrong) => Err(Problem::PassphraseWrong),
        Err(Locked::TooMuchMemory) => Err(Problem::Unusable(TOO_MUCH_MEMORY)),
        Err(Locked::NoSecret) => {
            let certificates = PgpCertificates::read(bytes).ok_or(Problem::Unusable(UNREADABLE))?;
            Ok(vec![KeyMaterial::PgpPublic(certificates)])
        }
    }
}

const MIXED: &str = "OpenPGP and other keys together (give them in files of their own)";
const TOO_MUCH_MEMORY: &str =
    "an OpenPGP key whose passphrase takes more memory than allowed (1 GiB)";
const UNREADABLE: &str = "an OpenPGP certificate that cannot be read";

fn read_pem(text: &str, passphrase: &Passphrase) -> Result<Vec<KeyMaterial>, Problem> {
    let blocks = pem::blocks(text).ok_or(Problem::Unknown)?;
    let keys = blocks.iter().filter(|block| !block.label.ends_with(" PARAMETERS"));
    let read = |block: &pem::Block<'_>| match &block.contents {
        Some(contents) => read_der(contents, passphrase),
        None => open_with(passphrase, |ask| {
            PKey::private_key_from_pem_callback(block.text.as_bytes(), ask)
        }),
    };
    let found = keys.map(read).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(Problem::Unknown) } else { Ok(found) }
}

fn read_der(bytes: &[u8], passphrase: &Passphrase) -> Result<KeyMaterial, Problem> {
    match Form::of(bytes).ok_or(Problem::Unknown)? {
        Form::Private => usable(PKey::private_key_from_der(bytes).map_err(|_| Problem::Unknown)?),
        Form::EncryptedPrivate => {
            open_with(passphrase, |ask| PKey::private_key_from_pkcs8_callback(bytes, ask))
        }
        Form::Public => {
            let key = PKey::public_key_from_der(bytes).map_err(|_| Problem::Unknown)?;
            PublicKey::new(key).map(KeyMaterial::Public).map_err(Problem::Unusable)
        }
        Form::RsaPublic => {
            let rsa = openssl::rsa::Rsa::public_key_from_der_pkcs1(bytes);
            let key = rsa.and_then(PKey::from_rsa).map_err(|_| Problem::Unknown)?;
            PublicKey::new(key).map(KeyMaterial::Public).map_err(Problem::Unusable)
        }
        Form::Certificate => {
            Certificate::read(bytes).map(KeyMaterial::Certificate).ok_or(Problem::Unknown)
        }
    }
}

fn usable(key: PKey<Private>) -> Result<KeyMaterial, Problem> {
    let kind = Kind::of(&key).map_err(Problem::Unusable)?;
    Ok(KeyMaterial::Private(PrivateKey { key, kind }))
}

/// Opens an encrypted key with each candidate. OpenSSL's own way of asking, on the terminal, is never reached.
fn open_with(
    passphrase: &Passphrase,
    open: impl Fn(
        &mut dyn FnMut(&mut [u8]) -> Result<usize, ErrorStack>,
    ) -> Result<PKey<Private>, ErrorStack>,
) -> Result<KeyMaterial, Problem> {
    let mut asked = false;
    let mut attempt = |candidate: &[u8]| {
        open(&mut |buffer: &mut [u8]| {
            asked = true;
            let room = buffer.get_mut(..candidate.len()).ok_or_else(ErrorStack::get)?;
            room.copy_from_slice(candidate);
            Ok(candidate.len())
        })
    };
    if !passphrase.is_some() {
        return match attempt(b"") {
            Ok(key) => usable(key),
            Err(_) if asked => Err(Problem::PassphraseMissing),
            Err(_) => Err(Problem::Unknown),
        };
    }
    let found = passphrase.candidates().find_map(|candidate| attempt(candidate).ok());
    match found {
        Some(key) => usable(key),
        None if asked => Err(Problem::PassphraseWrong),
        None => Err(Problem::Unknown),
    }
}

/// The DER structures that a key file may hold.
enum Form {
    /// PKCS#8, PKCS#1 or SEC 1.
    Private,
    /// PKCS#8 EncryptedPrivateKeyInfo.
    EncryptedPrivate,
    /// SubjectPublicKeyInfo.
    Public,
    /// PKCS#1 RSAPublicKey.
    RsaPublic,
    /// X.509.
    Certificate,
}

impl Form {
    /// Tells the form by the outermost elements.
    fn of(bytes: &[u8]) -> Option<Self> {
        let outer = der::single(bytes).filter(|element| element.tag == 0x30)?;
        let children = outer.children()?;
        let tags: Vec<_> = children.iter().map(|child| child.tag).collect();
        match tags.as_slice() {
            [0x30, 0x04] => Some(Self::EncryptedPrivate),
            [0x30, 0x03] => Some(Self::Public),
            [0x30, 0x30, 0x03] => Some(Self::Certificate),
            [0x02, 0x02] => Some(Self::RsaPublic),
            [0x02, 0x30, 0x04, ..] | [0x02, 0x04, ..] | [0x02, 0x02, 0x02, ..] => {
                Some(Self::Private)
            }
            _ => None,
        }
    }
}
