use securecp_oci::ImageName;

use crate::TransportError;
use crate::path::name_error;
use crate::position::parse_position;

/// Which image of a layout a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The only one.
    Only,
    /// The one with this `org.opencontainers.image.ref.name`.
    Named(String),
    /// The one at this position of `index.json`, from 0.
    Position(usize),
}

/// `PATH[:REF|:@N]`, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutName {
    /// The path, which cannot contain a colon.
    pub(crate) path: String,
    /// What stands behind the first colon.
    pub(crate) selection: Selection,
}

impl LayoutName {
    pub(crate) fn parse(name: &ImageName) -> Result<Self, TransportError> {
        let (path, image) = name.rest.split_once(':').unwrap_or((&name.rest, ""));
        let selection = match image.strip_prefix('@') {
            Some(position) => Selection::Position(parse_position(name, position)?),
            None if image.is_empty() => Selection::Only,
            None if is_ref_name(image) => Selection::Named(image.to_owned()),
            None => return Err(name_error(name, REF_GRAMMAR)),
        };
        Ok(Self { path: path.to_owned(), selection })
    }

    /// As [`LayoutName::parse`], for a name that is written to: it may be empty, but not a position.
    pub(crate) fn parse_destination(
        name: &ImageName,
    ) -> Result<(String, Option<String>), TransportError> {
        let found = Self::parse(name)?;
        match found.selection {
            Selection::Only => Ok((found.path, None)),
            Selection::Named(image) => Ok((found.path, Some(image))),
            Selection::Position(n) => Err(name_error(
                name,
                format!("Destination reference must not contain a manifest index @{n}"),
            )),
        }
    }
}

const REF_GRAMMAR: &str = "what follows the path is not a reference name: expected letters and digits, single \
                           separators -._:@+ or -- between them, parts joined by /";

/// `component("/"component)*`, a component being runs of letters and digits joined by one of `-._:@+` or by `--`.
fn is_ref_name(text: &str) -> bool {
    text.split('/').all(|component| {
        let component = component.replace("--", "+");
        component
            .split(['-', '.', '_', ':', '@', '+'])
            .all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LayoutName, TransportError> {
        LayoutName::parse(&text.parse().unwrap())
    }

    #[test]
    fn splits_at_the_first_colon() {
        let found = parse("oci:d:localhost:5000/x:tag").unwrap();
        assert_eq!(found.path, "d");
        assert_eq!(found.selection, Selection::Named("localhost:5000/x:tag".to_owned()));
        assert_eq!(parse("oci:d").unwrap().selection, Selection::Only);
        assert_eq!(parse("oci:d:").unwrap().selection, Selection::Only);
        assert_eq!(parse("oci:d:@12").unwrap().selection, Selection::Position(12));
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        for bad in
            ["a..b", "-a", "a-", "a/", "/a", "a---b", "a b", "ä", "@", "@-1", "@x", "@1.5", "@+1"]
        {
            assert!(parse(&format!("oci:d:{bad}")).is_err(), "{bad}");
        }
        for good in ["a--b", "a_b", "v1.2-3", "a/b@c+d"] {
            assert!(parse(&format!("oci:d:{good}")).is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_a_position_as_destination() {
        let error = LayoutName::parse_destination(&"oci:d:@0".parse().unwrap()).unwrap_err();
        let text = "Destination reference must not contain a manifest index @0";
        assert!(error.to_string().contains(text), "{error}");
    }
}
