use std::path::PathBuf;
use std::time::Duration;

use securecp_copy::host_platform;
use securecp_oci::PlatformWish;

use super::both;
use crate::args::GlobalArgs;
use crate::failure::Failure;
use crate::progress::warn;

/// What holds for every command.
#[derive(Debug, Clone)]
pub(crate) struct Globals {
    pub(crate) policy: PolicyChoice,
    pub(crate) require_signed: bool,
    /// Which image of an index is meant.
    pub(crate) platform: PlatformWish,
    /// `None` means no limit.
    pub(crate) time_limit: Option<Duration>,
    pub(crate) tmpdir: PathBuf,
    /// Options that cannot take effect are warned of instead of refused.
    pub(crate) lenient: bool,
    /// Where registries.d is, if not in the usual places.
    pub(crate) registries_d: Option<PathBuf>,
    pub(crate) registries_conf: Option<PathBuf>,
    pub(crate) tls_details: Option<PathBuf>,
    /// For registries of which nothing else says it.
    pub(crate) tls_verify: Option<bool>,
    pub(crate) user_agent_prefix: Option<String>,
}

/// Where the trust policy comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyChoice {
    /// The usual places.
    Search,
    /// This file.
    File(PathBuf),
    /// None: everything may pass.
    AcceptAnything,
}

impl Globals {
    /// Takes on the manners of the reference, if it is called by its name.
    pub(crate) fn with_manners(self, lenient: bool) -> Result<Self, Failure> {
        match (self.tls_verify, lenient) {
            (Some(_), false) => {
                return Err(Failure::usage(
                    "--tls-verify stands behind the command, not before it",
                ));
            }
            (Some(_), true) => {
                warn("'--tls-verify' is deprecated, please set this on the specific subcommand");
            }
            (None, _) => {}
        }
        Ok(Self { lenient, ..self })
    }

    /// An option cannot take effect: an error, unless the caller is used to other manners.
    pub(crate) fn no_effect(&self, problem: String) -> Result<(), Failure> {
        if !self.lenient {
            return Err(Failure::usage(problem));
        }
        warn(&problem);
        Ok(())
    }
}

impl TryFrom<GlobalArgs> for Globals {
    type Error = Failure;

    fn try_from(args: GlobalArgs) -> Result<Self, Failure> {
        if args.require_signed && args.insecure_policy {
            return Err(both("--require-signed", "--insecure-policy"));
        }
        Ok(Self {
            policy: policy(args.policy.clone(), args.insecure_policy)?,
            require_signed: args.require_signed,
            platform: platform(&args, host_platform()),
            time_limit: args.command_timeout.filter(|limit| !limit.is_zero()),
            lenient: false,
            registries_d: args.registries_d,
            registries_conf: args.registries_conf,
            tls_details: args.tls_details,
            tls_verify: args.old_tls_verify,
            user_agent_prefix: args.user_agent_prefix,
            tmpdir: args.tmpdir.unwrap_or_else(|| PathBuf::from("/var/tmp")),
        })
    }
}

fn policy(file: Option<PathBuf>, insecure: bool) -> Result<PolicyChoice, Failure> {
    match (file, insecure) {
        (Some(_), true) => Err(both("--policy", "--insecure-policy")),
        (Some(file), false) => Ok(PolicyChoice::File(file)),
        (None, true) => Ok(PolicyChoice::AcceptAnything),
        (None, false) => Ok(PolicyChoice::Search),
    }
}

/// The variant of this machine counts only while the architecture is this machine's too.
fn platform(args: &GlobalArgs, host: PlatformWish) -> PlatformWish {
    let host_variant = if args.override_arch.is_none() { host.variant } else { None };
    PlatformWish {
        os: args.override_os.clone().unwrap_or(host.os),
        architecture: args.override_arch.clone().unwrap_or(host.architecture),
        variant: args.override_variant.clone().or(host_variant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::read;

    fn globals(options: &[&str]) -> Result<Globals, Failure> {
        let line = ["securecp"].iter().chain(options).chain(&["demo"]);
        Globals::try_from(read(line).unwrap().globals)
    }

    #[test]
    fn an_overridden_architecture_drops_the_machines_variant() {
        let args = |options: &[&str]| {
            let line = ["securecp"].iter().chain(options).chain(&["demo"]);
            read(line).unwrap().globals
        };
        let host = || PlatformWish {
            os: "linux".to_owned(),
            architecture: "arm64".to_owned(),
            variant: Some("v8".to_owned()),
        };
        assert_eq!(platform(&args(&[]), host()), host());
        let arm = platform(&args(&["--override-arch=arm"]), host());
        assert_eq!((arm.architecture.as_str(), arm.variant), ("arm", None));
        let arm = platform(&args(&["--override-arch=arm", "--override-variant=v6"]), host());
        assert_eq!(arm.variant.as_deref(), Some("v6"));
        assert_eq!(platform(&args(&["--override-os=windows"]), host()).os, "windows");
    }

    #[test]
    fn insecure_goes_with_nothing_that_it_would_undo() {
        for options in
            [["--insecure-policy", "--require-signed"], ["--insecure-policy", "--policy=p.json"]]
        {
            assert!(globals(&options).unwrap_err().to_string().contains("exclude each other"));
        }
        assert_eq!(globals(&[]).unwrap().policy, PolicyChoice::Search);
        assert_eq!(globals(&["--policy=p"]).unwrap().policy, PolicyChoice::File("p".into()));
    }

    #[test]
    fn a_time_limit_of_zero_is_none() {
        assert_eq!(globals(&["--command-timeout=0"]).unwrap().time_limit, None);
        let limit = globals(&["--command-timeout=1m30s"]).unwrap().time_limit;
        assert_eq!(limit, Some(Duration::from_secs(90)));
    }
}
