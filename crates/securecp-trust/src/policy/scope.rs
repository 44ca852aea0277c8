use std::fmt::{self, Display};

use securecp_oci::{Digest, Escaped, ImageIdentity};
use serde::Serialize;

/// Which entry of a policy decides about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ScopeUsed {
    /// An entry below `transports`.
    #[non_exhaustive]
    Transport {
        /// The transport's name.
        transport: String,
        /// The scope; empty for the transport's own default.
        scope: String,
    },
    /// The policy's `default`.
    #[non_exhaustive]
    Default {
        /// Always `true`; tells this case apart in JSON.
        default: bool,
    },
}

impl ScopeUsed {
    pub(super) fn default_entry() -> Self {
        Self::Default { default: true }
    }

    pub(super) fn entry(transport: &str, scope: &str) -> Self {
        Self::Transport { transport: transport.to_owned(), scope: scope.to_owned() }
    }
}

impl Display for ScopeUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport { transport, scope } => {
                let transport = Escaped::new(transport);
                write!(f, "transport {transport}, scope \"{}\"", Escaped::new(scope))
            }
            Self::Default { .. } => f.write_str("default"),
        }
    }
}

/// The scopes that may decide about `identity` below its transport, in the order of lookup.
pub(super) fn candidates(identity: &ImageIdentity) -> impl Iterator<Item = &str> {
    let exact = Some(identity.scope.as_str()).filter(|scope| !scope.is_empty());
    exact.into_iter().chain(identity.namespaces.iter().map(String::as_str)).chain([""])
}

/// Whether `scope` may stand below `transport`; transports that the reference does not know accept everything.
pub(crate) fn is_valid(transport: &str, scope: &str) -> bool {
    if scope.is_empty() {
        return true;
    }
    match transport {
        "dir" | "oci" | "oci-archive" | "sif" => is_clean_path(scope),
        "docker-archive" | "tarball" => false,
        "docker-daemon" => scope.parse::<Digest>().is_err(),
        "containers-storage" => scope.starts_with('[') && scope.find(']').is_some_and(|at| at > 1),
        "atomic" => is_atomic(scope),
        _ => true,
    }
}

/// Absolute, not the root, no empty or dotted component.
fn is_clean_path(scope: &str) -> bool {
    let below = scope.strip_prefix('/');
    below.is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// `HOST[/NAMESPACE[/STREAM[:TAG]]]`.
fn is_atomic(scope: &str) -> bool {
    let parts: Vec<&str> = scope.split('/').skip(1).collect();
    match parts.as_slice() {
        [] => true,
        [namespace] => !namespace.contains(':'),
        [namespace, stream] => !namespace.contains(':') && stream.matches(':').count() <= 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_scopes_by_transport() {
        for (transport, scope, expected) in [
            ("dir", "/a/b", true),
            ("dir", "", true),
            ("dir", "a", false),
            ("dir", "/", false),
            ("dir", "/a/", false),
            ("oci", "/a//b", false),
            ("oci", "/a/./b", false),
            ("oci-archive", "/a/../b", false),
            ("oci", "/x/ocid:tag1", true),
            ("docker", "UPPER *.*", true),
            ("docker-archive", "/a", false),
            ("tarball", "x", false),
            ("docker-archive", "", true),
            ("docker-daemon", "host/x:tag", true),
            ("docker-daemon", &format!("sha256:{}", "0".repeat(64)), false),
            ("containers-storage", "[overlay@/var/lib]", true),
            ("containers-storage", "x", false),
            ("containers-storage", "[]", false),
            ("atomic", "h:1/ns/s:t", true),
            ("atomic", "h/ns/s/more", false),
            ("no-such-transport", "anything at all", true),
        ] {
            assert_eq!(is_valid(transport, scope), expected, "{transport} {scope}");
        }
    }
}
