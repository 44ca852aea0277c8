use clap::Args;

use super::Secret;

/// Encryption and decryption of layers.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Encryption of layers")]
pub(crate) struct CryptArgs {
    /// Encrypt layers for this recipient: jwe:FILE, pgp:FILE, pgp:NAME or pkcs7:FILE; may be repeated
    #[arg(long, value_name = "PROTOCOL:VALUE")]
    pub(crate) encryption_key: Vec<String>,

    /// Encrypt only this layer, counted from 0, or from the end if negative; may be repeated [default: all]
    #[arg(long, value_name = "N,…")]
    pub(crate) encrypt_layer: Vec<String>,

    /// Give this recipient access to layers that are encrypted already; their bytes stay. Needs --decryption-key
    #[arg(long, value_name = "PROTOCOL:VALUE")]
    pub(crate) add_recipient: Vec<String>,

    /// Decrypt layers with this private key or certificate; may be repeated. PASS is pass=…, file=FILE, fd=N, prompt,
    /// or the passphrase itself
    #[arg(long, value_name = "FILE[:PASS]")]
    pub(crate) decryption_key: Vec<Secret>,

    /// Accept PKCS#7 messages in CBC mode, which anybody on the way can alter unnoticed
    #[arg(long)]
    pub(crate) dangerous_accept_pkcs7_cbc: bool,
}
