use std::path::PathBuf;

use clap::Args;

/// Sign a manifest file with a key of your GnuPG
#[derive(Debug, Args)]
pub(crate) struct StandaloneSignArgs {
    /// Manifest file
    #[arg(value_name = "MANIFEST", required = true)]
    pub(crate) manifest: PathBuf,

    /// Name for which the signature is made
    #[arg(value_name = "DOCKER-REFERENCE", required = true)]
    pub(crate) reference: String,

    /// Key to sign with
    #[arg(value_name = "KEY-FINGERPRINT", required = true)]
    pub(crate) key: String,

    /// File to write the signature to
    #[arg(short, long, value_name = "SIGNATURE", required = true)]
    pub(crate) output: PathBuf,

    /// File whose first line is the passphrase of the key
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Verify a signature of a manifest file
///
/// The keys come from your GnuPG, or from the file given with --public-key-file and nowhere else.
#[derive(Debug, Args)]
pub(crate) struct StandaloneVerifyArgs {
    /// Manifest file
    #[arg(value_name = "MANIFEST", required = true)]
    pub(crate) manifest: PathBuf,

    /// Name that the signature must be made for
    #[arg(value_name = "DOCKER-REFERENCE", required = true)]
    pub(crate) reference: String,

    /// Fingerprints of the keys that may have signed, with commas between them; any means every key of the file
    #[arg(value_name = "KEY-FINGERPRINTS", required = true)]
    pub(crate) fingerprints: String,

    /// Signature file
    #[arg(value_name = "SIGNATURE", required = true)]
    pub(crate) signature: PathBuf,

    /// File with the public keys, instead of your GnuPG's
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key_file: Option<PathBuf>,
}

/// Show what a signature claims, WITHOUT VERIFYING ANY OF IT
#[derive(Debug, Args)]
pub(crate) struct UntrustedDumpArgs {
    /// Signature file
    #[arg(value_name = "SIGNATURE", required = true)]
    pub(crate) signature: PathBuf,
}
