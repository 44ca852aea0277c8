//! Vulnerabilities of other tools, each with the test that shows it cannot happen here.

use bytes::Bytes;
use securecp_oci::{Annotations, Declared, RawManifest, SIGNATURE_LIMIT, Signature};
use securecp_trust::{
    FetchFailure, Gate, KEY_LIMIT, POLICY_LIMIT, Payload, PayloadKind, Policy, REGISTRIES_D_LIMIT,
    RegistriesD, Subject,
};

use crate::simple::{NAME, manifest, message, signed_by, then};
use crate::support::{Survey, docker, no_keys, subject};

fn refused(policy: &Policy, survey: Survey) -> String {
    policy.admit(survey, &Gate::new(&no_keys).at(then())).unwrap_err().to_string()
}

/// CVE-2024-3727: a digest that is not one reached paths and addresses.
#[test]
fn cve_2024_3727_signed_digests_are_digests() {
    let document = |digest: &str| {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"{NAME}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"atomic container signature"}},"optional":{{}}}}"#
        )
    };
    let read = |digest: &str| Payload::parse(document(digest).as_bytes(), PayloadKind::Simple);
    assert!(read(&format!("sha256:{}", "0".repeat(64))).is_ok());
    for bad in ["sha256:../../../etc/passwd", "sha256:", "", "../x", "sha256:00/..", "md5:00"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

/// CVE-2020-1702: whatever a server sent was read into memory.
#[test]
fn cve_2020_1702_everything_read_has_a_limit() {
    assert!(Policy::parse(&vec![b' '; POLICY_LIMIT + 1]).is_err());
    assert!(Signature::parse(Bytes::from(vec![0xa3; SIGNATURE_LIMIT + 1])).is_err());
    assert!(Payload::parse(&vec![b' '; 2 << 20], PayloadKind::Simple).is_err());
    let yaml = vec![b' '; REGISTRIES_D_LIMIT + 1];
    assert!(RegistriesD::parse([("a.yaml", yaml.as_slice())]).is_err());
    let large_key = |_: &str| Ok(vec![0; KEY_LIMIT + 1]);
    let survey = docker(NAME, vec![subject(manifest(), vec![message("valid-rsa")])]);
    let verdict = signed_by("k", "").judge(&survey, &Gate::new(&large_key).at(then()));
    assert!(verdict.to_string().contains("more than"), "{verdict}");
}

/// CVE-2022-35929: something of another kind satisfied the check, or nothing did and that was fine.
#[test]
fn cve_2022_35929_nothing_of_the_right_kind_is_a_refusal() {
    let attestation = Signature::Sigstore {
        media_type: "application/vnd.dsse.envelope.v1+json".into(),
        payload: Bytes::from_static(b"{}"),
        annotations: Annotations::new(),
    };
    let sigstore = br#"{"default":[{"type":"sigstoreSigned","keyPath":"k"}]}"#;
    let survey = docker(NAME, vec![subject(manifest(), vec![attestation.clone()])]);
    let text = refused(&Policy::parse(sigstore).unwrap(), survey);
    assert!(text.contains("A signature was required"), "{text}");
    let survey = docker(NAME, vec![subject(manifest(), vec![attestation])]);
    assert!(refused(&signed_by("k", ""), survey).contains("A signature was required"));
}

/// CVE-2021-41190: one document was an image to one reader and an index to another.
#[test]
fn cve_2021_41190_ambiguous_manifests_never_reach_the_gate() {
    let both = r#"{"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[],"manifests":[]}"#;
    for declared in
        ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"]
    {
        let declared = Declared { media_type: Some(declared), digest: None, size: None };
        assert!(RawManifest::read(Bytes::from(both), declared).is_err());
    }
}

/// CVE-2026-23992: a threshold of zero switched verification off.
#[test]
fn cve_2026_23992_zero_requirements_and_zero_keys_accept_nothing() {
    assert!(Policy::parse(br#"{"default":[]}"#).is_err());
    for keys in [r#""keyPaths":[]"#, r#""keyData":"""#] {
        let text = format!(r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys",{keys}}}]}}"#);
        let survey = docker(NAME, vec![subject(manifest(), vec![message("valid-rsa")])]);
        let text = refused(&Policy::parse(text.as_bytes()).unwrap(), survey);
        assert!(text.contains("No public keys imported"), "{text}");
    }
    for key in ["keyPaths", "keyDatas"] {
        let text = format!(r#"{{"default":[{{"type":"sigstoreSigned","{key}":[]}}]}}"#);
        assert!(Policy::parse(text.as_bytes()).is_err(), "{key}");
    }
}

/// GHSA-w6c6-c85g-mmv6, and cosign's silent change to the weaker format: an error counted as "nothing there".
#[test]
fn ghsa_w6c6_c85g_mmv6_errors_are_refusals() {
    let failed = Subject::new(manifest(), Err(FetchFailure("timeout".into())));
    let text = refused(&signed_by("k", ""), docker(NAME, vec![failed]));
    assert!(text.contains("could not be fetched: timeout"), "{text}");
}

/// CVE-2024-29902 and CVE-2024-29903: many and large signatures exhausted memory.
#[test]
fn cve_2024_29902_a_bomb_costs_no_memory() {
    for bomb in ["bomb-literal", "bomb-markers", "bomb-nested"] {
        let survey = docker(NAME, vec![subject(manifest(), vec![message(bomb); 128])]);
        let keys = |_: &str| Ok(crate::simple::testdata("gpg/key-rsa.gpg"));
        let verdict = signed_by("k", "").judge(&survey, &Gate::new(&keys).at(then()));
        assert_eq!(verdict.subjects[0].requirements[0].signatures.len(), 128);
        assert!(!verdict.accepted);
    }
}
