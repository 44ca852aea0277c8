//! `securecp standalone-sign`, `standalone-verify` and `untrusted-signature-dump-without-verification`: signatures in
//! files, without any policy. Texts are the reference's.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use securecp_oci::{Digest, Escaped, Reference, SIGNATURE_LIMIT, Signature};
use securecp_trust::{
    KEY_LIMIT, PayloadKind, VerifiedSimple, dangerous_read_simple_unverified, verify_simple,
};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::manifest_digest::digest_of;
use crate::args::{StandaloneSignArgs, StandaloneVerifyArgs, UntrustedDumpArgs};
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::session::Session;
use crate::signers::{gpg, payload_of, read_passphrase};

/// Signs a manifest file with a key of the user's GnuPG.
pub(crate) fn sign(args: &StandaloneSignArgs, session: &Session<'_>) -> Result<(), Failure> {
    let digest = manifest_digest(&args.manifest)
        .with_context(|| format!("Error reading {}", args.manifest.display()))?;
    let reference = reference(&args.reference)?;
    let passphrase = args.passphrase_file.as_deref().map(read_passphrase).transpose()?;
    let gpg = gpg(session.scope)?;
    let now = SystemTime::now();
    let made = payload_of(PayloadKind::Simple, &digest, &reference, now)
        .map_err(anyhow::Error::from)
        .and_then(|payload| Ok(gpg.signing_key(&args.key, passphrase)?.sign(&payload, now)?));
    let Signature::Simple(message) = made.context("Error creating signature")? else {
        return Err(Failure::new("Error creating signature: expected an OpenPGP message"));
    };
    let written = fs::write(&args.output, message);
    Ok(written.with_context(|| format!("Error writing signature to {}", args.output.display()))?)
}

/// Verifies a signature of a manifest file: key, digest and name must all be as expected.
pub(crate) fn verify(
    args: &StandaloneVerifyArgs,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let any = args.fingerprints == "any";
    if any && args.public_key_file.is_none() {
        return Err(Failure::usage("Cannot use any fingerprint without a public key file"));
    }
    let digest = manifest_digest(&args.manifest)
        .with_context(|| format!("Error reading manifest from {}", args.manifest.display()))?;
    let signature = bounded(&args.signature, SIGNATURE_LIMIT)
        .with_context(|| format!("Error reading signature from {}", args.signature.display()))?;
    let keys = public_keys(args, session)?;
    let verified = verify_simple(&signature, &keys, SystemTime::now())
        .map_err(anyhow::Error::from)
        .and_then(|found| {
            let expected = (!any).then_some(args.fingerprints.as_str());
            compare(&found, expected, &args.reference, &digest)?;
            Ok(found)
        })
        .context("Error verifying signature")?;
    session.say(&format!(
        "Signature verified using fingerprint {}, digest {}",
        verified.key, verified.payload.digest
    ))
}

/// The keys of the file, or those of the user's GnuPG that may have signed.
fn public_keys(args: &StandaloneVerifyArgs, session: &Session<'_>) -> Result<Vec<u8>, Failure> {
    let Some(file) = &args.public_key_file else {
        let ids: Vec<&str> = args.fingerprints.split(',').collect();
        return Ok(gpg(session.scope)?.public_keys(&ids).context("Error verifying signature")?);
    };
    let keys = bounded(file, KEY_LIMIT);
    Ok(keys.with_context(|| format!("Error reading public keys from {}", file.display()))?)
}

fn compare(
    found: &VerifiedSimple,
    fingerprints: Option<&str>,
    name: &str,
    digest: &Digest,
) -> anyhow::Result<()> {
    let same_key = |list: &str| list.split(',').any(|one| one.eq_ignore_ascii_case(&found.key));
    if let Some(list) = fingerprints.filter(|list| !same_key(list)) {
        let list = Escaped::new(list).limit(400);
        anyhow::bail!("Signature by {} does not match expected fingerprint {list}", found.key);
    }
    let signed = &found.payload.identity;
    // Both are compared as they are when written out in full.
    let same = Reference::parse_any(name)? == Reference::parse_any(signed)?;
    if !same {
        let (signed, name) = (Escaped::new(signed), Escaped::new(name));
        anyhow::bail!("Docker reference {signed} does not match {name}");
    }
    if found.payload.digest != *digest {
        anyhow::bail!("Signature for docker digest \"{}\" does not match", found.payload.digest);
    }
    Ok(())
}

/// Shows what a signature claims. Nothing of it has been verified.
pub(crate) fn dump(args: &UntrustedDumpArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let name = || format!("Error reading untrusted signature from {}", args.signature.display());
    let bytes = bounded(&args.signature, SIGNATURE_LIMIT).with_context(name)?;
    let claims = dangerous_read_simple_unverified(&bytes);
    let claims = claims.context("Error decoding untrusted signature")?;
    let time = claims.payload.timestamp.and_then(|t| OffsetDateTime::from_unix_timestamp(t).ok());
    let time = time.and_then(|time| time.format(&Rfc3339).ok());
    let short = claims.key.get(claims.key.len().saturating_sub(16)..).unwrap_or_default();
    let shown = json!({
        "UntrustedDockerManifestDigest": claims.payload.digest.to_string(),
        "UntrustedDockerReference": claims.payload.identity,
        "UntrustedCreatorID": claims.payload.creator,
        "UntrustedTimestamp": time,
        "UntrustedShortKeyIdentifier": short,
    });
    session.write(&crate::inspection::to_go_json(&shown)?)
}

fn reference(text: &str) -> Result<Reference, Failure> {
    let parsed = Reference::parse_any(text);
    parsed.map_err(|error| Failure::usage(format!("{}: {error}", Escaped::new(text))))
}

fn manifest_digest(file: &Path) -> std::io::Result<Digest> {
    fs::File::open(file).and_then(digest_of)
}

fn bounded(file: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let bytes = read_bounded(file, limit)?;
    anyhow::ensure!(bytes.len() <= limit, "more than {limit} bytes");
    Ok(bytes)
}
