use securecp_oci::{Digest, Reference, Signature};

use crate::edits::Edits;
use crate::plan::PlanError;
use crate::probe::There;
use crate::survey::FoundManifest;

/// Decides which signatures are stored at the destination.
pub(super) struct SignatureDesk<'a> {
    pub(super) edits: &'a Edits,
    pub(super) there: &'a There,
    pub(super) found: &'a [FoundManifest],
}

impl SignatureDesk<'_> {
    /// How many signatures of the source travel with manifest `index`.
    pub(super) fn carried(&self, index: usize) -> Result<usize, PlanError> {
        if self.edits.remove_signatures {
            return Ok(0);
        }
        let subject = &self.found[index].subject;
        let manifest = || subject.manifest.digest().clone();
        let signatures = subject.signatures.as_ref().map_err(|failure| {
            PlanError::SignaturesUnknown { manifest: manifest(), why: failure.to_string() }
        })?;
        if !signatures.iter().all(|signature| self.takes(matches!(signature, Signature::Simple(_))))
        {
            return Err(PlanError::Signatures {
                name: self.there.name.clone(),
                count: signatures.len(),
                manifest: manifest(),
            });
        }
        Ok(signatures.len())
    }

    /// The names under which manifest `index` is signed anew: one for each name that will stand for the image.
    pub(super) fn identities(&self, index: usize) -> Result<Vec<Reference>, PlanError> {
        let signing = &self.edits.signing;
        if signing.signers.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(signer) = signing.signers.iter().find(|signer| !self.takes(signer.is_simple()))
        {
            return Err(PlanError::NewSignature {
                name: self.there.name.clone(),
                signer: signer.name(),
            });
        }
        self.check_partial(index)?;
        let names = self.there.names.len();
        match (&signing.identity, &self.there.reference) {
            (Some(_), _) if names > 1 => Err(PlanError::OneIdentity { names }),
            (Some(identity), _) => Ok(vec![identity.clone()]),
            (None, Some(reference)) => Ok(self.names(reference)),
            (None, None) => Err(PlanError::NoIdentity(self.there.name.clone())),
        }
    }

    fn names(&self, reference: &Reference) -> Vec<Reference> {
        let named = |tag: &Option<securecp_oci::Tag>| match tag {
            Some(tag) => reference.repository().tagged(tag.clone()),
            None => reference.clone(),
        };
        self.there.names.iter().map(|(tag, _)| named(tag)).collect()
    }

    /// A signature on an index speaks for everything that it names, so all of that must have been judged.
    fn check_partial(&self, index: usize) -> Result<(), PlanError> {
        let found = &self.found[index];
        let Some(view) = found.subject.manifest.index() else { return Ok(()) };
        let judged = found.entries.len();
        let named = found.keep.as_ref().map_or(view.manifests.len(), Vec::len);
        if judged < named && !self.edits.signing.dangerous_partial_index {
            let manifest: Digest = found.subject.manifest.digest().clone();
            return Err(PlanError::PartialIndex { manifest, judged, named });
        }
        Ok(())
    }

    fn takes(&self, simple: bool) -> bool {
        let accepts = &self.there.accepts;
        if simple { accepts.simple_signatures } else { accepts.sigstore_signatures }
    }
}
