//! `securecp login`

use std::io::{self, Read};

use anyhow::Context;
use securecp_registry::{
    AuthStore, Class, Credentials, Environment, Key, Registries, RegistryError, Secret,
};

use crate::args::{AuthFileArgs, LoginArgs, Secret as GivenSecret};
use crate::connect::Doors;
use crate::failure::Failure;
use crate::prompt;
use crate::request::{Login, Retry, SideRequest, both};
use crate::session::Session;

/// Longest password that is read from standard input, in bytes.
const PASSWORD_LIMIT: u64 = 64 << 10;

/// Tries credentials and stores them.
pub(crate) fn run(args: LoginArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    check(&args)?;
    let key = parse_key(&args.registry)?;
    let store = store(&args.files)?;
    let stored = store.find(&key, session.scope)?;
    if args.get_login {
        return match stored {
            Some(found) => session.write(format!("{}\n", found.user()).as_bytes()),
            None => Err(Failure::new(format!("not logged into {}", key.as_str()))),
        };
    }
    let globals = session.globals.clone();
    let once = globals.lenient.then_some(0);
    let doors = Doors::new(&globals, Retry { times: once, delay: None })?;
    let given = args.username.is_some() || args.password.is_some();
    if let Some(found) = stored.filter(|_| !given) {
        session.say(&format!("Authenticating with existing credentials for {}", key.as_str()))?;
        let registries = registries(&args, &doors, found);
        if registries.check_login(&key, session.scope).is_ok() {
            let registry = key.as_str();
            return session
                .say(&format!("Existing credentials are valid. Already logged in to {registry}"));
        }
    }
    let user = args.username.clone().map_or_else(|| prompt::line("Username: "), Ok)?;
    let password = password(&args)?;
    let credentials = Credentials::Password { user: user.clone(), password: password.clone() };
    let tried = registries(&args, &doors, credentials).check_login(&key, session.scope);
    tried.map_err(|error| refused(error, &key))?;
    store.store(&key, &user, &password, session.scope)?;
    if args.verbose {
        session.say(&format!("Used:  {}", store.path().display()))?;
    }
    session.say("Login Succeeded!")
}

/// What to do differently is not said by the options of other commands.
fn refused(error: RegistryError, key: &Key) -> Failure {
    let class = error.class();
    let failure: Failure =
        anyhow::Error::new(error).context(format!("logging into {:?}", key.as_str())).into();
    match class {
        Class::Auth => failure.hint(
            "are user name and password right? --username and --password-stdin give others; some registries want a \
             token as the password",
        ),
        _ => failure,
    }
}

fn check(args: &LoginArgs) -> Result<(), Failure> {
    if args.password_stdin && args.password.is_some() {
        return Err(both("--password-stdin", "--password"));
    }
    if args.password_stdin && args.username.is_none() {
        return Err(Failure::usage("--password-stdin needs --username as well"));
    }
    Ok(())
}

/// Reads the name of a registry or namespace.
pub(super) fn parse_key(text: &str) -> Result<Key, Failure> {
    // Of docker://h or https://h only a registry called docker or https would be left.
    let key = if text.contains("://") { None } else { Key::parse(text) };
    key.ok_or_else(|| {
        let shown = securecp_oci::Escaped::new(text).to_string();
        Failure::usage(format!("{shown:?} is not a registry, expected HOST[:PORT][/PATH]"))
    })
}

/// The file with credentials that is meant.
pub(super) fn store(files: &AuthFileArgs) -> Result<AuthStore, Failure> {
    let (authfile, compatible) = (files.authfile.as_deref(), files.compat_auth_file.as_deref());
    if authfile.is_some() && compatible.is_some() {
        return Err(Failure::usage(
            "options for paths to the credential file and to the Docker-compatible credential file can not be set \
             simultaneously",
        ));
    }
    Ok(AuthStore::choose(authfile, compatible, &Environment::default())?)
}

fn password(args: &LoginArgs) -> Result<Secret, Failure> {
    if let Some(password) = &args.password {
        return Ok(Secret::new(password.expose().to_owned()));
    }
    if !args.password_stdin {
        return prompt::secret("Password: ");
    }
    let mut text = String::new();
    let read = io::stdin().lock().take(PASSWORD_LIMIT).read_to_string(&mut text);
    read.context("reading the password from standard input")?;
    let bare = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(bare.strip_suffix('\r').unwrap_or(bare).to_owned()))
}

/// The registries as somebody with these credentials meets them.
fn registries(args: &LoginArgs, doors: &Doors<'_>, credentials: Credentials) -> Registries {
    let login = match credentials {
        Credentials::Password { user, password } => {
            Login::User { name: user, password: GivenSecret::new(password.expose()) }
        }
        Credentials::Identity { .. } => Login::Stored,
    };
    doors.registries(&SideRequest {
        login,
        registry_token: None,
        tls_verify: args.tls_verify,
        cert_dir: args.cert_dir.clone(),
        authfile: args.files.authfile.clone(),
        shared_blob_dir: None,
        daemon_host: None,
    })
}
