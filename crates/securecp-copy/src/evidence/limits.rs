//! How much evidence is taken, so that no registry can make a copy endless.

/// Largest blob of a piece of evidence, in bytes: 128 MiB, as cosign has it.
pub(super) const BLOB: u64 = 128 << 20;
/// Most layers of a piece of evidence, as cosign has it.
pub(super) const LAYERS: usize = 1_000;
/// Most pieces of evidence of one image with everything below it.
pub(super) const PIECES: usize = 1_000;
/// Longest chain of evidence of evidence.
pub(super) const DEPTH: usize = 8;
/// Most manifests of a piece of evidence that is an index.
pub(super) const PARTS: usize = 256;
/// Most memory that manifests of evidence of one image with everything below it may take, in bytes: 128 MiB.
pub(super) const MEMORY: u64 = 128 << 20;
