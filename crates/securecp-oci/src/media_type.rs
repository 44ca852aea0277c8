use std::borrow::Cow;
use std::fmt::{self, Display};

/// A media type as it stands in descriptors and headers (RFC 6838), without parameters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Cow<'static, str>);

/// The manifest formats known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// OCI image manifest (image or artifact).
    OciManifest,
    /// OCI image index.
    OciIndex,
    /// Docker image manifest version 2, schema 2.
    DockerManifest,
    /// Docker manifest list.
    DockerList,
    /// Docker schema 1, signed or not.
    DockerSchema1,
}

impl ManifestKind {
    /// Whether it lists other manifests.
    pub fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
}

impl MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_MANIFEST: Self = Self::fixed("application/vnd.oci.image.manifest.v1+json");
    /// `application/vnd.oci.image.index.v1+json`
    pub const OCI_INDEX: Self = Self::fixed("application/vnd.oci.image.index.v1+json");
    /// `application/vnd.oci.image.config.v1+json`
    pub const OCI_CONFIG: Self = Self::fixed("application/vnd.oci.image.config.v1+json");
    /// `application/vnd.oci.empty.v1+json`
    pub const OCI_EMPTY: Self = Self::fixed("application/vnd.oci.empty.v1+json");
    /// `application/vnd.oci.image.layer.v1.tar`
    pub const OCI_LAYER: Self = Self::fixed("application/vnd.oci.image.layer.v1.tar");
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    pub const OCI_LAYER_GZIP: Self = Self::fixed("application/vnd.oci.image.layer.v1.tar+gzip");
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    pub const OCI_LAYER_ZSTD: Self = Self::fixed("application/vnd.oci.image.layer.v1.tar+zstd");
    /// `application/vnd.docker.distribution.manifest.v2+json`
    pub const DOCKER_MANIFEST: Self =
        Self::fixed("application/vnd.docker.distribution.manifest.v2+json");
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    pub const DOCKER_LIST: Self =
        Self::fixed("application/vnd.docker.distribution.manifest.list.v2+json");
    /// `application/vnd.docker.container.image.v1+json`
    pub const DOCKER_CONFIG: Self = Self::fixed("application/vnd.docker.container.image.v1+json");
    /// `application/vnd.docker.image.rootfs.diff.tar`
    pub const DOCKER_LAYER: Self = Self::fixed("application/vnd.docker.image.rootfs.diff.tar");
    /// `application/vnd.docker.image.rootfs.diff.tar.gzip`
    pub const DOCKER_LAYER_GZIP: Self =
        Self::fixed("application/vnd.docker.image.rootfs.diff.tar.gzip");
    /// `application/vnd.docker.distribution.manifest.v1+json`
    pub const DOCKER_SCHEMA1: Self =
        Self::fixed("application/vnd.docker.distribution.manifest.v1+json");
    /// `application/vnd.docker.distribution.manifest.v1+prettyjws`
    pub const DOCKER_SCHEMA1_SIGNED: Self =
        Self::fixed("application/vnd.docker.distribution.manifest.v1+prettyjws");

    const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Takes a media type as it stands in a document or header; parameters after `;` and surrounding space are cut.
    pub fn new(text: &str) -> Self {
        let bare = text.split(';').next().unwrap_or_default().trim();
        Self(Cow::Owned(bare.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The manifest format that this type names, if any.
    pub fn manifest_kind(&self) -> Option<ManifestKind> {
        [
            (&Self::OCI_MANIFEST, ManifestKind::OciManifest),
            (&Self::OCI_INDEX, ManifestKind::OciIndex),
            (&Self::DOCKER_MANIFEST, ManifestKind::DockerManifest),
            (&Self::DOCKER_LIST, ManifestKind::DockerList),
            (&Self::DOCKER_SCHEMA1, ManifestKind::DockerSchema1),
            (&Self::DOCKER_SCHEMA1_SIGNED, ManifestKind::DockerSchema1),
        ]
        .into_iter()
        .find_map(|(known, kind)| (known == self).then_some(kind))
    }

    /// Whether this is the configuration of a runnable image, OCI or Docker.
    pub fn is_image_config(&self) -> bool {
        *self == Self::OCI_CONFIG || *self == Self::DOCKER_CONFIG
    }

    /// Whether the type says that the blob is an encrypted layer (`+encrypted` suffix).
    pub fn is_encrypted(&self) -> bool {
        self.0.ends_with("+encrypted")
    }
}

impl Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Escaped::new(&self.0).limit(255).fmt(f)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_parameters() {
        let found = MediaType::new(" application/vnd.oci.image.index.v1+json ; charset=utf-8");
        assert_eq!(found.manifest_kind(), Some(ManifestKind::OciIndex));
        assert_eq!(MediaType::new("text/html").manifest_kind(), None);
        assert!(
            MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip+encrypted").is_encrypted()
        );
    }
}
