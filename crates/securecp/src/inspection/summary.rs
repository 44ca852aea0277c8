use std::collections::BTreeMap;

use securecp_crypt::Envelope;
use securecp_oci::{Annotations, Descriptor, Digest, Image, Repository};
use serde::{Serialize, Serializer};

use super::ImageConfig;
use super::time::Timestamp;
use crate::template::Value;

/// What `inspect` prints by default; every member but `Name` is always there.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    #[serde(rename = "Name", skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "Digest", serialize_with = "as_text")]
    digest: Digest,
    #[serde(rename = "RepoTags")]
    tags: Vec<String>,
    #[serde(rename = "Created")]
    created: Option<Timestamp>,
    #[serde(rename = "DockerVersion")]
    docker_version: String,
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "Architecture")]
    architecture: String,
    #[serde(rename = "Os")]
    os: String,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
    #[serde(rename = "LayersData")]
    layers_data: Vec<LayerData>,
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct LayerData {
    #[serde(rename = "MIMEType")]
    media_type: String,
    #[serde(rename = "Digest", serialize_with = "as_text")]
    digest: Digest,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Annotations")]
    annotations: Option<Annotations>,
    /// Only for encrypted layers; the reference has no such member.
    #[serde(rename = "Encryption", skip_serializing_if = "Option::is_none")]
    encryption: Option<LayerEncryption>,
}

/// What can be said of an encrypted layer without a key. Nothing of it is authenticated.
#[derive(Debug, Serialize)]
enum LayerEncryption {
    /// For whom it says to be encrypted.
    Recipients(Vec<String>),
    /// What contradicts itself.
    Problem(String),
}

impl LayerEncryption {
    fn of(layer: &Descriptor) -> Option<Self> {
        match Envelope::of(layer) {
            Ok(envelope) => envelope.map(|envelope| {
                Self::Recipients(envelope.recipients().iter().map(ToString::to_string).collect())
            }),
            Err(error) => Some(Self::Problem(error.to_string())),
        }
    }
}

impl Summary {
    /// Puts together what is known; `digest` is that of the name, also when it stands for an index.
    pub(crate) fn new(
        repository: Option<&Repository>,
        digest: Digest,
        tags: Vec<String>,
        image: &Image,
        config: ImageConfig,
    ) -> Self {
        let execution = config.config.unwrap_or_default();
        Self {
            name: repository.map(Repository::to_string),
            digest,
            tags,
            created: config.created,
            docker_version: config.docker_version.unwrap_or_default(),
            labels: execution.labels,
            architecture: config.architecture.unwrap_or_default(),
            os: config.os.unwrap_or_default(),
            layers: image.layers.iter().map(|layer| layer.digest.to_string()).collect(),
            layers_data: image.layers.iter().map(LayerData::from).collect(),
            env: execution.env,
        }
    }
}

impl Summary {
    /// The summary for templates.
    pub(crate) fn value(&self) -> Result<Value, serde_json::Error> {
        let text = |text: &String| Value::text(text);
        let layers_data: Result<Vec<Value>, _> =
            self.layers_data.iter().map(LayerData::value).collect();
        let value = Value::structure([
            ("Name", Value::text(self.name.clone().unwrap_or_default())),
            ("Tag", Value::text("")),
            ("Digest", Value::text(self.digest.to_string())),
            ("RepoTags", Value::list(self.tags.iter().map(text))),
            ("Created", self.created.map_or(Value::Nil, Timestamp::value)),
            ("DockerVersion", text(&self.docker_version)),
            ("Labels", Value::map(pairs(self.labels.iter().flatten()))),
            ("Architecture", text(&self.architecture)),
            ("Os", text(&self.os)),
            ("Layers", Value::list(self.layers.iter().map(text))),
            ("LayersData", Value::list(layers_data?)),
            ("Env", Value::list(self.env.iter().flatten().map(text))),
        ]);
        Ok(value.with_json(serde_json::to_value(self)?))
    }
}

impl LayerData {
    fn value(&self) -> Result<Value, serde_json::Error> {
        let value = Value::structure([
            ("MIMEType", Value::text(&self.media_type)),
            ("Digest", Value::text(self.digest.to_string())),
            ("Size", Value::Number(i64::try_from(self.size).unwrap_or(i64::MAX))),
            ("Annotations", Value::map(pairs(self.annotations.iter().flatten()))),
        ]);
        Ok(value.with_json(serde_json::to_value(self)?))
    }
}

/// Texts by name.
pub(super) fn pairs<'a>(
    found: impl Iterator<Item = (&'a String, &'a String)> + 'a,
) -> impl Iterator<Item = (&'a str, Value)> {
    found.map(|(key, value)| (key.as_str(), Value::text(value)))
}

impl From<&Descriptor> for LayerData {
    fn from(layer: &Descriptor) -> Self {
        Self {
            media_type: layer.media_type.to_string(),
            digest: layer.digest.clone(),
            size: layer.size,
            annotations: Some(layer.annotations.clone()).filter(|found| !found.is_empty()),
            encryption: LayerEncryption::of(layer),
        }
    }
}

fn as_text<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}
