use std::path::PathBuf;

use clap::Args;

use super::Secret;
use super::switch::parse_switch;

/// Which side of a command an option belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// The only image of the command.
    None,
    /// Where an image comes from.
    Src,
    /// Where it goes to.
    Dest,
}

impl Prefix {
    /// What stands between `--` and the option's name.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Src => "src-",
            Self::Dest => "dest-",
        }
    }
}

/// How to reach one side, as given, whatever the prefix was.
#[derive(Debug)]
pub(crate) struct SideArgs {
    pub(crate) prefix: Prefix,
    pub(crate) creds: Option<Secret>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) no_creds: bool,
    pub(crate) registry_token: Option<Secret>,
    pub(crate) tls_verify: Option<bool>,
    pub(crate) cert_dir: Option<PathBuf>,
    pub(crate) authfile: Option<PathBuf>,
    pub(crate) shared_blob_dir: Option<PathBuf>,
    pub(crate) daemon_host: Option<String>,
}

macro_rules! side_args {
    ($name:ident, $side:expr, $prefix:literal, $aliases:expr, $heading:literal) => {
        #[doc = concat!("The options `--", $prefix, "creds` and so on.")]
        #[derive(Debug, Args)]
        #[command(next_help_heading = $heading)]
        pub(crate) struct $name {
            /// User name and password for the registry
            #[arg(id = concat!($prefix, "creds"), long = concat!($prefix, "creds"))]
            #[arg(value_name = "USER[:PASSWORD]", aliases = $aliases)]
            creds: Option<Secret>,

            /// User name for the registry
            #[arg(id = concat!($prefix, "username"), long = concat!($prefix, "username"))]
            #[arg(value_name = "USER")]
            username: Option<String>,

            /// Password for the registry
            #[arg(id = concat!($prefix, "password"), long = concat!($prefix, "password"))]
            #[arg(value_name = "PASSWORD")]
            password: Option<Secret>,

            /// Use no credentials, even if some are stored
            #[arg(id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"))]
            no_creds: bool,

            /// Token to send to the registry as it is
            #[arg(id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"))]
            #[arg(value_name = "TOKEN")]
            registry_token: Option<Secret>,

            /// Whether TLS is required and certificates are verified; false also allows plain HTTP
            #[arg(id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"))]
            #[arg(value_name = "BOOL", value_parser = parse_switch)]
            #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
            tls_verify: Option<bool>,

            /// Directory with CA certificates (*.crt) and client certificates (*.cert, *.key)
            #[arg(id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"))]
            #[arg(value_name = "DIR")]
            cert_dir: Option<PathBuf>,

            /// File with credentials, instead of the usual ones
            #[arg(id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"))]
            #[arg(value_name = "FILE")]
            authfile: Option<PathBuf>,

            /// Directory with the blobs of OCI layouts, instead of the layout's own
            #[arg(id = concat!($prefix, "shared-blob-dir"), long = concat!($prefix, "shared-blob-dir"))]
            #[arg(value_name = "DIR")]
            shared_blob_dir: Option<PathBuf>,

            /// Docker engine of docker-daemon: images, unix://PATH or tcp://HOST:PORT
            #[arg(id = concat!($prefix, "daemon-host"), long = concat!($prefix, "daemon-host"))]
            #[arg(value_name = "URL")]
            daemon_host: Option<String>,
        }

        impl From<$name> for SideArgs {
            fn from(args: $name) -> Self {
                Self {
                    prefix: $side,
                    creds: args.creds,
                    username: args.username,
                    password: args.password,
                    no_creds: args.no_creds,
                    registry_token: args.registry_token,
                    tls_verify: args.tls_verify,
                    cert_dir: args.cert_dir,
                    authfile: args.authfile,
                    shared_blob_dir: args.shared_blob_dir,
                    daemon_host: args.daemon_host,
                }
            }
        }
    };
}

const NO_ALIAS: [&str; 0] = [];

side_args!(ImageArgs, Prefix::None, "", NO_ALIAS, "Reaching the image");
side_args!(SrcArgs, Prefix::Src, "src-", ["screds"], "Reaching the source");
side_args!(DestArgs, Prefix::Dest, "dest-", ["dcreds"], "Reaching the destination");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, read};

    fn source(options: &[&str]) -> Result<SideArgs, clap::Error> {
        let line = ["securecp", "copy", "dir:a", "dir:b"].iter().chain(options);
        match read(line)?.command {
            Command::Copy(args) => Ok(args.sides.source.into()),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn tls_verify_has_three_states() {
        assert_eq!(source(&[]).unwrap().tls_verify, None);
        assert_eq!(source(&["--src-tls-verify"]).unwrap().tls_verify, Some(true));
        assert_eq!(source(&["--src-tls-verify=false"]).unwrap().tls_verify, Some(false));
        assert!(source(&["--src-tls-verify=maybe"]).is_err());
        // A value needs =: without it the word is one more destination, which is no image name.
        assert_eq!(source(&["--src-tls-verify", "false"]).unwrap().tls_verify, Some(true));
    }

    #[test]
    fn secrets_do_not_show() {
        let args = source(&["--src-creds", "alice:hunter2", "--src-registry-token=t0ken"]).unwrap();
        let shown = format!("{args:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("t0ken"), "{shown}");
        assert_eq!(source(&["--screds=a:b"]).unwrap().creds.unwrap().expose(), "a:b");
    }
}
