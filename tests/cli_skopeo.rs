//! The program as a drop-in for the reference: called by its name, with its exit codes and phrases.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::serve::Served;
use cli::{Place, Run, image};

/// Runs a line with the program called `skopeo`.
fn skopeo(place: &Place, line: &str) -> Run {
    let link = place.path("skopeo");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_securecp"), &link).unwrap();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = place.command_of(&link, &words).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The message of the one line that the reference would log.
fn fatal(run: &Run) -> String {
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    let (time, rest) = run.err.split_once(" level=fatal msg=\"").unwrap();
    assert!(time.starts_with("time=\"20"), "{time}");
    rest.strip_suffix("\"\n").unwrap().replace("\\\"", "\"")
}

#[test]
fn copies_with_the_references_lines_on_standard_output() {
    let place = Place::new();
    image::single(&place.path("image"));
    let run = skopeo(&place, "copy --policy accept.json oci:image:v1 dir:out");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines[0], "Getting image source signatures");
    assert!(
        lines[1].starts_with("Copying blob sha256:")
            && lines[2].starts_with("Copying blob sha256:")
    );
    assert!(lines[3].starts_with("Copying config sha256:"));
    assert_eq!(lines[4..], ["Writing manifest to image destination"]);
    let quiet = skopeo(&place, "copy -q --policy accept.json oci:image:v1 dir:out");
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));
}

#[test]
fn copies_lists_with_the_references_lines() {
    let place = Place::new();
    image::two_platforms(&place.path("image"));
    let run = skopeo(&place, "copy --all --policy accept.json oci:image:v1 oci:out:v1");
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(
        lines[..2],
        ["Getting image list signatures", "Copying 2 images generated from 2 images in list"]
    );
    assert!(lines[2].starts_with("Copying image sha256:") && lines[2].ends_with(" (1/2)"));
    assert_eq!(
        lines[lines.len() - 2..],
        ["Writing manifest list to image destination", "Storing list signatures"]
    );
}

#[test]
fn exit_codes_and_phrases_are_the_references() {
    let place = Place::new();
    image::single(&place.path("image"));
    for (line, code, says) in [
        ("copy dir:a", 1, "Exactly two arguments expected"),
        ("copy dir:a dir:b dir:c", 1, "Exactly two arguments expected"),
        ("inspect", 1, "Exactly one argument expected"),
        ("", 1, "Missing command"),
        ("fly", 1, "Unrecognized command"),
        (
            "copy --policy reject.json oci:image:v1 dir:out",
            1,
            "Source image rejected: Running image oci:",
        ),
        ("copy --policy none.json oci:image:v1 dir:out", 1, "loading trust policy none.json"),
        (
            "copy nowhere dir:out --policy accept.json",
            1,
            "Invalid image name \"nowhere\", expected colon-separated transport:reference",
        ),
        ("inspect oci:image:v9", 2, "v9"),
    ] {
        let run = skopeo(&place, line);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}: {run:?}");
        assert!(fatal(&run).contains(says), "{line}: {}", run.err);
    }
    assert!(!place.exists("out"));
}

/// One table for everything that does not exist: our code, and the reference's.
#[test]
fn what_does_not_exist_has_the_references_codes() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let at = |name: &str| format!("docker://{}/{name}", served.address);
    place.ok(&format!("copy -q --dest-tls-verify=false oci:image:v1 {}", at("a/b:v1")));
    place.ok("copy -q oci:image:v1 docker-archive:image.tar:x:v1");
    place.ok("copy -q oci:image:v1 oci-archive:layout.tar:v1");
    let copy = |from: &str| format!("copy -q --policy accept.json {from} dir:out");
    let remote = "--tls-verify=false";
    for (line, own, reference) in [
        (copy("oci:image:v9"), 2, 2),
        (copy("oci-archive:layout.tar:v9"), 2, 2),
        (copy(&format!("--src-tls-verify=false {}", at("a/b:v9"))), 2, 2),
        ("inspect oci:image:v9".to_owned(), 2, 2),
        (format!("inspect {remote} {}", at("a/b:v9")), 2, 2),
        (copy("oci:nowhere:v1"), 2, 1),
        (copy("oci:image:@7"), 1, 1),
        (copy("oci-archive:nowhere.tar:v1"), 2, 1),
        (copy("docker-archive:nowhere.tar"), 2, 1),
        (copy("docker-archive:image.tar:x:v9"), 2, 1),
        (copy("docker-archive:image.tar:@7"), 1, 1),
        (copy("dir:nowhere"), 2, 1),
        (format!("list-tags {remote} {}", at("none")), 2, 1),
        (format!("delete {remote} {}", at("a/b:v9")), 2, 1),
        ("delete oci:image:v9".to_owned(), 2, 1),
        (copy("--override-arch none oci:image:v1"), 0, 0),
    ] {
        let run = place.run(&line);
        assert_eq!(run.code, own, "{line}: {run:?}");
        place.remove("out");
        let run = skopeo(&place, &line);
        assert_eq!(run.code, reference, "as skopeo: {line}: {run:?}");
        place.remove("out");
        let deleting = line.starts_with("delete");
        assert!(!deleting || fatal(&run).starts_with("Unable to delete"), "{run:?}");
    }
}

#[test]
fn layers_go_into_a_new_directory() {
    let place = Place::new();
    image::single(&place.path("image"));
    let folders = |place: &Place| {
        let all = cli::listing(&place.path(""));
        all.into_iter().filter(|name| name.starts_with("layers-")).collect::<Vec<_>>()
    };
    let run = place.run("layers --policy accept.json oci:image:v1");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.starts_with("securecp: warning: layers is deprecated"), "{run:?}");
    let folder = folders(&place).remove(0);
    assert_eq!(run.out, format!("{folder}\n"));
    let copied = place.ok(&format!("copy -q --json dir:{folder} oci:again:v1"));
    let whole = place.ok("copy -q --json oci:image:v1 oci:other:v1");
    let digest =
        |run: &Run| serde_json::from_str::<serde_json::Value>(&run.out).unwrap()["digest"].clone();
    assert_eq!(digest(&copied), digest(&whole), "nothing is missing or altered");

    let manifest: serde_json::Value =
        serde_json::from_slice(&place.read(&format!("{folder}/manifest.json"))).unwrap();
    let layer = manifest["layers"][1]["digest"].as_str().unwrap().replace("sha256:", "");
    place.remove(&folder);
    let run = skopeo(&place, &format!("layers --policy accept.json oci:image:v1 {layer}"));
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    let folder = folders(&place).remove(0);
    let mut files = cli::listing(&place.path(&folder));
    files.sort();
    let mut expected = vec![layer, "manifest.json".to_owned(), "version".to_owned()];
    expected.sort();
    assert_eq!(files, expected);
    place.remove(&folder);

    for (line, code) in [
        ("layers --policy reject.json oci:image:v1".to_owned(), 3),
        ("layers --policy accept.json oci:image:v9".to_owned(), 2),
        ("layers --policy accept.json oci:image:v1 zz".to_owned(), 64),
        (format!("layers --policy accept.json oci:image:v1 {}", "0".repeat(64)), 1),
    ] {
        let run = place.run(&line);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}: {run:?}");
        assert_eq!(folders(&place), Vec::<String>::new(), "{line}");
    }
    let blob = manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
    place.write(&format!("image/blobs/{blob}"), "something else");
    let run = place.run("layers --policy accept.json oci:image:v1");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert_eq!(folders(&place), Vec::<String>::new(), "nothing of an altered image is kept");
}

#[test]
fn the_exit_codes_alone_can_be_asked_for() {
    let place = Place::new();
    image::single(&place.path("image"));
    let words = ["copy", "--policy", "reject.json", "oci:image:v1", "dir:out"];
    let output = place.command(&words).env("SECURECP_EXIT", "skopeo").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.starts_with(b"securecp: error: "));
    assert_eq!(place.command(&words).output().unwrap().status.code(), Some(3));
}

#[test]
fn options_without_effect_are_warned_of() {
    let place = Place::new();
    image::single(&place.path("image"));
    for options in [
        "--dest-compress",
        "--dest-decompress",
        "--dest-precompute-digests",
        "--additional-tag h.example/x:v2",
        "--src-creds u:p",
        "--dest-tls-verify=false",
        "--authfile f",
    ] {
        let line = format!("copy -q --policy accept.json {options} oci:image:v1 oci:out:v1");
        let run = skopeo(&place, &line);
        assert_eq!(run.code, 0, "{options}: {run:?}");
        assert!(
            run.err.starts_with("securecp: warning: ") && run.err.contains("has no effect on"),
            "{}",
            run.err
        );
        assert_eq!(place.run(&line).code, 64, "{options}");
    }
}

/// What only the image shows: pipelines give the key always, whether or not something is encrypted.
#[test]
fn a_key_that_opens_nothing_is_warned_of() {
    let place = Place::new();
    image::single(&place.path("image"));
    let made = std::process::Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(place.path("key.pem"))
        .arg("2048")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let line = "copy -q --policy accept.json --decryption-key key.pem oci:image:v1 oci:out:v1";
    let run = skopeo(&place, line);
    assert_eq!(run.code, 0, "{run:?}");
    let says = "--decryption-key cannot take effect: no layer is encrypted";
    assert_eq!(run.err, format!("securecp: warning: {says}\n"));
    place.remove("out");
    let run = place.run(line);
    assert!(run.code == 1 && run.err.contains(says), "{run:?}");
    assert!(!place.exists("out"));
}

#[test]
fn the_old_option_for_both_sides_still_works() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let to = format!("docker://{}/a/b:v1", served.address);
    let run = skopeo(
        &place,
        &format!("copy -q --policy accept.json --tls-verify=false oci:image:v1 {to}"),
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("'--tls-verify' is deprecated"), "{}", run.err);
    let run = skopeo(
        &place,
        &format!(
            "copy -q --policy accept.json --tls-verify=false --src-tls-verify=true {to} dir:x"
        ),
    );
    assert_eq!(run.code, 1, "the option of the side wins");
    let run = skopeo(&place, &format!("--tls-verify=false inspect --raw {to}"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("'--tls-verify' is deprecated"), "{}", run.err);
    let run = skopeo(&place, &format!("--tls-verify=false inspect --raw --tls-verify=true {to}"));
    assert_eq!(run.code, 1, "what stands behind the command is nearer: {run:?}");
    let run = place.run(&format!("--tls-verify=false inspect --raw {to}"));
    assert_eq!(run.code, 64, "{run:?}");
}

#[test]
fn versions_can_be_told_apart_by_scripts() {
    let place = Place::new();
    assert!(skopeo(&place, "--version").out.starts_with("skopeo version 1.22"));
    assert!(place.run("--version").out.starts_with("securecp "));
}

#[test]
fn archives_get_further_names() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.ok("copy -q --format v2s2 oci:image:v1 docker-archive:a.tar:h.example/x:v1 --additional-tag h.example/x:v2");
    let run = place.run("list-tags docker-archive:a.tar");
    assert_eq!(run.code, 0, "{run:?}");
    let tags: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["h.example/x:v1", "h.example/x:v2"]));
    let run = place
        .run("copy --policy accept.json dir:x docker-archive:b.tar --additional-tag h.example/x");
    assert_eq!(run.code, 64, "{run:?}");
    assert!(run.err.contains("expected a name with a tag"), "{}", run.err);
}

#[test]
fn looks_once_as_the_reference_does() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Nothing is answered: each connection that is closed at once is a failure that may pass.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let run = skopeo(&place, &format!("list-tags --tls-verify=false docker://{address}/a/b"));
    assert_eq!(run.code, 1, "{run:?}");
    // The third wait of those that the program takes under its own name would be told.
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
}

#[test]
fn values_are_read_as_the_references_parser_does() {
    let place = Place::new();
    image::single(&place.path("image"));
    let run = skopeo(
        &place,
        "--debug=false --override-os= copy -q=true --all=false --authfile= --dest-cert-dir= --tmpdir= --digestfile= \
         --remove-signatures=0 --policy accept.json oci:image:v1 dir:out",
    );
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""), "{run:?}");
    let run = skopeo(&place, "copy --policy accept.json --sign-by= oci:image:v1 dir:unsigned");
    assert_eq!(run.code, 0, "{run:?}");
    let says = "securecp: warning: --sign-by is empty, which is taken as not given\n";
    assert_eq!(run.err, says);
    let run =
        skopeo(&place, "copy -q --policy accept.json --digestfile -df oci:image:v1 dir:again");
    assert_eq!((run.code, place.exists("-df")), (0, true), "{run:?}");
}
