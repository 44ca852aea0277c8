use std::collections::{BTreeMap, BTreeSet};

/// What a token must allow: actions by resource, for example `pull` and `push` on `repository:library/busybox`
/// (Docker token authentication, "scope").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Grants(BTreeMap<String, BTreeSet<String>>);

impl Grants {
    pub(crate) fn pull(repository: &str) -> Self {
        Self::on(repository, &["pull"])
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self::on(repository, &["pull", "push"])
    }

    /// Registries disagree on the name of the right to delete; all of them understand every right at once.
    pub(crate) fn delete(repository: &str) -> Self {
        Self::on(repository, &["*"])
    }

    fn on(repository: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self(BTreeMap::from([(format!("repository:{repository}"), actions)]))
    }

    /// Reads the scopes of a challenge, separated by spaces. Text without an action is dropped.
    pub(crate) fn parse(scopes: &str) -> Self {
        let mut found = Self::default();
        for scope in scopes.split_ascii_whitespace() {
            if let Some((resource, actions)) = scope.rsplit_once(':') {
                let entry = found.0.entry(resource.to_owned()).or_default();
                entry.extend(actions.split(',').filter(|a| !a.is_empty()).map(str::to_owned));
            }
        }
        found
    }

    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (resource, actions) in &other.0 {
            self.0.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
        self
    }

    /// One text per resource, in a fixed order.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_actions_of_one_resource() {
        let both = Grants::push("a/b")
            .and(&Grants::pull("c"))
            .and(&Grants::parse("repository:a/b:pull,delete registry:catalog:* nonsense"));
        let scopes: Vec<String> = both.scopes().collect();
        assert_eq!(
            scopes,
            ["registry:catalog:*", "repository:a/b:delete,pull,push", "repository:c:pull"]
        );
    }
}
