//! What became of evidence, for people and for machines.

use securecp_copy::{
    Counts, EvidenceFate, EvidenceKind, EvidenceReceipt, Plan, Skipped, WrittenImage,
};
use serde_json::{Value, json};

/// What becomes of each piece, before anything is done.
pub(crate) fn planned_json(plan: &Plan) -> Vec<Value> {
    planned(plan).iter().map(Planned::json).collect()
}

/// The same as rows of the table.
pub(crate) fn planned_rows(plan: &Plan) -> Vec<[String; 3]> {
    planned(plan).iter().map(Planned::row).collect()
}

/// A piece in a plan.
struct Planned {
    digest: String,
    subject: String,
    kind: &'static str,
    artifact_type: String,
    action: &'static str,
    why: Option<String>,
    verified: Option<String>,
}

/// Pieces of evidence, then what no route can carry, then the attestations that leave their index; those that stay in it
/// are among its manifests.
fn planned(plan: &Plan) -> Vec<Planned> {
    let pieces = plan.evidence().iter().map(|one| {
        let piece = plan.piece(one.work);
        Planned {
            digest: piece.digest.to_string(),
            subject: piece.subject.to_string(),
            kind: piece.kind.name(),
            artifact_type: piece.artifact_type.clone(),
            action: match one.fate {
                EvidenceFate::Put(_) | EvidenceFate::AsSignatures => "copy",
                EvidenceFate::There => "keep",
                _ => "leave",
            },
            why: one.fate.why(),
            verified: piece.verified.as_ref().map(ToString::to_string),
        }
    });
    let left = plan.carried().iter().zip(plan.admitted()).flat_map(|(carried, admitted)| {
        let manifests = admitted.found().manifests();
        carried.left().iter().map(|left| Planned {
            digest: left.digest.to_string(),
            subject: manifests[left.manifest].subject.manifest.digest().to_string(),
            kind: left.kind.name(),
            artifact_type: String::new(),
            action: "leave",
            why: Some(left.why.clone()),
            verified: None,
        })
    });
    pieces.chain(left).chain(left_attestations(plan)).collect()
}

fn left_attestations(plan: &Plan) -> impl Iterator<Item = Planned> {
    plan.attestations().iter().filter_map(|one| {
        Some(Planned {
            digest: plan.found(one.found).subject.manifest.digest().to_string(),
            subject: one.subject.to_string(),
            kind: EvidenceKind::Attestation.name(),
            artifact_type: String::new(),
            action: "leave",
            why: Some(one.fate.why()?),
            verified: None,
        })
    })
}

impl Planned {
    fn json(&self) -> Value {
        json!({
            "action": self.action,
            "digest": self.digest,
            "subject": self.subject,
            "type": self.kind,
            "artifactType": self.artifact_type,
            "why": self.why,
            "verified": self.verified,
        })
    }

    fn row(&self) -> [String; 3] {
        let why = self.why.as_ref().map(|why| format!(", because {why}")).unwrap_or_default();
        let verified = self.verified.as_deref().unwrap_or("unverified");
        let what = format!("{} {} of {}, {verified}{why}", self.kind, self.digest, self.subject);
        [self.action.to_owned(), String::new(), what]
    }
}

/// The receipt of one image.
pub(crate) fn receipt(plan: &Plan, image: &WrittenImage) -> EvidenceReceipt {
    EvidenceReceipt::of(plan, image.route, image.storage)
}

/// The receipt as a part of a result.
pub(crate) fn to_json(receipt: &EvidenceReceipt) -> Value {
    let mut value = counts(receipt.total());
    let rows = receipt.rows.iter().map(|row| {
        let mut value = counts(row.counts);
        value["platform"] = json!(row.platform);
        value["type"] = json!(row.kind.name());
        value
    });
    value["verified"] = json!(receipt.verified);
    value["rows"] = json!(rows.collect::<Vec<_>>());
    let skipped = receipt.skipped.iter().map(|one| {
        json!({
            "digest": one.digest.to_string(),
            "manifest": one.manifest.to_string(),
            "type": one.kind.name(),
            "why": one.why,
        })
    });
    value["skippedPieces"] = json!(skipped.collect::<Vec<_>>());
    value
}

fn counts(counts: Counts) -> Value {
    json!({
        "found": counts.found,
        "carried": counts.carried,
        "alreadyThere": counts.there,
        "skipped": counts.skipped,
    })
}

/// The receipt in a sentence; `None` where there was no evidence.
pub(crate) fn sentence(receipt: &EvidenceReceipt) -> Option<String> {
    let Counts { found, carried, there, skipped } = receipt.total();
    let judged = if receipt.verified { "verified" } else { "unverified" };
    (found > 0).then(|| {
        format!(
            "evidence, {judged}: {found} found, {carried} carried, {there} there already, {skipped} left behind"
        )
    })
}

/// What was left behind, as a warning.
pub(crate) fn warning(skipped: &Skipped) -> String {
    let Skipped { kind, digest, manifest, why } = skipped;
    format!("{kind} {digest} of {manifest} stays behind: {why}")
}
