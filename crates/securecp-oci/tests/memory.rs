//! What hostile manifests cost in memory while many are read at once. One test: the peak is that of the whole process.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use bytes::Bytes;
use securecp_oci::{Declared, MANIFEST_LIMIT, RawManifest};

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Small values, as many as are allowed or ten times as many, and spaces up to the largest manifest.
fn manifest(values: usize) -> Bytes {
    let head = r#"{"schemaVersion":2,"manifests":[],"x":["#;
    let text = format!("{head}{}]}}", vec!["0"; values].join(","));
    let spaces = " ".repeat(MANIFEST_LIMIT - text.len());
    Bytes::from(text + &spaces)
}

/// One takes 30 MB and more while it is parsed, and the allocator keeps some of that for each of its arenas.
#[test]
fn many_large_manifests_at_once_are_not_all_parsed_at_once() {
    for (values, is_manifest, count) in [(262_000, true, 24), (2_000_000, false, 4)] {
        let bytes = manifest(values);
        let before = peak_kib();
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    let read = RawManifest::read(bytes.clone(), Declared::default());
                    assert_eq!(read.is_ok(), is_manifest);
                });
            }
        });
        let grown = peak_kib() - before;
        assert!(grown < 512 << 10, "{values} values: {grown} KiB");
    }
}
