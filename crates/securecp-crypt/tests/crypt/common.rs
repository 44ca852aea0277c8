//! What several test files need.

use bytes::Bytes;
use securecp_crypt::{
    Budget, CryptError, KeyUnwrapper, KeyWrapper, Keys, Recipient, Recipients, Scheme, Secret,
    Unwrapped,
};
use securecp_layer::{Chunks, Layer, LayerError, SourceError};
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};

/// A scheme that wraps nothing: it lets tests look into the options.
pub(crate) struct Bare;

impl Bare {
    pub(crate) fn recipients() -> Recipients {
        Recipients::new(vec![Box::new(Self)]).unwrap()
    }

    pub(crate) fn keys() -> Keys {
        Keys::new(vec![Box::new(Self)], Budget::default())
    }
}

fn scheme() -> Scheme {
    Scheme::Provider("bare".to_owned())
}

impl KeyWrapper for Bare {
    fn scheme(&self) -> Scheme {
        scheme()
    }

    fn recipients(&self) -> Vec<Recipient> {
        vec![Recipient { scheme: scheme(), id: "everybody".to_owned() }]
    }

    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError> {
        Ok([b"bare".as_slice(), options].concat())
    }
}

impl KeyUnwrapper for Bare {
    fn scheme(&self) -> Scheme {
        scheme()
    }

    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError> {
        budget.spend()?;
        Ok(match item.strip_prefix(b"bare") {
            Some(options) => Unwrapped::Mine(Secret::new(options.to_vec())),
            None => Unwrapped::NotMine,
        })
    }
}

/// A blob in chunks of a given length.
pub(crate) struct Pieces {
    rest: Bytes,
    length: usize,
}

impl Chunks for Pieces {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let count = self.length.min(self.rest.len());
        let piece = self.rest.split_to(count);
        Ok((!piece.is_empty()).then_some(piece))
    }
}

pub(crate) fn descriptor(media_type: MediaType, data: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(Algorithm::Sha256, data), data.len() as u64)
}

/// A verified layer of `data`, in chunks of `length` bytes.
pub(crate) fn source(descriptor: &Descriptor, data: &[u8], length: usize) -> Layer<'static> {
    let rest = Bytes::copy_from_slice(data);
    Layer::verified(descriptor.clone(), Pieces { rest, length })
}

/// Everything that comes out before the end or the first failure, and how it ended.
pub(crate) fn drain(mut layer: Layer<'_>) -> (Vec<u8>, Result<Descriptor, LayerError>) {
    let mut out = Vec::new();
    loop {
        match layer.next() {
            Ok(Some(chunk)) => out.extend_from_slice(&chunk),
            Ok(None) => return (out, layer.finish()),
            Err(error) => return (out, Err(error)),
        }
    }
}
