//! The arrows between crates are the ones in docs/architecture.md, and no others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The table: first column a crate, third column short names of what it may use.
fn allowed(text: &str) -> Arrows {
    let rows = text.lines().filter(|line| line.starts_with("| `securecp"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let uses = cells[3].split_whitespace().map(|short| format!("securecp-{short}"));
        (cells[1].trim_matches('`').to_owned(), uses.collect())
    })
    .collect()
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the manifests say, development dependencies apart.
fn actual() -> Arrows {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().unwrap().iter();
            let rooms = uses.filter(|d| d["kind"].is_null()).filter_map(|d| d["name"].as_str());
            let rooms = rooms.filter(|n| n.starts_with("securecp")).map(str::to_owned);
            (package["name"].as_str().unwrap().to_owned(), rooms.collect())
        })
        .collect()
}

fn violations(allowed: &Arrows, actual: &Arrows) -> Vec<String> {
    let mut found = Vec::new();
    for (room, uses) in actual {
        match allowed.get(room) {
            None => found.push(format!("{room} is not in the table")),
            Some(may) => found.extend(uses.difference(may).map(|u| format!("{room} -> {u}"))),
        }
    }
    found
}

#[test]
fn every_arrow_is_in_the_table() {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let allowed = allowed(&text);
    assert!(allowed.len() >= 12, "the table was not found");
    assert_eq!(violations(&allowed, &actual()), Vec::<String>::new());
}

/// The names of tests in the last column of docs/lessons.md.
fn named_tests(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| adv"));
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next());
    let words = cells.flat_map(str::split_whitespace);
    words.map(|word| word.trim_matches('`').to_owned()).collect()
}

/// The names of all functions below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_lesson_has_its_tests() {
    let text = std::fs::read_to_string(root().join("docs/lessons.md")).unwrap();
    let named = named_tests(&text);
    assert!(named.len() > 20 && named.iter().any(|name| name.starts_with("cve_")), "{named:?}");
    let mut found = BTreeSet::new();
    functions(&root().join("crates"), &mut found);
    functions(&root().join("tests"), &mut found);
    assert_eq!(named.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// `cargo run` in a checkout, the first command of the README, must not ask which program is meant.
#[test]
fn cargo_run_starts_the_program() {
    let metadata = metadata();
    let usual = metadata["workspace_default_members"].as_array().unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let targets = packages
        .filter(|package| usual.contains(&package["id"]))
        .flat_map(|package| package["targets"].as_array().unwrap());
    let is_program =
        |target: &&serde_json::Value| target["kind"].as_array().unwrap().contains(&"bin".into());
    let programs: Vec<&str> =
        targets.filter(is_program).map(|target| target["name"].as_str().unwrap()).collect();
    assert_eq!(programs, ["securecp"]);
}

#[test]
fn a_new_arrow_or_room_would_be_seen() {
    let allowed = allowed("| `securecp-a` | x | |\n| `securecp-b` | y | a |\n");
    let arrow =
        |from: &str, to: &str| Arrows::from([(from.to_owned(), BTreeSet::from([to.to_owned()]))]);
    assert!(violations(&allowed, &arrow("securecp-b", "securecp-a")).is_empty());
    assert_eq!(
        violations(&allowed, &arrow("securecp-a", "securecp-b")),
        ["securecp-a -> securecp-b"]
    );
    assert_eq!(
        violations(&allowed, &arrow("securecp-c", "securecp-a")),
        ["securecp-c is not in the table"]
    );
}
