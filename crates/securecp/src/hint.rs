//! The obvious next step, where there is one.

use std::error::Error;
use std::io;

use securecp_copy::{Cause, CopyError, Phase, PlanError, Side};
use securecp_layer::{LayerError, Stopped};
use securecp_net::NetError;
use securecp_registry::{Class, Problem, RegistryError};
use securecp_transport::TransportError;

/// The hint that belongs to an error of a command whose options for an image begin with what the error's side says.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    let prefix = match copy_error(error).and_then(|copy| copy.side) {
        Some(Side::Source) => "--src-",
        Some(Side::Destination) => "--dest-",
        None => "--",
    };
    with_prefix(error, prefix)
}

fn copy_error(error: &anyhow::Error) -> Option<&CopyError> {
    error.chain().find_map(|cause| cause.downcast_ref::<CopyError>())
}

/// The hint that belongs to an error, with the options that begin with `prefix`.
pub(crate) fn with_prefix(error: &anyhow::Error, prefix: &str) -> Option<String> {
    let copy = copy_error(error);
    let hint = copy.and_then(of_copy);
    let hint = hint.or_else(|| error.chain().find_map(|cause| within(cause, prefix)));
    // The name is right where only a part of the image is missing.
    let of_part = copy.is_some_and(|copy| !copy.is_not_found());
    let hint = hint.filter(|hint| !of_part || *hint != not_found());
    let looking = copy.is_some_and(|copy| copy.phase == Phase::Evidence && !copy.is_stopped());
    hint.or_else(|| looking.then(|| NO_EVIDENCE.to_owned()))
}

/// Where new signatures of registry images go.
const SIGNATURES_GO: &str = "registries.d says where signatures go: use-sigstore-attachments: true attaches those of sigstore, lookaside: or lookaside-staging: names a folder for those of OpenPGP";

/// Where a registry answers oddly when it is asked for evidence.
const NO_EVIDENCE: &str =
    "--evidence none copies the image without looking for what stands beside it";

fn of_copy(error: &CopyError) -> Option<String> {
    match &error.cause {
        Cause::Refused(refusal) if !refusal.verdict().is_refused_by_policy() => Some(
            "the trust file of --trust decided; verify with the same options lists what was found".to_owned(),
        ),
        Cause::Refused(refusal) => Some(format!(
            "the entry {} of the trust policy decided; change it only if you trust this image",
            refusal.verdict().scope
        )),
        Cause::Plan(PlanError::Signatures { .. } | PlanError::SignaturesUnknown { .. }) => {
            Some("--remove-signatures copies the image without them".to_owned())
        }
        Cause::Plan(PlanError::NewSignature { name, .. }) if name.starts_with("docker:") => {
            Some(SIGNATURES_GO.to_owned())
        }
        Cause::Evidence(error) => Some(error.hint()),
        Cause::Plan(PlanError::Invalidates { .. }) => Some(
            "--remove-signatures copies the image without them; --on-orphaned record leaves a signed record of the change"
                .to_owned(),
        ),
        Cause::Plan(PlanError::NoRoom { .. }) => {
            Some("--evidence none leaves it behind".to_owned())
        }
        Cause::Plan(PlanError::Orphaned { signatures, others, .. }) => {
            Some(leaves_behind(*signatures, *others))
        }
        Cause::NoPlatform(_) => Some(
            "--override-os, --override-arch and --override-variant choose another image, --all copies every one"
                .to_owned(),
        ),
        _ if error.is_not_found() => Some(not_found()),
        _ => None,
    }
}

/// Which switch leaves which evidence behind.
fn leaves_behind(signatures: usize, others: usize) -> String {
    const RECORD: &str = "--on-orphaned record leaves a signed record of the change as well";
    match (signatures, others) {
        (0, _) => format!("--on-orphaned drop leaves it behind; {RECORD}"),
        (_, 0) => format!("--remove-signatures leaves it behind; {RECORD}"),
        _ => format!("--remove-signatures --on-orphaned drop leaves it behind; {RECORD}"),
    }
}

fn not_found() -> String {
    "is the name spelled as it is there, with its tag?".to_owned()
}

/// The hint for one error, or for one that it wraps without being listed in the chain of causes.
fn within(error: &(dyn Error + 'static), prefix: &str) -> Option<String> {
    if let Some(cause) = error.downcast_ref::<Cause>() {
        return match cause {
            Cause::Transport(error) => of_transport(error, prefix),
            Cause::Stopped(stopped) => of_stopped(stopped),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<TransportError>() {
        return of_transport(error, prefix);
    }
    if let Some(error) = error.downcast_ref::<RegistryError>() {
        return of_registry(error, prefix);
    }
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return of_stopped(stopped);
    }
    error.downcast_ref::<io::Error>().and_then(of_io)
}

fn of_transport(error: &TransportError, prefix: &str) -> Option<String> {
    match error {
        TransportError::Registry(error) => of_registry(error, prefix),
        TransportError::Stopped(stopped) | TransportError::Layer(LayerError::Stopped(stopped)) => {
            of_stopped(stopped)
        }
        TransportError::NotFound { .. } => Some(not_found()),
        _ => None,
    }
}

fn of_registry(error: &RegistryError, prefix: &str) -> Option<String> {
    match (error.problem(), error.class()) {
        (Problem::Net(error), _) => of_net(error, prefix),
        (Problem::Stopped(stopped), _) => of_stopped(stopped),
        (Problem::Refused(refusal), _)
            if refusal.codes().iter().any(|found| found.code == "MANIFEST_BLOB_UNKNOWN") =>
        {
            Some(
                "the registry takes an index only with all that it names; --index rewrite or --all copies such a one"
                    .to_owned(),
            )
        }
        (_, Class::Auth) => Some(match error.credentials() {
            Some(source) => format!(
                "the credentials came from {source}; {prefix}creds USER:PASSWORD gives others"
            ),
            None => format!("no credentials were sent; {prefix}creds USER:PASSWORD gives some"),
        }),
        (_, Class::NotFound) => Some(not_found()),
        _ => None,
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
        _ => None,
    }
}

fn of_stopped(stopped: &Stopped) -> Option<String> {
    let late = matches!(stopped, Stopped::Deadline { .. });
    late.then(|| "--command-timeout sets the time limit".to_owned())
}

fn of_io(error: &io::Error) -> Option<String> {
    let text = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "your user may not do this; check owner and mode of the path"
        }
        io::ErrorKind::StorageFull => "the disk is full",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn finds_the_cause_that_has_a_next_step() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = anyhow::Error::new(denied).context("opening x");
        assert!(of(&error).unwrap().contains("owner and mode"));
        assert_eq!(of(&anyhow::anyhow!("boom")), None);
    }

    #[test]
    fn sees_through_wrappers_that_are_no_links_of_the_chain() {
        let stopped = Stopped::Deadline { limit: Duration::from_secs(1) };
        let error = anyhow::Error::new(TransportError::Layer(LayerError::Stopped(stopped)));
        assert!(of(&error).unwrap().starts_with("--command-timeout"));
        let missing = TransportError::NotFound { subject: "v1".to_owned(), place: "x".to_owned() };
        assert_eq!(of(&anyhow::Error::new(missing).context("reading")), Some(not_found()));
    }

    #[test]
    fn names_the_option_of_the_side() {
        let plain = NetError::PlainHttp { host: "h".to_owned() };
        assert!(of_net(&plain, "--src-").unwrap().starts_with("--src-tls-verify=false "));
    }
}
