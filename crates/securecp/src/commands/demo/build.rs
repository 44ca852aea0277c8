//! What a build system leaves beside an image: some of it signed with a key that is thrown away at once, some not.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use securecp_oci::{Declared, Descriptor, MediaType, RawManifest};
use securecp_trust::{
    BundleArtifact, BundleCheck, BundleDraft, BundleHolder, SigstoreKey, SigstoreSigner,
};
use serde_json::{Value, json};

use super::image::{add_entry, keep, refer};
use crate::failure::Failure;

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// A build system with a key of its own.
pub(super) struct Builder {
    signer: SigstoreSigner,
    check: BundleCheck,
}

impl Builder {
    /// A builder with a new key.
    pub(super) fn new() -> Result<Self, Failure> {
        let signer = SigstoreSigner::new(SigstoreKey::generate()?);
        Ok(Self { signer, check: BundleCheck::dangerous_without_log()? })
    }

    /// The key that others know it by, PEM.
    pub(super) fn public_pem(&self) -> String {
        self.signer.public_pem()
    }

    /// Adds to the only image of the layout at `root` a signature of each of its manifests, a bill of materials with a
    /// signature of that, a statement of where the first platform was built; and a report that nobody signed.
    pub(super) fn attest(&self, root: &Path) -> Result<(), Failure> {
        let index = named(root)?;
        let platforms = index.index().map(|index| index.manifests.clone()).unwrap_or_default();
        let mut images = vec![index.clone()];
        for platform in &platforms {
            images.push(read(root, platform)?);
        }
        for image in &images {
            self.sign(root, image)?;
        }
        let sbom = json!({"spdxVersion": "SPDX-2.3", "name": "app", "packages": []});
        let sbom = refer(root, &Value::from(&index.descriptor()), ("application/spdx+json", &sbom));
        self.sign(root, &read(root, &sbom.context("writing a bill of materials")?)?)?;
        if let Some(first) = images.get(1) {
            let draft = BundleDraft::attestation(first, PROVENANCE, &json!({"builder": "demo"}));
            let bundle = self.bundle(draft)?;
            let artifact =
                BundleArtifact::attestation(first, PROVENANCE, bundle, SystemTime::now())?;
            store(root, &artifact).context("writing a statement")?;
        }
        let report = json!({"findings": 0});
        let kind = "application/vnd.example.scan+json";
        refer(root, &Value::from(&index.descriptor()), (kind, &report))
            .context("writing a report")?;
        Ok(())
    }

    fn sign(&self, root: &Path, manifest: &RawManifest) -> Result<(), Failure> {
        let bundle = self.bundle(BundleDraft::new(manifest))?;
        let artifact = BundleArtifact::new(manifest, bundle, SystemTime::now())?;
        Ok(store(root, &artifact).context("writing a signature")?)
    }

    fn bundle(&self, draft: BundleDraft) -> Result<bytes::Bytes, Failure> {
        let signature = self.signer.sign_bytes(&draft.to_sign())?;
        let holder = BundleHolder::key(&self.public_pem())?;
        Ok(draft.signed(signature, holder).finish(&[], &[], &self.check)?)
    }
}

/// The image that the layout has a name for.
fn named(root: &Path) -> Result<RawManifest, Failure> {
    let read_index = || -> io::Result<Value> {
        Ok(serde_json::from_slice(&fs::read(root.join("index.json"))?)?)
    };
    let index = read_index().context("reading the layout")?;
    let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default();
    let digest = digest.parse().context("reading the layout")?;
    read(root, &Descriptor::new(MediaType::OCI_INDEX, digest, 0))
}

fn read(root: &Path, entry: &Descriptor) -> Result<RawManifest, Failure> {
    let bytes = fs::read(root.join("blobs/sha256").join(entry.digest.hex()));
    let media_type = Some(entry.media_type.as_str());
    let declared = Declared { media_type, ..Declared::default() };
    Ok(RawManifest::read(bytes.context("reading the layout")?.into(), declared)?)
}

fn store(root: &Path, artifact: &BundleArtifact) -> io::Result<()> {
    for (descriptor, bytes) in &artifact.blobs {
        keep(root, descriptor.media_type.clone(), bytes)?;
    }
    let entry = keep(root, MediaType::OCI_MANIFEST, artifact.manifest.bytes())?;
    add_entry(root, &entry)
}
