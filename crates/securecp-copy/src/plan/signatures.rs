use securecp_oci::{Digest, Reference, Signature};

use crate::edits::Edits;
use crate::plan::{PlanError, Produced};
use crate::probe::There;
use crate::survey::FoundManifest;

/// Decides which signatures are stored in one storage.
pub(super) struct SignatureDesk<'a> {
    pub(super) edits: &'a Edits,
    pub(super) there: &'a There,
    /// Of the whole job.
    pub(super) names: usize,
}

impl SignatureDesk<'_> {
    /// The signatures of the source that travel with a manifest, by position if they are let; those of sigstore may travel
    /// as evidence instead.
    pub(super) fn carried(
        &self,
        found: &FoundManifest,
        as_evidence: bool,
        lets: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Signature>, PlanError> {
        if self.edits.remove_signatures {
            return Ok(Vec::new());
        }
        let subject = &found.subject;
        let manifest = || subject.manifest.digest().clone();
        let signatures = subject.signatures.as_ref().map_err(|failure| {
            PlanError::SignaturesUnknown { manifest: manifest(), why: failure.to_string() }
        })?;
        let simple = |signature: &Signature| matches!(signature, Signature::Simple(_));
        let signatures = signatures.iter().enumerate().filter(|(position, _)| lets(*position));
        let signatures = signatures.map(|(_, signature)| signature);
        let signatures = signatures.filter(|signature| simple(signature) || !as_evidence);
        let signatures: Vec<Signature> = signatures.cloned().collect();
        if !signatures.iter().all(|signature| self.takes(simple(signature))) {
            return Err(PlanError::Signatures {
                name: self.there.name.clone(),
                count: signatures.len(),
                manifest: manifest(),
            });
        }
        Ok(signatures)
    }

    /// The names under which a manifest is signed anew: one for each name that will stand for one of its `routes`.
    pub(super) fn identities(
        &self,
        found: &FoundManifest,
        routes: &[usize],
    ) -> Result<Vec<Reference>, PlanError> {
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
        self.check_partial(found)?;
        match &signing.identity {
            Some(_) if self.names > 1 => Err(PlanError::OneIdentity { names: self.names }),
            Some(identity) => Ok(vec![identity.clone()]),
            None => self.names(routes),
        }
    }

    /// Who makes bundles for a manifest: everybody whose bundle is not there, if its digest is known to be.
    pub(super) fn bundlers(
        &self,
        found: &FoundManifest,
        produced: Option<&Produced>,
    ) -> Result<Vec<usize>, PlanError> {
        let bundlers = &self.edits.signing.bundlers;
        let Some(bundler) = bundlers.first() else { return Ok(Vec::new()) };
        if !self.there.accepts.evidence {
            let (name, signer) = (self.there.name.clone(), bundler.name());
            return Err(PlanError::NewBundle { name, signer });
        }
        self.check_partial(found)?;
        let there = match produced {
            Some(Produced::Kept(digest)) => self.there.bundles.get(digest),
            _ => None,
        };
        let is_there = |at: &usize| there.is_some_and(|there| there.get(*at) == Some(&true));
        Ok((0..bundlers.len()).filter(|at| !is_there(at)).collect())
    }

    fn names(&self, routes: &[usize]) -> Result<Vec<Reference>, PlanError> {
        let names = self.there.names.iter().filter(|name| routes.contains(&name.route));
        let reference = |name: &crate::probe::Name| {
            let reference = name.reference.clone();
            reference.ok_or_else(|| PlanError::NoIdentity(name.destination.clone()))
        };
        names.map(reference).collect()
    }

    /// A signature on an index speaks for everything that it names, so all of that must have been judged.
    fn check_partial(&self, found: &FoundManifest) -> Result<(), PlanError> {
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
