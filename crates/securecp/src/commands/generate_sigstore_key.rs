//! `securecp generate-sigstore-key`

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use securecp_trust::SigstoreKey;

use crate::args::GenerateSigstoreKeyArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::signers::{ask_twice, read_passphrase};

/// Makes a key pair. Nothing that exists is overwritten, and a failure leaves neither file.
pub(crate) fn run(
    args: &GenerateSigstoreKeyArgs,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let (private, public) =
        (with_suffix(&args.output_prefix, ".private"), with_suffix(&args.output_prefix, ".pub"));
    for path in [&private, &public] {
        // A link that leads nowhere is there as well.
        if fs::symlink_metadata(path).is_ok() {
            return Err(overwriting(path));
        }
    }
    let passphrase = match &args.passphrase_file {
        Some(file) => read_passphrase(file)?,
        None => ask_twice(&private)?,
    };
    let key = SigstoreKey::generate()?;
    let locked = key.to_encrypted_pem(&passphrase)?;
    place(&private, locked.as_bytes(), 0o600)?;
    if let Err(failure) = place(&public, key.public_pem().as_bytes(), 0o644) {
        // Of no use alone, and just made by us.
        fs::remove_file(&private).with_context(|| format!("removing {}", private.display()))?;
        return Err(failure);
    }
    let (private, public) = (private.display().to_string(), public.display().to_string());
    session.say(&format!("Key written to {private:?} and {public:?}"))
}

fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(suffix);
    path.into()
}

fn overwriting(path: &Path) -> Failure {
    Failure::new(format!("Refusing to overwrite existing {:?}", path.display().to_string()))
}

/// Writes a file whole under a name that is free.
fn place(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    match written(path, content, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(overwriting(path)),
        done => Ok(done.with_context(|| format!("writing {}", path.display()))?),
    }
}

fn written(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".sigstore-key-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}
