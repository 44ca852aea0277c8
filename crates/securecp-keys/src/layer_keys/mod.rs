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

/// An error with its causes, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
