use securecp_oci::{ImageName, Reference};

use crate::TransportError;
use crate::path::name_error;
use crate::position::parse_position;

/// Which image of an archive a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The only one.
    Only,
    /// The one with this tag.
    Tagged(Reference),
    /// The one at this position of `manifest.json`, from 0.
    Position(usize),
}

/// `PATH[:REF|:@N]`, split at the first colon; a path cannot contain one.
pub(crate) fn parse(name: &ImageName) -> Result<(String, Selection), TransportError> {
    let (path, image) = name.rest.split_once(':').unwrap_or((&name.rest, ""));
    let selection = match image.strip_prefix('@') {
        Some(position) => Selection::Position(parse_position(name, position)?),
        None if image.is_empty() => Selection::Only,
        None => Selection::Tagged(tagged(name, image)?),
    };
    Ok((path.to_owned(), selection))
}

/// As [`parse`], for an archive that is written.
pub(crate) fn parse_destination(
    name: &ImageName,
) -> Result<(String, Option<Reference>), TransportError> {
    match parse(name)? {
        (path, Selection::Only) => Ok((path, None)),
        (path, Selection::Tagged(reference)) => Ok((path, Some(reference))),
        (_, Selection::Position(n)) => Err(name_error(
            name,
            format!("Destination reference must not contain a manifest index @{n}"),
        )),
    }
}

fn tagged(name: &ImageName, text: &str) -> Result<Reference, TransportError> {
    let reference: Reference = text
        .parse()
        .map_err(|source| TransportError::Reference { name: name.to_string(), source })?;
    match reference.tag() {
        Some(_) => Ok(reference),
        None => Err(name_error(name, "expected a tag, found a digest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_the_reference() {
        let (path, selection) = parse(&"docker-archive:a.tar:busybox".parse().unwrap()).unwrap();
        assert_eq!(path, "a.tar");
        let expected = "docker.io/library/busybox:latest".parse().unwrap();
        assert_eq!(selection, Selection::Tagged(expected));
        let (_, selection) = parse(&"docker-archive:a.tar:@3".parse().unwrap()).unwrap();
        assert_eq!(selection, Selection::Position(3));
        let digest = format!("a.tar:x@sha256:{}", "0".repeat(64));
        for bad in ["a.tar:UPPER", "a.tar:@-1", "a.tar:@x", &digest, "a.tar:a:b:c"] {
            assert!(parse(&format!("docker-archive:{bad}").parse().unwrap()).is_err(), "{bad}");
        }
        assert!(parse_destination(&"docker-archive:a.tar:@0".parse().unwrap()).is_err());
    }
}
