//! Conversions give the bytes of the reference, and refuse what has no form.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::path::PathBuf;

use bytes::Bytes;
use securecp_oci::{
    Algorithm, ConvertError, Converted, Declared, Descriptor, Digest, LOST_LIMIT, ManifestFormat,
    MediaType, Platform, RawManifest, convert_image, convert_index,
};
use serde_json::{Value, json};

fn vector(case: &str, name: &str) -> Bytes {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/converted");
    let path = root.join(case).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn manifest(bytes: Bytes) -> RawManifest {
    RawManifest::read(bytes, Declared::default()).unwrap()
}

fn other(raw: &RawManifest) -> ManifestFormat {
    match ManifestFormat::of(raw.media_type()).unwrap() {
        ManifestFormat::Oci => ManifestFormat::Docker,
        ManifestFormat::Docker => ManifestFormat::Oci,
    }
}

fn converted(case: &str) -> Converted {
    let raw = manifest(vector(case, "source.manifest.json"));
    let config = vector(case, "source.config.json");
    convert_image(&raw, &raw.image().unwrap().layers, &config, other(&raw)).unwrap()
}

#[test]
fn images_become_what_skopeo_makes_of_them() {
    for case in ["rich", "poor", "empty", "plain", "foreign", "oci"] {
        let found = converted(case);
        let config = found.config.unwrap_or_else(|| vector(case, "source.config.json"));
        assert_eq!(config, vector(case, "skopeo.config.json"), "{case}");
        let sealed = found.document.seal(&found.media_type).unwrap();
        assert_eq!(*sealed.bytes(), vector(case, "skopeo.manifest.json"), "{case}");
    }
}

#[test]
fn indexes_become_what_skopeo_makes_of_them() {
    let host = Platform::new("linux", "amd64");
    for (case, children) in
        [("list", &["rich", "plain"][..]), ("index", &["oci"]), ("index-no-platform", &["oci"])]
    {
        let raw = manifest(vector(case, "source.manifest.json"));
        let mut found = convert_index(&raw, other(&raw), Some(&host)).unwrap();
        for (n, child) in children.iter().enumerate() {
            let child = converted(child);
            let child = child.document.seal(&child.media_type).unwrap();
            found.document.set_entry("manifests", n, &child.descriptor()).unwrap();
        }
        let sealed = found.document.seal(&found.media_type).unwrap();
        assert_eq!(*sealed.bytes(), vector(case, "skopeo.manifest.json"), "{case}");
    }
}

#[test]
fn says_what_is_lost() {
    let lost = converted("rich").lost;
    for path in [
        "docker_version",
        "container_config",
        "config.Healthcheck",
        "config.OnBuild",
        "rootfs.extra",
    ] {
        assert!(lost.iter().any(|found| found == path), "{path} {lost:?}");
    }
    assert!(!lost.iter().any(|found| found == "config.Cmd"));
    assert_eq!(converted("oci").lost, ["annotations", "layers[1].annotations"]);
    let list = manifest(vector("list", "source.manifest.json"));
    let list = convert_index(&list, ManifestFormat::Oci, None).unwrap();
    assert_eq!(list.lost, ["manifests[0].platform.features"]);
    let index = manifest(vector("index", "source.manifest.json"));
    let index = convert_index(&index, ManifestFormat::Docker, None).unwrap();
    assert_eq!(index.lost, ["annotations", "manifests[0].annotations"]);
}

/// An image manifest of one layer, and its configuration.
fn image(format: ManifestFormat, layer: &str, config: &Value) -> (RawManifest, Vec<u8>) {
    let config = config.to_string().into_bytes();
    let digest = Digest::of(Algorithm::Sha256, &config);
    let text = json!({
        "schemaVersion": 2,
        "mediaType": format.manifest().as_str(),
        "config": {"mediaType": format.config().as_str(), "size": config.len(), "digest": digest},
        "layers": [{"mediaType": layer, "size": 1, "digest": digest}],
    });
    (manifest(text.to_string().into()), config)
}

fn try_image(
    format: ManifestFormat,
    layer: &str,
    config: &Value,
) -> Result<Converted, ConvertError> {
    let (raw, config) = image(format, layer, config);
    convert_image(&raw, &raw.image().unwrap().layers, &config, other(&raw))
}

const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

#[test]
fn refuses_layers_without_a_form() {
    use ManifestFormat::{Docker, Oci};
    let config = json!({});
    let layer = |name: &str| format!("application/vnd.oci.image.layer.{name}");
    for name in ["v1.tar+zstd", "nondistributable.v1.tar+zstd"] {
        assert!(matches!(try_image(Oci, &layer(name), &config), Err(ConvertError::Zstd(_))));
    }
    for name in ["v1.tar+gzip+encrypted", "v1.tar+zstd+encrypted", "v9+encrypted"] {
        assert!(matches!(try_image(Oci, &layer(name), &config), Err(ConvertError::Encrypted(_))));
    }
    for (format, name) in [(Oci, "application/x"), (Oci, ""), (Docker, "application/x")] {
        let refused = try_image(format, name, &config);
        assert!(matches!(refused, Err(ConvertError::UnknownLayer(_))), "{name}");
    }
    // Docker has a name for zstd that is read and never written.
    let zstd = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    let found = try_image(Docker, zstd, &config).unwrap();
    let sealed = found.document.seal(&found.media_type).unwrap();
    assert_eq!(sealed.image().unwrap().layers[0].media_type, MediaType::OCI_LAYER_ZSTD);
    assert!(matches!(try_image(Oci, zstd, &config), Err(ConvertError::Zstd(_))));
}

#[test]
fn takes_layers_as_they_will_be() {
    let (raw, config) = image(ManifestFormat::Docker, DOCKER_GZIP, &json!({}));
    let digest = Digest::of(Algorithm::Sha256, b"made");
    let mut made = Descriptor::new(MediaType::OCI_LAYER_ZSTD, digest.clone(), 4);
    made.annotations.insert("a".to_owned(), "<b>".to_owned());
    let found = convert_image(&raw, &[made], &config, ManifestFormat::Oci).unwrap();
    let sealed = found.document.seal(&found.media_type).unwrap();
    let layer = &sealed.image().unwrap().layers[0];
    assert_eq!((&layer.digest, layer.size), (&digest, 4));
    assert!(String::from_utf8_lossy(sealed.bytes()).contains("\\u003cb\\u003e"));

    let (raw, config) = image(ManifestFormat::Oci, "application/x", &json!({}));
    let mut made = Descriptor::new(MediaType::OCI_LAYER_GZIP, digest, 4);
    made.annotations.insert("a".to_owned(), "b".to_owned());
    let found = convert_image(&raw, &[made], &config, ManifestFormat::Docker).unwrap();
    let sealed = found.document.seal(&found.media_type).unwrap();
    assert!(sealed.image().unwrap().layers[0].annotations.is_empty());
    assert!(matches!(
        convert_image(&raw, &[], &config, ManifestFormat::Docker),
        Err(ConvertError::LayerCount { expected: 1, found: 0 })
    ));
}

#[test]
fn refuses_what_is_no_image_or_needs_no_conversion() {
    let (raw, config) = image(ManifestFormat::Oci, OCI_GZIP, &json!({}));
    let layers = &raw.image().unwrap().layers;
    let same = convert_image(&raw, layers, &config, ManifestFormat::Oci);
    assert!(matches!(same, Err(ConvertError::Same(ManifestFormat::Oci))));
    let foreign = convert_image(&raw, layers, b"{ }", ManifestFormat::Docker);
    assert!(matches!(foreign, Err(ConvertError::ConfigDigest { .. })));
    assert!(matches!(
        convert_index(&raw, ManifestFormat::Docker, None),
        Err(ConvertError::NotAnIndex)
    ));
    let artifact = String::from_utf8_lossy(raw.bytes()).replace("image.config", "empty");
    let artifact = manifest(artifact.into());
    assert!(matches!(
        convert_image(&artifact, layers, &config, ManifestFormat::Docker),
        Err(ConvertError::Artifact(_))
    ));
    let index = manifest(vector("index-no-platform", "source.manifest.json"));
    assert!(matches!(
        convert_image(&index, &[], b"", ManifestFormat::Docker),
        Err(ConvertError::NotAnImage)
    ));
    assert!(matches!(
        convert_index(&index, ManifestFormat::Docker, None),
        Err(ConvertError::NoPlatform(0))
    ));
    assert!(matches!(
        convert_index(&index, ManifestFormat::Oci, None),
        Err(ConvertError::Same(ManifestFormat::Oci))
    ));
}

#[test]
fn refuses_configurations_that_go_would_refuse_or_read_otherwise() {
    for bad in [
        json!([]),
        json!({"created": "yesterday"}),
        json!({"created": 1}),
        json!({"author": 1}),
        json!({"os.features": "x"}),
        json!({"config": []}),
        json!({"config": {"Env": "A=1"}}),
        json!({"config": {"Env": [1]}}),
        json!({"config": {"ExposedPorts": ["80"]}}),
        json!({"config": {"Volumes": {"/a": 1}}}),
        json!({"config": {"Labels": {"a": 1}}}),
        json!({"config": {"ArgsEscaped": "true"}}),
        json!({"rootfs": {"diff_ids": ["sha256:00"]}}),
        json!({"rootfs": {"diff_ids": {}}}),
        json!({"history": {}}),
        json!({"history": [1]}),
        json!({"history": [{"empty_layer": 1}]}),
        json!({"Config": {}}),
        json!({"config": {"CMD": []}}),
    ] {
        let found = try_image(ManifestFormat::Docker, DOCKER_GZIP, &bad);
        assert!(
            matches!(found, Err(ConvertError::ConfigMember { .. } | ConvertError::Spelling { .. })),
            "{bad}"
        );
    }
    let (raw, _) = image(ManifestFormat::Docker, DOCKER_GZIP, &json!({}));
    for bytes in [r#"{"os":"a","os":"b"}"#, "{} x", ""] {
        let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
        let text = String::from_utf8_lossy(raw.bytes()).replacen(
            &raw.image().unwrap().config.digest.to_string(),
            &digest.to_string(),
            1,
        );
        let raw = manifest(text.into());
        let layers = &raw.image().unwrap().layers;
        let found = convert_image(&raw, layers, bytes.as_bytes(), ManifestFormat::Oci);
        assert!(matches!(found, Err(ConvertError::ConfigJson(_))), "{bytes}");
    }
}

#[test]
fn bounds_what_it_reports() {
    let mut config = serde_json::Map::new();
    for n in 0..1000 {
        config.insert(format!("x{n}\u{1b}[2J"), Value::Null);
    }
    let found = try_image(ManifestFormat::Docker, DOCKER_GZIP, &config.into()).unwrap();
    assert_eq!(found.lost.len(), LOST_LIMIT);
    assert!(!found.lost.iter().any(|path| path.contains('\u{1b}')));
}

#[test]
fn names_formats_as_the_command_line_does() {
    assert_eq!("oci".parse::<ManifestFormat>().unwrap(), ManifestFormat::Oci);
    assert_eq!("v2s2".parse::<ManifestFormat>().unwrap().to_string(), "v2s2");
    assert!(matches!("v2s1".parse::<ManifestFormat>(), Err(ConvertError::Schema1Destination)));
    assert!(matches!("OCI".parse::<ManifestFormat>(), Err(ConvertError::Format(_))));
}
