//! A trust file over everything that a policy has admitted.

use bytes::Bytes;
use securecp_oci::{Declared, Digest, ImageIdentity, RawManifest};
use securecp_trust::{
    FetchFailure, Gate, IndexSignature, Judged, Policy, Subject, TrustFile, TrustRefusal,
};

use crate::lab::*;
use crate::material::NAME;

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

/// What comes of an index with two images of which `signed` have a bundle.
fn confirm(mode: IndexSignature, signed: &[&RawManifest]) -> Result<usize, TrustRefusal> {
    let (key, one, two) = (new_key(), image("one"), image("two"));
    let list = index(&[&one, &two]);
    let subject = |manifest| Subject { manifest, signatures: Ok(Vec::new()) };
    let survey = Survey {
        identity: ImageIdentity::docker(&NAME.parse().unwrap()),
        subjects: [list, one, two].map(subject).into(),
    };
    let file = "version: 1\nsigners: {a: {key: k, dangerous-no-log: true}}\ndefault: {accept: bundle, require: a}\n";
    let file = TrustFile::parse(file.as_bytes()).unwrap();
    let keys = |_: &str| Ok(public_pem(&key));
    let gate = Gate::new(&keys).index_signature(mode);
    let bundles = |digest: &Digest| {
        let found = signed.iter().filter(|manifest| manifest.digest() == digest);
        let bundle = |m: &&RawManifest| {
            let bundle = key_bundle(&key, m.bytes(), None);
            Bytes::from(bundle.to_string())
        };
        Ok(found.map(bundle).collect())
    };
    let admitted = Policy::insecure_accept_anything().admit(survey, &gate).unwrap();
    file.confirm(admitted, &gate, &bundles).map(|(_, verdicts)| verdicts.len())
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
        let found = confirm(mode, signed);
        assert_eq!(found.as_ref().ok().copied(), expected, "{mode:?} {}: {found:?}", signed.len());
    }
    let refusal = confirm(IndexSignature::Ignore, &[&one]).unwrap_err();
    assert_eq!(refusal.verdicts().len(), 2);
    assert_eq!(
        refusal.to_string(),
        format!(
            "source image rejected by the trust file: {}: no signature of the accepted form",
            two.digest()
        )
    );
}

#[test]
fn bundles_that_could_not_be_fetched_refuse() {
    let survey = Survey {
        identity: ImageIdentity::docker(&NAME.parse().unwrap()),
        subjects: vec![Subject { manifest: image("one"), signatures: Ok(Vec::new()) }],
    };
    let file =
        "version: 1\nsigners: {a: {key: k, dangerous-no-log: true}}\ndefault: {require: a}\n";
    let file = TrustFile::parse(file.as_bytes()).unwrap();
    let keys = |_: &str| Ok(public_pem(&new_key()));
    let gate = Gate::new(&keys);
    let admitted = Policy::insecure_accept_anything().admit(survey, &gate).unwrap();
    let bundles = |_: &Digest| Err(FetchFailure("500".to_owned()));
    let refusal = file.confirm(admitted, &gate, &bundles).map(|_| ()).unwrap_err();
    assert!(refusal.to_string().ends_with("bundles could not be fetched: 500"), "{refusal}");
}
