use std::io;

use securecp_layer::LayerError;
use securecp_net::NetError;
use securecp_registry::{Class, Problem, RegistryError};
use securecp_transport::TransportError;

use super::of_stopped;

/// What does not exist, outside of a registry.
const NOT_THERE: &str =
    "is the path right, seen from here? list-tags shows the names in a layout or archive";

/// What to do about an image or place that cannot be reached, with the options that begin with `prefix`.
pub(super) fn of_transport(error: &TransportError, prefix: &str) -> Option<String> {
    let hint = match error {
        TransportError::Registry(error) => return of_registry(error, prefix),
        TransportError::Network(error) => return of_net(error, prefix),
        TransportError::Stopped(stopped) | TransportError::Layer(LayerError::Stopped(stopped)) => {
            return of_stopped(stopped);
        }
        TransportError::NoEngine { .. } => {
            return Some(format!(
                "{prefix}daemon-host URL says where the engine is; on its socket your user needs read and write permission"
            ));
        }
        TransportError::PossibleEvidence { .. } => "--evidence none leaves all evidence behind",
        TransportError::NotFound { .. } => NOT_THERE,
        TransportError::NoSuchImage { .. } | TransportError::SeveralImages { .. } => {
            "list-tags shows the names that are there"
        }
        TransportError::Occupied { .. } => "name a path where nothing is yet",
        TransportError::Io { operation: "resolving", source, .. }
            if source.kind() == io::ErrorKind::NotFound =>
        {
            "only the last part of a path is made; make the folder that it is to be in"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to do about a registry's answer, or the lack of one.
pub(super) fn of_registry(error: &RegistryError, prefix: &str) -> Option<String> {
    match (error.problem(), error.class()) {
        (Problem::Net(error), _) => of_net(error, prefix),
        (Problem::Stopped(stopped), _) => of_stopped(stopped),
        (Problem::NoRegistry(_), _) => Some(format!(
            "is {} the registry's host and port? a registry answers at /v2/, not below another path",
            error.host()
        )),
        (Problem::Refused(refusal), _)
            if refusal.codes().iter().any(|found| found.code == "MANIFEST_BLOB_UNKNOWN") =>
        {
            Some(
                "the registry takes a manifest only with all that it names; of an index, --index rewrite or --all copies such a one"
                    .to_owned(),
            )
        }
        (_, Class::Auth) => Some(unauthorized(error, prefix)),
        (_, Class::NotFound) => Some(unknown(error)),
        (_, Class::RateLimited) => Some(format!(
            "registries allow more to users that they know: {prefix}creds USER:PASSWORD or login says who you are; \
             --retry-times N waits longer"
        )),
        _ => None,
    }
}

fn unauthorized(error: &RegistryError, prefix: &str) -> String {
    match error.credentials() {
        Some(source) => {
            format!("the credentials came from {source}; {prefix}creds USER:PASSWORD gives others")
        }
        None if let Some(file) = missing_auth_file() => format!(
            "REGISTRY_AUTH_FILE names {file}, which does not exist, so no credentials were sent"
        ),
        None => format!(
            "no credentials were sent; {prefix}creds USER:PASSWORD gives some, login {} stores them",
            error.host()
        ),
    }
}

/// The file that the environment names, if it is not there.
fn missing_auth_file() -> Option<String> {
    let file = std::env::var_os("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty())?;
    let file = std::path::PathBuf::from(file);
    let missing = file.try_exists().is_ok_and(|there| !there);
    missing.then(|| file.display().to_string())
}

fn unknown(error: &RegistryError) -> String {
    match error.repository().filter(|_| error.is_unknown_manifest()) {
        Some(repository) => {
            format!("list-tags docker://{}/{repository} shows the tags that are there", error.host())
        }
        None => "is the repository spelled as it is there? some registries say the same of what you may not see"
            .to_owned(),
    }
}

fn of_net(error: &NetError, prefix: &str) -> Option<String> {
    match error {
        NetError::PlainHttp { .. } => Some(format!(
            "{prefix}tls-verify=false allows plain HTTP, for registries that you reach over a network you trust"
        )),
        NetError::Tls { .. } => Some(format!(
            "{prefix}cert-dir DIR names the CA that signed the certificate; {prefix}tls-verify=false verifies nothing"
        )),
        NetError::Connect { host, transient, .. } => Some(match transient {
            true => format!(
                "does a registry listen on {host}, and may you reach it from here (HTTPS_PROXY)?"
            ),
            false => format!("is {host} spelled right? a name without host is one of docker.io"),
        }),
        NetError::Stalled { .. } => Some("--retry-times N tries more often".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_the_option_of_the_side() {
        let plain = NetError::PlainHttp { host: "h".to_owned() };
        assert!(of_net(&plain, "--src-").unwrap().starts_with("--src-tls-verify=false "));
    }

    #[test]
    fn every_way_not_to_reach_a_registry_has_a_next_step() {
        let source = || Arc::new(io::Error::other("boom"));
        let host = || "h.example".to_owned();
        for (error, says) in [
            (NetError::Tls { host: host(), source: source() }, "--dest-cert-dir DIR"),
            (
                NetError::Connect { host: host(), transient: true, source: source() },
                "listen on h.example",
            ),
            (
                NetError::Connect { host: host(), transient: false, source: source() },
                "is h.example spelled",
            ),
            (NetError::Stalled { host: host(), limit: Duration::from_secs(1) }, "--retry-times"),
        ] {
            assert!(of_net(&error, "--dest-").unwrap().contains(says), "{error}");
        }
    }

    #[test]
    fn every_place_that_is_not_as_expected_has_a_next_step() {
        let (path, problem) = (std::path::PathBuf::from("x"), String::new());
        let (name, host) = ("v1".to_owned(), "unix:///s".to_owned());
        for (error, says) in [
            (
                TransportError::Occupied { path: path.clone(), problem: problem.clone() },
                "nothing is yet",
            ),
            (TransportError::SeveralImages { path: path.clone(), problem }, "list-tags"),
            (TransportError::NoSuchImage { name: name.clone(), place: name.clone() }, "list-tags"),
            (TransportError::NotFound { subject: name.clone(), place: name.clone() }, "path right"),
            (TransportError::NoEngine { host, message: name }, "--src-daemon-host URL"),
            (
                TransportError::Io {
                    operation: "resolving",
                    path,
                    source: io::ErrorKind::NotFound.into(),
                },
                "make the folder",
            ),
        ] {
            assert!(of_transport(&error, "--src-").unwrap().contains(says), "{error}");
        }
    }
}
