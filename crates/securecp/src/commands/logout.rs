//! `securecp logout`

use securecp_registry::LoggedOut;

use super::login::{parse_key, store};
use crate::args::LogoutArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Removes stored credentials; no registry is asked.
pub(crate) fn run(args: &LogoutArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let store = store(&args.files)?;
    let registry = match (&args.registry, args.all) {
        (Some(_), true) => return Err(Failure::usage("--all goes with no registry")),
        (None, false) => return Err(Failure::usage("name a registry, or give --all")),
        (None, true) => {
            store.remove_all(session.scope)?;
            return session.say("Removed login credentials for all registries");
        }
        (Some(registry), false) => parse_key(registry)?,
    };
    let name = registry.as_str();
    match store.remove(&registry, session.scope)? {
        LoggedOut::Removed => session.say(&format!("Removed login credentials for {name}")),
        LoggedOut::NotLoggedIn => Err(Failure::new(format!("not logged into {name}"))),
        LoggedOut::KeptByDocker(file) => session.say(&format!(
            "Not logged into {name} with this tool. The credentials that Docker keeps in {} are left alone: use docker \
             logout",
            file.display()
        )),
    }
}
