//! `sigstoreSigned` with certificates: Fulcio and one's own authority.

use securecp_oci::{Annotations, base64};
use securecp_trust::Verdict;
use serde_json::{Value, json};

use crate::lab::*;
use crate::material::*;

const POLICY: &str = "trust/policy-keyless.json";

fn payload() -> Vec<u8> {
    parts("signed-sigstore").0
}

fn verdict(lab: &Keyless) -> Verdict {
    judge(&policy(lab.trust()), vec![lab.signature(&payload())])
}

/// The verdict after a change to what the policy trusts.
fn under(lab: &Keyless, change: impl Fn(&mut Value)) -> Verdict {
    let mut trust = lab.trust();
    change(&mut trust);
    judge(&policy(trust), vec![lab.signature(&payload())])
}

/// The verdict after a change to the annotations.
fn with(lab: &Keyless, change: impl Fn(&mut Annotations)) -> Verdict {
    let mut annotations = lab.annotations(&payload());
    change(&mut annotations);
    judge(&policy(lab.trust()), vec![signature(payload(), annotations)])
}

fn signed_by(signer: Wish) -> Verdict {
    verdict(&Keyless::of(Wish::authority("root"), Wish::authority("link"), signer))
}

#[test]
fn the_reference_s_vector_is_accepted_for_ever() {
    let verdict = judge_folder(&text(POLICY), signatures("signed-keyless"));
    assert_eq!(outcome(&verdict), "accepted", "{verdict}");
    let signer = verdict.subjects[0].requirements[0].signatures[0].accepted.clone().unwrap();
    assert_eq!(
        (signer.key.as_str(), signer.identity.as_str()),
        ("release@securecp.test (issuer https://issuer.securecp.test)", NAME)
    );
}

#[test]
fn another_issuer_email_authority_or_log_is_refused() {
    let altered = |from: &str, to: &str| {
        let policy = text(POLICY);
        assert!(policy.contains(from));
        judge_folder(&policy.replace(from, to), signatures("signed-keyless"))
    };
    let verdict = altered("https://issuer.securecp.test", "https://other.test");
    assert_eq!(outcome(&verdict), "otherIssuer");
    assert_eq!(words(&verdict), "Unexpected Fulcio OIDC issuer \"https://issuer.securecp.test\"");
    for other in ["someone@securecp.test", "Release@securecp.test", "release@securecp.tes"] {
        let verdict = altered("release@securecp.test", other);
        assert_eq!(outcome(&verdict), "otherEmail");
        assert_eq!(
            words(&verdict),
            format!("Required email \"{other}\" not found (got [\"release@securecp.test\"])")
        );
    }
    let verdict = altered("keys/sigstore-mock/rekor.pub", "keys/cosign.pub");
    assert_eq!(outcome(&verdict), "setNotVerified");
    let lab = Keyless::new();
    let other = base64::encode(pem(&[&lab.root]).as_bytes());
    let verdict = altered(
        "\"caPath\":\"keys/sigstore-mock/fulcio-root.pem\"",
        &format!("\"caData\":\"{other}\""),
    );
    assert_eq!(outcome(&verdict), "untrustedRoot");
}

#[test]
fn every_part_of_the_evidence_is_needed() {
    let lab = Keyless::new();
    assert_eq!(outcome(&verdict(&lab)), "accepted");
    for missing in [SIGNATURE, BUNDLE, CERTIFICATE] {
        let verdict = with(&lab, |annotations| drop(annotations.remove(missing)));
        assert_eq!(words(&verdict), format!("missing {missing} annotation"));
    }
    let verdict = with(&lab, |annotations| drop(annotations.remove(CHAIN)));
    assert_eq!(outcome(&verdict), "untrustedRoot", "nothing links the signer to the root");
}

#[test]
fn a_foreign_promise_certificate_or_signature_is_refused() {
    let (lab, other) = (Keyless::new(), Keyless::new());
    let theirs = Keyless {
        log: lab.log.clone(),
        root: lab.root.clone(),
        link: lab.link.clone(),
        signer: issue(Some(&lab.link), &Wish::signer()),
        time: NOW,
    };
    let foreign = theirs.annotations(&payload());
    let swapped = |key: &str| with(&lab, |a| drop(a.insert(key.to_owned(), foreign[key].clone())));
    assert_eq!(outcome(&swapped(BUNDLE)), "otherKey");
    assert_eq!(outcome(&swapped(CERTIFICATE)), "otherKey");
    assert_eq!(outcome(&swapped(SIGNATURE)), "otherSignature");
    let log = base64::encode(&public_pem(&other.log));
    let verdict = under(&lab, |trust| trust["rekorPublicKeyData"] = json!(log));
    assert_eq!(outcome(&verdict), "setNotVerified");
}

#[test]
fn a_signature_that_the_key_of_the_certificate_did_not_make_is_refused() {
    let lab = Keyless::new();
    let raw = sign(&new_key(), &payload());
    let signer_pem = pem(&[&lab.signer]);
    let entry = promise(&lab.log, &body(&payload(), &raw, &signer_pem), NOW);
    let verdict = with(&lab, |annotations| {
        annotations.insert(SIGNATURE.to_owned(), base64::encode(&raw));
        annotations.insert(BUNDLE.to_owned(), entry.clone());
    });
    assert_eq!(outcome(&verdict), "notVerified");
}

#[test]
fn the_certificate_must_be_valid_at_the_log_s_time() {
    for (time, expected) in [
        (NOW - 61, "expired"),
        (NOW - 60, "accepted"),
        (NOW + 540, "accepted"),
        (NOW + 541, "expired"),
    ] {
        let lab = Keyless { time, ..Keyless::new() };
        assert_eq!(outcome(&verdict(&lab)), expected, "{time}");
    }
}

/// CVE-2026-24122: links that had expired when the signature was made were accepted.
#[test]
fn cve_2026_24122_the_whole_chain_must_be_valid_at_the_log_s_time() {
    let short = |name| Wish { until: NOW - 1, ..Wish::authority(name) };
    let late = |name| Wish { from: NOW + 1, ..Wish::authority(name) };
    let (root, link) = (|| Wish::authority("root"), || Wish::authority("link"));
    for (root, link) in [
        (root(), short("link")),
        (root(), late("link")),
        (short("root"), link()),
        (late("root"), link()),
    ] {
        let verdict = verdict(&Keyless::of(root, link, Wish::signer()));
        assert_eq!(outcome(&verdict), "expired", "{verdict}");
    }
}

#[test]
fn a_root_that_is_no_authority_is_no_root() {
    let link = || Wish::authority("link");
    let not_ca = Wish { authority: false, ..Wish::authority("root") };
    let not_signing = Wish { may_sign_certificates: false, ..Wish::authority("root") };
    for root in [not_ca, not_signing] {
        let verdict = verdict(&Keyless::of(root, link(), Wish::signer()));
        assert_eq!(outcome(&verdict), "untrustedRoot", "{verdict}");
    }
}

#[test]
fn links_must_be_allowed_to_sign() {
    let root = || Wish::authority("root");
    for link in [
        Wish { authority: false, ..Wish::authority("link") },
        Wish { may_sign_certificates: false, ..Wish::authority("link") },
        Wish { server_auth: true, ..Wish::authority("link") },
    ] {
        let verdict = verdict(&Keyless::of(root(), link, Wish::signer()));
        assert_eq!(outcome(&verdict), "chain", "{verdict}");
    }
    let no_links = Wish { path_length: Some(0), ..Wish::authority("root") };
    let verdict = verdict(&Keyless::of(no_links, Wish::authority("link"), Wish::signer()));
    assert_eq!(outcome(&verdict), "chain", "{verdict}");
    let one_link = Wish { path_length: Some(1), ..Wish::authority("root") };
    let lab = Keyless::of(one_link, Wish::authority("link"), Wish::signer());
    assert_eq!(outcome(&crate::certificates::verdict(&lab)), "accepted");
}

#[test]
fn the_signer_s_certificate_is_for_code_signing_or_for_anything() {
    let server = Wish { code_signing: false, server_auth: true, ..Wish::signer() };
    assert_eq!(outcome(&signed_by(server)), "chain");
    let anything = Wish { code_signing: false, ..Wish::signer() };
    assert_eq!(outcome(&signed_by(anything)), "accepted");
    let authority = Wish { authority: true, ..Wish::signer() };
    assert_eq!(outcome(&signed_by(authority)), "chain");
}

#[test]
fn issuer_extensions_must_agree() {
    let with =
        |extensions: Vec<(&'static str, Vec<u8>)>| signed_by(Wish { extensions, ..Wish::signer() });
    assert_eq!(outcome(&with(vec![(ISSUER_V1, ISSUER.into())])), "accepted");
    assert_eq!(outcome(&with(vec![(ISSUER_V2, utf8(ISSUER))])), "accepted");
    let none = with(Vec::new());
    assert_eq!(words(&none), "Fulcio certificate is missing the issuer extension");
    let both = with(vec![(ISSUER_V1, b"https://x".into()), (ISSUER_V2, utf8(ISSUER))]);
    assert_eq!(
        words(&both),
        format!("inconsistent OIDC issuer extension values: v1 \"https://x\", v2 \"{ISSUER}\"")
    );
    for malformed in [
        vec![(ISSUER_V2, ISSUER.into())],
        vec![(ISSUER_V2, [utf8(ISSUER), vec![0]].concat())],
        vec![(ISSUER_V2, Vec::new())],
    ] {
        assert_eq!(outcome(&with(malformed)), "claimMalformed");
    }
    let twice = with(vec![(ISSUER_V1, ISSUER.into()), (ISSUER_V1, ISSUER.into())]);
    assert_ne!(outcome(&twice), "accepted");
}

#[test]
fn names_of_other_kinds_are_no_email_addresses() {
    let none = Wish { emails: Vec::new(), uris: vec![EMAIL], ..Wish::signer() };
    let verdict = signed_by(none);
    assert_eq!(words(&verdict), format!("Required email \"{EMAIL}\" not found (got [])"));
    let several = Wish { emails: vec!["a@x.test", EMAIL], ..Wish::signer() };
    assert_eq!(outcome(&signed_by(several)), "accepted");
}

#[test]
fn the_number_of_certificates_is_bounded() {
    let lab = Keyless::new();
    let link = pem(&[&lab.link]);
    let many = |count: usize| with(&lab, |a| drop(a.insert(CHAIN.to_owned(), link.repeat(count))));
    assert_eq!(outcome(&many(16)), "accepted");
    assert_eq!(words(&many(17)), "certificate chain has more than 16 certificates");
    let two = with(&lab, |a| {
        let one = a[CERTIFICATE].clone();
        a.insert(CERTIFICATE.to_owned(), one.repeat(2));
    });
    assert_eq!(outcome(&two), "trailingData");
    let roots = base64::encode(pem(&[&lab.root]).repeat(257).as_bytes());
    let verdict = under(&lab, |trust| trust["fulcio"]["caData"] = json!(roots));
    assert_eq!(words(&verdict), "Fulcio CA certificates has more than 256 certificates");
}

#[test]
fn roots_that_cannot_be_read_fail_the_requirement() {
    let lab = Keyless::new();
    let with_roots = |text: String| {
        let data = base64::encode(text.as_bytes());
        under(&lab, |trust| trust["fulcio"]["caData"] = json!(data))
    };
    let good = pem(&[&lab.root]);
    assert_eq!(words(&with_roots(String::new())), "no certificate found in Fulcio CA certificates");
    let broken = "-----BEGIN CERTIFICATE-----\neA==\n-----END CERTIFICATE-----\n";
    assert_eq!(
        words(&with_roots(format!("{good}{broken}"))),
        "parsing Fulcio CA certificates: certificate 2 is malformed"
    );
    let surrounded = format!("a comment\n{}\n{good}", pem(&[&Keyless::new().root]));
    assert_eq!(outcome(&with_roots(surrounded)), "accepted");
    assert_eq!(outcome(&with_roots(pem(&[&lab.link]))), "accepted", "a link may be a root");
}

/// One's own authority: no log, judged now.
fn pki(signer: Wish, subjects: Value, at_chain: bool) -> Verdict {
    let lab = Keyless::of(Wish::authority("root"), Wish::authority("link"), signer);
    let mut annotations = lab.annotations(&payload());
    annotations.remove(BUNDLE);
    let mut trust = subjects;
    trust["caRootsData"] = json!(base64::encode(pem(&[&lab.root]).as_bytes()));
    if !at_chain {
        annotations.remove(CHAIN);
        trust["caIntermediatesData"] = json!(base64::encode(pem(&[&lab.link]).as_bytes()));
    }
    judge(&policy(json!({"pki": trust})), vec![signature(payload(), annotations)])
}

#[test]
fn pki_takes_links_from_the_policy_or_the_chain() {
    for at_chain in [true, false] {
        let verdict = pki(Wish::signer(), json!({"subjectEmail": EMAIL}), at_chain);
        assert_eq!(outcome(&verdict), "accepted", "{verdict}");
    }
}

#[test]
fn pki_compares_all_subjects_that_are_given() {
    let signer = || Wish { hosts: vec!["*.securecp.test", "build.test"], ..Wish::signer() };
    let host = |host: &str| pki(signer(), json!({"subjectHostname": host}), true);
    for good in ["build.test", "BUILD.test", "a.securecp.test"] {
        assert_eq!(outcome(&host(good)), "accepted", "{good}");
    }
    for bad in ["securecp.test", "a.b.securecp.test", "x.test", "not a host", "10.0.0.1"] {
        let verdict = host(bad);
        assert_eq!(outcome(&verdict), "otherHostname", "{bad}");
    }
    let both = |email: &str, host: &str| {
        outcome(&pki(signer(), json!({"subjectEmail": email, "subjectHostname": host}), true))
    };
    assert_eq!(both(EMAIL, "build.test"), "accepted");
    assert_eq!(both("x@y.test", "build.test"), "otherEmail");
    assert_eq!(both(EMAIL, "x.test"), "otherHostname");
}

#[test]
fn pki_judges_the_chain_as_it_is_now() {
    let expired = Wish { from: NOW - 9, until: NOW - 1, ..Wish::signer() };
    assert_eq!(outcome(&pki(expired, json!({"subjectEmail": EMAIL}), true)), "expired");
    let missing = {
        let lab = Keyless::new();
        let mut annotations = lab.annotations(&payload());
        annotations.remove(CERTIFICATE);
        let roots = base64::encode(pem(&[&lab.root]).as_bytes());
        let policy = policy(json!({"pki": {"caRootsData": roots, "subjectEmail": EMAIL}}));
        judge(&policy, vec![signature(payload(), annotations)])
    };
    assert_eq!(words(&missing), format!("missing {CERTIFICATE} annotation"));
}
