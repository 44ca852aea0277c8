//! The grammar of the options, as the reference has it, without reading any file.

mod decryption;
mod layers;
mod list;
mod recipient;

use std::fmt;

pub use decryption::{DecryptionKeySpec, PassphraseSource};
pub use layers::LayerSelection;
pub use list::split_list;
pub use recipient::RecipientSpec;

/// A key provider and what the user wants it to know.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderSpec {
    /// The provider's name in the configuration.
    pub name: String,
    /// Passed on as it is; `Enabled` if the user gave nothing. It may be a secret.
    pub parameter: String,
}

impl ProviderSpec {
    /// Reads `NAME[:PARAMETER]`; the parameter may hold colons.
    fn parse(text: &str) -> Option<Self> {
        let (name, parameter) = text.split_once(':').unwrap_or((text, "Enabled"));
        let (name, parameter) = (name.to_owned(), parameter.to_owned());
        (!name.is_empty()).then_some(Self { name, parameter })
    }
}

impl fmt::Debug for ProviderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSpec").field("name", &self.name).finish_non_exhaustive()
    }
}
