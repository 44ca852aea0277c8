//! What a policy asks for, as text for people and as JSON for machines.

use securecp_oci::{Escaped, ImageIdentity};
use securecp_trust::{
    FulcioTrust, Material, PkiTrust, Policy, Requirement, ScopeUsed, SigstoreSigned, SigstoreTrust,
};
use serde_json::{Value, json};

/// A requirement in one line.
pub(crate) fn describe(requirement: &Requirement) -> String {
    let name = requirement.kind().name();
    match requirement {
        Requirement::InsecureAcceptAnything => {
            format!("{name}: every image passes, nothing is verified")
        }
        Requirement::Reject => format!("{name}: no image passes"),
        Requirement::SignedBaseLayer => format!("{name}: no image passes, no tool implements it"),
        Requirement::SignedBy(it) => format!(
            "{name}: an OpenPGP signature by a key {} ({}), identity {}",
            place(&it.keys),
            it.key_type.name(),
            it.signed_identity
        ),
        Requirement::SigstoreSigned(it) => format!(
            "{name}: a sigstore signature {}{}, identity {}",
            sigstore(it),
            log(it),
            it.signed_identity
        ),
        _ => name.to_owned(),
    }
}

fn sigstore(it: &SigstoreSigned) -> String {
    match &it.trust {
        SigstoreTrust::Keys(keys) => format!("by a key {}", place(keys)),
        SigstoreTrust::Fulcio(FulcioTrust { ca, oidc_issuer, subject_email, .. }) => format!(
            "by {} (issuer {}), certified by Fulcio with roots {}",
            Escaped::new(subject_email),
            Escaped::new(oidc_issuer),
            place(ca)
        ),
        SigstoreTrust::Pki(PkiTrust { ca_roots, subject_email, subject_hostname, .. }) => {
            let names: Vec<String> = [subject_email, subject_hostname]
                .into_iter()
                .flatten()
                .map(|name| Escaped::new(name).to_string())
                .collect();
            format!("by {}, certified with roots {}", names.join(" and "), place(ca_roots))
        }
        _ => String::new(),
    }
}

fn log(it: &SigstoreSigned) -> String {
    let keys = it.rekor_keys.as_ref();
    keys.map_or_else(String::new, |keys| format!(" with a log entry by a key {}", place(keys)))
}

/// Where keys or certificates are.
fn place(material: &Material) -> String {
    match material {
        Material::Paths(paths) => {
            let paths: Vec<String> = paths.iter().map(|p| Escaped::new(p).to_string()).collect();
            format!("in {}", paths.join(" or "))
        }
        _ => "in the policy itself".to_owned(),
    }
}

/// The files that a requirement names.
pub(crate) fn files(requirement: &Requirement) -> Vec<&str> {
    materials(requirement)
        .into_iter()
        .flat_map(|material| match material {
            Material::Paths(paths) => paths.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn materials(requirement: &Requirement) -> Vec<&Material> {
    match requirement {
        Requirement::SignedBy(it) => vec![&it.keys],
        Requirement::SigstoreSigned(it) => {
            let mut found: Vec<&Material> = it.rekor_keys.iter().collect();
            match &it.trust {
                SigstoreTrust::Keys(keys) => found.push(keys),
                SigstoreTrust::Fulcio(fulcio) => found.push(&fulcio.ca),
                SigstoreTrust::Pki(pki) => {
                    found.push(&pki.ca_roots);
                    found.extend(&pki.ca_intermediates);
                }
                _ => {}
            }
            found
        }
        _ => Vec::new(),
    }
}

/// A whole policy, an entry after the other.
pub(crate) fn to_text(policy: &Policy) -> String {
    let mut text = String::new();
    for (scope, requirements) in policy.entries() {
        text.push_str(&format!("  {scope}\n"));
        text.extend(requirements.iter().map(|one| format!("    {}\n", describe(one))));
    }
    text
}

/// A whole policy as JSON.
pub(crate) fn to_json(policy: &Policy) -> Vec<Value> {
    let entry = |(scope, requirements): (ScopeUsed, &[Requirement])| json!({"scope": scope, "requirements": requirements_json(requirements)});
    policy.entries().map(entry).collect()
}

fn requirements_json(requirements: &[Requirement]) -> Vec<Value> {
    let one = |r: &Requirement| {
        json!({
            "type": r.kind().name(),
            "verifiesSignatures": r.verifies_signatures(),
            "files": files(r),
            "text": describe(r),
        })
    };
    requirements.iter().map(one).collect()
}

/// Which entry decides about an image, and why.
#[derive(Debug)]
pub(crate) struct Explanation<'a> {
    image: String,
    /// Every entry looked for, nearest first, up to the one that decides.
    missing: Vec<String>,
    scope: ScopeUsed,
    requirements: &'a [Requirement],
}

impl<'a> Explanation<'a> {
    pub(crate) fn new(image: String, identity: &ImageIdentity, policy: &'a Policy) -> Self {
        let (scope, requirements) = policy.scope_for(identity);
        let own = Some(&identity.scope).filter(|scope| !scope.is_empty());
        let all = own.into_iter().chain(&identity.namespaces).map(String::as_str).chain([""]);
        let decides = |candidate: &str| match &scope {
            ScopeUsed::Transport { scope, .. } => scope == candidate,
            _ => false,
        };
        let missing = all.take_while(|candidate| !decides(candidate)).map(str::to_owned).collect();
        Self { image, missing, scope, requirements }
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\nentries of the policy, nearest first:\n", self.image);
        let missing = self.missing.iter();
        text.extend(missing.map(|scope| format!("  \"{}\": none\n", Escaped::new(scope))));
        text.push_str(&format!("  {}: decides alone\nall of this must be met:\n", self.scope));
        text.extend(self.requirements.iter().map(|one| format!("  {}\n", describe(one))));
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "image": self.image,
            "missing": self.missing,
            "scope": self.scope,
            "requirements": requirements_json(self.requirements),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_what_was_passed_over() {
        let policy = Policy::parse(
            br#"{"default": [{"type": "reject"}], "transports": {"docker": {"h.example/a": [
                {"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["/k1", "/k2"]}]}}}"#,
        );
        let policy = policy.unwrap();
        let explain = |name: &str| {
            let identity = ImageIdentity::docker(&name.parse().unwrap());
            Explanation::new(name.to_owned(), &identity, &policy).to_text()
        };
        assert_eq!(
            explain("h.example/a/b:v1"),
            "h.example/a/b:v1\nentries of the policy, nearest first:\n  \"h.example/a/b:v1\": none\n  \
             \"h.example/a/b\": none\n  transport docker, scope \"h.example/a\": decides alone\n\
             all of this must be met:\n  signedBy: an OpenPGP signature by a key in /k1 or /k2 (GPGKeys), \
             identity matchRepoDigestOrExact\n"
        );
        let text = explain("other/b:v1");
        assert!(
            text.contains("\"*.io\": none\n  \"\": none\n  default: decides alone\n"),
            "{text}"
        );
    }

    #[test]
    fn names_the_files_of_every_requirement() {
        let policy = Policy::parse(
            br#"{"default": [{"type": "sigstoreSigned", "fulcio": {"caPath": "/ca", "oidcIssuer": "https://i",
                "subjectEmail": "a@b"}, "rekorPublicKeyPath": "/rekor"}]}"#,
        )
        .unwrap();
        let (_, requirements) = policy.entries().last().unwrap();
        assert_eq!(files(&requirements[0]), ["/rekor", "/ca"]);
        let text = describe(&requirements[0]);
        assert!(text.contains("by a@b (issuer https://i)") && text.contains("log entry"), "{text}");
        assert_eq!(to_json(&policy)[0]["requirements"][0]["files"][1], "/ca");
    }
}
