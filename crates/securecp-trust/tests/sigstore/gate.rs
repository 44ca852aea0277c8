//! A policy and a trust file at one gate.

use bytes::Bytes;
use securecp_oci::{Declared, Digest, ImageIdentity, RawManifest};
use securecp_trust::{
    Admitted, FetchFailure, Gate, IndexSignature, Judged, Policy, Refusal, StoredBundle, Subject,
    TrustFile,
};

use crate::lab::*;
use crate::material::NAME;

#[derive(Debug)]
struct Survey {
    identity: ImageIdentity,
    subjects: Vec<Subject>,
}

impl Judged for Survey {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        self.subjects.iter().collect()
    }
}

fn read(text: String) -> RawManifest {
    RawManifest::read(Bytes::from(text), Declared::default()).unwrap()
}

fn image(name: &str) -> RawManifest {
    let digest = Digest::of(securecp_oci::Algorithm::Sha256, name.as_bytes());
    read(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}},"layers":[]}}"#
    ))
}

fn index(of: &[&RawManifest]) -> RawManifest {
    let entry = |m: &&RawManifest| {
        let (media_type, digest, size) = (m.media_type().as_str(), m.digest(), m.size());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    };
    let entries: Vec<String> = of.iter().map(entry).collect();
    read(format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    ))
}

const FILE: &str = "version: 1\nsigners: {a: {key: k, dangerous-no-log: true}}\ndefault: {accept: bundle, require: a}\n";

fn survey(subjects: Vec<Subject>) -> Survey {
    Survey { identity: ImageIdentity::docker(&NAME.parse().unwrap()), subjects }
}

/// What comes of an index with two images of which `signed` have a bundle.
fn admit(mode: IndexSignature, signed: &[&RawManifest]) -> Result<Admitted<Survey>, Refusal> {
    let (key, one, two) = (new_key(), image("one"), image("two"));
    let list = index(&[&one, &two]);
    let subject = |manifest: RawManifest| {
        let found = signed.iter().filter(|signed| signed.digest() == manifest.digest());
        let bundle =
            |m: &&RawManifest| Bytes::from(key_bundle(&key, m.bytes(), None).to_string()).into();
        let bundles = found.map(bundle).collect();
        Subject::new(manifest, Ok(Vec::new())).with_bundles(Ok(bundles))
    };
    let file = TrustFile::parse(FILE.as_bytes()).unwrap();
    let keys = |_: &str| Ok(public_pem(&key));
    let gate = Gate::new(&keys).index_signature(mode).trust(Some(&file));
    let survey = survey([list, one, two].map(subject).into());
    Policy::insecure_accept_anything().admit(survey, &gate)
}

#[test]
fn an_index_counts_as_the_gate_says() {
    let (one, two) = (image("one"), image("two"));
    let list = index(&[&one, &two]);
    for (mode, signed, expected) in [
        (IndexSignature::Ignore, &[&one, &two][..], Some(2)),
        (IndexSignature::Ignore, &[&list], None),
        (IndexSignature::Ignore, &[&list, &one], None),
        (IndexSignature::Accept, &[&list], Some(1)),
        (IndexSignature::Accept, &[&one, &two], Some(3)),
        (IndexSignature::Accept, &[&one], None),
        (IndexSignature::Require, &[&list, &one, &two], Some(3)),
        (IndexSignature::Require, &[&one, &two], None),
        (IndexSignature::Require, &[&list, &one], None),
    ] {
        let found = admit(mode, signed);
        let judged = |admitted: &Admitted<Survey>| {
            admitted.verdict().trust.as_ref().map(|trust| trust.manifests.len())
        };
        assert_eq!(
            found.as_ref().ok().and_then(judged),
            expected,
            "{mode:?} {}: {found:?}",
            signed.len()
        );
    }
    for mode in [IndexSignature::Ignore, IndexSignature::Accept] {
        let refusal = admit(mode, &[&one]).unwrap_err();
        assert!(!refusal.verdict().is_refused_by_policy());
        assert_eq!(
            refusal.to_string(),
            format!(
                "Source image rejected: the trust file does not accept {}: no signature of the accepted form",
                two.digest()
            )
        );
    }
}

/// Neither of the two can let through what the other one refuses, and both are heard.
#[test]
fn both_must_accept() {
    let one = image("one");
    let key = new_key();
    let bundle: StoredBundle = Bytes::from(key_bundle(&key, one.bytes(), None).to_string()).into();
    let accept = Policy::insecure_accept_anything();
    let reject = Policy::parse(br#"{"default": [{"type": "reject"}]}"#).unwrap();
    let file = TrustFile::parse(FILE.as_bytes()).unwrap();
    let keys = |_: &str| Ok(public_pem(&key));
    for (policy, bundles, by_policy, by_file) in [
        (&accept, vec![bundle.clone()], true, true),
        (&accept, Vec::new(), true, false),
        (&reject, vec![bundle.clone()], false, true),
        (&reject, Vec::new(), false, false),
    ] {
        let subject =
            || Subject::new(one.clone(), Ok(Vec::new())).with_bundles(Ok(bundles.clone()));
        let gate = Gate::new(&keys).trust(Some(&file));
        let verdict = policy.judge(&survey(vec![subject()]), &gate);
        assert_eq!(verdict.is_refused_by_policy(), !by_policy);
        assert_eq!(verdict.is_refused_by_trust_file(), !by_file);
        assert_eq!(verdict.accepted, by_policy && by_file);
        let admitted = policy.admit(survey(vec![subject()]), &gate);
        assert_eq!(admitted.is_ok(), by_policy && by_file, "{admitted:?}");
        let text = verdict.to_string();
        let word = if by_file { "trust file: accepted" } else { "trust file: refused" };
        assert!(text.contains(word), "{text}");
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["trust"]["accepted"], by_file);
    }
    let verdict = accept.judge(&survey(vec![Subject::new(one, Ok(Vec::new()))]), &Gate::new(&keys));
    assert!(verdict.accepted && serde_json::to_value(&verdict).unwrap().get("trust").is_none());
}

#[test]
fn nothing_at_all_is_not_accepted() {
    let file = TrustFile::parse(b"version: 1\ndefault: policy-only\n").unwrap();
    let keys = |_: &str| Ok(Vec::new());
    let gate = Gate::new(&keys).trust(Some(&file));
    let verdict = Policy::insecure_accept_anything().judge(&survey(Vec::new()), &gate);
    assert!(verdict.is_refused_by_trust_file() && verdict.is_refused_by_policy());
}

/// Also where nobody has looked, which a forgotten line of code would come to.
#[test]
fn bundles_that_could_not_be_fetched_refuse() {
    let file = FILE.replace("accept: bundle, ", "");
    let file = TrustFile::parse(file.as_bytes()).unwrap();
    let keys = |_: &str| Ok(public_pem(&new_key()));
    let gate = Gate::new(&keys).trust(Some(&file));
    let subject = Subject::new(image("one"), Ok(Vec::new()));
    let failed = subject.clone().with_bundles(Err(FetchFailure("500".to_owned())));
    for (subject, expected) in [(failed, "500"), (subject, "not looked for")] {
        let refusal = Policy::insecure_accept_anything().admit(survey(vec![subject]), &gate);
        let refusal = refusal.unwrap_err().to_string();
        assert!(
            refusal.ends_with(&format!("bundles could not be fetched: {expected}")),
            "{refusal}"
        );
    }
}

#[test]
fn a_bundle_of_a_schema_1_image_is_about_its_payload() {
    let path = "/../../testdata/converted/schema1-rich/source.manifest.json";
    let text = std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let manifest = read(text);
    assert_ne!(manifest.digested(), manifest.bytes());
    let (key, file) = (new_key(), TrustFile::parse(FILE.as_bytes()).unwrap());
    let keys = |_: &str| Ok(public_pem(&key));
    for (bytes, accepted) in [(manifest.digested(), true), (manifest.bytes(), false)] {
        let bundle = Bytes::from(key_bundle(&key, bytes, None).to_string()).into();
        let subject = Subject::new(manifest.clone(), Ok(Vec::new()));
        let found = survey(vec![subject.with_bundles(Ok(vec![bundle]))]);
        let gate = Gate::new(&keys).trust(Some(&file));
        let admitted = Policy::insecure_accept_anything().admit(found, &gate);
        assert_eq!(admitted.is_ok(), accepted, "{admitted:?}");
    }
}
