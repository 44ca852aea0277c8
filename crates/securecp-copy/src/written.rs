use std::collections::BTreeSet;

use securecp_oci::{Digest, RawManifest};

use crate::job::{Changed, Written, WrittenImage, WrittenName};
use crate::plan::{ManifestWork, Node, NodeId, Plan, PlannedName, Produced, Work};

/// What was put for each node: the manifest that it is, and what refers to the manifest that it is about.
type Put<'a> = (&'a [Option<RawManifest>], &'a [Vec<RawManifest>]);

/// What a plan came to.
pub(crate) fn written(plan: &Plan, put: Put<'_>, sent_bytes: u64) -> Written {
    let mut images = Vec::new();
    let mut seen = BTreeSet::new();
    for name in plan.names().iter().filter(|name| seen.insert((name.name.route, name.storage))) {
        images.extend(image(plan, name, put));
    }
    images.sort_by_key(|image| (image.route, image.storage));
    let names = plan.names().iter().filter_map(|name| self::name(plan, name, put.0));
    Written { images, names: names.collect(), sent_bytes }
}

fn image(plan: &Plan, name: &PlannedName, (manifests, artifacts): Put<'_>) -> Option<WrittenImage> {
    let nodes = below(plan.nodes(), name.root);
    let put = |id: &NodeId| manifests[id.0].as_ref();
    let changed = nodes.iter().filter_map(|id| {
        change(plan, &plan.nodes()[id.0], (put(id)?, records(plan, *id, artifacts)))
    });
    Some(WrittenImage {
        route: name.name.route,
        storage: name.storage,
        root: put(&name.root)?.clone(),
        manifests: nodes.iter().filter_map(put).map(|manifest| manifest.digest().clone()).collect(),
        changed: changed.collect(),
    })
}

fn name(
    plan: &Plan,
    planned: &PlannedName,
    manifests: &[Option<RawManifest>],
) -> Option<WrittenName> {
    let digest = manifests[planned.root.0].as_ref()?.digest().clone();
    let moved = planned.name.now.as_ref() != Some(&digest);
    Some(WrittenName { name: plan.shown(planned), digest, moved })
}

/// The manifests that a root names, and itself, children first.
fn below(nodes: &[Node], root: NodeId) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if let (Work::Manifest(work), true) = (&nodes[id.0].work, found.insert(id)) {
            open.extend(work.entries.iter().map(|(_, entry)| *entry));
        }
    }
    found
}

/// What was put to record the change of one manifest.
fn records(plan: &Plan, manifest: NodeId, artifacts: &[Vec<RawManifest>]) -> Vec<Digest> {
    let nodes = plan.nodes().iter().zip(artifacts);
    let ours = nodes
        .filter(|(node, _)| matches!(&node.work, Work::Record(work) if work.manifest == manifest));
    ours.flat_map(|(_, put)| put).map(|artifact| artifact.digest().clone()).collect()
}

fn change(
    plan: &Plan,
    node: &Node,
    (made, records): (&RawManifest, Vec<Digest>),
) -> Option<Changed> {
    let Work::Manifest(ManifestWork { produced: Produced::Made(reasons), found, .. }) = &node.work
    else {
        return None;
    };
    let from = plan.found(*found).subject.manifest.digest().clone();
    Some(Changed { from, to: made.digest().clone(), reasons: reasons.clone(), records })
}
