use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::descriptor::object;
use crate::json::{self, Limits};
use crate::{
    Algorithm, Descriptor, Digest, Document, Image, MANIFEST_LIMIT, ManifestError, MediaType,
    RawManifest,
};

/// Most layers that a manifest may have to which others are attached: 1000, as cosign has it.
const LAYERS: usize = 1_000;

/// Two manifests that cosign attached to one image at different places, put together so that nothing is lost.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub enum Union {
    /// What is there has all layers of the other.
    Contained,
    /// The other has all layers of what is there, and takes its place with its digest unchanged.
    Covers,
    /// Each has layers that the other has not.
    Both(Joining),
}

/// A manifest to which layers of another one are added.
#[derive(Debug)]
pub struct Joining {
    there: RawManifest,
    config: Descriptor,
    added: Vec<(Value, Digest)>,
}

impl Union {
    /// Compares what is `there` with what is to be there too. Layers are the same if type, digest and annotations are.
    ///
    /// # Errors
    /// One of them is an index, or they have more than a thousand layers together.
    pub fn of(there: &RawManifest, other: &RawManifest) -> Result<Self, ManifestError> {
        let (here, image) = (image(there)?, image(other)?);
        let missing: Vec<usize> = lacking(&here.layers, &image.layers).collect();
        if missing.is_empty() {
            return Ok(Self::Contained);
        }
        if lacking(&image.layers, &here.layers).next().is_none() {
            return Ok(Self::Covers);
        }
        if here.layers.len() + missing.len() > LAYERS {
            return Err(field("layers", "at most 1000 layers"));
        }
        let document = Document::of(other)?;
        let layers = document.value("layers").and_then(Value::as_array);
        let added = missing.into_iter().filter_map(|position| {
            let layer = layers.and_then(|layers| layers.get(position))?;
            Some((layer.clone(), image.layers[position].digest.clone()))
        });
        let (there, config) = (there.clone(), here.config.clone());
        Ok(Self::Both(Joining { there, config, added: added.collect() }))
    }
}

impl Joining {
    /// The configuration that has to be read to join the two.
    pub fn config(&self) -> &Descriptor {
        &self.config
    }

    /// The manifest with all layers, and its configuration. That of an image lists its layers; another stays as it is.
    ///
    /// # Errors
    /// The configuration cannot be read, or the result is too large.
    pub fn seal(&self, config: &Bytes) -> Result<(RawManifest, Bytes), ManifestError> {
        let mut document = Document::of(&self.there)?;
        let mut layers = match document.value("layers") {
            Some(Value::Array(layers)) => layers.clone(),
            _ => Vec::new(),
        };
        layers.extend(self.added.iter().map(|(layer, _)| layer.clone()));
        document.set("layers", layers.into());
        let config = match self.config.media_type.is_image_config() {
            true => self.extended(config)?,
            false => config.clone(),
        };
        let digest = Digest::of(Algorithm::Sha256, &config);
        let described =
            Descriptor::new(self.config.media_type.clone(), digest, config.len() as u64);
        document.set_config(&described)?;
        let media_type: &MediaType = self.there.media_type();
        Ok((document.seal(media_type)?, config))
    }

    /// Attached layers are not compressed, so their diffIDs are their digests.
    fn extended(&self, config: &Bytes) -> Result<Bytes, ManifestError> {
        let limits = Limits::bytes(MANIFEST_LIMIT);
        let mut value = json::parse(config, limits).map_err(ManifestError::Json)?;
        object(&value, "config")?;
        let rootfs = member(&mut value, "rootfs", || json!({"type": "layers"}), "an object")?;
        let ids = member(rootfs, "diff_ids", || json!([]), "an array")?;
        let ids = ids.as_array_mut().ok_or_else(|| field("config.rootfs.diff_ids", "an array"))?;
        ids.extend(self.added.iter().map(|(_, digest)| Value::from(digest.to_string())));
        if let Some(history) = value.get_mut("history").and_then(Value::as_array_mut) {
            history.extend(self.added.iter().map(|_| json!({"created": "0001-01-01T00:00:00Z"})));
        }
        Ok(Bytes::from(value.to_string()))
    }
}

/// A member of an object, made where there is none.
fn member<'a>(
    value: &'a mut Value,
    key: &str,
    new: impl FnOnce() -> Value,
    expected: &'static str,
) -> Result<&'a mut Value, ManifestError> {
    let map: Option<&mut Map<String, Value>> = value.as_object_mut();
    let member = map.ok_or_else(|| field("config", "an object"))?.entry(key).or_insert_with(new);
    match member.is_null() || !(member.is_object() || member.is_array()) {
        true => Err(field(&format!("config.{key}"), expected)),
        false => Ok(member),
    }
}

fn image(manifest: &RawManifest) -> Result<&Image, ManifestError> {
    manifest.image().ok_or_else(|| field("manifest", "an image to which layers can be added"))
}

/// The positions of layers of `all` that `some` has not.
fn lacking<'a>(some: &'a [Descriptor], all: &'a [Descriptor]) -> impl Iterator<Item = usize> + 'a {
    let same = |one: &Descriptor, other: &Descriptor| {
        one.digest == other.digest
            && one.media_type == other.media_type
            && one.annotations == other.annotations
    };
    let missing = move |layer: &Descriptor| !some.iter().any(|known| same(known, layer));
    all.iter().enumerate().filter(move |(_, layer)| missing(layer)).map(|(position, _)| position)
}

fn field(subject: &str, expected: &'static str) -> ManifestError {
    ManifestError::Field { subject: subject.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Declared;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn config(ids: &[&str]) -> Bytes {
        let ids: Vec<String> = ids.iter().map(|id| digest(id).to_string()).collect();
        let history: Vec<Value> = ids.iter().map(|_| json!({"created": "x"})).collect();
        json!({"os": "", "rootfs": {"type": "layers", "diff_ids": ids}, "history": history})
            .to_string()
            .into()
    }

    fn attached(layers: &[(&str, &str)]) -> RawManifest {
        let bytes = config(&layers.iter().map(|(text, _)| *text).collect::<Vec<_>>());
        let entries: Vec<Value> = layers
            .iter()
            .map(|(text, annotation)| {
                json!({"mediaType": "m", "digest": digest(text).to_string(), "size": text.len(),
                    "annotations": {"a": annotation}, "unknown": text})
            })
            .collect();
        let document = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": {"mediaType": MediaType::OCI_CONFIG.as_str(), "size": bytes.len(),
                "digest": Digest::of(Algorithm::Sha256, &bytes).to_string()},
            "layers": entries});
        RawManifest::read(document.to_string().into(), Declared::default()).unwrap()
    }

    #[test]
    fn what_has_all_layers_stays_as_it_is() {
        let (small, large) = (attached(&[("x", "1")]), attached(&[("y", "1"), ("x", "1")]));
        assert!(matches!(Union::of(&large, &small).unwrap(), Union::Contained));
        assert!(matches!(Union::of(&large, &large).unwrap(), Union::Contained));
        assert!(matches!(Union::of(&small, &large).unwrap(), Union::Covers));
    }

    #[test]
    fn each_keeps_its_layers_and_the_configuration_lists_them() {
        let there = attached(&[("x", "1"), ("y", "1")]);
        // The same bytes with another annotation are another signature.
        let other = attached(&[("y", "2"), ("x", "1"), ("z", "1")]);
        let Union::Both(joining) = Union::of(&there, &other).unwrap() else { unreachable!() };
        let (manifest, config) = joining.seal(&config(&["x", "y"])).unwrap();
        let image = manifest.image().unwrap();
        let digests: Vec<_> = image.layers.iter().map(|layer| layer.digest.clone()).collect();
        assert_eq!(digests, ["x", "y", "y", "z"].map(digest));
        assert!(String::from_utf8_lossy(manifest.bytes()).contains(r#""unknown":"z""#));
        assert_eq!(image.config.digest, Digest::of(Algorithm::Sha256, &config));
        assert_eq!(image.config.size, config.len() as u64);
        let config: Value = serde_json::from_slice(&config).unwrap();
        let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!(ids.len(), 4);
        assert_eq!(ids[3], digest("z").to_string());
        assert_eq!(config["history"].as_array().unwrap().len(), 4);
        assert!(matches!(Union::of(&manifest, &other).unwrap(), Union::Contained));
        assert!(matches!(Union::of(&manifest, &there).unwrap(), Union::Contained));
    }

    #[test]
    fn refuses_what_it_cannot_add_to() {
        let there = attached(&[("x", "1")]);
        let other = attached(&[("z", "1")]);
        let Union::Both(joining) = Union::of(&there, &other).unwrap() else { unreachable!() };
        for bad in
            ["", "[]", r#"{"rootfs":1}"#, r#"{"rootfs":{"diff_ids":{}}}"#, r#"{"rootfs":[]}"#]
        {
            assert!(joining.seal(&Bytes::from(bad)).is_err(), "{bad}");
        }
        let names: Vec<String> = (0..600).map(|n| n.to_string()).collect();
        let many = |mark| attached(&names.iter().map(|n| (n.as_str(), mark)).collect::<Vec<_>>());
        assert!(Union::of(&many("1"), &many("2")).is_err(), "1200 layers");
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": []});
        let index = RawManifest::read(index.to_string().into(), Declared::default()).unwrap();
        assert!(Union::of(&index, &other).is_err());
        assert!(Union::of(&other, &index).is_err());
    }
}
