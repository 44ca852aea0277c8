use std::slice;
use std::str::FromStr;

use securecp_oci::{Escaped, ImageName, Reference, Transport};
use securecp_transport::check_name;

use super::{Globals, Retry, SideRequest};
use crate::args::{ImageArgs, RetryArgs, SideArgs};
use crate::failure::Failure;

/// One image or repository and how to reach it, checked.
#[derive(Debug)]
pub(crate) struct ImageRequest {
    pub(crate) name: ImageName,
    pub(crate) side: SideRequest,
    pub(crate) retry: Retry,
}

impl ImageRequest {
    pub(crate) fn new(
        name: &str,
        side: ImageArgs,
        retry: &RetryArgs,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let name = image("image", name)?;
        let side = SideRequest::new(SideArgs::from(side), slice::from_ref(&name), globals)?;
        Ok(Self { name, side, retry: Retry::looking(retry, globals) })
    }
}

/// Parses an image name of the command line.
pub(crate) fn image(side: &str, text: &str) -> Result<ImageName, Failure> {
    let problem = |error: securecp_oci::NameError| {
        Failure::usage(format!("{side}: {error}"))
            .hint("an image is TRANSPORT:NAME, with docker://, oci: or dir: in front")
    };
    let name = ImageName::from_str(text).map_err(problem)?;
    check_name(&name, side == DESTINATION).map_err(|error| {
        let causes = anyhow::Error::new(error);
        Failure::usage(format!("{side}: {causes:#}")).hint(grammar(name.transport))
    })?;
    Ok(name)
}

/// The side that is written to.
pub(super) const DESTINATION: &str = "destination";

/// How a name of a transport is written.
fn grammar(transport: Transport) -> &'static str {
    match transport {
        Transport::Docker => {
            "docker://HOST[:PORT]/REPOSITORY with :TAG or @DIGEST behind it, not both; a repository is written in lower case"
        }
        Transport::Oci | Transport::OciArchive => {
            "PATH:NAME, for example oci:layout:v1; :@N chooses an image that is there by its position"
        }
        Transport::DockerArchive => {
            "docker-archive:FILE:NAME:TAG; :@N chooses an image that is there by its position"
        }
        Transport::Dir | Transport::DockerDaemon => "TRANSPORT:NAME",
    }
}

/// Reads the rest of a docker: name; the result may name only a repository.
pub(crate) fn docker_reference(name: &ImageName) -> Result<Reference, Failure> {
    let rest = name.rest.strip_prefix("//");
    let rest =
        rest.ok_or_else(|| Failure::usage(format!("{name}: expected docker://REFERENCE")))?;
    let parsed = Reference::parse_any(rest);
    parsed.map_err(|error| Failure::usage(format!("{}: {error}", Escaped::new(rest))))
}
