//! `securecp copy`

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use indicatif::HumanBytes;
use securecp_copy::{Changed, FoundId, NameState, Outcome, Written, WrittenImage, WrittenName};
use securecp_layer::Stopped;
use serde_json::{Value, json};

use crate::args::CopyArgs;
use crate::copying::{Copying, doors};
use crate::dialect::copy_lines;
use crate::evidence_view;
use crate::failure::Failure;
use crate::files::check_writable;
use crate::plan_view;
use crate::progress::ProgressStyle;
use crate::request::CopyRequest;
use crate::routes::{self, of_all_tags};
use crate::session::Session;

/// Copies images.
pub(crate) fn run(args: CopyArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = CopyRequest::new(args, &session.globals)?;
    if let Some(file) = &request.digestfile {
        check_writable(file)?;
    }
    let outcome = match copy_image(&request, session) {
        Err(failure) if request.terms.json => {
            return refused(interrupted(failure, &request, session), session);
        }
        Err(failure) => return Err(interrupted(failure, &request, session)),
        Ok(outcome) => outcome,
    };
    if let (Some(written), Some(file)) = (&outcome.written, &request.digestfile) {
        write_digest(file, written)?;
    }
    show(&request, &outcome, session)
}

/// Whoever reads the results by machine also wants to know why there are none.
fn refused(failure: Failure, session: &mut Session<'_>) -> Result<(), Failure> {
    if let Some(verdict) = failure.verdict() {
        session.write_json(verdict)?;
    }
    if let Some(names) = failure.names() {
        let name = |(name, state): &(String, NameState)| json!({"name": name, "state": state_word(*state)});
        session.write_json(&json!({"names": names.iter().map(name).collect::<Vec<_>>()}))?;
    }
    Err(failure)
}

/// A copy that was told to stop says how to go on.
fn interrupted(failure: Failure, request: &CopyRequest, session: &Session<'_>) -> Failure {
    let stopped = matches!(session.scope.check(), Err(Stopped::Cancelled));
    let hint = request.places.iter().find_map(|place| request.terms.resuming.hint(&place.name));
    match hint.filter(|_| stopped) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn state_word(state: NameState) -> &'static str {
    match state {
        NameState::Moved => "moved",
        NameState::Stands => "stands",
        NameState::NotMoved => "notMoved",
        NameState::Unclear => "unclear",
        NameState::Lost => "lost",
    }
}

fn copy_image(request: &CopyRequest, session: &Session<'_>) -> Result<Outcome, Failure> {
    let doors = doors(&request.terms, session)?;
    let copying = Copying::new(&request.terms, &doors, session)?;
    let sides = (&request.source_side, &request.destination_side);
    let opened = match &request.all_tags {
        Some(all) => {
            let registries = doors.registries(sides.0);
            let through = (&doors, &registries);
            let names = of_all_tags(all, &request.places, through, sides.0, session.scope)?;
            routes::open(&names, (&doors, registries), sides, &copying.lookaside)?
        }
        None => {
            let (from, to) = (&request.source, &request.places);
            vec![routes::open_one(from, to, &doors, sides, &copying.lookaside)?]
        }
    };
    copying.copy(&opened, &request.protection)
}

fn show(
    request: &CopyRequest,
    outcome: &Outcome,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    match (&outcome.written, request.terms.json) {
        (Some(written), true) => session.write_json(&result(request, outcome, written)),
        (Some(_), false) if session.dialect.is_skopeo() => say_as_skopeo(request, outcome, session),
        (Some(written), false) => {
            summarise(request, outcome, written);
            Ok(())
        }
        (None, true) => session.write_json(&plan_view::to_json(&outcome.plan)),
        (None, false) => session.write(plan_view::to_text(&outcome.plan).as_bytes()),
    }
}

/// The reference's lines on standard output, for scripts that look for them.
fn say_as_skopeo(
    request: &CopyRequest,
    outcome: &Outcome,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    if request.terms.progress == ProgressStyle::WarningsOnly {
        return Ok(());
    }
    session.write(copy_lines(outcome, request.terms.edits.remove_signatures).as_bytes())
}

fn result(request: &CopyRequest, outcome: &Outcome, written: &Written) -> Value {
    let encryption = request.terms.edits.encrypt.as_ref();
    let recipients: Vec<String> = encryption
        .map(|encryption| encryption.recipients.list().iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    let mut receipt = match written.images.as_slice() {
        [image] => image_receipt(outcome, image),
        images => many_receipts(outcome, images, written),
    };
    receipt["recipients"] = json!(recipients);
    receipt["bytesSent"] = json!(written.sent_bytes);
    receipt
}

fn image_receipt(outcome: &Outcome, image: &WrittenImage) -> Value {
    let manifests: Vec<String> = image.manifests.iter().map(ToString::to_string).collect();
    let root = &outcome.plan.found(FoundId::root(image.route)).subject.manifest;
    let changed: Vec<Value> = image.changed.iter().map(changed).collect();
    json!({
        "digest": image.root.digest().to_string(),
        "sourceDigest": root.digest().to_string(),
        "manifests": manifests,
        "changed": changed,
        "evidence": evidence_view::to_json(&evidence_view::receipt(&outcome.plan, image)),
    })
}

fn many_receipts(outcome: &Outcome, images: &[WrittenImage], written: &Written) -> Value {
    let image = |image: &WrittenImage| {
        let mut receipt = image_receipt(outcome, image);
        let source = outcome.plan.admitted()[image.route].found().source_name();
        receipt["source"] = json!(source);
        receipt
    };
    let name = |name: &WrittenName| json!({"name": name.name, "digest": name.digest.to_string(), "moved": name.moved});
    json!({
        "images": images.iter().map(image).collect::<Vec<_>>(),
        "names": written.names.iter().map(name).collect::<Vec<_>>(),
    })
}

/// One manifest that got another digest, and why.
fn changed(changed: &Changed) -> Value {
    let reasons: Vec<String> = changed.reasons.iter().map(ToString::to_string).collect();
    let records: Vec<String> = changed.records.iter().map(ToString::to_string).collect();
    json!({
        "sourceDigest": changed.from.to_string(),
        "digest": changed.to.to_string(),
        "reasons": reasons,
        "records": records,
    })
}

/// How many changes were recorded, if any were.
fn recorded(image: &WrittenImage) -> Option<String> {
    let recorded = image.changed.iter().filter(|changed| !changed.records.is_empty()).count();
    (recorded > 0).then(|| format!("signed records say how {recorded} manifests were changed"))
}

fn summarise(request: &CopyRequest, outcome: &Outcome, written: &Written) {
    if matches!(request.terms.progress, ProgressStyle::WarningsOnly | ProgressStyle::Json) {
        return;
    }
    for image in &written.images {
        let receipt = evidence_view::receipt(&outcome.plan, image);
        evidence_view::sentence(&receipt).iter().for_each(|line| crate::progress::say(line));
        recorded(image).iter().for_each(|line| crate::progress::say(line));
    }
    let sent = HumanBytes(written.sent_bytes);
    crate::progress::say(&match (written.images.as_slice(), request.places.as_slice()) {
        ([image], [place]) if request.all_tags.is_none() => {
            format!(
                "copied {} to {}: {} ({sent} sent)",
                request.source,
                place.name,
                image.root.digest()
            )
        }
        (images, _) => {
            let moved = written.names.iter().filter(|name| name.moved).count();
            let stood = written.names.len() - moved;
            let routes: BTreeSet<usize> = images.iter().map(|image| image.route).collect();
            let images = match routes.len() {
                1 => request.source.to_string(),
                count => format!("{count} images of {}", request.source),
            };
            format!("copied {images}: {moved} names moved, {stood} stood already ({sent} sent)")
        }
    });
}

fn write_digest(file: &Path, written: &Written) -> Result<(), Failure> {
    let Some(image) = written.images.first() else { return Ok(()) };
    let text = image.root.digest().to_string();
    let done = fs::write(file, text);
    Ok(done.with_context(|| {
        format!("the image was copied, but its digest could not be written to {}", file.display())
    })?)
}
