//! The manifest beside an image that carries its signatures.

use bytes::Bytes;
use securecp_oci::{
    Algorithm, Attachment, AttachmentError, Declared, Digest, NewAttachment, RawManifest,
    Signature, attachment_tag,
};
use securecp_trust::{SigstoreKey, SigstoreSigner};
use serde_json::{Value, json};

use crate::material::*;

const FOLDER: &str = "sigstore/attachment-sigstore/blobs/sha256";
const SIGSTORE: &str = Signature::SIGSTORE_MEDIA_TYPE;

fn blob(digest: &Digest) -> Bytes {
    Bytes::from(testdata(&format!("{FOLDER}/{}", digest.hex())))
}

/// The manifest that the reference pushed, from the layout in the vectors.
fn vector() -> Attachment {
    let index: Value =
        serde_json::from_slice(&testdata("sigstore/attachment-sigstore/index.json")).unwrap();
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    let declared = Declared { digest: Some(&digest), ..Declared::default() };
    Attachment::read(blob(&digest), declared).unwrap()
}

fn vector_signature() -> Signature {
    vector().signature(0, blob(&vector().layers()[0].digest)).unwrap()
}

/// A signature that no other test made.
fn fresh() -> Signature {
    let signer = SigstoreSigner::new(SigstoreKey::generate().unwrap());
    bare(b"payload", &signer.sign_bytes(b"payload").unwrap())
}

fn read(manifest: &RawManifest) -> Attachment {
    Attachment::read(manifest.bytes().clone(), Declared::default()).unwrap()
}

fn first(signatures: &[Signature]) -> NewAttachment {
    Attachment::first(signatures).unwrap().unwrap()
}

fn altered(attachment: &Attachment, change: impl Fn(&mut Value)) -> Bytes {
    let mut value: Value = serde_json::from_slice(attachment.manifest().bytes()).unwrap();
    change(&mut value);
    Bytes::from(value.to_string())
}

#[test]
fn the_tag_is_made_from_the_digest() {
    let tag = attachment_tag(manifest().digest()).unwrap();
    assert_eq!(tag.as_str(), format!("sha256-{}.sig", manifest().digest().hex()));
    assert!(attachment_tag(&Digest::of(Algorithm::Sha512, b"")).is_err(), "no tag is so long");
}

#[test]
fn what_the_reference_pushed_is_a_signature_that_counts() {
    assert_eq!(vector().layers().len(), 1);
    let verdict = judge_folder(&text("trust/policy-sigstore.json"), vec![vector_signature()]);
    assert_eq!(outcome(&verdict), "accepted", "{verdict}");
}

#[test]
fn the_same_signature_gives_the_reference_s_bytes() {
    let made = first(&[vector_signature()]);
    assert_eq!(made.manifest.bytes(), vector().manifest().bytes());
    assert_eq!(made.config.bytes, blob(&vector().config().digest));
    assert_eq!(made.payloads.len(), 1);
    assert_eq!(made.payloads[0].bytes, blob(&vector().layers()[0].digest));
    assert_eq!(made.payloads[0].descriptor, vector().layers()[0]);
}

#[test]
fn an_identical_signature_is_not_added_again() {
    let made = first(&[vector_signature(), vector_signature()]);
    assert_eq!(read(&made.manifest).layers().len(), 1);
    let again = vector().with(&blob(&vector().config().digest), &[vector_signature()]);
    assert!(again.unwrap().is_none());
    assert!(vector().with(&blob(&vector().config().digest), &[]).unwrap().is_none());
    assert!(Attachment::first(&[]).unwrap().is_none());
    assert!(vector().has(&[vector_signature()]).unwrap() && vector().has(&[]).unwrap());
    assert!(!vector().has(&[vector_signature(), fresh()]).unwrap());
}

#[test]
fn any_other_annotation_makes_another_signature() {
    let Signature::Sigstore { media_type, payload, mut annotations } = vector_signature() else {
        panic!()
    };
    annotations.insert("more".to_owned(), "x".to_owned());
    let other = Signature::Sigstore { media_type, payload, annotations };
    let config = blob(&vector().config().digest);
    let made = vector().with(&config, std::slice::from_ref(&other)).unwrap().unwrap();
    assert_eq!(read(&made.manifest).layers().len(), 2);
    let again = read(&made.manifest).with(&made.config.bytes, &[other]).unwrap();
    assert!(again.is_none());
}

#[test]
fn adding_keeps_what_another_writer_put_there() {
    let dsse = "application/vnd.dsse.envelope.v1+json";
    let bytes = altered(&vector(), |manifest| {
        let mut foreign = manifest["layers"][0].clone();
        foreign["mediaType"] = json!(format!("{dsse}; v=1"));
        foreign["unknown"] = json!({"z": 1, "a": 2});
        manifest["layers"].as_array_mut().unwrap().insert(0, foreign);
        manifest["annotations"] = json!({"k": "v"});
        manifest["unknown"] = json!([1]);
    });
    let config = json!({
        "created": "2026-01-01T00:00:00Z", "architecture": "", "os": "",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:0", 7]}, "unknown": 1,
    });
    let config = config.to_string();
    let attachment = Attachment::read(bytes, Declared::default()).unwrap();
    let bytes = altered(&attachment, |manifest| {
        let digest = Digest::of(Algorithm::Sha256, config.as_bytes());
        manifest["config"]["digest"] = json!(digest.to_string());
        manifest["config"]["size"] = json!(config.len());
    });
    let attachment = Attachment::read(bytes, Declared::default()).unwrap();
    let new = fresh();
    let made = attachment.with(config.as_bytes(), std::slice::from_ref(&new)).unwrap().unwrap();
    let (before, after): (Value, Value) = (
        serde_json::from_slice(attachment.manifest().bytes()).unwrap(),
        serde_json::from_slice(made.manifest.bytes()).unwrap(),
    );
    for key in ["annotations", "unknown", "schemaVersion", "mediaType"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    let layers = after["layers"].as_array().unwrap();
    assert_eq!(layers[..2], before["layers"].as_array().unwrap()[..]);
    assert_eq!((layers.len(), layers[2]["mediaType"].as_str()), (3, Some(SIGSTORE)));
    let config: Value = serde_json::from_slice(&made.config.bytes).unwrap();
    assert_eq!(
        (&config["unknown"], &config["created"]),
        (&json!(1), &json!("2026-01-01T00:00:00Z"))
    );
    let payload = Digest::of(Algorithm::Sha256, b"payload").to_string();
    assert_eq!(config["rootfs"]["diff_ids"], json!(["sha256:0", 7, payload]));
    assert_eq!(made.payloads.len(), 1, "what is there is not sent again");
}

#[test]
fn configurations_without_a_list_get_one() {
    let with = |config: Value| {
        let config = config.to_string();
        let bytes = altered(&vector(), |manifest| {
            manifest["config"]["digest"] =
                json!(Digest::of(Algorithm::Sha256, config.as_bytes()).to_string());
            manifest["config"]["size"] = json!(config.len());
        });
        let attachment = Attachment::read(bytes, Declared::default()).unwrap();
        attachment.with(config.as_bytes(), &[fresh()])
    };
    for good in [json!({}), json!({"rootfs": {}}), json!({"rootfs": {"diff_ids": null}})] {
        let made = with(good).unwrap().unwrap();
        let config: Value = serde_json::from_slice(&made.config.bytes).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1);
    }
    for bad in [json!([]), json!({"rootfs": []}), json!({"rootfs": {"diff_ids": {}}})] {
        assert!(matches!(with(bad), Err(AttachmentError::ConfigForm(_))));
    }
}

/// Layers of `.att` and `.sbom` tags, and whatever else stands beside signatures, are carried and never judged.
#[test]
fn attestations_are_never_signatures() {
    let dsse = "application/vnd.dsse.envelope.v1+json";
    let bytes = altered(&vector(), |manifest| manifest["layers"][0]["mediaType"] = json!(dsse));
    let attachment = Attachment::read(bytes, Declared::default()).unwrap();
    let found = attachment.signature(0, blob(&vector().layers()[0].digest)).unwrap();
    let verdict = judge_folder(&text("trust/policy-sigstore.json"), vec![found.clone()]);
    assert!(words(&verdict).ends_with("1 sigstore non-signature attachments)"), "{verdict}");
    let Signature::Sigstore { media_type, .. } = &found else { panic!() };
    assert_eq!(media_type, dsse);
    let parameter = format!("{SIGSTORE};v=1");
    let bytes =
        altered(&vector(), |manifest| manifest["layers"][0]["mediaType"] = json!(parameter));
    let attachment = Attachment::read(bytes, Declared::default()).unwrap();
    let found = attachment.signature(0, blob(&vector().layers()[0].digest)).unwrap();
    let Signature::Sigstore { media_type, .. } = &found else { panic!() };
    assert_eq!(*media_type, parameter, "a media type with a parameter is another one");
    let copied = first(&[found]);
    assert!(std::str::from_utf8(copied.manifest.bytes()).unwrap().contains(&parameter));
}

#[test]
fn bytes_must_be_those_that_the_manifest_names() {
    let attachment = vector();
    let error = attachment.signature(0, Bytes::from_static(b"other")).unwrap_err();
    assert!(error.to_string().starts_with("layer of the sigstore attachment does not match"));
    assert!(matches!(
        attachment.signature(1, Bytes::new()),
        Err(AttachmentError::NoLayer { position: 1 })
    ));
    let error = attachment.with(b"{}", &[fresh()]).unwrap_err();
    assert!(error.to_string().starts_with("configuration of the sigstore attachment does not"));
    let simple = Signature::Simple(Bytes::from_static(b"\xa3"));
    assert!(matches!(Attachment::first(&[simple]), Err(AttachmentError::NotSigstore)));
}

#[test]
fn other_manifests_are_refused() {
    let docker = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"c","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    for text in [docker, index] {
        let error =
            Attachment::read(Bytes::from_static(text.as_bytes()), Declared::default()).unwrap_err();
        assert!(error.to_string().starts_with("unexpected MIME type for sigstore attachment"));
    }
    let error = Attachment::read(Bytes::from_static(b"{"), Declared::default()).unwrap_err();
    assert!(matches!(error, AttachmentError::Manifest(_)));
    let declared = Declared { size: Some(1), ..Declared::default() };
    let bytes = vector().manifest().bytes().clone();
    assert!(Attachment::read(bytes, declared).is_err());
}

/// CVE-2024-29902, CVE-2024-29903: huge and endless attachments.
#[test]
fn cve_2024_29902_layers_are_bounded_in_size_and_number() {
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let bytes = altered(&vector(), |manifest| {
            change(manifest["layers"].as_array_mut().unwrap());
        });
        Attachment::read(bytes, Declared::default()).map(|_| ())
    };
    let repeat =
        |count: usize| move |layers: &mut Vec<Value>| *layers = vec![layers[0].clone(); count];
    with(&repeat(128)).unwrap();
    let error = with(&repeat(129)).unwrap_err();
    assert_eq!(error.to_string(), "sigstore attachment has 129 layers, the limit is 128");
    let sized = |count: usize, size: u64| {
        move |layers: &mut Vec<Value>| {
            layers[0]["size"] = json!(size);
            *layers = vec![layers[0].clone(); count];
        }
    };
    with(&sized(16, 4 << 20)).unwrap();
    assert!(matches!(with(&sized(17, 4 << 20)), Err(AttachmentError::TooLarge { .. })));
    assert!(matches!(
        with(&sized(1, (4 << 20) + 1)),
        Err(AttachmentError::LayerTooLarge { position: 0, .. })
    ));
    assert!(with(&sized(128, u64::MAX)).is_err());
    let many: Vec<Signature> = (0..129).map(|n: u8| bare(&[n], b"x")).collect();
    assert!(matches!(Attachment::first(&many), Err(AttachmentError::TooManyLayers { found: 129 })));
}
