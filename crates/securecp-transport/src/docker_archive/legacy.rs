use std::collections::BTreeMap;

use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest};
use serde_json::Value;

/// What readers before `manifest.json` (Docker 1.10) look for: a folder for each layer, chained by parents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LegacyLayer {
    /// The name of the folder.
    pub(super) id: String,
    /// The text of its `json`.
    pub(super) json: String,
    /// The digest of the uncompressed layer.
    pub(super) diff_id: Digest,
}

/// What the last layer's `json` takes over from the configuration.
const TAKEN: [&str; 7] =
    ["architecture", "config", "container", "container_config", "created", "docker_version", "os"];

/// The legacy layers of an image, base first. A layer's id is the hash of its `json` with the chain that leads to it,
/// as the reference computes it.
pub(super) fn layers(
    config: &[u8],
    diff_ids: &[Digest],
) -> Result<Vec<LegacyLayer>, json::JsonError> {
    let config = json::parse(config, Limits::bytes(4 << 20))?;
    let mut found: Vec<LegacyLayer> = Vec::new();
    let mut chain: Option<Digest> = None;
    for (position, diff_id) in diff_ids.iter().enumerate() {
        let mut members = BTreeMap::new();
        if let Some(parent) = found.last() {
            members.insert("parent", Value::from(parent.id.as_str()));
        }
        if position + 1 == diff_ids.len() {
            members.extend(TAKEN.map(|key| (key, config.get(key).cloned().unwrap_or_default())));
        }
        let link = match chain {
            None => diff_id.clone(),
            Some(before) => Digest::of(Algorithm::Sha256, format!("{before} {diff_id}").as_bytes()),
        };
        members.insert("layer_id", link.to_string().into());
        let id = Digest::of(Algorithm::Sha256, text(&members).as_bytes()).hex().to_owned();
        members.remove("layer_id");
        members.insert("id", id.as_str().into());
        found.push(LegacyLayer { id, json: text(&members), diff_id: diff_id.clone() });
        chain = Some(link);
    }
    Ok(found)
}

/// Compact JSON, escaped as Go's encoder does, so that the ids are the same.
fn text(members: &BTreeMap<&str, Value>) -> String {
    let members = members.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let plain = Value::Object(members.collect()).to_string();
    let escapes = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    escapes.iter().fold(plain, |text, (c, escape)| text.replace(*c, escape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_ids_of_the_reference() {
        let archive = include_bytes!("../../../../testdata/images/docker-archive.tar");
        let config = include_bytes!(
            "../../../../testdata/images/dir-oci/ff8091a8b979463c99a4573b361fd395fb5a96432608203c63247355cc825b1f"
        );
        let diff_ids = super::super::saved::diff_ids(config).unwrap();
        let found = layers(config, &diff_ids).unwrap();
        let ids: Vec<&str> = found.iter().map(|layer| layer.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "ad32b1d7753d451b0c07cae948dd47f700c81b8c6dadd5bd57ff3e0043b12129",
                "bd7d639c3125ebc0c20771c3c77027b91e09ff4e1015d9176d4aa5fc92222bdf",
                "11e68667a4e4173a3426d45a65009a0f846433979391cb3d3e6f8e844da474ec"
            ]
        );
        for layer in found {
            let json = layer.json.as_bytes();
            assert!(archive.windows(json.len()).any(|window| window == json), "{}", layer.json);
        }
    }
}
