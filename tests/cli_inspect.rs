//! `securecp inspect` and `manifest-digest` as whole commands.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::{Place, image};

const SUMMARY: &str = r#"{
    "Digest": "[DIGEST]",
    "RepoTags": [],
    "Created": "2026-01-02T03:04:05.6Z",
    "DockerVersion": "",
    "Labels": {
        "a": "first",
        "z": "last"
    },
    "Architecture": "[ARCH]",
    "Os": "linux",
    "Layers": [
        "[SHARED]",
        "[OWN]"
    ],
    "LayersData": [
        {
            "MIMEType": "application/vnd.oci.image.layer.v1.tar",
            "Digest": "[SHARED]",
            "Size": 35,
            "Annotations": null
        },
        {
            "MIMEType": "application/vnd.oci.image.layer.v1.tar",
            "Digest": "[OWN]",
            "Size": 18,
            "Annotations": null
        }
    ],
    "Env": [
        "PATH=/bin",
        "A=\u003cb\u003e\u0026c"
    ]
}
"#;

fn summary(digest: &str, arch: &str) -> String {
    SUMMARY
        .replace("[DIGEST]", digest)
        .replace("[ARCH]", arch)
        .replace("[SHARED]", &image::digest(b"the layer that both platforms share"))
        .replace("[OWN]", &image::own_layer(arch))
}

#[test]
fn shows_the_references_fields_in_the_references_order() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    let run = place.run("inspect oci:image:v1");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(run.out, summary(&digest, "amd64"));
}

#[test]
fn shows_one_platform_under_the_digest_of_the_index() {
    let place = Place::new();
    let digest = image::two_platforms(&place.path("image"));
    for arch in ["amd64", "arm64"] {
        let line = format!("inspect --override-os linux --override-arch {arch} oci:image:v1");
        assert_eq!(place.run(&line).out, summary(&digest, arch));
    }
    place.fails(
        "inspect oci:image:v1 --override-os=plan9 --override-arch=mips",
        1,
        &[
            "securecp: error: image oci:image:v1: no image found in manifest list for platform plan9/mips",
            "hint: --override-os, --override-arch and --override-variant choose another one; --raw shows the list",
        ],
    );
}

#[test]
fn raw_is_byte_for_byte() {
    let place = Place::new();
    let digest = image::two_platforms(&place.path("image"));
    let raw = place.run("inspect --raw oci:image:v1").out;
    assert_eq!(image::digest(raw.as_bytes()), digest);
    let config = place
        .run("inspect --raw --config --override-os linux --override-arch arm64 oci:image:v1")
        .out;
    assert!(config.starts_with(r#"{"created":"2026-01-02T03:04:05.600Z""#), "{config}");
}

#[test]
fn config_is_formatted_as_the_reference_does() {
    let place = Place::new();
    image::single(&place.path("image"));
    let run = place.run("inspect --config oci:image:v1");
    let expected = r#"{
    "created": "2026-01-02T03:04:05.6Z",
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Env": [
            "PATH=/bin",
            "A=\u003cb\u003e\u0026c"
        ],
        "Labels": {
            "a": "first",
            "z": "last"
        }
    },
    "rootfs": {
        "type": "layers",
        "diff_ids": [
            "[SHARED]",
            "[OWN]"
        ]
    }
}
"#;
    let expected = expected
        .replace("[SHARED]", &image::digest(b"the layer that both platforms share"))
        .replace("[OWN]", &image::own_layer("amd64"));
    assert_eq!((run.code, run.out), (0, expected));
}

#[test]
fn an_artifact_shows_raw_only() {
    let place = Place::new();
    let layout = place.path("image");
    let config = image::keep(&layout, "application/vnd.example.thing+json", b"{}");
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": image::MANIFEST, "config": config, "layers": null});
    let entry = image::keep(&layout, image::MANIFEST, manifest.to_string().as_bytes());
    image::name(&layout, "v1", entry);
    assert_eq!(place.run("inspect --raw oci:image:v1").out, manifest.to_string());
    assert_eq!(place.run("inspect --raw --config oci:image:v1").out, "{}");
    for line in ["inspect oci:image:v1", "inspect --config oci:image:v1"] {
        place.fails(
            line,
            1,
            &[
                "securecp: error: oci:image:v1 is an artifact with a configuration of type \
                 application/vnd.example.thing+json, not an image",
                "hint: --raw shows its manifest, --config --raw its configuration",
            ],
        );
    }
}

#[test]
fn never_asks_the_policy() {
    let place = Place::new();
    image::single(&place.path("image"));
    assert_eq!(place.run("inspect --policy none.json oci:image:v1").code, 0);
    place.fails(
        "inspect --insecure-policy --require-signed oci:image:v1",
        64,
        &["securecp: error: --require-signed and --insecure-policy exclude each other"],
    );
}

#[test]
fn common_mistakes() {
    let place = Place::new();
    image::single(&place.path("image"));
    for (line, code, says) in [
        ("inspect", 64, "the following required arguments were not provided: <IMAGE>"),
        ("inspect image", 64, "image: Invalid image name \"image\", expected colon-separated"),
        ("inspect oci:image:v9", 2, "reading the manifest of image oci:image:v9"),
        ("inspect dir:none", 2, "initializing source dir:none"),
        (
            "inspect oci:image:v1 --sign-by-sq-fingerprint KEY",
            64,
            "--sign-by-sq-fingerprint is not supported yet",
        ),
    ] {
        let run = place.run(line);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}: {run:?}");
        assert!(run.err.starts_with(&format!("securecp: error: {says}")), "{line}: {}", run.err);
    }
}

#[test]
fn hostile_configurations_are_errors() {
    let place = Place::new();
    for (number, config) in
        ["[", "{\"os\":1}", "{\"os\":\"a\",\"os\":\"b\"}", "\u{feff}{}"].iter().enumerate()
    {
        let name = format!("image{number}");
        let layout = place.path(&name);
        let config = image::keep(&layout, image::CONFIG, config.as_bytes());
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []});
        let entry = image::keep(&layout, image::MANIFEST, manifest.to_string().as_bytes());
        image::name(&layout, "v1", entry);
        let run = place.run(&format!("inspect oci:{name}:v1"));
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
        let start = format!("securecp: error: configuration of image oci:{name}:v1: ");
        assert!(run.err.starts_with(&start) && run.err.lines().count() == 1, "{}", run.err);
    }
}

#[test]
fn manifest_digest_hashes_any_file() {
    let place = Place::new();
    place.write("m", "not JSON");
    let run = place.run("manifest-digest m");
    assert_eq!((run.code, run.out), (0, format!("{}\n", image::digest(b"not JSON"))));
    place.fails(
        "manifest-digest none",
        1,
        &["securecp: error: reading none: No such file or directory (os error 2)"],
    );
    let usage = place.run("manifest-digest");
    assert_eq!(usage.code, 64);
}

/// A script that pushes what "does not exist" must not take a damaged image for none.
#[test]
fn a_missing_part_is_not_a_missing_image() {
    let place = Place::new();
    image::two_platforms(&place.path("image"));
    assert_eq!(place.run("inspect oci:image:v9").code, 2);
    let index: serde_json::Value = serde_json::from_slice(&place.read("image/index.json")).unwrap();
    let index = index["manifests"][0]["digest"].as_str().unwrap();
    let index = std::fs::read(image::blob(&place.path("image"), index)).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    for entry in index["manifests"].as_array().unwrap() {
        let digest = entry["digest"].as_str().unwrap();
        std::fs::remove_file(image::blob(&place.path("image"), digest)).unwrap();
    }
    let run = place.run("inspect --override-arch amd64 oci:image:v1");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!run.err.contains("hint:"), "{}", run.err);
    let run = place.run("--policy accept.json copy -q --all oci:image:v1 dir:out");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(!run.err.contains("spelled"), "{}", run.err);
}
