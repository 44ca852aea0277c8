//! What `signedBy` and `sigstoreSigned` have in common: trying signatures, reading keys, comparing what was signed.

use std::io::ErrorKind;

use securecp_oci::{Algorithm, Digest, Escaped, Reference, WithCauses};

use crate::gate::{Gate, KEY_LIMIT, Subject};
use crate::openpgp::{self, Keyring};
use crate::payload::{Payload, PayloadError, PayloadKind};
use crate::policy::{KeyType, Material, RequirementKind, SignedBy, SignedIdentity};
use crate::verdict::{
    Denial, KeyFault, RequirementVerdict, SignatureFault, SignatureVerdict, Signer,
};

/// What signatures are compared with.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) gate: &'a Gate<'a>,
    pub(crate) subject: &'a Subject,
    /// The image's name, if it has one that signatures can name.
    pub(crate) image: Option<&'a Reference>,
}

/// Evaluates `signedBy` over the simple-signing signatures of a manifest.
pub(crate) fn signed_by(
    case: Case<'_>,
    requirement: &SignedBy,
    signatures: Vec<(usize, &[u8])>,
) -> Result<RequirementVerdict, Denial> {
    if requirement.key_type != KeyType::GpgKeys {
        return Err(Denial::KeyType { key_type: requirement.key_type.name() });
    }
    let ring = case
        .gate
        .load(&requirement.keys)
        .and_then(|blobs| Keyring::read(&blobs))
        .map_err(|fault| Denial::Keys { fault })?;
    let judge = |message: &[u8]| {
        let verified = openpgp::verify(message, &ring, case.gate.now)?;
        let payload = Payload::parse(&verified.content, PayloadKind::Simple);
        let payload = payload.map_err(|error| not_a_payload(&error))?;
        case.compare(&payload, &requirement.signed_identity)?;
        Ok(Signer { key: verified.key, identity: shown(&payload.identity) })
    };
    Ok(first_accepted(RequirementKind::SignedBy, signatures, judge))
}

/// Tries signatures in order until one is accepted.
pub(crate) fn first_accepted<T>(
    kind: RequirementKind,
    signatures: Vec<(usize, T)>,
    judge: impl Fn(T) -> Result<Signer, SignatureFault>,
) -> RequirementVerdict {
    let (mut tried, mut faults) = (Vec::new(), Vec::new());
    for (position, signature) in signatures {
        match judge(signature) {
            Ok(signer) => {
                tried.push(SignatureVerdict { position, accepted: Some(signer), fault: None });
                return RequirementVerdict {
                    kind,
                    accepted: true,
                    denial: None,
                    signatures: tried,
                };
            }
            Err(fault) => {
                faults.push(fault.clone());
                tried.push(SignatureVerdict { position, accepted: None, fault: Some(fault) });
            }
        }
    }
    let denial = Some(denial_of(faults));
    RequirementVerdict { kind, accepted: false, denial, signatures: tried }
}

fn denial_of(mut faults: Vec<SignatureFault>) -> Denial {
    match (faults.pop(), faults.is_empty()) {
        (None, _) => Denial::NoSignature { non_sigstore: 0, non_signatures: 0 },
        (Some(fault), true) => Denial::Signature { fault },
        (Some(last), false) => {
            faults.push(last);
            Denial::Signatures { faults }
        }
    }
}

impl Case<'_> {
    /// Whether a verified payload speaks of this manifest, and then of this image.
    ///
    /// The digest is computed anew over the bytes that were read; signatures over other digests than SHA-256 never
    /// match, as in the reference.
    pub(crate) fn compare(
        &self,
        payload: &Payload,
        identity: &SignedIdentity,
    ) -> Result<(), SignatureFault> {
        let found = Digest::of(Algorithm::Sha256, self.subject.manifest.digested());
        if payload.digest != found {
            return Err(SignatureFault::Digest { signed: payload.digest.to_string() });
        }
        if !identity.matches(self.image, &payload.identity) {
            return Err(SignatureFault::Identity { signed: shown(&payload.identity) });
        }
        Ok(())
    }
}

impl Gate<'_> {
    /// The bytes of keys or certificates, bounded.
    pub(crate) fn load(&self, material: &Material) -> Result<Vec<Vec<u8>>, KeyFault> {
        match material {
            Material::Data(data) => Ok(data.clone()),
            Material::Paths(paths) => paths.iter().map(|path| self.load_file(path)).collect(),
        }
    }

    fn load_file(&self, path: &str) -> Result<Vec<u8>, KeyFault> {
        let bytes = (self.keys)(path).map_err(|error| KeyFault::Unreadable {
            path: shown(path),
            failure: match error.kind() {
                ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => shown(&error.to_string()),
            },
        })?;
        if bytes.len() > KEY_LIMIT {
            return Err(KeyFault::TooLarge { path: shown(path), limit: KEY_LIMIT });
        }
        Ok(bytes)
    }
}

/// The error with its cause: verdicts are data and have no chain of sources.
pub(crate) fn not_a_payload(error: &PayloadError) -> SignatureFault {
    SignatureFault::Payload { failure: shown(&WithCauses(error).to_string()) }
}

pub(crate) fn shown(text: &str) -> String {
    Escaped::new(text).to_string()
}
