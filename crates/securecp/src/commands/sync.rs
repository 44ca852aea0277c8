//! `securecp sync`

use std::fs;
use std::path::Path;

use anyhow::Context;
use indicatif::HumanBytes;
use securecp_copy::{Outcome, Plan};
use securecp_oci::{Digest, Transport};
use serde_json::{Value, json};

use crate::args::SyncArgs;
use crate::connect::{DestinationDoor, SourceDoor};
use crate::copying::{Copying, doors};
use crate::dialect::copy_lines;
use crate::evidence_view;
use crate::failure::Failure;
use crate::files::check_writable;
use crate::plan_view;
use crate::progress::{ProgressStyle, say};
use crate::request::{PlaceRequest, SyncRequest};
use crate::routes::OpenRoute;
use crate::session::Session;
use crate::sync::{Found, Pair, find};

/// Copies many images.
pub(crate) fn run(args: SyncArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = SyncRequest::new(args, &session.globals)?;
    let mut found = {
        let doors = doors(&request.terms, session)?;
        find(&request, &doors, &session.globals, session.scope)?
    };
    let lines = session.dialect.is_skopeo().then(String::new);
    let mut results = Results { lines, ..Results::default() };
    results.unknown(std::mem::take(&mut found.failures), session);
    if request.terms.dry_run && session.dialect.is_skopeo() {
        list(&found, session);
        return results.end();
    }
    let digestfile = request.digestfile.as_deref().filter(|_| !request.terms.dry_run);
    digestfile.map_or(Ok(()), check_writable)?;
    copy_all(&request, &found, &mut results, session)?;
    digestfile.map_or(Ok(()), |file| results.write_digests(file))?;
    match request.terms.dry_run {
        true => results.show_plans(&request, session)?,
        false => results.show(&request, &found, session)?,
    }
    results.end()
}

/// All of them as one set, or each by itself; hands every outcome to `results`.
fn copy_all(
    request: &SyncRequest,
    found: &Found,
    results: &mut Results,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let doors = doors(&request.terms, session)?;
    let copying = Copying::new(&request.terms, &doors, session)?;
    let sides = found.sides.iter();
    let gates = Gates {
        sources: sides.map(|side| doors.sources(side, &copying.lookaside)).collect(),
        places: doors.destinations(&request.destination_side, &copying.lookaside).making_parents(),
    };
    let copy = |pairs: &[Pair]| copying.copy(&gates.open(pairs)?, &request.protection);
    if request.keep_going {
        for image in found.pairs.chunks(1) {
            session.scope.check()?;
            results.add(image, copy(image), (request, session));
        }
    } else if !found.pairs.is_empty() {
        results.done(&found.pairs, copy(&found.pairs)?, request);
    }
    Ok(())
}

/// How both sides are reached.
struct Gates<'a> {
    sources: Vec<SourceDoor<'a>>,
    places: DestinationDoor<'a>,
}

impl Gates<'_> {
    fn open(&self, pairs: &[Pair]) -> Result<Vec<OpenRoute>, Failure> {
        let open = |pair: &Pair| {
            check_new(pair)?;
            let place = PlaceRequest::new(pair.to.clone());
            OpenRoute::new(&pair.from, &[place], &self.sources[pair.side], &self.places)
        };
        pairs.iter().map(open).collect()
    }
}

/// Directories must be new.
fn check_new(pair: &Pair) -> Result<(), Failure> {
    let path = Path::new(&pair.to.rest);
    if pair.to.transport == Transport::Dir && path.symlink_metadata().is_ok() {
        let problem = format!("Refusing to overwrite destination directory {}", path.display());
        return Err(Failure::new(problem).hint("sync to a new directory, or copy this one image"));
    }
    Ok(())
}

/// Says what would be copied, as the reference does it: of the images nothing is read.
fn list(found: &Found, session: &Session<'_>) {
    let (count, sources) = (found.pairs.len(), found.sources);
    say(&session.dialect.log("warning", "Running in dry-run mode", &[]));
    for (number, pair) in found.pairs.iter().enumerate() {
        let text = format!("Would have copied image ref {}/{count}", number + 1);
        say(&session.dialect.log("info", &text, &names(pair)));
    }
    let text = format!("Would have synced {count} images from {sources} sources");
    say(&session.dialect.log("info", &text, &[]));
}

fn names(pair: &Pair) -> [(&'static str, String); 2] {
    [("from", pair.from.to_string()), ("to", pair.to.to_string())]
}

fn pair_json(pair: &Pair) -> Value {
    json!({"source": pair.from.to_string(), "destination": pair.to.to_string()})
}

/// An image that is there now.
struct Copied {
    pair: Pair,
    digest: Digest,
    /// The receipt of its evidence.
    evidence: Value,
}

/// What became of the images.
#[derive(Default)]
struct Results {
    images: Vec<Copied>,
    /// Of a dry run.
    plans: Vec<Plan>,
    failed: Vec<Value>,
    sent_bytes: u64,
    /// What the reference would have said on standard output, where its words are asked for.
    lines: Option<String>,
}

impl Results {
    /// What could not even be found out.
    fn unknown(&mut self, failures: Vec<Failure>, session: &Session<'_>) {
        for failure in failures {
            failure.print(session.dialect);
            self.failed.push(json!({"error": failure.to_string()}));
        }
    }

    fn add(
        &mut self,
        pairs: &[Pair],
        outcome: Result<Outcome, Failure>,
        (request, session): (&SyncRequest, &Session<'_>),
    ) {
        match outcome {
            Ok(outcome) => self.done(pairs, outcome, request),
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

    fn done(&mut self, pairs: &[Pair], outcome: Outcome, request: &SyncRequest) {
        if let Some(lines) = &mut self.lines {
            lines.push_str(&copy_lines(&outcome, request.terms.edits.remove_signatures));
        }
        let Some(written) = outcome.written else { return self.plans.push(outcome.plan) };
        self.sent_bytes += written.sent_bytes;
        for image in &written.images {
            let receipt = evidence_view::receipt(&outcome.plan, image);
            self.images.push(Copied {
                pair: pairs[image.route].clone(),
                digest: image.root.digest().clone(),
                evidence: evidence_view::to_json(&receipt),
            });
        }
    }

    fn write_digests(&self, file: &Path) -> Result<(), Failure> {
        let line = |copied: &Copied| format!("{} {}\n", copied.digest, copied.pair.to);
        let lines: String = self.images.iter().map(line).collect();
        let path = file.display();
        Ok(fs::write(file, lines).with_context(|| {
            format!("the images were copied, but their digests could not be written to {path}")
        })?)
    }

    /// One plan for all images, or one for each.
    fn show_plans(&self, request: &SyncRequest, session: &mut Session<'_>) -> Result<(), Failure> {
        if request.terms.json {
            let plans: Vec<Value> = self.plans.iter().map(plan_view::to_json).collect();
            let shown = json!({"dryRun": true, "plans": plans, "failed": self.failed});
            return session.write_json(&shown);
        }
        self.plans.iter().try_for_each(|plan| session.write(plan_view::to_text(plan).as_bytes()))
    }

    fn show(
        &self,
        request: &SyncRequest,
        found: &Found,
        session: &mut Session<'_>,
    ) -> Result<(), Failure> {
        let (count, sources) = (self.images.len(), found.sources);
        if session.dialect.is_skopeo() {
            for (number, copied) in self.images.iter().enumerate() {
                let text = format!("Copying image ref {}/{}", number + 1, found.pairs.len());
                say(&session.dialect.log("info", &text, &names(&copied.pair)));
            }
            let text = format!("Synced {count} images from {sources} sources");
            say(&session.dialect.log("info", &text, &[]));
            if request.terms.progress != ProgressStyle::WarningsOnly {
                session.write(self.lines.as_deref().unwrap_or_default().as_bytes())?;
            }
        } else if !matches!(
            request.terms.progress,
            ProgressStyle::WarningsOnly | ProgressStyle::Json
        ) {
            let sent = HumanBytes(self.sent_bytes);
            say(&format!("copied {count} images from {sources} sources ({sent} sent)"));
        }
        match request.terms.json {
            true => session.write_json(&self.json()),
            false => Ok(()),
        }
    }

    fn json(&self) -> Value {
        let image = |copied: &Copied| {
            let mut image = pair_json(&copied.pair);
            image["digest"] = json!(copied.digest.to_string());
            image["evidence"] = copied.evidence.clone();
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
