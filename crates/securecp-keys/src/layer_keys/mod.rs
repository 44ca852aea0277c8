//! Keys of layer encryption: recipients and private keys as the options name them.

mod decryption;
mod error;
mod file;
mod gpg;
mod program;
mod protobuf;
mod provider;
mod recipients;

pub use decryption::{DecryptionKeys, DecryptionSources, Prompt};
pub use error::LayerKeyError;
pub use gpg::GpgKeys;
pub use program::ProgramError;
pub use provider::KeyProviders;
pub use recipients::RecipientSources;
