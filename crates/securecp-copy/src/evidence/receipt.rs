use std::collections::BTreeMap;

use securecp_oci::Digest;

use super::EvidenceKind;
use crate::plan::{EvidenceFate, Plan};
use crate::survey::Found;

/// What became of the evidence of one image in one storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceReceipt {
    /// Whether only what is verified was carried.
    pub verified: bool,
    /// By platform and kind.
    pub rows: Vec<ReceiptRow>,
    /// What stays at the source, and why.
    pub skipped: Vec<Skipped>,
}

/// Evidence of one kind for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// `OS/ARCH[/VARIANT]`; `index` for the index itself, `image` for an image that is in none.
    pub platform: String,
    /// What it is.
    pub kind: EvidenceKind,
    /// How much there is of it.
    pub counts: Counts,
}

/// Numbers of pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Found at the source.
    pub found: usize,
    /// Put at the destination.
    pub carried: usize,
    /// There before.
    pub there: usize,
    /// Left behind.
    pub skipped: usize,
}

/// A piece that stays at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: EvidenceKind,
    /// The manifest that it is evidence of, directly or not.
    pub manifest: Digest,
    /// Why it stays.
    pub why: String,
}

impl EvidenceReceipt {
    /// All rows together.
    pub fn total(&self) -> Counts {
        self.rows.iter().fold(Counts::default(), |sum, row| Counts {
            found: sum.found + row.counts.found,
            carried: sum.carried + row.counts.carried,
            there: sum.there + row.counts.there,
            skipped: sum.skipped + row.counts.skipped,
        })
    }

    /// What `plan` does with the evidence of one route in one storage.
    pub fn of(plan: &Plan, route: usize, storage: usize) -> Self {
        let mut making = Making { plan, route, rows: BTreeMap::new(), skipped: Vec::new() };
        let carried = &plan.carried()[route];
        let pieces = plan.evidence().iter();
        let pieces = pieces.filter(|one| one.storage == storage && one.work.route == route);
        for one in pieces {
            let piece = &carried.pieces()[one.work.piece];
            let manifest = carried.manifest_of(one.work.piece);
            making.count(manifest, piece.kind, &one.fate);
            if let Some(why) = one.fate.why() {
                let manifest = making.digest(manifest);
                making.skip(manifest, (piece.digest.clone(), piece.kind), why);
            }
        }
        for left in carried.left() {
            let counts = making.row(left.manifest, left.kind);
            counts.found += 1;
            counts.skipped += 1;
            let manifest = making.digest(left.manifest);
            making.skip(manifest, (left.digest.clone(), left.kind), left.why.clone());
        }
        making.attestations(storage);
        making.done()
    }
}

struct Making<'a> {
    plan: &'a Plan,
    route: usize,
    rows: BTreeMap<(String, EvidenceKind), Counts>,
    skipped: Vec<Skipped>,
}

impl Making<'_> {
    fn row(&mut self, manifest: usize, kind: EvidenceKind) -> &mut Counts {
        let platform = platform(self.plan.admitted()[self.route].found(), manifest);
        self.rows.entry((platform, kind)).or_default()
    }

    fn count(&mut self, manifest: usize, kind: EvidenceKind, fate: &EvidenceFate) {
        let counts = self.row(manifest, kind);
        counts.found += 1;
        match fate {
            EvidenceFate::There => counts.there += 1,
            EvidenceFate::Put(_) | EvidenceFate::AsSignatures => counts.carried += 1,
            _ => counts.skipped += 1,
        }
    }

    fn digest(&self, manifest: usize) -> Digest {
        let found = self.plan.admitted()[self.route].found();
        found.manifests()[manifest].subject.manifest.digest().clone()
    }

    fn skip(&mut self, manifest: Digest, (digest, kind): (Digest, EvidenceKind), why: String) {
        self.skipped.push(Skipped { digest, kind, manifest, why });
    }

    /// Attestations that travel as entries of the index.
    fn attestations(&mut self, storage: usize) {
        let (plan, route) = (self.plan, self.route);
        let ours = plan.attestations().iter();
        for one in ours.filter(|one| one.storage == storage && one.found.route == route) {
            self.count(one.found.manifest, EvidenceKind::Attestation, &one.fate);
            if let Some(why) = one.fate.why() {
                let digest = plan.found(one.found).subject.manifest.digest().clone();
                self.skip(one.subject.clone(), (digest, EvidenceKind::Attestation), why);
            }
        }
    }

    fn done(self) -> EvidenceReceipt {
        let rows = self.rows.into_iter();
        let rows = rows.map(|((platform, kind), counts)| ReceiptRow { platform, kind, counts });
        let verified = self.plan.carried()[self.route].is_judged();
        EvidenceReceipt { verified, rows: rows.collect(), skipped: self.skipped }
    }
}

/// The platform of a manifest, by the index that names it.
fn platform(found: &Found, manifest: usize) -> String {
    let manifests = found.manifests();
    let named = manifests.iter().find_map(|parent| {
        let (position, _) = parent.entries.iter().find(|(_, child)| *child == manifest)?;
        parent.platform(*position)
    });
    let kind =
        if manifests[manifest].subject.manifest.index().is_some() { "index" } else { "image" };
    named.unwrap_or_else(|| kind.to_owned())
}
