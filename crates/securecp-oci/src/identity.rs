use crate::{Reference, Transport};

/// What an image is called when policies and signatures speak of it: always the name that the user gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIdentity {
    /// The transport whose scopes apply.
    pub transport: Transport,
    /// The most specific scope, for example `docker.io/library/busybox:latest` or an absolute path; empty when the
    /// transport has no identity of its own.
    pub scope: String,
    /// Less specific scopes, nearest first, without the transport's `""`.
    pub namespaces: Vec<String>,
    /// The Docker reference that signatures are matched against; only registries and the daemon have one.
    pub reference: Option<Reference>,
}

impl ImageIdentity {
    /// The identity of an image in a registry (containers-policy.json(5), `docker:`).
    pub fn docker(reference: &Reference) -> Self {
        Self {
            transport: Transport::Docker,
            scope: reference.to_string(),
            namespaces: docker_namespaces(reference),
            reference: Some(reference.clone()),
        }
    }

    /// The identity of a path: parents follow up to, and without, the root. `path` is absolute and symlink-free.
    pub fn path(transport: Transport, path: &str) -> Self {
        let namespaces = std::iter::successors(parent(path), |p| parent(p));
        Self {
            transport,
            scope: path.to_owned(),
            namespaces: namespaces.map(str::to_owned).collect(),
            reference: None,
        }
    }

    /// An image without identity, to which only the transport's `""` scope and the default apply.
    pub fn anonymous(transport: Transport) -> Self {
        Self { transport, scope: String::new(), namespaces: Vec::new(), reference: None }
    }
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

/// Repository, its parent paths, the host with port, then wildcards of the host's parent domains without port.
fn docker_namespaces(reference: &Reference) -> Vec<String> {
    let repository = reference.repository();
    let name = repository.to_string();
    let mut found: Vec<String> =
        std::iter::successors(Some(name.as_str()), |p| parent(p)).map(str::to_owned).collect();
    let mut domain = repository.hostname();
    while let Some((_, rest)) = domain.split_once('.') {
        found.push(format!("*.{rest}"));
        domain = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(reference: &str) -> Vec<String> {
        ImageIdentity::docker(&reference.parse().unwrap()).namespaces
    }

    #[test]
    fn lists_docker_namespaces_in_lookup_order() {
        assert_eq!(
            namespaces("repo"),
            ["docker.io/library/repo", "docker.io/library", "docker.io", "*.io"]
        );
        assert_eq!(
            namespaces("yet.another.example.com:8443/ns/repo:t"),
            [
                "yet.another.example.com:8443/ns/repo",
                "yet.another.example.com:8443/ns",
                "yet.another.example.com:8443",
                "*.another.example.com",
                "*.example.com",
                "*.com"
            ]
        );
        assert_eq!(namespaces("localhost/repo"), ["localhost/repo", "localhost"]);
        // As skopeo 1.9.3 compares them: a host in capitals is another one.
        assert_eq!(namespaces("LOCALHOST:1/repo"), ["LOCALHOST:1/repo", "LOCALHOST:1"]);
        assert_eq!(
            namespaces("127.0.0.1:5588/ns/list:v1")[2..],
            ["127.0.0.1:5588", "*.0.0.1", "*.0.1", "*.1"]
        );
    }

    #[test]
    fn lists_parent_directories_without_the_root() {
        let identity = ImageIdentity::path(Transport::Dir, "/a/b/c");
        assert_eq!(identity.namespaces, ["/a/b", "/a"]);
    }
}
