//! Sigstore signatures that are attached to registry images under the tag `sha256-HEX.sig`, as cosign 2 and the reference
//! write them: one layer a signature, the payload as the layer's bytes, the signature itself in annotations.

use bytes::Bytes;
use securecp_layer::{Layer, Scope};
use securecp_oci::{
    Descriptor, Digest, Image, RawManifest, SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT, Signature, Tag,
};
use securecp_registry::{Client, ManifestName};

use crate::TransportError;
use crate::docker::failure;

/// The attachments of a manifest; only a definite "not there" means that there are none.
pub(crate) fn attached(
    client: &Client,
    digest: &Digest,
    scope: &Scope,
) -> Result<Vec<Signature>, TransportError> {
    let name = format!("{}-{}.sig", digest.algorithm(), digest.hex());
    let tag: Tag = name.parse().map_err(|source| TransportError::Reference {
        name: client.repository().to_string(),
        source,
    })?;
    let manifest = match client.manifest(ManifestName::Tag(&tag), scope) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other.map_err(failure)?,
    };
    let layers = &checked(client, &tag, &manifest)?.layers;
    layers.iter().map(|layer| signature(client, layer, scope)).collect()
}

fn checked<'a>(
    client: &Client,
    tag: &Tag,
    manifest: &'a RawManifest,
) -> Result<&'a Image, TransportError> {
    let refused = |problem: String| TransportError::Unsupported {
        name: format!("{}:{tag}", client.repository()),
        problem,
    };
    let image = manifest.image();
    let image = image.ok_or_else(|| refused("expected signatures, found an index".to_owned()))?;
    if image.layers.len() > SIGNATURE_COUNT_LIMIT {
        let found = image.layers.len();
        let problem = format!("expected at most {SIGNATURE_COUNT_LIMIT} signatures, found {found}");
        return Err(refused(problem));
    }
    match image.layers.iter().find(|layer| layer.size > SIGNATURE_LIMIT as u64) {
        Some(layer) => {
            let problem = format!("{} is larger than {SIGNATURE_LIMIT} bytes", layer.digest);
            Err(refused(problem))
        }
        None => Ok(image),
    }
}

fn signature(
    client: &Client,
    layer: &Descriptor,
    scope: &Scope,
) -> Result<Signature, TransportError> {
    Ok(Signature::Sigstore {
        media_type: layer.media_type.as_str().to_owned(),
        payload: payload(client, layer, scope)?,
        annotations: layer.annotations.clone(),
    })
}

/// The whole blob; its size is bounded already.
fn payload(client: &Client, layer: &Descriptor, scope: &Scope) -> Result<Bytes, TransportError> {
    let download = client.blob(layer, scope).map_err(failure)?;
    let mut reading = Layer::verified(layer.clone(), download);
    let mut bytes = Vec::new();
    while let Some(chunk) = reading.next()? {
        bytes.extend_from_slice(&chunk);
    }
    reading.finish()?;
    Ok(bytes.into())
}
