use std::fmt;

use securecp_oci::Digest;

/// Which names may be moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Protection {
    /// Every name.
    #[default]
    None,
    /// Only names that stand for nothing yet.
    NoClobber,
    /// Only names that stand for this digest.
    Expect(Digest),
}

impl Protection {
    /// Whether a name may come to stand for `wanted`; one that does already is as wanted, whoever made it so.
    pub(crate) fn allows(&self, now: Option<&Digest>, wanted: &Digest) -> bool {
        match (self, now) {
            (_, Some(now)) if now == wanted => true,
            (Self::None, _) | (Self::NoClobber, None) => true,
            (Self::NoClobber, Some(_)) | (Self::Expect(_), None) => false,
            (Self::Expect(expected), Some(now)) => expected == now,
        }
    }
}

impl fmt::Display for Protection {
    /// What is expected of a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("anything"),
            Self::NoClobber => f.write_str("nothing"),
            Self::Expect(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::Algorithm;

    #[test]
    fn a_name_moves_only_from_what_is_allowed() {
        let [old, other, new] =
            ["old", "other", "new"].map(|t| Digest::of(Algorithm::Sha256, t.as_bytes()));
        let expect = Protection::Expect(old.clone());
        for (protection, now, allowed) in [
            (&Protection::None, Some(&other), true),
            (&Protection::NoClobber, None, true),
            (&Protection::NoClobber, Some(&new), true),
            (&Protection::NoClobber, Some(&old), false),
            (&expect, Some(&old), true),
            (&expect, Some(&new), true),
            (&expect, Some(&other), false),
            (&expect, None, false),
        ] {
            assert_eq!(protection.allows(now, &new), allowed, "{protection:?} {now:?}");
        }
    }
}
