use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use securecp_copy::{Trial, admit};
use securecp_layer::{Layer, Scope};
use securecp_oci::{
    CONFIG_LIMIT, Descriptor, Digest, Image, ManifestFormat, ManifestKind, RawManifest,
    convert_image,
};
use securecp_transport::Source;

/// An image that the policy admitted: one, chosen for the platform if an index was named.
pub(super) struct Opened {
    source: Box<dyn Source>,
    manifest: RawManifest,
}

/// A manifest as the other program is given it, with the digest by which the image is known.
pub(super) struct Shown {
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

impl Opened {
    /// Reads and judges an image as a copy would.
    pub(super) fn new(
        source: Box<dyn Source>,
        trial: impl FnOnce(&dyn Source) -> Result<RawManifest, securecp_copy::CopyError>,
    ) -> Result<Self, securecp_copy::CopyError> {
        let manifest = trial(&*source)?;
        Ok(Self { source, manifest })
    }

    fn image(&self) -> anyhow::Result<&Image> {
        let kind = self.manifest.media_type().manifest_kind();
        match self.manifest.image() {
            Some(image) if kind != Some(ManifestKind::DockerSchema1) => Ok(image),
            _ => bail!("expected an OCI image or one of Docker's schema 2, found {kind:?}"),
        }
    }

    /// The manifest in the format of OCI.
    pub(super) fn manifest(&self, scope: &Scope) -> anyhow::Result<Shown> {
        let digest = self.manifest.digest().clone();
        if ManifestFormat::of(self.manifest.media_type()) == Some(ManifestFormat::Oci) {
            return Ok(Shown { digest, bytes: self.manifest.bytes().clone() });
        }
        let config = self.config_as_stored(scope)?;
        let converted =
            convert_image(&self.manifest, &self.image()?.layers, &config, ManifestFormat::Oci)?;
        let made = converted.document.seal(&converted.media_type)?;
        Ok(Shown { digest, bytes: made.bytes().clone() })
    }

    /// The configuration in the format of OCI.
    pub(super) fn config(&self, scope: &Scope) -> anyhow::Result<Bytes> {
        let config = self.config_as_stored(scope)?;
        if ManifestFormat::of(self.manifest.media_type()) == Some(ManifestFormat::Oci) {
            return Ok(config);
        }
        let converted =
            convert_image(&self.manifest, &self.image()?.layers, &config, ManifestFormat::Oci)?;
        Ok(converted.config.unwrap_or(config))
    }

    fn config_as_stored(&self, scope: &Scope) -> anyhow::Result<Bytes> {
        let config = &self.image()?.config;
        if config.size > CONFIG_LIMIT as u64 {
            bail!("the configuration has {} bytes, expected at most {CONFIG_LIMIT}", config.size);
        }
        Ok(self.source.blob(config, scope)?.read_whole()?)
    }

    /// The layers in the format of OCI, the lowest first.
    pub(super) fn layers(&self) -> anyhow::Result<Vec<Descriptor>> {
        let layers = &self.image()?.layers;
        if ManifestFormat::of(self.manifest.media_type()) == Some(ManifestFormat::Oci) {
            return Ok(layers.clone());
        }
        Ok(layers.iter().map(|layer| ManifestFormat::Oci.layer(layer)).collect::<Result<_, _>>()?)
    }

    /// One of the image's own blobs, to be read; nothing else of the source is given out.
    pub(super) fn blob(
        &self,
        digest: &Digest,
        scope: &Scope,
    ) -> anyhow::Result<(u64, Layer<'static>)> {
        let image = self.image()?;
        let mut own = image.layers.iter().chain([&image.config]);
        let descriptor = own.find(|blob| blob.digest == *digest);
        let descriptor = descriptor.ok_or_else(|| anyhow!("the image has no blob {digest}"))?;
        let layer =
            self.source.blob(descriptor, scope).with_context(|| format!("blob {digest}"))?;
        Ok((descriptor.size, layer))
    }
}

/// Judges what `trial` names and gives the manifest that was chosen.
pub(super) fn chosen(trial: &Trial<'_>) -> Result<RawManifest, securecp_copy::CopyError> {
    let admitted = admit(trial)?;
    Ok(admitted.found().manifests()[0].subject.manifest.clone())
}
