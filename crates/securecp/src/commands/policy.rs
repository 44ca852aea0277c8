//! `securecp policy`: questions that need no network.

use std::path::Path;

use anyhow::Context;
use securecp_transport::{SourceOptions, open_source};
use securecp_trust::{KEY_LIMIT, Policy};
use serde_json::json;

use crate::args::{PolicyArgs, PolicyCheckArgs, PolicyExplainArgs, PolicyQuestion};
use crate::failure::Failure;
use crate::policy;
use crate::policy_view::{self, Explanation, files};
use crate::progress::warn;
use crate::request::{PolicyChoice, image};
use crate::session::Session;
use crate::trust;

/// Answers a question about a policy.
pub(crate) fn run(args: &PolicyArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    match &args.question {
        PolicyQuestion::Check(args) => check(args, session),
        PolicyQuestion::Explain(args) => explain(args, session),
    }
}

/// Whether a file is a policy. Keys that are not there yet are no fault of the file, but somebody should know.
fn check(args: &PolicyCheckArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let policy = policy::load(&PolicyChoice::File(args.file.clone()))?;
    warn_of_keys(&policy);
    let file = args.file.display();
    if args.json {
        let entries = policy_view::to_json(&policy);
        return session.write_json(&json!({"file": file.to_string(), "entries": entries}));
    }
    session.write(format!("{file} is a valid policy\n{}", policy_view::to_text(&policy)).as_bytes())
}

fn warn_of_keys(policy: &Policy) {
    let entries = policy.entries();
    let mut named: Vec<&str> =
        entries.flat_map(|(_, requirements)| requirements.iter().flat_map(files)).collect();
    named.sort_unstable();
    named.dedup();
    for path in named {
        match policy::read_key(path) {
            Ok(bytes) if bytes.len() <= KEY_LIMIT => {}
            Ok(_) => warn(&format!("key file {path} has more than {KEY_LIMIT} bytes")),
            Err(error) => warn(&format!("key file {path} cannot be read: {error}")),
        }
        if !Path::new(path).is_absolute() {
            warn(&format!("key file {path} depends on the folder that securecp is started in"));
        }
    }
}

/// Which entry decides about an image. The name alone is looked at; of a path also where its links lead.
fn explain(args: &PolicyExplainArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let name = image("image", &args.image)?;
    let policy = policy::load(&session.globals.policy)?;
    let opened = open_source(&name, &SourceOptions::default());
    let source = opened.with_context(|| format!("reading {name}"))?;
    let explanation = Explanation::new(name.to_string(), source.identity(), &policy);
    let trust = trust::load(args.trust.as_deref())?;
    let trust = trust.map(|file| file.explain(source.identity()));
    if args.json {
        let mut json = explanation.to_json();
        if let Some(trust) = trust {
            json["trust"] = json!(trust);
        }
        return session.write_json(&json);
    }
    let trust = trust.map(|trust| trust.to_string()).unwrap_or_default();
    session.write(format!("{}{trust}", explanation.to_text()).as_bytes())
}
