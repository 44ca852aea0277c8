//! `securecp sync`: from a repository, a directory or a YAML file to a registry or a directory.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::SocketAddr;

use cli::serve::Served;
use cli::{Place, Run, image, listing};
use securecp_oci::MediaType;
use securecp_testkit::{Blob, Fixture, Layer};
use serde_json::Value;

/// A registry with the repositories `a/app` (tags v1, v2, 1.10) and `b/app` (tag v1).
struct Shop {
    place: Place,
    served: Served,
}

impl Shop {
    fn new() -> Self {
        let place = Place::new();
        image::two_platforms(&place.path("image"));
        let served = Served::start(&place, "store", &[]);
        let shop = Self { place, served };
        for name in ["a/app:v1", "a/app:v2", "a/app:1.10", "b/app:v1"] {
            let to = format!("docker://{}", shop.at(name));
            let tag = name.rsplit(':').next().unwrap();
            shop.place.ok(&format!(
                "copy -q --all --dest-tls-verify=false oci:image:v1 {to} --digestfile d-{tag}"
            ));
        }
        shop
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.served.address)
    }

    fn sync(&self, line: &str) -> Run {
        let line = line.replace("HERE", &self.served.address);
        self.stable(self.place.run(&format!("--policy accept.json sync {line}")))
    }

    fn ok(&self, line: &str) -> Run {
        let run = self.sync(line);
        assert_eq!(run.code, 0, "{line}\n{run:?}");
        run
    }

    fn stable(&self, run: Run) -> Run {
        let stable = |text: String| text.replace(&self.served.address, "HERE");
        Run { code: run.code, out: stable(run.out), err: stable(run.err) }
    }

    /// Everything that stands in the directory `usb`.
    fn usb(&self) -> Vec<String> {
        let root = self.place.path("usb");
        if root.is_dir() { listing(&root) } else { Vec::new() }
    }

    fn tags(&self, repository: &str) -> Vec<String> {
        let line = format!("list-tags --tls-verify=false docker://{}", self.at(repository));
        let run = self.place.run(&line);
        let listed: Value = serde_json::from_str(&run.out).unwrap();
        let tags = listed["Tags"].as_array().unwrap().iter();
        tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }
}

const TO_USB: &str = "--src docker --dest dir --src-tls-verify=false --override-arch amd64";

#[test]
fn a_repository_goes_into_a_directory_and_back() {
    let shop = Shop::new();
    let run = shop.ok(&format!("{TO_USB} --all --json --digestfile digests HERE/a/app usb"));
    assert_eq!(shop.usb(), ["app:1.10", "app:v1", "app:v2"]);
    let result: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(result["images"].as_array().unwrap().len(), 3);
    assert_eq!(result["failed"], serde_json::json!([]));
    let digest = String::from_utf8(shop.place.read("d-v1")).unwrap();
    assert_eq!(image::digest(&shop.place.read("usb/app:v1/manifest.json")), digest);
    let digests = String::from_utf8(shop.place.read("digests")).unwrap();
    assert_eq!(digests.lines().count(), 3);
    assert!(digests.contains(&format!("{digest} dir:usb/app:v1\n")), "{digests}");
    assert!(run.err.contains("copied 3 images from 1 sources"), "{}", run.err);

    shop.ok("--src dir --dest docker --dest-tls-verify=false --all -q usb HERE/back");
    assert_eq!(shop.tags("back/app"), ["1.10", "v1", "v2"]);
    let again =
        shop.ok("--src dir --dest docker --dest-tls-verify=false --all -q --json usb HERE/back");
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(again["bytesSent"], 0, "what is there is not sent again");
}

#[test]
fn names_are_whole_or_end_as_asked_for() {
    let shop = Shop::new();
    shop.ok(&format!("{TO_USB} -q --scoped HERE/b/app usb"));
    let host = shop.served.address.clone();
    assert!(shop.place.exists(&format!("usb/{host}/b/app:v1/manifest.json")));
    shop.ok(&format!("{TO_USB} -q --append-suffix=-old HERE/b/app:v1 usb"));
    assert!(shop.place.exists("usb/app:v1-old/manifest.json"));
    let line = "--src dir --dest docker --dest-tls-verify=false -q --scoped --append-suffix=-x usb/app:v1-old HERE/c";
    shop.ok(line);
    assert_eq!(shop.tags("c/app"), ["v1-old-x"]);
}

#[test]
fn a_file_says_which_images() {
    let shop = Shop::new();
    let file = "HERE:\n  images:\n    b/app: [v1]\n  images-by-semver: {a/app: ^1.9}\n  tls-verify: false\n";
    shop.place.write("list.yaml", file.replace("HERE", &shop.served.address));
    let line = "--src yaml --dest dir -q --override-arch amd64 list.yaml usb";
    shop.ok(line);
    assert_eq!(shop.usb(), ["app:1.10", "app:v1"]);
    let file = "HERE:\n  images-by-tag-regex: {a/app: ^v, b/app: nothing}\n  tls-verify: false\n";
    shop.place.write("list.yaml", file.replace("HERE", &shop.served.address));
    let run = shop.sync("--src yaml --dest dir -q --scoped list.yaml other");
    assert_eq!(run.code, 1);
    assert_eq!(run.err, "securecp: error: HERE/b/app: No refs to sync found\n");
    assert!(!shop.place.exists("other"), "nothing is left out in silence");
    let run = shop
        .sync("--src yaml --dest dir -q --keep-going --override-arch amd64 --json list.yaml other");
    assert_eq!(run.code, 1);
    assert!(run.err.ends_with(
        "securecp: error: Sync failed due to previous reported error(s) for one or more images\n"
    ));
    assert_eq!(listing(&shop.place.path("other")), ["app:v1", "app:v2"]);
    let result: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(result["images"].as_array().unwrap().len(), 2);
    assert_eq!(result["failed"].as_array().unwrap().len(), 1);
}

#[test]
fn a_rehearsal_changes_nothing() {
    let shop = Shop::new();
    let beside = format!("docker://{}:sha256-{}.sig", shop.at("a/app"), "0".repeat(64));
    shop.place.ok(&format!("copy -q --all --dest-tls-verify=false oci:image:v1 {beside}"));
    let run = shop.ok(&format!("{TO_USB} --dry-run --digestfile digests HERE/a/app usb"));
    assert_eq!(run.err, "");
    assert!(run.out.starts_with("plan: 3 images to 3 names, nothing is changed\n"), "{}", run.out);
    for tag in ["1.10", "v1", "v2"] {
        assert!(run.out.contains(&format!("dir:usb/app:{tag} -> sha256:")), "{}", run.out);
    }
    assert!(!shop.place.exists("usb") && !shop.place.exists("digests"));
    let run = shop.ok(&format!("{TO_USB} --dry-run --json --keep-going HERE/a/app usb"));
    let found: Value = serde_json::from_str(&run.out).unwrap();
    let plans = found["plans"].as_array().unwrap();
    assert_eq!(plans.len(), 3, "each image goes by itself");
    assert!(plans.iter().all(|plan| plan["bytesToMove"].as_u64() > Some(0)), "{found}");
    assert!(!shop.place.exists("usb"));
}

#[test]
fn a_rehearsal_judges_too() {
    let shop = Shop::new();
    shop.place.write("reject.json", r#"{"default":[{"type":"reject"}]}"#);
    let line = format!("--policy reject.json sync {TO_USB} --dry-run {} usb", shop.at("a/app"));
    let run = shop.place.run(&line);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(!shop.place.exists("usb"), "no folder is made for images that may not pass");
    let run = shop.place.run(&line.replace("--dry-run", "-q"));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(!shop.place.exists("usb"), "no folder is made for images that may not pass");
}

#[test]
fn what_changes_images_in_a_copy_changes_these_too() {
    let shop = Shop::new();
    shop.ok(&format!("{TO_USB} -q --dest-decompress HERE/b/app usb"));
    let manifest = String::from_utf8(shop.place.read("usb/app:v1/manifest.json")).unwrap();
    assert!(!manifest.contains("gzip"), "{manifest}");
    let run = shop.sync(&format!("{TO_USB} -q --dest-precompute-digests HERE/b/app other"));
    assert_eq!(run.code, 64, "{run:?}");
}

#[test]
fn names_that_stand_for_something_else_are_left_alone_if_asked() {
    let shop = Shop::new();
    shop.ok(&format!("{TO_USB} -q HERE/a/app:v1 usb"));
    shop.ok("--src dir --dest docker --dest-tls-verify=false -q usb HERE/back");
    shop.ok("--src dir --dest docker --dest-tls-verify=false -q --no-clobber usb HERE/back");
    let run =
        shop.sync("--src dir --dest docker --dest-tls-verify=false -q --no-clobber usb HERE/a");
    assert_eq!(run.code, 1, "a/app:v1 is the index of two platforms: {run:?}");
}

#[test]
fn one_image_that_is_refused_stops_all_of_them() {
    let shop = Shop::new();
    let policy = r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"HERE/a/app:v2":[{"type":"reject"}]}}}"#;
    shop.place.write("some.json", policy.replace("HERE", &shop.served.address));
    let line = format!("--policy some.json sync {TO_USB} -q {} usb", shop.at("a/app"));
    let run = shop.stable(shop.place.run(&line));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains("HERE/a/app:v2 is rejected by policy"), "{}", run.err);
    assert_eq!(shop.usb(), Vec::<String>::new());
    let run = shop.stable(shop.place.run(&format!("{line} --keep-going")));
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(shop.usb(), ["app:1.10", "app:v1"]);
}

/// What an image loses on the way is told, and stands in the result.
#[test]
fn evidence_that_stays_behind_is_told() {
    let shop = Shop::new();
    let registry: SocketAddr = shop.served.address.parse().unwrap();
    let image = Fixture::image("amd64", &[Layer::gzip(&[("f", b"content")]).unwrap()]);
    image.push(registry, "c/app", Some("v1")).unwrap();
    let sbom = Blob::new(MediaType::new("application/spdx+json"), "{}");
    let sbom = Fixture::artifact("application/spdx+json", sbom, Some(&image.root));
    sbom.push(registry, "c/app", None).unwrap();
    let line =
        "--src docker --dest docker --src-tls-verify=false --dest-tls-verify=false -q --json";
    let told = |run: &Run| run.err.contains("stays behind");
    let skipped = |run: &Run| {
        let result: Value = serde_json::from_str(&run.out).unwrap();
        result["images"][0]["evidence"]["skipped"].as_u64().unwrap()
    };
    let run = shop.ok(&format!("{line} HERE/c/app HERE/whole"));
    assert_eq!((skipped(&run), told(&run)), (0, false), "{run:?}");
    let run = shop.ok(&format!("{line} --format v2s2 --on-orphaned drop HERE/c/app HERE/other"));
    assert_eq!((skipped(&run), told(&run)), (1, true), "{run:?}");
}

/// Two entries of a list may mean the same image.
#[test]
fn an_image_that_is_listed_twice_is_copied_once() {
    let shop = Shop::new();
    let list =
        "HERE:\n  tls-verify: false\n  images: {a/app: [v1]}\n  images-by-tag-regex: {a/app: ^v}\n";
    shop.place.write("list.yaml", list.replace("HERE", &shop.served.address));
    let run = shop.ok("--src yaml --dest dir -q --json list.yaml usb");
    let result: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(result["images"].as_array().unwrap().len(), 2, "{result}");
    assert_eq!(shop.usb(), ["app:v1", "app:v2"]);
}

/// What is refused leaves the file of the digests as it was.
#[test]
fn a_refusal_touches_no_file() {
    let shop = Shop::new();
    shop.place.write("digests", "of yesterday\n");
    let line = format!("--policy reject.json sync {TO_USB} -q --digestfile digests");
    shop.place.write("reject.json", r#"{"default":[{"type":"reject"}]}"#);
    let run = shop.place.run(&format!("{line} {} usb", shop.at("a/app")));
    assert_eq!((run.code, shop.place.exists("usb")), (3, false), "{run:?}");
    assert_eq!(shop.place.read("digests"), b"of yesterday\n");
}

#[test]
fn everything_that_judges_a_copy_judges_these_too() {
    let shop = Shop::new();
    shop.place.write("trust.yaml", "version: 1\ndefault: reject\n");
    for option in ["--trust trust.yaml", "--require-signed"] {
        for also in ["", "--keep-going"] {
            let run = shop.sync(&format!("-q {TO_USB} {option} {also} HERE/b/app usb"));
            assert_eq!(run.code, if also.is_empty() { 3 } else { 1 }, "{option} {also}: {run:?}");
            assert!(run.err.contains("Source image rejected"), "{option}: {run:?}");
            assert_eq!(shop.usb(), Vec::<String>::new());
        }
    }
}

#[test]
fn mistakes_are_said_before_anything_is_copied() {
    let shop = Shop::new();
    shop.place.write("usb/app:v1/manifest.json", "{}");
    for (line, code, says) in [
        (
            format!("{TO_USB} HERE/a/app:v1 usb"),
            1,
            "Refusing to overwrite destination directory usb/app:v1",
        ),
        (
            format!("{TO_USB} HERE/none usb"),
            2,
            "Error determining repository tags for repo HERE/none",
        ),
        (format!("{TO_USB} HERE/a/app:v9 usb"), 2, "reading manifest v9"),
        ("--src dir --dest docker none h.example/x".to_owned(), 1, "looking for images in none"),
        ("--src yaml --dest dir none.yaml usb".to_owned(), 1, "reading none.yaml"),
        (
            format!("{TO_USB} HERE/a/app usb --sign-identity h.example/x:v1 --sign-by A"),
            64,
            "--sign-identity has no effect",
        ),
        ("--src dir --dest dir a b".to_owned(), 64, "sync from 'dir' to 'dir' not implemented"),
    ] {
        let run = shop.sync(&format!("-q {line}"));
        assert_eq!(run.code, code, "{line}\n{run:?}");
        assert!(run.err.contains(says), "{line}\n{run:?}");
    }
    assert_eq!(shop.usb(), ["app:v1"]);
    let both = "HERE:\n  images: {a/app: [v1], b/app: [v1]}\n  tls-verify: false\n";
    shop.place.write("both.yaml", both.replace("HERE", &shop.served.address));
    let run = shop.sync("--src yaml --dest dir both.yaml usb");
    assert_eq!(
        run.err,
        "securecp: error: docker://HERE/b/app:v1 and docker://HERE/a/app:v1 would both be dir:usb/app:v1\n\
         hint: --scoped keeps their whole names\n"
    );
}

#[test]
fn as_skopeo_it_says_what_scripts_look_for() {
    let shop = Shop::new();
    let link = shop.place.path("skopeo");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_securecp"), &link).unwrap();
    let run = |line: &str| {
        let line =
            format!("--policy accept.json sync {line}").replace("HERE", &shop.served.address);
        let words: Vec<&str> = line.split(' ').collect();
        let output = shop.place.command_of(&link, &words).output().unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&shop.served.address, "HERE")
        };
        Run {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    };
    let dry = run("--src docker --dest dir --src-tls-verify=false --dry-run HERE/b/app usb");
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(dry.err.contains("level=warning msg=\"Running in dry-run mode\""));
    assert!(dry.err.contains(
        "level=info msg=\"Would have copied image ref 1/1\" from=\"docker://HERE/b/app:v1\" to=\"dir:usb/app:v1\""
    ));
    assert!(dry.err.contains("msg=\"Would have synced 1 images from 1 sources\""), "{}", dry.err);
    let real =
        run("--src docker --dest dir --src-tls-verify=false --override-arch amd64 HERE/b/app usb");
    assert!(
        real.code == 0 && real.err.contains("msg=\"Synced 1 images from 1 sources\""),
        "{real:?}"
    );
    let lines: Vec<&str> = real.out.lines().collect();
    assert_eq!(lines[0], "Getting image source signatures", "{real:?}");
    assert_eq!(lines[lines.len() - 1], "Writing manifest to image destination");
    let several =
        run("--src docker --dest dir --src-tls-verify=false --override-arch amd64 HERE/a/app usb2");
    let of_each = "Writing manifest to image destination";
    assert_eq!(several.out.matches(of_each).count(), 3, "{several:?}");
    let quiet = run(
        "-q --src docker --dest dir --src-tls-verify=false --override-arch amd64 HERE/b/app usb3",
    );
    assert_eq!((quiet.code, quiet.out.as_str()), (0, ""), "{quiet:?}");
    let none = run("--src docker HERE/b/app usb");
    assert!(none.code == 1 && none.err.contains("A destination transport must be specified"));
}
