use std::path::PathBuf;

use securecp_oci::{ImageName, Transport};

use super::{Globals, both};
use crate::args::{Secret, SideArgs, SidesArgs};
use crate::failure::Failure;

/// How to reach one side.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// Whatever is stored for the registry.
    Stored,
    /// Nobody, whatever is stored.
    Anonymous,
    /// This user.
    User { name: String, password: Secret },
}

impl SideRequest {
    /// Checks what was given for reaching `images`.
    pub(crate) fn new(
        args: SideArgs,
        images: &[ImageName],
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let login = login(&args)?;
        check_side(&args, images, globals)?;
        Ok(Self {
            login,
            registry_token: args.registry_token,
            tls_verify: args.tls_verify.or(globals.tls_verify),
            cert_dir: args.cert_dir,
            authfile: args.authfile,
            shared_blob_dir: args.shared_blob_dir,
            daemon_host: args.daemon_host,
        })
    }
}

impl SideRequest {
    /// How to reach what records name, whatever that will be. It has no option in common with the image, so that nobody's
    /// credentials go to whoever a record names.
    pub(crate) fn of_records(
        args: SideArgs,
        followed: bool,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let given = options(&args).into_iter().find(|(_, given, _)| *given);
        if let (false, Some((option, ..))) = (followed, given) {
            let option = format!("--{}{option}", args.prefix.text());
            return Err(Failure::usage(format!("{option} has no effect without --follow-record")));
        }
        let name = |transport, rest: &str| ImageName { transport, rest: rest.to_owned() };
        let images = [name(Transport::Docker, "//SOURCE"), name(Transport::Oci, "SOURCE")];
        Self::new(args, &images, globals)
    }
}

/// Transports that have a use for an option of a side.
const REGISTRY: &[Transport] = &[Transport::Docker];
const NETWORK: &[Transport] = &[Transport::Docker, Transport::DockerDaemon];
const DAEMON: &[Transport] = &[Transport::DockerDaemon];
const LAYOUT: &[Transport] = &[Transport::Oci];

/// Both sides of a copy, each with the options that they share unless it has its own.
pub(crate) fn sides(
    args: SidesArgs,
    (from, to): (&[ImageName], &[ImageName]),
    globals: &Globals,
) -> Result<[SideRequest; 2], Failure> {
    let shared = args.both;
    let all: Vec<&ImageName> = from.iter().chain(to).collect();
    for (option, given, useful) in [
        ("--authfile", shared.authfile.is_some(), REGISTRY),
        ("--tls-verify", shared.tls_verify.is_some(), NETWORK),
    ] {
        check_use((option, given), useful, &all, globals)?;
    }
    let request = |args: SideArgs, images| -> Result<SideRequest, Failure> {
        let own = args.tls_verify;
        let side = SideRequest::new(args, images, globals)?;
        Ok(SideRequest {
            authfile: side.authfile.or_else(|| shared.authfile.clone()),
            tls_verify: own.or(shared.tls_verify).or(side.tls_verify),
            ..side
        })
    };
    Ok([request(args.source.into(), from)?, request(args.destination.into(), to)?])
}

/// Refuses options of a side that none of its images has a use for.
fn check_side(args: &SideArgs, images: &[ImageName], globals: &Globals) -> Result<(), Failure> {
    let images: Vec<&ImageName> = images.iter().collect();
    for (option, given, useful) in options(args) {
        let option = format!("--{}{option}", args.prefix.text());
        check_use((&option, given), useful, &images, globals)?;
    }
    Ok(())
}

/// Every option of a side, whether it was given, and where it is of use.
fn options(args: &SideArgs) -> [(&'static str, bool, &'static [Transport]); 10] {
    [
        ("creds", args.creds.is_some(), REGISTRY),
        ("username", args.username.is_some(), REGISTRY),
        ("password", args.password.is_some(), REGISTRY),
        ("no-creds", args.no_creds, REGISTRY),
        ("registry-token", args.registry_token.is_some(), REGISTRY),
        ("authfile", args.authfile.is_some(), REGISTRY),
        ("tls-verify", args.tls_verify.is_some(), NETWORK),
        ("cert-dir", args.cert_dir.is_some(), NETWORK),
        ("shared-blob-dir", args.shared_blob_dir.is_some(), LAYOUT),
        ("daemon-host", args.daemon_host.is_some(), DAEMON),
    ]
}

fn check_use(
    (option, given): (&str, bool),
    useful: &[Transport],
    images: &[&ImageName],
    globals: &Globals,
) -> Result<(), Failure> {
    if !given || images.iter().any(|image| useful.contains(&image.transport)) {
        return Ok(());
    }
    let images: Vec<String> = images.iter().map(ToString::to_string).collect();
    let useful: Vec<String> = useful.iter().map(|name| format!("{name}:")).collect();
    globals.no_effect(format!(
        "{option} has no effect on {}, only on {} images",
        images.join(" and "),
        useful.join(" and ")
    ))
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
    use crate::args::{Command, Prefix, read};
    use crate::failure::Exit;

    fn globals(lenient: bool) -> Globals {
        let cli = read(["securecp", "demo"]).unwrap();
        Globals { lenient, ..Globals::try_from(cli.globals).unwrap() }
    }

    fn nothing() -> SideArgs {
        args(None, None, None, false)
    }

    fn check(args: SideArgs, image: &str, lenient: bool) -> Result<SideRequest, Failure> {
        SideRequest::new(args, &[image.parse().unwrap()], &globals(lenient))
    }

    #[test]
    fn options_that_the_transport_has_no_use_for_are_refused() {
        const REGISTRY: &[&str] = &["docker://h.example/x"];
        const NETWORK: &[&str] = &["docker://h.example/x", "docker-daemon:x:v1"];
        let with_creds = || args(Some("u:p"), None, None, false);
        let with = |change: fn(&mut SideArgs)| {
            move || {
                let mut given = nothing();
                change(&mut given);
                given
            }
        };
        let user = || args(None, Some("u"), Some("p"), false);
        let nobody = || args(None, None, None, true);
        let token = with(|side| side.registry_token = Some(Secret::new("t")));
        let authfile = with(|side| side.authfile = Some("f".into()));
        let unverified = with(|side| side.tls_verify = Some(false));
        let verified = with(|side| side.tls_verify = Some(true));
        let certificates = with(|side| side.cert_dir = Some("c".into()));
        let shared = with(|side| side.shared_blob_dir = Some("b".into()));
        let engine = with(|side| side.daemon_host = Some("unix:///s".to_owned()));
        for (given, useful) in [
            (&with_creds as &dyn Fn() -> SideArgs, REGISTRY),
            (&user, REGISTRY),
            (&nobody, REGISTRY),
            (&token, REGISTRY),
            (&authfile, REGISTRY),
            (&unverified, NETWORK),
            (&verified, NETWORK),
            (&certificates, NETWORK),
            (&shared, &["oci:a:b"]),
            (&engine, &["docker-daemon:x:v1"]),
        ] {
            for image in [
                "docker://h.example/x",
                "docker-daemon:x:v1",
                "oci:a:b",
                "dir:a",
                "oci-archive:a",
                "docker-archive:a",
            ] {
                let strict = check(given(), image, false);
                assert_eq!(strict.is_ok(), useful.contains(&image), "{image} {:?}", given());
                assert!(strict.err().is_none_or(|error| error.exit() == Exit::Usage));
                assert!(check(given(), image, true).is_ok(), "the reference's manners: a warning");
            }
        }
        let error = check(with_creds(), "dir:a", false).unwrap_err().to_string();
        assert_eq!(error, "--src-creds has no effect on dir:a, only on docker: images");
    }

    #[test]
    fn shared_options_go_to_both_sides_and_yield_to_their_own() {
        let read = |from: &str, to: &str, own: &[&str]| {
            let shared = ["securecp", "copy", from, to, "--authfile", "both", "--tls-verify=false"];
            let line = shared.iter().chain(own);
            let Command::Copy(args) = read(line).unwrap().command else {
                panic!("parsed as something else");
            };
            let names = [from, to].map(|name| [name.parse::<ImageName>().unwrap()]);
            sides(args.sides, (&names[0], &names[1]), &globals(false))
        };
        let own = ["--dest-authfile", "own"];
        let [source, destination] = read("oci:a:b", "docker://h.example/x", &own).unwrap();
        assert_eq!(source.authfile, Some("both".into()));
        assert_eq!(destination.authfile, Some("own".into()));
        assert_eq!(destination.tls_verify, Some(false));
        let error = read("dir:a", "oci:b:c", &[]).unwrap_err().to_string();
        assert_eq!(error, "--authfile has no effect on dir:a and oci:b:c, only on docker: images");
    }

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
