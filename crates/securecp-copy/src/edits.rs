use std::path::PathBuf;
use std::sync::Arc;

use securecp_crypt::Keys;
use securecp_layer::{Compression, Scope};

/// Changes that the user asked for.
#[derive(Debug, Clone)]
pub struct Edits {
    /// Fail rather than change any manifest.
    pub preserve_digests: bool,
    /// Leave signatures behind.
    pub remove_signatures: bool,
    /// What becomes of the compression of layers.
    pub recompression: Recompression,
    /// Keys for encrypted layers; without them encrypted layers stay as they are.
    pub decrypt: Option<Arc<Keys>>,
    /// Find out digests of changed blobs before they are sent, so that one that is there is not sent again.
    pub precompute_digests: bool,
    /// Where data is kept that does not fit into memory.
    pub temporary: PathBuf,
    /// Ends the helper threads of codecs.
    pub scope: Scope,
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
            decrypt: None,
            precompute_digests: false,
            temporary: PathBuf::from("/var/tmp"),
            scope: Scope::new(),
        }
    }
}

impl Edits {
    /// Whether the configuration of images has to be read to plan.
    pub(crate) fn need_config(&self) -> bool {
        self.recompression != Recompression::Keep || self.decrypt.is_some()
    }
}
