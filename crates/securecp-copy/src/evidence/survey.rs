use std::collections::HashSet;

use securecp_oci::{Attached, Descriptor, Digest, RawManifest, WithCauses};
use securecp_transport::{Destination, TransportError};
use securecp_trust::Admitted;

use super::read::{Reader, artifact_type};
use super::verified::Judging;
use super::{
    Carried, Evidence, EvidenceBody, EvidenceChoice, EvidenceError, EvidenceForm, EvidenceKind,
    EvidenceOf, Left, limits,
};
use crate::budget::Budget;
use crate::error::{Cause, CopyError, Phase, Side};
use crate::job::Copying;
use crate::survey::Found;

/// Looks for the evidence of everything that was admitted.
pub(crate) fn survey(
    copying: &Copying<'_>,
    admitted: &[Admitted<Found>],
) -> Result<Vec<Carried>, CopyError> {
    let routes: Vec<usize> = (0..admitted.len()).collect();
    if copying.job.edits.evidence.which == EvidenceChoice::None {
        return Ok(routes.iter().map(|_| Carried::default()).collect());
    }
    copying.workers.each(&routes, |route| {
        let search = Search::new(copying, *route, admitted[*route].found());
        match copying.job.edits.evidence.which {
            EvidenceChoice::Verified => {
                let judging = Judging::new(&search)?;
                judging.keep_verified(search.run()?)
            }
            _ => search.run(),
        }
    })
}

/// The search for the evidence of one route.
pub(super) struct Search<'a> {
    pub(super) copying: &'a Copying<'a>,
    pub(super) found: &'a Found,
    pub(super) reader: Reader<'a>,
    /// The storages that the route leads to and that have room for evidence.
    storages: Vec<(usize, &'a dyn Destination)>,
}

/// Something that may have evidence.
struct Place {
    of: EvidenceOf,
    digest: Digest,
}

/// What stands beside one place.
#[derive(Default)]
struct Beside {
    pieces: Vec<Evidence>,
    left: Vec<(Digest, EvidenceKind, String)>,
}

impl Beside {
    fn filled(fill: impl Fn(&mut Self) -> Result<(), CopyError>) -> Result<Self, CopyError> {
        let mut beside = Self::default();
        fill(&mut beside).map(|()| beside)
    }

    fn and(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self.left.extend(other.left);
        self
    }
}

impl<'a> Search<'a> {
    fn new(copying: &'a Copying<'a>, route: usize, found: &'a Found) -> Self {
        let job = copying.job;
        let storages = copying.storages.iter().enumerate();
        let storages = storages.filter(|(_, storage)| storage.routes().contains(&route));
        let storages = storages.map(|(position, storage)| (position, storage.to));
        let reader = Reader {
            from: job.routes[route].from,
            types: &job.edits.evidence.types,
            scope: job.scope,
            budget: Budget::new(limits::MEMORY),
        };
        let storages = storages.filter(|(_, to)| to.accepts().evidence).collect();
        Self { copying, found, reader, storages }
    }

    /// Level by level: what stands beside the images, then what stands beside that. Every digest is looked at once, so
    /// that no list can lead in a circle.
    fn run(&self) -> Result<Carried, CopyError> {
        let mut carried = Carried::default();
        let mut seen = HashSet::new();
        let manifests = self.found.manifests().iter().enumerate().map(|(position, found)| Place {
            of: EvidenceOf::Manifest(position),
            digest: found.subject.manifest.digest().clone(),
        });
        let mut level: Vec<Place> =
            manifests.filter(|place| seen.insert(place.digest.clone())).collect();
        for _ in 0..=limits::DEPTH {
            if level.is_empty() {
                return Ok(carried);
            }
            let beside = self.copying.workers.each(&level, |place| self.beside(place))?;
            let mut next = Vec::new();
            for (place, beside) in level.iter().zip(beside) {
                self.take(&mut carried, place, beside, (&mut seen, &mut next))?;
            }
            level = next;
        }
        let (manifest, limit) = (self.root(), limits::DEPTH);
        self.bound(EvidenceError::TooDeep { manifest, limit }).map(|()| carried)
    }

    fn take(
        &self,
        carried: &mut Carried,
        place: &Place,
        beside: Beside,
        (seen, next): (&mut HashSet<Digest>, &mut Vec<Place>),
    ) -> Result<(), CopyError> {
        let manifest = match place.of {
            EvidenceOf::Manifest(manifest) => manifest,
            EvidenceOf::Evidence(piece) => carried.manifest_of(piece),
        };
        let left = beside.left.into_iter();
        carried.left.extend(left.map(|(digest, kind, why)| Left { manifest, digest, kind, why }));
        for piece in beside.pieces {
            // What is copied as an image was judged as one.
            let new = seen.insert(piece.digest.clone());
            if !new && piece.form == EvidenceForm::Referrer {
                continue;
            }
            if carried.pieces.len() == limits::PIECES {
                let (manifest, limit) = (self.root(), limits::PIECES);
                return self.bound(EvidenceError::TooMany { manifest, limit });
            }
            if new {
                let of = EvidenceOf::Evidence(carried.pieces.len());
                next.push(Place { of, digest: piece.digest.clone() });
            }
            carried.pieces.push(piece);
        }
        Ok(())
    }

    /// A bound was met: an error, or a warning where evidence is not expected to be complete.
    fn bound(&self, error: EvidenceError) -> Result<(), CopyError> {
        if !self.lenient() {
            return Err(self.failed(error));
        }
        tracing::warn!(%error, "evidence is left behind");
        Ok(())
    }

    fn lenient(&self) -> bool {
        self.copying.job.edits.evidence.lenient
    }

    fn root(&self) -> Digest {
        self.found.manifests()[0].subject.manifest.digest().clone()
    }

    fn beside(&self, place: &Place) -> Result<Beside, CopyError> {
        let referrers = |beside: &mut _| self.or_warn(place, self.referrers(place, beside));
        let attached = |beside: &mut _| {
            let mut all = Attached::ALL.into_iter();
            all.try_for_each(|what| self.or_warn(place, self.attached(place, what, beside)))
        };
        // The list of tags, by which it is known what is attached, comes while it is asked what refers to the place.
        let workers = &self.copying.workers;
        let (referrers, attached) =
            workers.both(|| Beside::filled(referrers), || Beside::filled(attached));
        Ok(referrers?.and(attached?))
    }

    /// What cannot be looked up is an error, or a warning where evidence is not expected to be complete.
    fn or_warn(&self, place: &Place, looked: Result<(), CopyError>) -> Result<(), CopyError> {
        match looked {
            Err(error) if self.lenient() && !error.is_stopped() => {
                let why = WithCauses(&error).to_string();
                tracing::warn!(why, manifest = %place.digest, "evidence could not be looked up");
                Ok(())
            }
            other => other,
        }
    }

    fn referrers(&self, place: &Place, beside: &mut Beside) -> Result<(), CopyError> {
        let subject = &place.digest;
        let listed = self.reader.from.referrers(subject, self.reader.scope);
        let mut listed = listed.map_err(|error| self.failed(error))?;
        if listed.len() > limits::PIECES {
            let (manifest, limit) = (subject.clone(), limits::PIECES);
            return Err(self.failed(EvidenceError::TooMany { manifest, limit }));
        }
        // A list need not say what it lists; what it does not say is read.
        listed.retain(|e| e.artifact_type.is_none() || self.wants(place, listed_kind(e)));
        if listed.is_empty() {
            return Ok(());
        }
        let there = self.there(subject, &listed)?;
        let items: Vec<_> = listed.into_iter().zip(there).collect();
        let read = self.copying.workers.each(&items, |(entry, there)| {
            // What is there wherever the route leads need not be read, unless it is to be judged.
            let everywhere = !there.is_empty() && there.len() == self.storages.len();
            let judged = self.copying.job.edits.evidence.which == EvidenceChoice::Verified;
            let read = (judged || !everywhere).then(|| self.reader.referrer(entry, subject));
            self.or_left(read.transpose())
        })?;
        for ((entry, there), read) in items.into_iter().zip(read) {
            match read {
                Ok(body) => {
                    let piece = referrer(place, &entry, there, body);
                    beside.pieces.extend(Some(piece).filter(|piece| self.wants(place, piece.kind)));
                }
                Err(why) => beside.left.push((entry.digest.clone(), listed_kind(&entry), why)),
            }
        }
        Ok(())
    }

    /// Evidence that cannot be carried ends the copy, or stays behind for a reason that is told.
    fn or_left<T>(&self, read: Result<T, Cause>) -> Result<Result<T, String>, CopyError> {
        match read {
            Ok(found) => Ok(Ok(found)),
            Err(Cause::Evidence(error)) if self.lenient() => Ok(Err(error.to_string())),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// For each entry the storages that have it.
    fn there(&self, subject: &Digest, listed: &[Descriptor]) -> Result<Vec<Vec<usize>>, CopyError> {
        let mut there = vec![Vec::new(); listed.len()];
        for (storage, to) in &self.storages {
            let has = to.has_referrers(subject, listed, self.reader.scope);
            let has = has.map_err(|error| failed_there(*to, error))?;
            for (there, _) in there.iter_mut().zip(has).filter(|(_, has)| *has) {
                there.push(*storage);
            }
        }
        Ok(there)
    }

    fn attached(
        &self,
        place: &Place,
        what: Attached,
        beside: &mut Beside,
    ) -> Result<(), CopyError> {
        let kind = EvidenceKind::of_attached(what);
        if !self.wants(place, kind) {
            return Ok(());
        }
        let subject = &place.digest;
        let found = self.reader.from.attached(subject, what, self.reader.scope);
        let Some(found) = found.map_err(|error| self.failed(error))? else { return Ok(()) };
        let digest = found.digest().clone();
        match self.or_left(self.reader.attached(found, (subject, what)))? {
            Err(why) => beside.left.push((digest, kind, why)),
            Ok(body) => beside.pieces.push(Evidence {
                of: place.of,
                subject: subject.clone(),
                form: EvidenceForm::Attached(what),
                digest,
                kind,
                artifact_type: artifact_type(&body.manifest),
                there: self.attached_there((subject, what), &body.manifest)?,
                body: Some(body),
                verified: None,
            }),
        }
        Ok(())
    }

    pub(super) fn attached_there(
        &self,
        subject: (&Digest, Attached),
        manifest: &RawManifest,
    ) -> Result<Vec<usize>, CopyError> {
        let mut there = Vec::new();
        for (storage, to) in &self.storages {
            let has = to.has_attached(subject, manifest, self.reader.scope);
            if has.map_err(|error| failed_there(*to, error))? {
                there.push(*storage);
            }
        }
        Ok(there)
    }

    /// Beside a signature everything is wanted: a time stamp, for example.
    fn wants(&self, place: &Place, kind: EvidenceKind) -> bool {
        let beside_evidence = matches!(place.of, EvidenceOf::Evidence(_));
        match self.copying.job.edits.evidence.which {
            EvidenceChoice::All | EvidenceChoice::Verified => true,
            EvidenceChoice::Signatures => beside_evidence || kind.is_signature(),
            EvidenceChoice::None => false,
        }
    }

    pub(super) fn failed(&self, cause: impl Into<Cause>) -> CopyError {
        CopyError {
            phase: Phase::Evidence,
            side: Some(Side::Source),
            place: self.reader.from.name(),
            cause: cause.into(),
        }
    }
}

fn failed_there(to: &dyn Destination, error: TransportError) -> CopyError {
    CopyError::transport(Phase::Evidence, Side::Destination, to.name(), error)
}

fn listed_kind(entry: &Descriptor) -> EvidenceKind {
    let artifact_type = entry.artifact_type.as_deref().unwrap_or_default();
    EvidenceKind::of_referrer(artifact_type, &entry.annotations)
}

/// What the manifest itself says goes before what a list says of it.
fn referrer(
    place: &Place,
    listed: &Descriptor,
    there: Vec<usize>,
    body: Option<EvidenceBody>,
) -> Evidence {
    let described = body.as_ref().map(|body| body.manifest.as_referrer());
    let described = described.as_ref().unwrap_or(listed);
    Evidence {
        of: place.of,
        subject: place.digest.clone(),
        form: EvidenceForm::Referrer,
        digest: listed.digest.clone(),
        kind: listed_kind(described),
        artifact_type: described.artifact_type.clone().unwrap_or_default(),
        body,
        verified: None,
        there,
    }
}
