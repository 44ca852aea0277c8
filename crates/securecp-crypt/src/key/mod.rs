//! Keys and certificates of people, in all forms that files carry them in.

pub(crate) mod asymmetric;
mod file;
mod generate;
mod jwk;
mod pem;

pub use asymmetric::{Certificate, PrivateKey, PublicKey};
pub use file::{KeyFileError, KeyMaterial, Passphrase, read_key_file};
pub use generate::FreshKeyPair;
