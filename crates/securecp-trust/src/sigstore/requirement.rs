//! The requirement `sigstoreSigned`, evaluated.

use securecp_oci::{Annotations, Signature, base64};

use super::annotation;
use super::fault::{SigstoreFault, SigstoreKeyFault};
use super::public_key::PublicKey;
use crate::gate::Gate;
use crate::payload::{Payload, PayloadKind};
use crate::policy::{Material, RequirementKind, SigstoreSigned, SigstoreTrust};
use crate::signed::{Case, first_accepted, not_a_payload, shown};
use crate::verdict::{Denial, KeyFault, RequirementVerdict, SignatureFault, Signer};

/// Evaluates `sigstoreSigned` over the sigstore signatures of a manifest.
pub(crate) fn sigstore_signed(
    case: Case<'_>,
    requirement: &SigstoreSigned,
    signatures: Vec<(usize, &Signature)>,
) -> Result<RequirementVerdict, Denial> {
    if requirement.rekor_keys.is_some() || !matches!(requirement.trust, SigstoreTrust::Keys(_)) {
        return Err(Denial::NotSupported { requirement: RequirementKind::SigstoreSigned });
    }
    let trust = Trust::load(case.gate, requirement).map_err(|fault| Denial::Keys { fault })?;
    let judge = |signature: &Signature| {
        let Signature::Sigstore { payload, annotations, .. } = signature else {
            return Err(
                SigstoreFault::MissingAnnotation { annotation: annotation::SIGNATURE }.into()
            );
        };
        let key = trust.verify(payload, annotations)?;
        let payload = Payload::parse(payload, PayloadKind::Sigstore);
        let payload = payload.map_err(|error| not_a_payload(&error))?;
        case.compare(&payload, &requirement.signed_identity)?;
        Ok(Signer { key, identity: shown(&payload.identity) })
    };
    Ok(first_accepted(RequirementKind::SigstoreSigned, signatures, judge))
}

/// The keys or certificates of one requirement, read.
enum Trust {
    Keys(Vec<PublicKey>),
}

impl Trust {
    fn load(gate: &Gate<'_>, requirement: &SigstoreSigned) -> Result<Self, KeyFault> {
        match &requirement.trust {
            SigstoreTrust::Keys(material) => public_keys(gate, material).map(Self::Keys),
            _ => Ok(Self::Keys(Vec::new())),
        }
    }

    /// Checks the signature over the exact bytes of the payload; returns the name of whoever made it.
    fn verify(&self, payload: &[u8], annotations: &Annotations) -> Result<String, SignatureFault> {
        let encoded = annotation::required(annotations, annotation::SIGNATURE)?;
        let signature = base64::decode(encoded)
            .map_err(|error| SigstoreFault::Base64 { failure: error.to_string() })?;
        let Self::Keys(keys) = self;
        let name = verified_by(keys, payload, &signature)?.name();
        Ok(name)
    }
}

fn public_keys(gate: &Gate<'_>, material: &Material) -> Result<Vec<PublicKey>, KeyFault> {
    let parse = |(position, bytes): (usize, Vec<u8>)| {
        PublicKey::from_pem(&bytes)
            .map_err(|fault| SigstoreKeyFault::PublicKey { position, fault }.into())
    };
    (1..).zip(gate.load(material)?).map(parse).collect()
}

/// The first of `keys` that made `signature` over `payload`.
fn verified_by<'k>(
    keys: &'k [PublicKey],
    payload: &[u8],
    signature: &[u8],
) -> Result<&'k PublicKey, SigstoreFault> {
    let failed =
        || SigstoreFault::NotVerified { failures: keys.iter().map(PublicKey::refusal).collect() };
    keys.iter().find(|key| key.verifies(payload, signature)).ok_or_else(failed)
}
