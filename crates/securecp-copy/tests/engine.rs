//! The one path against a source and a destination in memory that write down what was asked of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use securecp_copy::{
    Cause, CopyError, Edits, Effort, EvidenceEdits, ImageSigner, IndexMode, Job, OnOrphaned,
    Outcome, Phase, PlanError, Protection, Route, Select, Side, Signing, Target, copy,
};
use securecp_layer::{Chunks, Layer, LayerError, Once, Quiet, Scope, SourceError};
use securecp_oci::{
    Algorithm, Attached, Declared, Descriptor, Digest, ImageIdentity, ManifestKind, MediaType,
    PlatformWish, RawManifest, Reference, Repository, Signature, Tag, Transport,
};
use securecp_transport::{
    Accepts, BlobPut, CommitError, Destination, Naming, Place, Source, TransportError, Writing,
};
use securecp_trust::{Gate, IndexSignature, Policy};

fn sha(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn descriptor(media_type: MediaType, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, sha(bytes), bytes.len() as u64)
}

fn json(d: &Descriptor) -> String {
    serde_json::Value::from(d).to_string()
}

/// How the fake source misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The first opening of each blob breaks half-way, as a reset connection does.
    BreaksOnce,
    /// Every opening breaks.
    BreaksAlways,
    /// Blobs have other bytes than promised.
    Alters,
    /// Blobs never come.
    Stalls,
    /// Signatures cannot be looked up.
    NoSignatures,
    /// The job is stopped while signatures are looked up, and the source says something else.
    StoppedAtSignatures,
}

struct Memory {
    identity: ImageIdentity,
    root: RawManifest,
    manifests: HashMap<Digest, RawManifest>,
    blobs: HashMap<Digest, Bytes>,
    signatures: Vec<Signature>,
    fault: Fault,
    opened: AtomicUsize,
    root_reads: AtomicUsize,
}

/// Two platforms, each with a layer of its own and one that both share.
fn two_platforms() -> Memory {
    let mut blobs = HashMap::new();
    let mut manifests = HashMap::new();
    let mut keep = |media_type: MediaType, bytes: &'static [u8]| {
        blobs.insert(sha(bytes), Bytes::from_static(bytes));
        descriptor(media_type, bytes)
    };
    let shared = keep(MediaType::OCI_LAYER_GZIP, b"shared layer");
    let mut entries = Vec::new();
    for (arch, config, layer) in [
        ("amd64", &b"{\"a\":1}"[..], &b"layer for amd64"[..]),
        ("arm64", b"{\"b\":1}", b"layer for arm64"),
    ] {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{},{}]}}"#,
            json(&keep(MediaType::OCI_CONFIG, config)),
            json(&shared),
            json(&keep(MediaType::OCI_LAYER_GZIP, layer))
        );
        let manifest = read(text, MediaType::OCI_MANIFEST);
        let mut entry = manifest.descriptor();
        entry.platform = Some(securecp_oci::Platform::new("linux", arch));
        entries.push(json(&entry));
        manifests.insert(manifest.digest().clone(), manifest);
    }
    let root = read(
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")),
        MediaType::OCI_INDEX,
    );
    Memory {
        identity: ImageIdentity::anonymous(Transport::Dir),
        root,
        manifests,
        blobs,
        signatures: Vec::new(),
        fault: Fault::None,
        opened: AtomicUsize::new(0),
        root_reads: AtomicUsize::new(0),
    }
}

fn read(text: String, media_type: MediaType) -> RawManifest {
    let declared = Declared { media_type: Some(media_type.as_str()), ..Declared::default() };
    RawManifest::read(Bytes::from(text), declared).unwrap()
}

/// Half of the bytes, then a connection that breaks.
struct Broken(Option<Bytes>);

impl Chunks for Broken {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.take().map(Some).ok_or_else(|| SourceError::transient("connection reset"))
    }
}

struct Stalled(Scope);

impl Chunks for Stalled {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let stopped = self.0.sleep(Duration::from_secs(600)).unwrap_err();
        Err(SourceError::lasting(stopped))
    }
}

impl Source for Memory {
    fn name(&self) -> String {
        "memory:source".to_owned()
    }

    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn repository(&self) -> Option<&Repository> {
        None
    }

    fn root(&self, _: &Scope) -> Result<RawManifest, TransportError> {
        self.root_reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.root.clone())
    }

    fn manifest(&self, d: &Descriptor, _: &Scope) -> Result<RawManifest, TransportError> {
        self.manifests.get(&d.digest).cloned().ok_or_else(|| TransportError::NotFound {
            subject: d.digest.to_string(),
            place: self.name(),
        })
    }

    fn blob(&self, d: &Descriptor, scope: &Scope) -> Result<Layer<'static>, TransportError> {
        let first = self.opened.fetch_add(1, Ordering::SeqCst) < self.blobs.len();
        let bytes = self.blobs[&d.digest].clone();
        Ok(match self.fault {
            Fault::BreaksAlways => Layer::verified(d.clone(), Broken(Some(bytes.slice(..2)))),
            Fault::BreaksOnce if first => {
                Layer::verified(d.clone(), Broken(Some(bytes.slice(..2))))
            }
            Fault::Alters => {
                Layer::verified(d.clone(), Once::new(Bytes::from(vec![b'!'; bytes.len()])))
            }
            Fault::Stalls => Layer::verified(d.clone(), Stalled(scope.clone())),
            _ => Layer::verified(d.clone(), Once::new(bytes)),
        })
    }

    fn signatures(
        &self,
        _: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        if self.fault == Fault::StoppedAtSignatures {
            scope.cancel();
        }
        match (self.fault, place) {
            (Fault::NoSignatures | Fault::StoppedAtSignatures, _) => {
                Err(TransportError::Unsupported {
                    name: self.name(),
                    problem: "signature store is down".to_owned(),
                })
            }
            (_, Place::Root) => Ok(self.signatures.clone()),
            _ => Ok(Vec::new()),
        }
    }

    fn referrers(&self, _: &Digest, scope: &Scope) -> Result<Vec<Descriptor>, TransportError> {
        scope.check()?;
        Ok(Vec::new())
    }

    fn attached(
        &self,
        _: &Digest,
        _: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        scope.check()?;
        Ok(None)
    }
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    blobs: HashMap<Digest, Bytes>,
    manifests: HashMap<Digest, RawManifest>,
    name: Option<Digest>,
}

/// Keeps what it is given and what it was asked.
struct Shelf {
    state: Mutex<State>,
    reference: Option<Reference>,
    indexes: bool,
    loses_manifests: bool,
    holds_signatures: bool,
}

impl Shelf {
    fn new() -> Self {
        Self {
            state: Mutex::default(),
            reference: None,
            indexes: true,
            loses_manifests: false,
            holds_signatures: false,
        }
    }

    fn log(&self, line: String) {
        self.state.lock().unwrap().log.push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    fn effects(&self) -> Vec<String> {
        self.lines().into_iter().filter(|l| !l.starts_with('?')).collect()
    }
}

impl Destination for Shelf {
    fn name(&self) -> String {
        "memory:shelf".to_owned()
    }

    fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            manifests: &[ManifestKind::OciManifest, ManifestKind::OciIndex],
            indexes: self.indexes,
            only_images: false,
            simple_signatures: self.holds_signatures,
            sigstore_signatures: false,
            evidence: false,
            keeps_urls: true,
        }
    }

    fn check(&self, _: &Scope) -> Result<(), TransportError> {
        self.log("?check".to_owned());
        Ok(())
    }

    fn has_blob(&self, d: &Descriptor, _: &Scope) -> Result<bool, TransportError> {
        self.log(format!("?blob {}", d.digest));
        Ok(self.state.lock().unwrap().blobs.contains_key(&d.digest))
    }

    fn has_manifest(&self, m: &RawManifest, _: &Scope) -> Result<bool, TransportError> {
        Ok(self.state.lock().unwrap().manifests.contains_key(m.digest()))
    }

    fn current(&self, _: Option<&Tag>, _: &Scope) -> Result<Option<Digest>, TransportError> {
        Ok(self.state.lock().unwrap().name.clone())
    }

    fn begin(&self, _: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.log("begin".to_owned());
        Ok(Box::new(Filling(self)))
    }
}

struct Filling<'a>(&'a Shelf);

impl Writing for Filling<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, _: &Scope) -> Result<Descriptor, TransportError> {
        let mut layer = (blob.open)()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = layer.next()? {
            bytes.extend_from_slice(&chunk);
        }
        let descriptor = layer.finish()?;
        let mut state = self.0.state.lock().unwrap();
        assert!(
            state.blobs.insert(descriptor.digest.clone(), bytes.into()).is_none(),
            "sent twice"
        );
        state.log.push(format!("blob {}", descriptor.digest));
        Ok(descriptor)
    }

    fn put_manifest(&self, m: &RawManifest, place: Place, _: &Scope) -> Result<(), TransportError> {
        let mut state = self.0.state.lock().unwrap();
        state.log.push(format!("manifest {place:?}"));
        if !self.0.loses_manifests {
            state.manifests.insert(m.digest().clone(), m.clone());
        }
        Ok(())
    }

    fn put_signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        signatures: &[Signature],
        _: &Scope,
    ) -> Result<(), TransportError> {
        assert!(self.0.state.lock().unwrap().manifests.contains_key(manifest.digest()));
        self.0.log(format!("{} signatures {place:?}", signatures.len()));
        Ok(())
    }

    fn read_back(&self, m: &RawManifest, _: Place, _: &Scope) -> Result<(), TransportError> {
        let mut state = self.0.state.lock().unwrap();
        state.log.push("read back".to_owned());
        match state.manifests.get(m.digest()) {
            Some(there) if there.bytes() == m.bytes() => Ok(()),
            _ => Err(TransportError::NotFound {
                subject: m.digest().to_string(),
                place: "memory:shelf".to_owned(),
            }),
        }
    }

    fn commit(self: Box<Self>, names: &[Naming<'_>], _: &Scope) -> Result<(), CommitError> {
        let mut state = self.0.state.lock().unwrap();
        state.log.push("commit".to_owned());
        state.name = Some(names[0].root.digest().clone());
        Ok(())
    }
}

/// What a test asks for.
struct Ask<'a> {
    from: &'a Memory,
    to: &'a Shelf,
    select: Select,
    policy: Policy,
    index_signature: IndexSignature,
    edits: Edits,
    protection: Protection,
    effort: Effort,
    dry_run: bool,
    scope: Scope,
    tags: Vec<Tag>,
}

impl<'a> Ask<'a> {
    fn new(from: &'a Memory, to: &'a Shelf) -> Self {
        Self {
            from,
            to,
            select: Select::All,
            policy: Policy::insecure_accept_anything(),
            index_signature: IndexSignature::default(),
            edits: Edits::default(),
            protection: Protection::None,
            effort: Effort { retry_delay: Some(Duration::from_millis(1)), ..Effort::default() },
            dry_run: false,
            scope: Scope::new(),
            tags: Vec::new(),
        }
    }

    fn copy(&self) -> Result<Outcome, CopyError> {
        let keys = |_: &str| Err(std::io::Error::other("no keys here"));
        copy(&Job {
            routes: &[Route { from: self.from, to: &[Target { to: self.to, tags: &self.tags }] }],
            select: &self.select,
            policy: &self.policy,
            gate: &Gate::new(&keys).index_signature(self.index_signature),
            edits: &self.edits,
            protection: &self.protection,
            effort: self.effort,
            dry_run: self.dry_run,
            scope: &self.scope,
            report: &Quiet,
            journal: None,
        })
    }
}

fn amd64() -> Select {
    Select::System(PlatformWish {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
    })
}

#[test]
fn copies_everything_once_and_commits_last() {
    let (from, to) = (two_platforms(), Shelf::new());
    let outcome = Ask::new(&from, &to).copy().unwrap();
    let lines = to.effects();
    let kinds: Vec<&str> = lines.iter().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|k| **k == "blob").count(), 5, "the shared layer goes once");
    assert_eq!(kinds.first(), Some(&"begin"));
    assert_eq!(kinds.last(), Some(&"commit"));
    let root = lines.iter().position(|l| l == "manifest Root").unwrap();
    let last_child = lines.iter().rposition(|l| l == "manifest Child").unwrap();
    let first_read = kinds.iter().position(|k| *k == "read").unwrap();
    assert!(last_child < root && root < first_read, "{lines:?}");
    assert_eq!(kinds.iter().filter(|k| **k == "read").count(), 3);
    assert_eq!(to.state.lock().unwrap().name.as_ref(), Some(from.root.digest()));
    assert_eq!(outcome.written.unwrap().images[0].root.bytes(), from.root.bytes());
    assert_eq!(from.root_reads.load(Ordering::SeqCst), 1, "what was judged is what is copied");
}

#[test]
fn copies_one_platform_without_its_index() {
    let (from, to) = (two_platforms(), Shelf::new());
    Ask { select: amd64(), ..Ask::new(&from, &to) }.copy().unwrap();
    let state = to.state.lock().unwrap();
    assert_eq!((state.blobs.len(), state.manifests.len()), (3, 1));
}

#[test]
fn copies_only_the_index_when_asked() {
    let (from, to) = (two_platforms(), Shelf::new());
    Ask { select: Select::IndexOnly, ..Ask::new(&from, &to) }.copy().unwrap();
    let state = to.state.lock().unwrap();
    assert_eq!((state.blobs.len(), state.manifests.len()), (0, 1));
}

#[test]
fn names_the_platform_that_is_missing() {
    let (from, to) = (two_platforms(), Shelf::new());
    let wish = PlatformWish { os: "plan9".into(), architecture: "mips".into(), variant: None };
    let error = Ask { select: Select::System(wish), ..Ask::new(&from, &to) }.copy().unwrap_err();
    assert!(error.cause.to_string().contains("no image found in manifest list"), "{error:?}");
    assert!(to.effects().is_empty());
}

#[test]
fn sends_nothing_that_is_there() {
    let (from, to) = (two_platforms(), Shelf::new());
    Ask::new(&from, &to).copy().unwrap();
    let before = to.effects().len();
    let outcome = Ask::new(&from, &to).copy().unwrap();
    assert_eq!(to.effects().len(), before, "nothing was even begun");
    assert!(outcome.plan.is_done());
    assert_eq!(outcome.written.unwrap().sent_bytes, 0);
}

#[test]
fn a_dry_run_has_no_effect() {
    let (from, to) = (two_platforms(), Shelf::new());
    let outcome = Ask { dry_run: true, ..Ask::new(&from, &to) }.copy().unwrap();
    assert!(to.effects().is_empty());
    assert_eq!(outcome.plan.bytes_to_move(), 12 + 15 + 15 + 7 + 7);
    assert!(outcome.written.is_none());
}

#[test]
fn equal_inputs_give_equal_plans() {
    let (from, to) = (two_platforms(), Shelf::new());
    let plan = || {
        let outcome = Ask { dry_run: true, ..Ask::new(&from, &to) }.copy().unwrap();
        format!("{:?}", outcome.plan.nodes())
    };
    assert_eq!(plan(), plan());
}

#[test]
fn a_refused_image_never_reaches_the_destination() {
    let (from, to) = (two_platforms(), Shelf::new());
    let policy = Policy::parse(br#"{"default":[{"type":"reject"}]}"#).unwrap();
    for select in [Select::All, amd64(), Select::IndexOnly] {
        let asked = Ask { select, policy: policy.clone(), ..Ask::new(&from, &to) };
        let error = asked.copy().unwrap_err();
        assert!(error.is_refused());
    }
    let asked = to.lines();
    assert!(asked.iter().all(|line| line == "?check"), "asked of no image: {asked:?}");
}

#[test]
fn a_broken_connection_opens_the_source_again() {
    let (from, to) = (Memory { fault: Fault::BreaksOnce, ..two_platforms() }, Shelf::new());
    Ask::new(&from, &to).copy().unwrap();
    assert!(from.opened.load(Ordering::SeqCst) > from.blobs.len());
}

#[test]
fn a_connection_that_keeps_breaking_ends_the_copy() {
    let (from, to) = (Memory { fault: Fault::BreaksAlways, ..two_platforms() }, Shelf::new());
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert_eq!((error.phase, error.side), (Phase::Blob, Some(Side::Source)));
    assert!(!to.effects().contains(&"commit".to_owned()));
}

#[test]
fn altered_bytes_end_the_copy_without_a_second_try() {
    let (from, to) = (Memory { fault: Fault::Alters, ..two_platforms() }, Shelf::new());
    let asked = Ask {
        effort: Effort { parallel_blobs: 1, parallel_requests: 1, ..Effort::default() },
        ..Ask::new(&from, &to)
    };
    let error = asked.copy().unwrap_err();
    assert!(matches!(
        &error.cause,
        securecp_copy::Cause::Transport(TransportError::Layer(LayerError::Altered { .. }))
    ));
    assert_eq!(from.opened.load(Ordering::SeqCst), 1);
    assert_eq!(to.effects(), ["begin"]);
}

#[test]
fn a_cancel_ends_a_stalled_copy_at_once() {
    let (from, to) = (Memory { fault: Fault::Stalls, ..two_platforms() }, Shelf::new());
    let asked = Ask::new(&from, &to);
    let scope = asked.scope.clone();
    let start = Instant::now();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        scope.cancel();
    });
    let error = asked.copy().unwrap_err();
    canceller.join().unwrap();
    assert!(error.is_stopped(), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(to.effects(), ["begin"]);
}

#[test]
fn a_deadline_ends_a_stalled_copy() {
    let (from, to) = (Memory { fault: Fault::Stalls, ..two_platforms() }, Shelf::new());
    let asked = Ask { scope: Scope::lasting(Duration::from_millis(50)), ..Ask::new(&from, &to) };
    assert!(asked.copy().unwrap_err().is_stopped());
}

#[test]
fn signatures_are_not_lost_silently() {
    let signature = Signature::Simple(Bytes::from_static(b"\x90rest"));
    let from = Memory { signatures: vec![signature], ..two_platforms() };
    let to = Shelf::new();
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert!(error.cause.to_string().contains("--remove-signatures"), "{error:?}");
    assert!(to.effects().is_empty());
    let edits = Edits { remove_signatures: true, ..Edits::default() };
    Ask { edits, ..Ask::new(&from, &to) }.copy().unwrap();
}

#[test]
fn signatures_that_cannot_be_looked_up_are_not_none() {
    let (from, to) = (Memory { fault: Fault::NoSignatures, ..two_platforms() }, Shelf::new());
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert!(error.cause.to_string().contains("signature store is down"), "{error:?}");
    assert!(to.effects().is_empty());
}

/// A stop while signatures are looked up is a stop: nothing is known of the image.
#[test]
fn a_stop_while_signatures_are_looked_up_is_no_refusal() {
    let (from, to) =
        (Memory { fault: Fault::StoppedAtSignatures, ..two_platforms() }, Shelf::new());
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert!(error.is_stopped() && !error.is_refused(), "{error:?}");
    assert!(to.effects().is_empty());
}

/// An index of these indexes.
fn nested(texts: impl Iterator<Item = String>) -> Memory {
    let mut from = two_platforms();
    let mut entries = Vec::new();
    for text in texts {
        let manifest = read(text, MediaType::OCI_INDEX);
        entries.push(json(&manifest.descriptor()));
        from.manifests.insert(manifest.digest().clone(), manifest);
    }
    let root = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    from.root = read(root, MediaType::OCI_INDEX);
    from
}

/// Its copy needs more memory than one image may take.
fn assert_too_much(from: &Memory) {
    let to = Shelf::new();
    let error = Ask::new(from, &to).copy().unwrap_err();
    let text = error.cause.to_string();
    assert!(text.contains("together they have more than 134217728 bytes"), "{text}");
    assert!(to.effects().is_empty());
}

/// Each within its bound, and together more than a machine should hold.
#[test]
fn manifests_and_signatures_are_bounded_together() {
    const LARGE: usize = 4 << 20;
    let spaces = " ".repeat(LARGE - 200);
    assert_too_much(&nested((0..33).map(|number| {
        format!(r#"{{"schemaVersion":2,"annotations":{{"n":"{number}"}},{spaces}"manifests":[]}}"#)
    })));
    let large = Signature::Simple(Bytes::from(vec![0x90; LARGE]));
    assert_too_much(&Memory { signatures: vec![large; 33], ..two_platforms() });
}

/// Parsed they take more than their bytes: annotations with nothing in them some ten times as much.
#[test]
fn what_parsed_manifests_take_counts_too() {
    assert_too_much(&nested((0..10).map(|number| {
        let members: Vec<_> = (0..100_000).map(|n| format!(r#""{number}{n:014}":"""#)).collect();
        let members = members.join(",");
        format!(r#"{{"schemaVersion":2,"annotations":{{{members}}},"manifests":[]}}"#)
    })));
}

#[test]
fn a_destination_without_indexes_takes_none() {
    let (from, to) = (two_platforms(), Shelf { indexes: false, ..Shelf::new() });
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert!(error.cause.to_string().contains("does not support copying multiple images"));
    assert!(to.effects().is_empty());
}

#[test]
fn a_destination_digest_must_be_the_images() {
    let repository: Repository = "localhost:1/x".parse().unwrap();
    let from = two_platforms();
    let other = Shelf { reference: Some(repository.digested(sha(b"other"))), ..Shelf::new() };
    assert_eq!(Ask::new(&from, &other).copy().unwrap_err().phase, Phase::Plan);
    assert!(other.effects().is_empty());
    let same =
        Shelf { reference: Some(repository.digested(from.root.digest().clone())), ..Shelf::new() };
    Ask::new(&from, &same).copy().unwrap();
}

#[test]
fn nothing_is_committed_that_cannot_be_read_back() {
    let (from, to) = (two_platforms(), Shelf { loses_manifests: true, ..Shelf::new() });
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert_eq!(error.phase, Phase::ReadBack);
    assert!(!error.is_not_found(), "a lost piece at the destination is not a missing image");
    assert!(!to.effects().contains(&"commit".to_owned()));
}

fn platforms(wanted: &[&str], index: IndexMode) -> Select {
    let wish = |arch: &&str| PlatformWish {
        os: "linux".to_owned(),
        architecture: (*arch).to_owned(),
        variant: None,
    };
    Select::Platforms { wishes: wanted.iter().map(wish).collect(), index }
}

#[test]
fn a_sparse_index_keeps_its_bytes() {
    let (from, to) = (two_platforms(), Shelf::new());
    let select = platforms(&["arm64"], IndexMode::Sparse);
    let outcome = Ask { select, ..Ask::new(&from, &to) }.copy().unwrap();
    assert_eq!(outcome.written.unwrap().images[0].root.bytes(), from.root.bytes());
    let state = to.state.lock().unwrap();
    assert_eq!((state.blobs.len(), state.manifests.len()), (3, 2));
}

#[test]
fn a_rewritten_index_names_only_what_is_copied() {
    let (from, to) = (two_platforms(), Shelf::new());
    let select = platforms(&["arm64"], IndexMode::Rewrite);
    let outcome = Ask { select: select.clone(), ..Ask::new(&from, &to) }.copy().unwrap();
    let root = outcome.written.unwrap().images[0].root.clone();
    let entries = &root.index().unwrap().manifests;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].platform.as_ref().unwrap().architecture, "arm64");
    assert_ne!(root.digest(), from.root.digest());
    let edits = Edits { preserve_digests: true, ..Edits::default() };
    let error = Ask { select, edits, ..Ask::new(&from, &Shelf::new()) }.copy().unwrap_err();
    assert!(error.cause.to_string().contains("1 of 2 entries are left out"), "{error:?}");
}

#[test]
fn all_platforms_of_an_index_leave_it_as_it_is() {
    let (from, to) = (two_platforms(), Shelf::new());
    let select = platforms(&["arm64", "amd64"], IndexMode::Rewrite);
    let outcome = Ask { select, ..Ask::new(&from, &to) }.copy().unwrap();
    assert_eq!(outcome.written.unwrap().images[0].root.bytes(), from.root.bytes());
}

#[test]
fn a_platform_that_is_missing_ends_the_copy() {
    let (from, to) = (two_platforms(), Shelf::new());
    let select = platforms(&["arm64", "s390x"], IndexMode::Sparse);
    let error = Ask { select, ..Ask::new(&from, &to) }.copy().unwrap_err();
    assert!(error.cause.to_string().contains("s390x"), "{error:?}");
}

#[test]
fn a_change_that_nobody_could_record_is_refused_before_any_effect() {
    let (from, to) = (two_platforms(), Shelf::new());
    let evidence = EvidenceEdits { on_orphaned: OnOrphaned::Record, ..EvidenceEdits::default() };
    let edits = Edits { evidence, ..Edits::default() };
    let select = platforms(&["arm64"], IndexMode::Rewrite);
    let ask = Ask { select, edits: edits.clone(), ..Ask::new(&from, &to) };
    let error = ask.copy().unwrap_err();
    let found = matches!(error.cause, Cause::Plan(PlanError::NoRecorder { .. }));
    assert!(found && to.effects().is_empty(), "{error:?}");
    // Where nothing changes there is nothing to record.
    Ask { edits, ..Ask::new(&from, &to) }.copy().unwrap();
}

/// Writes down what it is asked to sign.
#[derive(Default)]
struct Pen {
    signed: Mutex<Vec<String>>,
    dry: bool,
    quiet: bool,
    /// Where it looks, when it signs, for what is there.
    looks_at: Option<Arc<Shelf>>,
}

impl ImageSigner for Pen {
    fn name(&self) -> String {
        "pen".to_owned()
    }

    fn is_simple(&self) -> bool {
        true
    }

    fn leaves_no_trace(&self) -> bool {
        self.quiet
    }

    fn sign(
        &self,
        manifest: &RawManifest,
        identity: &Reference,
    ) -> Result<Signature, Box<dyn std::error::Error + Send + Sync>> {
        if self.dry {
            return Err("the pen is dry".into());
        }
        let there = |shelf: &Arc<Shelf>| shelf.state.lock().unwrap().manifests.len();
        if let Some(there) = self.looks_at.as_ref().map(there) {
            self.signed.lock().unwrap().push(format!("{there} there"));
        }
        self.signed.lock().unwrap().push(format!("{identity} {}", manifest.digest()));
        Ok(Signature::Simple(Bytes::from_static(b"\x90new")))
    }
}

fn signed_by(pen: &Arc<Pen>) -> Edits {
    let signers: Vec<Arc<dyn ImageSigner>> = vec![pen.clone()];
    Edits { signing: Signing { signers, ..Signing::default() }, ..Edits::default() }
}

fn named_shelf() -> Shelf {
    Shelf {
        reference: Some("localhost:1/x:v1".parse().unwrap()),
        holds_signatures: true,
        ..Shelf::new()
    }
}

#[test]
fn signs_every_manifest_before_anything_is_named() {
    let (from, to, pen) = (two_platforms(), named_shelf(), Arc::new(Pen::default()));
    Ask { edits: signed_by(&pen), ..Ask::new(&from, &to) }.copy().unwrap();
    let lines = to.effects();
    let at = |wanted: &str| lines.iter().rposition(|l| l.contains(wanted)).unwrap();
    assert!(at("signatures") < at("read back") && at("read back") < at("commit"), "{lines:?}");
    let signed = pen.signed.lock().unwrap();
    assert_eq!(signed.len(), 3, "two images and the index");
    assert!(signed.iter().all(|s| s.starts_with("localhost:1/x:v1 sha256:")), "{signed:?}");
}

#[test]
fn every_name_gets_a_signature_of_its_own() {
    let (from, to, pen) = (two_platforms(), named_shelf(), Arc::new(Pen::default()));
    let tags = vec!["v2".parse().unwrap()];
    Ask { edits: signed_by(&pen), select: amd64(), tags: tags.clone(), ..Ask::new(&from, &to) }
        .copy()
        .unwrap();
    let names: Vec<String> =
        pen.signed.lock().unwrap().iter().map(|s| s[..16].to_owned()).collect();
    assert_eq!(names, ["localhost:1/x:v1", "localhost:1/x:v2"]);
    let mut edits = signed_by(&pen);
    edits.signing.identity = Some("h.example/y:z".parse().unwrap());
    let error = Ask { edits, tags, ..Ask::new(&from, &to) }.copy().unwrap_err();
    assert!(error.cause.to_string().contains("2 names"), "{error:?}");
}

#[test]
fn a_signer_that_fails_leaves_no_name() {
    let (from, to) = (two_platforms(), named_shelf());
    let pen = Arc::new(Pen { dry: true, ..Pen::default() });
    let error = Ask { edits: signed_by(&pen), ..Ask::new(&from, &to) }.copy().unwrap_err();
    assert_eq!(error.phase, Phase::Signatures);
    assert!(!to.effects().contains(&"commit".to_owned()));
}

/// Whoever leaves a trace elsewhere is asked only when what is signed is in place.
#[test]
fn only_who_leaves_no_trace_signs_before_the_manifest_is_there() {
    for quiet in [true, false] {
        let (from, to) = (two_platforms(), Arc::new(named_shelf()));
        let pen = Pen { quiet, looks_at: Some(to.clone()), ..Pen::default() };
        let pen = Arc::new(pen);
        let effort = Effort { parallel_requests: 1, parallel_blobs: 1, ..Effort::default() };
        Ask { edits: signed_by(&pen), effort, ..Ask::new(&from, &to) }.copy().unwrap();
        let signed = pen.signed.lock().unwrap();
        assert_eq!(signed.len(), 2 * 3, "two images and the index: {signed:?}");
        assert_eq!(signed.contains(&"0 there".to_owned()), quiet, "{signed:?}");
        let put = to.effects().iter().filter(|line| line.contains("signatures")).count();
        assert_eq!(put, 3);
    }
}

#[test]
fn an_early_signature_that_fails_leaves_no_name() {
    let (from, to) = (two_platforms(), named_shelf());
    let pen = Arc::new(Pen { dry: true, quiet: true, ..Pen::default() });
    let error = Ask { edits: signed_by(&pen), ..Ask::new(&from, &to) }.copy().unwrap_err();
    assert_eq!(error.phase, Phase::Signatures);
    assert!(!to.effects().contains(&"commit".to_owned()));
}

#[test]
fn asks_for_signatures_where_none_can_be_held_before_anything_is_sent() {
    let (from, pen) = (two_platforms(), Arc::new(Pen::default()));
    let nameless = Shelf { reference: None, ..named_shelf() };
    let holds_none = Shelf { holds_signatures: false, ..named_shelf() };
    for (to, wanted) in [(nameless, "--sign-identity"), (holds_none, "cannot hold")] {
        let error = Ask { edits: signed_by(&pen), ..Ask::new(&from, &to) }.copy().unwrap_err();
        assert!(error.cause.to_string().contains(wanted), "{error:?}");
        assert!(to.effects().is_empty());
    }
}

#[test]
fn an_index_of_which_parts_were_not_judged_is_not_signed() {
    let (from, to, pen) = (two_platforms(), named_shelf(), Arc::new(Pen::default()));
    for select in [Select::IndexOnly, platforms(&["arm64"], IndexMode::Sparse)] {
        let asked = Ask { edits: signed_by(&pen), select, ..Ask::new(&from, &to) };
        let error = asked.copy().unwrap_err();
        assert!(error.cause.to_string().contains("--dangerous-sign-partial-index"), "{error:?}");
    }
    let mut edits = signed_by(&pen);
    edits.signing.dangerous_partial_index = true;
    Ask { edits, select: Select::IndexOnly, ..Ask::new(&from, &to) }.copy().unwrap();
}

/// One image whose layer is described by `layers`, which may lie.
fn image_of(layers: &[Descriptor], config: &Descriptor) -> RawManifest {
    let layers: Vec<String> = layers.iter().map(json).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        json(config),
        layers.join(",")
    );
    read(text, MediaType::OCI_MANIFEST)
}

fn single(layers: &[Descriptor], config: Descriptor) -> Memory {
    let mut memory = two_platforms();
    memory.root = image_of(layers, &config);
    memory
}

fn with_urls(blob: &Descriptor) -> Descriptor {
    Descriptor { urls: vec!["https://h.test/x".to_owned()], ..blob.clone() }
}

/// CVE-2020-15157: credentials went to whatever address stood beside a layer. The source here has no way to reach one.
#[test]
fn cve_2020_15157_addresses_in_a_manifest_are_not_contacted() {
    let config = descriptor(MediaType::OCI_CONFIG, b"{\"a\":1}");
    let layer = descriptor(MediaType::OCI_LAYER_GZIP, b"shared layer");
    let foreign = MediaType::new("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    let foreign = with_urls(&Descriptor { media_type: foreign, ..layer.clone() });
    for (layers, config, blobs) in [
        (vec![with_urls(&layer)], with_urls(&config), 2),
        (vec![with_urls(&layer), layer.clone()], config.clone(), 2),
        (vec![foreign.clone(), layer.clone()], config.clone(), 2),
        (vec![foreign], config.clone(), 1),
    ] {
        let (from, to) = (single(&layers, config), Shelf::new());
        Ask::new(&from, &to).copy().unwrap();
        assert_eq!(to.state.lock().unwrap().blobs.len(), blobs, "{layers:?}");
    }
}

#[test]
fn descriptors_that_contradict_each_other_are_refused() {
    let config = descriptor(MediaType::OCI_CONFIG, b"{\"a\":1}");
    let layer = descriptor(MediaType::OCI_LAYER_GZIP, b"shared layer");
    let longer = Descriptor { size: layer.size + 1, ..layer.clone() };
    let (from, to) = (single(&[layer, longer], config), Shelf::new());
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert!(error.cause.to_string().contains("contradict"), "{error:?}");

    let honest = two_platforms();
    let entry = honest.root.index().unwrap().manifests[0].clone();
    for lie in [
        Descriptor { size: entry.size + 1, ..entry.clone() },
        Descriptor { media_type: MediaType::OCI_INDEX, ..entry.clone() },
    ] {
        let text =
            format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, json(&entry), json(&lie));
        let from = Memory { root: read(text, MediaType::OCI_INDEX), ..two_platforms() };
        let error = Ask::new(&from, &to).copy().unwrap_err();
        assert!(error.cause.to_string().contains("contradict"), "{error:?}");
    }
    assert!(to.effects().is_empty());
}

#[test]
fn a_part_that_is_missing_is_not_a_missing_image() {
    let (mut from, to) = (two_platforms(), Shelf::new());
    from.manifests.clear();
    let error = Ask::new(&from, &to).copy().unwrap_err();
    assert!(matches!(&error.cause, securecp_copy::Cause::Transport(e) if e.is_not_found()));
    assert!(!error.is_not_found(), "the image is there, a piece of it is not");
}

#[test]
fn a_single_image_must_be_for_the_platform_asked_for() {
    let bytes: &'static [u8] = br#"{"os":"linux","architecture":"amd64"}"#;
    let layer = descriptor(MediaType::OCI_LAYER_GZIP, b"shared layer");
    let mut from = single(&[layer], descriptor(MediaType::OCI_CONFIG, bytes));
    from.blobs.insert(sha(bytes), Bytes::from_static(bytes));
    let ask = |wanted: &[&str]| {
        let to = Shelf::new();
        Ask { select: platforms(wanted, IndexMode::Sparse), ..Ask::new(&from, &to) }.copy().is_ok()
    };
    assert!(ask(&["amd64"]));
    assert!(!ask(&["arm64"]) && !ask(&["amd64", "arm64"]));
}

#[test]
fn the_index_that_led_to_an_image_is_judged_where_that_is_asked_for() {
    let (from, to) = (two_platforms(), Shelf::new());
    for (index_signature, judged) in [(IndexSignature::Ignore, 1), (IndexSignature::Require, 2)] {
        let asked = Ask { select: amd64(), dry_run: true, index_signature, ..Ask::new(&from, &to) };
        let outcome = asked.copy().unwrap();
        assert_eq!(outcome.plan.admitted()[0].verdict().subjects.len(), judged);
        assert_eq!(outcome.plan.admitted()[0].found().manifests().len(), 1, "it is not copied");
    }
}
