//! Sources that change records name, opened as the very manifests that were recorded.

use std::error::Error;

use anyhow::anyhow;
use securecp_copy::{Followed, FollowedManifest};
use securecp_layer::Scope;
use securecp_oci::{Descriptor, ImageName, MediaType, RawManifest, Transport};
use securecp_transport::{Source, TransportError, WrappedSource};
use securecp_trust::RecordedSource;

use crate::connect::SourceDoor;
use crate::failure::Failure;
use crate::request::docker_reference;

/// Opens what was recorded: by digest in a registry, as a blob of that digest in a layout. A record is believed about
/// what it says, but it leads to no other kind of place.
pub(crate) fn open_recorded(
    recorded: &RecordedSource,
    door: &SourceDoor<'_>,
) -> Result<Box<dyn Source>, Box<dyn Error + Send + Sync>> {
    let opened = open(recorded, door);
    opened.map_err(|failure| failure.into_error().into())
}

fn open(recorded: &RecordedSource, door: &SourceDoor<'_>) -> Result<Box<dyn Source>, Failure> {
    let name: ImageName = recorded.image.parse()?;
    match name.transport {
        Transport::Docker => {
            let repository = docker_reference(&name)?.repository().clone();
            let rest = format!("//{}", repository.digested(recorded.digest.clone()));
            door.open(&ImageName { rest, ..name })
        }
        Transport::Oci => {
            let media_type = MediaType::new(&recorded.media_type);
            let root = Descriptor::new(media_type, recorded.digest.clone(), recorded.size);
            Ok(Box::new(Pinned { inner: door.open(&name)?, root }))
        }
        other => {
            Err(anyhow!("records are followed to docker: and oci: images, found {other}:").into())
        }
    }
}

/// Why an image is refused whose records were followed: itself, or what it was made from.
pub(crate) fn refused(followed: &Followed) -> Option<Failure> {
    let refusal = followed.verdict.refusal()?;
    let first = followed.records.iter().find(|one| !one.accepted);
    Some(match first.and_then(|one| Some((one, one.source.as_ref()?))) {
        Some((one, source)) if !source.verdict.verdict.accepted => {
            let inner = refused(&source.verdict).unwrap_or_else(|| Failure::from(refusal));
            inner.context(format!("{} was made from {}", one.digest, source.digest))
        }
        _ => Failure::from(refusal).hint(hint(first)),
    })
}

fn hint(first: Option<&FollowedManifest>) -> String {
    let denial = first.and_then(|one| one.denial.as_ref());
    let why = denial.map_or_else(|| "no change record".to_owned(), ToString::to_string);
    format!("--follow-record: {why}")
}

/// An image of a layout whose root is what was recorded, whatever its name stands for now.
struct Pinned {
    inner: Box<dyn Source>,
    root: Descriptor,
}

impl WrappedSource for Pinned {
    fn inner(&self) -> &dyn Source {
        self.inner.as_ref()
    }

    fn wrapped_root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        self.inner.manifest(&self.root, scope)
    }
}
