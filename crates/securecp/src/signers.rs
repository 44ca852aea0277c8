//! The keys that sign copies: in the user's GnuPG, or in a file.

mod bundles;
mod sigstore;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use securecp_copy::{BundleSigner, ImageSigner, Signing};
use securecp_keys::{GpgHome, GpgSigner};
use securecp_layer::Scope;
use securecp_oci::{Algorithm, Digest, RawManifest, Reference, Signature};
use securecp_trust::{KEY_LIMIT, Payload, PayloadKind, SimpleSigner};
use zeroize::Zeroizing;

use crate::connect::Doors;
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::prompt;
use crate::request::{SignRequest, SigningKey};

/// Most of a passphrase file that is read, in bytes.
const PASSPHRASE_LIMIT: usize = 64 << 10;

type Passphrase = Zeroizing<Vec<u8>>;

/// Finds and unlocks the keys that `request` names, before anything is read or written elsewhere.
pub(crate) fn load(
    request: &SignRequest,
    doors: &Doors<'_>,
    scope: &Scope,
) -> Result<Signing, Failure> {
    let passphrase = request.passphrase_file.as_deref().map(read_passphrase).transpose()?;
    let mut signing = Signing {
        identity: request.identity.clone(),
        dangerous_partial_index: request.dangerous_partial_index,
        ..Signing::default()
    };
    let witness = request.format.bundles().map(bundles::Witness::load).transpose()?;
    for key in &request.keys {
        let passphrase = passphrase.clone();
        match key {
            SigningKey::Gpg(id) => {
                let key = gpg(scope)?.signing_key(id, passphrase).context("--sign-by")?;
                signing.signers.push(Arc::new(OpenPgp::in_gpg(key)));
            }
            SigningKey::File(path) => signing.signers.push(Arc::new(in_file(path, passphrase)?)),
            SigningKey::Sigstore(path) => {
                let key = Arc::new(sigstore::key_in_file(path, passphrase)?);
                let bundler = witness.as_ref().map(|witness| witness.by_key(key.clone()));
                add_sigstore(&mut signing, request, key, bundler.transpose()?);
            }
            SigningKey::Parameters(path) => {
                let notary = Arc::new(sigstore::by_parameters(path, request, (doors, scope))?);
                let bundler = witness.as_ref().map(|witness| witness.by_notary(notary.clone()));
                add_sigstore(&mut signing, request, notary, bundler.transpose()?);
            }
        }
    }
    Ok(signing)
}

/// Adds what makes signatures of the forms asked for.
fn add_sigstore(
    signing: &mut Signing,
    request: &SignRequest,
    signer: Arc<dyn ImageSigner>,
    bundler: Option<Arc<dyn BundleSigner>>,
) {
    signing.bundlers.extend(bundler);
    if request.format.attaches() {
        signing.signers.push(signer);
    }
}

/// Asks for the passphrase of a new key until both answers agree.
pub(crate) fn ask_twice(key: &Path) -> Result<Passphrase, Failure> {
    let first = sigstore::ask(key)?;
    if prompt::passphrase("The same passphrase again: ")? != first {
        return Err(Failure::new("the two passphrases differ"));
    }
    Ok(first)
}

/// The user's GnuPG; a run of it ends with `scope`.
pub(crate) fn gpg(scope: &Scope) -> Result<GpgHome, Failure> {
    let scope = scope.clone();
    let watch = move || scope.check().map_err(Into::into);
    Ok(GpgHome::of_user()?.watch(Arc::new(watch)))
}

/// The first line of a file; only the line feed is left out.
pub(crate) fn read_passphrase(file: &Path) -> Result<Passphrase, Failure> {
    let name = || format!("reading the passphrase from {}", file.display());
    let bytes = read_bounded(file, PASSPHRASE_LIMIT).map(Zeroizing::new).with_context(name)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() > PASSPHRASE_LIMIT {
        return Err(Failure::new(format!(
            "{}: the passphrase has more than {PASSPHRASE_LIMIT} bytes",
            file.display()
        )));
    }
    Ok(Zeroizing::new(line.to_vec()))
}

fn in_file(path: &Path, passphrase: Option<Passphrase>) -> Result<OpenPgp, Failure> {
    let name = || format!("--sign-by-key-file {}", path.display());
    Ok(OpenPgp::in_file(from_file(path, passphrase.as_ref()).with_context(name)?))
}

fn from_file(path: &Path, passphrase: Option<&Passphrase>) -> anyhow::Result<SimpleSigner> {
    let bytes = Zeroizing::new(read_bounded(path, KEY_LIMIT)?);
    anyhow::ensure!(bytes.len() <= KEY_LIMIT, "key has more than {KEY_LIMIT} bytes");
    let passphrase = passphrase.map(|text| text.as_slice());
    Ok(SimpleSigner::from_key(&bytes, passphrase, SystemTime::now())?)
}

/// An OpenPGP key, wherever it is.
struct OpenPgp {
    name: String,
    make: Make,
}

/// Makes a signature over a payload, at a time.
type Make = Box<dyn Fn(&Payload, SystemTime) -> Signed + Send + Sync>;

impl OpenPgp {
    fn in_gpg(key: GpgSigner) -> Self {
        let name = format!("GnuPG key {}", key.fingerprint());
        Self { name, make: Box::new(move |payload, now| Ok(key.sign(payload, now)?)) }
    }

    fn in_file(key: SimpleSigner) -> Self {
        let name = format!("OpenPGP key {}", key.fingerprint());
        Self { name, make: Box::new(move |payload, now| Ok(key.sign(payload, now)?)) }
    }
}

impl ImageSigner for OpenPgp {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_simple(&self) -> bool {
        true
    }

    fn leaves_no_trace(&self) -> bool {
        true
    }

    fn sign(&self, manifest: &RawManifest, identity: &Reference) -> Signed {
        let now = SystemTime::now();
        (self.make)(&payload(PayloadKind::Simple, manifest.bytes(), identity, now)?, now)
    }
}

type Signed = Result<Signature, Box<dyn Error + Send + Sync>>;

/// What is signed: signatures know manifests by their SHA-256, whatever digest names them elsewhere.
fn payload(
    kind: PayloadKind,
    manifest: &[u8],
    identity: &Reference,
    now: SystemTime,
) -> Result<Payload, NameOnly> {
    let digest = Digest::of(Algorithm::Sha256, manifest);
    payload_of(kind, &digest, identity, now)
}

/// What is signed for a digest.
pub(crate) fn payload_of(
    kind: PayloadKind,
    digest: &Digest,
    identity: &Reference,
    now: SystemTime,
) -> Result<Payload, NameOnly> {
    let payload = Payload::new(kind, digest, identity, now);
    payload.ok_or_else(|| NameOnly(identity.to_string()))
}

/// A name that cannot be signed: the signature would cover every tag.
#[derive(Debug)]
pub(crate) struct NameOnly(String);

impl fmt::Display for NameOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reference {} can't be signed, it has neither a tag nor a digest", self.0)
    }
}

impl Error for NameOnly {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_first_line_as_it_stands() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, expected) in
            [("pw\n", "pw"), ("pw", "pw"), ("pw\r\nmore\n", "pw\r"), ("", ""), ("\nx", "")]
        {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(read_passphrase(file.path()).unwrap().as_slice(), expected.as_bytes());
        }
        std::fs::write(file.path(), vec![b'x'; PASSPHRASE_LIMIT + 1]).unwrap();
        assert!(read_passphrase(file.path()).is_err());
        assert!(read_passphrase(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn no_signature_covers_every_tag() {
        let name = Reference::parse_any("h.example/x").unwrap();
        let error = payload(PayloadKind::Simple, b"{}", &name, SystemTime::now());
        let error = error.unwrap_err().to_string();
        assert_eq!(
            error,
            "reference h.example/x can't be signed, it has neither a tag nor a digest"
        );
    }
}
