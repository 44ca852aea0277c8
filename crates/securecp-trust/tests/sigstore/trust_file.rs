//! The trust file: its language, and what it accepts.

use std::io;

use bytes::Bytes;
use openssl::pkey::{PKey, Private};
use securecp_oci::{ImageIdentity, Signature, base64};
use securecp_trust::{Evidence, FetchFailure, StoredBundle, TrustFile, TrustVerdict};
use serde_json::Value;

use crate::bundles::reason;
use crate::lab::*;
use crate::material::*;

/// A file with these signers and this demand for every image.
fn file(signers: &str, demand: &str) -> String {
    format!("version: 1\ntrusted-root: root\nsigners: {{{signers}}}\ndefault: {demand}\n")
}

/// The error with its cause.
fn refusal(text: &str) -> String {
    let error = TrustFile::parse(text.as_bytes()).expect_err(text);
    let cause = std::error::Error::source(&error).map(|e| format!(": {e}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[track_caller]
fn refuses(text: &str, phrase: &str) {
    let found = refusal(text);
    assert!(found.contains(phrase), "{text}\n  expected: {phrase}\n  found: {found}");
}

const A: &str = "a: {issuer: 'https://i.test', email: a@x.test}";
const B: &str = "b: {issuer: 'https://i.test', email: b@x.test}";

/// What the documentation shows is a trust file, and means what it says there.
#[test]
fn the_documented_file_is_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sigstore.md");
    let text = std::fs::read_to_string(path).unwrap();
    let example = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = TrustFile::parse(example.as_bytes()).unwrap();
    let image = |name: &str| ImageIdentity::docker(&name.parse().unwrap());
    assert_eq!(file.wants(&image("registry.acme.test/prod/app:1")), (true, false));
    assert_eq!(file.wants(&image("elsewhere.test/app:1")), (false, false));
    assert_eq!(file.trusted_root(), Some("/etc/securecp/trusted_root.json"));
}

#[test]
fn the_language_is_strict() {
    TrustFile::parse(file(A, "{require: a}").as_bytes()).unwrap();
    TrustFile::parse(b"version: 1\ndefault: policy-only\n").unwrap();
    for (text, phrase) in [
        ("", "trust file cannot be read"),
        ("version: 1\n", "missing field `default`"),
        ("default: reject\n", "missing field `version`"),
        ("version: 2\nmore: 1\ndefault: reject\n", "version 2, expected 1"),
        ("version: 1\nversion: 1\ndefault: reject\n", "duplicate"),
        ("version: 1\ndefault: reject\nmore: 1\n", "unknown field `more`"),
        ("version: 1\ndefault: Reject\n", "unknown variant `Reject`"),
        ("version: 1\ndefault: insecure-accept-anything\n", "unknown variant"),
        ("version: 1\ndefault:\n", "cannot be read"),
        ("version: 1\ndefault: []\n", "cannot be read"),
        ("version: 1\ndefault: {require: a}\n", "there is no signer \"a\""),
        ("version: 1\ndefault: reject\n---\nversion: 1\n", "cannot be read"),
        ("version: 1\ndefault: reject\nimages: {x: reject}\n", "scope \"x\" has no transport"),
        ("version: 1\ndefault: reject\nimages: {':x': reject}\n", "has no transport"),
        ("version: '1'\ndefault: reject\n", "invalid type"),
    ] {
        refuses(text, phrase);
    }
    refuses(&format!("version: 1\nsigners: {{{A}}}\ndefault: reject\n"), "trusted-root is missing");
    refuses(&file(&format!("{A}, {}", A.replace("a@x", "b@x")), "reject"), "duplicate");
    let large = format!("version: 1\ndefault: reject\n#{}", "x".repeat(1 << 20));
    refuses(&large, "the limit is 1048576");
    let many: Vec<String> =
        (0..257).map(|n| format!("s{n}: {{issuer: i, email: a{n}@x.test}}")).collect();
    refuses(&file(&many.join(", "), "reject"), "257 signers, the limit is 256");
}

#[test]
fn signers_are_somebody_and_not_anybody() {
    let with = |signer: &str| file(&format!("a: {{{signer}}}"), "reject");
    for (signer, phrase) in [
        ("", "expected a key or an issuer"),
        ("email: a@x.test", "expected a key or an issuer"),
        ("issuer: i", "expected email, uri or repository beside issuer"),
        ("issuer: i, ref: refs/heads/main", "expected email, uri or repository"),
        ("issuer: i, workflow: w.yml", "expected email, uri or repository"),
        ("issuer: i, email: ''", "email is empty"),
        ("issuer: '', email: e", "issuer is empty"),
        ("key: '  '", "key is empty"),
        ("key: k, issuer: i", "key and issuer cannot stand together"),
        ("key: k, email: e", "key and email cannot stand together"),
        ("issuer: i, email: e, dangerous-no-log: true", "dangerous-no-log needs key"),
        ("issuer: i, email: e, regexp: x", "unknown field `regexp`"),
        ("issuer: 'https://*', email: e", "issuer: may not have a *"),
        ("issuer: i, email: '*@x.test'", "email: may not have a *"),
        ("issuer: i, uri: 'https://x/*'", "uri: may not have a *"),
        ("issuer: i, repository: 'https://h/acme*'", "* may only follow the /"),
        ("issuer: i, repository: 'https://*/app'", "* may only stand at the end"),
        ("issuer: i, repository: r, ref: '*'", "* may only stand at the end"),
        ("issuer: i, repository: r, trigger: 'p*'", "trigger: may not have a *"),
        ("issuer: i, repository: 'h/o/*', workflow: w.yml", "workflow needs one repository"),
        ("issuer: i, email: [a]", "invalid type"),
    ] {
        refuses(&with(signer), phrase);
    }
    refuses(&file(&format!("{A}, {}", A.replace("a:", "c:")), "reject"), "are the same");
    let keys = "a: {key: k}, b: {key: k, dangerous-no-log: true}";
    refuses(&file(keys, "reject"), "\"a\" and \"b\" are the same");
}

/// CVE-2026-23992: a threshold of zero switches verification off.
#[test]
fn cve_2026_23992_rules_can_be_met_and_not_by_anybody() {
    let with = |rule: &str| file(&format!("{A}, {B}"), &format!("{{require: {rule}}}"));
    for good in [
        "a",
        "{all-of: [a, b]}",
        "{any-of: [a, {all-of: [a, b]}]}",
        "{at-least: 1, of: [a, b]}",
        "{at-least: 2, of: [a, b]}",
    ] {
        TrustFile::parse(with(good).as_bytes()).unwrap_or_else(|e| panic!("{good}: {e:?}"));
    }
    let deep = format!("{}a{}", "{all-of: [".repeat(9), "]}".repeat(9));
    for (rule, phrase) in [
        ("{at-least: 0, of: [a, b]}", "at-least is 0, expected 1 to 2"),
        ("{at-least: 3, of: [a, b]}", "at-least is 3, expected 1 to 2"),
        ("{at-least: 1, of: []}", "at-least is 1, expected 1 to 0"),
        ("{at-least: 0, of: []}", "at-least is 0, expected 1 to 0"),
        ("{at-least: -1, of: [a]}", "invalid value"),
        ("{at-least: 2, of: [a, a]}", "\"a\" stands twice in one list"),
        ("{at-least: 1, of: [x]}", "there is no signer \"x\""),
        ("{at-least: 1}", "expected exactly one of"),
        ("{of: [a]}", "expected exactly one of"),
        ("{all-of: []}", "all-of has no entries"),
        ("{any-of: []}", "any-of has no entries"),
        ("{all-of: [x]}", "there is no signer"),
        ("{all-of: [a], any-of: [b]}", "expected exactly one of"),
        ("{all-of: [a], at-least: 1, of: [b]}", "expected exactly one of"),
        ("{none-of: [a]}", "unknown field `none-of`"),
        ("{}", "expected exactly one of"),
        ("[a]", "cannot be read"),
        ("1", "cannot be read"),
        (&deep, "nested more than 8 deep"),
    ] {
        refuses(&with(rule), phrase);
    }
    refuses(&file(A, "{require: a, accept: none}"), "unknown variant `none`");
    refuses(&file(A, "{accept: bundle}"), "missing field `require`");
}

/// Aliases could make a small file a large one.
#[test]
fn aliases_do_not_explode() {
    let mut text = String::from("version: 1\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n");
    for n in 1..30 {
        let list = vec![format!("*x{}", n - 1); 9].join(", ");
        text.push_str(&format!("x{n}: &x{n} [{list}]\n"));
    }
    refuses(&text, "cannot be read");
}

/// Files in memory, and what is judged with them.
struct Lab {
    root: Value,
    keys: Vec<(&'static str, PKey<Private>)>,
}

impl Lab {
    fn of(lab: &Keyless) -> Self {
        Self { root: lab.trusted_root(&lab.log), keys: Vec::new() }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, io::Error> {
        if path == "root" {
            return Ok(self.root.to_string().into_bytes());
        }
        let key = self.keys.iter().find(|(name, _)| *name == path);
        key.map(|(_, key)| public_pem(key)).ok_or(io::ErrorKind::NotFound.into())
    }

    fn judge_found(
        &self,
        text: &str,
        bundles: &Result<Vec<StoredBundle>, FetchFailure>,
        attachments: &Result<Vec<Signature>, FetchFailure>,
    ) -> TrustVerdict {
        let file = TrustFile::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let image = ImageIdentity::docker(&NAME.parse().unwrap());
        let evidence = Evidence { bundles, attachments };
        file.judge(&image, &manifest(), evidence, &|path| self.read(path))
    }

    fn judge(&self, text: &str, bundles: &[Value]) -> TrustVerdict {
        let bundles = bundles.iter().map(|b| Bytes::from(b.to_string()).into()).collect();
        self.judge_found(text, &Ok(bundles), &Ok(Vec::new()))
    }
}

const NO_SCT: &str = "dangerous-no-certificate-log: true\n";

fn identity(members: &str) -> String {
    let signer = format!("a: {{issuer: '{ISSUER}', {members}}}");
    format!("{NO_SCT}{}", file(&signer, "{require: a}"))
}

fn by_email() -> String {
    identity(&format!("email: {EMAIL}"))
}

#[test]
fn certificates_count_when_everything_holds() {
    let lab = Keyless::new();
    let bundle = lab.bundle(manifest().bytes());
    let verdict = Lab::of(&lab).judge(&by_email(), std::slice::from_ref(&bundle));
    assert_eq!(reason(&verdict), "accepted", "{verdict}");
    assert_eq!(verdict.found[0].signers, ["a"]);
    let with_log = by_email().replace(NO_SCT, "");
    let verdict = Lab::of(&lab).judge(&with_log, std::slice::from_ref(&bundle));
    assert_eq!(reason(&verdict), "certificateNotLogged");
    let other = Keyless::new();
    assert_eq!(reason(&Lab::of(&other).judge(&by_email(), &[bundle])), "untrustedLog");
    let mixed = Lab { root: other.trusted_root(&lab.log), keys: Vec::new() };
    let verdict = mixed.judge(&by_email(), &[lab.bundle(manifest().bytes())]);
    assert_eq!(reason(&verdict), "untrustedCertificate");
}

#[test]
fn certificates_are_judged_at_the_time_of_signing() {
    for (time, expected) in
        [(NOW - 61, "certificateTime"), (NOW, "accepted"), (NOW + 541, "certificateTime")]
    {
        let lab = Keyless { time, ..Keyless::new() };
        let verdict = Lab::of(&lab).judge(&by_email(), &[lab.bundle(manifest().bytes())]);
        assert_eq!(reason(&verdict), expected, "{verdict}");
    }
}

/// CVE-2026-24122: the library takes every certificate of the trusted root as it is.
#[test]
fn cve_2026_24122_authorities_must_have_been_valid_too() {
    let short = |name| Wish { until: NOW - 1, ..Wish::authority(name) };
    for (root, link) in
        [(Wish::authority("root"), short("link")), (short("root"), Wish::authority("link"))]
    {
        let lab = Keyless::of(root, link, Wish::signer());
        let verdict = Lab::of(&lab).judge(&by_email(), &[lab.bundle(manifest().bytes())]);
        assert_eq!(reason(&verdict), "expired", "{verdict}");
    }
    let lab = Keyless::new();
    let mut root = lab.trusted_root(&lab.log);
    root["certificateAuthorities"][0]["validFor"]["end"] = "2002-01-01T00:00:00Z".into();
    let verdict =
        Lab { root, keys: Vec::new() }.judge(&by_email(), &[lab.bundle(manifest().bytes())]);
    assert_eq!(reason(&verdict), "untrustedCertificate", "{verdict}");
}

const WORKFLOW: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1";

fn workflow() -> Keyless {
    let claims = [
        ("1.3.6.1.4.1.57264.1.12", "https://github.com/acme/app"),
        ("1.3.6.1.4.1.57264.1.14", "refs/tags/v1"),
        ("1.3.6.1.4.1.57264.1.20", "push"),
    ];
    let claims = claims.map(|(oid, text)| (oid, utf8(text)));
    let signer = Wish { emails: Vec::new(), uris: vec![WORKFLOW], ..Wish::signer() };
    let signer =
        Wish { extensions: [signer.extensions.clone(), claims.to_vec()].concat(), ..signer };
    Keyless::of(Wish::authority("root"), Wish::authority("link"), signer)
}

#[test]
fn identities_are_matched_member_by_member() {
    let lab = workflow();
    let bundle = lab.bundle(manifest().bytes());
    let judge = |members: &str| {
        let verdict = Lab::of(&lab).judge(&identity(members), std::slice::from_ref(&bundle));
        match reason(&verdict).as_str() {
            "accepted" => "accepted".to_owned(),
            "otherSigner" => {
                let fault = verdict.found[0].fault.clone().unwrap().to_string();
                fault.rsplit_once("other ").unwrap().1.trim_end_matches(')').to_owned()
            }
            other => panic!("{other}: {verdict}"),
        }
    };
    let repository = "repository: https://github.com/acme/app";
    for (members, expected) in [
        (repository.to_owned(), "accepted"),
        ("repository: https://github.com/acme/*".to_owned(), "accepted"),
        ("repository: https://github.com/acme".to_owned(), "repository"),
        ("repository: https://github.com/other/*".to_owned(), "repository"),
        ("repository: https://github.com/acme/app/*".to_owned(), "repository"),
        (format!("{repository}, ref: refs/tags/v1"), "accepted"),
        (format!("{repository}, ref: refs/tags/v*"), "accepted"),
        (format!("{repository}, ref: refs/heads/main"), "ref"),
        (format!("{repository}, trigger: push"), "accepted"),
        (format!("{repository}, trigger: pull_request"), "trigger"),
        (format!("{repository}, workflow: .github/workflows/release.yml"), "accepted"),
        (format!("{repository}, workflow: /.github/workflows/release.yml"), "accepted"),
        (format!("{repository}, workflow: .github/workflows/other.yml"), "workflow"),
        (format!("{repository}, workflow: .github/workflows/release"), "workflow"),
        (format!("{repository}, workflow: '{}'", WORKFLOW.split('@').next().unwrap()), "accepted"),
        (format!("uri: '{WORKFLOW}'"), "accepted"),
        ("uri: https://github.com/acme/app".to_owned(), "uri"),
        (format!("email: {EMAIL}"), "email"),
        (format!("{repository}, email: {EMAIL}"), "email"),
    ] {
        assert_eq!(judge(&members), expected, "{members}");
    }
    let other = identity(repository).replace(ISSUER, "https://other.test");
    let verdict = Lab::of(&lab).judge(&other, std::slice::from_ref(&bundle));
    assert!(verdict.to_string().contains("a: other issuer"), "{verdict}");
}

#[test]
fn claims_that_are_absent_match_nothing() {
    let lab = Keyless::new();
    let bundle = lab.bundle(manifest().bytes());
    for members in [
        format!("email: {EMAIL}, ref: refs/tags/v*"),
        format!("email: {EMAIL}, trigger: push"),
        "repository: https://github.com/acme/*".to_owned(),
    ] {
        let verdict = Lab::of(&lab).judge(&identity(&members), std::slice::from_ref(&bundle));
        assert_eq!(reason(&verdict), "otherSigner", "{members}");
    }
}

fn with_keys(names: &[&'static str]) -> (Keyless, Lab) {
    let lab = Keyless::new();
    let keys = names.iter().map(|name| (*name, new_key())).collect();
    let files = Lab { keys, ..Lab::of(&lab) };
    (lab, files)
}

#[test]
fn keys_need_a_log_entry_unless_the_file_says_otherwise() {
    let (lab, files) = with_keys(&["k"]);
    let key = &files.keys[0].1;
    let manifest = manifest();
    let (logged, bare) = (
        key_bundle(key, manifest.bytes(), Some(&lab.log)),
        key_bundle(key, manifest.bytes(), None),
    );
    let strict = file("a: {key: k}", "{require: a}");
    let lax = file("a: {key: k, dangerous-no-log: true}", "{require: a}");
    let judge =
        |text: &str, bundle: &Value| reason(&files.judge(text, std::slice::from_ref(bundle)));
    assert_eq!(judge(&strict, &logged), "accepted");
    assert_eq!(judge(&strict, &bare), "noLogEntry");
    assert_eq!(judge(&lax, &bare), "accepted");
    assert_eq!(judge(&lax, &logged), "accepted");
    let other_log = key_bundle(key, manifest.bytes(), Some(&new_key()));
    assert_eq!(judge(&strict, &other_log), "untrustedLog");
    for other in [new_key(), lab.log.clone()] {
        let logged = key_bundle(&other, manifest.bytes(), Some(&lab.log));
        assert_eq!(judge(&strict, &logged), "broken");
        assert_eq!(judge(&lax, &key_bundle(&other, manifest.bytes(), None)), "broken");
    }
    let elsewhere = key_bundle(key, b"another manifest", Some(&lab.log));
    assert_eq!(judge(&strict, &elsewhere), "otherArtifact");
    assert_eq!(judge(&lax, &key_bundle(key, b"another manifest", None)), "broken");
    let foreign = key_bundle(&new_key(), manifest.bytes(), Some(&lab.log));
    let mut swapped = logged.clone();
    let entries = foreign["verificationMaterial"]["tlogEntries"].clone();
    swapped["verificationMaterial"]["tlogEntries"] = entries;
    assert_eq!(judge(&strict, &swapped), "logEntryNotBound");
    assert_eq!(judge(&lax, &swapped), "logEntryNotBound", "a wrong entry is worse than none");
}

#[test]
fn statements_by_keys_without_log_are_bound_too() {
    let (_, files) = with_keys(&["k"]);
    let key = &files.keys[0].1;
    let lax = file("a: {key: k, dangerous-no-log: true}", "{require: a}");
    let with = |envelope: Value| {
        let material = serde_json::json!({"publicKey": {"hint": ""}});
        reason(&files.judge(&lax, &[bundle(material, Vec::new(), ("dsseEnvelope", envelope))]))
    };
    assert_eq!(with(envelope(key, manifest().bytes())), "accepted");
    assert_eq!(with(envelope(key, b"another manifest")), "otherArtifact");
    assert_eq!(with(envelope(&new_key(), manifest().bytes())), "broken");
    let mut altered = envelope(key, manifest().bytes());
    altered["payloadType"] = "text/plain".into();
    assert_eq!(with(altered), "broken");
}

#[test]
fn a_file_without_trusted_root_knows_keys_without_log_only() {
    let (lab, files) = with_keys(&["k"]);
    let text =
        "version: 1\nsigners: {a: {key: k, dangerous-no-log: true}}\ndefault: {require: a}\n";
    let bare = key_bundle(&files.keys[0].1, manifest().bytes(), None);
    assert_eq!(reason(&files.judge(text, &[bare])), "accepted");
    let cert = lab.bundle(manifest().bytes());
    assert_eq!(reason(&files.judge(text, &[cert])), "otherKind");
}

#[test]
fn rules_count_holders() {
    let (lab, files) = with_keys(&["k1", "k2"]);
    let signers =
        format!("a: {{key: k1}}, b: {{key: k2}}, c: {{issuer: '{ISSUER}', email: {EMAIL}}}");
    let bundles = [
        key_bundle(&files.keys[0].1, manifest().bytes(), Some(&lab.log)),
        key_bundle(&files.keys[1].1, manifest().bytes(), Some(&lab.log)),
        lab.bundle(manifest().bytes()),
    ];
    let judge = |rule: &str, which: &[usize]| {
        let text = format!("{NO_SCT}{}", file(&signers, &format!("{{require: {rule}}}")));
        let bundles: Vec<Value> = which.iter().map(|n| bundles[*n].clone()).collect();
        files.judge(&text, &bundles)
    };
    for (rule, which, expected) in [
        ("{all-of: [a, b]}", &[0, 1][..], true),
        ("{all-of: [a, b]}", &[0, 0], false),
        ("{any-of: [a, b]}", &[1], true),
        ("{any-of: [a, b]}", &[2], false),
        ("{at-least: 2, of: [a, b, c]}", &[0, 2], true),
        ("{at-least: 2, of: [a, b, c]}", &[0, 0, 0], false),
        ("{at-least: 3, of: [a, b, c]}", &[0, 1, 2], true),
        ("{all-of: [c, {any-of: [a, b]}]}", &[2, 1], true),
        ("{all-of: [c, {any-of: [a, b]}]}", &[2], false),
    ] {
        let verdict = judge(rule, which);
        assert_eq!(verdict.accepted, expected, "{rule}: {verdict}");
    }
    let verdict = judge("{at-least: 2, of: [a, b, c]}", &[0]);
    let denial = verdict.denial.unwrap().to_string();
    assert_eq!(denial, "signed by a, expected 2 of (a, b, c)");
}

#[test]
fn two_names_for_one_key_are_refused() {
    let (_, mut files) = with_keys(&["k1"]);
    files.keys.push(("k2", files.keys[0].1.clone()));
    let signers = "a: {key: k1}, b: {key: k2}";
    let bare = key_bundle(&files.keys[0].1, manifest().bytes(), None);
    let verdict = files.judge(&file(signers, "{require: {all-of: [a, b]}}"), &[bare]);
    let denial = verdict.denial.unwrap().to_string();
    assert_eq!(denial, "key of signer b cannot be used: another signer has the same");
}

#[test]
fn attachments_are_judged_like_bundles() {
    let (lab, files) = with_keys(&["k"]);
    let payload = parts("signed-sigstore").0;
    let judge = |text: &str, attachment: Signature| {
        files.judge_found(text, &Ok(Vec::new()), &Ok(vec![attachment]))
    };
    let logged = with_log_id(&lab);
    let verdict = judge(&by_email(), signature(payload.clone(), logged));
    assert_eq!(reason(&verdict), "accepted", "{verdict}");
    let without_flag = by_email().replace(NO_SCT, "");
    let verdict = judge(&without_flag, signature(payload.clone(), with_log_id(&lab)));
    assert_eq!(reason(&verdict), "certificateNotLogged");
    let key = &files.keys[0].1;
    let bare = bare(&payload, &sign(key, &payload));
    let lax = file("a: {key: k, dangerous-no-log: true}", "{require: a}");
    assert_eq!(reason(&judge(&lax, bare.clone())), "accepted");
    let strict = file("a: {key: k}", "{require: a}");
    assert_eq!(reason(&judge(&strict, bare.clone())), "noLogEntry");
    let only_bundles = file("a: {key: k, dangerous-no-log: true}", "{accept: bundle, require: a}");
    assert_eq!(reason(&judge(&only_bundles, bare)), "noSignature");
    let other = b"{}".to_vec();
    let verdict = judge(&lax, crate::material::bare(&other, &sign(key, &other)));
    assert_eq!(reason(&verdict), "payload");
    let text = String::from_utf8(payload.clone()).unwrap();
    let other = text.replace("352fb370", "00000000").into_bytes();
    let verdict = judge(&lax, crate::material::bare(&other, &sign(key, &other)));
    assert_eq!(reason(&verdict), "digest");
    let attestation = Signature::Sigstore {
        media_type: "application/vnd.dsse.envelope.v1+json".to_owned(),
        payload: Bytes::from(payload),
        annotations: securecp_oci::Annotations::new(),
    };
    assert_eq!(reason(&judge(&lax, attestation)), "notASignature");
    let simple = Signature::Simple(Bytes::from_static(b"\xa3"));
    assert_eq!(reason(&judge(&lax, simple)), "noSignature");
}

/// The annotations of a keyless signature whose entry names the log.
fn with_log_id(lab: &Keyless) -> securecp_oci::Annotations {
    let payload = parts("signed-sigstore").0;
    let mut annotations = lab.annotations(&payload);
    let raw = base64::decode(&annotations[SIGNATURE]).unwrap();
    let entry = logged(&lab.log, &body(&payload, &raw, &pem(&[&lab.signer])), lab.time);
    annotations.insert(BUNDLE.to_owned(), promised(&entry, lab.time));
    annotations
}

/// The promise of an entry as the annotation has it.
pub(crate) fn promised(entry: &Value, time: i64) -> String {
    let id = base64::decode(entry["logId"]["keyId"].as_str().unwrap()).unwrap();
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    serde_json::json!({
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": time,
            "logID": hex,
            "logIndex": 0,
        },
    })
    .to_string()
}

/// Format fallback only when a form is known to be absent.
#[test]
fn what_could_not_be_fetched_denies_whatever_else_is_good() {
    let (lab, files) = with_keys(&["k"]);
    let bundle = Bytes::from(lab.bundle(manifest().bytes()).to_string());
    let good = Ok(vec![bundle.into()]);
    let failed = FetchFailure("503".to_owned());
    let text = by_email();
    let verdict = files.judge_found(&text, &good, &Err(failed.clone()));
    assert_eq!(verdict.denial.unwrap().to_string(), "attachments could not be fetched: 503");
    let verdict = files.judge_found(&text, &Err(failed.clone()), &Ok(vec![fresh(&lab)]));
    assert_eq!(verdict.denial.unwrap().to_string(), "bundles could not be fetched: 503");
    let only = text.replace("{require: a}", "{accept: bundle, require: a}");
    assert!(files.judge_found(&only, &good, &Err(failed)).accepted, "nobody asked for them");
}

fn fresh(lab: &Keyless) -> Signature {
    signature(parts("signed-sigstore").0, with_log_id(lab))
}

#[test]
fn scopes_are_looked_up_as_in_policies() {
    let demands = [
        ("docker:registry.securecp.test/plain:v1", "policy-only"),
        ("docker:registry.securecp.test", "reject"),
    ];
    let text = |demands: &[(&str, &str)]| {
        let images: Vec<String> =
            demands.iter().map(|(scope, what)| format!("'{scope}': {what}")).collect();
        format!("version: 1\nimages: {{{}}}\ndefault: policy-only\n", images.join(", "))
    };
    let (_, files) = with_keys(&[]);
    let verdict = files.judge(&text(&demands), &[]);
    assert!(verdict.accepted);
    assert_eq!(verdict.scope, demands[0].0);
    let verdict = files.judge(&text(&demands[1..]), &[]);
    assert_eq!(reason(&verdict), "rejected");
    let verdict = files.judge(&text(&[("oci:", "reject")]), &[]);
    assert!(verdict.accepted, "another transport");
    let verdict = files.judge(&text(&[("docker:", "reject")]), &[]);
    assert_eq!((reason(&verdict).as_str(), verdict.scope.as_str()), ("rejected", "docker:"));
    let wanted = TrustFile::parse(
        identity("email: e").replace("{require: a}", "{accept: bundle, require: a}").as_bytes(),
    )
    .unwrap();
    let image = ImageIdentity::docker(&NAME.parse().unwrap());
    assert_eq!(wanted.wants(&image), (true, false));
    assert_eq!(wanted.trusted_root(), Some("root"));
}

#[test]
fn files_that_cannot_be_used_deny() {
    let (lab, files) = with_keys(&[]);
    let bundle = lab.bundle(manifest().bytes());
    let denial = |text: &str, files: &Lab| {
        files.judge(text, std::slice::from_ref(&bundle)).denial.unwrap().to_string()
    };
    let missing = file("a: {key: k}", "{require: a}");
    assert!(denial(&missing, &files).starts_with("k cannot be used: "));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut root = lab.trusted_root(&lab.log);
        change(&mut root);
        denial(&by_email(), &Lab { root, keys: Vec::new() })
    };
    for text in [
        changed(&|root| *root = Value::Null),
        changed(&|root| root["mediaType"] = "application/json".into()),
        changed(&|root| root["tlogs"][0]["publicKey"]["rawBytes"] = "AAAA".into()),
        changed(&|root| root["tlogs"][0]["logId"]["keyId"] = "AAAA".into()),
        changed(&|root| {
            root["certificateAuthorities"][0]["certChain"]["certificates"] =
                Vec::<Value>::new().into()
        }),
        changed(&|root| {
            root["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] =
                "AAAA".into()
        }),
    ] {
        assert!(text.starts_with("root cannot be used: "), "{text}");
    }
}

#[test]
fn the_number_of_bundles_is_bounded() {
    let (lab, files) = with_keys(&[]);
    let one = lab.bundle(manifest().bytes());
    let verdict = files.judge(&by_email(), &vec![one; 129]);
    assert_eq!(verdict.denial.unwrap().to_string(), "manifest has 129 bundles, the limit is 128");
}

#[test]
fn verdicts_are_data() {
    let (lab, files) = with_keys(&[]);
    let good = lab.bundle(manifest().bytes());
    let verdict = files.judge(&by_email(), &[serde_json::json!({}), good]);
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["accepted"], true);
    assert_eq!(json["scope"], "default");
    assert_eq!(json["found"][0]["fault"]["reason"], "format");
    assert!(json["found"][0]["fault"]["message"].as_str().unwrap().starts_with("bundle format"));
    assert_eq!(json["found"][1]["signers"][0], "a");
    let text = verdict.to_string();
    assert!(text.contains("accepted (default)\n    bundle 1: bundle format not"));
    assert!(text.contains(&format!("bundle 2: by {EMAIL} (issuer {ISSUER}), as a\n")), "{text}");
}

/// The type of what is in an envelope is signed so that one thing is not taken for another (DSSE protocol).
#[test]
fn an_envelope_of_another_type_is_no_statement() {
    let (_, files) = with_keys(&["k"]);
    let (key, manifest) = (&files.keys[0].1, manifest());
    let mut envelope = envelope(key, manifest.bytes());
    let lax = file("a: {key: k, dangerous-no-log: true}", "{require: a}");
    let judge = |envelope: &Value| {
        let material = serde_json::json!({"publicKey": {"hint": "lab"}});
        let made = bundle(material, Vec::new(), ("dsseEnvelope", envelope.clone()));
        reason(&files.judge(&lax, std::slice::from_ref(&made)))
    };
    assert_eq!(judge(&envelope), "accepted");
    let payload = base64::decode(envelope["payload"].as_str().unwrap()).unwrap();
    for kind in ["application/octet-stream", "text/plain", ""] {
        envelope["payloadType"] = kind.into();
        let raw = sign(key, &pae(kind, &payload));
        envelope["signatures"][0]["sig"] = base64::encode(&raw).into();
        assert_ne!(judge(&envelope), "accepted", "{kind}");
    }
}
