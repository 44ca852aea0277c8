use toml::{Table, Value};

/// Keys of a file, also those that mean something only to other programs.
const FILE: &[&str] = &[
    "additional-layer-store-auth-helper",
    "aliases",
    "credential-helpers",
    "registries",
    "registry",
    "short-name-mode",
    "unqualified-search-registries",
];
const REGISTRY: &[&str] = &[
    "blocked",
    "insecure",
    "location",
    "mirror",
    "mirror-by-digest-only",
    "prefix",
    "pull-from-mirror",
];
const MIRROR: &[&str] = &["insecure", "location", "pull-from-mirror"];

/// The keys of a file that nobody knows, in its order. They have no effect: one that is misspelt does not block or verify
/// anything.
pub(super) fn unknown_keys(text: &str) -> Vec<String> {
    let Ok(file) = text.parse::<Table>() else { return Vec::new() };
    let mut found = strangers(&file, FILE, "");
    for registry in tables(&file, "registry") {
        found.extend(strangers(registry, REGISTRY, "registry."));
        for mirror in tables(registry, "mirror") {
            found.extend(strangers(mirror, MIRROR, "registry.mirror."));
        }
    }
    found
}

fn strangers(table: &Table, known: &[&str], place: &str) -> Vec<String> {
    let strange = table.keys().filter(|key| !known.contains(&key.as_str()));
    strange.map(|key| format!("{place}{key}")).collect()
}

fn tables<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a Table> {
    let list = table.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_has_no_effect() {
        let text = "short-name-mode = \"enforcing\"\nunqualified = []\n[aliases]\nx = \"y.example/x\"\n\
            [[registry]]\nprefix = \"r.example\"\nlocation = \"r.example\"\nblockd = true\n\
            [[registry.mirror]]\nlocation = \"m.example\"\nblocked = true\n";
        let expected = ["unqualified", "registry.blockd", "registry.mirror.blocked"];
        assert_eq!(unknown_keys(text), expected);
        assert!(
            unknown_keys("[[registry]]\nlocation = \"r.example\"\nblocked = true\n").is_empty()
        );
    }
}
