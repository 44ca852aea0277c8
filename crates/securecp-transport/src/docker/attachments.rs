//! Sigstore signatures that are attached to registry images under the tag `sha256-HEX.sig`, as cosign 2 and the reference
//! write them: one layer a signature, the payload as the layer's bytes, the signature itself in annotations.

use bytes::Bytes;
use securecp_layer::{Layer, Once, Scope};
use securecp_oci::{
    Attachment, AttachmentError, Blob, Declared, Descriptor, Digest, MANIFEST_LIMIT, NewAttachment,
    RawManifest, Signature, Tag, attachment_tag,
};
use securecp_registry::{BlobUpload, Client, ManifestName};

use crate::TransportError;
use crate::docker::failure;

/// How often an attachment that others change is read anew before it is written.
const ROUNDS: usize = 8;

/// The signatures attached to a manifest, and the manifest that holds them; only a definite "not there" means that there
/// are none. What was `read` already is not read again.
pub(crate) fn attached(
    client: &Client,
    digest: &Digest,
    read: Option<RawManifest>,
    scope: &Scope,
) -> Result<(Vec<Signature>, Option<RawManifest>), TransportError> {
    let desk = Desk { client, tag: tag_for(client, digest)?, scope };
    let read = read.map_or_else(|| client.manifest(ManifestName::Tag(&desk.tag), scope), Ok);
    let manifest = match read {
        Err(error) if error.is_absence() => return Ok(Default::default()),
        other => other.map_err(failure)?,
    };
    let attachment = desk.read(&manifest)?;
    let layers = attachment.layers().iter().enumerate();
    let read = layers.map(|(position, layer)| desk.signature(&attachment, position, layer));
    Ok((read.collect::<Result<_, _>>()?, Some(manifest)))
}

/// Adds signatures to those of a manifest. Whatever else is attached there stays, and so does what others attach at the
/// same time; a signature that is there already is not added again.
pub(crate) fn attach(
    client: &Client,
    digest: &Digest,
    signatures: &[Signature],
    scope: &Scope,
) -> Result<(), TransportError> {
    let desk = Desk { client, tag: tag_for(client, digest)?, scope };
    let mut grown = |now: Option<&RawManifest>| desk.grown(now, signatures);
    let added = client.add_to_tag((digest, desk.tag.clone()), &mut grown, scope);
    added.map_err(|error| match error {
        TransportError::Registry(error) => failure(error),
        other => other,
    })
}

fn tag_for(client: &Client, digest: &Digest) -> Result<Tag, TransportError> {
    attachment_tag(digest).map_err(|source| TransportError::Reference {
        name: client.repository().to_string(),
        source,
    })
}

/// Where the attachment of one manifest is read and written.
struct Desk<'a> {
    client: &'a Client,
    tag: Tag,
    scope: &'a Scope,
}

impl Desk<'_> {
    fn read(&self, manifest: &RawManifest) -> Result<Attachment, TransportError> {
        let media_type = Some(manifest.media_type().as_str());
        let declared = Declared { media_type, ..Declared::default() };
        Attachment::read(manifest.bytes().clone(), declared).map_err(|error| self.refused(error))
    }

    fn signature(
        &self,
        attachment: &Attachment,
        position: usize,
        layer: &Descriptor,
    ) -> Result<Signature, TransportError> {
        let payload = self.blob(layer)?;
        attachment.signature(position, payload).map_err(|error| self.refused(error))
    }

    /// The manifest with all of `signatures`, everything that it names being there; `None` if they are there already.
    ///
    /// Uploads take a while, so the tag is read again after them: what others wrote meanwhile is the new beginning.
    fn grown(
        &self,
        now: Option<&RawManifest>,
        signatures: &[Signature],
    ) -> Result<Option<RawManifest>, TransportError> {
        let mut before = now.cloned();
        let mut rounds = 0;
        loop {
            let Some(new) = self.next(before.as_ref(), signatures)? else { return Ok(None) };
            for blob in new.payloads.iter().chain([&new.config]) {
                self.put(blob)?;
            }
            let after = self.standing()?;
            let digest = |found: &Option<RawManifest>| found.as_ref().map(|m| m.digest().clone());
            rounds += 1;
            // Whoever never finds it quiet writes all the same, and is told afterwards what was lost.
            if digest(&after) == digest(&before) || rounds == ROUNDS {
                return Ok(Some(new.manifest));
            }
            before = after;
        }
    }

    fn next(
        &self,
        before: Option<&RawManifest>,
        signatures: &[Signature],
    ) -> Result<Option<NewAttachment>, TransportError> {
        match before {
            None => Attachment::first(signatures).map_err(|error| self.refused(error)),
            Some(manifest) => self.added(&self.read(manifest)?, signatures),
        }
    }

    fn standing(&self) -> Result<Option<RawManifest>, TransportError> {
        match self.client.manifest(ManifestName::Tag(&self.tag), self.scope) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some).map_err(failure),
        }
    }

    fn added(
        &self,
        attachment: &Attachment,
        signatures: &[Signature],
    ) -> Result<Option<NewAttachment>, TransportError> {
        if attachment.has(signatures).map_err(|error| self.refused(error))? {
            return Ok(None);
        }
        if attachment.config().size > MANIFEST_LIMIT as u64 {
            return Err(TransportError::Unsupported {
                name: self.name(),
                problem: format!("configuration is larger than {MANIFEST_LIMIT} bytes"),
            });
        }
        let config = self.blob(attachment.config())?;
        attachment.with(&config, signatures).map_err(|error| self.refused(error))
    }

    /// The whole blob, whose size is bounded already, held to its digest.
    fn blob(&self, blob: &Descriptor) -> Result<Bytes, TransportError> {
        let download = self.client.blob(blob, self.scope).map_err(failure)?;
        Ok(Layer::verified(blob.clone(), download).read_whole()?)
    }

    fn put(&self, blob: &Blob) -> Result<(), TransportError> {
        let (known, bytes) = (&blob.descriptor, &blob.bytes);
        if self.client.has_blob(known, self.scope).map_err(failure)? {
            return Ok(());
        }
        let open = || Ok(Layer::verified(known.clone(), Once::new(bytes.clone())));
        let upload = BlobUpload { known: Some(known), mount_from: &[], open: &open };
        self.client.put_blob(&upload, self.scope).map_err(failure).map(drop)
    }

    fn refused(&self, source: AttachmentError) -> TransportError {
        TransportError::Attachment { name: self.name(), source }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.client.repository(), self.tag)
    }
}
