use securecp_oci::{Reference, Transport};

use super::{TrustFileError, shown};
use crate::policy::is_valid_scope;

/// Refuses what can be the scope of no image: a demand that is never asked for would be a demand that is not made.
pub(super) fn check(scope: &str) -> Result<(), TrustFileError> {
    let (transport, below) = scope
        .split_once(':')
        .filter(|(transport, _)| !transport.is_empty())
        .ok_or_else(|| TrustFileError::Scope { scope: shown(scope) })?;
    let never = |failure| TrustFileError::NeverMatches { scope: shown(scope), failure };
    if !Transport::ALL.iter().any(|known| known.name() == transport) {
        return Err(never("its transport is unknown"));
    }
    if below.starts_with("//") {
        return Err(never("a scope is written without //"));
    }
    let possible = transport != Transport::Docker.name() || below.is_empty() || is_docker(below);
    let possible = possible && is_valid_scope(transport, below);
    possible.then_some(()).ok_or_else(|| never("no image is called so"))
}

/// `*.DOMAIN`, `HOST[/PATH]`, or a whole reference in its long form.
fn is_docker(scope: &str) -> bool {
    if let Some(domain) = scope.strip_prefix("*.") {
        return !domain.contains([':', '/']) && is_host(&format!("x.{domain}"));
    }
    let (host, path) = scope.split_once('/').unwrap_or((scope, ""));
    if !is_host(host) {
        return false;
    }
    match Reference::parse_any(&format!("host.example/{path}")) {
        Ok(named) if named.is_name_only() => true,
        Ok(_) => Reference::parse_any(scope).is_ok_and(|whole| whole.to_string() == scope),
        Err(_) => path.is_empty() && !scope.ends_with('/'),
    }
}

/// A host that no reference means by another name.
fn is_host(host: &str) -> bool {
    let named = Reference::parse_any(&format!("{host}/x/x"));
    named.is_ok_and(|named| named.repository().host() == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_of_an_image_may_stand() {
        for scope in [
            "docker:",
            "docker:r.test",
            "docker:r.test:5000",
            "docker:localhost",
            "docker:[::1]:5000/a",
            "docker:docker.io",
            "docker:docker.io/library",
            "docker:docker.io/library/nginx:1",
            "docker:*.test",
            "docker:*.io",
            "docker:*.0.0.1",
            "docker:r.test/prod/app_x",
            "docker:r.test/prod/app:v1.2",
            "oci:/srv/images",
            "dir:",
            "docker-archive:",
            "docker-daemon:r.test/x:1",
        ] {
            check(scope).unwrap();
        }
    }

    #[test]
    fn a_scope_that_no_image_has_is_refused() {
        for (scope, failure) in [
            ("docker://r.test/prod", "without //"),
            ("docker://r.test/prod:", "without //"),
            ("docker:r.test/prod:", "called so"),
            ("docker:r.test/prod/", "called so"),
            ("docker:r.test//prod", "called so"),
            ("docker:r.test/Prod", "called so"),
            ("docker:r.test/prod ", "called so"),
            ("docker:nginx", "called so"),
            ("docker:docker.io/nginx:1", "called so"),
            ("docker:index.docker.io/library", "called so"),
            ("docker:r.test/*", "called so"),
            ("docker:*", "called so"),
            ("docker:*.test:5000", "called so"),
            ("docker:*.test/prod", "called so"),
            ("oci:relative", "called so"),
            ("oci:///srv", "without //"),
            ("dir:/", "called so"),
            ("docker-archive:/x.tar", "called so"),
            ("dokcer:r.test", "transport is unknown"),
            ("https://r.test", "transport is unknown"),
            ("Docker:r.test", "transport is unknown"),
            ("r.test/x", "has no transport"),
            (":r.test", "has no transport"),
        ] {
            let error = check(scope).expect_err(scope).to_string();
            assert!(error.contains(failure), "{scope}: {error}");
        }
    }
}
