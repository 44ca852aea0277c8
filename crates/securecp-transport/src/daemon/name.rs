use std::fmt::{self, Display};

use securecp_oci::{Algorithm, Digest, ImageIdentity, ImageName, Reference, Transport};

use crate::TransportError;
use crate::path::name_error;

/// What an engine calls an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DaemonName {
    /// By the digest of its configuration.
    Id(Digest),
    /// By name.
    Named(Reference),
}

impl DaemonName {
    /// Reads `sha256:HEX` or a name with a tag or a digest; unlike elsewhere there is no `latest` by default.
    pub(super) fn parse(name: &ImageName) -> Result<Self, TransportError> {
        match name.rest.parse::<Digest>() {
            Ok(id) if id.algorithm() == Algorithm::Sha256 => return Ok(Self::Id(id)),
            Ok(id) => {
                let problem = format!("expected an image ID of sha256, found {}", id.algorithm());
                return Err(name_error(name, problem));
            }
            Err(_) => {}
        }
        let invalid = |source| TransportError::Reference { name: name.to_string(), source };
        if Reference::parse_any(&name.rest).map_err(invalid)?.is_name_only() {
            let problem = format!(
                "reference {} has neither a tag nor a digest",
                securecp_oci::Escaped::new(&name.rest)
            );
            return Err(name_error(name, problem));
        }
        let reference: Reference = name.rest.parse().map_err(invalid)?;
        if reference.repository().to_string() == "docker.io/library/sha256" {
            return Err(name_error(name, "expected an image ID or a name, found the name sha256"));
        }
        Ok(Self::Named(reference))
    }

    /// The name to write to, which needs a tag.
    pub(super) fn tagged(self, name: &ImageName) -> Result<Reference, TransportError> {
        match self {
            Self::Named(reference) if reference.tag().is_some() => Ok(reference),
            _ => Err(name_error(name, "expected a name with a tag as destination")),
        }
    }

    pub(super) fn identity(&self) -> ImageIdentity {
        match self {
            Self::Id(_) => ImageIdentity::anonymous(Transport::DockerDaemon),
            Self::Named(reference) => ImageIdentity {
                transport: Transport::DockerDaemon,
                ..ImageIdentity::docker(reference)
            },
        }
    }
}

impl Display for DaemonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Named(reference) => reference.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<DaemonName, TransportError> {
        DaemonName::parse(&format!("docker-daemon:{rest}").parse().unwrap())
    }

    #[test]
    fn reads_ids_and_names_as_the_reference_does() {
        let hex = "0".repeat(64);
        assert!(matches!(parse(&format!("sha256:{hex}")), Ok(DaemonName::Id(_))));
        let named = parse("busybox:1").unwrap();
        assert_eq!(named.to_string(), "docker.io/library/busybox:1");
        assert_eq!(named.identity().scope, "docker.io/library/busybox:1");
        assert_eq!(parse(&format!("sha256:{hex}")).unwrap().identity().scope, "");
        assert!(parse(&format!("busybox@sha256:{hex}")).is_ok());
        let name: ImageName = "docker-daemon:x".parse().unwrap();
        assert!(parse(&format!("busybox@sha256:{hex}")).unwrap().tagged(&name).is_err());
        for (bad, expected) in [
            ("busybox".to_owned(), "reference busybox has neither a tag nor a digest"),
            (hex.clone(), "invalid reference"),
            ("sha256:latest".to_owned(), "the name sha256"),
            (format!("sha512:{hex}{hex}"), "expected an image ID of sha256"),
            (format!("busybox:1@sha256:{hex}"), "invalid reference"),
            ("UPPER:1".to_owned(), "invalid reference"),
        ] {
            let error = parse(&bad).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
