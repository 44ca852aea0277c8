use std::fmt::{self, Display};
use std::str::FromStr;

use crate::Escaped;

/// The places where images live, by the names that the reference tools use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `docker:` a registry.
    Docker,
    /// `oci:` an OCI image layout directory.
    Oci,
    /// `dir:` a plain directory, "Directory Transport Version".
    Dir,
    /// `oci-archive:` a tar of an OCI image layout.
    OciArchive,
    /// `docker-archive:` a `docker save` tar.
    DockerArchive,
    /// `docker-daemon:` a running Docker engine.
    DockerDaemon,
}

impl Transport {
    /// Every transport, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Docker,
        Self::Oci,
        Self::Dir,
        Self::OciArchive,
        Self::DockerArchive,
        Self::DockerDaemon,
    ];

    /// The name before the first colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Oci => "oci",
            Self::Dir => "dir",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::DockerDaemon => "docker-daemon",
        }
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An image name `TRANSPORT:REST`, split but not yet interpreted: each transport parses its own REST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The transport.
    pub transport: Transport,
    /// What stands behind the first colon, never empty.
    pub rest: String,
}

/// Why a text is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no colon at all.
    #[error("Invalid image name \"{0}\", expected colon-separated transport:reference")]
    NoTransport(String),
    /// The part before the colon is not a transport.
    #[error("Invalid image name \"{name}\", unknown transport \"{transport}\"")]
    UnknownTransport {
        /// The whole name.
        name: String,
        /// The part before the colon.
        transport: String,
    },
    /// Nothing follows the colon.
    #[error("Invalid image name \"{0}\", nothing follows the transport")]
    Empty(String),
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let shown = || Escaped::new(text).to_string();
        let (name, rest) = text.split_once(':').ok_or_else(|| NameError::NoTransport(shown()))?;
        let transport = Transport::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
            NameError::UnknownTransport { name: shown(), transport: Escaped::new(name).to_string() }
        })?;
        if rest.is_empty() {
            return Err(NameError::Empty(shown()));
        }
        Ok(Self { transport, rest: rest.to_owned() })
    }
}

impl Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, Escaped::new(&self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_colon() {
        let name: ImageName = "oci:d:localhost:5000/x:tag".parse().unwrap();
        assert_eq!(
            (name.transport, name.rest.as_str()),
            (Transport::Oci, "d:localhost:5000/x:tag")
        );
        assert_eq!(name.to_string(), "oci:d:localhost:5000/x:tag");
    }

    #[test]
    fn refuses_names_without_known_transport() {
        for bad in ["busybox", "", "dokcer://x", "Docker://x", "oci:"] {
            let error = bad.parse::<ImageName>().unwrap_err().to_string();
            assert!(error.starts_with("Invalid image name"), "{error}");
        }
    }
}
