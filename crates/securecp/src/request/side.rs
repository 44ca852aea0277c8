use std::path::PathBuf;

use super::both;
use crate::args::{Secret, SideArgs};
use crate::failure::Failure;

/// How to reach one side.
#[derive(Debug)]
pub(crate) struct SideRequest {
    pub(crate) login: Login,
    /// Sent as it is, without asking a token server.
    pub(crate) registry_token: Option<Secret>,
    pub(crate) tls_verify: Option<bool>,
    pub(crate) cert_dir: Option<PathBuf>,
    pub(crate) authfile: Option<PathBuf>,
    pub(crate) shared_blob_dir: Option<PathBuf>,
    pub(crate) daemon_host: Option<String>,
}

/// Who we are to a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// Whatever is stored for the registry.
    Stored,
    /// Nobody, whatever is stored.
    Anonymous,
    /// This user.
    User { name: String, password: Secret },
}

impl TryFrom<SideArgs> for SideRequest {
    type Error = Failure;

    fn try_from(args: SideArgs) -> Result<Self, Failure> {
        Ok(Self {
            login: login(&args)?,
            registry_token: args.registry_token,
            tls_verify: args.tls_verify,
            cert_dir: args.cert_dir,
            authfile: args.authfile,
            shared_blob_dir: args.shared_blob_dir,
            daemon_host: args.daemon_host,
        })
    }
}

fn login(args: &SideArgs) -> Result<Login, Failure> {
    let option = |name: &str| format!("--{}{name}", args.prefix.text());
    match (args.no_creds, &args.creds, &args.username, &args.password) {
        (true, Some(_), ..) => Err(both(&option("creds"), &option("no-creds"))),
        (true, _, Some(_), _) => Err(both(&option("username"), &option("no-creds"))),
        (true, _, _, Some(_)) => Err(both(&option("password"), &option("no-creds"))),
        (_, Some(_), Some(_), _) => Err(both(&option("creds"), &option("username"))),
        (_, Some(_), _, Some(_)) => Err(both(&option("creds"), &option("password"))),
        (_, _, Some(_), None) => Err(needs(&option("username"), &option("password"))),
        (_, _, None, Some(_)) => Err(needs(&option("password"), &option("username"))),
        (true, None, None, None) => Ok(Login::Anonymous),
        (_, Some(creds), ..) => split_creds(creds, &option("creds")),
        (_, _, Some(name), Some(password)) => user(name, password.clone(), &option("username")),
        (false, None, None, None) => Ok(Login::Stored),
    }
}

fn needs(given: &str, missing: &str) -> Failure {
    Failure::usage(format!("{given} needs {missing} as well"))
}

/// `USER[:PASSWORD]`, split at the first colon; no colon means an empty password.
fn split_creds(creds: &Secret, option: &str) -> Result<Login, Failure> {
    let (name, password) = creds.expose().split_once(':').unwrap_or((creds.expose(), ""));
    user(name, Secret::new(password), option)
}

fn user(name: &str, password: Secret, option: &str) -> Result<Login, Failure> {
    if name.is_empty() {
        return Err(Failure::usage(format!("{option}: the user name is empty")));
    }
    Ok(Login::User { name: name.to_owned(), password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Prefix;
    use crate::failure::Exit;

    fn args(creds: Option<&str>, user: Option<&str>, pass: Option<&str>, none: bool) -> SideArgs {
        SideArgs {
            prefix: Prefix::Src,
            creds: creds.map(Secret::new),
            username: user.map(str::to_owned),
            password: pass.map(Secret::new),
            no_creds: none,
            registry_token: None,
            tls_verify: None,
            cert_dir: None,
            authfile: None,
            shared_blob_dir: None,
            daemon_host: None,
        }
    }

    #[test]
    fn splits_credentials_at_the_first_colon() {
        for (text, name, password) in [("a:b:c", "a", "b:c"), ("a", "a", ""), ("a:", "a", "")] {
            let expected = Login::User { name: name.to_owned(), password: Secret::new(password) };
            assert_eq!(login(&args(Some(text), None, None, false)).unwrap(), expected);
        }
        assert_eq!(login(&args(None, None, None, true)).unwrap(), Login::Anonymous);
        assert_eq!(login(&args(None, None, None, false)).unwrap(), Login::Stored);
    }

    #[test]
    fn refuses_contradictions_without_showing_secrets() {
        for (args, expected) in [
            (args(Some("a:pw"), None, None, true), "--src-creds and --src-no-creds exclude"),
            (args(None, Some("a"), Some("pw"), true), "--src-username and --src-no-creds"),
            (args(None, None, Some("pw"), true), "--src-password and --src-no-creds"),
            (args(Some("a:pw"), Some("a"), None, false), "--src-creds and --src-username"),
            (args(Some("a:pw"), None, Some("pw"), false), "--src-creds and --src-password"),
            (args(None, Some("a"), None, false), "--src-username needs --src-password"),
            (args(None, None, Some("pw"), false), "--src-password needs --src-username"),
            (args(Some(""), None, None, false), "--src-creds: the user name is empty"),
            (args(Some(":pw"), None, None, false), "--src-creds: the user name is empty"),
            (args(None, Some(""), Some("pw"), false), "--src-username: the user name is empty"),
        ] {
            let failure = login(&args).unwrap_err();
            let text = failure.to_string();
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("pw"), "{text}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }
}
