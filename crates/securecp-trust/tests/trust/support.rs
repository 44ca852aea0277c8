//! A survey result of the simplest kind, and small images.

use bytes::Bytes;
use securecp_oci::{Declared, ImageIdentity, RawManifest, Signature};
use securecp_trust::{Judged, Subject};

#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) identity: ImageIdentity,
    pub(crate) subjects: Vec<Subject>,
}

impl Judged for Survey {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        self.subjects.iter().collect()
    }
}

pub(crate) fn no_keys(path: &str) -> Result<Vec<u8>, std::io::Error> {
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, path.to_owned()))
}

pub(crate) fn read_manifest(text: impl Into<Vec<u8>>) -> RawManifest {
    RawManifest::read(Bytes::from(text.into()), Declared::default()).unwrap()
}

/// An image manifest; different names give different digests.
pub(crate) fn image(name: &str) -> RawManifest {
    let digest = securecp_oci::Digest::of(securecp_oci::Algorithm::Sha256, name.as_bytes());
    read_manifest(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}},"layers":[]}}"#
    ))
}

pub(crate) fn index(of: &[&RawManifest]) -> RawManifest {
    let entries: Vec<String> = of
        .iter()
        .map(|m| {
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
                m.media_type().as_str(),
                m.digest(),
                m.size()
            )
        })
        .collect();
    read_manifest(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    ))
}

pub(crate) fn subject(manifest: RawManifest, signatures: Vec<Signature>) -> Subject {
    Subject::new(manifest, Ok(signatures))
}

pub(crate) fn docker(reference: &str, subjects: Vec<Subject>) -> Survey {
    Survey { identity: ImageIdentity::docker(&reference.parse().unwrap()), subjects }
}
