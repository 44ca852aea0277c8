//! The obvious next step, where there is one.

mod keys;
mod reach;

use std::error::Error;
use std::io;

use securecp_copy::{Cause, CopyError, Phase, PlanError, Side};
use securecp_crypt::CryptError;
use securecp_layer::Stopped;
use securecp_oci::ConvertError;
use securecp_registry::RegistryError;
use securecp_transport::TransportError;

use reach::{of_registry, of_transport};

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
    // The name is right where only a part of the image is missing.
    let of_part = copy.is_some_and(is_part_missing);
    let causes = || error.chain().find_map(|cause| within(cause, prefix));
    let hint = hint.or_else(|| if of_part { Some(INCOMPLETE.to_owned()) } else { causes() });
    let looking = copy.is_some_and(|copy| copy.phase == Phase::Evidence && !copy.is_stopped());
    hint.or_else(|| looking.then(|| NO_EVIDENCE.to_owned()))
}

fn is_part_missing(error: &CopyError) -> bool {
    let missing = |cause: &(dyn Error + 'static)| {
        let transport = cause.downcast_ref().is_some_and(TransportError::is_not_found);
        transport || cause.downcast_ref().is_some_and(RegistryError::is_not_found)
    };
    let direct = matches!(&error.cause, Cause::Transport(cause) if cause.is_not_found());
    let mut causes =
        std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source());
    let of_image = !matches!(error.phase, Phase::Open | Phase::Evidence);
    of_image && error.side == Some(Side::Source) && (direct || causes.any(missing))
}

/// The image is there, but not all of it.
const INCOMPLETE: &str = "the source does not have all that the image names; bring the image there once more, or copy it from elsewhere";

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
        Cause::Plan(error) => of_plan(error).map(str::to_owned),
        Cause::NoPlatform { there, .. } => Some(format!(
            "{}--platform, or --override-os, --override-arch and --override-variant, choose another image, --all copies \
             every one",
            platforms(there)
        )),
        _ => None,
    }
}

/// Most platforms that are listed.
const PLATFORMS: usize = 16;

fn platforms(there: &[String]) -> String {
    if there.is_empty() {
        return String::new();
    }
    let more = there.len().saturating_sub(PLATFORMS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("platforms there: {}{more}; ", there[..there.len().min(PLATFORMS)].join(", "))
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

/// What the options of the command line can do about a plan that cannot be made.
fn of_plan(error: &PlanError) -> Option<&'static str> {
    match error {
        PlanError::NoIndexes(_) => Some(
            "without --all one image is copied, for the platform that --override-os and --override-arch choose; \
             docker:, oci:, oci-archive: and dir: hold an index",
        ),
        PlanError::Preserve { .. } => Some("without --preserve-digests the image is changed"),
        PlanError::Protected { .. } => Some(
            "inspect shows what the name stands for now; without --no-clobber or --expect-dest-digest it is moved",
        ),
        PlanError::NewSignature { .. } | PlanError::NewBundle { .. } => {
            Some("registries and dir: hold signatures; a bundle needs a registry or an oci: layout")
        }
        PlanError::Crypt { source: CryptError::NoKey { .. }, .. } => Some(
            "--decryption-key FILE is to be the private key of one of the recipients; without it the layers stay \
             encrypted",
        ),
        PlanError::Convert { source: ConvertError::Zstd(_), .. } => {
            Some("--dest-compress-format gzip recompresses the layers")
        }
        PlanError::NotOci { .. } | PlanError::Format { .. } => {
            Some("--format oci or --format v2s2 converts manifests where the image allows it")
        }
        _ => None,
    }
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
    if let Some(hint) = keys::of(error) {
        return Some(hint.to_owned());
    }
    error.downcast_ref::<io::Error>().and_then(of_io)
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

    use securecp_layer::LayerError;

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
        assert!(of(&anyhow::Error::new(missing).context("reading")).is_some());
    }
}
