//! A plan as a table for people and as JSON for machines.

use std::fmt::Write;

use indicatif::{BinaryBytes, HumanBytes};
use securecp_copy::{
    BlobAction, BlobWork, Change, CompressionMemory, EvidenceFate, EvidenceForm, ManifestWork,
    NodeId, Plan, PlannedName, Produced, Work,
};
use securecp_oci::{Attached, Digest, Signature};
use serde_json::{Value, json};

use crate::evidence_view;

/// The plan as JSON.
pub(crate) fn to_json(plan: &Plan) -> Value {
    let mut value = body(plan);
    match (sources(plan).as_slice(), destinations(plan).as_slice()) {
        ([source], [destination]) => {
            value["source"] = json!(source);
            value["destination"] = json!(destination);
            let digest = plan.names().first().and_then(|name| plan.digest_of(name));
            value["digest"] = json!(digest.map(Digest::to_string));
        }
        (sources, destinations) => {
            value["sources"] = json!(sources);
            value["destinations"] = json!(destinations);
        }
    }
    value
}

fn body(plan: &Plan) -> Value {
    json!({
        "dryRun": true,
        "bytesToMove": plan.bytes_to_move(),
        "requestsExpected": plan.requests_expected(),
        "compression": plan.compression_memory().map(|memory| compression_json(&memory)),
        "blobs": blobs(plan).map(blob_json).collect::<Vec<_>>(),
        "manifests": manifests(plan).map(|work| manifest_json(plan, work)).collect::<Vec<_>>(),
        "signatures": signatures(plan).iter().map(Signatures::json).collect::<Vec<_>>(),
        "evidence": evidence_view::planned_json(plan),
        "records": plan.records().map(|work| record_json(plan, work)).collect::<Vec<_>>(),
        "names": names(plan).map(|name| name.json()).collect::<Vec<_>>(),
    })
}

/// The plan as a table.
pub(crate) fn to_text(plan: &Plan) -> String {
    let mut rows = vec![["ACTION", "SIZE", "WHAT"].map(str::to_owned)];
    rows.extend(blobs(plan).map(blob_row));
    rows.extend(manifests(plan).map(|work| manifest_row(plan, work)));
    rows.extend(signatures(plan).iter().flat_map(Signatures::rows));
    rows.extend(evidence_view::planned_rows(plan));
    rows.extend(plan.records().map(|work| record_row(plan, work)));
    rows.extend(names(plan).map(|name| name.row()));
    let mut table = format!("plan: {}, nothing is changed\n", title(plan));
    rows.iter().for_each(|[action, size, what]| {
        let _ = writeln!(table, "{action:<8} {size:>11}  {what}");
    });
    let (bytes, requests) = (HumanBytes(plan.bytes_to_move()), plan.requests_expected());
    let _ = match requests {
        0 => writeln!(table, "{bytes} to move"),
        1 => writeln!(table, "{bytes} to move, 1 request expected"),
        requests => writeln!(table, "{bytes} to move, {requests} requests expected"),
    };
    if let Some(memory) = plan.compression_memory() {
        let (layers, each) = (memory.layers(), BinaryBytes(memory.layer_bytes));
        let budget = BinaryBytes(memory.budget_bytes);
        let _ =
            writeln!(table, "at most {layers} layers compressed at once, {each} of {budget} each");
    }
    table
}

fn compression_json(memory: &CompressionMemory) -> Value {
    json!({
        "budgetBytes": memory.budget_bytes,
        "layerBytes": memory.layer_bytes,
        "layersAtOnce": memory.layers(),
    })
}

fn title(plan: &Plan) -> String {
    match (sources(plan).as_slice(), destinations(plan).as_slice()) {
        ([source], [destination]) => format!("{source} to {destination}"),
        ([source], destinations) => format!("{source} to {} destinations", destinations.len()),
        (sources, _) => format!("{} images to {} names", sources.len(), plan.names().len()),
    }
}

fn sources(plan: &Plan) -> Vec<&str> {
    plan.admitted().iter().map(|admitted| admitted.found().source_name()).collect()
}

/// Each destination once, without its further tags.
fn destinations(plan: &Plan) -> Vec<&str> {
    let own = plan.names().iter().filter(|name| name.name.tag.is_none());
    own.map(|name| name.name.destination.as_str()).collect()
}

fn blobs(plan: &Plan) -> impl Iterator<Item = &BlobWork> {
    plan.nodes().iter().filter_map(|node| match &node.work {
        Work::Blob(work) => Some(work),
        _ => None,
    })
}

fn manifests(plan: &Plan) -> impl Iterator<Item = &ManifestWork> {
    plan.nodes().iter().filter_map(|node| match &node.work {
        Work::Manifest(work) => Some(work),
        _ => None,
    })
}

/// What becomes of the signatures of one manifest.
struct Signatures {
    manifest: Digest,
    /// They travel with it.
    carried: usize,
    /// They are made for its new place.
    new: usize,
    /// They stay behind.
    left: usize,
    /// Whether bundles are made for it.
    bundled: bool,
}

/// Manifests without any signature are left out.
fn signatures(plan: &Plan) -> Vec<Signatures> {
    let works = plan.nodes().iter().filter_map(|node| match &node.work {
        Work::Signatures(work) => Some(work),
        _ => None,
    });
    let works: Vec<_> = works.collect();
    let of = |(id, manifest): (NodeId, &ManifestWork)| {
        let subject = &plan.found(manifest.found).subject;
        let work = works.iter().find(|work| work.manifest == id);
        let carried = work.map_or(0, |work| work.carried.len());
        let found = subject.signatures.as_deref().unwrap_or_default().iter();
        let as_evidence = travels_as_evidence(plan, subject.manifest.digest());
        let there = found.filter(|one| matches!(one, Signature::Simple(_)) || !as_evidence);
        let there = there.count();
        Signatures {
            manifest: subject.manifest.digest().clone(),
            carried,
            new: work.map_or(0, |work| work.identities.len()),
            left: there.saturating_sub(carried),
            bundled: work.is_some_and(|work| !work.bundlers.is_empty()),
        }
    };
    let manifests = plan.nodes().iter().enumerate().filter_map(|(id, node)| match &node.work {
        Work::Manifest(work) => Some((NodeId(id), work)),
        _ => None,
    });
    let all = manifests.map(of);
    all.filter(|signatures| {
        signatures.bundled || signatures.carried + signatures.new + signatures.left > 0
    })
    .collect()
}

/// Whether the sigstore signatures of a manifest travel with what cosign attached.
fn travels_as_evidence(plan: &Plan, manifest: &Digest) -> bool {
    let attached = EvidenceForm::Attached(Attached::Signatures);
    plan.evidence().iter().any(|one| {
        let piece = plan.piece(one.work);
        let travels = matches!(one.fate, EvidenceFate::Put(_) | EvidenceFate::There);
        piece.form == attached && piece.subject == *manifest && travels
    })
}

impl Signatures {
    fn json(&self) -> Value {
        json!({
            "manifest": self.manifest.to_string(),
            "carried": self.carried,
            "new": self.new,
            "left": self.left,
            "bundled": self.bundled,
        })
    }

    fn rows(&self) -> Vec<[String; 3]> {
        let counts = [("copy", self.carried), ("sign", self.new), ("leave", self.left)];
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        some.map(|(action, count)| {
            let what = match (action, count) {
                ("sign", 1) => format!("{} under a name", self.manifest),
                ("sign", count) => format!("{} under {count} names", self.manifest),
                (_, 1) => format!("1 signature of {}", self.manifest),
                (_, count) => format!("{count} signatures of {}", self.manifest),
            };
            [action.to_owned(), String::new(), what]
        })
        .chain(
            self.bundled.then(|| {
                ["sign".to_owned(), String::new(), format!("{} in a bundle", self.manifest)]
            }),
        )
        .collect()
    }
}

/// What happens to a blob, in one word.
fn action(action: &BlobAction) -> &'static str {
    match action {
        BlobAction::There => "keep",
        BlobAction::Elsewhere => "leave",
        BlobAction::Copy { mount_from } if mount_from.is_empty() => "copy",
        BlobAction::Copy { .. } => "mount",
    }
}

fn blob_row(work: &BlobWork) -> [String; 3] {
    let changes: String = changes(work).iter().map(|change| format!(", {change}")).collect();
    let what = format!("blob {}{changes}", work.source.digest);
    [action(&work.action).to_owned(), HumanBytes(work.source.size).to_string(), what]
}

/// What happens to a blob's bytes, in order.
fn changes(work: &BlobWork) -> Vec<String> {
    let changes = work.changes.iter().map(|change| match change {
        Change::Decrypted => "decrypted".to_owned(),
        Change::Recompressed(to) => format!("recompressed to {to}"),
        Change::Encrypted => "encrypted".to_owned(),
    });
    changes.chain(work.made.as_ref().map(|_| "converted".to_owned())).collect()
}

fn blob_json(work: &BlobWork) -> Value {
    let from: Vec<String> = match &work.action {
        BlobAction::Copy { mount_from } => mount_from.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    json!({
        "action": action(&work.action),
        "digest": work.source.digest.to_string(),
        "mediaType": work.source.media_type.to_string(),
        "size": work.source.size,
        "mountFrom": from,
        "changes": changes(work),
    })
}

fn manifest_json(plan: &Plan, work: &ManifestWork) -> Value {
    let found = &plan.found(work.found).subject.manifest;
    let reasons: Vec<String> = match &work.produced {
        Produced::Kept(_) => Vec::new(),
        Produced::Made(reasons) => reasons.iter().map(ToString::to_string).collect(),
    };
    json!({
        "action": if work.there { "keep" } else { "copy" },
        "sourceDigest": found.digest().to_string(),
        "digest": kept(work).map(Digest::to_string),
        "mediaType": found.media_type().to_string(),
        "size": found.size(),
        "changes": reasons,
    })
}

fn manifest_row(plan: &Plan, work: &ManifestWork) -> [String; 3] {
    let found = &plan.found(work.found).subject.manifest;
    let change = match &work.produced {
        Produced::Kept(_) => String::new(),
        Produced::Made(reasons) => {
            let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!(", gets another digest: {}", texts.join(", "))
        }
    };
    let action = if work.there { "keep" } else { "copy" };
    let what = format!("manifest {}{change}", found.digest());
    [action.to_owned(), HumanBytes(found.size()).to_string(), what]
}

/// The change of one manifest that will be recorded, by the digest that it has now.
fn record_json(plan: &Plan, work: &ManifestWork) -> Value {
    json!({"sourceDigest": plan.found(work.found).subject.manifest.digest().to_string()})
}

fn record_row(plan: &Plan, work: &ManifestWork) -> [String; 3] {
    let digest = plan.found(work.found).subject.manifest.digest();
    ["sign".to_owned(), String::new(), format!("a record of how {digest} changes")]
}

fn kept(work: &ManifestWork) -> Option<&Digest> {
    match &work.produced {
        Produced::Kept(digest) => Some(digest),
        Produced::Made(_) => None,
    }
}

/// One name at the destination, now and then.
struct Name<'a> {
    name: String,
    now: Option<&'a Digest>,
    then: Option<&'a Digest>,
}

fn names(plan: &Plan) -> impl Iterator<Item = Name<'_>> {
    plan.names().iter().map(|planned| Name {
        name: name(plan, planned),
        now: planned.name.now.as_ref(),
        then: plan.digest_of(planned),
    })
}

/// A tag beside the only destination needs no more than its own name.
fn name(plan: &Plan, planned: &PlannedName) -> String {
    match (&planned.name.tag, destinations(plan).len()) {
        (Some(tag), 1) => format!("tag {tag}"),
        _ => plan.shown(planned),
    }
}

impl Name<'_> {
    fn moves(&self) -> bool {
        self.then.is_none() || self.now != self.then
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "moves": self.moves(),
            "from": self.now.map(Digest::to_string),
            "to": self.then.map(Digest::to_string),
        })
    }

    fn row(&self) -> [String; 3] {
        let action = match (self.moves(), self.now) {
            (false, _) => "keep",
            (true, None) => "name",
            (true, Some(_)) => "rename",
        };
        let then = self.then.map_or_else(|| "the new manifest".to_owned(), Digest::to_string);
        let now = match self.now {
            Some(now) if self.moves() => format!(" (was {now})"),
            _ => String::new(),
        };
        [action.to_owned(), String::new(), format!("{} -> {then}{now}", self.name)]
    }
}
