use std::time::SystemTime;

use securecp_oci::Escaped;
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::packet::{Signature, UserID};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, KeyHandle, Packet};

use super::{PgpRecipient, PublicKey};
use crate::{CryptError, Scheme};

/// OpenPGP certificates ("public keys"), from a file or out of a keyring.
#[derive(Debug, Clone)]
pub struct PgpCertificates(Vec<Cert>);

impl PgpCertificates {
    /// Reads certificates, armoured or binary. What several copies say of one certificate counts together. `None` if
    /// there is none, or anything that cannot be read as one: somebody would be left out, or a revocation not heard.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut found: Vec<Cert> = Vec::new();
        for cert in CertParser::from_bytes(bytes).ok()? {
            let cert = cert.ok()?.strip_secret_key_material();
            match found.iter_mut().find(|known| known.fingerprint() == cert.fingerprint()) {
                Some(known) => *known = known.clone().merge_public(cert).ok()?,
                None => found.push(cert),
            }
        }
        hear_misplaced(&mut found);
        (!found.is_empty()).then_some(Self(found))
    }

    /// The recipient that `wanted` names: by fingerprint or long key id, or exactly by a user id, its name or its
    /// address.
    ///
    /// # Errors
    /// Nobody is named so, a name stands for several certificates (anybody can put any name on a key), or the
    /// certificate has no encryption key that is valid now.
    pub fn select(&self, wanted: &str) -> Result<PgpRecipient, CryptError> {
        let shown = Escaped::new(wanted).limit(120).to_string();
        let by_handle = handle(wanted).map(|handle| self.with(|cert| has_key(cert, &handle)));
        let mut found = by_handle.unwrap_or_default();
        if found.is_empty() {
            found = self.with(|cert| is_named(cert, wanted));
        }
        match found.as_slice() {
            [] => fail(format!("PGP: No key found for the following recipients: {shown}")),
            [cert] => recipient(cert),
            several => {
                let prints: Vec<_> = several.iter().map(|c| c.fingerprint().to_hex()).collect();
                let prints = prints.join(", ");
                fail(format!("{shown} names several keys, give the fingerprint of one: {prints}"))
            }
        }
    }

    /// All recipients that these certificates stand for, one for each.
    ///
    /// # Errors
    /// A certificate has no encryption key that is valid now.
    pub fn all(&self) -> Result<Vec<PgpRecipient>, CryptError> {
        self.0.iter().map(recipient).collect()
    }

    fn with(&self, matches: impl Fn(&Cert) -> bool) -> Vec<&Cert> {
        let mut found: Vec<_> = self.0.iter().filter(|cert| matches(cert)).collect();
        found.sort_by_key(|cert| cert.fingerprint());
        found.dedup_by_key(|cert| cert.fingerprint());
        found
    }
}

/// A revocation behind another certificate, as where binary files were put together, counts for the one that made it.
fn hear_misplaced(certs: &mut [Cert]) {
    let packets = certs.iter().flat_map(|cert| cert.clone().into_packets());
    let revocations: Vec<_> = packets.filter_map(revocation).collect();
    for cert in certs {
        let key = cert.key_handle();
        let by = |r: &&Signature| r.get_issuers().iter().any(|issuer| issuer.aliases(&key));
        let own = revocations.iter().filter(by).cloned().map(Packet::from);
        // The library sorts out what the key has not made.
        if let Ok((with, _)) = cert.clone().insert_packets(own.collect::<Vec<_>>()) {
            *cert = with;
        }
    }
}

fn revocation(packet: Packet) -> Option<Signature> {
    let Packet::Signature(signature) = packet else { return None };
    (signature.typ() == SignatureType::KeyRevocation).then_some(signature)
}

fn fail<T>(problem: String) -> Result<T, CryptError> {
    Err(CryptError::Wrap { scheme: Scheme::Pgp, problem })
}

/// A fingerprint or long key id; short ids are too easily made to collide.
fn handle(wanted: &str) -> Option<KeyHandle> {
    let digits: String = wanted.chars().filter(|c| *c != ' ').collect();
    let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).unwrap_or(&digits);
    let plausible =
        matches!(digits.len(), 16 | 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plausible.then(|| digits.parse().ok()).flatten()
}

fn has_key(cert: &Cert, handle: &KeyHandle) -> bool {
    cert.keys().any(|key| key.key().key_handle().aliases(handle))
}

/// Whether a user id that is bound and not revoked is, or has the name or address, `wanted`.
fn is_named(cert: &Cert, wanted: &str) -> bool {
    let policy = StandardPolicy::new();
    let Ok(valid) = cert.with_policy(&policy, None) else { return any_user_id(cert, wanted) };
    valid.userids().revoked(false).any(|id| is_wanted(id.userid(), wanted))
}

/// For certificates that are not valid: they must be found, so that the error says why they cannot be used.
fn any_user_id(cert: &Cert, wanted: &str) -> bool {
    cert.userids().any(|id| is_wanted(id.userid(), wanted))
}

fn is_wanted(id: &UserID, wanted: &str) -> bool {
    id.value() == wanted.as_bytes()
        || id.email().ok().flatten() == Some(wanted)
        || id.name().ok().flatten() == Some(wanted)
}

/// The newest encryption key that is valid now.
fn recipient(cert: &Cert) -> Result<PgpRecipient, CryptError> {
    let fingerprint = cert.fingerprint().to_hex();
    match encryption_key(cert) {
        Ok(Some(key)) => Ok(PgpRecipient { key, fingerprint }),
        Ok(None) => fail(format!("{fingerprint} has no encryption key that is valid now")),
        Err(error) => {
            let reason = error.to_string();
            let reason = Escaped::new(&reason).limit(200);
            fail(format!("{fingerprint} is not valid: {reason}"))
        }
    }
}

fn encryption_key(cert: &Cert) -> sequoia_openpgp::Result<Option<PublicKey>> {
    let policy = StandardPolicy::new();
    let valid = cert.with_policy(&policy, SystemTime::now())?;
    valid.alive()?;
    if let sequoia_openpgp::types::RevocationStatus::Revoked(_) = valid.revocation_status() {
        return Ok(None);
    }
    let usable = valid.keys().supported().alive().revoked(false);
    let usable = usable.for_storage_encryption().for_transport_encryption();
    let newest = usable.max_by_key(|key| key.binding_signature().signature_creation_time());
    Ok(newest.map(|key| key.key().clone().role_into_unspecified()))
}
