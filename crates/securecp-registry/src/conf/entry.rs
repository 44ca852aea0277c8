use securecp_oci::{Escaped, Reference};
use serde::Deserialize;

/// One `[[registry]]` as it stands in a file (containers-registries.conf(5)). Keys that are not known are passed over
/// with a warning, so that files for newer tools can be read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Written {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: Option<String>,
    mirror: Vec<WrittenMirror>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct WrittenMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Option<String>,
}

/// One registry, or part of one, that is met differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) prefix: String,
    /// Empty only for a wildcard, whose hosts stay as they are.
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) pull: Pull,
}

/// For which references a mirror is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pull {
    All,
    DigestOnly,
    TagOnly,
}

impl Pull {
    pub(super) fn takes(self, reference: &Reference) -> bool {
        match self {
            Self::All => true,
            Self::DigestOnly => reference.digest().is_some(),
            Self::TagOnly => reference.digest().is_none(),
        }
    }
}

impl TryFrom<Written> for Entry {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let location = place(&written.location)?;
        let prefix = match place(&written.prefix)? {
            prefix if prefix.is_empty() => location.clone(),
            prefix => prefix,
        };
        if prefix.is_empty() {
            return Err("invalid registry: prefix or location is needed".to_owned());
        }
        let shown = Escaped::new(&prefix).to_string();
        match prefix.strip_prefix('*') {
            Some(domain) => check_wildcard(domain, &shown)?,
            None if location.is_empty() => {
                return Err(format!("registry {shown}: location is empty"));
            }
            None => {}
        }
        if written.pull_from_mirror.is_some() {
            return Err(format!("registry {shown}: pull-from-mirror is only for mirrors"));
        }
        let digest_only = written.mirror_by_digest_only;
        let mirrors = written.mirror.into_iter().map(|m| mirror(m, digest_only));
        let mirrors: Result<_, String> = mirrors.collect();
        Ok(Self {
            mirrors: mirrors.map_err(|why| format!("registry {shown}: {why}"))?,
            prefix,
            location,
            insecure: written.insecure,
            blocked: written.blocked,
        })
    }
}

impl Entry {
    /// How many bytes of `name` (host, path, tag or digest) this entry stands for, if it matches.
    pub(super) fn matched(&self, name: &str) -> Option<usize> {
        let Some(domain) = self.prefix.strip_prefix('*') else {
            let rest = name.strip_prefix(self.prefix.as_str())?;
            return (rest.is_empty() || rest.starts_with([':', '/', '@']))
                .then_some(self.prefix.len());
        };
        let host = &name[..name.find(['/', ':', '@']).unwrap_or(name.len())];
        let label = host.strip_suffix(domain)?;
        (!label.is_empty()).then_some(host.len())
    }
}

fn mirror(written: WrittenMirror, digest_only: bool) -> Result<Mirror, String> {
    let location = place(&written.location)?;
    if location.is_empty() {
        return Err("mirror without location".to_owned());
    }
    let pull = match written.pull_from_mirror.as_deref() {
        Some(_) if digest_only => {
            return Err("pull-from-mirror cannot be set with mirror-by-digest-only".to_owned());
        }
        None if digest_only => Pull::DigestOnly,
        None | Some("all") => Pull::All,
        Some("digest-only") => Pull::DigestOnly,
        Some("tag-only") => Pull::TagOnly,
        Some(other) => {
            let shown = Escaped::new(other).limit(40).to_string();
            return Err(format!("unsupported pull-from-mirror value {shown:?}"));
        }
    };
    Ok(Mirror { location, insecure: written.insecure, pull })
}

/// A host with an optional path, without trailing slashes.
fn place(text: &str) -> Result<String, String> {
    if text.contains("://") {
        let shown = Escaped::new(text).to_string();
        return Err(format!("invalid location {shown:?}: URI schemes are not supported"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn check_wildcard(domain: &str, shown: &str) -> Result<(), String> {
    let plain =
        domain.starts_with('.') && domain.len() > 1 && !domain.contains(['/', ':', '@', '*']);
    if plain { Ok(()) } else { Err(format!("invalid prefix {shown:?}: a wildcard is *.DOMAIN")) }
}
