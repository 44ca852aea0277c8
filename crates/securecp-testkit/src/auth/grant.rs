use std::collections::BTreeMap;

use crate::proxy::Call;

/// One action on one repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Access {
    repository: String,
    action: String,
}

impl Access {
    pub(super) fn new(repository: &str, action: &str) -> Self {
        Self { repository: repository.to_owned(), action: action.to_owned() }
    }

    /// Whether this, as a grant, allows `wanted`.
    pub(super) fn covers(&self, wanted: &Self) -> bool {
        let everywhere = self.repository == "*" || self.repository == wanted.repository;
        everywhere && (self.action == "*" || self.action == wanted.action)
    }
}

/// What a request needs to be allowed; nothing for the ping.
pub(super) fn required(call: &Call) -> Vec<Access> {
    let Some(repository) = repository(&call.path) else { return Vec::new() };
    let mut wanted = vec![Access::new(repository, "pull")];
    match call.method.as_str() {
        "GET" | "HEAD" => {}
        "DELETE" if !call.path.contains("/blobs/uploads/") => {
            wanted = vec![Access::new(repository, "delete")];
        }
        _ => wanted.push(Access::new(repository, "push")),
    }
    let mut parameters = url::form_urlencoded::parse(call.query.as_bytes());
    if call.method == "POST"
        && let Some((_, from)) = parameters.find(|(key, _)| key == "from")
    {
        wanted.push(Access::new(&from, "pull"));
    }
    wanted
}

/// `repository:NAME:ACTION,ACTION`, separated by spaces.
pub(super) fn scopes(accesses: &[Access]) -> String {
    let mut by_repository: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for access in accesses {
        by_repository.entry(&access.repository).or_default().push(&access.action);
    }
    let scopes = by_repository
        .iter()
        .map(|(name, actions)| format!("repository:{name}:{}", actions.join(",")));
    scopes.collect::<Vec<_>>().join(" ")
}

/// Reads scopes as they are asked for; what is not about repositories is left out.
pub(super) fn parse(scopes: &[String]) -> Vec<Access> {
    let words = scopes.iter().flat_map(|scope| scope.split_whitespace());
    words
        .filter_map(|scope| scope.strip_prefix("repository:")?.rsplit_once(':'))
        .flat_map(|(name, actions)| actions.split(',').map(move |action| Access::new(name, action)))
        .collect()
}

fn repository(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v2/")?;
    let ends = ["/blobs/", "/manifests/", "/tags/list", "/referrers/"];
    ends.iter().filter_map(|end| rest.rfind(end)).min().map(|end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, path: &str, query: &str) -> Call {
        Call {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            upstream: ([127, 0, 0, 1], 1).into(),
            proxy: ([127, 0, 0, 1], 1).into(),
        }
    }

    #[test]
    fn tells_what_a_request_needs() {
        let need = |method, path, query| scopes(&required(&call(method, path, query)));
        assert_eq!(need("GET", "/v2/", ""), "");
        assert_eq!(need("GET", "/v2/a/b/manifests/x", ""), "repository:a/b:pull");
        assert_eq!(need("PATCH", "/v2/a/blobs/uploads/x", ""), "repository:a:pull,push");
        assert_eq!(need("DELETE", "/v2/a/manifests/x", ""), "repository:a:delete");
        assert_eq!(
            need("POST", "/v2/a/blobs/uploads/", "mount=sha256:x&from=b%2Fc"),
            "repository:a:pull,push repository:b/c:pull"
        );
    }

    #[test]
    fn reads_scopes() {
        let asked = ["repository:a:pull,push repository:h:80/b:pull".to_owned(), "x:y".to_owned()];
        let expected =
            [Access::new("a", "pull"), Access::new("a", "push"), Access::new("h:80/b", "pull")];
        assert_eq!(parse(&asked), expected);
        assert!(Access::new("*", "pull").covers(&Access::new("a", "pull")));
        assert!(!Access::new("*", "pull").covers(&Access::new("a", "push")));
        assert!(!Access::new("a", "*").covers(&Access::new("b", "push")));
    }
}
