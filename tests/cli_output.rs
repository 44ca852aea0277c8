//! What is shown besides results: progress, help, completions, manual pages; and signatures beside a registry.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::serve::Served;
use cli::{Place, image, listing};
use serde_json::Value;

#[test]
fn progress_as_json_is_one_object_a_line() {
    let place = Place::new();
    image::single(&place.path("image"));
    let run = place.ok("copy --progress json --json oci:image:v1 oci:out:v1");
    let events: Vec<Value> = run.err.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "planned");
    assert_eq!(events[0]["bytes"], 390);
    for kind in ["started", "finished"] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), 4, "{kinds:?}");
    }
    let sizes = events
        .iter()
        .filter(|event| event["event"] == "started")
        .map(|e| e["size"].as_u64().unwrap());
    let moved = events
        .iter()
        .filter(|event| event["event"] == "finished")
        .map(|e| e["bytes"].as_u64().unwrap());
    assert!(moved.sum::<u64>() >= 390 && sizes.sum::<u64>() > 390);
    serde_json::from_str::<Value>(&run.out).unwrap();
    place.ok("copy -q oci:image:v1 oci:out:v1 --additional-tag v2");
    let usage = place.run("copy -q --progress json dir:a dir:b");
    assert_eq!(usage.err, "securecp: error: --quiet and --progress exclude each other\n");
}

#[test]
fn help_goes_to_standard_output_and_is_no_failure() {
    let place = Place::new();
    for line in ["--help", "copy --help", "help copy", "inspect -h", "--version"] {
        let run = place.run(line);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{line}");
        assert!(!run.out.is_empty());
    }
    let help = place.run("copy --help").out;
    for heading in [
        "What is copied:",
        "What is changed:",
        "Reaching the source:",
        "How hard to try:",
        "Output:",
    ] {
        assert!(help.contains(heading), "{heading}");
    }
    assert!(place.run("--version").out.starts_with("securecp 0."));
}

#[test]
fn completions_and_manual_pages_come_from_the_table() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = place.run(&format!("completion {shell}"));
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(run.out.contains("preserve-digests"), "{shell}");
    }
    let run = place.run("man pages");
    assert_eq!(run.code, 0, "{run:?}");
    let pages = listing(&place.path("pages"));
    assert_eq!(run.out.lines().count(), pages.len());
    for page in ["securecp.1", "securecp-copy.1", "securecp-inspect.1"] {
        assert!(pages.iter().any(|found| found == page), "{pages:?}");
    }
    let copy = String::from_utf8(place.read("pages/securecp-copy.1")).unwrap();
    assert!(copy.contains("preserve\\-digests"), "{copy}");
    assert_eq!(place.run("completion tcsh").code, 64);
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let place = Place::new();
    image::single(&place.path("image"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["inspect", "oci:image:v1"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("securecp: error: writing the result: "), "{err}");
}

#[test]
fn signatures_of_a_registry_image_live_where_registries_d_says() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let at = |tag: &str| format!("docker://{}/a/b:{tag}", served.address);
    let config = format!(
        "docker:\n  {}: {{lookaside: 'file://{}'}}\n",
        served.address,
        place.path("sigs").display()
    );
    place.write("registries.d/here.yaml", config);
    place.ok("copy -q oci:image:v1 dir:signed");
    let signature = [&[0x90_u8][..], b"an OpenPGP message"].concat();
    place.write("signed/signature-1", &signature);
    let there = format!("--registries.d registries.d --dest-tls-verify=false {}", at("v1"));
    place.ok(&format!("copy -q dir:signed {there}"));
    let file = format!("sigs/a/b@{}/signature-1", digest.replace(':', "="));
    assert_eq!(place.read(&file), signature);
    let back = format!("--registries.d registries.d --src-tls-verify=false {}", at("v1"));
    place.ok(&format!("copy -q {back} dir:back"));
    assert_eq!(place.read("back/signature-1"), signature);
    let run = place.run(&format!("copy -q --policy accept.json {back} oci:plain:v1"));
    assert!(run.code == 1 && run.err.contains("cannot hold the 1 signatures"), "{run:?}");
    place.write("registries.d/here.yaml", "docker: [");
    let run = place.run(&format!("copy -q --policy accept.json {back} dir:other"));
    assert!(run.code == 1 && run.err.contains("here.yaml"), "{run:?}");
    assert!(!place.exists("other"));
}

#[test]
fn a_shared_blob_directory_holds_the_blobs_of_layouts() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    std::fs::create_dir(place.path("blobs")).unwrap();
    place.ok("copy -q --dest-shared-blob-dir blobs oci:image:v1 oci:out:v1");
    assert!(place.exists(&format!("blobs/sha256/{}", &digest[7..])));
    place.ok("copy -q --src-shared-blob-dir blobs oci:out:v1 dir:back");
    assert_eq!(image::digest(&place.read("back/manifest.json")), digest);
    assert_eq!(place.run("inspect --shared-blob-dir blobs oci:out:v1").code, 0);
    assert_ne!(place.run("inspect oci:out:v1").code, 0);
}
