//! Signing with certificates that live for minutes: an identity token, Fulcio, a log, a timestamp authority.
//!
//! The clients are small and speak over securecp-net; what they bring home is judged by securecp-trust.

mod ambient;
mod browser;
mod device;
mod error;
mod fulcio;
mod identity;
mod notary;
mod parameters;
mod provider;
mod rekor;
mod service;
mod signing_config;
mod timestamp;
mod token;

use ring::rand::{SecureRandom, SystemRandom};

pub use ambient::Ambient;
pub use error::KeylessError;
pub use identity::Tell;
pub use notary::{Notary, Witnesses};
pub use parameters::{
    FulcioParameters, KeySource, Offer, PARAMETERS_LIMIT, ParameterFile, ParametersError,
    SigningParameters, TokenMode, WitnessAddresses,
};
pub use provider::ProviderParameters;
pub use rekor::Rekor;
pub use signing_config::{SIGNING_CONFIG_LIMIT, SigningConfig, SigningConfigError};
pub use timestamp::TimestampAuthority;
pub use token::SecretText;

/// Fresh random bytes.
fn random<const N: usize>() -> Result<[u8; N], KeylessError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| KeylessError::Random).map(|()| bytes)
}
