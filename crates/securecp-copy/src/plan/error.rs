use securecp_crypt::CryptError;
use securecp_layer::LayerError;
use securecp_oci::{ConvertError, Digest, MediaType};

use crate::protection::Protection;

/// Why a request cannot be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The destination cannot hold an index with its manifests.
    #[error("{0}: destination transport does not support copying multiple images as a group")]
    NoIndexes(String),
    /// The destination does not take this manifest format.
    #[error("{name} does not take manifests of type {found}")]
    Format {
        /// The destination.
        name: String,
        /// The format.
        found: String,
    },
    /// The destination holds only images, and this is none or has something else in it.
    #[error("{name} holds only images of plain file system layers, {manifest} has {found}")]
    OnlyImages {
        /// The destination.
        name: String,
        /// The manifest.
        manifest: Digest,
        /// What it has.
        found: String,
    },
    /// Two descriptors give one blob different sizes.
    #[error("descriptors of blob {digest} contradict each other: {one} and {other} bytes")]
    Sizes {
        /// The blob.
        digest: Digest,
        /// One size.
        one: u64,
        /// The other.
        other: u64,
    },
    /// The destination is a digest and the image has another one.
    #[error("destination {name} names digest {expected}, the image has {found}")]
    OtherDigest {
        /// The destination.
        name: String,
        /// The digest in its name.
        expected: Digest,
        /// What would be written: a digest, or that it is not known yet.
        found: String,
    },
    /// One name was asked for twice.
    #[error("{name} and {other} are one name, which cannot stand for two images")]
    NamedTwice {
        /// The destination.
        name: String,
        /// The one before it.
        other: String,
    },
    /// A name stands for what must not be replaced.
    #[error("{name} is expected to stand for {expected}, but stands for {}", shown(found.as_ref()))]
    Protected {
        /// The name.
        name: String,
        /// What it may stand for.
        expected: Protection,
        /// What it stands for.
        found: Option<Digest>,
    },
    /// Signatures would be lost.
    #[error(
        "{name} cannot hold the {count} signatures of {manifest}; use --remove-signatures to leave them behind"
    )]
    Signatures {
        /// The destination.
        name: String,
        /// How many signatures there are.
        count: usize,
        /// The manifest signed.
        manifest: Digest,
    },
    /// New bundles have nowhere to go.
    #[error("{name} cannot hold the bundle that {signer} would make")]
    NewBundle {
        /// The destination.
        name: String,
        /// Who would have made it.
        signer: String,
    },
    /// A change would make signatures worthless.
    #[error(
        "changing {manifest} would invalidate its {count} signatures ({reasons}); use --remove-signatures to leave them behind"
    )]
    Invalidates {
        /// The manifest signed.
        manifest: Digest,
        /// How many signatures there are.
        count: usize,
        /// Why the manifest changes.
        reasons: String,
    },
    /// Signatures could not be looked up, so they cannot be carried.
    #[error("signatures of {manifest} could not be looked up: {why}")]
    SignaturesUnknown {
        /// The manifest.
        manifest: Digest,
        /// Why.
        why: String,
    },
    /// A new signature could not be stored.
    #[error("{name} cannot hold a signature made by {signer}")]
    NewSignature {
        /// The destination.
        name: String,
        /// The signer.
        signer: String,
    },
    /// There is no reference to sign.
    #[error("Cannot determine canonical Docker reference for destination {0}; use --sign-identity")]
    NoIdentity(String),
    /// One identity cannot serve several names.
    #[error("--sign-identity names one image, but {names} names are to be written")]
    OneIdentity {
        /// How many names.
        names: usize,
    },
    /// An index would be signed although not everything that it names was judged.
    #[error(
        "index {manifest} names {named} manifests, of which {judged} were judged in this run; it is not signed without --dangerous-sign-partial-index"
    )]
    PartialIndex {
        /// The index.
        manifest: Digest,
        /// How many were judged.
        judged: usize,
        /// How many it names.
        named: usize,
    },
    /// A digest would change although it was to be kept.
    #[error("Instructed to preserve digests, but {manifest} would change: {reasons}")]
    Preserve {
        /// The manifest.
        manifest: Digest,
        /// Why it would change.
        reasons: String,
    },
    /// The configuration does not fit the layers.
    #[error("configuration of {manifest} lists {found} diffIDs for {layers} layers")]
    DiffIds {
        /// The manifest.
        manifest: Digest,
        /// diffIDs found.
        found: usize,
        /// Layers of the manifest.
        layers: usize,
    },
    /// The configuration cannot be read.
    #[error("configuration of {manifest} is not readable: {problem}")]
    Config {
        /// The manifest.
        manifest: Digest,
        /// What is wrong.
        problem: String,
    },
    /// Evidence no longer applies, because its manifest gets another digest.
    #[error("{first} would no longer apply, because the manifest changes: {reasons}{}", and_more(signatures + others - 1))]
    Orphaned {
        /// The manifest.
        manifest: Digest,
        /// One piece.
        first: String,
        /// Why the manifest changes.
        reasons: String,
        /// How many signatures of sigstore no longer apply.
        signatures: usize,
        /// How many other pieces no longer apply.
        others: usize,
    },
    /// A place has no room for evidence.
    #[error("{name} cannot hold evidence: {first}{}", and_more(count - 1))]
    NoRoom {
        /// The destination.
        name: String,
        /// How many pieces there are.
        count: usize,
        /// One of them.
        first: String,
    },
    /// A record could not be signed, and nobody would believe it.
    #[error("{manifest} changes, and nobody makes bundles who could sign a record of it")]
    NoRecorder {
        /// The manifest.
        manifest: Digest,
    },
    /// An option cannot take effect.
    #[error("{option} cannot take effect: {why}")]
    NoEffect {
        /// The option.
        option: &'static str,
        /// Why.
        why: String,
    },
    /// The manifest has no form in the format needed.
    #[error("converting {manifest}")]
    Convert {
        /// The manifest.
        manifest: Digest,
        /// Why.
        source: ConvertError,
    },
    /// Only OCI manifests can hold encrypted layers.
    #[error("encrypted layers need an OCI manifest, {manifest} would be {found}; use --format oci")]
    NotOci {
        /// The manifest.
        manifest: Digest,
        /// The type that it would have.
        found: MediaType,
    },
    /// A memory that is not checked must not decide what is signed or was required to be signed.
    #[error("--dangerous-trust-cache cannot be used where signatures are made or required")]
    TrustedCache,
    /// A layer is encrypted already and it was not said what is to become of that.
    #[error(
        "layer {layer} of {manifest} is encrypted already; give --decryption-key to encrypt it anew, or leave it out with --encrypt-layer"
    )]
    AlreadyEncrypted {
        /// The manifest.
        manifest: Digest,
        /// Which layer.
        layer: usize,
    },
    /// A layer cannot be given the form asked for.
    #[error("layer {layer} of {manifest}, {media_type}")]
    Layer {
        /// The manifest.
        manifest: Digest,
        /// Which layer.
        layer: usize,
        /// Its type.
        media_type: MediaType,
        /// Why.
        source: LayerError,
    },
    /// A layer cannot be decrypted or encrypted.
    #[error("{}", of_layer(manifest, *layer, source))]
    Crypt {
        /// The manifest.
        manifest: Digest,
        /// Which layer.
        layer: usize,
        /// Why.
        source: CryptError,
    },
}

/// A layer that does not exist has no position to be told.
fn of_layer(manifest: &Digest, layer: usize, source: &CryptError) -> String {
    match source {
        CryptError::LayerIndex { .. } => format!("layers of {manifest}"),
        _ => format!("layer {layer} of {manifest}"),
    }
}

/// What a name stands for.
pub(crate) fn shown(found: Option<&Digest>) -> String {
    found.map_or_else(|| "nothing".to_owned(), Digest::to_string)
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}
