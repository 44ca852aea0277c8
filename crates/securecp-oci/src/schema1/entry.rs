use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Schema1Error;
use crate::convert::members::Members;
use crate::descriptor::Fields;
use crate::json::{self, Limits};
use crate::{ConvertError, Digest, MANIFEST_LIMIT, ManifestError};

/// One layer and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) blob: Digest,
    /// The `v1Compatibility` text as it stands.
    pub(super) text: String,
    /// The entry in the history of a v2s2 configuration.
    pub(super) history: Value,
    /// Whether there are no files (`throwaway`).
    pub(super) empty: bool,
    id: String,
    parent: String,
}

/// Reads layers and history, base first, without repeated ids.
pub(super) fn read(fields: &Fields<'_>) -> Result<Vec<Entry>, Schema1Error> {
    let (layers, history) = (fields.array("fsLayers")?, fields.array("history")?);
    if layers.len() != history.len() || layers.is_empty() {
        return Err(Schema1Error::Count { layers: layers.len(), history: history.len() });
    }
    let pairs = layers.iter().zip(history).enumerate();
    let entries = pairs.map(|(n, (layer, history))| Entry::read(n, layer, history));
    chained(entries.collect::<Result<_, _>>()?)
}

impl Entry {
    fn read(position: usize, layer: &Value, history: &Value) -> Result<Self, Schema1Error> {
        let subject = format!("fsLayers[{position}]");
        let layer = Fields::of(layer, &subject, &["blobSum"])?;
        let blob = layer.string("blobSum")?.unwrap_or_default();
        let blob = blob
            .parse()
            .map_err(|source| ManifestError::Digest { subject: subject.clone(), source })?;
        let subject = format!("history[{position}]");
        let history = Fields::of(history, &subject, &["v1Compatibility"])?;
        let text = history.string("v1Compatibility")?.unwrap_or_default();
        Self::of(blob, text).map_err(|source| Schema1Error::Entry { position, source })
    }

    fn of(blob: Digest, text: &str) -> Result<Self, ConvertError> {
        let value = json::parse(text.as_bytes(), Limits::bytes(MANIFEST_LIMIT))
            .map_err(ConvertError::ConfigJson)?;
        let members = Members::of(&value, String::new(), COMPATIBILITY)?;
        Ok(Self {
            blob,
            text: text.to_owned(),
            history: history(&members)?,
            empty: members.flag("throwaway")?,
            id: members.text("id")?.to_owned(),
            parent: members.text("parent")?.to_owned(),
        })
    }
}

const COMPATIBILITY: &[&str] =
    &["id", "parent", "comment", "created", "container_config", "author", "throwaway"];

/// A history entry of a v2s2 configuration, in the order in which the reference writes it.
fn history(members: &Members<'_>) -> Result<Value, ConvertError> {
    let mut out = Map::new();
    members.put_time(&mut out, "created")?;
    // Go writes a missing time as its zero.
    out.entry("created").or_insert_with(|| ZERO_TIME.into());
    members.put_text(&mut out, "author")?;
    let container =
        Members::of(members.value("container_config"), "container_config.".to_owned(), &["Cmd"])?;
    let command = container.texts("Cmd")?.unwrap_or_default().join(" ");
    if !command.is_empty() {
        out.insert("created_by".to_owned(), command.into());
    }
    members.put_text(&mut out, "comment")?;
    if members.flag("throwaway")? {
        out.insert("empty_layer".to_owned(), true.into());
    }
    Ok(out.into())
}

pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Checks that each entry's parent is the next one, removes the newer of two equal neighbours, and turns the list
/// round.
fn chained(newest_first: Vec<Entry>) -> Result<Vec<Entry>, Schema1Error> {
    let mut seen = HashSet::new();
    let mut chain: Vec<Entry> = Vec::with_capacity(newest_first.len());
    for (position, entry) in newest_first.into_iter().enumerate().rev() {
        let valid = entry.id.len() == 64
            && entry.id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return Err(Schema1Error::Id(position));
        }
        let below = chain.last();
        if below.is_some_and(|below| below.id == entry.id) {
            continue;
        }
        let parent = below.map_or("", |below| below.id.as_str());
        if entry.parent != parent || !seen.insert(entry.id.clone()) {
            return Err(Schema1Error::Chain(position));
        }
        chain.push(entry);
    }
    Ok(chain)
}
