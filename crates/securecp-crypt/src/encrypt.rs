use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use securecp_layer::{Aside, Layer, LayerError, Stage, Transform};
use securecp_oci::Descriptor;

use crate::cipher::{Ctr, Mac};
use crate::envelope::is_encryption;
use crate::options::{PrivateOptions, PublicOptions};
use crate::wrapper::set_public;
use crate::{CryptError, Recipients, encrypted_type};

/// Encrypts a layer for [`Recipients`].
///
/// Every [`Transform::wrap`] draws a new key and a new nonce, so a chain that is opened again for a retry never uses
/// either twice. What [`Stage::finish`] returns has the encrypted media type and the annotations with MAC and wrapped
/// keys; digest and size are those of the plaintext until [`Layer::measured`] replaces them.
#[derive(Debug, Clone)]
pub struct Encrypt {
    recipients: Arc<Recipients>,
}

impl Encrypt {
    /// Encrypts for `recipients`.
    pub fn new(recipients: Arc<Recipients>) -> Self {
        Self { recipients }
    }
}

impl Transform for Encrypt {
    fn wrap<'a>(&'a self, layer: Layer<'a>) -> Result<Layer<'a>, LayerError> {
        if let Some(known) = &layer.known {
            check(known)?;
        }
        let options = PrivateOptions::draw()?;
        let stage = Encrypting {
            ctr: Ctr::new(&options.key, &options.nonce)?,
            mac: Mac::new(&options.key)?,
            // The wrapped options name the plaintext, so its digest is needed even if an earlier stage made the bytes.
            inner: layer.measured().body,
            options,
            recipients: &self.recipients,
            ended: false,
        };
        Ok(Layer { known: None, body: Box::new(stage) })
    }
}

struct Encrypting<'a> {
    inner: Box<dyn Stage + 'a>,
    ctr: Ctr,
    mac: Aside<Mac>,
    options: PrivateOptions,
    recipients: &'a Recipients,
    ended: bool,
}

impl Stage for Encrypting<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let Some(chunk) = self.inner.next()? else {
            self.ended = true;
            return Ok(None);
        };
        let mut data = unshared(chunk);
        self.ctr.apply(&mut data)?;
        let data = data.freeze();
        self.mac.take(&data)?;
        Ok(Some(data))
    }

    fn finish(mut self: Box<Self>) -> Result<Descriptor, LayerError> {
        if !self.ended {
            return Err(LayerError::FinishedEarly);
        }
        let mut layer = self.inner.finish()?;
        check(&layer)?;
        self.options.digest = Some(layer.digest.clone());
        layer.media_type = encrypted_type(&layer.media_type)?;
        // What may be had there is the plaintext.
        layer.urls.clear();
        set_public(&mut layer, &PublicOptions { hmac: self.mac.end()? });
        self.recipients.wrap_into(&self.options, &mut layer)?;
        Ok(layer)
    }
}

/// Refuses what cannot be encrypted, and annotations that would mix with the new ones.
fn check(layer: &Descriptor) -> Result<(), CryptError> {
    if layer.media_type.is_encrypted() {
        return Err(CryptError::AlreadyEncrypted { digest: layer.digest.clone() });
    }
    if layer.annotations.keys().any(|key| is_encryption(key)) {
        let problem = "has encryption annotations, but its media type is not +encrypted";
        return Err(CryptError::Contradiction { digest: layer.digest.clone(), problem });
    }
    encrypted_type(&layer.media_type).map(drop)
}

/// The chunk itself if nobody else holds it, otherwise a copy.
pub(crate) fn unshared(chunk: Bytes) -> BytesMut {
    chunk.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()))
}
