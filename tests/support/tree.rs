//! Reads folders for comparison.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::sha256;

/// Every file below `root`: relative path, and mode, size and digest of its content.
pub(crate) fn files(root: &Path) -> BTreeMap<String, (u32, usize, String)> {
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    assert!(!found.is_empty(), "nothing in {}", root.display());
    found
}

fn visit(root: &Path, at: &Path, found: &mut BTreeMap<String, (u32, usize, String)>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(root, &path, found);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        found.insert(name, (mode, bytes.len(), sha256(&bytes)));
    }
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
