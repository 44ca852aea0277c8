use std::collections::BTreeSet;

use securecp_oci::{Image, MediaType};

use crate::{
    CryptError, Envelope, LayerSelection, Recipient, Scheme, encrypted_type, jwe, pgp, pkcs7,
};

/// The encrypted layers of an image by position, with what can be said of each without a key.
///
/// # Errors
/// A layer's media type and annotations contradict each other or are malformed, or the configuration says that it is
/// encrypted, which the format does not know.
pub fn encrypted_layers(image: &Image) -> Result<Vec<(usize, Envelope)>, CryptError> {
    if Envelope::of(&image.config)?.is_some() {
        let problem = "is the image's configuration, but said to be encrypted";
        return Err(CryptError::Contradiction { digest: image.config.digest.clone(), problem });
    }
    let mut found = Vec::new();
    for (position, layer) in image.layers.iter().enumerate() {
        found.extend(Envelope::of(layer)?.map(|envelope| (position, envelope)));
    }
    Ok(found)
}

/// The positions of the layers that an encrypting copy will encrypt.
///
/// # Errors
/// An index is out of range, or a chosen layer is encrypted already, contradicts itself, or is of a type that has no
/// encrypted form.
pub fn layers_to_encrypt(
    image: &Image,
    selection: &LayerSelection,
) -> Result<BTreeSet<usize>, CryptError> {
    let positions = selection.positions(image.layers.len())?;
    for layer in positions.iter().filter_map(|position| image.layers.get(*position)) {
        if Envelope::of(layer)?.is_some() {
            return Err(CryptError::AlreadyEncrypted { digest: layer.digest.clone() });
        }
        encrypted_type(&layer.media_type)?;
    }
    Ok(positions)
}

impl Envelope {
    /// The media type that the layer has once it is decrypted.
    pub fn plain_type(&self) -> &MediaType {
        &self.plain
    }

    /// For whom the layer was encrypted, as far as the wrapped keys say so: algorithms, key ids, issuers, providers.
    /// Nothing of this is authenticated.
    pub fn recipients(&self) -> Vec<Recipient> {
        let mut found = Vec::new();
        for item in &self.items {
            let ids = match &item.scheme {
                Scheme::Jwe => jwe::describe(&item.bytes),
                Scheme::Pgp => pgp::pgp_recipients(&item.bytes),
                Scheme::Pkcs7 => pkcs7::describe(&item.bytes),
                Scheme::Pkcs11 | Scheme::Provider(_) | Scheme::Other(_) => {
                    Some(vec![format!("{} bytes", item.bytes.len())])
                }
            };
            let ids = ids.unwrap_or_else(|| vec!["unreadable".to_owned()]);
            found.extend(ids.into_iter().map(|id| Recipient { scheme: item.scheme.clone(), id }));
        }
        found
    }
}
