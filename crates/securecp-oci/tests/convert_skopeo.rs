//! Random Docker configurations, converted by us and by Debian's skopeo: where both convert, the bytes are equal.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use securecp_oci::{Algorithm, Declared, Digest, ManifestFormat, RawManifest, convert_image};
use serde_json::{Map, Value, json};

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just("".to_owned()),
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        Just("é<&>\u{2028}\u{1}\t\n\"\\".to_owned()),
    ]
    .prop_map(Value::from)
}

fn time() -> impl Strategy<Value = Value> {
    let fraction = prop_oneof![Just(String::new()), "[.][0-9]{1,12}"];
    let zone = prop_oneof![Just("Z".to_owned()), "[+-](0[0-9]|1[0-4]):[0-5][0-9]"];
    let date = (1_u32..9999, 1_u32..13, 1_u32..29, 0_u32..24, 0_u32..60, 0_u32..60);
    (date, fraction, zone).prop_map(|((y, m, d, h, min, s), fraction, zone)| {
        format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}{fraction}{zone}").into()
    })
}

fn texts() -> impl Strategy<Value = Value> {
    prop::collection::vec(prop_oneof![9 => text(), 1 => Just(Value::Null)], 0..4)
        .prop_map(Value::from)
}

fn map(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z0-9/<]{0,6}", value, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().rev().collect()))
}

fn flag() -> impl Strategy<Value = Value> {
    any::<bool>().prop_map(Value::from)
}

/// Some of the members, now and then null or of the wrong type.
fn object(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let one = |(key, good): (&'static str, BoxedStrategy<Value>)| {
        let value = prop_oneof![
            30 => good.prop_map(Some),
            20 => Just(None),
            3 => Just(Some(Value::Null)),
            1 => Just(Some(json!(7))),
        ];
        value.prop_map(move |value| value.map(|value| (key.to_owned(), value)))
    };
    let all: Vec<_> = members.into_iter().map(one).collect();
    all.prop_map(|found| Value::Object(found.into_iter().flatten().collect::<Map<_, _>>()))
}

fn config() -> impl Strategy<Value = Value> {
    let set = || map(prop_oneof![Just(json!({})), Just(Value::Null)]);
    let settings = object(vec![
        ("Hostname", text().boxed()),
        ("User", text().boxed()),
        ("ExposedPorts", set().boxed()),
        ("Env", texts().boxed()),
        ("Cmd", texts().boxed()),
        ("Entrypoint", texts().boxed()),
        ("Volumes", set().boxed()),
        ("WorkingDir", text().boxed()),
        ("Labels", map(text()).boxed()),
        ("StopSignal", text().boxed()),
        ("ArgsEscaped", flag().boxed()),
        ("OnBuild", texts().boxed()),
    ]);
    let history = object(vec![
        ("created", time().boxed()),
        ("created_by", text().boxed()),
        ("author", text().boxed()),
        ("comment", text().boxed()),
        ("empty_layer", flag().boxed()),
    ]);
    let id = Digest::of(Algorithm::Sha256, b"").to_string();
    let rootfs = json!({"type": "layers", "diff_ids": [id]});
    object(vec![
        ("created", time().boxed()),
        ("author", text().boxed()),
        ("architecture", Just(json!("amd64")).boxed()),
        ("os", Just(json!("linux")).boxed()),
        ("variant", text().boxed()),
        ("os.version", text().boxed()),
        ("os.features", texts().boxed()),
        ("docker_version", text().boxed()),
        ("config", settings.boxed()),
        ("rootfs", Just(rootfs).boxed()),
        ("history", prop::collection::vec(history, 0..4).prop_map(Value::from).boxed()),
    ])
}

/// Writes a `dir:` image without layers.
fn write_image(folder: &Path, config: &[u8]) -> RawManifest {
    let digest = Digest::of(Algorithm::Sha256, config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(),
            "digest": digest,
        },
        "layers": [],
    });
    let manifest = manifest.to_string();
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    std::fs::write(folder.join("manifest.json"), &manifest).unwrap();
    std::fs::write(folder.join(digest.hex()), config).unwrap();
    RawManifest::read(manifest.into(), Declared::default()).unwrap()
}

/// What skopeo makes of it: configuration and manifest, if anything.
fn skopeo(from: &Path, to: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let status = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--format", "oci"])
        .arg(format!("dir:{}", from.display()))
        .arg(format!("dir:{}", to.display()))
        .env("TZ", "UTC")
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("skopeo is needed by this test: {error}"));
    status.success().then(|| {
        let manifest = std::fs::read(to.join("manifest.json")).unwrap();
        let read = RawManifest::read(manifest.clone().into(), Declared::default()).unwrap();
        let name = read.image().unwrap().config.digest.hex().to_owned();
        (std::fs::read(to.join(name)).unwrap(), manifest)
    })
}

#[test]
fn converts_random_configurations_as_skopeo_does() {
    let mut runner = TestRunner::deterministic();
    let strategy = config();
    let folder = tempfile::tempdir().unwrap();
    let mut both = 0;
    for n in 0..40 {
        let config = strategy.new_tree(&mut runner).unwrap().current().to_string();
        let from = folder.path().join(format!("from-{n}"));
        let raw = write_image(&from, config.as_bytes());
        let theirs = skopeo(&from, &folder.path().join(format!("to-{n}")));
        let ours = convert_image(&raw, &[], config.as_bytes(), ManifestFormat::Oci);
        match (theirs, ours) {
            (Some((their_config, their_manifest)), Ok(ours)) => {
                let sealed = ours.document.seal(&ours.media_type).unwrap();
                let ours = String::from_utf8(ours.config.unwrap().to_vec()).unwrap();
                assert_eq!(ours, String::from_utf8(their_config).unwrap(), "{config}");
                assert_eq!(sealed.bytes(), &their_manifest, "{config}");
                both += 1;
            }
            (None, Err(_)) => {}
            (theirs, ours) => panic!("{config}\nskopeo {theirs:?}\nours {ours:?}"),
        }
    }
    assert!(both > 10, "only {both} conversions compared");
}
