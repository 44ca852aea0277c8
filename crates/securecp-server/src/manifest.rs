use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use securecp_oci::{Declared, MANIFEST_LIMIT, MediaType, RawManifest};
use tokio::time::timeout;

use crate::name::{Name, Target};
use crate::refusal::Refusal;
use crate::registry::{Answer, Call, DOCKER_DIGEST, Registry, bare, drained, set};
use crate::store::{Conditions, Put};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

impl Registry {
    pub(crate) async fn read_manifest(&self, call: Call, name: Name, target: Target) -> Answer {
        let head = call.is_head();
        let (stored, bytes) = self
            .blocking(move |store| {
                let stored = store.manifest(&name, &target)?;
                let bytes = if head { Bytes::new() } else { stored.read()? };
                Ok::<_, Refusal>((stored, bytes))
            })
            .await??;
        let length = if head { stored.size } else { bytes.len() as u64 };
        let mut response = bare(StatusCode::OK);
        *response.body_mut() = Body::from(bytes);
        set(&mut response, header::CONTENT_LENGTH, length.to_string());
        set(&mut response, header::CONTENT_TYPE, stored.media_type);
        set(&mut response, header::ETAG, format!("\"{}\"", stored.digest));
        set(&mut response, DOCKER_DIGEST, stored.digest.to_string());
        Ok(response)
    }

    pub(crate) async fn put_manifest(&self, call: Call, name: Name, target: Target) -> Answer {
        let declared = match declared_type(&call) {
            Ok(declared) => declared,
            Err(refusal) => return Err(drained(&call.parts, call.body, refusal).await),
        };
        let conditions = conditions(&call);
        let bytes = self.collect(call.body).await?;
        let manifest = read(bytes, &declared, &target)?;
        let digest = manifest.digest().to_string();
        let subject = manifest.view().subject().map(|subject| subject.digest.to_string());
        let location = format!("/v2/{name}/manifests/{target}");
        let put = Put { manifest, target, conditions };
        self.blocking(move |store| store.put_manifest(&name, &put)).await??;
        let mut response = bare(StatusCode::CREATED);
        set(&mut response, header::LOCATION, location);
        set(&mut response, DOCKER_DIGEST, digest);
        if let Some(subject) = subject {
            set(&mut response, OCI_SUBJECT, subject);
        }
        Ok(response)
    }

    pub(crate) async fn delete_manifest(&self, name: Name, target: Target) -> Answer {
        self.blocking(move |store| store.delete_manifest(&name, &target)).await??;
        Ok(bare(StatusCode::ACCEPTED))
    }

    async fn collect(&self, body: Body) -> Result<Bytes, Refusal> {
        let collecting = Limited::new(body, MANIFEST_LIMIT).collect();
        let collected = timeout(self.options.idle_timeout, collecting).await;
        match collected.map_err(|_| Refusal::BodyBroken)? {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Refusal::TooLarge(MANIFEST_LIMIT as u64))
            }
            Err(_) => Err(Refusal::BodyBroken),
        }
    }
}

/// The declared type, which must name a manifest format.
fn declared_type(call: &Call) -> Result<MediaType, Refusal> {
    let declared = call.header(header::CONTENT_TYPE).map(MediaType::new);
    declared.filter(|t| t.manifest_kind().is_some()).ok_or(Refusal::ManifestType)
}

fn conditions(call: &Call) -> Conditions {
    let bare = |text: &str| text.trim().trim_matches('"').to_owned();
    Conditions {
        unchanged: call.header(header::IF_MATCH).filter(|text| text.trim() != "*").map(bare),
        absent: call.header(header::IF_NONE_MATCH).is_some_and(|text| text.trim() == "*"),
    }
}

fn read(bytes: Bytes, declared: &MediaType, target: &Target) -> Result<RawManifest, Refusal> {
    let digest = match target {
        Target::Digest(digest) => Some(digest),
        Target::Tag(_) => None,
    };
    let declared = Declared { media_type: Some(declared.as_str()), digest, size: None };
    RawManifest::read(bytes, declared).map_err(|error| match error {
        securecp_oci::ManifestError::DigestMismatch { expected, found } => {
            Refusal::DigestMismatch { expected, found }
        }
        other => Refusal::ManifestInvalid(other),
    })
}
