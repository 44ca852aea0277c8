//! Evidence in a registry: looked for, put, and read back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use securecp_layer::Scope;
use securecp_oci::{Attached, Descriptor, Digest, RawManifest, Union};
use securecp_registry::{Beside, Client, ManifestName};

use super::failure;
use crate::{Piece, TransportError};

/// How long a registry that answers from several machines may need until all of them know what was written.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(2),
];

/// Which of `wanted` are there and listed among the referrers of `subject`.
pub(super) fn has_referrers(
    client: &Client,
    beside: &Beside,
    (subject, wanted): (&Digest, &[Descriptor]),
    scope: &Scope,
) -> Result<Vec<bool>, TransportError> {
    let found = beside.referrers(subject, scope).map_err(failure)?;
    let listed: HashSet<&Digest> = found.manifests.iter().map(|entry| &entry.digest).collect();
    let there = |entry: &Descriptor| {
        if !listed.contains(&entry.digest) || found.by_api {
            return Ok(listed.contains(&entry.digest));
        }
        let head = client.head_manifest(ManifestName::Digest(&entry.digest), scope);
        Ok(head.map_err(failure)?.is_some())
    };
    wanted.iter().map(there).collect()
}

/// Whether all that `manifest` holds is attached to `subject`.
pub(super) fn has_attached(
    beside: &Beside,
    (subject, what): (&Digest, Attached),
    manifest: &RawManifest,
    scope: &Scope,
) -> Result<bool, TransportError> {
    let there = beside.attached(subject, what, scope).map_err(failure)?;
    let Some(there) = there else { return Ok(false) };
    let union = Union::of(&there, manifest).map_err(|source| unreadable(subject, what, source))?;
    Ok(matches!(union, Union::Contained))
}

/// Puts one piece, whose blobs are there.
pub(super) fn put(client: &Client, piece: &Piece<'_>, scope: &Scope) -> Result<(), TransportError> {
    let put = match *piece {
        Piece::Part(manifest) | Piece::Referrer(manifest) => client.put_referrer(manifest, scope),
        Piece::Attached { subject, what, manifest } => {
            client.put_attached(subject, what, manifest, scope)
        }
    };
    put.map_err(failure)
}

/// Looks whether every piece is there, byte for byte, with its blobs, and listed. What is not there yet is looked for
/// again, a few seconds long.
pub(super) fn read_back(
    client: &Client,
    pieces: &[Piece<'_>],
    scope: &Scope,
) -> Result<(), TransportError> {
    let mut left: Vec<&Piece<'_>> = pieces.iter().collect();
    for pause in PAUSES {
        match look(client, &mut left, scope) {
            Err(error) if error.is_not_found() => scope.sleep(pause)?,
            other => return other,
        }
    }
    look(client, &mut left, scope)
}

/// Takes out what is found, and ends at the first that is not.
fn look(client: &Client, left: &mut Vec<&Piece<'_>>, scope: &Scope) -> Result<(), TransportError> {
    let mut looking =
        Looking { client, beside: Beside::afresh(client.clone()), listed: HashMap::new(), scope };
    while let Some(piece) = left.last() {
        looking.at(piece)?;
        left.pop();
    }
    Ok(())
}

struct Looking<'a> {
    client: &'a Client,
    beside: Beside,
    listed: HashMap<Digest, HashSet<Digest>>,
    scope: &'a Scope,
}

impl Looking<'_> {
    fn at(&mut self, piece: &Piece<'_>) -> Result<(), TransportError> {
        if let Piece::Attached { subject, what, manifest } = *piece {
            if !has_attached(&self.beside, (subject, what), manifest, self.scope)? {
                return Err(self.missing(piece.to_string()));
            }
            return self.blobs(manifest);
        }
        let manifest = piece.manifest();
        let name = ManifestName::Digest(manifest.digest());
        let found = self.client.manifest(name, self.scope).map_err(failure)?;
        if found.bytes() != manifest.bytes() {
            return Err(self.missing(piece.to_string()));
        }
        if let (Piece::Referrer(_), Some(subject)) = (piece, manifest.view().subject())
            && !self.lists(&subject.digest, manifest.digest())?
        {
            return Err(self.missing(format!("{piece} in the list of {}", subject.digest)));
        }
        self.blobs(manifest)
    }

    fn lists(&mut self, subject: &Digest, digest: &Digest) -> Result<bool, TransportError> {
        if let Some(listed) = self.listed.get(subject) {
            return Ok(listed.contains(digest));
        }
        let found = self.beside.referrers(subject, self.scope).map_err(failure)?;
        let listed: HashSet<Digest> = found.manifests.into_iter().map(|e| e.digest).collect();
        let contains = listed.contains(digest);
        self.listed.insert(subject.clone(), listed);
        Ok(contains)
    }

    fn blobs(&self, manifest: &RawManifest) -> Result<(), TransportError> {
        let Some(image) = manifest.image() else { return Ok(()) };
        for blob in std::iter::once(&image.config).chain(&image.layers) {
            if !self.client.has_blob(blob, self.scope).map_err(failure)? {
                return Err(self.missing(format!("blob {} of {}", blob.digest, manifest.digest())));
            }
        }
        Ok(())
    }

    fn missing(&self, subject: String) -> TransportError {
        TransportError::NotFound { subject, place: self.client.repository().to_string() }
    }
}

fn unreadable(
    subject: &Digest,
    what: Attached,
    source: securecp_oci::ManifestError,
) -> TransportError {
    let subject = format!("attached to {subject} ({})", what.suffix());
    TransportError::Manifest { subject, source }
}
