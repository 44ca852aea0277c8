//! Simple-signing signatures that a registry keeps itself; where it does, no lookaside store is asked.

use securecp_layer::Scope;
use securecp_oci::{Digest, SIGNATURE_COUNT_LIMIT, Signature};
use securecp_registry::Client;

use crate::TransportError;
use crate::docker::failure;

/// Whether the registry keeps signatures.
pub(crate) fn keeps(client: &Client, scope: &Scope) -> Result<bool, TransportError> {
    client.keeps_signatures(scope).map_err(failure)
}

/// The signatures of a manifest; one that cannot be read is an error.
pub(crate) fn signatures(
    client: &Client,
    digest: &Digest,
    scope: &Scope,
) -> Result<Vec<Signature>, TransportError> {
    let kept = client.kept_signatures(digest, scope).map_err(failure)?;
    let parse = |blob| {
        let path = format!("{} at {}", digest, client.repository()).into();
        Signature::parse(blob).map_err(|source| TransportError::Signature { path, source })
    };
    kept.into_iter().map(parse).collect()
}

/// Adds what is not there yet, and reads everything back.
pub(crate) fn add(
    client: &Client,
    digest: &Digest,
    new: &[Signature],
    scope: &Scope,
) -> Result<(), TransportError> {
    let there = signatures(client, digest, scope)?;
    let missing: Vec<_> = new.iter().filter(|signature| !there.contains(signature)).collect();
    let place = || format!("registry {}", client.repository().host());
    if missing.is_empty() {
        return Ok(());
    }
    if there.len() + missing.len() > SIGNATURE_COUNT_LIMIT {
        let found = there.len() + missing.len();
        let problem = format!("expected at most {SIGNATURE_COUNT_LIMIT} signatures, found {found}");
        return Err(TransportError::Unsupported { name: place(), problem });
    }
    for signature in missing {
        client.keep_signature(digest, &signature.to_blob(), scope).map_err(failure)?;
    }
    let there = signatures(client, digest, scope)?;
    match new.iter().find(|signature| !there.contains(signature)) {
        Some(_) => Err(TransportError::NotFound {
            subject: format!("a signature of {digest} that was just stored"),
            place: place(),
        }),
        None => Ok(()),
    }
}
