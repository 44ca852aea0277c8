//! The obvious next step, where there is one.

use std::io;

use securecp_copy::{Cause, CopyError, PlanError, Side};
use securecp_layer::Stopped;
use securecp_net::NetError;

/// The hint that belongs to an error.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    let copy = error.chain().find_map(|cause| cause.downcast_ref::<CopyError>());
    let prefix = match copy.and_then(|copy| copy.side) {
        Some(Side::Source) => "--src-",
        Some(Side::Destination) => "--dest-",
        None => "--",
    };
    copy.and_then(of_copy).or_else(|| error.chain().find_map(|cause| of_cause(cause, prefix)))
}

fn of_copy(error: &CopyError) -> Option<String> {
    match &error.cause {
        Cause::Refused(refusal) => Some(format!(
            "the entry {} of the trust policy decided; change it only if you trust this image",
            refusal.verdict().scope
        )),
        Cause::Plan(PlanError::Signatures { .. } | PlanError::SignaturesUnknown { .. }) => {
            Some("--remove-signatures copies the image without them".to_owned())
        }
        Cause::NoPlatform(_) => Some(
            "--override-os, --override-arch and --override-variant choose another image, --all copies every one"
                .to_owned(),
        ),
        _ if error.is_not_found() => {
            Some("is the name spelled as it is at the source, with its tag?".to_owned())
        }
        _ => None,
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static), prefix: &str) -> Option<String> {
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return of_io(io);
    }
    if let Some(Stopped::Deadline { .. }) = cause.downcast_ref::<Stopped>() {
        return Some("--command-timeout sets the time limit".to_owned());
    }
    match cause.downcast_ref::<NetError>()? {
        NetError::PlainHttp { .. } => Some(format!(
            "{prefix}tls-verify=false allows plain HTTP, for registries that you reach over a network you trust"
        )),
        NetError::Tls { .. } => Some(format!(
            "{prefix}cert-dir DIR names the CA that signed the certificate; {prefix}tls-verify=false verifies nothing"
        )),
        _ => None,
    }
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
    use super::*;

    #[test]
    fn finds_the_cause_that_has_a_next_step() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = anyhow::Error::new(denied).context("opening x");
        assert!(of(&error).unwrap().contains("owner and mode"));
        let plain = NetError::PlainHttp { host: "h".to_owned() };
        assert!(of(&anyhow::Error::new(plain)).unwrap().starts_with("--tls-verify=false"));
        assert_eq!(of(&anyhow::anyhow!("boom")), None);
    }
}
