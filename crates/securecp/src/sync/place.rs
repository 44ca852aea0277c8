use std::str::FromStr;

use securecp_oci::{ImageName, Reference, Transport};

use crate::failure::Failure;
use crate::request::{SyncPlace, docker_reference};

impl SyncPlace {
    /// What the image called `full` at the source is called here.
    pub(super) fn name(&self, full: &str) -> Result<ImageName, Failure> {
        let full = full.trim_start_matches('/');
        let last = full.rsplit('/').next().unwrap_or(full);
        let below = if self.scoped { full } else { last };
        let rest = format!("{}/{below}{}", self.root, self.suffix);
        match self.transport {
            Transport::Docker => in_registry(&rest),
            transport => Ok(ImageName { transport, rest }),
        }
    }
}

fn in_registry(rest: &str) -> Result<ImageName, Failure> {
    let name = ImageName { transport: Transport::Docker, rest: format!("//{rest}") };
    // The registry would refuse it too, but only after everything was read.
    docker_reference(&name)?;
    Reference::from_str(rest).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(
        transport: Transport,
        scoped: bool,
        suffix: &str,
        full: &str,
    ) -> Result<String, Failure> {
        let root = if transport == Transport::Dir { "/media/usb" } else { "h.example/mirror" };
        let place =
            SyncPlace { transport, root: root.to_owned(), scoped, suffix: suffix.to_owned() };
        place.name(full).map(|name| name.to_string())
    }

    #[test]
    fn names_are_the_references() {
        let full = "docker.io/library/busybox:1.36";
        assert_eq!(named(Transport::Dir, false, "", full).unwrap(), "dir:/media/usb/busybox:1.36");
        assert_eq!(
            named(Transport::Dir, true, "-x", full).unwrap(),
            "dir:/media/usb/docker.io/library/busybox:1.36-x"
        );
        assert_eq!(
            named(Transport::Docker, false, "-x", full).unwrap(),
            "docker://h.example/mirror/busybox:1.36-x"
        );
        assert_eq!(
            named(Transport::Docker, true, "", "/sub/image:v1").unwrap(),
            "docker://h.example/mirror/sub/image:v1"
        );
    }

    #[test]
    fn names_that_no_registry_takes_are_refused_at_once() {
        let digest = format!("h.example/a@sha256:{}", "0".repeat(64));
        assert!(named(Transport::Docker, false, "", &digest).is_ok());
        assert!(named(Transport::Docker, false, "-x", &digest).is_err());
        assert!(named(Transport::Docker, true, "", "h.example:5000/a:v1").is_err());
        assert!(named(Transport::Docker, false, "", "Upper").is_err());
    }
}
