use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use securecp_crypt::{Keys, LayerSelection, Recipients};
use securecp_layer::{Compression, Scope, TransformCache};
use securecp_oci::{ManifestFormat, RawManifest, Reference, Signature};
use securecp_trust::BundleDraft;

use crate::evidence::EvidenceEdits;

/// Changes that the user asked for.
#[derive(Debug, Clone)]
pub struct Edits {
    /// Fail rather than change any manifest.
    pub preserve_digests: bool,
    /// Leave signatures behind.
    pub remove_signatures: bool,
    /// What becomes of the compression of layers.
    pub recompression: Recompression,
    /// What recompressed layers became in earlier copies.
    pub cache: Option<CacheUse>,
    /// The format of manifests; without one they keep theirs where the destination takes it.
    pub format: Option<ManifestFormat>,
    /// Keys for encrypted layers; without them encrypted layers stay as they are.
    pub decrypt: Option<Arc<Keys>>,
    /// Who gets the keys of which layers.
    pub encrypt: Option<Encryption>,
    /// What travels beside the images.
    pub evidence: EvidenceEdits,
    /// What signs every manifest at the destination.
    pub signing: Signing,
    /// Find out digests of changed blobs before they are sent, so that one that is there is not sent again.
    pub precompute_digests: bool,
    /// Where data is kept that does not fit into memory.
    pub temporary: PathBuf,
    /// Changes that no layer can follow are noted in the plan ([`crate::Plan::without_effect`]) instead of refused.
    pub lenient: bool,
    /// Ends the helper threads of codecs.
    pub scope: Scope,
}

/// How far the memory of earlier recompressions is trusted.
#[derive(Debug, Clone)]
pub struct CacheUse {
    /// The memory.
    pub cache: TransformCache,
    /// Believe it without reading the blob that it proposes. Refused where signatures are made or required.
    pub dangerous_trust: bool,
}

/// What becomes of the compression of layers. Nothing changes unless it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompression {
    /// Layers stay as they are.
    #[default]
    Keep,
    /// Every layer in another form gets this one.
    To(Compression),
    /// Only layers that are not compressed get this form.
    Plain(Compression),
}

impl Default for Edits {
    fn default() -> Self {
        Self {
            preserve_digests: false,
            remove_signatures: false,
            recompression: Recompression::default(),
            cache: None,
            format: None,
            decrypt: None,
            encrypt: None,
            evidence: EvidenceEdits::default(),
            signing: Signing::default(),
            precompute_digests: false,
            lenient: false,
            temporary: PathBuf::from("/var/tmp"),
            scope: Scope::new(),
        }
    }
}

impl Edits {
    /// Whether the configuration of images has to be read to plan.
    pub(crate) fn need_config(&self) -> bool {
        self.recompression != Recompression::Keep
            || self.decrypt.is_some()
            || self.encrypt.is_some()
            || self.format.is_some()
    }
}

/// An encryption of layers.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// Who can decrypt.
    pub recipients: Arc<Recipients>,
    /// Which layers.
    pub layers: LayerSelection,
    /// Give them access to layers that are encrypted already, whose bytes then stay; needs keys to decrypt.
    pub add: bool,
}

/// New signatures.
#[derive(Debug, Clone, Default)]
pub struct Signing {
    /// Each makes one signature for each manifest and name.
    pub signers: Vec<Arc<dyn ImageSigner>>,
    /// Each makes one bundle for each manifest, whatever its names: a bundle has none. Where changes are recorded, each
    /// also signs the record of each manifest that changes.
    pub bundlers: Vec<Arc<dyn BundleSigner>>,
    /// The reference that is signed in place of the destination's.
    pub identity: Option<Reference>,
    /// Sign an index although some manifests that it names were not judged in this run.
    pub dangerous_partial_index: bool,
}

impl Signing {
    /// Whether nothing is signed.
    pub(crate) fn is_empty(&self) -> bool {
        self.signers.is_empty() && self.bundlers.is_empty()
    }
}

/// Makes sigstore bundles with one key or identity.
pub trait BundleSigner: Send + Sync {
    /// The key or identity in public terms, for messages.
    fn name(&self) -> String;

    /// The bundle that `draft` becomes; it was verified before it is returned.
    ///
    /// # Errors
    /// The key cannot be used, nobody witnesses it, or the new bundle would not be accepted.
    fn bundle(&self, draft: BundleDraft) -> Result<Bytes, Box<dyn Error + Send + Sync>>;

    /// Whether `bundle`, which stands beside the draft's manifest, is as good as the one that `draft` would become: by the
    /// same key, with the same to say, and verified as a new one is. What cannot be told is not.
    fn has_made(&self, draft: &BundleDraft, bundle: &[u8]) -> bool;
}

impl fmt::Debug for dyn BundleSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BundleSigner").field(&self.name()).finish()
    }
}

/// Makes signatures of one kind with one key.
pub trait ImageSigner: Send + Sync {
    /// The key in public terms, for messages.
    fn name(&self) -> String;

    /// Whether it makes simple-signing (OpenPGP) signatures; sigstore ones otherwise.
    fn is_simple(&self) -> bool;

    /// Whether signing leaves no trace but the signature, so that it may be done before what is signed is in place: no log
    /// and no service hears of it.
    fn leaves_no_trace(&self) -> bool {
        false
    }

    /// Signs the digest of `manifest` under the name `identity`; the result was verified before it is returned.
    ///
    /// # Errors
    /// The key cannot be used, or the new signature does not verify.
    fn sign(
        &self,
        manifest: &RawManifest,
        identity: &Reference,
    ) -> Result<Signature, Box<dyn Error + Send + Sync>>;
}

impl fmt::Debug for dyn ImageSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ImageSigner").field(&self.name()).finish()
    }
}
