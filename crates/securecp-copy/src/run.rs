use std::sync::Arc;
use std::time::Duration;

use securecp_layer::{
    Event, Layer, LayerError, Once, Prefix, Scope, SourceError, Spool, Stopped, TaskId, Watched,
};
use securecp_oci::{
    Descriptor, Digest, Document, Image, MediaType, RawManifest, Signature, convert_image,
    convert_index,
};
use securecp_transport::{
    BlobFile, BlobPut, Destination, OpenAfter, OpenFile, Piece, Source, TransportError, Writing,
};

use crate::cached;
use crate::chain::chain;
use crate::error::{Cause, CopyError, Phase, Side, side_of};
use crate::job::{Copying, Job, Written};
use crate::names::commit;
use crate::plan::{
    BlobAction, BlobWork, EvidenceWork, ManifestWork, Node, NodeId, Plan, Produced, Work, place,
};
use crate::read_back::read_back;
use crate::route::Storage;
use crate::schedule::{self, Done, Graph, Limits, Weight};
use crate::signing::Early;
use crate::written::written;

/// What a run put, before the names move.
pub(crate) struct Ran {
    /// For each node that is one.
    pub(crate) manifests: Vec<Option<RawManifest>>,
    /// For each node, what was put to refer to its manifest.
    pub(crate) artifacts: Vec<Vec<RawManifest>>,
    sent_bytes: u64,
}

/// Where a run writes, one for each storage; `None` where everything is there already.
pub(crate) type Writings<'a> = Vec<Option<Box<dyn Writing + 'a>>>;

/// Begins to write, runs the plan, reads back, gives the names.
pub(crate) fn write(copying: &Copying<'_>, plan: &Plan) -> Result<Written, CopyError> {
    let writings = begin(copying, plan)?;
    let ran = run(plan, copying, &writings)?;
    read_back(plan, copying, &writings, &ran)?;
    commit(plan, copying, writings, &ran.manifests)?;
    Ok(written(plan, (&ran.manifests, &ran.artifacts), ran.sent_bytes))
}

fn begin<'a>(copying: &'a Copying<'_>, plan: &Plan) -> Result<Writings<'a>, CopyError> {
    let begin = |(position, storage): (usize, &'a Storage<'_>)| {
        let begun = (!plan.is_done_in(position)).then(|| storage.to.begin(copying.job.scope));
        begun.transpose().map_err(|cause| failed(Phase::Begin, storage, cause))
    };
    copying.storages.iter().enumerate().map(begin).collect()
}

pub(crate) fn failed(phase: Phase, storage: &Storage<'_>, cause: TransportError) -> CopyError {
    CopyError::transport(phase, Side::Destination, storage.to.name(), cause)
}

/// What one node came to.
#[expect(clippy::large_enum_variant, reason = "one per node, moved once")]
pub(crate) enum NodeResult {
    Blob {
        descriptor: Descriptor,
        sent: bool,
    },
    Manifest(RawManifest),
    /// The manifests of new bundles.
    Signed(Vec<RawManifest>),
    /// Signatures of a manifest that is on its way.
    Early(Vec<Signature>),
    Evidence,
}

/// Does everything that `plan` says, up to but without moving the names.
fn run(plan: &Plan, copying: &Copying<'_>, writings: &Writings<'_>) -> Result<Ran, CopyError> {
    let job = copying.job;
    let scope = job.scope.child();
    let early = Early::of(plan, job);
    let runner = |node: &Node| Runner {
        plan,
        job,
        early: &early,
        from: job.routes[plan.route_of(node)].from,
        to: copying.storages[node.storage].to,
        writing: writings[node.storage].as_deref(),
        scope: &scope,
    };
    let work = |position: usize, done: &Done<NodeResult>| {
        let signed = early.signed_at(position);
        let node = &plan.nodes()[signed.unwrap_or(NodeId(position)).0];
        match signed {
            Some(_) => runner(node).sign_early(&node.work),
            None => runner(node).node(TaskId(position), &node.work, done),
        }
    };
    let mut needs: Vec<Vec<usize>> =
        plan.nodes().iter().map(|node| node.needs.iter().map(|id| id.0).collect()).collect();
    early.add_to(&mut needs);
    let weights = plan.nodes().iter().map(|node| weight(&node.work));
    let weights = weights.chain(std::iter::repeat(Weight::Light)).take(needs.len());
    let graph =
        Graph { needs: needs.iter().map(Vec::as_slice).collect(), weights: weights.collect() };
    let limits = Limits {
        workers: job.effort.parallel_requests.max(job.effort.parallel_blobs),
        heavy: job.effort.parallel_blobs,
        compressing: plan.compression_memory().map_or(usize::MAX, |memory| memory.layers()),
    };
    job.report.event(&Event::Planned { tasks: plan.nodes().len(), bytes: plan.bytes_to_move() });
    let stop = || {
        scope.fail(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
            "another part failed",
        )))
    };
    let done = schedule::execute(&graph, limits, stop, work)?;
    Ok(collect(done.into_all().into_iter().take(plan.nodes().len())))
}

/// A blob up to so many bytes is a small request like any other: what it costs are round trips.
pub(crate) const SMALL: u64 = 128 << 10;

fn weight(work: &Work) -> Weight {
    match work {
        Work::Blob(work @ BlobWork { action: BlobAction::Copy { .. }, source, .. }) => {
            match (work.compresses(), source.size > SMALL || !work.changes.is_empty()) {
                (true, _) => Weight::Compressing(source.size),
                (false, true) => Weight::Heavy(source.size),
                (false, false) => Weight::Light,
            }
        }
        _ => Weight::Light,
    }
}

fn collect(done: impl Iterator<Item = NodeResult>) -> Ran {
    let mut ran = Ran { manifests: Vec::new(), artifacts: Vec::new(), sent_bytes: 0 };
    for result in done {
        let (mut manifest, mut artifacts) = (None, Vec::new());
        match result {
            NodeResult::Manifest(put) => manifest = Some(put),
            NodeResult::Signed(put) => artifacts = put,
            NodeResult::Blob { descriptor, sent: true } => ran.sent_bytes += descriptor.size,
            NodeResult::Blob { .. } | NodeResult::Early(_) | NodeResult::Evidence => {}
        }
        ran.manifests.push(manifest);
        ran.artifacts.push(artifacts);
    }
    ran
}

/// Everything that one node needs.
pub(crate) struct Runner<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) job: &'a Job<'a>,
    pub(crate) early: &'a Early,
    from: &'a dyn Source,
    pub(crate) to: &'a dyn Destination,
    writing: Option<&'a dyn Writing>,
    pub(crate) scope: &'a Scope,
}

impl Runner<'_> {
    fn node(
        &self,
        task: TaskId,
        work: &Work,
        done: &Done<NodeResult>,
    ) -> Result<NodeResult, CopyError> {
        self.scope.check().map_err(|stopped| self.stopped(stopped))?;
        match work {
            Work::Blob(work) => self.blob(task, work),
            Work::Manifest(work) => self.manifest(task, work, done),
            Work::Signatures(work) => self.signatures(task, work, done),
            Work::Evidence(work) => self.evidence(task, *work),
            Work::Record(work) => self.records(task, *work, done),
        }
    }

    /// A storage that has everything is not written; its plan asks for nothing.
    pub(crate) fn writing(&self) -> Result<&dyn Writing, TransportError> {
        self.writing.ok_or_else(|| TransportError::Unsupported {
            name: self.to.name(),
            problem: "nothing was to be written there".to_owned(),
        })
    }

    fn blob(&self, task: TaskId, work: &BlobWork) -> Result<NodeResult, CopyError> {
        let subject = format!("blob {}", work.source.digest);
        let mount_from = match &work.action {
            BlobAction::There => return Ok(self.skip(task, &subject, "already there", work)),
            BlobAction::Elsewhere => {
                return Ok(self.skip(task, &subject, "kept at its urls", work));
            }
            BlobAction::Copy { mount_from } => mount_from,
        };
        let size = Some(work.source.size);
        self.job.report.event(&Event::Started { task, subject: &subject, size });
        if let Some(descriptor) = self.recalled(work)? {
            let why = "recompressed by an earlier copy";
            self.job.report.event(&Event::Skipped { task, subject: &subject, why });
            return Ok(NodeResult::Blob { descriptor, sent: false });
        }
        if !work.changes.is_empty() && self.job.edits.precompute_digests {
            return self.spooled(task, work);
        }
        if work.made.is_some() && self.is_there(task, &work.source)? {
            return Ok(self.skip(task, &subject, "already there", work));
        }
        let after: &OpenAfter<'_> = &|prefix| self.open_after(task, work, prefix);
        let file: &OpenFile<'_> = &|| self.open_file(work);
        let put = BlobPut {
            known: work.changes.is_empty().then_some(&work.source),
            mount_from,
            open: &|| self.open(task, work),
            open_after: work.is_verbatim().then_some(after),
            file: work.is_verbatim().then_some(file),
        };
        let descriptor = self.retry(task, || self.writing()?.put_blob(&put, self.scope))?;
        if let Some(wanted) = &work.remembered {
            cached::remember(self.job, wanted, &descriptor);
        }
        self.job.report.event(&Event::Finished { task });
        Ok(NodeResult::Blob { descriptor, sent: true })
    }

    fn recalled(&self, work: &BlobWork) -> Result<Option<Descriptor>, CopyError> {
        let Some(wanted) = &work.remembered else { return Ok(None) };
        cached::recall(self.job, self.to, wanted, self.scope)
            .map_err(|e| self.failed(Phase::Blob, e))
    }

    /// Makes the changed blob in a private unnamed file first; it is sent only if the destination does not have it.
    fn spooled(&self, task: TaskId, work: &BlobWork) -> Result<NodeResult, CopyError> {
        let spool = self
            .retry(task, || Ok(Spool::fill(self.open(task, work)?, &self.job.edits.temporary)?))?;
        let descriptor = spool.descriptor().clone();
        if let Some(wanted) = &work.remembered {
            cached::remember(self.job, wanted, &descriptor);
        }
        let there = self.is_there(task, &descriptor)?;
        if !there {
            let open = || Ok(spool.layer());
            let put = BlobPut::new(&descriptor, &open);
            self.retry(task, || self.writing()?.put_blob(&put, self.scope))?;
        }
        self.job.report.event(&Event::Finished { task });
        Ok(NodeResult::Blob { descriptor, sent: !there })
    }

    fn is_there(&self, task: TaskId, blob: &Descriptor) -> Result<bool, CopyError> {
        self.retry(task, || self.to.has_blob(blob, self.scope))
    }

    fn skip(&self, task: TaskId, subject: &str, why: &str, work: &BlobWork) -> NodeResult {
        self.job.report.event(&Event::Skipped { task, subject, why });
        NodeResult::Blob { descriptor: work.source.clone(), sent: false }
    }

    /// Opens the source and builds the chain anew, once per attempt.
    fn open<'b>(&'b self, task: TaskId, work: &'b BlobWork) -> Result<Layer<'b>, LayerError> {
        if let Some(bytes) = &work.made {
            return Ok(Layer::verified(work.source.clone(), Once::new(bytes.clone())));
        }
        let opened = self.from.blob(&work.source, self.scope);
        let layer = opened.map_err(|error| into_layer_error(&work.source.digest, error))?;
        chain(&work.step, Watched::wrap(layer, self.job.report, task))
    }

    /// As [`Runner::open`], with the first bytes given.
    fn open_after(
        &self,
        task: TaskId,
        work: &BlobWork,
        prefix: Prefix,
    ) -> Result<Option<Layer<'_>>, LayerError> {
        let opened = self.from.blob_after(&work.source, prefix, self.scope);
        let layer = opened.map_err(|error| into_layer_error(&work.source.digest, error))?;
        Ok(layer.map(|layer| Watched::wrap(layer, self.job.report, task)))
    }

    fn open_file(&self, work: &BlobWork) -> Result<Option<BlobFile>, LayerError> {
        let opened = self.from.blob_file(&work.source, self.scope);
        opened.map_err(|error| into_layer_error(&work.source.digest, error))
    }

    /// Repeats what may succeed the next time.
    pub(crate) fn retry<T>(
        &self,
        task: TaskId,
        mut attempt: impl FnMut() -> Result<T, TransportError>,
    ) -> Result<T, CopyError> {
        let mut tries = 0;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !error.is_transient() || tries >= self.job.effort.retry_times {
                return Err(self.failed(Phase::Blob, error));
            }
            let after = self.pause(tries);
            self.job.report.event(&Event::Retrying { task, after, why: &error.to_string() });
            self.scope.sleep(after).map_err(|stopped| self.stopped(stopped))?;
            tries += 1;
        }
    }

    fn pause(&self, tries: u32) -> Duration {
        let doubling = Duration::from_millis(200).saturating_mul(1 << tries.min(6));
        self.job.effort.retry_delay.unwrap_or(doubling)
    }

    fn manifest(
        &self,
        task: TaskId,
        work: &ManifestWork,
        done: &Done<NodeResult>,
    ) -> Result<NodeResult, CopyError> {
        let manifest = self.seal(work, done).map_err(|cause| self.local(cause))?;
        let subject = format!("manifest {}", manifest.digest());
        if work.there {
            self.job.report.event(&Event::Skipped {
                task,
                subject: &subject,
                why: "already there",
            });
            return Ok(NodeResult::Manifest(manifest));
        }
        self.job.report.event(&Event::Started {
            task,
            subject: &subject,
            size: Some(manifest.size()),
        });
        let at = place(self.plan, work);
        self.retry(task, || self.writing()?.put_manifest(&manifest, at, self.scope))
            .map_err(|error| CopyError { phase: Phase::Manifest, ..error })?;
        self.job.report.event(&Event::Finished { task });
        Ok(NodeResult::Manifest(manifest))
    }

    /// The manifest to put: the bytes found, or the template with what its parts came to.
    fn seal(&self, work: &ManifestWork, done: &Done<NodeResult>) -> Result<RawManifest, Cause> {
        let found = self.plan.found(work.found).content();
        match &work.produced {
            Produced::Kept(planned) if planned == found.digest() => Ok(found.clone()),
            Produced::Kept(planned) => {
                Err(Cause::Changed { planned: planned.clone(), made: found.digest().clone() })
            }
            Produced::Made(_) => self.fill_in(found, work, done),
        }
    }

    fn fill_in(
        &self,
        found: &RawManifest,
        work: &ManifestWork,
        done: &Done<NodeResult>,
    ) -> Result<RawManifest, Cause> {
        let (mut document, media_type) = self.template(found, work, done)?;
        for (position, id) in &work.entries {
            if let (true, Some(NodeResult::Manifest(child))) = (self.changes(*id), done.of(id.0)) {
                let mut entry = child.descriptor();
                if let (None, Some(index)) = (work.convert, found.index()) {
                    entry.annotations.clone_from(&index.manifests[*position].annotations);
                }
                document.set_entry("manifests", *position, &entry)?;
            }
        }
        if let Some(keep) = &work.keep {
            document.retain_manifests(|position| keep.contains(&position));
        }
        Ok(document.seal(&media_type)?)
    }

    /// The document with its layers as they came out, in the format asked for.
    fn template(
        &self,
        found: &RawManifest,
        work: &ManifestWork,
        done: &Done<NodeResult>,
    ) -> Result<(Document, MediaType), Cause> {
        let converted = match (work.convert, found.image()) {
            (Some(to), Some(image)) => {
                let config =
                    self.plan.found(work.found).configuration().cloned().unwrap_or_default();
                convert_image(found, &self.layers_made(image, work, done), &config, to)?
            }
            (Some(to), None) => convert_index(found, to, None)?,
            (None, _) => return Ok((self.edited(found, work, done)?, found.media_type().clone())),
        };
        Ok((converted.document, converted.media_type))
    }

    /// Every layer as it is now described, in the order of the image.
    fn layers_made(
        &self,
        image: &Image,
        work: &ManifestWork,
        done: &Done<NodeResult>,
    ) -> Vec<Descriptor> {
        let mut layers = image.layers.clone();
        for (position, descriptor) in self.changed_layers(work, done) {
            layers[position].clone_from(descriptor);
        }
        layers
    }

    /// The document found, with the layers that changed written into it.
    fn edited(
        &self,
        found: &RawManifest,
        work: &ManifestWork,
        done: &Done<NodeResult>,
    ) -> Result<Document, Cause> {
        let mut document = Document::of(found)?;
        let described = work.described.iter().map(|(position, layer)| (*position, layer));
        for (position, descriptor) in self.changed_layers(work, done).chain(described) {
            document.set_entry("layers", position, descriptor)?;
        }
        Ok(document)
    }

    /// The layers whose bytes changed, by position, as they came out.
    fn changed_layers<'b>(
        &'b self,
        work: &'b ManifestWork,
        done: &'b Done<NodeResult>,
    ) -> impl Iterator<Item = (usize, &'b Descriptor)> {
        let changed = work.layers.iter().filter(|(_, id)| self.changes(*id));
        changed.filter_map(|(position, id)| match done.of(id.0) {
            Some(NodeResult::Blob { descriptor, .. }) => Some((*position, descriptor)),
            _ => None,
        })
    }

    fn changes(&self, id: NodeId) -> bool {
        self.plan.nodes()[id.0].changes()
    }

    /// Stores a piece, what it names first.
    fn evidence(&self, task: TaskId, work: EvidenceWork) -> Result<NodeResult, CopyError> {
        let evidence = self.plan.piece(work);
        let subject = evidence.to_string();
        self.job.report.event(&Event::Started { task, subject: &subject, size: None });
        let parts = evidence.body.iter().flat_map(|body| &body.parts).map(Piece::Part);
        for piece in parts.chain(evidence.piece()) {
            self.retry(task, || self.writing()?.put_evidence(&piece, self.scope))
                .map_err(|error| CopyError { phase: Phase::Evidence, ..error })?;
        }
        self.job.report.event(&Event::Finished { task });
        Ok(NodeResult::Evidence)
    }

    pub(crate) fn failed(&self, phase: Phase, error: TransportError) -> CopyError {
        let side = side_of(&error);
        let place = match side {
            Side::Source => self.from.name(),
            Side::Destination => self.to.name(),
        };
        CopyError::transport(phase, side, place, error)
    }

    fn local(&self, cause: Cause) -> CopyError {
        CopyError { phase: Phase::Manifest, side: None, place: String::new(), cause }
    }

    pub(crate) fn stopped(&self, stopped: Stopped) -> CopyError {
        CopyError { phase: Phase::Blob, side: None, place: String::new(), cause: stopped.into() }
    }
}

fn into_layer_error(digest: &Digest, error: TransportError) -> LayerError {
    match error {
        TransportError::Layer(error) => error,
        TransportError::Stopped(stopped) => LayerError::Stopped(stopped),
        other => {
            let transient = other.is_transient();
            let source = SourceError { source: Box::new(other), transient };
            LayerError::Source { digest: digest.clone(), source }
        }
    }
}
