use securecp_copy::{EvidenceChoice, EvidenceEdits, OnOrphaned};

use super::{Globals, unknown};
use crate::args::EvidenceArgs;
use crate::failure::Failure;

/// What travels beside the images. Whoever speaks the reference's language expects no evidence, so that it travels where it
/// can and its loss is a warning.
pub(crate) fn evidence(args: EvidenceArgs, globals: &Globals) -> Result<EvidenceEdits, Failure> {
    let which = match args.evidence.as_deref() {
        None | Some("all") => EvidenceChoice::All,
        Some("signatures") => EvidenceChoice::Signatures,
        Some("verified") => EvidenceChoice::Verified,
        Some("none") => EvidenceChoice::None,
        Some(other) => {
            return Err(unknown("--evidence", "all, signatures, verified or none", other));
        }
    };
    let on_orphaned = match args.on_orphaned.as_deref() {
        None if globals.lenient => OnOrphaned::Drop,
        None | Some("refuse") => OnOrphaned::Refuse,
        Some("drop") => OnOrphaned::Drop,
        Some("record") => OnOrphaned::Record,
        Some(other) => return Err(unknown("--on-orphaned", "refuse, drop or record", other)),
    };
    if which == EvidenceChoice::None {
        if !args.evidence_type.is_empty() {
            globals.no_effect("--evidence-type has no effect with --evidence none".to_owned())?;
        }
        if args.on_orphaned.is_some() {
            globals.no_effect("--on-orphaned has no effect with --evidence none".to_owned())?;
        }
    }
    if args.evidence_type.iter().any(String::is_empty) {
        return Err(unknown("--evidence-type", "an artifact type", ""));
    }
    let (types, lenient) = (args.evidence_type, globals.lenient);
    Ok(EvidenceEdits { which, types, on_orphaned, lenient })
}
