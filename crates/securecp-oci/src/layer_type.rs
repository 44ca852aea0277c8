use crate::MediaType;

/// Whose media types a layer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerFamily {
    /// `application/vnd.oci.image.layer…`
    Oci,
    /// `application/vnd.docker.image.rootfs…`
    Docker,
}

/// What a layer's media type says about its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerCompression {
    /// A tar archive as it is.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// What the media type of a file system layer says; anything else is not a layer that may be changed.
///
/// OCI image-spec, "Layer"; Docker image manifest version 2, schema 2. The combination that no specification names, a
/// foreign Docker layer in zstd, has no media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerType {
    /// OCI or Docker.
    pub family: LayerFamily,
    /// Whether the layer is foreign (OCI: non-distributable), so that registries may refuse its bytes.
    pub foreign: bool,
    /// The compression named.
    pub compression: LayerCompression,
    /// Whether the bytes are encrypted (`+encrypted`, OCI types only).
    pub encrypted: bool,
}

impl LayerType {
    /// Reads a media type; `None` if it is not one of a file system layer.
    pub fn of(media_type: &MediaType) -> Option<Self> {
        let text = media_type.as_str();
        let (bare, encrypted) = match text.strip_suffix(ENCRYPTED) {
            Some(bare) => (bare, true),
            None => (text, false),
        };
        let row = TYPES.iter().find(|row| row.0 == bare)?;
        let found = Self { family: row.1, foreign: row.2, compression: row.3, encrypted };
        (!encrypted || found.family == LayerFamily::Oci).then_some(found)
    }

    /// The media type, if there is one.
    pub fn media_type(self) -> Option<MediaType> {
        let wanted = (self.family, self.foreign, self.compression);
        let row = TYPES.iter().find(|row| (row.1, row.2, row.3) == wanted)?;
        match (self.encrypted, self.family) {
            (false, _) => Some(MediaType::new(row.0)),
            (true, LayerFamily::Oci) => Some(MediaType::new(&format!("{}{ENCRYPTED}", row.0))),
            (true, LayerFamily::Docker) => None,
        }
    }
}

const ENCRYPTED: &str = "+encrypted";

type Row = (&'static str, LayerFamily, bool, LayerCompression);

const TYPES: [Row; 11] = {
    use LayerCompression::{Gzip, None, Zstd};
    use LayerFamily::{Docker, Oci};
    [
        ("application/vnd.oci.image.layer.v1.tar", Oci, false, None),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Oci, false, Gzip),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Oci, false, Zstd),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", Oci, true, None),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Oci, true, Gzip),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Oci, true, Zstd),
        ("application/vnd.docker.image.rootfs.diff.tar", Docker, false, None),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Docker, false, Gzip),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", Docker, false, Zstd),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", Docker, true, None),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Docker, true, Gzip),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_every_type() {
        for row in TYPES {
            let found = LayerType::of(&MediaType::new(row.0)).unwrap();
            assert_eq!(found.media_type().unwrap().as_str(), row.0);
        }
    }

    #[test]
    fn knows_encryption_of_oci_layers_only() {
        let found =
            LayerType::of(&MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"));
        let found = found.unwrap();
        assert!(found.encrypted && found.compression == LayerCompression::Gzip);
        assert_eq!(
            found.media_type().unwrap().as_str(),
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
        );
        assert_eq!(LayerType { family: LayerFamily::Docker, ..found }.media_type(), None);
        for unknown in [
            "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd",
            "application/vnd.oci.image.layer.v1.tar+xz",
            "application/vnd.oci.image.config.v1+json",
            "",
        ] {
            assert_eq!(LayerType::of(&MediaType::new(unknown)), None, "{unknown}");
        }
    }
}
