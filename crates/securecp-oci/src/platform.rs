use std::fmt::{self, Display};

use crate::{Descriptor, Index, ManifestKind};

/// A platform as an index entry or an image configuration states it (OCI image-spec, image index).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Platform {
    /// Operating system, Go's `GOOS` names.
    pub os: String,
    /// CPU architecture, Go's `GOARCH` names.
    pub architecture: String,
    /// CPU variant, for example `v7`; empty when there is none.
    pub variant: String,
    /// Operating system version; not used in matching.
    pub os_version: String,
}

impl Platform {
    /// A platform of system and architecture, without variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), ..Self::default() }
    }
}

impl Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}/{}", self.os, self.architecture);
        crate::Escaped::new(&text).limit(100).fmt(f)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", crate::Escaped::new(&self.variant).limit(40))?;
        }
        Ok(())
    }
}

/// Which platform the user wants from an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformWish {
    /// Wanted operating system.
    pub os: String,
    /// Wanted architecture.
    pub architecture: String,
    /// Wanted variant; `None` prefers an entry without variant, then the most capable one.
    pub variant: Option<String>,
}

impl PlatformWish {
    /// The platforms that satisfy the wish, best first.
    ///
    /// A named variant is tried from itself downwards (arm: v8, v7, v6, v5), then without variant. With no variant
    /// named, the entry without one comes first, then the whole table.
    pub fn candidates(&self) -> Vec<Platform> {
        let table = variants(&self.architecture);
        let variants: Vec<&str> = match self.variant.as_deref() {
            Some(wanted) => match table.iter().position(|v| *v == wanted) {
                Some(start) => table[start..].iter().copied().chain([""]).collect(),
                None => vec![wanted, ""],
            },
            None => [""].into_iter().chain(table.iter().copied()).collect(),
        };
        variants.into_iter().map(|variant| self.platform(variant)).collect()
    }

    /// The position of the entry of `index` that serves the wish best.
    ///
    /// Docker lists: the first entry of the best platform. OCI indexes: the best platform, where an entry that states
    /// no platform comes last; among equals one marked as zstd wins, then the earlier one.
    pub fn choose(&self, index: &Index) -> Option<usize> {
        let wanted = self.candidates();
        let oci = index.kind == ManifestKind::OciIndex;
        let rank = |entry: &Descriptor| match &entry.platform {
            Some(platform) => wanted.iter().position(|w| same_machine(w, platform)),
            None => oci.then_some(wanted.len()),
        };
        index
            .manifests
            .iter()
            .enumerate()
            .filter_map(|(position, entry)| {
                let plain = usize::from(!(oci && is_zstd(entry)));
                rank(entry).map(|rank| (rank, plain, position))
            })
            .min()
            .map(|(_, _, position)| position)
    }

    fn platform(&self, variant: &str) -> Platform {
        let mut platform = Platform::new(&self.os, &self.architecture);
        variant.clone_into(&mut platform.variant);
        platform
    }
}

impl Display for PlatformWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.platform(self.variant.as_deref().unwrap_or_default()).fmt(f)
    }
}

fn same_machine(wanted: &Platform, found: &Platform) -> bool {
    wanted.os == found.os
        && wanted.architecture == found.architecture
        && wanted.variant == found.variant
}

fn is_zstd(entry: &Descriptor) -> bool {
    entry.annotations.get("io.github.containers.compression.zstd").is_some_and(|v| v == "true")
}

fn variants(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "arm" => &["v8", "v7", "v6", "v5"],
        "arm64" => &["v8"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Annotations, Digest, MediaType};

    fn entry(platform: Option<(&str, &str, &str)>, zstd: bool) -> Descriptor {
        let mut d = Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(Algorithm::Sha256, b""), 1);
        d.platform = platform.map(|(os, arch, variant)| Platform {
            variant: variant.to_owned(),
            ..Platform::new(os, arch)
        });
        if zstd {
            d.annotations = Annotations::from([(
                "io.github.containers.compression.zstd".to_owned(),
                "true".to_owned(),
            )]);
        }
        d
    }

    fn choose(
        kind: ManifestKind,
        arch: &str,
        variant: Option<&str>,
        of: Vec<Descriptor>,
    ) -> Option<usize> {
        let wish = PlatformWish {
            os: "linux".to_owned(),
            architecture: arch.to_owned(),
            variant: variant.map(str::to_owned),
        };
        wish.choose(&Index { kind, manifests: of, ..Index::default() })
    }

    #[test]
    fn prefers_the_wanted_variant_then_lesser_ones() {
        let arms = || {
            vec![
                entry(Some(("linux", "arm", "v5")), false),
                entry(Some(("linux", "arm", "v7")), false),
                entry(Some(("linux", "arm", "")), false),
            ]
        };
        assert_eq!(choose(ManifestKind::DockerList, "arm", Some("v8"), arms()), Some(1));
        assert_eq!(choose(ManifestKind::DockerList, "arm", Some("v6"), arms()), Some(0));
        assert_eq!(choose(ManifestKind::DockerList, "arm", None, arms()), Some(2));
        assert_eq!(choose(ManifestKind::DockerList, "arm64", None, arms()), None);
    }

    #[test]
    fn amd64_matches_only_without_variant_unless_named() {
        let list = || vec![entry(Some(("linux", "amd64", "v2")), false)];
        assert_eq!(choose(ManifestKind::OciIndex, "amd64", None, list()), None);
        assert_eq!(choose(ManifestKind::OciIndex, "amd64", Some("v2"), list()), Some(0));
    }

    #[test]
    fn oci_takes_entries_without_platform_last_and_docker_never() {
        let list = || vec![entry(None, false), entry(Some(("linux", "amd64", "")), false)];
        assert_eq!(choose(ManifestKind::OciIndex, "amd64", None, list()), Some(1));
        assert_eq!(choose(ManifestKind::OciIndex, "s390x", None, list()), Some(0));
        assert_eq!(choose(ManifestKind::DockerList, "s390x", None, list()), None);
    }

    #[test]
    fn zstd_wins_among_equals_in_oci_only() {
        let list = || {
            vec![
                entry(Some(("linux", "amd64", "")), false),
                entry(Some(("linux", "amd64", "")), true),
            ]
        };
        assert_eq!(choose(ManifestKind::OciIndex, "amd64", None, list()), Some(1));
        assert_eq!(choose(ManifestKind::DockerList, "amd64", None, list()), Some(0));
    }
}
