//! Changed documents for properties.

use proptest::prelude::*;

/// One change of a document: bytes at a place are replaced by others.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    at: prop::sample::Index,
    cut: usize,
    put: Vec<u8>,
}

/// A few changes, with a liking for what breaks JSON and YAML.
pub(crate) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let put = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(vec![
            "\"", "{", "}", "[", "]", ",", ":", "null", "\\u0000", "1e999", "&a", "*a", "- "
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let one = (any::<prop::sample::Index>(), 0..6_usize, put).prop_map(|(at, cut, put)| Change {
        at,
        cut,
        put,
    });
    prop::collection::vec(one, 1..4)
}

/// The document with its changes.
pub(crate) fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let at = change.at.index(bytes.len() + 1);
        let end = (at + change.cut).min(bytes.len());
        bytes.splice(at..end, change.put.iter().copied());
    }
    bytes
}
