//! A signed promotion of five tags, and one that changes an image and records it, killed at every single request: no name
//! ever stands for an image whose signature or record cannot be had, and running it again always ends in the same place.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cli::gnupg::{policy, signatures_of};
use cli::{Place, listing};
use securecp_oci::{
    Declared, Descriptor, Digest, ImageIdentity, RawManifest, Reference, Signature, base64,
};
use securecp_testkit::http::{Request, Response};
use securecp_testkit::proxy::{Fault, Handler, Hook, Proxy, Reply, Rule, Seen};
use securecp_testkit::{Fixture, Layer, Registry};
use securecp_trust::{
    BundleArtifact, FreshKey, Gate, Judged, Policy, Subject, TrustFile, Witnesses,
};
use serde_json::Value;

/// Tags, and which image each of them names.
type Tags = &'static [(&'static str, usize)];

/// What happens at the request with the fatal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// The program is killed; the registry never hears of the request.
    Before,
    /// The program is killed when the registry has done its work.
    After,
    /// The registry answers 500.
    Error,
}

/// How the promotion signs, and where its signatures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// OpenPGP signatures in a lookaside store.
    Simple,
    /// Sigstore signatures attached in the registry itself.
    Sigstore,
    /// The image is changed on the way, and its old signature stays behind: a record in a bundle says so.
    Record,
}

impl Kind {
    /// Three tags of one image and two of another. Keys of sigstore take their time to be unlocked, so fewer of them.
    fn tags(self) -> Tags {
        match self {
            Self::Simple => &[("v1", 0), ("v1.0", 0), ("v1.0.0", 0), ("v2", 1), ("latest", 1)],
            Self::Sigstore => &[("v1", 0), ("latest", 0)],
            Self::Record => &[("v1", 0)],
        }
    }
}

/// What every trial shares and none changes.
struct Stage {
    kind: Kind,
    staging: Registry,
    private: Vec<u8>,
    public: Vec<u8>,
    images: [Fixture; 2],
}

const BUNDLE: &str = "--sign-by-sigstore-private-key key --sign-passphrase-file passphrase --sign-format bundle \
                      --dangerous-sign-without-log";
/// Only what the key has recorded counts, not what it has signed.
const TRUST: &str = "version: 1\nsigners: {mover: {key: key.pub, dangerous-no-log: true}}\nrecorders: [mover]\n\
                     default: {accept: bundle, require: mover}\n";
const PASSPHRASE: &str = "correct horse";

fn key(kind: Kind) -> (Vec<u8>, Vec<u8>) {
    match kind {
        Kind::Simple => {
            let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
            let key = FreshKey::generate("Release <release@shop.example>", now, hour).unwrap();
            (key.secret.to_vec(), key.public)
        }
        Kind::Sigstore | Kind::Record => {
            // The cheapest to unlock, since hundreds of runs do.
            let folder =
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/sigstore/private-keys");
            let read = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
            (read("legacy-cost.key"), read("legacy-cost.pub"))
        }
    }
}

impl Stage {
    fn new(kind: Kind) -> Self {
        let staging = Registry::start().unwrap();
        let layer = |text: &str| Layer::gzip(&[("app", text.as_bytes())]).unwrap();
        let shared = layer("shared");
        let images = [
            Fixture::image("amd64", std::slice::from_ref(&shared)),
            Fixture::image("amd64", &[shared, layer("second")]),
        ];
        for (tag, image) in kind.tags() {
            images[*image].push(staging.address(), "app", Some(tag)).unwrap();
        }
        let (private, public) = key(kind);
        let stage = Self { kind, staging, private, public, images };
        if kind == Kind::Record {
            stage.sign_in_place();
        }
        stage
    }

    /// Has the image signed where it is, by the key that will record what becomes of it.
    fn sign_in_place(&self) {
        let place = Place::new();
        self.write(&place);
        let image = format!("docker://{}/app:v1", self.staging.address());
        place.ok(&format!(
            "copy -q --src-tls-verify=false --dest-tls-verify=false {BUNDLE} {image} {image}"
        ));
    }

    fn write(&self, place: &Place) {
        place.write("key", &self.private);
        place.write("key.pub", &self.public);
        place.write("passphrase", PASSPHRASE);
    }
}

/// One promotion into an empty registry.
struct Trial<'a> {
    stage: &'a Stage,
    production: Registry,
    from: Proxy,
    to: Proxy,
    place: Place,
}

impl<'a> Trial<'a> {
    fn new(stage: &'a Stage) -> Self {
        let production = Registry::start().unwrap();
        let place = Place::new();
        let store = place.path("lookaside");
        let attached = stage.kind == Kind::Sigstore;
        let storage = format!(
            "default-docker:\n  lookaside: file://{}\n  use-sigstore-attachments: {attached}\n",
            store.display()
        );
        place.write("registries.d/default.yaml", storage);
        stage.write(&place);
        Self {
            stage,
            from: Proxy::start(stage.staging.address()).unwrap(),
            to: Proxy::start(production.address()).unwrap(),
            production,
            place,
        }
    }

    fn start(&self) -> Child {
        let sign = match self.stage.kind {
            Kind::Simple => "--sign-by-key-file key".to_owned(),
            Kind::Sigstore => {
                "--sign-by-sigstore-private-key key --sign-passphrase-file passphrase".to_owned()
            }
            Kind::Record => format!(
                "{BUNDLE} --remove-signatures --on-orphaned record --dest-compress-format zstd"
            ),
        };
        let line = format!(
            "--policy accept.json --registries.d registries.d copy -q --all-tags --no-journal \
             --retry-delay 1ms --src-tls-verify=false --dest-tls-verify=false {sign} \
             docker://{}/app docker://{}/app",
            self.from.address(),
            self.to.address()
        );
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = self.place.command(&words);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it to its end; says whether it succeeded, and what it said.
    fn finish(child: Child) -> (bool, String) {
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs it with the blow at request `fatal` of both sides together; `None` if it was struck down.
    fn run(&self, fatal: usize, blow: Blow) -> Option<(bool, String)> {
        let victim: Arc<Mutex<Option<Child>>> = Arc::default();
        let turn = Arc::new(AtomicUsize::new(0));
        for proxy in [&self.from, &self.to] {
            proxy.clear_rules();
            let (victim, turn) = (Arc::clone(&victim), Arc::clone(&turn));
            let mine = move || turn.fetch_add(1, Ordering::SeqCst) + 1 == fatal;
            let strike = move || {
                // The program is started before the lock is let go.
                if let Some(victim) = victim.lock().unwrap().as_mut() {
                    victim.kill().unwrap();
                }
            };
            let fault = match blow {
                Blow::Before => Fault::Handle(Handler::new(move |_| {
                    mine().then(|| {
                        strike();
                        Reply::new(503)
                    })
                })),
                Blow::After => Fault::Answered(Hook::new(move |_| {
                    if mine() {
                        strike();
                    }
                })),
                Blow::Error => Fault::Handle(Handler::new(move |_| {
                    mine().then(|| Reply::error(500, "UNKNOWN", "no"))
                })),
            };
            proxy.add(Rule::new("*", "").unwrap().with(fault));
        }
        let mut held = victim.lock().unwrap();
        let child = held.insert(self.start());
        let error = child.stderr.take().unwrap();
        drop(held);
        let said = std::io::read_to_string(error).unwrap();
        let status = victim.lock().unwrap().take().unwrap().wait().unwrap();
        status.code().map(|code| (code == 0, said))
    }

    fn get(&self, target: &str) -> Option<Response> {
        let answer = Request::new("GET", target).send(self.production.address()).unwrap();
        assert!([200, 404].contains(&answer.status), "{target}: {}", answer.status);
        (answer.status == 200).then_some(answer)
    }

    /// The manifest that a tag in production stands for.
    fn manifest(&self, tag: &str) -> Option<RawManifest> {
        let answer = self.get(&format!("/v2/app/manifests/{tag}"))?;
        let media_type = answer.header("content-type").map(str::to_owned);
        let declared = Declared { media_type: media_type.as_deref(), ..Declared::default() };
        Some(RawManifest::read(Bytes::from(answer.body), declared).unwrap())
    }

    fn signatures(&self, digest: &Digest) -> Vec<Signature> {
        match self.stage.kind {
            Kind::Simple => self.in_lookaside(digest),
            Kind::Sigstore => self.attached(digest),
            Kind::Record => Vec::new(),
        }
    }

    fn in_lookaside(&self, digest: &Digest) -> Vec<Signature> {
        let folder = signatures_of(&self.place, "app", &digest.to_string());
        if !folder.exists() {
            return Vec::new();
        }
        let names = listing(&folder);
        let read = |name: &String| std::fs::read(folder.join(name)).unwrap();
        let whole = names.iter().filter(|name| name.starts_with("signature-")).map(read);
        whole.map(|bytes| Signature::parse(Bytes::from(bytes)).unwrap()).collect()
    }

    fn attached(&self, digest: &Digest) -> Vec<Signature> {
        let tag = digest.to_string().replace(':', "-");
        let Some(manifest) = self.manifest(&format!("{tag}.sig")) else { return Vec::new() };
        let signature = |layer: &Descriptor| {
            let payload = self.get(&format!("/v2/app/blobs/{}", layer.digest));
            Signature::Sigstore {
                media_type: layer.media_type.to_string(),
                payload: payload.unwrap().body.into(),
                annotations: layer.annotations.clone(),
            }
        };
        manifest.image().unwrap().layers.iter().map(signature).collect()
    }

    fn policy(&self) -> Policy {
        let key = self.place.path("key.pub");
        let text = match self.stage.kind {
            Kind::Simple => policy(&key),
            Kind::Record => accept_all(),
            Kind::Sigstore => {
                serde_json::json!({"default": [{"type": "sigstoreSigned", "keyPath": key}]})
                    .to_string()
            }
        };
        Policy::parse(text.as_bytes()).unwrap()
    }

    /// Whether a policy that wants our key's signature under this very name accepts what the name stands for.
    fn assert_signed(&self, tag: &str, manifest: RawManifest) {
        let name = format!("{}/app:{tag}", self.to.address());
        let reference: Reference = name.parse().unwrap();
        let signatures = self.signatures(manifest.digest());
        let image = Image {
            identity: ImageIdentity::docker(&reference),
            subject: Subject::new(manifest, Ok(signatures)),
        };
        let keys = |path: &str| std::fs::read(path);
        let verdict = self.policy().judge(&image, &Gate::new(&keys));
        assert!(verdict.accepted, "{tag} is visible without its signature\n{verdict}");
    }

    /// The bundles beside a manifest, as the registry lists them.
    fn bundles(&self, manifest: &RawManifest) -> Vec<Vec<u8>> {
        let list = self.get(&format!("/v2/app/referrers/{}", manifest.digest())).unwrap();
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        let digests = list["manifests"].as_array().unwrap().iter();
        let artifacts = digests.map(|one| self.manifest(one["digest"].as_str().unwrap()).unwrap());
        let blob = |artifact: RawManifest| {
            let bundle = BundleArtifact::bundle_of(&artifact, manifest.digest()).unwrap();
            self.get(&format!("/v2/app/blobs/{}", bundle.digest)).unwrap().body
        };
        artifacts.map(blob).collect()
    }

    /// Whether a recorder's record beside the image names the image that it was made from.
    fn assert_recorded(&self, tag: &str, manifest: &RawManifest, source: &Digest) {
        let keys = |_: &str| Ok(self.stage.public.clone());
        let (trust, policy) = (TrustFile::parse(TRUST.as_bytes()).unwrap(), self.policy());
        let gate = Gate::new(&keys).trust(Some(&trust));
        let reference: Reference = format!("{}/app:{tag}", self.to.address()).parse().unwrap();
        let image = ImageIdentity::docker(&reference);
        let witnesses = Witnesses::of(&policy, &gate, &image).unwrap();
        let is_record = |bundle: &Vec<u8>| {
            let vouched = witnesses.bundle(manifest, bundle).unwrap();
            vouched.is_ok_and(|vouched| !vouched.is_signature())
                && source_of(bundle) == Some(source.to_string())
        };
        let recorded = self.bundles(manifest).iter().any(is_record);
        assert!(recorded, "{tag} is visible without its record");
    }

    /// Every tag that is visible is signed; says which are visible.
    fn visible(&self) -> Vec<&'static str> {
        let mut visible = Vec::new();
        for (tag, image) in self.stage.kind.tags() {
            let Some(manifest) = self.manifest(tag) else { continue };
            let source = self.stage.images[*image].digest();
            match self.stage.kind {
                Kind::Record => self.assert_recorded(tag, &manifest, source),
                Kind::Simple | Kind::Sigstore => {
                    assert_eq!(manifest.digest(), source, "{tag}");
                    self.assert_signed(tag, manifest);
                }
            }
            visible.push(*tag);
        }
        visible
    }

    /// Whether nothing was written anywhere: running it again is then the undisturbed run, which is made once for all.
    fn is_untouched(&self) -> bool {
        let reads = |seen: &Seen| ["GET", "HEAD"].contains(&seen.method.as_str());
        self.to.log().iter().all(reads) && !self.place.exists("lookaside")
    }

    fn assert_converges(&self) {
        self.from.clear_rules();
        self.to.clear_rules();
        let (done, said) = Self::finish(self.start());
        assert!(done, "{said}");
        assert_eq!(self.visible().len(), self.stage.kind.tags().len());
    }
}

fn accept_all() -> String {
    serde_json::json!({"default": [{"type": "insecureAcceptAnything"}]}).to_string()
}

/// The digest of the image that a record names as its source.
fn source_of(bundle: &[u8]) -> Option<String> {
    let bundle: Value = serde_json::from_slice(bundle).ok()?;
    let payload = base64::decode(bundle["dsseEnvelope"]["payload"].as_str()?).ok()?;
    let statement: Value = serde_json::from_slice(&payload).ok()?;
    Some(statement["predicate"]["source"]["digest"].as_str()?.to_owned())
}

struct Image {
    identity: ImageIdentity,
    subject: Subject,
}

impl Judged for Image {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        vec![&self.subject]
    }
}

/// How many requests an undisturbed promotion makes of both sides.
fn requests(stage: &Stage) -> usize {
    let trial = Trial::new(stage);
    trial.assert_converges();
    trial.from.log().len() + trial.to.log().len()
}

/// Strikes at every request in turn, each time at a promotion of its own. Says how often the program was struck down, and
/// how many tags were visible then.
#[expect(clippy::print_stderr, reason = "it tells what it did")]
fn strike_everywhere(kind: Kind, blow: Blow) {
    let stage = Stage::new(kind);
    let (count, tags) = (requests(&stage), kind.tags().len());
    let (next, struck, partly) = (AtomicUsize::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        loop {
            let fatal = next.fetch_add(1, Ordering::SeqCst);
            if fatal > count {
                return;
            }
            let trial = Trial::new(&stage);
            let ended = trial.run(fatal, blow);
            let visible = trial.visible();
            match &ended {
                None => {
                    struck.fetch_add(1, Ordering::SeqCst);
                    let between = (1..tags).contains(&visible.len());
                    partly.fetch_add(usize::from(between), Ordering::SeqCst);
                }
                // It has converged already.
                Some((true, _)) => {
                    assert_eq!(visible.len(), tags);
                    continue;
                }
                Some((false, said)) => assert!(said.contains("error"), "{said}"),
            }
            if !trial.is_untouched() {
                trial.assert_converges();
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(worker);
        }
    });
    let (struck, partly) = (struck.into_inner(), partly.into_inner());
    eprintln!(
        "{kind:?} {blow:?}: {count} requests, killed {struck} times, {partly} times between two tags"
    );
    match blow {
        Blow::Error => assert_eq!(struck, 0),
        // The very last request may have been one that only some orders of work need.
        _ => assert!(struck + 2 >= count && count > 20, "{struck} of {count}"),
    }
}

#[test]
fn killed_before_each_request() {
    strike_everywhere(Kind::Simple, Blow::Before);
}

#[test]
fn killed_after_each_request() {
    strike_everywhere(Kind::Simple, Blow::After);
}

#[test]
fn each_request_fails_once() {
    strike_everywhere(Kind::Simple, Blow::Error);
}

#[test]
fn killed_before_each_request_with_attachments() {
    strike_everywhere(Kind::Sigstore, Blow::Before);
}

#[test]
fn killed_after_each_request_with_attachments() {
    strike_everywhere(Kind::Sigstore, Blow::After);
}

#[test]
fn each_request_fails_once_with_attachments() {
    strike_everywhere(Kind::Sigstore, Blow::Error);
}

#[test]
fn killed_before_each_request_with_records() {
    strike_everywhere(Kind::Record, Blow::Before);
}

#[test]
fn killed_after_each_request_with_records() {
    strike_everywhere(Kind::Record, Blow::After);
}

#[test]
fn each_request_fails_once_with_records() {
    strike_everywhere(Kind::Record, Blow::Error);
}

/// The check that all of this rests on: an image whose signature or record is gone is not let pass.
fn signatures_gone(kind: Kind) {
    let stage = Stage::new(kind);
    let trial = Trial::new(&stage);
    trial.assert_converges();
    let digest = stage.images[0].digest().to_string();
    match kind {
        Kind::Simple => {
            std::fs::remove_dir_all(signatures_of(&trial.place, "app", &digest)).unwrap();
        }
        Kind::Sigstore => {
            let tag = digest.replace(':', "-");
            let tags = trial.production.root().join("repositories/app/_tags");
            std::fs::remove_file(tags.join(format!("{tag}.sig"))).unwrap();
        }
        Kind::Record => {
            let referrers = trial.production.root().join("repositories/app/_referrers");
            std::fs::remove_dir_all(referrers).unwrap();
        }
    }
    trial.visible();
}

#[test]
#[should_panic(expected = "is visible without its signature")]
fn a_missing_signature_is_seen() {
    signatures_gone(Kind::Simple);
}

#[test]
#[should_panic(expected = "is visible without its signature")]
fn a_missing_attachment_is_seen() {
    signatures_gone(Kind::Sigstore);
}

#[test]
#[should_panic(expected = "is visible without its record")]
fn a_missing_record_is_seen() {
    signatures_gone(Kind::Record);
}
