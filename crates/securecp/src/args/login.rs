use std::path::PathBuf;

use clap::Args;

use super::Secret;
use super::switch::parse_switch;

/// Store credentials for a registry
///
/// They are tried before they are stored. Without --username and --password they are asked for on the terminal.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Registry, or a namespace of it: HOST with :PORT and /PATH where there are any
    #[arg(value_name = "REGISTRY", required = true)]
    pub(crate) registry: String,

    /// User name
    #[arg(short, long, value_name = "USER")]
    pub(crate) username: Option<String>,

    /// Password; others on this machine can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD")]
    pub(crate) password: Option<Secret>,

    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,

    /// Print the user name that is stored, and do nothing
    #[arg(long)]
    pub(crate) get_login: bool,

    /// Say which file holds the credentials
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) files: AuthFileArgs,

    /// Directory with CA certificates (*.crt) and client certificates (*.cert, *.key)
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,

    /// Whether TLS is required and certificates are verified; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
}

/// Remove the credentials for a registry
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// Registry, or a namespace of it: HOST with :PORT and /PATH where there are any
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: Option<String>,

    /// Remove the credentials of every registry
    #[arg(short, long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) files: AuthFileArgs,

    /// Without effect: no registry is asked
    #[arg(long, hide = true, value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
}

/// Which file holds credentials.
#[derive(Debug, Args)]
pub(crate) struct AuthFileArgs {
    /// File to keep credentials in, instead of the usual one
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    /// File in Docker's format to keep credentials in
    #[arg(long, value_name = "FILE")]
    pub(crate) compat_auth_file: Option<PathBuf>,
}
