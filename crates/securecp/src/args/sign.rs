use std::path::PathBuf;

use clap::Args;

/// New signatures.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Signing at the destination")]
pub(crate) struct SignArgs {
    /// Sign with this key of your GnuPG: a fingerprint, or a part of a user ID; may be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) sign_by: Vec<String>,

    /// Sign with the exported OpenPGP secret key in this file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_by_key_file: Vec<PathBuf>,

    /// Sign with sigstore as this parameter file says: with a key, or with certificates of Fulcio
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_by_sigstore: Option<PathBuf>,

    /// Sign with the sigstore private key in this file, encrypted as cosign does it; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_by_sigstore_private_key: Vec<PathBuf>,

    /// File whose first line is the passphrase of the only signing key
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_passphrase_file: Option<PathBuf>,

    /// Name for which the signature is made, written out in full, instead of the destination's
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) sign_identity: Option<String>,

    /// Form of new sigstore signatures: attachment (read by skopeo, podman, cosign 2), bundle (cosign 3), or both, the safe
    /// choice [default: attachment]
    #[arg(long, value_name = "FORM")]
    pub(crate) sign_format: Option<String>,

    /// Trusted root against which new bundles, and attachments that a log has seen, are verified before they are stored
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_trusted_root: Option<PathBuf>,

    /// Make bundles by key that no transparency log has seen; verifiers must have been told to accept such
    #[arg(long)]
    pub(crate) dangerous_sign_without_log: bool,

    /// Sign an index although not every image that it names was judged in this run
    #[arg(long)]
    pub(crate) dangerous_sign_partial_index: bool,
}

/// How the policy is applied.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct JudgeArgs {
    /// What the signature of an index counts: ignore (its images are judged one by one), accept (it vouches for them)
    /// or require (it must be good as well) [default: ignore]
    #[arg(long, value_name = "MODE")]
    pub(crate) index_signature: Option<String>,

    /// Trust file that must accept as well as the policy: who signed, by sigstore bundle or attachment (docs/sigstore.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
}
