use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration::parse_duration;
use super::switch::parse_switch;

/// Options of every command, before or behind its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// Trust policy that images must meet (containers-policy.json(5))
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Copy without any trust policy; nothing is judged
    #[arg(long, global = true)]
    pub(crate) insecure_policy: bool,

    /// Refuse images for which the policy verifies no signature
    #[arg(long, global = true)]
    pub(crate) require_signed: bool,

    /// Operating system to choose from an index, instead of this machine's
    #[arg(long, global = true, value_name = "OS")]
    pub(crate) override_os: Option<String>,

    /// Architecture to choose from an index, instead of this machine's
    #[arg(long, global = true, value_name = "ARCH")]
    pub(crate) override_arch: Option<String>,

    /// Variant of the architecture to choose from an index
    #[arg(long, global = true, value_name = "VARIANT")]
    pub(crate) override_variant: Option<String>,

    /// Give up after this time, for example 30s or 5m; 0 means never
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) command_timeout: Option<Duration>,

    /// Directory for big temporary files [default: /var/tmp]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) tmpdir: Option<PathBuf>,

    /// Directory that says where signatures are kept (containers-registries.d(5))
    #[arg(long = "registries.d", global = true, value_name = "DIR")]
    pub(crate) registries_d: Option<PathBuf>,

    /// Registries, their mirrors and what is blocked (containers-registries.conf(5))
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) registries_conf: Option<PathBuf>,

    /// Restrictions of TLS (containers-tls-details.yaml(5))
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_details: Option<PathBuf>,

    /// What stands before this program's name when it introduces itself to registries
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) user_agent_prefix: Option<String>,

    /// The reference's oldest option for registries, before the command only
    #[arg(id = "old-tls-verify", long = "tls-verify", hide = true, value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) old_tls_verify: Option<bool>,

    /// Log what is being done, on standard error
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// How much to log, on standard error
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
