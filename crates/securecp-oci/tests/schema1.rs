//! Schema 1 manifests are read strictly from their payload and converted into the bytes of the reference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::path::PathBuf;

use bytes::Bytes;
use securecp_oci::{
    Algorithm, ConvertError, Declared, Descriptor, Digest, ManifestError, ManifestFormat,
    MediaType, RawManifest, Schema1, Schema1Error,
};
use serde_json::{Value, json};

fn vector(case: &str, name: &str) -> Bytes {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/converted");
    let path = root.join(case).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn read(bytes: impl Into<Bytes>) -> Result<Schema1, Schema1Error> {
    Schema1::read(bytes.into(), Declared::default())
}

/// Layers with their sizes and the diffIDs, which only a copy can know, from what skopeo made.
fn facts(case: &str) -> (Vec<Descriptor>, Vec<Digest>) {
    let made = RawManifest::read(vector(case, "skopeo.v2s2.manifest.json"), Declared::default());
    let config: Value = serde_json::from_slice(&vector(case, "skopeo.v2s2.config.json")).unwrap();
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let ids = ids.iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    (made.unwrap().image().unwrap().layers.clone(), ids)
}

#[test]
fn becomes_what_skopeo_makes_of_it() {
    for case in ["schema1-rich", "schema1-old", "schema1-bare", "schema1-slim"] {
        let found = read(vector(case, "source.manifest.json")).unwrap();
        let (layers, ids) = facts(case);
        let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
        assert_eq!(found.layers().collect::<Vec<_>>(), digests, "{case}");
        for (to, name) in [(ManifestFormat::Docker, "v2s2"), (ManifestFormat::Oci, "oci")] {
            let made = found.convert(&layers, &ids, to).unwrap();
            let expected = vector(case, &format!("skopeo.{name}.config.json"));
            assert_eq!(made.config.unwrap(), expected, "{case} {name}");
            let sealed = made.document.seal(&made.media_type).unwrap();
            let expected = vector(case, &format!("skopeo.{name}.manifest.json"));
            assert_eq!(*sealed.bytes(), expected, "{case} {name}");
        }
    }
}

#[test]
fn has_the_digest_of_its_payload() {
    // As `skopeo manifest-digest` prints them.
    for (case, digest) in [
        ("schema1-rich", "sha256:530ab38b9485149881aac1c163a0b740ef20ba78cf26c6e95a4961808867ae7a"),
        ("schema1-old", "sha256:00e3c298470f7a41d9bc0a0cc6512ecdbc798bf8a4cce94f2e0d56f40cfc1112"),
    ] {
        let bytes = vector(case, "source.manifest.json");
        let digest: Digest = digest.parse().unwrap();
        let declared = Declared { digest: Some(&digest), ..Declared::default() };
        let found = Schema1::read(bytes.clone(), declared).unwrap();
        assert_eq!((found.digest(), found.bytes()), (&digest, &bytes));
        let other = Digest::of(Algorithm::Sha256, &bytes);
        let wrong = Declared { digest: Some(&other), ..Declared::default() };
        let refused = Schema1::read(bytes.clone(), wrong);
        assert_eq!(refused.is_err(), other != digest, "{case}");
        let short = Declared { size: Some(1), ..Declared::default() };
        assert!(matches!(
            Schema1::read(bytes, short),
            Err(Schema1Error::Manifest(ManifestError::SizeMismatch { expected: 1, .. }))
        ));
    }
}

#[test]
fn is_a_manifest_named_by_its_payload() {
    let bytes = vector("schema1-rich", "source.manifest.json");
    let digest = read(bytes.clone()).unwrap().digest().clone();
    for media_type in [None, Some("text/plain"), Some(MediaType::DOCKER_SCHEMA1_SIGNED.as_str())] {
        let declared = Declared { media_type, digest: Some(&digest), size: None };
        let found = RawManifest::read(bytes.clone(), declared).unwrap();
        assert_eq!((found.digest(), found.bytes()), (&digest, &bytes));
        assert_eq!(found.media_type(), &MediaType::DOCKER_SCHEMA1_SIGNED);
        assert!(found.is_named(&digest) && found.image().is_none() && found.index().is_none());
        let whole = Digest::of(Algorithm::Sha256, &bytes);
        assert!(!found.is_named(&whole));
        let wrong = Declared { digest: Some(&whole), ..declared };
        let refused = RawManifest::read(bytes.clone(), wrong);
        assert!(matches!(refused, Err(ManifestError::DigestMismatch { .. })), "{media_type:?}");
    }
    let oci = MediaType::OCI_MANIFEST;
    // Under another format's name it is no manifest, whatever its payload is called.
    let declared = Declared { media_type: Some(oci.as_str()), digest: Some(&digest), size: None };
    assert!(RawManifest::read(bytes, declared).is_err());
    let broken =
        RawManifest::read(manifest(2, |d| d["history"] = json!([])).into(), Declared::default());
    assert!(matches!(broken, Err(ManifestError::Schema1(_))));
}

#[test]
fn reads_nothing_from_beside_the_payload() {
    let signed = vector("schema1-rich", "source.manifest.json");
    let honest = read(signed.clone()).unwrap();
    // The reference's JSON reader would take the last `fsLayers`; the digest covers the first.
    let text = String::from_utf8(signed.to_vec()).unwrap();
    let forged = text.replacen(r#","signatures""#, r#","fsLayers":[],"signatures""#, 1);
    assert!(matches!(read(forged), Err(Schema1Error::Manifest(ManifestError::Json(_)))));
    let forged = text.replacen(r#","signatures""#, r#","other":[],"signatures""#, 1);
    let found = read(forged).unwrap();
    assert_eq!(found.digest(), honest.digest());
    assert_eq!(found.layers().collect::<Vec<_>>(), honest.layers().collect::<Vec<_>>());
}

/// A manifest of `count` entries, `change` applied to the document.
fn manifest(count: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let id = |n: usize| format!("{n:064x}");
    let digest = Digest::of(Algorithm::Sha256, b"");
    let newest_first = (0..count).rev();
    let history = newest_first.map(|n| {
        let parent = if n == 0 { String::new() } else { id(n - 1) };
        json!({"v1Compatibility": json!({"id": id(n), "parent": parent}).to_string()})
    });
    let mut document = json!({
        "schemaVersion": 1,
        "architecture": "amd64",
        "fsLayers": vec![json!({"blobSum": digest}); count],
        "history": history.collect::<Vec<_>>(),
    });
    change(&mut document);
    document.to_string().into_bytes()
}

fn set_entry(document: &mut Value, n: usize, entry: &Value) {
    document["history"][n]["v1Compatibility"] = entry.to_string().into();
}

#[test]
fn refuses_what_the_reference_refuses() {
    assert!(read(manifest(3, |_| {})).is_ok());
    let broken = [
        manifest(0, |_| {}),
        manifest(2, |d| d["schemaVersion"] = 2.into()),
        manifest(2, |d| d["fsLayers"] = json!([])),
        manifest(2, |d| d["fsLayers"][0] = json!({"blobSum": "sha256:00"})),
        manifest(2, |d| d["fsLayers"][0] = json!({})),
        manifest(2, |d| d["history"][1] = json!({"v1Compatibility": 1})),
        manifest(2, |d| d["history"][1] = json!({"v1Compatibility": "{}x"})),
        manifest(2, |d| d["history"][1] = json!({"v1Compatibility": "{\"id\":1,\"id\":2}"})),
        manifest(2, |d| set_entry(d, 0, &json!({"id": "ABC"}))),
        manifest(2, |d| set_entry(d, 0, &json!({"id": "0".repeat(63) + "é"}))),
        manifest(2, |d| set_entry(d, 0, &json!({"id": "f".repeat(64), "parent": "f".repeat(64)}))),
        manifest(2, |d| set_entry(d, 1, &json!({"id": "0".repeat(64), "parent": "f".repeat(64)}))),
        manifest(3, |d| {
            set_entry(d, 0, &json!({"id": "0".repeat(64), "parent": format!("{:064x}", 1)}))
        }),
        manifest(2, |d| set_entry(d, 1, &json!({"id": "0".repeat(64), "created": "now"}))),
        manifest(2, |d| {
            set_entry(d, 1, &json!({"id": "0".repeat(64), "container_config": {"Cmd": "x"}}))
        }),
        manifest(2, |d| set_entry(d, 1, &json!({"id": "0".repeat(64), "ID": "x"}))),
        manifest(2, |d| d["layers"] = json!([])),
        manifest(2, |d| d["Manifests"] = json!([])),
        manifest(2, |d| d["FSLayers"] = json!([])),
        manifest(2, |d| d["fsLayer\u{17f}"] = Value::Null),
        manifest(2, |d| d["fsLayers"][0]["BlobSum"] = json!("sha256:00")),
        manifest(2, |d| d["history"][0]["V1Compatibility"] = Value::Null),
        // Without its signatures a document has another digest.
        manifest(2, |d| d["Signatures"] = json!([])),
        manifest(2, |d| d["\u{17f}ignatures"] = Value::Null),
        manifest(2, |d| set_entry(d, 1, &json!({"id": "0".repeat(64), "Throwaway": null}))),
        b"[]".to_vec(),
        Vec::new(),
        vec![b' '; (4 << 20) + 1],
    ];
    for bytes in broken {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        assert!(read(bytes).is_err(), "{shown}");
    }
}

#[test]
fn refuses_signatures_that_name_no_single_payload() {
    const GOOD: &str = "eyJmb3JtYXRMZW5ndGgiOjEsImZvcm1hdFRhaWwiOiJmUSJ9";
    for signatures in [
        json!([]),
        json!({}),
        json!([{}]),
        json!([{"protected": "!"}]),
        json!([{"protected": "e30"}]),
        json!([{"protected": "eyJmb3JtYXRMZW5ndGgiOi0xLCJmb3JtYXRUYWlsIjoiZlEifQ"}]),
        json!([{"protected": "eyJmb3JtYXRMZW5ndGgiOjk5OTk5OTksImZvcm1hdFRhaWwiOiJmUSJ9"}]),
        json!([{"protected": GOOD}, {"protected": "eyJmb3JtYXRMZW5ndGgiOjIsImZvcm1hdFRhaWwiOiJmUSJ9"}]),
    ] {
        let found = read(manifest(1, |d| d["signatures"] = signatures.clone()));
        assert!(matches!(found, Err(Schema1Error::Jws(_))), "{signatures}");
    }
    // One byte and a brace make a document without anything in it.
    let found = read(manifest(1, |d| d["signatures"] = json!([{"protected": GOOD}])));
    assert!(matches!(found, Err(Schema1Error::Version)));
}

#[test]
fn wants_one_layer_and_one_diff_id_for_each_entry_with_files() {
    let found = read(manifest(2, |_| {})).unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"");
    let layer = Descriptor::new(MediaType::DOCKER_LAYER_GZIP, digest.clone(), 0);
    for (layers, ids) in [(1, 2), (2, 1), (3, 3), (0, 0)] {
        let (layers, ids) = (vec![layer.clone(); layers], vec![digest.clone(); ids]);
        assert!(matches!(
            found.convert(&layers, &ids, ManifestFormat::Docker),
            Err(ConvertError::LayerCount { expected: 2, .. })
        ));
    }
    let zstd = Descriptor::new(MediaType::OCI_LAYER_ZSTD, digest.clone(), 0);
    let (layers, ids) = (vec![zstd; 2], vec![digest; 2]);
    let made = found.convert(&layers, &ids, ManifestFormat::Oci).unwrap();
    let sealed = made.document.seal(&made.media_type).unwrap();
    assert_eq!(sealed.image().unwrap().layers[1].media_type, MediaType::OCI_LAYER_ZSTD);
    assert!(matches!(
        found.convert(&layers, &ids, ManifestFormat::Docker),
        Err(ConvertError::Zstd(_))
    ));
}
