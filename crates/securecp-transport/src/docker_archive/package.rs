use std::collections::BTreeMap;
use std::io::{self, Write};

use securecp_oci::{Digest, Reference};
use serde_json::{Value, json};

use super::items::MANIFEST;
use super::legacy::LegacyLayer;
use crate::archive::{Pool, Slot};
use crate::tar::{Content, TarWriter};

/// Everything that an archive will hold, by name, so that it comes out sorted.
pub(super) struct Package {
    members: BTreeMap<String, Piece>,
}

enum Piece {
    Blob(Slot),
    Text(String),
    Link(String),
}

/// The modes that the reference gives: the sum of what it does not set.
const FILE_MODE: u32 = 0o444;
const LINK_MODE: u32 = 0;

impl Package {
    /// The members of one image; `layers` are in order, base first.
    pub(super) fn new(
        config: (&Digest, Slot),
        layers: &[(Digest, Slot)],
        legacy: &[LegacyLayer],
        names: &[Reference],
    ) -> Self {
        let mut members = BTreeMap::new();
        let (config_name, list) =
            (format!("{}.json", config.0.hex()), layers.iter().map(|l| layer_name(&l.0)));
        let tags: Vec<String> = names.iter().map(Reference::to_string).collect();
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": tags,
            "Layers": list.collect::<Vec<_>>(),
        }]);
        members.insert(MANIFEST.to_owned(), Piece::Text(manifest.to_string()));
        members.insert(config_name, Piece::Blob(config.1));
        members.extend(layers.iter().map(|(id, slot)| (layer_name(id), Piece::Blob(*slot))));
        for layer in legacy {
            let link = format!("../{}", layer_name(&layer.diff_id));
            members.insert(format!("{}/VERSION", layer.id), Piece::Text("1.0".to_owned()));
            members.insert(format!("{}/json", layer.id), Piece::Text(layer.json.clone()));
            members.insert(format!("{}/layer.tar", layer.id), Piece::Link(link));
        }
        let repositories =
            legacy.last().map_or_else(|| json!({}), |last| repositories(names, &last.id));
        members.insert("repositories".to_owned(), Piece::Text(repositories.to_string()));
        Self { members }
    }

    pub(super) fn write(&self, pool: &Pool, tar: &mut TarWriter<&mut dyn Write>) -> io::Result<()> {
        for (name, piece) in &self.members {
            match piece {
                Piece::Blob(slot) => {
                    tar.add(name, FILE_MODE, Content::File(slot.size, &mut pool.reader(*slot)))?;
                }
                Piece::Text(text) => {
                    let size = text.len() as u64;
                    tar.add(name, FILE_MODE, Content::File(size, &mut text.as_bytes()))?;
                }
                Piece::Link(target) => tar.add(name, LINK_MODE, Content::Link(target))?,
            }
        }
        Ok(())
    }
}

fn layer_name(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

/// `{"NAME":{"TAG":"ID"}}`, sorted.
fn repositories(names: &[Reference], id: &str) -> Value {
    let mut found: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    for name in names {
        if let Some(tag) = name.tag() {
            found.entry(name.repository().to_string()).or_default().insert(tag.as_str(), id);
        }
    }
    json!(found)
}
