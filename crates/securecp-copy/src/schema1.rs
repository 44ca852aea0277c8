//! Docker schema 1: its manifests say neither how large a layer is nor what its plain bytes hash to, so the layers are
//! read before a plan can be made. From there on the image is what it is converted to, with a Docker (v2s2) manifest.

use bytes::Bytes;
use securecp_layer::{CheckDiffId, Codec, FoundDiffId, Guard, Transform};
use securecp_oci::{Descriptor, Digest, ManifestFormat, MediaType, RawManifest, Schema1};
use securecp_transport::{Source, TransportError};
use securecp_trust::Admitted;

use crate::error::{Cause, CopyError, Phase, Side};
use crate::job::Copying;
use crate::plan::{PlanError, Reason};
use crate::survey::{Found, FoundManifest};

/// A schema 1 image in another format.
#[derive(Debug)]
pub(crate) struct Restated {
    pub(crate) manifest: RawManifest,
    pub(crate) config: Bytes,
}

/// Restates every schema 1 image. Its layers are read for that, which only what was admitted may cause.
pub(crate) fn restate(
    copying: &Copying<'_>,
    admitted: &[Admitted<Found>],
) -> Result<(), CopyError> {
    for (route, admitted) in copying.job.routes.iter().zip(admitted) {
        for found in admitted.found().manifests() {
            if let Some(schema1) = found.subject.manifest.as_schema1() {
                let reading = Reading { copying, from: route.from };
                reading.check(found)?;
                found.restate(reading.restated(schema1)?);
            }
        }
    }
    Ok(())
}

struct Reading<'a> {
    copying: &'a Copying<'a>,
    from: &'a dyn Source,
}

impl Reading<'_> {
    /// What can be refused is refused before anything is read.
    fn check(&self, found: &FoundManifest) -> Result<(), CopyError> {
        if !self.copying.job.edits.preserve_digests {
            return Ok(());
        }
        let manifest = found.subject.manifest.digest().clone();
        let reasons = Reason::Converted(ManifestFormat::Docker).to_string();
        Err(CopyError::plan(PlanError::Preserve { manifest, reasons }))
    }

    fn restated(&self, schema1: &Schema1) -> Result<Restated, CopyError> {
        let mut distinct: Vec<&Digest> = schema1.layers().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let measured = self.copying.workers.each(&distinct, |layer| self.measure(layer))?;
        let of =
            |layer: &Digest| distinct.binary_search(&layer).ok().map(|at| measured[at].clone());
        let (layers, diff_ids): (Vec<_>, Vec<_>) = schema1.layers().filter_map(of).unzip();
        self.converted(schema1, &layers, &diff_ids).map_err(|cause| self.failed(cause))
    }

    fn converted(
        &self,
        schema1: &Schema1,
        layers: &[Descriptor],
        diff_ids: &[Digest],
    ) -> Result<Restated, Cause> {
        let made = schema1.convert(layers, diff_ids, ManifestFormat::Docker)?;
        let manifest = made.document.seal(&made.media_type)?;
        Ok(Restated { manifest, config: made.config.unwrap_or_default() })
    }

    /// Reads a layer for its size and the digest of its plain bytes.
    fn measure(&self, digest: &Digest) -> Result<(Descriptor, Digest), CopyError> {
        self.read(digest).map_err(|cause| self.failed(cause.into()))
    }

    fn read(&self, digest: &Digest) -> Result<(Descriptor, Digest), TransportError> {
        let scope = self.copying.job.scope;
        let size = self.from.blob_size(digest, scope)?;
        let layer = Descriptor::new(MediaType::DOCKER_LAYER_GZIP, digest.clone(), size);
        let found = FoundDiffId::default();
        let check = CheckDiffId::new()
            .record(found.clone())
            .expect_codec(Codec::Gzip)
            .guarded(Guard::default())
            .scoped(scope.clone());
        let mut reading = check.wrap(self.from.blob(&layer, scope)?)?;
        while reading.next()?.is_some() {}
        reading.finish()?;
        let missing = || TransportError::Unsupported {
            name: self.from.name(),
            problem: format!("layer {digest} was not read to its end"),
        };
        Ok((layer, found.digest().ok_or_else(missing)?))
    }

    fn failed(&self, cause: Cause) -> CopyError {
        CopyError { phase: Phase::Survey, side: Some(Side::Source), place: self.from.name(), cause }
    }
}
