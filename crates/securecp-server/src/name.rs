use std::fmt::{self, Display};
use std::str::FromStr;

use securecp_oci::{Digest, Repository, Tag};

use crate::refusal::Refusal;

/// A repository name that follows the grammar, so that it is a safe relative path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(Box<str>);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        // A host in front keeps the parser from reading the first component as one.
        let parsed = format!("localhost/{text}").parse::<Repository>();
        match parsed {
            Ok(repository) if repository.path() == text => Ok(Self(text.into())),
            _ => Err(Refusal::NameInvalid),
        }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands behind `/manifests/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tag(Tag),
    Digest(Digest),
}

impl FromStr for Target {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(Refusal::DigestInvalid);
        }
        text.parse().map(Self::Tag).map_err(|_| Refusal::TagInvalid)
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_root() {
        for good in ["a", "a/b", "library/busybox", "a.b/c__d/e--f", "blobs/uploads"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a/".repeat(127) + "bc";
        for bad in [
            "", "/", "/a", "a/", "a//b", "..", "../a", "a/..", "a/../b", ".", "a/./b", "_tags",
            "A", "a/_tags", "a\\b", "a\0b", "a:1", "a@b", "a b", "é", &long,
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets_are_tags_or_digests() {
        assert!(matches!("v1".parse(), Ok(Target::Tag(_))));
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse(), Ok(Target::Digest(_))));
        assert!(matches!("sha256:00".parse::<Target>(), Err(Refusal::DigestInvalid(_))));
        assert!(matches!("../x".parse::<Target>(), Err(Refusal::TagInvalid)));
    }
}
