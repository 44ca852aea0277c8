//! `securecp sync`

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use indicatif::HumanBytes;
use securecp_copy::{Edits, Job, Outcome, Protection, Route, Target, copy};
use securecp_layer::{Report, Scope};
use securecp_oci::{Digest, Transport};
use securecp_trust::{Gate, Policy, TrustFile};
use serde_json::{Value, json};

use crate::args::SyncArgs;
use crate::connect::{DestinationDoor, Doors, SourceDoor};
use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::policy;
use crate::progress::{ProgressStyle, say};
use crate::request::SyncRequest;
use crate::session::Session;
use crate::signers;
use crate::sync::{Found, Pair, find};
use crate::trust;

/// Copies many images.
pub(crate) fn run(args: SyncArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = SyncRequest::new(args, &session.globals)?;
    let (globals, scope) = (session.globals.clone(), session.scope);
    let doors = Doors::new(&globals, request.retry)?.resuming(&request.resuming);
    let mut found = find(&request, &doors, &globals, scope)?;
    let mut results = Results::default();
    results.unknown(std::mem::take(&mut found.failures), session);
    if request.dry_run {
        return rehearse(&request, &found, &results, session);
    }
    let digests = request.digestfile.as_deref().map(create).transpose()?;
    let copying = Copying::new(&request, &found, &doors, session)?;
    copying.run(&mut results, session)?;
    drop(copying);
    digests.map_or(Ok(()), |file| results.write_digests(file, &request))?;
    results.show(&request, &found, session)?;
    results.end()
}

/// What every image has in common.
struct Copying<'a> {
    request: &'a SyncRequest,
    found: &'a Found,
    doors: &'a Doors<'a>,
    scope: &'a Scope,
    require_signed: bool,
    policy: Policy,
    trust: Option<TrustFile>,
    lookaside: Lookaside,
    edits: Edits,
    report: Box<dyn Report>,
}

impl<'a> Copying<'a> {
    fn new<'s: 'a>(
        request: &'a SyncRequest,
        found: &'a Found,
        doors: &'a Doors<'a>,
        session: &Session<'s>,
    ) -> Result<Self, Failure> {
        let scope = session.scope;
        let signing = signers::load(&request.signing, scope)?;
        Ok(Self {
            request,
            found,
            doors,
            scope,
            require_signed: session.globals.require_signed,
            policy: policy::load(&session.globals.policy)?,
            trust: trust::load(request.trust.as_deref())?,
            lookaside: Lookaside::load(session.globals.registries_d.as_deref())?,
            edits: Edits { signing, scope: scope.clone(), ..request.edits.clone() },
            report: style(request, session).start(),
        })
    }

    /// All of them as one set, or each by itself.
    fn run(&self, results: &mut Results, session: &Session<'_>) -> Result<(), Failure> {
        let pairs = &self.found.pairs;
        let sides = self.found.sides.iter();
        let sources: Vec<SourceDoor<'_>> =
            sides.map(|side| self.doors.sources(side, &self.lookaside)).collect();
        let places = self.doors.destinations(&self.request.destination_side, &self.lookaside);
        if self.request.keep_going {
            for image in pairs.chunks(1) {
                results.add(image, self.copy(image, &sources, &places), session);
            }
        } else if !pairs.is_empty() {
            results.done(pairs, &self.copy(pairs, &sources, &places)?);
        }
        Ok(())
    }

    /// Copies images as one set.
    fn copy(
        &self,
        pairs: &[Pair],
        sources: &[SourceDoor<'_>],
        places: &DestinationDoor<'_>,
    ) -> Result<Outcome, Failure> {
        pairs.iter().try_for_each(make_room)?;
        let source = |pair: &Pair| sources[pair.side].open(&pair.from);
        let sources = pairs.iter().map(source).collect::<Result<Vec<_>, _>>()?;
        let place = |pair: &Pair| places.open(&pair.to, &[]);
        let places = pairs.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let targets: Vec<[Target<'_>; 1]> =
            places.iter().map(|place| [Target { to: &**place, tags: &[] }]).collect();
        let routes: Vec<Route<'_>> = sources
            .iter()
            .zip(&targets)
            .map(|(source, target)| Route { from: &**source, to: target })
            .collect();
        let gate = Gate::new(&policy::read_key)
            .require_signed(self.require_signed)
            .index_signature(self.request.index_signature)
            .trust(self.trust.as_ref());
        Ok(copy(&Job {
            routes: &routes,
            select: &self.request.select,
            policy: &self.policy,
            gate: &gate,
            edits: &self.edits,
            protection: &Protection::default(),
            effort: self.request.effort,
            dry_run: false,
            scope: self.scope,
            report: &*self.report,
            journal: self.request.resuming.uploads.journal.as_ref(),
        })?)
    }
}

/// Directories must be new; what they lie in is made.
fn make_room(pair: &Pair) -> Result<(), Failure> {
    if pair.to.transport != Transport::Dir {
        return Ok(());
    }
    let path = Path::new(&pair.to.rest);
    if path.symlink_metadata().is_ok() {
        let problem = format!("Refusing to overwrite destination directory {}", path.display());
        return Err(Failure::new(problem).hint("sync to a new directory, or copy this one image"));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), fs::create_dir_all);
    Ok(made.with_context(|| format!("making the directory for {}", pair.to))?)
}

/// The reference says nothing on standard error while it copies, and our bars need a terminal.
fn style(request: &SyncRequest, session: &Session<'_>) -> ProgressStyle {
    match request.progress {
        ProgressStyle::Lines if session.dialect.is_skopeo() => ProgressStyle::WarningsOnly,
        style => style,
    }
}

/// Says what would be copied; of the images nothing is read.
fn rehearse(
    request: &SyncRequest,
    found: &Found,
    results: &Results,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let (count, sources) = (found.pairs.len(), found.sources);
    if session.dialect.is_skopeo() {
        say(&session.dialect.log("warning", "Running in dry-run mode", &[]));
        for (number, pair) in found.pairs.iter().enumerate() {
            let text = format!("Would have copied image ref {}/{count}", number + 1);
            say(&session.dialect.log("info", &text, &names(pair)));
        }
        let text = format!("Would have synced {count} images from {sources} sources");
        say(&session.dialect.log("info", &text, &[]));
    } else if request.json {
        let images: Vec<Value> = found.pairs.iter().map(pair_json).collect();
        session.write_json(&json!({"dryRun": true, "images": images, "failed": results.failed}))?;
    } else {
        for pair in &found.pairs {
            session.say(&format!("{} -> {}", pair.from, pair.to))?;
        }
    }
    results.end()
}

fn names(pair: &Pair) -> [(&'static str, String); 2] {
    [("from", pair.from.to_string()), ("to", pair.to.to_string())]
}

fn pair_json(pair: &Pair) -> Value {
    json!({"source": pair.from.to_string(), "destination": pair.to.to_string()})
}

/// What became of the images.
#[derive(Default)]
struct Results {
    images: Vec<(Pair, Digest)>,
    failed: Vec<Value>,
    sent_bytes: u64,
}

impl Results {
    /// What could not even be found out.
    fn unknown(&mut self, failures: Vec<Failure>, session: &Session<'_>) {
        for failure in failures {
            failure.print(session.dialect);
            self.failed.push(json!({"error": failure.to_string()}));
        }
    }

    fn add(&mut self, pairs: &[Pair], outcome: Result<Outcome, Failure>, session: &Session<'_>) {
        match outcome {
            Ok(outcome) => self.done(pairs, &outcome),
            Err(failure) => {
                failure.print(session.dialect);
                let names = pairs.iter().map(pair_json);
                self.failed.extend(names.map(|mut image| {
                    image["error"] = json!(failure.to_string());
                    image
                }));
            }
        }
    }

    fn done(&mut self, pairs: &[Pair], outcome: &Outcome) {
        let Some(written) = &outcome.written else { return };
        self.sent_bytes += written.sent_bytes;
        for image in &written.images {
            let pair = pairs[image.route].clone();
            self.images.push((pair, image.root.digest().clone()));
        }
    }

    fn write_digests(&self, mut file: File, request: &SyncRequest) -> Result<(), Failure> {
        let lines: String =
            self.images.iter().map(|(pair, digest)| format!("{digest} {}\n", pair.to)).collect();
        let path = request.digestfile.as_deref().unwrap_or(Path::new(""));
        Ok(file.write_all(lines.as_bytes()).with_context(|| {
            format!(
                "the images were copied, but their digests could not be written to {}",
                path.display()
            )
        })?)
    }

    fn show(
        &self,
        request: &SyncRequest,
        found: &Found,
        session: &mut Session<'_>,
    ) -> Result<(), Failure> {
        let (count, sources) = (self.images.len(), found.sources);
        if session.dialect.is_skopeo() {
            for (number, (pair, _)) in self.images.iter().enumerate() {
                let text = format!("Copying image ref {}/{}", number + 1, found.pairs.len());
                say(&session.dialect.log("info", &text, &names(pair)));
            }
            let text = format!("Synced {count} images from {sources} sources");
            say(&session.dialect.log("info", &text, &[]));
        } else if !matches!(request.progress, ProgressStyle::WarningsOnly | ProgressStyle::Json) {
            let sent = HumanBytes(self.sent_bytes);
            say(&format!("copied {count} images from {sources} sources ({sent} sent)"));
        }
        match request.json {
            true => session.write_json(&self.json()),
            false => Ok(()),
        }
    }

    fn json(&self) -> Value {
        let image = |(pair, digest): &(Pair, Digest)| {
            let mut image = pair_json(pair);
            image["digest"] = json!(digest.to_string());
            image
        };
        json!({
            "images": self.images.iter().map(image).collect::<Vec<_>>(),
            "failed": self.failed,
            "bytesSent": self.sent_bytes,
        })
    }

    fn end(&self) -> Result<(), Failure> {
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(Failure::new("Sync failed due to previous reported error(s) for one or more images"))
    }
}

/// Emptied before the first image moves, as in the reference.
fn create(file: &Path) -> Result<File, Failure> {
    Ok(File::create(file).with_context(|| format!("--digestfile {}", file.display()))?)
}
