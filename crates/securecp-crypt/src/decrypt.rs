use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use securecp_layer::{Aside, Layer, LayerError, Spool, Stage, Transform};
use securecp_oci::{Descriptor, Digest};
use subtle::ConstantTimeEq;

use crate::cipher::{Ctr, Mac};
use crate::encrypt::unshared;
use crate::envelope::is_encryption;
use crate::options::{PrivateOptions, PublicOptions};
use crate::{CryptError, Envelope};

/// An encrypted layer whose key was unwrapped. Its bytes are not yet authenticated: nothing here gives out plaintext
/// of bytes whose MAC was not checked.
#[derive(Clone)]
pub struct Unlocked {
    pub(crate) options: Arc<PrivateOptions>,
    public: PublicOptions,
    ciphertext: Descriptor,
    plain: Plain,
}

/// What a layer is after decryption.
#[derive(Clone)]
struct Plain(securecp_oci::MediaType);

impl Unlocked {
    pub(crate) fn new(layer: &Descriptor, envelope: Envelope, options: PrivateOptions) -> Self {
        Self {
            options: Arc::new(options),
            public: envelope.public,
            ciphertext: layer.clone(),
            plain: Plain(envelope.plain),
        }
    }

    /// The encrypted layer.
    pub fn ciphertext(&self) -> &Descriptor {
        &self.ciphertext
    }

    /// The digest that the writer promised for the plaintext. Only a hint: the reference names the source blob even
    /// if it was recompressed before encryption. What binds the plaintext to the image is its diffID.
    pub fn promised(&self) -> Option<&Digest> {
        self.options.digest.as_ref()
    }

    /// First pass: stages the ciphertext in a private unnamed file in `directory` while checking digest and MAC.
    ///
    /// # Errors
    /// `layer` is not this layer, not what its digest promised, or its MAC does not match.
    pub fn authenticate(
        &self,
        layer: Layer<'_>,
        directory: &Path,
    ) -> Result<Authenticated, LayerError> {
        let known = layer.known.clone();
        let body = Box::new(Authenticating::new(self, layer)?);
        let spool = Spool::fill(Layer { known, body }, directory)?;
        Ok(Authenticated { spool, options: Arc::clone(&self.options), plain: self.plain.clone() })
    }

    /// Both passes as a transform: the layer given to it is read to its end before the first byte of plaintext
    /// comes out.
    pub fn staged_in(&self, directory: &Path) -> Decrypt {
        Decrypt { unlocked: self.clone(), directory: directory.to_owned() }
    }

    /// Only bytes that are held to the digest for which the key was unwrapped.
    fn check_identity(&self, layer: &Layer<'_>) -> Result<(), CryptError> {
        match &layer.known {
            Some(known) if known.digest == self.ciphertext.digest => Ok(()),
            _ => Err(CryptError::NotThisLayer { expected: self.ciphertext.digest.clone() }),
        }
    }
}

impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlocked").field("ciphertext", &self.ciphertext).finish_non_exhaustive()
    }
}

impl Plain {
    /// The descriptor after decryption; digest and size are still those of the ciphertext.
    fn apply(&self, ciphertext: Descriptor) -> Descriptor {
        let mut plain = ciphertext;
        plain.media_type = self.0.clone();
        plain.annotations.retain(|key, _| !is_encryption(key));
        plain
    }
}

/// Ciphertext in a private unnamed file, with matching digest and MAC. Only [`Unlocked::authenticate`] makes one.
#[derive(Clone)]
pub struct Authenticated {
    spool: Spool,
    options: Arc<PrivateOptions>,
    plain: Plain,
}

impl Authenticated {
    /// Second pass: the plaintext, as often as wanted.
    ///
    /// # Errors
    /// The cipher cannot be started.
    pub fn layer(&self) -> Result<Layer<'static>, LayerError> {
        Ok(Decrypting::layer(self.spool.layer().body, &self.options, &self.plain)?)
    }
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("spool", &self.spool).finish_non_exhaustive()
    }
}

/// Decrypts in two passes. See [`Unlocked::staged_in`].
#[derive(Debug, Clone)]
pub struct Decrypt {
    unlocked: Unlocked,
    directory: PathBuf,
}

impl Transform for Decrypt {
    fn wrap<'a>(&'a self, layer: Layer<'a>) -> Result<Layer<'a>, LayerError> {
        self.unlocked.authenticate(layer, &self.directory)?.layer()
    }
}

/// Passes ciphertext on while computing its MAC; gives the end only after digest and MAC were found right.
struct Authenticating<'a> {
    /// Taken when its end was read.
    inner: Option<Box<dyn Stage + 'a>>,
    /// Taken with it.
    mac: Option<Aside<Mac>>,
    expected: PublicOptions,
    /// What passed, once everything was found right.
    passed: Option<Descriptor>,
}

impl<'a> Authenticating<'a> {
    fn new(unlocked: &Unlocked, layer: Layer<'a>) -> Result<Self, CryptError> {
        unlocked.check_identity(&layer)?;
        Ok(Self {
            inner: Some(layer.body),
            mac: Some(Mac::new(&unlocked.options.key)?),
            expected: unlocked.public.clone(),
            passed: None,
        })
    }

    fn end(&mut self) -> Result<(), LayerError> {
        let (inner, mac) =
            self.inner.take().zip(self.mac.take()).ok_or(LayerError::FinishedEarly)?;
        let found = inner.finish()?;
        // In constant time.
        if bool::from(mac.end()?.ct_eq(&self.expected.hmac)) {
            self.passed = Some(found);
            return Ok(());
        }
        Err(LayerError::Transform {
            transform: "decrypting",
            problem: format!(
                "could not properly decrypt byte stream: the HMAC of {} does not match",
                found.digest
            ),
        })
    }
}

impl Stage for Authenticating<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.passed.is_some() {
            return Ok(None);
        }
        let sides = self.inner.as_mut().zip(self.mac.as_mut());
        let (inner, mac) = sides.ok_or(LayerError::FinishedEarly)?;
        if let Some(chunk) = inner.next()? {
            mac.take(&chunk)?;
            return Ok(Some(chunk));
        }
        self.end().map(|()| None)
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        self.passed.ok_or(LayerError::FinishedEarly)
    }
}

/// Turns ciphertext into plaintext; whether it may do so is decided by whoever makes it.
struct Decrypting<'a> {
    inner: Box<dyn Stage + 'a>,
    ctr: Ctr,
    plain: Plain,
    ended: bool,
}

impl<'a> Decrypting<'a> {
    fn layer(
        inner: Box<dyn Stage + 'a>,
        options: &PrivateOptions,
        plain: &Plain,
    ) -> Result<Layer<'a>, CryptError> {
        let ctr = Ctr::new(&options.key, &options.nonce)?;
        let stage = Self { inner, ctr, plain: plain.clone(), ended: false };
        Ok(Layer { known: None, body: Box::new(stage) })
    }
}

impl Stage for Decrypting<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let Some(chunk) = self.inner.next()? else {
            self.ended = true;
            return Ok(None);
        };
        let mut data = unshared(chunk);
        self.ctr.apply(&mut data)?;
        Ok(Some(data.freeze()))
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if !self.ended {
            return Err(LayerError::FinishedEarly);
        }
        Ok(self.plain.apply(self.inner.finish()?))
    }
}
