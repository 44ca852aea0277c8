use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use securecp_layer::Scope;
use securecp_oci::{Algorithm, Descriptor, Digest, RawManifest, SIGNATURE_COUNT_LIMIT, Signature};

use super::building::{Building, Standing, Unplaced};
use super::destination::DirDestination;
use super::format;
use crate::folder::{Folder, holds};
use crate::reflink::share;
use crate::staged::{Staged, fill};
use crate::{BlobPut, CommitError, Destination, Naming, Place, TransportError, Writing, files};

/// A folder being built. Dropped, it is removed with all that is in it.
pub(super) struct DirWriting<'a> {
    place: &'a DirDestination,
    building: Building,
    only_sha256: AtomicBool,
    /// Signatures are numbered, so they are added one after the other.
    signing: Mutex<()>,
}

impl<'a> DirWriting<'a> {
    pub(super) fn new(place: &'a DirDestination, building: Building) -> Self {
        let (only_sha256, signing) = (AtomicBool::new(true), Mutex::new(()));
        Self { place, building, only_sha256, signing }
    }

    fn folder(&self) -> &Folder {
        self.building.folder()
    }

    fn note_algorithm(&self, digest: &Digest) {
        if digest.algorithm() != Algorithm::Sha256 {
            self.only_sha256.store(false, Ordering::Relaxed);
        }
    }

    fn check_nameless(&self, naming: &Naming<'_>) -> Result<(), TransportError> {
        naming.entry.map_or(Ok(()), |tag| {
            Err(TransportError::Unsupported {
                name: self.place.name(),
                problem: format!("a folder has no tags, so it cannot be tagged {tag} too"),
            })
        })
    }

    fn add_signature(
        &self,
        manifest: &RawManifest,
        place: Place,
        signature: &Signature,
    ) -> Result<(), TransportError> {
        let blob = signature.to_blob();
        for position in 1..=SIGNATURE_COUNT_LIMIT {
            let name = format::signature_name(manifest, place, position);
            if self.folder().size_of(&name)?.is_none() {
                return self.folder().write(&name, &blob);
            }
            if holds(self.folder(), &name, &blob)? {
                return Ok(());
            }
        }
        Err(TransportError::Unsupported {
            name: self.place.name(),
            problem: format!("more than {SIGNATURE_COUNT_LIMIT} signatures of one manifest"),
        })
    }
}

impl Writing for DirWriting<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let staged = Staged::create(self.folder())?;
        let (staged, found) = match share(&staged, blob, scope)? {
            Some(found) => (staged, found),
            None => fill(staged, blob, scope)?,
        };
        self.note_algorithm(&found.digest);
        staged.publish(self.folder(), &format::blob_name(&found.digest))?;
        Ok(found)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        self.note_algorithm(manifest.digest());
        self.folder().write(&format::manifest_name(manifest.digest(), place), manifest.bytes())
    }

    fn put_signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let _one = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        signatures.iter().try_for_each(|signature| {
            scope.check()?;
            self.add_signature(manifest, place, signature)
        })
    }

    fn read_back(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        scope.check()?;
        let name = format::manifest_name(manifest.digest(), place);
        if holds(self.folder(), &name, manifest.bytes())? {
            return Ok(());
        }
        Err(files::not_found(self.folder(), &format!("manifest {}", manifest.digest())))
    }

    fn commit(self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError> {
        for naming in names {
            self.check_nameless(naming)?;
            self.read_back(naming.root, Place::Root, scope)?;
        }
        let version = format::version_text(self.only_sha256.load(Ordering::Relaxed));
        self.folder().write(format::VERSION, version.as_bytes())?;
        self.folder().sync()?;
        let all = || (0..names.len()).collect();
        self.building.put_in_place(self.place.path()).map_err(|Unplaced { cause, standing }| {
            let (moved, unclear) = match standing {
                Standing::Old => (Vec::new(), Vec::new()),
                Standing::New => (all(), Vec::new()),
                Standing::Unclear => (Vec::new(), all()),
            };
            CommitError { cause, moved, unclear }
        })
    }
}
