//! `docker://`: images in a registry.

mod attachments;
mod destination;
mod evidence;
mod kept;
mod lookaside;
mod source;

use securecp_layer::LayerError;
use securecp_oci::{ImageName, Reference};
use securecp_registry::{Problem, RegistryError};

pub(crate) use destination::DockerDestination;
pub use lookaside::{SignatureLocation, SignatureLocator, SignatureStorage, SignatureStorages};
pub(crate) use source::DockerSource;

use crate::TransportError;

const NO_PLACE: &str = "no place for signatures is configured";

/// Reads `//HOST/PATH[:TAG|@DIGEST]`; without either, the tag is `latest`.
pub(crate) fn reference(name: &ImageName) -> Result<Reference, TransportError> {
    let rest = name.rest.strip_prefix("//").ok_or_else(|| TransportError::Name {
        name: name.to_string(),
        problem: "expected docker://REFERENCE".to_owned(),
    })?;
    rest.parse().map_err(|source| TransportError::Reference { name: name.to_string(), source })
}

/// A failure of the chain or a stopped job is not the registry's.
fn failure(error: RegistryError) -> TransportError {
    match error.problem() {
        Problem::Layer(_) | Problem::Stopped(_) => match error.into_problem() {
            Problem::Layer(error) => TransportError::Layer(error),
            Problem::Stopped(stopped) => TransportError::Stopped(stopped),
            // The match above leaves nothing else.
            other => TransportError::Layer(LayerError::Transform {
                transform: "registry",
                problem: other.to_string(),
            }),
        },
        _ => TransportError::Registry(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> Result<String, String> {
        let name: ImageName = format!("docker:{rest}").parse().unwrap();
        reference(&name).map(|r| r.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_references_as_the_reference_does() {
        assert_eq!(parsed("//busybox").unwrap(), "docker.io/library/busybox:latest");
        assert_eq!(parsed("//localhost:5000/a/b:x").unwrap(), "localhost:5000/a/b:x");
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(
            parsed(&format!("//r.example/a@{digest}")).unwrap(),
            format!("r.example/a@{digest}")
        );
        for bad in ["busybox", "/busybox", "//", "//UPPER", &format!("//r.example/a:t@{digest}")] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
