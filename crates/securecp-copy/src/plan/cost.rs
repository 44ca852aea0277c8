use securecp_layer::{Compression, Workers};
use securecp_oci::Signature;
use securecp_transport::Requests;

use crate::edits::{Edits, Recompression};
use crate::plan::{BlobAction, BlobWork, Change, Plan, SignatureWork, Work};

/// Memory that compressing layers may take together, in bytes: six of them at the usual levels. Idle cores help them for
/// some more, which depends on the machine and is no part of a plan.
const BUDGET: u64 = 96 << 20;

/// What compressing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionMemory {
    /// Bytes that all layers at work together may take; one is always worked on.
    pub budget_bytes: u64,
    /// Most bytes that one takes.
    pub layer_bytes: u64,
}

/// What the edits say of costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    compression: CompressionMemory,
    simple_signers: usize,
    sigstore_signers: usize,
    recorders: u64,
}

impl Costs {
    pub(super) fn of(edits: &Edits) -> Self {
        let layer_bytes = match edits.recompression {
            Recompression::Keep => 0,
            Recompression::To(to) | Recompression::Plain(to) => of_layer(to),
        };
        let signers = &edits.signing.signers;
        let simple_signers = signers.iter().filter(|signer| signer.is_simple()).count();
        Self {
            compression: CompressionMemory { budget_bytes: BUDGET, layer_bytes },
            simple_signers,
            sigstore_signers: signers.len() - simple_signers,
            recorders: edits.signing.bundlers.len() as u64,
        }
    }
}

impl CompressionMemory {
    /// How many layers are compressed at the same time.
    pub fn layers(&self) -> usize {
        let fit = self.budget_bytes / self.layer_bytes.max(1);
        usize::try_from(fit).unwrap_or(usize::MAX).max(1)
    }
}

fn of_layer(to: Compression) -> u64 {
    to.memory_bytes(Workers::new(1))
}

/// A small bundle, the empty configuration, and the manifest that refers to its subject; each is looked for afterwards, and
/// so is the list of the subject's referrers.
fn of_artifact(costs: &Requests) -> u64 {
    2 * (costs.of_blob(1) + costs.read_back) + costs.manifest + 2 * costs.read_back
}

impl BlobWork {
    /// Whether a compressor is at work.
    pub(crate) fn compresses(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Recompressed(_)))
    }
}

impl Plan {
    /// What compressing takes, if any layer is compressed.
    pub fn compression_memory(&self) -> Option<CompressionMemory> {
        let compresses = |work: &Work| matches!(work, Work::Blob(blob) if blob.compresses());
        let any = self.nodes.iter().any(|node| compresses(&node.work));
        any.then_some(self.costs.compression)
    }

    /// Requests that running the plan takes if nothing goes wrong. Not foreseen are tokens, questions about layers that
    /// were recompressed earlier, whether a manifest that changes has bundles already, and what reading evidence back takes
    /// beyond one look at each piece.
    pub fn requests_expected(&self) -> u64 {
        let open = |storage: usize| !self.is_done_in(storage);
        let nodes = self.nodes.iter().filter(|node| open(node.storage));
        let nodes = nodes.map(|node| self.requests_of(&node.work, node.storage));
        let moved = self.names.iter().filter(|name| open(name.storage) && !self.stands(name));
        let moved = moved.filter(|name| name.name.entry.is_some());
        let names = moved.map(|name| self.there[name.storage].requests.name);
        nodes.chain(names).fold(0, u64::saturating_add)
    }

    fn requests_of(&self, work: &Work, storage: usize) -> u64 {
        let costs = &self.there[storage].requests;
        match work {
            Work::Blob(blob) => self.requests_of_blob(blob, storage),
            Work::Manifest(manifest) if manifest.there => costs.read_back,
            Work::Manifest(_) => costs.manifest + costs.read_back,
            Work::Signatures(work) => {
                let bundles = work.bundlers.len() as u64 * of_artifact(costs);
                self.requests_of_signatures(work, storage) + bundles
            }
            Work::Evidence(_) => costs.manifest + costs.read_back,
            Work::Record(_) => self.costs.recorders * of_artifact(costs),
        }
    }

    fn requests_of_blob(&self, blob: &BlobWork, storage: usize) -> u64 {
        let costs = &self.there[storage].requests;
        let reading =
            u64::from(blob.made.is_none() && self.admitted[blob.route].found().is_remote());
        match &blob.action {
            BlobAction::There | BlobAction::Elsewhere => 0,
            BlobAction::Copy { mount_from } if !mount_from.is_empty() => costs.mount,
            BlobAction::Copy { .. } if blob.changes.is_empty() => {
                reading + costs.of_blob(blob.source.size)
            }
            BlobAction::Copy { .. } => reading + costs.made_blob,
        }
    }

    fn requests_of_signatures(&self, work: &SignatureWork, storage: usize) -> u64 {
        let costs = &self.there[storage].requests;
        let is_simple = |signature: &&Signature| matches!(signature, Signature::Simple(_));
        let carried_simple = work.carried.iter().filter(is_simple).count();
        let carried_sigstore = work.carried.len() - carried_simple;
        let new = |signers: usize| signers * work.identities.len();
        costs.simple.of(carried_simple + new(self.costs.simple_signers))
            + costs.sigstore.of(carried_sigstore + new(self.costs.sigstore_signers))
    }
}
