//! `securecp policy`: questions that need no network.

use std::path::Path;

use anyhow::Context;
use securecp_oci::Reference;
use securecp_transport::{SourceOptions, open_source};
use securecp_trust::{KEY_LIMIT, Policy, ScopeUsed};
use serde_json::json;

use crate::args::{PolicyArgs, PolicyCheckArgs, PolicyExplainArgs, PolicyQuestion};
use crate::failure::Failure;
use crate::policy;
use crate::policy_view::{self, Explanation, files};
use crate::progress::warn;
use crate::request::{PolicyChoice, image};
use crate::session::Session;
use crate::trust;

/// Transports of the reference and its relatives, with or without a meaning here.
const TRANSPORTS: [&str; 11] = [
    "atomic",
    "containers-storage",
    "dir",
    "docker",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
];

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
    warn_of_scopes(&policy);
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

/// An entry that no image can meet protects nothing, though it looks as if it did.
fn warn_of_scopes(policy: &Policy) {
    for (used, _) in policy.entries() {
        let ScopeUsed::Transport { transport, scope, .. } = &used else { continue };
        if !TRANSPORTS.contains(&transport.as_str()) {
            warn(&format!("{used}: no such transport is known, so no image can meet this entry"));
        } else if transport == "docker" && !can_match(scope) {
            warn(&format!(
                "{used}: no image can meet this entry, expected HOST[:PORT][/PATH[:TAG|@DIGEST]] or *.DOMAIN; Docker Hub \
                 is docker.io, and its own images stand below docker.io/library"
            ));
        }
    }
}

/// Whether some image of a registry is within the scope: it is a whole name, the beginning of one, or a wildcard.
fn can_match(scope: &str) -> bool {
    let is_name = |text: String| {
        Reference::parse_any(&text).is_ok_and(|reference| reference.to_string() == text)
    };
    let begins =
        |scope: &str| ["", "/x", "/x/y"].iter().any(|rest| is_name(format!("{scope}{rest}")));
    match scope.strip_prefix("*.") {
        Some(domain) => !domain.contains('/') && begins(&format!("x.{domain}")),
        None => scope.is_empty() || begins(scope),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_scopes_that_no_image_can_meet() {
        for good in [
            "",
            "docker.io",
            "docker.io/library",
            "docker.io/library/busybox",
            "localhost:5000",
            "r.example/a/b:v1",
            "*.example.com",
            "r.example/a",
        ] {
            assert!(can_match(good), "{good}");
        }
        for bad in [
            "busybox",
            "docker://r.example/a",
            "https://r.example",
            "r.example/",
            "/r.example",
            "r.example/A",
            "*.example.com/a",
            "r.*.example",
            "r.example/a b",
        ] {
            assert!(!can_match(bad), "{bad}");
        }
    }
}
