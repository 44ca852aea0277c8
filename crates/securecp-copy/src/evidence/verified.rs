//! Which of the evidence that was found is signed for its subject by somebody whom the policy or the trust file names. Only
//! that travels under `--evidence verified`; what stays behind is listed with the reason.

use bytes::Bytes;
use securecp_oci::{
    Algorithm, Attached, Attachment, Declared, Descriptor, Digest, RawManifest, SIGNATURE_LIMIT,
    Signature,
};
use securecp_trust::{BundleArtifact, Judgement, Vouched, Witnesses};

use super::survey::Search;
use super::{
    Carried, Evidence, EvidenceBody, EvidenceError, EvidenceForm, EvidenceKind, EvidenceOf, Left,
    Verified, VerifiedEvidence,
};
use crate::budget::Budget;
use crate::error::CopyError;

/// How the types of all artifacts begin that carry a bundle.
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// Most bytes of evidence that are judged in one route: 256 MiB.
const TOTAL_LIMIT: u64 = 256 << 20;
/// How every reason begins.
const NOT_VERIFIED: &str = "not verified";

/// The judge of the evidence of one route.
pub(super) struct Judging<'a> {
    search: &'a Search<'a>,
    witnesses: Witnesses<'a>,
    /// Bytes that may still be read.
    budget: Budget,
}

/// What came of one piece.
enum Standing {
    /// All of it is signed.
    Signed(Vouched),
    /// What is attached is signed in part: this is that part, and what is left of it.
    Partly(Vouched, Box<EvidenceBody>, Vec<(Digest, String)>),
    /// Nobody who is named signed it.
    Not(String),
}

/// The layers of something attached, of which only some are signed.
#[derive(Default)]
struct Layers {
    signed: Vec<(Signature, Vouched)>,
    left: Vec<(Digest, String)>,
}

/// Pieces as they are told apart, those first to which others refer.
#[derive(Default)]
struct Sorting {
    kept: Vec<VerifiedEvidence>,
    left: Vec<Left>,
    /// For each piece seen, where it is among those kept.
    places: Vec<Option<usize>>,
}

impl Sorting {
    /// What a piece is evidence of among those kept; `None` if that stays behind.
    fn place(&self, of: EvidenceOf) -> Option<EvidenceOf> {
        match of {
            EvidenceOf::Manifest(_) => Some(of),
            EvidenceOf::Evidence(other) => self.places[other].map(EvidenceOf::Evidence),
        }
    }
}

impl<'a> Judging<'a> {
    /// Fails, before anything is looked for, where nothing could ever be verified.
    pub(super) fn new(search: &'a Search<'a>) -> Result<Self, CopyError> {
        let job = search.copying.job;
        let witnesses = Witnesses::of(job.policy, job.gate, search.found.image());
        let witnesses = witnesses.map_err(|error| search.failed(EvidenceError::from(error)))?;
        Ok(Self { search, witnesses, budget: Budget::new(TOTAL_LIMIT) })
    }

    /// What of `carried` is verified; all else is left, for reasons.
    pub(super) fn keep_verified(&self, carried: Carried) -> Result<Carried, CopyError> {
        let all: Vec<usize> = (0..carried.pieces.len()).collect();
        let judge = |piece: &usize| self.judge(&carried, &carried.pieces[*piece]);
        let standings = self.search.copying.workers.each(&all, judge)?;
        let verified = verified(&carried, &standings);
        let (signatures, left) = self.signatures(&carried)?;
        let manifests = all.iter().map(|piece| carried.manifest_of(*piece));
        let manifests: Vec<usize> = manifests.collect();
        let mut sorting = Sorting { left, ..Sorting::default() };
        sorting.left.extend(carried.left);
        let judged = standings.into_iter().zip(verified);
        for ((piece, judged), manifest) in carried.pieces.into_iter().zip(judged).zip(manifests) {
            let left = self.sort(&mut sorting, piece, manifest, judged)?;
            sorting.left.extend(left);
        }
        Ok(Carried::of_verified(sorting.kept, signatures, sorting.left))
    }

    /// Keeps a piece, or says what of it is left.
    fn sort(
        &self,
        sorting: &mut Sorting,
        piece: Evidence,
        manifest: usize,
        (standing, verified): (Standing, Option<Verified>),
    ) -> Result<Vec<Left>, CopyError> {
        let kind = piece.kind;
        let leave = |(digest, why): (Digest, String)| {
            let why = format!("{NOT_VERIFIED}: {why}");
            Left { manifest, digest, kind, why }
        };
        let of = sorting.place(piece.of);
        let (Some(of), Some(verified)) = (of, verified) else {
            sorting.places.push(None);
            let why = match (of, standing) {
                (Some(_), Standing::Not(why)) => why,
                _ => "what it refers to stays behind".to_owned(),
            };
            return Ok(vec![leave((piece.digest, why))]);
        };
        sorting.places.push(Some(sorting.kept.len()));
        let piece = Evidence { of, ..piece };
        let (piece, unsigned) = match standing {
            Standing::Partly(_, body, unsigned) => (self.reduced(piece, *body)?, unsigned),
            _ => (piece, Vec::new()),
        };
        sorting.kept.push(VerifiedEvidence::new(piece, verified));
        Ok(unsigned.into_iter().map(leave).collect())
    }

    /// The piece with what is signed of it alone.
    fn reduced(&self, piece: Evidence, body: EvidenceBody) -> Result<Evidence, CopyError> {
        let there = match piece.form {
            EvidenceForm::Attached(what) => {
                self.search.attached_there((&piece.subject, what), &body.manifest)?
            }
            EvidenceForm::Referrer => Vec::new(),
        };
        let digest = body.manifest.digest().clone();
        Ok(Evidence { digest, there, body: Some(body), ..piece })
    }

    fn judge(&self, carried: &Carried, piece: &Evidence) -> Result<Standing, CopyError> {
        let (Some(body), Some(subject)) = (&piece.body, self.subject(carried, piece)) else {
            return Ok(Standing::Not("it was not read".to_owned()));
        };
        match piece.form {
            EvidenceForm::Referrer if piece.artifact_type.starts_with(BUNDLE_TYPE) => {
                self.bundle(subject, &body.manifest)
            }
            EvidenceForm::Referrer => Ok(Standing::Not(format!(
                "nothing here judges artifacts of type {:?}, and no verified signature refers to it",
                piece.artifact_type
            ))),
            EvidenceForm::Attached(Attached::Sbom) => {
                Ok(Standing::Not("nothing that is signed says of which image it is".to_owned()))
            }
            EvidenceForm::Attached(what) => self.attached(subject, what, &body.manifest),
        }
    }

    /// The manifest that a piece is evidence of.
    fn subject<'b>(&'b self, carried: &'b Carried, piece: &Evidence) -> Option<&'b RawManifest> {
        match piece.of {
            EvidenceOf::Manifest(manifest) => {
                Some(&self.search.found.manifests()[manifest].subject.manifest)
            }
            EvidenceOf::Evidence(other) => Some(&carried.pieces[other].body.as_ref()?.manifest),
        }
    }

    fn bundle(&self, subject: &RawManifest, artifact: &RawManifest) -> Result<Standing, CopyError> {
        let bundle = match BundleArtifact::bundle_of(artifact, subject.digest()) {
            Ok(bundle) => bundle,
            Err(fault) => return Ok(Standing::Not(fault.to_string())),
        };
        let bytes = self.content(bundle)?;
        Ok(match self.judged(self.witnesses.bundle(subject, &bytes))? {
            Ok(vouched) => Standing::Signed(vouched),
            Err(why) => Standing::Not(why),
        })
    }

    /// Whatever cosign attached has a signature in each layer; anybody may have added some.
    fn attached(
        &self,
        subject: &RawManifest,
        what: Attached,
        manifest: &RawManifest,
    ) -> Result<Standing, CopyError> {
        let attachment = match Attachment::read(manifest.bytes().clone(), Declared::default()) {
            Ok(attachment) => attachment,
            Err(error) => return Ok(Standing::Not(error.to_string())),
        };
        let mut layers = Layers::default();
        for (position, layer) in attachment.layers().iter().enumerate() {
            let payload = self.content(layer)?;
            let signature = match attachment.signature(position, payload) {
                Ok(signature) => signature,
                Err(error) => return Err(self.search.failed(EvidenceError::from(error))),
            };
            let judgement = match what {
                Attached::Attestations => self.witnesses.attestation(subject, &signature),
                _ => self.witnesses.signature(subject, &signature),
            };
            match self.judged(judgement)? {
                Ok(vouched) => layers.signed.push((signature, vouched)),
                Err(why) => layers.left.push((layer.digest.clone(), why)),
            }
        }
        self.of_layers(layers)
    }

    fn of_layers(&self, Layers { mut signed, left }: Layers) -> Result<Standing, CopyError> {
        let Some((_, by)) = signed.first().cloned() else {
            let whys: Vec<String> = left.into_iter().map(|(_, why)| why).collect();
            return Ok(Standing::Not(match whys.is_empty() {
                true => "there is nothing in it".to_owned(),
                false => whys.join("; "),
            }));
        };
        if left.is_empty() {
            return Ok(Standing::Signed(by));
        }
        let signatures: Vec<Signature> = signed.drain(..).map(|(signature, _)| signature).collect();
        let made = Attachment::first(&signatures);
        let made = made.map_err(|error| self.search.failed(EvidenceError::from(error)))?;
        Ok(match made {
            None => Standing::Not("there is nothing in it".to_owned()),
            Some(made) => {
                let config = Some(made.config.bytes);
                let body = EvidenceBody { manifest: made.manifest, parts: Vec::new(), config };
                Standing::Partly(by, Box::new(body), left)
            }
        })
    }

    /// For each manifest, which of the signatures that were read with it are verified; and those that stay behind.
    fn signatures(&self, carried: &Carried) -> Result<(Vec<Vec<bool>>, Vec<Left>), CopyError> {
        let (mut all, mut left) = (Vec::new(), Vec::new());
        for (manifest, found) in self.search.found.manifests().iter().enumerate() {
            let mut travel = Vec::new();
            for signature in found.subject.signatures.as_deref().unwrap_or_default() {
                let judgement = self.witnesses.signature(&found.subject.manifest, signature);
                let judged = self.judged(judgement)?;
                travel.push(judged.is_ok());
                if let (Err(why), Some(kind)) = (judged, kind(carried, manifest, signature)) {
                    let digest = Digest::of(Algorithm::Sha256, &signature.to_blob());
                    let why = format!("{NOT_VERIFIED}: {why}");
                    left.push(Left { manifest, digest, kind, why });
                }
            }
            all.push(travel);
        }
        Ok((all, left))
    }

    /// What cannot be judged is an error; only what was judged can be unverified.
    fn judged(&self, judgement: Judgement) -> Result<Result<Vouched, String>, CopyError> {
        let judged = judgement.map_err(|error| self.search.failed(EvidenceError::from(error)))?;
        Ok(judged.map_err(|why| why.to_string()))
    }

    /// A small blob, whole and verified. One that is larger than any signature was not made by those who make them.
    fn content(&self, blob: &Descriptor) -> Result<Bytes, CopyError> {
        let within = blob.size <= SIGNATURE_LIMIT as u64 && self.budget.take(blob.size).is_ok();
        if !within {
            let (digest, limit) = (blob.digest.clone(), TOTAL_LIMIT);
            let what = format!("{} bytes to be judged", blob.size);
            return Err(self.search.failed(EvidenceError::TooLarge { digest, what, limit }));
        }
        let layer = self.search.reader.from.blob(blob, self.search.reader.scope);
        let read = layer.and_then(|layer| Ok(layer.read_whole()?));
        read.map_err(|error| self.search.failed(error))
    }
}

/// What a signature that stays behind is listed as; those of sigstore are listed with what cosign attached, if that was
/// found.
fn kind(carried: &Carried, manifest: usize, signature: &Signature) -> Option<EvidenceKind> {
    let attached = |piece: &Evidence| {
        piece.of == EvidenceOf::Manifest(manifest)
            && piece.form == EvidenceForm::Attached(Attached::Signatures)
    };
    match signature {
        Signature::Simple(_) => Some(EvidenceKind::SimpleSignature),
        Signature::Sigstore { .. } if carried.pieces.iter().any(attached) => None,
        Signature::Sigstore { .. } => Some(EvidenceKind::SigstoreSignature),
    }
}

/// What is signed, and what a verified signature refers to. Other statements say who knows what about their subject.
fn verified(carried: &Carried, standings: &[Standing]) -> Vec<Option<Verified>> {
    let signed = |standing: &Standing| match standing {
        Standing::Signed(by) | Standing::Partly(by, ..) => Some(Verified::Signed(by.clone())),
        Standing::Not(_) => None,
    };
    let mut verified: Vec<Option<Verified>> = standings.iter().map(signed).collect();
    for (position, piece) in carried.pieces.iter().enumerate().rev() {
        let EvidenceOf::Evidence(other) = piece.of else { continue };
        // What is attached by a tag does not say in its bytes what it is attached to.
        let refers = carried.pieces[other].form == EvidenceForm::Referrer;
        let by = match &verified[position] {
            Some(Verified::Signed(by)) if by.is_signature() && refers => by.clone(),
            _ => continue,
        };
        if verified[other].is_none() {
            verified[other] = Some(Verified::SignedBy { piece: piece.digest.clone(), by });
        }
    }
    verified
}
