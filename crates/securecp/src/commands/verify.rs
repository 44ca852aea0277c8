//! `securecp verify`

use securecp_copy::{Effort, Trial, judge};
use securecp_trust::Gate;

use crate::args::VerifyArgs;
use crate::connect::Doors;
use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::policy;
use crate::request::{ImageRequest, index_signature, select};
use crate::session::Session;
use crate::trust;

/// Judges an image as a copy would, shows the verdict, and copies nothing.
pub(crate) fn run(args: VerifyArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let index_signature = index_signature(&args.judging)?;
    let select = select(&args.selection, session.globals.platform.clone())?;
    let request = ImageRequest::new(&args.image, args.side, &args.retry, &session.globals)?;
    let policy = policy::load(&session.globals.policy)?;
    let trust = trust::load(args.judging.trust.as_deref())?;
    let doors = Doors::new(&session.globals, request.retry)?;
    let lookaside = Lookaside::load(session.globals.registries_d.as_deref())?;
    let from = doors.source(&request.name, &request.side, &lookaside)?;
    let gate = Gate::new(&policy::read_key)
        .require_signed(session.globals.require_signed)
        .index_signature(index_signature)
        .trust(trust.as_ref());
    let trial = Trial {
        from: &*from,
        select: &select,
        policy: &policy,
        gate: &gate,
        effort: Effort::default(),
        scope: session.scope,
    };
    let verdict = judge(&trial).map_err(|error| Failure::reaching("--", error))?;
    match args.json {
        true => session.write_json(&verdict)?,
        false => session.write(verdict.to_string().as_bytes())?,
    }
    verdict.refusal().map_or(Ok(()), |refusal| Err(refusal.into()))
}
