//! Evidence judged one piece at a time: whether anybody whom the policy or the trust file names for an image vouches for it.

use std::fmt;

use bytes::Bytes;
use securecp_oci::{Escaped, ImageIdentity, RawManifest, Signature};

use crate::gate::{Gate, Subject, meets};
use crate::openpgp::Keyring;
use crate::policy::{Policy, Requirement, SigstoreSigned};
use crate::sigstore::{
    AttachedEvidence, Candidate, PublicKey, StoredBundle, StoredRecords, TrustFault, Trusted,
    TrustedRoot, Wanted, lone_keys,
};
use crate::verdict::Denial;

/// Evidence that was verified: somebody whom the policy or the trust file names signed it for its subject. Only
/// [`Witnesses`] makes one.
///
/// ```compile_fail,E0451
/// let _ = securecp_trust::Vouched { by: "anybody".to_owned(), is_signature: true };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    by: String,
    is_signature: bool,
}

impl Vouched {
    /// Who signed it, and by which file they are known.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Whether it says that its subject is signed and nothing else; other statements say who knows what.
    pub fn is_signature(&self) -> bool {
        self.is_signature
    }
}

/// Why nobody vouches for a piece of evidence: one reason for each who might have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotVouched(Vec<String>);

impl NotVouched {
    fn because(mut reasons: Vec<String>) -> Self {
        if reasons.is_empty() {
            reasons.push("nobody is named who signs in this form".to_owned());
        }
        Self(reasons)
    }
}

impl fmt::Display for NotVouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

/// Why evidence cannot be judged. It is then neither verified nor unverified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// Nobody is named, so nothing could ever be verified.
    #[error("neither the policy nor a trust file names anybody who signs {}", Escaped::new(.image))]
    Nobody {
        /// The image.
        image: String,
    },
    /// A key or trusted root cannot be used.
    #[error("{0}")]
    Material(String),
}

/// What came of a judgement: verified or not, unless it could not be judged at all.
pub type Judgement = Result<Result<Vouched, NotVouched>, WitnessError>;

/// Everybody who may vouch for evidence of one image.
pub struct Witnesses<'a> {
    image: &'a ImageIdentity,
    gate: &'a Gate<'a>,
    requirements: Vec<&'a Requirement>,
    keys: Vec<PublicKey>,
    /// Whether the policy names somebody whose statements it cannot judge.
    more: bool,
    root: TrustedRoot,
    trusted: Option<Trusted<'a>>,
}

impl<'a> Witnesses<'a> {
    /// Everybody whom the policy, or the trust file at the gate, names for an image; their keys are read.
    ///
    /// # Errors
    /// Nobody is named, or a key or root cannot be used.
    pub fn of(
        policy: &'a Policy,
        gate: &'a Gate<'a>,
        image: &'a ImageIdentity,
    ) -> Result<Self, WitnessError> {
        let named = policy.scope_for(image).1.iter();
        let requirements: Vec<_> = named.filter(|one| one.verifies_signatures()).collect();
        let material = |denial: &dyn fmt::Display| WitnessError::Material(denial.to_string());
        let trusted = gate.trust.map(|file| file.trusted(image, gate.keys)).transpose();
        let trusted = trusted.map_err(|denial| material(&denial))?.flatten();
        if requirements.is_empty() && trusted.is_none() {
            return Err(WitnessError::Nobody { image: image.scope.clone() });
        }
        let root = TrustedRoot::empty().map_err(|error| material(&error))?;
        let (keys, more) = (Vec::new(), false);
        let mut found = Self { image, gate, requirements, keys, more, root, trusted };
        found.read_keys()?;
        Ok(found)
    }

    /// Reads every key of the policy once, so that one that cannot be used is told before anything is judged.
    fn read_keys(&mut self) -> Result<(), WitnessError> {
        for requirement in &self.requirements {
            let unusable = |fault: &dyn fmt::Display| WitnessError::Material(fault.to_string());
            match requirement {
                Requirement::SigstoreSigned(it) => {
                    let lone = lone_keys(self.gate, it as &SigstoreSigned);
                    match lone.map_err(|fault| unusable(&fault))? {
                        Some(keys) => self.keys.extend(keys),
                        None => self.more = true,
                    }
                }
                Requirement::SignedBy(it) => {
                    let ring = self.gate.load(&it.keys).and_then(|blobs| Keyring::read(&blobs));
                    ring.map_err(|fault| unusable(&fault))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Judges a signature: simple signing, or a layer of what cosign attached.
    ///
    /// # Errors
    /// A key that could be read a moment ago cannot be used any more.
    pub fn signature(&self, subject: &RawManifest, signature: &Signature) -> Judgement {
        let mut reasons = Vec::new();
        let one = Subject::new(subject.clone(), Ok(vec![signature.clone()]));
        for requirement in &self.requirements {
            let verdict = meets(self.image, requirement, &one, self.gate);
            if let Some(found) = verdict.signatures.iter().find_map(|s| s.accepted.as_ref()) {
                let by = format!("the policy's {}", found.key);
                return Ok(Ok(Vouched { by, is_signature: true }));
            }
            match verdict.denial {
                Some(Denial::Keys { fault }) => {
                    return Err(WitnessError::Material(fault.to_string()));
                }
                Some(denial) => reasons.push(format!("policy: {denial}")),
                None => {}
            }
        }
        match signature {
            Signature::Sigstore { .. } => {
                self.trusted(reasons, |trusted| trusted.signature(signature, subject))
            }
            // Of these a trust file knows nothing.
            Signature::Simple(_) => Ok(Err(NotVouched::because(reasons))),
        }
    }

    /// Judges a bundle: a signature, or a statement of whatever kind about its subject.
    ///
    /// # Errors
    /// A key of a recorder cannot be used.
    pub fn bundle(&self, subject: &RawManifest, bundle: &[u8]) -> Judgement {
        if let Some(recorder) = self.recorder(subject, bundle)? {
            return Ok(Ok(recorder));
        }
        let candidate = Candidate::read_as(Wanted::Anything, bundle);
        match self.by_keys(subject, candidate.map_err(TrustFault::from)) {
            Ok(vouched) => Ok(Ok(vouched)),
            Err(reasons) => self.trusted(reasons, |trusted| trusted.bundle(bundle, subject)),
        }
    }

    /// Judges a layer of what cosign attached as attestation: an envelope with a statement about its subject.
    ///
    /// # Errors
    /// None that is known.
    pub fn attestation(&self, subject: &RawManifest, layer: &Signature) -> Judgement {
        let evidence = AttachedEvidence::of_envelope(layer).map_err(TrustFault::from);
        let candidate = evidence.and_then(|evidence| Candidate::of_attestation(&evidence));
        match self.by_keys(subject, candidate) {
            Ok(vouched) => Ok(Ok(vouched)),
            Err(reasons) => self.trusted(reasons, |trusted| trusted.attestation(layer, subject)),
        }
    }

    /// Whoever the trust file names for change records, if the bundle is one of those.
    fn recorder(
        &self,
        subject: &RawManifest,
        bundle: &[u8],
    ) -> Result<Option<Vouched>, WitnessError> {
        let Some(file) = self.gate.trust else { return Ok(None) };
        let bundles = [StoredBundle::from(Bytes::copy_from_slice(bundle))];
        let stored = StoredRecords { bundles: &bundles, statements: &[] };
        let judged = file.judge_records(subject, stored, self.gate.keys);
        let judged = judged.map_err(|denial| WitnessError::Material(denial.to_string()))?;
        let good = judged.into_iter().find(|verdict| verdict.record.is_some());
        Ok(good.map(|verdict| {
            let holder = verdict.holder.unwrap_or_default();
            let by = format!("recorder {} ({holder})", verdict.signers.join(", "));
            Vouched { by, is_signature: false }
        }))
    }

    /// The keys of the policy, which may sign anything; what it asks of others is only known of signatures.
    fn by_keys(
        &self,
        subject: &RawManifest,
        candidate: Result<Candidate, TrustFault>,
    ) -> Result<Vouched, Vec<String>> {
        let mut reasons = Vec::new();
        if self.more {
            reasons.push(
                "policy: a log or certificate that it asks for is judged of attached signatures only"
                    .to_owned(),
            );
        }
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(_) if self.keys.is_empty() => return Err(reasons),
            Err(fault) => {
                reasons.push(format!("policy: {fault}"));
                return Err(reasons);
            }
        };
        for key in &self.keys {
            match candidate.verify_key(subject.bytes(), &self.root, key, true) {
                Ok(()) => {
                    let (by, is_signature) =
                        (format!("the policy's {}", key.name()), candidate.is_signature());
                    return Ok(Vouched { by, is_signature });
                }
                Err(fault) => reasons.push(format!("policy: {}: {fault}", key.name())),
            }
        }
        Err(reasons)
    }

    fn trusted(
        &self,
        mut reasons: Vec<String>,
        judge: impl FnOnce(&Trusted<'_>) -> Result<crate::sigstore::Endorsed, TrustFault>,
    ) -> Judgement {
        match self.trusted.as_ref().map(judge) {
            None => {}
            Some(Err(fault)) => reasons.push(format!("trust file: {fault}")),
            Some(Ok(found)) => {
                let (by, is_signature) = (found.by, found.is_signature);
                return Ok(Ok(Vouched { by, is_signature }));
            }
        }
        Ok(Err(NotVouched::because(reasons)))
    }
}

impl fmt::Debug for Witnesses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witnesses")
            .field("image", &self.image.scope)
            .field("requirements", &self.requirements.len())
            .field("trust_file", &self.trusted.is_some())
            .finish_non_exhaustive()
    }
}
