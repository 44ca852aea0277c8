//! The main job on real input: an image of Debian packages, pushed by Debian's skopeo to Debian's docker-registry, copied
//! by securecp through every transport, and read by skopeo at every step.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::debian_image::debian_image;
use support::registry::DockerRegistry;
use support::run::{securecp, skopeo};
use support::tree;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The digest that skopeo computes for what `image` names.
fn skopeo_digest(image: &str) -> String {
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", image]);
    support::sha256(raw.stdout.as_slice())
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn copies_a_debian_image_through_every_transport() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let layout = at("image");
    debian_image(&layout);
    let (staging, production) = (DockerRegistry::start(), DockerRegistry::start());
    let (staged, produced) = (staging.image("app/image"), production.image("app/image"));
    skopeo(&[
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &format!("oci:{}:v1", text(&layout)),
        &format!("{staged}:v1"),
    ]);
    let digest = skopeo_digest(&format!("{staged}:v1"));

    // registry -> oci, beside what skopeo writes for the same copy
    let (ours, theirs) = (at("ours-oci"), at("theirs-oci"));
    securecp(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("{staged}:v1"),
        &format!("oci:{}:v1", text(&ours)),
    ]);
    skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("{staged}:v1"),
        &format!("oci:{}:v1", text(&theirs)),
    ]);
    assert_eq!(tree::files(&ours.join("blobs")), tree::files(&theirs.join("blobs")));
    assert_layout_bytes(&ours, &digest);
    // skopeo 1.9.3 writes the same but for the media type, which the current reference adds
    let mut index = tree::json(&ours.join("index.json"));
    index.as_object_mut().unwrap().remove("mediaType").unwrap();
    assert_eq!(index, tree::json(&theirs.join("index.json")));
    assert_eq!(skopeo_digest(&format!("oci:{}:v1", text(&ours))), digest);

    // oci -> another registry
    securecp(&[
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &format!("oci:{}:v1", text(&ours)),
        &format!("{produced}:v2"),
    ]);
    assert_eq!(skopeo_digest(&format!("{produced}:v2")), digest);

    // registry -> dir, beside what skopeo writes
    let (ours, theirs) = (at("ours-dir"), at("theirs-dir"));
    securecp(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("{produced}:v2"),
        &format!("dir:{}", text(&ours)),
    ]);
    skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("{produced}:v2"),
        &format!("dir:{}", text(&theirs)),
    ]);
    assert_eq!(tree::files(&ours), tree::files(&theirs));

    // dir -> registry, then everything of it read by skopeo once more
    securecp(&[
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &format!("dir:{}", text(&ours)),
        &format!("{staged}:v3"),
    ]);
    assert_eq!(skopeo_digest(&format!("{staged}:v3")), digest);
    let last = at("last");
    skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("{staged}:v3"),
        &format!("dir:{}", text(&last)),
    ]);
    assert_eq!(tree::files(&last), tree::files(&theirs));
}

/// `oci-layout` and `index.json` to the byte as the current reference writes them.
fn assert_layout_bytes(layout: &Path, digest: &str) {
    let read = |name: &str| std::fs::read_to_string(layout.join(name)).unwrap();
    assert_eq!(read("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let hex = digest.strip_prefix("sha256:").unwrap();
    let size = std::fs::metadata(layout.join("blobs/sha256").join(hex)).unwrap().len();
    assert_eq!(
        read("index.json"),
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{digest}","size":{size},"annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#
        )
    );
}

#[test]
fn copies_one_platform_as_skopeo_does() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let layout = at("image");
    debian_image(&layout);
    let source = format!("oci:{}:v1", text(&layout));
    for arch in ["amd64", "arm64"] {
        let (ours, theirs) = (at(&format!("ours-{arch}")), at(&format!("theirs-{arch}")));
        securecp(&[
            "copy",
            "--override-arch",
            arch,
            "--override-os",
            "linux",
            &source,
            &format!("dir:{}", text(&ours)),
        ]);
        skopeo(&[
            "--override-arch",
            arch,
            "--override-os",
            "linux",
            "copy",
            &source,
            &format!("dir:{}", text(&theirs)),
        ]);
        assert_eq!(tree::files(&ours), tree::files(&theirs), "{arch}");
    }
}

#[test]
fn a_second_copy_of_the_same_image_sends_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let layout = scratch.path().join("image");
    debian_image(&layout);
    let registry = DockerRegistry::start();
    let source = format!("oci:{}:v1", text(&layout));
    let destination = format!("{}:v1", registry.image("app/image"));
    let copy = || {
        let run = securecp(&[
            "copy",
            "--all",
            "--json",
            "--dest-tls-verify=false",
            &source,
            &destination,
        ]);
        serde_json::from_slice::<serde_json::Value>(&run.stdout).unwrap()
    };
    let (first, second) = (copy(), copy());
    assert!(first["bytesSent"].as_u64().unwrap() > 100_000);
    assert_eq!(second["bytesSent"], 0);
    assert_eq!(first["digest"], second["digest"]);
    let writes = registry.log_lines(&["POST", "PATCH", "PUT"]);
    let again = copy();
    assert_eq!(again["digest"], first["digest"]);
    assert_eq!(
        registry.log_lines(&["POST", "PATCH", "PUT"]),
        writes,
        "no write for an image that is there"
    );
}
