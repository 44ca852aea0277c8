//! `securecp copy` as a whole command: exit code, standard output, standard error, and what is left on the disk.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::{Place, image, listing};
use securecp_oci::MediaType;
use securecp_testkit::{Blob, Fixture};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn says_what_it_copied_on_standard_error_only() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    let run = place.ok("copy oci:image:v1 dir:out");
    assert_eq!(run.out, "");
    let last = run.err.lines().last().unwrap();
    assert_eq!(last, format!("copied oci:image:v1 to dir:out: {digest} (390 B sent)"));
    assert_eq!(run.err.lines().filter(|line| line.starts_with("copying blob sha256:")).count(), 3);
    let again = place.ok("copy --quiet oci:image:v1 dir:again");
    assert_eq!((again.out.as_str(), again.err.as_str()), ("", ""));
    assert_eq!(image::digest(&place.read("again/manifest.json")), digest);
}

#[test]
fn json_result_names_every_manifest() {
    let place = Place::new();
    let digest = image::two_platforms(&place.path("image"));
    let run = place.ok("copy --all --quiet --json oci:image:v1 oci:out:v1");
    assert!(run.out.ends_with("}\n") && run.err.is_empty(), "{run:?}");
    let result = json(&run.out);
    assert_eq!(result["digest"], digest.as_str());
    assert_eq!(result["manifests"].as_array().unwrap().len(), 3);
    assert!(result["bytesSent"].as_u64().unwrap() > 0);
    let again = json(&place.ok("copy --all --quiet --json oci:image:v1 oci:out:v1").out);
    assert_eq!(again["bytesSent"], 0);
    assert_eq!(again["digest"], digest.as_str());
}

#[test]
fn one_platform_all_or_only_the_index() {
    let place = Place::new();
    let digest = image::two_platforms(&place.path("image"));
    let copied = |options: &str| {
        let line = format!(
            "copy -q --json {options} oci:image:v1 oci:{}:v1",
            image::digest(options.as_bytes())[7..].to_owned()
        );
        json(&place.ok(&line).out)
    };
    let arm = copied("--override-os linux --override-arch arm64");
    assert_eq!(arm["manifests"].as_array().unwrap().len(), 1);
    assert_ne!(arm["digest"], digest.as_str());
    assert_eq!(copied("--multi-arch=all")["digest"], digest.as_str());
    let index = copied("--multi-arch index-only");
    assert_eq!((index["digest"].as_str(), index["bytesSent"].as_u64()), (Some(&*digest), Some(0)));
    place.fails(
        "copy --policy accept.json --override-os plan9 --override-arch amd64 oci:image:v1 dir:x",
        1,
        &[
            "securecp: error: initializing source oci:image:v1: no image found in manifest list for architecture \
             \"amd64\", variant \"\", OS \"plan9\"",
            "hint: platforms there: linux/amd64, linux/arm64; --platform, or --override-os, --override-arch and \
             --override-variant, choose another image, --all copies every one",
        ],
    );
    assert!(!place.exists("x"));
}

#[test]
fn a_dry_run_shows_the_plan_and_makes_nothing() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    let run = place.ok("copy --dry-run oci:image:v1 oci:out:v1");
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines[0], "plan: oci:image:v1 to oci:out:v1, nothing is changed");
    assert_eq!(lines[1], "ACTION          SIZE  WHAT");
    assert_eq!(lines[6], format!("name                  oci:out:v1 -> {digest}"));
    assert_eq!(lines[7], "390 B to move");
    assert!(!place.exists("out"));
    let plan = json(&place.ok("copy --dry-run --json oci:image:v1 oci:out:v1").out);
    assert_eq!(plan["dryRun"], true);
    assert_eq!(plan["digest"], digest.as_str());
    assert_eq!(plan["bytesToMove"], 390);
    let actions = plan["blobs"].as_array().unwrap().iter().map(|blob| &blob["action"]);
    assert!(actions.eq(["copy"; 3].iter()));
    assert_eq!(plan["names"][0]["moves"], true);
    assert!(!place.exists("out"));
    place.ok("copy oci:image:v1 oci:out:v1");
    let plan = json(&place.ok("copy --dry-run --json oci:image:v1 oci:out:v1").out);
    assert_eq!((&plan["bytesToMove"], &plan["names"][0]["moves"]), (&0.into(), &false.into()));
}

#[test]
fn additional_tags_stand_beside_the_name() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    place.ok("copy oci:image:v1 oci:out:v1 --additional-tag v2,v3 --additional-tag v4");
    let index = json(&String::from_utf8(place.read("out/index.json")).unwrap());
    let names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(entry["digest"], digest.as_str());
            entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(names.len(), 4);
    assert!(["v1", "v2", "v3", "v4"].iter().all(|name| names.contains(name)), "{names:?}");
}

#[test]
fn the_digestfile_holds_the_bare_digest() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    place.ok("copy -q --digestfile d.txt oci:image:v1 dir:out");
    assert_eq!(place.read("d.txt"), digest.as_bytes());
    place.fails(
        "copy --policy accept.json --digestfile none/d.txt oci:image:v1 dir:other",
        1,
        &["securecp: error: --digestfile none/d.txt: none is not a directory"],
    );
    assert!(!place.exists("other"), "seen before the copy");
}

#[test]
fn a_refused_image_exits_3_and_leaves_nothing() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.fails(
        "copy --policy reject.json oci:image:v1 dir:out",
        3,
        &[
            "securecp: error: the policy does not admit this image: Source image rejected: Running image \
             oci:[DIR]/image is rejected by policy.",
            "hint: the entry default of the trust policy decided; change it only if you trust this image",
        ],
    );
    place.fails(
        "--require-signed copy --policy accept.json oci:image:v1 dir:out",
        3,
        &[
            "securecp: error: the policy does not admit this image: Source image rejected: No signature verification \
             policy found for image oci:[DIR]/image",
            "hint: the entry default of the trust policy decided; change it only if you trust this image",
        ],
    );
    assert!(!place.exists("out"));
}

#[test]
fn without_a_policy_nothing_is_copied() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.fails(
        "copy --policy none.json oci:image:v1 dir:out",
        1,
        &["securecp: error: loading trust policy none.json: No such file or directory (os error 2)"],
    );
    place.write(
        "broken.json",
        r#"{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}"#,
    );
    let run = place.run("copy --policy broken.json oci:image:v1 dir:out");
    assert_eq!(run.code, 1);
    assert!(
        run.err.starts_with("securecp: error: loading trust policy broken.json: "),
        "{}",
        run.err
    );
    place.write("home/.config/containers/policy.json", r#"{"default":[{"type":"reject"}]}"#);
    assert_eq!(place.run("copy oci:image:v1 dir:out").code, 3, "the user's policy is found");
    place.write("home/.config/containers/policy.json", "{}");
    assert_eq!(place.run("copy oci:image:v1 dir:out").code, 1, "a broken one is not passed over");
    assert!(!place.exists("out"));
}

#[test]
fn an_insecure_policy_is_loud() {
    let place = Place::new();
    image::single(&place.path("image"));
    let run = place.run("copy --quiet --insecure-policy oci:image:v1 dir:out");
    assert_eq!(run.code, 0);
    assert_eq!(
        run.err,
        "securecp: warning: --insecure-policy: NO TRUST POLICY APPLIES, images are copied without being judged\n"
    );
}

#[test]
fn an_image_that_does_not_exist_exits_2() {
    let place = Place::new();
    image::single(&place.path("image"));
    for line in ["oci:image:v9 dir:out", "oci:none:v1 dir:out", "dir:none oci:out:v1"] {
        let run = place.run(&format!("copy --policy accept.json {line}"));
        assert_eq!(run.code, 2, "{line}: {run:?}");
        assert!(run.err.starts_with("securecp: error: initializing source "), "{}", run.err);
        assert!(run.err.contains(" not found in "), "{}", run.err);
        assert!(run.err.contains("\nhint: "), "{}", run.err);
    }
    assert_eq!(listing(&place.path(".")), ["accept.json", "image", "reject.json"]);
}

#[test]
fn usage_mistakes_exit_64() {
    let place = Place::new();
    for (line, err) in [
        ("copy", "the following required arguments were not provided: <SOURCE> <DESTINATION>..."),
        ("copy dir:a", "the following required arguments were not provided: <DESTINATION>..."),
        ("inspect dir:a dir:b", "unexpected argument 'dir:b' found"),
        ("copy dir:a dir:b --fast", "unexpected argument '--fast' found"),
        (
            "copy a dir:b",
            "source: Invalid image name \"a\", expected colon-separated transport:reference",
        ),
        (
            "copy dir:a tape:b",
            "destination: Invalid image name \"tape:b\", unknown transport \"tape\"",
        ),
        ("copy dir:a dir:b --all --multi-arch all", "--all and --multi-arch exclude each other"),
        (
            "copy dir:a dir:b --src-creds u:p --src-no-creds",
            "--src-creds and --src-no-creds exclude each other",
        ),
        (
            "copy dir:a dir:b --src-tls-verify=false",
            "--src-tls-verify has no effect on dir:a, only on docker: and docker-daemon: images",
        ),
        (
            "copy dir:a dir:b --authfile f",
            "--authfile has no effect on dir:a and dir:b, only on docker: images",
        ),
        (
            "inspect oci:a --daemon-host unix:///s",
            "--daemon-host has no effect on oci:a, only on docker-daemon: images",
        ),
        ("copy dir:a dir:b --dest-username u", "--dest-username needs --dest-password as well"),
        (
            "copy dir:a dir:b --additional-tag v1",
            "--additional-tag: dir:b has no tags, expected a docker: or oci: destination",
        ),
        (
            "copy dir:a dir:b --command-timeout 5",
            "invalid value '5' for '--command-timeout <TIME>': expected a duration such as 100ms, 30s or 1m30s",
        ),
        (
            "copy dir:a dir:b --src-tls-verify=maybe",
            "invalid value 'maybe' for '--src-tls-verify[=<BOOL>]': expected true or false",
        ),
        (
            "copy dir:a dir:b --sign-by-sq-fingerprint KEY",
            "--sign-by-sq-fingerprint is not supported yet",
        ),
        (
            "copy dir:a dir:b --insecure-policy --require-signed",
            "--require-signed and --insecure-policy exclude each other",
        ),
        ("sync --dest dir a b", "A source transport must be specified"),
        ("fly", "unrecognized subcommand 'fly'"),
    ] {
        let run = place.run(line);
        assert_eq!(run.err.lines().next().unwrap(), format!("securecp: error: {err}"), "{line}");
        assert_eq!((run.code, run.out.as_str()), (64, ""), "{line}");
    }
}

#[test]
fn secrets_on_the_command_line_are_never_repeated() {
    let place = Place::new();
    for line in [
        "copy dir:a dir:b --src-creds :hunter2",
        "copy dir:a dir:b --dest-password hunter2",
        "copy dir:a dir:b --src-creds user:hunter2",
        "copy docker://127.0.0.1:1/a dir:b --insecure-policy --debug --src-registry-token hunter2",
        "copy docker://127.0.0.1:1/a dir:b --insecure-policy --log-level trace --src-creds user:hunter2",
    ] {
        let run = place.run(line);
        assert_ne!(run.code, 0);
        assert!(!format!("{run:?}").contains("hunter2"), "{run:?}");
    }
}

#[test]
fn an_altered_blob_is_named_with_its_side() {
    let place = Place::new();
    image::single(&place.path("image"));
    let digest = image::own_layer("amd64");
    let path = image::blob(&place.path("image"), &digest);
    std::fs::write(&path, "the layer of amd65").unwrap();
    let run = place.run("copy -q --policy accept.json oci:image:v1 dir:out");
    assert_eq!(run.code, 1);
    let found = image::digest(b"the layer of amd65");
    assert_eq!(
        run.err,
        format!(
            "securecp: error: writing blob source oci:image:v1: Digest did not match: blob altered, expected {digest}, \
             found {found}\n"
        )
    );
    std::fs::write(&path, "the layer of").unwrap();
    let run = place.run("copy -q --policy accept.json oci:image:v1 dir:out");
    assert!(run.err.contains(&digest) && run.code == 1, "{}", run.err);
    assert!(!place.exists("out"));
    assert_eq!(
        listing(&place.path(".")),
        ["accept.json", "image", "reject.json"],
        "no temporary folder is left"
    );
}

#[test]
fn an_unwritable_destination_is_named_with_its_side() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.write("file", "x");
    for (to, side) in [
        ("dir:file", "destination dir:file"),
        ("oci:file:v1", "destination oci:file:v1"),
        ("dir:none/x", "destination dir:none/x"),
    ] {
        let run = place.run(&format!("copy -q --policy accept.json oci:image:v1 {to}"));
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains(side), "{}", run.err);
    }
    assert_eq!(place.read("file"), b"x");
}

#[test]
fn a_time_limit_ends_the_copy() {
    let place = Place::new();
    image::single(&place.path("image"));
    let run = place.run("copy -q --policy accept.json --command-timeout 1ns oci:image:v1 dir:out");
    assert_eq!(run.code, 1);
    assert!(run.err.contains("the time limit of 1ns is over"), "{}", run.err);
    assert!(run.err.contains("hint: --command-timeout sets the time limit"), "{}", run.err);
    assert!(!place.exists("out"));
}

#[test]
fn signatures_are_never_dropped_silently() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.ok("copy -q oci:image:v1 dir:signed");
    place.write("signed/signature-1", [&[0x90_u8][..], b"an OpenPGP message"].concat());
    let run = place.run("copy -q --policy accept.json dir:signed oci:out:v1");
    assert_eq!(run.code, 1);
    assert!(run.err.contains("cannot hold the 1 signatures"), "{}", run.err);
    assert!(
        run.err.ends_with("hint: --remove-signatures copies the image without them\n"),
        "{}",
        run.err
    );
    assert!(!place.exists("out"));
    place.ok("copy -q --remove-signatures dir:signed oci:out:v1");
    place.ok("copy -q dir:signed dir:carried");
    assert_eq!(place.read("carried/signature-1"), place.read("signed/signature-1"));
}

#[test]
fn a_plan_says_what_changes_and_what_stays_behind() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    let run = place.ok("copy --dry-run --dest-compress-format gzip oci:image:v1 oci:out:v1");
    let layer = format!("blob {}, recompressed to gzip", image::own_layer("amd64"));
    assert!(run.out.lines().any(|line| line.ends_with(&layer)), "{}", run.out);
    let why = format!(
        "manifest {digest}, gets another digest: layer 0 becomes gzip, layer 1 becomes gzip"
    );
    assert!(run.out.lines().any(|line| line.ends_with(&why)), "{}", run.out);
    let plan = json(
        &place.ok("copy --dry-run --json --dest-compress-format gzip oci:image:v1 oci:out:v1").out,
    );
    assert_eq!(plan["digest"], Value::Null);
    assert_eq!(plan["manifests"][0]["changes"][1], "layer 1 becomes gzip");
    assert_eq!(plan["blobs"][0]["changes"][0], "recompressed to gzip");
    place.fails(
        "copy --policy accept.json --preserve-digests --dest-compress-format gzip oci:image:v1 oci:out:v1",
        1,
        &[
            &format!(
                "securecp: error: planning for this copy: Instructed to preserve digests, but {digest} would change: \
                 layer 0 becomes gzip, layer 1 becomes gzip"
            ),
            "hint: without --preserve-digests the image is changed",
        ],
    );
    place.ok("copy -q oci:image:v1 dir:signed");
    place.write("signed/signature-1", [&[0x90_u8][..], b"an OpenPGP message"].concat());
    let run = place.ok("copy --dry-run --remove-signatures dir:signed oci:out:v1");
    assert!(
        run.out.contains(&format!("leave                 1 signature of {digest}\n")),
        "{}",
        run.out
    );
    let plan = json(&place.ok("copy --dry-run --json dir:signed dir:out").out);
    assert_eq!(plan["signatures"][0]["carried"], 1);
    assert!(!place.exists("out"));
}

const PUBLIC_KEY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/crypt/keys/rsa-a.pub.pem");

/// An image in `layout` of which one layer is only to be had from elsewhere.
fn with_a_layer_elsewhere(layout: &std::path::Path) {
    let mut layer =
        image::keep(layout, "application/vnd.oci.image.layer.nondistributable.v1.tar", b"far");
    std::fs::remove_file(image::blob(layout, layer["digest"].as_str().unwrap())).unwrap();
    layer["urls"] = serde_json::json!(["https://elsewhere.example/far"]);
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [layer["digest"]]});
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs});
    let config = image::keep(layout, image::CONFIG, config.to_string().as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": image::MANIFEST,
        "config": config,
        "layers": [layer],
    });
    let entry = image::keep(layout, image::MANIFEST, manifest.to_string().as_bytes());
    image::name(layout, "v1", entry);
}

#[test]
fn a_plan_refuses_what_the_place_cannot_hold() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.ok(&format!("copy -q --encryption-key jwe:{PUBLIC_KEY} oci:image:v1 oci:secret:v1"));
    let chart =
        Blob::new(MediaType::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip"), "chart");
    let chart = Fixture::artifact("application/vnd.cncf.helm.config.v1+json", chart, None);
    chart.write_layout(&place.path("chart"), Some("v1")).unwrap();
    with_a_layer_elsewhere(&place.path("far"));
    for (from, to, says) in [
        (
            "secret",
            "docker-archive:a.tar",
            "has a layer of type application/vnd.oci.image.layer.v1.tar+encrypted",
        ),
        (
            "chart",
            "docker-archive:a.tar",
            "has a configuration of type application/vnd.oci.empty.v1+json",
        ),
        (
            "far",
            "docker-archive:a.tar",
            "it is only named by URL there, and is not fetched from elsewhere",
        ),
        ("far", "dir:a.tar", "it is only named by URL there, and is not fetched from elsewhere"),
    ] {
        for option in ["--dry-run", "-q"] {
            let run = place.run(&format!("--policy accept.json copy {option} oci:{from}:v1 {to}"));
            assert!(run.code == 1 && run.err.contains(says), "{from} {to} {option}: {run:?}");
            assert_eq!(run.err.matches(to).count().max(1), 1, "{run:?}");
            assert!(!place.exists("a.tar"));
        }
    }
    place.ok("copy -q oci:far:v1 oci:near:v1");
}

#[test]
fn compression_of_what_is_encrypted_has_no_effect() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.ok(&format!("copy -q --encryption-key jwe:{PUBLIC_KEY} oci:image:v1 oci:secret:v1"));
    let run = place
        .run("--policy accept.json copy -q --dest-compress-format zstd oci:secret:v1 oci:out:v1");
    let says = "the compression asked for cannot take effect: none of the layers is a file system layer in the clear";
    assert!(run.code == 1 && run.err.contains(says), "{run:?}");
    assert!(!place.exists("out"));
    let key = PUBLIC_KEY.replace(".pub.pem", ".pem");
    let line = "copy -q --dest-compress-format zstd oci:secret:v1 oci:out:v1";
    place.ok(&format!("{line} --decryption-key {key}"));
}

#[test]
fn names_against_the_grammar_of_their_transport_are_wrong_usage() {
    let place = Place::new();
    image::single(&place.path("image"));
    let both = format!("docker://h.example/a:v1@sha256:{}", "0".repeat(64));
    for to in [both.as_str(), "oci:d:@0", "oci:d:..", "oci:d:-x", "docker-archive:a.tar:@0"] {
        let run = place.run(&format!("copy --policy accept.json oci:image:v1 {to}"));
        assert_eq!((run.code, run.out.as_str()), (64, ""), "{to}: {run:?}");
        assert!(run.err.starts_with("securecp: error: destination: "), "{to}: {}", run.err);
        assert!(run.err.contains("\nhint: "), "{to}: {}", run.err);
    }
    let run = place.run(&format!("copy --policy accept.json {both} dir:out"));
    assert_eq!(run.code, 64, "{run:?}");
    assert!(run.err.starts_with("securecp: error: source: "), "{}", run.err);
}

#[test]
fn an_archive_of_another_kind_is_named() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.ok("copy -q oci:image:v1 docker-archive:docker.tar:x:v1");
    place.ok("copy -q oci:image:v1 oci-archive:oci.tar:v1");
    for (from, says) in [
        ("oci-archive:docker.tar", "found an archive of docker save, which docker-archive: reads"),
        ("docker-archive:oci.tar", "found an OCI layout, which oci-archive: reads"),
    ] {
        let run = place.run(&format!("copy --policy accept.json {from} dir:out"));
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
        assert!(run.err.contains(says), "{}", run.err);
    }
}

#[test]
fn a_blob_that_the_source_lacks_has_its_own_hint() {
    let place = Place::new();
    image::single(&place.path("image"));
    let index: serde_json::Value = serde_json::from_slice(&place.read("image/index.json")).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = std::fs::read(image::blob(&place.path("image"), digest)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    std::fs::remove_file(image::blob(&place.path("image"), layer)).unwrap();
    let run = place.run("copy -q --policy accept.json oci:image:v1 dir:out");
    assert_eq!(run.code, 1, "{run:?}");
    let hint = "hint: the source does not have all that the image names; ";
    assert!(run.err.contains(hint), "{}", run.err);
}

#[test]
fn numbers_and_files_of_options_are_named_with_what_is_wrong() {
    let place = Place::new();
    image::single(&place.path("image"));
    for (options, says) in [
        (
            "--retry-times x",
            "invalid value 'x' for '--retry-times <N>': expected a whole number, 0 or more\n",
        ),
        ("--tls-details nofile", "--tls-details: configuring access TLS: nofile: "),
    ] {
        let run = place.run(&format!("copy --policy accept.json {options} oci:image:v1 dir:out"));
        assert!(run.err.starts_with(&format!("securecp: error: {says}")), "{}", run.err);
    }
    for bad in ["--policy=", "--trust=", "--digestfile="] {
        let run = place.run(&format!("copy {bad} oci:image:v1 dir:out"));
        assert_eq!(run.code, 64, "{run:?}");
        let option = bad.trim_end_matches('=');
        let says = format!("securecp: error: {option}: the value is empty\nhint: ");
        assert!(run.err.starts_with(&says), "{}", run.err);
    }
    assert!(!place.exists("out"));
}

#[test]
fn help_for_somebody_who_has_seen_enough_is_no_failure() {
    let place = Place::new();
    let mut command = place.command(&["copy", "--help"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
