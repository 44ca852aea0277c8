//! Evidence as the tools in the field write it, with payloads that nobody signed.

use std::net::SocketAddr;

use securecp_oci::{Attached, Digest, MediaType};
use serde_json::{Value, json};

use crate::error::Result;
use crate::fixture::{Fixture, Manifest};
use crate::layer::Blob;

impl Fixture {
    /// A bundle as cosign 3 writes it: a signature of `subject`, or a statement of the type `predicate` about it.
    pub fn bundle(subject: &Manifest, predicate: &str) -> Self {
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let text = format!("{{\"bundle\":\"{predicate} of {}\"}}", subject.digest);
        let annotations = json!({
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": predicate,
            "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
        });
        Self::annotated_artifact(kind, Blob::new(MediaType::new(kind), text), subject, annotations)
    }

    /// A signature as Notation writes it: its type is that of its configuration.
    pub fn notation(subject: &Manifest) -> Self {
        let text = format!("{{\"payload\":\"of {}\"}}", subject.digest);
        let blob = Blob::new(MediaType::new("application/jose+json"), text);
        let kind = MediaType::new("application/vnd.cncf.notary.signature");
        Self::manifest_of(
            None,
            &[Blob::new(kind, "{}"), blob],
            Some(subject),
            json!({"io.cncf.notary.x509chain.thumbprint#S256": "[\"00\"]"}),
        )
    }

    /// An artifact of one blob with a subject and annotations.
    pub fn annotated_artifact(
        artifact_type: &str,
        payload: Blob,
        subject: &Manifest,
        annotations: Value,
    ) -> Self {
        let config = Blob::new(MediaType::OCI_EMPTY, "{}");
        Self::manifest_of(Some(artifact_type), &[config, payload], Some(subject), annotations)
    }

    /// What cosign attaches: an image with the configuration of one, and a layer for each text.
    pub fn attached(what: Attached, texts: &[String]) -> Self {
        let media_type = MediaType::new(match what {
            Attached::Signatures => "application/vnd.dev.cosign.simplesigning.v1+json",
            Attached::Attestations => "application/vnd.dsse.envelope.v1+json",
            Attached::Sbom => "text/spdx+json",
        });
        let layers: Vec<Blob> =
            texts.iter().map(|text| Blob::new(media_type.clone(), text.clone())).collect();
        let ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = json!({"architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let mut blobs = vec![Blob::new(MediaType::OCI_CONFIG, config.to_string())];
        blobs.extend(layers);
        Self::manifest_of(None, &blobs, None, Value::Null)
    }

    /// The same blobs and manifests under another root.
    #[must_use]
    pub fn with_root(&self, document: &Value) -> Self {
        let media_type = document.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        Self { root: Manifest::new(MediaType::new(media_type), document), ..self.clone() }
    }

    /// The list of referrers that stands under the fallback tag of their subject.
    pub fn referrers_list(referrers: &[&Self]) -> Self {
        let entry = |fixture: &&Self| {
            let document: Value = serde_json::from_slice(&fixture.root.bytes).unwrap_or_default();
            let mut entry = fixture.root.descriptor();
            let kind = document.get("artifactType").or_else(|| document["config"].get("mediaType"));
            entry["artifactType"] = kind.cloned().unwrap_or_default();
            if let Some(annotations) = document.get("annotations") {
                entry["annotations"] = annotations.clone();
            }
            entry
        };
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": referrers.iter().map(entry).collect::<Vec<_>>(),
        });
        Self {
            blobs: Vec::new(),
            children: Vec::new(),
            root: Manifest::new(MediaType::OCI_INDEX, &document),
        }
    }

    /// A manifest of a configuration and layers.
    fn manifest_of(
        artifact_type: Option<&str>,
        blobs: &[Blob],
        subject: Option<&Manifest>,
        annotations: Value,
    ) -> Self {
        let described: Vec<Value> = blobs.iter().map(crate::fixture::describe).collect();
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": described[0],
            "layers": described[1..],
        });
        if let Some(artifact_type) = artifact_type {
            document["artifactType"] = artifact_type.into();
        }
        if let Some(subject) = subject {
            let mut subject = subject.descriptor();
            if let Some(members) = subject.as_object_mut() {
                members.retain(|key, _| ["mediaType", "digest", "size"].contains(&key.as_str()));
            }
            document["subject"] = subject;
        }
        if !annotations.is_null() {
            document["annotations"] = annotations;
        }
        let root = Manifest::new(MediaType::OCI_MANIFEST, &document);
        Self { blobs: blobs.to_vec(), children: Vec::new(), root }
    }
}

/// Evidence of one image, with the tags under which cosign keeps its part.
#[derive(Debug, Clone, Default)]
pub struct EvidenceSet {
    /// What refers to something, by the digest of that.
    pub referrers: Vec<(Digest, Fixture)>,
    /// What is attached, by its tag.
    pub attached: Vec<(String, Fixture)>,
}

impl EvidenceSet {
    /// Adds a referrer of `subject`.
    pub fn refer(&mut self, subject: &Manifest, referrer: Fixture) {
        self.referrers.push((subject.digest.clone(), referrer));
    }

    /// Attaches texts to `subject` as cosign does. Digests too long for a tag have nothing attached.
    pub fn attach(&mut self, subject: &Manifest, what: Attached, texts: &[&str]) {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        if let Some(tag) = what.tag(&subject.digest) {
            self.attached.push((tag.to_string(), Fixture::attached(what, &texts)));
        }
    }

    /// Everything that can be evidence of `image`, an index of two platforms: three bundles, a Notation signature, a
    /// signature of one of the bundles, and what cosign attaches in each role.
    pub fn of(image: &Fixture) -> Self {
        let sign = "https://sigstore.dev/cosign/sign/v1";
        let (first, second) = (&image.children[0], &image.children[1]);
        let mut set = Self::default();
        set.refer(&image.root, Fixture::bundle(&image.root, sign));
        set.refer(first, Fixture::bundle(first, sign));
        let provenance = Fixture::bundle(second, "https://slsa.dev/provenance/v1");
        set.refer(&provenance.root, Fixture::bundle(&provenance.root, sign));
        set.refer(second, provenance);
        set.refer(second, Fixture::notation(second));
        set.attach(&image.root, Attached::Attestations, &["an attestation"]);
        set.attach(first, Attached::Sbom, &["a bill of materials"]);
        set.attach(&image.root, Attached::Signatures, &["a signature"]);
        set
    }

    /// Every piece.
    pub fn fixtures(&self) -> impl Iterator<Item = &Fixture> {
        let referrers = self.referrers.iter().map(|(_, fixture)| fixture);
        referrers.chain(self.attached.iter().map(|(_, fixture)| fixture))
    }

    /// Pushes all of it to a registry; with `fallback` also the tags that list referrers where nobody else does.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub fn push(&self, registry: SocketAddr, repository: &str, fallback: bool) -> Result<()> {
        for (_, referrer) in &self.referrers {
            referrer.push(registry, repository, None)?;
        }
        for (tag, attached) in &self.attached {
            attached.push(registry, repository, Some(tag))?;
        }
        for (subject, _) in self.referrers.iter().filter(|_| fallback) {
            let of = self.referrers.iter().filter(|(other, _)| other == subject);
            let list: Vec<&Fixture> = of.map(|(_, fixture)| fixture).collect();
            let tag = securecp_oci::referrers_tag(subject).to_string();
            Fixture::referrers_list(&list).push(registry, repository, Some(&tag))?;
        }
        Ok(())
    }
}
