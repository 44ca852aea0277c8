use bytes::Bytes;
use securecp_layer::{Layer, Once, Scope};
use securecp_oci::{
    Attached, Descriptor, Digest, MANIFEST_LIMIT, ManifestError, RawManifest, Union,
};

use crate::shared_tag::SharedTag;
use crate::{BlobUpload, Client, Operation, Problem, RegistryError};

impl Client {
    /// Attaches to `subject` what cosign attached to it elsewhere, beside what others attached here: the tag then has the
    /// layers of both. The blobs of `attached` have to be there.
    ///
    /// # Errors
    /// What is there cannot be added to, or the registry does not take it.
    pub fn put_attached(
        &self,
        subject: &Digest,
        what: Attached,
        attached: &RawManifest,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let operation = Operation::WriteReferrer(subject.to_string());
        let Some(tag) = what.tag(subject) else {
            let problem = format!("nothing can be attached to {subject}: no tag is that long");
            return Err(self.error(&operation, Problem::Protocol(problem)));
        };
        let attaching = Attaching { client: self, attached, operation: operation.clone(), scope };
        let shared = SharedTag { client: self, subject, tag, operation };
        shared.add(&mut |there| attaching.wanted(there), scope)
    }
}

struct Attaching<'a> {
    client: &'a Client,
    attached: &'a RawManifest,
    operation: Operation,
    scope: &'a Scope,
}

impl Attaching<'_> {
    fn wanted(&self, there: Option<&RawManifest>) -> Result<Option<RawManifest>, RegistryError> {
        let Some(there) = there else { return Ok(Some(self.attached.clone())) };
        let failed = |error: ManifestError| self.client.error(&self.operation, error);
        match Union::of(there, self.attached).map_err(failed)? {
            Union::Contained => Ok(None),
            Union::Covers => Ok(Some(self.attached.clone())),
            Union::Both(joining) => {
                let config = self.read(joining.config())?;
                let (manifest, config) = joining.seal(&config).map_err(failed)?;
                if let Some(image) = manifest.image() {
                    self.write(&image.config, &config)?;
                }
                Ok(Some(manifest))
            }
        }
    }

    fn read(&self, config: &Descriptor) -> Result<Bytes, RegistryError> {
        if config.size > MANIFEST_LIMIT as u64 {
            let found = config.size;
            let problem = format!("configuration of {found} bytes, the limit is {MANIFEST_LIMIT}");
            return Err(self.client.error(&self.operation, Problem::Protocol(problem)));
        }
        let download = self.client.blob(config, self.scope)?;
        let mut layer = Layer::verified(config.clone(), download);
        let failed = |error| self.client.error(&self.operation, Problem::from(error));
        let mut bytes = Vec::new();
        while let Some(chunk) = layer.next().map_err(failed)? {
            bytes.extend_from_slice(&chunk);
        }
        layer.finish().map_err(failed)?;
        Ok(bytes.into())
    }

    fn write(&self, config: &Descriptor, bytes: &Bytes) -> Result<(), RegistryError> {
        let open = || Ok(Layer::verified(config.clone(), Once::new(bytes.clone())));
        let upload = BlobUpload { known: Some(config), mount_from: &[], open: &open };
        self.client.put_blob(&upload, self.scope).map(drop)
    }
}
