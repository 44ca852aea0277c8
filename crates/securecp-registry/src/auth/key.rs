/// What credentials are looked up by: a registry host, or a path below it (containers-auth.json(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    text: String,
    host_length: usize,
}

impl Key {
    /// Reads `host[:port][/namespace…]`. A scheme in front is cut, and everything behind the host with it.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let text = match bare {
            Some(bare) => bare.split('/').next().unwrap_or_default(),
            None => text.trim_end_matches('/'),
        };
        let host_length = text.find('/').unwrap_or(text.len());
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '\\');
        (host_length > 0 && text.chars().all(plain))
            .then(|| Self { text: text.to_owned(), host_length })
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The registry.
    pub fn host(&self) -> &str {
        &self.text[..self.host_length]
    }

    /// Whether the key names more than a registry.
    pub fn has_path(&self) -> bool {
        self.text.len() > self.host_length
    }

    /// The key and its parents, longest first.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |key| {
            key.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
        })
    }

    /// Whether a stored key means the same registry in one of the old ways: with a scheme or path, or by one of the
    /// other names of Docker Hub.
    pub(crate) fn is_legacy(&self, stored: &str) -> bool {
        registry_of(stored) == registry_of(self.host())
    }
}

fn registry_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = bare.unwrap_or(key);
    // Without a scheme, a path makes it a namespace of the new kind, which is never the whole registry.
    let host = if bare.is_some() { host.split('/').next().unwrap_or_default() } else { host };
    match host {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        "index.docker.io/v1" | "index.docker.io/v1/" => "index.docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_and_namespaces() {
        let key = Key::parse("r.example:5000/a/b").unwrap();
        assert_eq!((key.host(), key.has_path()), ("r.example:5000", true));
        let all: Vec<&str> = key.candidates().collect();
        assert_eq!(all, ["r.example:5000/a/b", "r.example:5000/a", "r.example:5000"]);
        assert_eq!(Key::parse("https://r.example/v2/").unwrap().as_str(), "r.example");
        for bad in ["", "/", "/a", "https://", "user@r.example", "r example"] {
            assert_eq!(Key::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn knows_the_names_of_docker_hub() {
        let hub = Key::parse("docker.io/library/x").unwrap();
        for stored in
            ["https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io", "docker.io"]
        {
            assert!(hub.is_legacy(stored), "{stored}");
        }
        assert!(!hub.is_legacy("https://docker.io.example/"));
        assert!(!Key::parse("r.example/a").unwrap().is_legacy("r.example/b"));
    }
}
