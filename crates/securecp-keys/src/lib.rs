//! Keys that live elsewhere: the user's GnuPG, files named on the command line, key providers.
//!
//! [`GpgHome`] makes signatures with the user's own keys. [`RecipientSources`] turns the values of `--encryption-key` into
//! recipients, [`DecryptionSources`] those of `--decryption-key` into keys. [`Notary`] signs with certificates that
//! Fulcio issues for minutes, and has a log see it. Other programs are run by absolute path,
//! without a shell, with bounds on time and output.
//!
//! What it refuses: files of no known kind, public keys where private ones belong and the reverse, key providers that
//! nobody named, a program that is not named by its absolute path.
//!
//! ```
//! use securecp_crypt::RecipientSpec;
//! use securecp_keys::RecipientSources;
//! let missing = RecipientSpec::parse("jwe:no-such-file.pem")?;
//! assert!(RecipientSources::default().recipients(&[missing]).is_err());
//! # Ok::<(), securecp_crypt::CryptError>(())
//! ```

mod gpg;
mod layer_keys;
mod sigstore;

pub use gpg::{GpgError, GpgHome, GpgSigner, KeyMatch, Watch};
pub use layer_keys::{
    DecryptionKeys, DecryptionSources, GpgKeys, KeyProviders, LayerKeyError, ProgramError, Prompt,
    RecipientSources,
};
pub use sigstore::{
    Ambient, FulcioParameters, KeySource, KeylessError, Notary, Offer, PARAMETERS_LIMIT,
    ParameterFile, ParametersError, ProviderParameters, Rekor, SIGNING_CONFIG_LIMIT, SecretText,
    SigningConfig, SigningConfigError, SigningParameters, Tell, TimestampAuthority, TokenMode,
    WitnessAddresses, Witnesses,
};
