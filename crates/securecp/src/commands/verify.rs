//! `securecp verify`

use securecp_copy::{Effort, FollowError, Followed, Following, Trial, follow, judge};
use securecp_trust::{RecordedSource, TrustFile};

use crate::args::VerifyArgs;
use crate::connect::Doors;
use crate::failure::Failure;
use crate::follow::{open_recorded, refused};
use crate::lookaside::Lookaside;
use crate::policy;
use crate::request::{ImageRequest, SideRequest, index_signature, select};
use crate::session::Session;
use crate::trust;

/// Judges an image as a copy would, shows the verdict, and copies nothing.
pub(crate) fn run(args: VerifyArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let recorded =
        SideRequest::of_records(args.recorded.into(), args.follow_record, &session.globals)?;
    let index_signature = index_signature(&args.judging)?;
    let select = select(&args.selection, session.globals.platform.clone())?;
    let request = ImageRequest::new(&args.image, args.side, &args.retry, &session.globals)?;
    let policy = policy::load(&session.globals.policy)?;
    let trust = trust::load(args.judging.trust.as_deref())?;
    let recorders = recorders(args.follow_record, trust.as_ref())?;
    let doors = Doors::new(&session.globals, request.retry)?;
    let lookaside = Lookaside::load(session.globals.registries_d.as_deref())?;
    let from = doors.source(&request.name, &request.side, &lookaside)?;
    let gate = trust::gate(&session.globals, index_signature, trust.as_ref());
    let trial = Trial {
        from: &*from,
        select: &select,
        policy: &policy,
        gate: &gate,
        effort: Effort::default(),
        scope: session.scope,
    };
    if let Some(trust) = recorders {
        let door = doors.sources(&recorded, &lookaside);
        let open = |recorded: &RecordedSource| open_recorded(recorded, &door);
        let followed = followed(&Following { trial, trust, open: &open })?;
        return show(&followed, args.json, session);
    }
    let verdict = judge(&trial).map_err(|error| Failure::reaching("--", error))?;
    match args.json {
        true => session.write_json(&verdict)?,
        false => session.write(verdict.to_string().as_bytes())?,
    }
    verdict.refusal().map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// The trust file, if it is to say whose records are followed.
fn recorders(wanted: bool, trust: Option<&TrustFile>) -> Result<Option<&TrustFile>, Failure> {
    let Some(file) = trust.filter(|_| wanted) else {
        return match wanted {
            true => {
                Err(Failure::usage("--follow-record needs --trust FILE, which names recorders"))
            }
            false => Ok(None),
        };
    };
    match file.recorders() {
        Some(_) => Ok(Some(file)),
        None => Err(Failure::usage("--follow-record: the trust file names no recorders")
            .hint("recorders: [NAME] in it says whose change records count")),
    }
}

/// Both verdicts: on the image, and on what it was made from.
fn followed(following: &Following<'_>) -> Result<Followed, Failure> {
    follow(following).map_err(|error| match error {
        FollowError::Image(error) => Failure::reaching("--", error),
        other => Failure::reaching("--src-", other),
    })
}

fn show(followed: &Followed, json: bool, session: &mut Session<'_>) -> Result<(), Failure> {
    match json {
        true => session.write_json(followed)?,
        false => session.write(followed.to_string().as_bytes())?,
    }
    refused(followed).map_or(Ok(()), Err)
}
