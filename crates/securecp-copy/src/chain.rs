use std::fmt;
use std::sync::Arc;

use securecp_layer::{Layer, LayerError, Transform};

/// What happens to one blob on its way, in this order.
#[derive(Clone, Default)]
pub struct Step {
    /// Takes only authenticated ciphertext.
    pub decrypt: Option<Arc<dyn Transform>>,
    /// Changes the compression and checks the diffID.
    pub recompress: Option<Arc<dyn Transform>>,
    /// Draws a new key and nonce each time the chain is built.
    pub encrypt: Option<Arc<dyn Transform>>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("decrypt", &self.decrypt.is_some())
            .field("recompress", &self.recompress.is_some())
            .field("encrypt", &self.encrypt.is_some())
            .finish()
    }
}

/// The chain of one blob; `source` is held to its digest and size already.
pub(crate) fn chain<'a>(step: &'a Step, source: Layer<'a>) -> Result<Layer<'a>, LayerError> {
    let layer = source
        .pipe(step.decrypt.as_deref())?
        .pipe(step.recompress.as_deref())?
        .pipe(step.encrypt.as_deref())?;
    Ok(layer.measured())
}
