//! The gate: what is let through, what is refused, and with which words.

use crate::support::{Survey, docker, image, index, no_keys, subject};
use bytes::Bytes;
use securecp_oci::Signature;
use securecp_trust::{FetchFailure, Gate, IndexSignature, Outcome, Policy, Subject};

const ACCEPT: &str = r#"{"type":"insecureAcceptAnything"}"#;
const REJECT: &str = r#"{"type":"reject"}"#;
const SIGNED: &str = r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/none"}"#;
const SIGSTORE: &str = r#"{"type":"sigstoreSigned","keyPath":"/none"}"#;

fn policy(requirements: &[&str]) -> Policy {
    Policy::parse(format!(r#"{{"default":[{}]}}"#, requirements.join(",")).as_bytes()).unwrap()
}

fn gate() -> Gate<'static> {
    Gate::new(&no_keys)
}

fn refusal(policy: &Policy, survey: Survey, gate: Gate<'_>) -> String {
    policy.admit(survey, &gate).unwrap_err().to_string()
}

fn unsigned() -> Survey {
    docker("r.test/a:1", vec![subject(image("a"), Vec::new())])
}

#[test]
fn accepts_anything_only_where_the_policy_says_so() {
    let admitted = Policy::insecure_accept_anything().admit(unsigned(), &gate()).unwrap();
    assert_eq!(admitted.verdict().subjects[0].outcome, Outcome::Accepted);
    assert!(admitted.admits(image("a").digest()));
    assert!(!admitted.admits(image("b").digest()));
    assert_eq!(admitted.found().subjects.len(), 1);
}

#[test]
fn rejects_with_the_reference_s_words() {
    let text = refusal(&policy(&[REJECT]), unsigned(), gate());
    let expected =
        "Source image rejected: Running image docker://r.test/a:1 is rejected by policy.";
    assert_eq!(text, expected);
    let text = refusal(&policy(&[SIGNED]), unsigned(), gate());
    assert_eq!(text, "Source image rejected: A signature was required, but no signature exists");
    let base = r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#;
    assert!(
        refusal(&policy(&[base]), unsigned(), gate())
            .contains("signedBaseLayer not implemented yet!")
    );
}

#[test]
fn the_families_do_not_see_each_other() {
    let attachment = |media_type: &str| Signature::Sigstore {
        media_type: media_type.to_owned(),
        payload: Bytes::new(),
        annotations: securecp_oci::Annotations::new(),
    };
    let survey = |signature| docker("r.test/a:1", vec![subject(image("a"), vec![signature])]);
    let real = attachment(Signature::SIGSTORE_MEDIA_TYPE);
    let text = refusal(&policy(&[SIGNED]), survey(real), gate());
    assert!(text.ends_with("A signature was required, but no signature exists"), "{text}");
    let simple = Signature::Simple(Bytes::from_static(b"\xa3"));
    let text = refusal(&policy(&[SIGSTORE]), survey(simple), gate());
    let counts = "(1 non-sigstore signatures, 0 sigstore non-signature attachments)";
    assert!(text.ends_with(counts), "{text}");
    let other = attachment("application/vnd.dsse.envelope.v1+json");
    let text = refusal(&policy(&[SIGSTORE]), survey(other), gate());
    let counts = "(0 non-sigstore signatures, 1 sigstore non-signature attachments)";
    assert!(text.ends_with(counts), "{text}");
}

#[test]
fn all_requirements_must_be_met_and_the_first_denial_ends() {
    let text = refusal(&policy(&[ACCEPT, REJECT]), unsigned(), gate());
    assert!(text.contains("is rejected by policy."));
    let verdict = policy(&[REJECT, SIGNED]).judge(&unsigned(), &gate());
    assert_eq!(verdict.subjects[0].requirements.len(), 1);
}

#[test]
fn an_empty_survey_is_refused() {
    let survey = docker("r.test/a:1", Vec::new());
    let text = refusal(&Policy::insecure_accept_anything(), survey, gate());
    assert!(
        text.starts_with("Source image rejected: nothing of image docker://r.test/a:1"),
        "{text}"
    );
}

#[test]
fn require_signed_wants_a_requirement_that_verifies() {
    let text = refusal(&policy(&[ACCEPT]), unsigned(), gate().require_signed(true));
    let expected = "Source image rejected: No signature verification policy found for image docker://r.test/a:1";
    assert_eq!(text, expected);
    let text = refusal(&policy(&[REJECT]), unsigned(), gate().require_signed(true));
    assert!(text.contains("is rejected by policy."), "checked after the requirements");
}

#[test]
fn a_failed_fetch_is_never_no_signatures() {
    let failed = || {
        let signatures = Err(FetchFailure("403 Forbidden\u{1b}[31m".into()));
        docker("r.test/a:1", vec![Subject::new(image("a"), signatures)])
    };
    for requirement in [SIGNED, SIGSTORE] {
        let text = refusal(&policy(&[requirement]), failed(), gate());
        assert!(text.contains("could not be fetched: 403 Forbidden\\u{1b}"), "{text}");
    }
    assert!(policy(&[ACCEPT]).admit(failed(), &gate()).is_ok());
}

/// CVE-2023-46737: endless lists of signatures.
#[test]
fn cve_2023_46737_the_number_of_signatures_is_bounded() {
    let many = vec![Signature::Simple(Bytes::from_static(b"\xa3")); 129];
    let survey = docker("r.test/a:1", vec![subject(image("a"), many)]);
    let text = refusal(&policy(&[SIGNED]), survey, gate());
    assert!(text.contains("129 signatures, the limit is 128"), "{text}");
}

/// CVE-2022-24778: only one architecture of a list was checked.
#[test]
fn cve_2022_24778_every_instance_is_judged() {
    let two = || {
        let subjects = vec![
            subject(image("a"), Vec::new()),
            Subject::new(image("b"), Err(FetchFailure("gone".into()))),
        ];
        docker("r.test/a:1", subjects)
    };
    let verdict = policy(&[SIGNED]).judge(&two(), &gate());
    assert_eq!(verdict.subjects.len(), 2);
    assert!(verdict.subjects.iter().all(|s| s.outcome == Outcome::Refused));
    assert!(policy(&[ACCEPT]).admit(two(), &gate()).unwrap().admits(image("b").digest()));
}

fn list() -> Survey {
    let leaf = image("a");
    let root = index(&[&leaf]);
    docker("r.test/a:1", vec![subject(root, Vec::new()), subject(leaf, Vec::new())])
}

#[test]
fn an_index_with_instances_is_not_judged_by_default() {
    let verdict = policy(&[REJECT]).judge(&list(), &gate());
    assert_eq!(verdict.subjects[0].outcome, Outcome::NotJudged);
    assert_eq!(verdict.subjects[1].outcome, Outcome::Refused);
    assert!(!verdict.accepted);
}

#[test]
fn an_index_alone_is_always_judged() {
    for mode in [IndexSignature::Ignore, IndexSignature::Accept, IndexSignature::Require] {
        let survey = docker("r.test/a:1", vec![subject(index(&[&image("a")]), Vec::new())]);
        let text = refusal(&policy(&[SIGNED]), survey, gate().index_signature(mode));
        assert!(text.contains("A signature was required"), "{text}");
    }
}

#[test]
fn an_accepted_index_vouches_for_what_it_names_and_for_nothing_else() {
    let accept = gate().index_signature(IndexSignature::Accept);
    let verdict = policy(&[ACCEPT]).judge(&list(), &accept);
    let index = verdict.subjects[0].digest.clone();
    assert_eq!(verdict.subjects[1].outcome, Outcome::VouchedFor { index });
    let verdict = policy(&[REJECT]).judge(&list(), &accept);
    assert_eq!(verdict.subjects[0].outcome, Outcome::Tolerated);
    assert_eq!(verdict.subjects[1].outcome, Outcome::Refused);
    let mut stranger = list();
    stranger.subjects.push(subject(image("stranger"), Vec::new()));
    let verdict = policy(&[ACCEPT]).judge(&stranger, &accept);
    assert_eq!(verdict.subjects[2].outcome, Outcome::Accepted, "judged by itself");
}

#[test]
fn require_judges_index_and_instances() {
    let verdict =
        policy(&[SIGNED]).judge(&list(), &gate().index_signature(IndexSignature::Require));
    assert!(verdict.subjects.iter().all(|s| s.outcome == Outcome::Refused));
}

#[test]
fn verdicts_are_data() {
    let verdict = policy(&[SIGNED]).judge(&unsigned(), &gate());
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["accepted"], false);
    assert_eq!(json["image"], "docker://r.test/a:1");
    assert_eq!(json["scope"]["default"], true);
    assert_eq!(json["subjects"][0]["outcome"], "refused");
    let requirement = &json["subjects"][0]["requirements"][0];
    assert_eq!(requirement["type"], "signedBy");
    assert_eq!(requirement["denial"]["reason"], "noSignature");
    let message = "A signature was required, but no signature exists";
    assert_eq!(requirement["denial"]["message"], message);
    let lines = verdict.to_string();
    assert!(lines.starts_with("docker://r.test/a:1: refused (default)\n"), "{lines}");
    assert!(lines.contains(&format!("    signedBy: {message}\n")), "{lines}");
}
