//! Layer encryption as ocicrypt defines it, and the wrapping of layer keys; pure: opens no file and no socket, but for
//! the private unnamed file of `securecp-layer`'s spool.
//!
//! [`Recipients`] wrap the key of every layer that [`Encrypt`] encrypts. [`Keys`] unlock a layer's descriptor into an
//! [`Unlocked`], which turns ciphertext into plaintext in two passes: [`Unlocked::authenticate`] checks digest and MAC
//! of the whole layer, [`Authenticated::layer`] decrypts. There is no way to plaintext of unchecked bytes.
//!
//! What it refuses: encryption annotations without the `+encrypted` media type and the reverse, nonces outside the
//! wrapped options, keys, nonces and MACs of another length, other ciphers, altered ciphertext, ciphertext of another
//! layer than the one unlocked.
//!
//! ```
//! use securecp_crypt::{Envelope, encrypted_type};
//! use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};
//! let layer = Descriptor::new(MediaType::OCI_LAYER, Digest::of(Algorithm::Sha256, b""), 0);
//! assert!(Envelope::of(&layer)?.is_none());
//! assert!(encrypted_type(&layer.media_type)?.is_encrypted());
//! # Ok::<(), securecp_crypt::CryptError>(())
//! ```

mod cipher;
mod decrypt;
mod der;
mod encrypt;
mod envelope;
mod error;
mod image;
mod jwe;
mod key;
mod media;
mod option;
mod options;
mod pgp;
mod pkcs7;
mod provider;
mod scheme;
mod secret;
mod wrapper;

pub use decrypt::{Authenticated, Decrypt, Unlocked};
pub use encrypt::Encrypt;
pub use envelope::{Envelope, Item};
pub use error::CryptError;
pub use image::{encrypted_layers, layers_to_encrypt};
pub use jwe::{JweKeys, JweRecipients};
pub use key::{
    Certificate, FreshKeyPair, KeyFileError, KeyMaterial, Passphrase, PrivateKey, PublicKey,
    read_key_file,
};
pub use media::encrypted_type;
pub use option::{
    DecryptionKeySpec, LayerSelection, PassphraseSource, ProviderSpec, RecipientSpec, split_list,
};
pub use pgp::{
    PgpCertificates, PgpKeys, PgpRecipient, PgpRecipients, PgpSecretKey, pgp_recipients,
};
pub use pkcs7::{Pkcs7Keys, Pkcs7Recipients};
pub use provider::{Provider, ProviderAddress, ProviderCall, ProviderConfig, ProviderOperation};
pub use scheme::Scheme;
pub use secret::Secret;
pub use wrapper::{Budget, KeyUnwrapper, KeyWrapper, Keys, Recipient, Recipients, Unwrapped};
