//! Several images and several places in one plan: everything arrives before any name moves, names are protected, and many
//! tags cost few round trips.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cli::gnupg::{GnuPg, configure, signatures_of};
use cli::{Place, Run, image, listing};
use securecp_testkit::http::Request;
use securecp_testkit::proxy::{Call, Fault, Handler, Proxy, Reply, Rule};
use securecp_testkit::{Fixture, Layer, Registry};
use serde_json::Value;

/// Two registries behind proxies, and a place to run in.
struct Bench {
    place: Place,
    staging: Registry,
    production: Registry,
    from: Proxy,
    to: Proxy,
}

impl Bench {
    fn new() -> Self {
        let (staging, production) = (Registry::start().unwrap(), Registry::start().unwrap());
        Self {
            place: Place::new(),
            from: Proxy::start(staging.address()).unwrap(),
            to: Proxy::start(production.address()).unwrap(),
            staging,
            production,
        }
    }

    /// Pushes an image of one platform with these bytes in its layer.
    fn push(&self, tag: &str, content: &str) -> String {
        let layers = ["base", content].map(|text| Layer::gzip(&[("f", text.as_bytes())]).unwrap());
        let image = Fixture::image("amd64", &layers);
        image.push(self.staging.address(), "app", Some(tag)).unwrap();
        image.digest().to_string()
    }

    fn run(&self, options: &str, source: &str, destinations: &[&str]) -> Run {
        let tls = "--src-tls-verify=false --dest-tls-verify=false --retry-delay 1ms";
        let to: String = destinations.iter().map(|to| format!(" {}", self.named(to))).collect();
        self.place.run(&format!(
            "--policy accept.json copy {tls} {options} docker://{}/{source}{to}",
            self.from.address()
        ))
    }

    fn ok(&self, options: &str, source: &str, destinations: &[&str]) -> Run {
        let run = self.run(options, source, destinations);
        assert_eq!(run.code, 0, "{run:?}");
        run
    }

    /// A destination: a repository of production, unless it names a transport.
    fn named(&self, destination: &str) -> String {
        match destination.starts_with("oci:") || destination.starts_with("docker:") {
            true => destination.to_owned(),
            false => format!("docker://{}/{destination}", self.to.address()),
        }
    }

    fn tag(&self, name: &str) -> Option<String> {
        tag(self.production.address(), name)
    }

    fn writes(&self) -> usize {
        ["PUT", "POST", "PATCH"].iter().map(|method| self.to.requests(method, "/v2/")).sum()
    }
}

/// What `REPOSITORY:TAG` stands for.
fn tag(registry: SocketAddr, name: &str) -> Option<String> {
    let (repository, tag) = name.split_once(':').unwrap();
    let target = format!("/v2/{repository}/manifests/{tag}");
    let answer = Request::new("HEAD", &target).send(registry).unwrap();
    (answer.status == 200).then(|| answer.header("docker-content-digest").unwrap().to_owned())
}

#[test]
fn several_places_are_one_plan_and_share_what_they_can() {
    let bench = Bench::new();
    let digest = bench.push("v1", "one");
    let places = ["app:v1", "app:v2", "other/app:v1", "oci:layout:v1", "oci:layout:latest"];
    let run = bench.ok("--json", "app:v1", &places);
    for name in ["app:v1", "app:v2", "other/app:v1"] {
        assert_eq!(bench.tag(name).as_ref(), Some(&digest), "{name}");
    }
    // Three blobs and one manifest for each of the two repositories, and the three tags.
    assert_eq!(bench.to.requests("PUT", "/v2/app/blobs/uploads/"), 3);
    assert_eq!(bench.to.requests("PUT", "/v2/app/manifests/"), 1 + 2);
    assert_eq!(bench.to.requests("PUT", "/v2/other/app/manifests/"), 1 + 1);
    let index: Value = serde_json::from_slice(&bench.place.read("layout/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(listing(&bench.place.path("layout/blobs/sha256")).len(), 4);
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(receipt["images"].as_array().unwrap().len(), 3, "{receipt}");
    assert_eq!(receipt["names"].as_array().unwrap().len(), 5, "{receipt}");
    assert!(receipt["names"].as_array().unwrap().iter().all(|name| name["moved"] == true));
}

#[test]
fn no_name_moves_before_every_place_has_everything() {
    let bench = Bench::new();
    bench.push("v1", "one");
    bench.to.add(
        Rule::new("PUT", "/v2/app/bad/manifests/")
            .unwrap()
            .with(Fault::Answer(Reply::error(403, "DENIED", "no"))),
    );
    let run = bench.run("-q", "app:v1", &["app/good:v1", "app/bad:v1", "oci:layout:v1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(bench.to.requests("PUT", "/v2/app/good/blobs/uploads/") > 0, "it was on its way");
    assert_eq!(bench.tag("app/good:v1"), None);
    assert!(!bench.place.exists("layout"));
}

#[test]
fn an_error_between_names_says_which_moved() {
    let bench = Bench::new();
    let digest = bench.push("v1", "one");
    bench.to.add(
        Rule::new("PUT", "/v2/app/manifests/v2$")
            .unwrap()
            .with(Fault::Answer(Reply::error(403, "DENIED", "no"))),
    );
    let run = bench.run("-q --json --additional-tag v2,v3", "app:v1", &["app:v1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(bench.tag("app:v3").as_ref(), Some(&digest));
    assert_eq!(bench.tag("app:v1"), None, "the name that was given comes last");
    let app = format!("docker://{}/app", bench.to.address());
    for part in [format!("moved: {app}:v3"), format!("not moved: {app}:v1, {app}:v2")] {
        assert!(run.err.contains(&part), "{part}: {}", run.err);
    }
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    let states: Vec<&str> = receipt["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["notMoved", "notMoved", "moved"]);
}

/// An answer that was lost says nothing; the registry is asked what the name stands for.
#[test]
fn a_name_whose_answer_was_lost_is_looked_at() {
    let bench = Bench::new();
    let digest = bench.push("v1", "one");
    let lose = || Rule::new("PUT", "/v2/app/manifests/v1$").unwrap().with(Fault::LoseAnswer);
    bench.to.add(lose());
    bench.ok("-q --retry-times 0", "app:v1", &["app:v1"]);
    assert_eq!(bench.tag("app:v1"), Some(digest));

    let bench = Bench::new();
    bench.push("v1", "one");
    bench.to.add(lose());
    let failing = Rule::new("HEAD", "/v2/app/manifests/v1$").unwrap().nth(2);
    bench.to.add(failing.with(Fault::Answer(Reply::error(403, "DENIED", "no"))));
    let run = bench.run("-q --json --retry-times 0", "app:v1", &["app:v1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("not known: docker://"), "{}", run.err);
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(receipt["names"][0]["state"], "unclear", "{receipt}");
}

#[test]
fn every_chosen_tag_is_copied_under_its_own_name() {
    let bench = Bench::new();
    let attached = format!("sha256-{}.sig", "a".repeat(64));
    for tag in ["v1.0.0", "v1.1.0", "v1.2.0-rc1", "v2.0.0", "latest", &attached] {
        bench.push(tag, tag);
    }
    bench.ok("-q --all-tags --tag-filter range:^1", "app", &["app/one"]);
    let moved = |repository: &str| {
        let target = format!("/v2/{repository}/tags/list");
        let list = Request::new("GET", &target).send(bench.production.address()).unwrap().text();
        let list: Value = serde_json::from_str(&list).unwrap();
        list["tags"].as_array().unwrap().len()
    };
    assert_eq!(moved("app/one"), 2, "the two releases");
    bench.ok("-q --all-tags --tag-filter v1.* --tag-filter regex:lat.*", "app", &["app/two"]);
    assert_eq!(moved("app/two"), 4);
    bench.ok("-q --all-tags", "app", &["app/all", "oci:layout"]);
    let index: Value = serde_json::from_slice(&bench.place.read("layout/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 5, "what is attached is no image");
    // And back from the layout.
    let back = format!("docker://{}/back", bench.to.address());
    bench.place.ok(&format!("copy -q --all-tags --dest-tls-verify=false oci:layout {back}"));
    assert_eq!(moved("back"), 5);

    let none = bench.run("-q --all-tags --tag-filter v9*", "app", &["app/none"]);
    assert_eq!(none.code, 1, "{none:?}");
    assert!(none.err.contains("none of the 6 tags of"), "{}", none.err);
    for (options, source, to) in [
        ("--all-tags", "app:v1", "app/x"),
        ("--all-tags", "app", "app:v1"),
        ("--all-tags", "app", "dir:out"),
        ("--tag-filter v1", "app:v1", "app:v1"),
        ("--all-tags --tag-filter regex:(", "app", "app/x"),
        ("--all-tags --additional-tag v1", "app", "app/x"),
        ("--all-tags --digestfile d", "app", "app/x"),
        ("--no-clobber --expect-dest-digest sha256:00", "app:v1", "app:v1"),
        ("--expect-dest-digest latest", "app:v1", "app:v1"),
    ] {
        let run = bench.run(options, source, &[to]);
        assert_eq!(run.code, 64, "{options}: {run:?}");
    }
}

#[test]
fn one_refused_image_stops_all_of_them() {
    let bench = Bench::new();
    bench.push("good", "good");
    bench.push("bad", "bad");
    let bad = format!("{}/app:bad", bench.from.address());
    let policy = serde_json::json!({
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": {(bad.clone()): [{"type": "reject"}]}},
    });
    bench.place.write("policy.json", policy.to_string());
    let run = bench.place.run(&format!(
        "--policy policy.json copy -q --all-tags --src-tls-verify=false --dest-tls-verify=false \
         docker://{}/app docker://{}/app",
        bench.from.address(),
        bench.to.address()
    ));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains(&bad), "{}", run.err);
    let asked = bench.to.log();
    assert!(asked.iter().all(|one| ["GET", "HEAD"].contains(&one.method.as_str())), "{asked:?}");
    assert!(
        !asked.iter().any(|one| one.path.contains("/blobs/")),
        "of the images nothing was asked"
    );
}

#[test]
fn a_name_that_is_taken_is_not_clobbered() {
    let bench = Bench::new();
    let (one, two) = (bench.push("v1", "one"), bench.push("v2", "two"));
    bench.ok("-q --no-clobber", "app:v1", &["app:live"]);
    bench.to.clear_log();
    bench.ok("-q --no-clobber", "app:v1", &["app:live"]);
    assert_eq!(bench.writes(), 0, "the same digest is as wanted");
    let run = bench.run("-q --no-clobber --additional-tag new", "app:v2", &["app:live"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains(&format!("expected to stand for nothing, but stands for {one}")));
    assert_eq!((bench.writes(), bench.tag("app:new")), (0, None), "nothing was sent");

    let wrong = format!("-q --expect-dest-digest {two}");
    assert_eq!(bench.run(&wrong, "app:v2", &["app:other"]).code, 1, "it stands for nothing");
    let right = format!("-q --expect-dest-digest {one}");
    bench.ok(&right, "app:v2", &["app:live"]);
    assert_eq!(bench.tag("app:live").as_ref(), Some(&two));
    bench.ok(&right, "app:v2", &["app:live"]);
    let run = bench.run(&right, "app:v1", &["app:live"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(bench.tag("app:live"), Some(two));
}

/// What cannot be protected is never said to be.
#[test]
fn what_a_name_stands_for_must_be_known_to_protect_it() {
    let place = Place::new();
    image::single(&place.path("image"));
    let digest = format!("sha256:{}", "a".repeat(64));
    for option in ["--no-clobber".to_owned(), format!("--expect-dest-digest={digest}")] {
        let shown = option.split('=').next().unwrap();
        for to in ["docker-daemon:app:v1", "docker-archive:new.tar:app:v1", "oci:new"] {
            let run = place.run(&format!("--policy accept.json copy {option} oci:image:v1 {to}"));
            assert_eq!(run.code, 64, "{run:?}");
            let expected = format!("{shown} cannot protect {to}");
            assert!(run.err.contains(&expected), "{}", run.err);
        }
    }
    assert!(!place.exists("new") && !place.exists("new.tar"));
}

#[test]
fn an_archive_is_not_written_anew_over_names_that_are_protected() {
    let place = Place::new();
    image::single(&place.path("image"));
    image::two_platforms(&place.path("other"));
    place.ok("copy -q --no-clobber oci:image:v1 oci-archive:f.tar:v1");
    let before = place.read("f.tar");
    let run =
        place.run("--policy accept.json copy --all --no-clobber oci:other:v1 oci-archive:f.tar:v2");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("the image called v1"), "{}", run.err);
    let run =
        place.run("--policy accept.json copy --all --no-clobber oci:other:v1 oci-archive:f.tar:v1");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("expected to stand for nothing"), "{}", run.err);
    assert!(place.read("f.tar") == before);
    place.ok("copy -q --no-clobber oci:image:v1 oci-archive:f.tar:v1");
    place.ok("copy -q --all --no-clobber --all-tags oci:image oci:layout");
}

/// Runs the words of `line` with at most so many open files.
fn with_open_files(place: &Place, limit: &str, line: &str) -> std::process::Output {
    let script = format!("ulimit {limit} && exec \"$@\"");
    let mut words = vec!["-c", &script, "sh", env!("CARGO_BIN_EXE_securecp")];
    words.extend(["--policy", "accept.json"].into_iter().chain(line.split_whitespace()));
    place.command_of(std::path::Path::new("/bin/sh"), &words).output().unwrap()
}

#[test]
fn many_names_of_one_layout_need_few_open_files() {
    let place = Place::new();
    let layout = place.path("image");
    image::single(&layout);
    let mut index: Value = serde_json::from_slice(&place.read("image/index.json")).unwrap();
    let entry = index["manifests"][0].clone();
    let names = (0..180).map(|number| {
        let mut entry = entry.clone();
        entry["annotations"]["org.opencontainers.image.ref.name"] = format!("v{number}").into();
        entry
    });
    index["manifests"] = names.collect();
    place.write("image/index.json", index.to_string());
    let output = with_open_files(&place, "-n 160", "copy -q --all-tags oci:image oci:copy");
    assert!(output.status.success(), "{output:?}");
    let copied: Value = serde_json::from_slice(&place.read("copy/index.json")).unwrap();
    assert_eq!(copied["manifests"].as_array().unwrap().len(), 180);
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_is_allowed() {
    let place = Place::new();
    image::single(&place.path("image"));
    place.ok("copy -q oci:image:v1 dir:0");
    std::fs::create_dir(place.path("all")).unwrap();
    for number in 0..70 {
        let copy = ["-r", "0", &format!("all/{number}")].map(str::to_owned);
        let words: Vec<&str> = copy.iter().map(String::as_str).collect();
        assert!(place.command_of("cp".as_ref(), &words).status().unwrap().success());
    }
    let registry = Registry::start().unwrap();
    let to = format!("{}/mirror", registry.address());
    let line = format!("sync -q --src dir --dest docker --dest-tls-verify=false all {to}");
    let output = with_open_files(&place, "-S -n 64", &line);
    assert!(output.status.success(), "{output:?}");
    for number in 0..70 {
        assert!(tag(registry.address(), &format!("mirror/{number}:latest")).is_some());
    }
}

/// The name is looked at when planning, directly before and directly after it moves.
#[test]
fn a_lost_race_is_a_failure() {
    for (turn, says, moved) in [
        (2, "is expected to stand for nothing, but stands for", false),
        (3, "another writer was faster", true),
    ] {
        let bench = Bench::new();
        bench.push("v1", "one");
        let other = format!("sha256:{}", "a".repeat(64));
        let reply = Reply::new(200).header("docker-content-digest", &other);
        let race = Rule::new("HEAD", "/v2/app/manifests/v1$").unwrap().nth(turn);
        bench.to.add(race.with(Fault::Answer(reply)));
        let run = bench.run("-q --no-clobber", "app:v1", &["app:v1"]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains(says) && run.err.contains(&other), "{}", run.err);
        assert_eq!(bench.tag("app:v1").is_some(), moved);
    }
}

#[test]
fn a_probe_that_fails_is_not_an_absent_name() {
    let bench = Bench::new();
    bench.push("v1", "one");
    let rule = Rule::new("HEAD", "/v2/app/manifests/v1$").unwrap();
    bench.to.add(rule.with(Fault::Answer(Reply::error(403, "DENIED", "no"))));
    let run = bench.run("-q --no-clobber", "app:v1", &["app:v1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(bench.writes(), 0);
}

#[test]
fn tags_that_cannot_change_are_left_alone_when_nothing_does() {
    let bench = Bench::new();
    bench.push("v1", "one");
    bench.push("v2", "two");
    bench.ok("-q --all-tags", "app", &["app"]);
    bench.to.add(Rule::new("PUT", "/manifests/v").unwrap().with(Fault::Answer(Reply::error(
        409,
        "TAG_IMMUTABLE",
        "no",
    ))));
    bench.to.clear_log();
    bench.ok("-q --all-tags", "app", &["app"]);
    bench.ok("-q", "app:v1", &["app:v1"]);
    assert_eq!(bench.writes(), 0);
    let run = bench.run("-q", "app:v2", &["app:v1"]);
    assert_eq!(run.code, 1, "{run:?}");
}

#[test]
fn each_name_is_signed_as_itself() {
    let place = Place::new();
    let gnupg = GnuPg::with_keys(&[("Alice <alice@release.example>", "")]);
    let index = image::two_platforms(&place.path("image"));
    configure(&place);
    gnupg.export("alice", &place, "key.asc");
    let registry = Registry::start().unwrap();
    let names = ["shop/app:v1", "shop/app:v2", "other/app:v1"]
        .map(|name| format!("docker://{}/{name}", registry.address()));
    let sign = "--policy signed.json --registries.d registries.d copy -q --all --dest-tls-verify=false \
                --sign-by alice@release.example";
    let run = gnupg.run(&place, &format!("{sign} oci:image:v1 {}", names.join(" ")));
    assert_eq!(run.code, 0, "{run:?}");
    for name in &names {
        let verify =
            "--policy signed.json --registries.d registries.d verify --all --tls-verify=false";
        let run = gnupg.run(&place, &format!("{verify} {name}"));
        assert_eq!(run.code, 0, "{run:?}");
    }
    assert_eq!(listing(&signatures_of(&place, "shop/app", &index)).len(), 2);
    assert_eq!(listing(&signatures_of(&place, "other/app", &index)).len(), 1);
    let one = format!("{sign} --sign-identity h.example/x:v1 oci:image:v1 {}", names.join(" "));
    let run = gnupg.run(&place, &one);
    assert!(run.code != 0 && run.err.contains("3 names are to be written"), "{run:?}");
}

/// An index whose name stands may lack platforms: somebody copied only some of them. What was seen whole a short time ago is
/// not asked for again.
#[test]
fn an_index_that_stands_without_its_images_is_completed() {
    let bench = Bench::new();
    let tags = ["v1", "v2"];
    for tag in tags {
        let platform = |architecture: &str| {
            let text = format!("{architecture} {tag}");
            Fixture::image(architecture, &[Layer::gzip(&[("f", text.as_bytes())]).unwrap()])
        };
        let index = Fixture::index(&[platform("amd64"), platform("arm64")]);
        index.push(bench.staging.address(), "app", Some(tag)).unwrap();
        let name = format!("app:{tag}");
        bench.ok("-q --platform linux/amd64", &name, &[&name]);
    }
    let images = || {
        let indexes = tags.map(|tag| {
            let target = format!("/v2/app/manifests/{tag}");
            let index = Request::new("GET", &target).send(bench.production.address()).unwrap();
            serde_json::from_str::<Value>(&index.text()).unwrap()
        });
        let entries = indexes.iter().flat_map(|index| index["manifests"].as_array().unwrap());
        let digests = entries.map(|entry| entry["digest"].as_str().unwrap().to_owned());
        digests.collect::<Vec<_>>()
    };
    let images = images();
    let there = || {
        images
            .iter()
            .filter(|d| tag(bench.production.address(), &format!("app:{d}")).is_some())
            .count()
    };
    let asked = || {
        let asked = images.iter().map(|d| bench.to.requests("HEAD", &format!("/manifests/{d}")));
        let asked = asked.sum::<usize>();
        bench.to.clear_log();
        asked
    };
    assert_eq!(there(), 2, "of four");
    bench.ok("-q --all --all-tags", "app", &["app"]);
    assert_eq!(there(), 4);
    asked();
    bench.ok("-q --all --all-tags", "app", &["app"]);
    assert_eq!(asked(), 0, "they were put a moment ago");
    bench.ok("-q --all --all-tags --no-journal", "app", &["app"]);
    assert_eq!(asked(), 4, "without notes they are looked for");
    std::fs::remove_dir_all(bench.place.path("home")).unwrap();
    bench.ok("-q --all --all-tags", "app", &["app"]);
    bench.ok("-q --all --all-tags", "app", &["app"]);
    assert_eq!(asked(), 4, "once, and noted");
}

/// New images among many are looked for from below: a layer stands on the others.
#[test]
fn what_new_images_surely_lack_is_brought_without_a_question() {
    let bench = Bench::new();
    let pushed = ["one", "two", "three"].map(|text| bench.push(text, text));
    bench.ok("-q --all-tags", "app", &["app"]);
    // The base layer that the three share.
    assert_eq!(bench.to.requests("HEAD", "/v2/app/blobs/"), 1);
    assert_eq!(bench.to.requests("PUT", "/v2/app/blobs/uploads/"), 1 + 3 * 2);
    // Each manifest is read back.
    assert_eq!(bench.to.requests("HEAD", "/v2/app/manifests/sha256:"), 3);
    for (tag, digest) in ["one", "two", "three"].iter().zip(&pushed) {
        assert_eq!(bench.tag(&format!("app:{tag}")).as_ref(), Some(digest));
    }
    bench.push("four", "four");
    bench.to.clear_log();
    bench.ok("-q --all-tags", "app", &["app"]);
    // The base is there, so the layer above is asked for; that is not, so neither is the configuration.
    assert_eq!(bench.to.requests("HEAD", "/v2/app/blobs/"), 1);
    assert_eq!(bench.to.requests("PUT", "/v2/app/blobs/uploads/"), 2);
}

/// A single image, too, is asked for only as far as the answers leave it open whether more of it is there.
#[test]
fn one_image_is_asked_for_in_as_few_questions_as_tell() {
    let bench = Bench::new();
    let asked = || {
        let heads = ["/blobs/", "/manifests/sha256:"].map(|what| bench.to.requests("HEAD", what));
        let put = bench.to.requests("PUT", "/blobs/uploads/");
        let manifests = bench.to.requests("PUT", "/manifests/sha256:");
        bench.to.clear_log();
        [heads[0], heads[1], put, manifests]
    };
    bench.push("one", "one");
    bench.ok("-q", "app:one", &["app:v"]);
    assert_eq!(asked(), [1, 1, 3, 1], "the lowest layer is not there; the manifest is read back");
    bench.ok("-q", "app:one", &["app:v"]);
    assert_eq!(asked(), [3, 0, 0, 0], "the name stands: every blob is looked for");
    bench.push("two", "two");
    bench.ok("-q", "app:two", &["app:v"]);
    assert_eq!(
        asked(),
        [2, 1, 2, 1],
        "a layer is missing, so the configuration is, and the manifest"
    );
    bench.ok("-q", "app:two", &["app:w"]);
    assert_eq!(
        asked(),
        [3, 2, 0, 0],
        "all layers are there, so the rest is asked for, and read back"
    );
}

/// What tells that more need not be asked is asked for certain: an answer that is none ends the copy.
#[test]
fn a_question_that_is_not_answered_ends_the_copy() {
    let bench = Bench::new();
    bench.push("one", "one");
    for (method, path) in [("HEAD", "/blobs/"), ("HEAD", "/manifests/v")] {
        let refusal = Fault::Answer(Reply::error(403, "DENIED", "no"));
        bench.to.add(Rule::new(method, path).unwrap().with(refusal));
        let run = bench.run("-q", "app:one", &["app:v"]);
        assert!(run.code != 0 && bench.writes() == 0, "{path}: {run:?}");
        bench.to.clear_rules();
    }
}

/// Pushes an index of two images.
fn push_index(bench: &Bench, tag: &str) {
    let platform = |arch: &str| {
        Fixture::image(arch, &[Layer::gzip(&[("f", format!("{arch} {tag}").as_bytes())]).unwrap()])
    };
    let index = Fixture::index(&[platform("amd64"), platform("arm64")]);
    index.push(bench.staging.address(), "app", Some(tag)).unwrap();
}

/// Where there is no referrers API, that is asked once, however many manifests are looked at together.
#[test]
fn a_registry_without_a_referrers_api_is_asked_once_for_it() {
    let bench = Bench::new();
    for tag in ["one", "two", "three"] {
        push_index(&bench, tag);
    }
    let absent = Fault::Answer(Reply::error(404, "NOT_FOUND", "no such API"));
    bench.from.add(Rule::new("GET", "/referrers/").unwrap().with(absent));
    bench.ok("-q --all --all-tags", "app", &["app"]);
    assert_eq!(bench.from.requests("GET", "/referrers/"), 1);
    assert_eq!(
        bench.from.requests("GET", "/tags/list"),
        2,
        "for the names, and for what is attached"
    );
}

/// What is learnt ahead is a help, no answer: where that fails it is asked again, and what cannot be told is an error.
#[test]
fn a_failure_to_look_ahead_is_never_absence() {
    let bench = Bench::new();
    push_index(&bench, "one");
    let denied = || Fault::Answer(Reply::error(403, "DENIED", "no"));
    let referrers = || Rule::new("GET", "/referrers/").unwrap();
    bench.from.add(referrers().with(denied()));
    let run = bench.run("-q --all", "app:one", &["app:v"]);
    assert!(run.code != 0 && bench.writes() == 0, "{run:?}");
    bench.from.clear_rules();
    bench.from.add(referrers().nth(1).with(denied()));
    bench.ok("-q --all", "app:one", &["app:v"]);
}

/// What was taken for absent and is there is put again, under the digest that it has.
#[test]
fn a_wrong_guess_about_new_images_loses_nothing() {
    let bench = Bench::new();
    let layer = |text: &str| Layer::gzip(&[("f", text.as_bytes())]).unwrap();
    let there = Fixture::image("amd64", &[layer("shared"), layer("other")]);
    there.push(bench.production.address(), "app", Some("old")).unwrap();
    let digests = ["one", "two"].map(|base| {
        let image = Fixture::image("amd64", &[layer(base), layer("shared")]);
        image.push(bench.staging.address(), "app", Some(base)).unwrap();
        image.push(bench.production.address(), "app", None).unwrap();
        image.digest().to_string()
    });
    let layer = Fixture::image("amd64", &[layer("three"), layer("shared")]);
    layer.push(bench.staging.address(), "app", Some("three")).unwrap();
    let run = bench.ok("--json --all-tags", "app", &["app"]);
    assert_eq!(bench.tag("app:three"), Some(layer.digest().to_string()), "{run:?}");
    for (tag, digest) in ["one", "two"].iter().zip(&digests) {
        assert_eq!(bench.tag(&format!("app:{tag}")).as_ref(), Some(digest));
    }
}

/// A registry that cannot say whether the lowest layer is there ends the copy: an error is no "no".
#[test]
fn an_error_about_the_lowest_layer_is_not_an_absence() {
    let bench = Bench::new();
    for text in ["one", "two"] {
        bench.push(text, text);
    }
    let fault = Fault::Answer(Reply::error(403, "DENIED", "no"));
    bench.to.add(Rule::new("HEAD", "/v2/app/blobs/").unwrap().with(fault));
    let run = bench.run("-q --all-tags", "app", &["app"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(bench.writes(), 0);
}

const DELAY: Duration = Duration::from_millis(50);
const TAGS: usize = 20;

/// Twenty tags of two platforms, every request 50 ms away; the figures are printed.
#[test]
fn twenty_tags_cost_few_round_trips() {
    let bench = Bench::new();
    for tag in 0..TAGS {
        let platform = |architecture: &str| {
            let text = format!("{architecture} {tag}");
            let layers = ["base", &text].map(|t| Layer::gzip(&[("f", t.as_bytes())]).unwrap());
            Fixture::image(architecture, &layers)
        };
        let index = Fixture::index(&[platform("amd64"), platform("arm64")]);
        index.push(bench.staging.address(), "app", Some(&format!("v{tag}"))).unwrap();
    }
    bench.from.set_latency(DELAY);
    bench.to.set_latency(DELAY);
    let copy = |what: &str| {
        let start = Instant::now();
        bench.ok("-q --all --all-tags", "app", &["app"]);
        let took = start.elapsed();
        let all = [bench.from.log(), bench.to.log()].concat();
        let evidence = all.iter().filter(|seen| seen.is("GET", "/referrers/")).count();
        let requests = all.len() - evidence;
        let uploads = bench.to.requests("PUT", "/blobs/uploads/");
        let most = crowd(&bench.from) + crowd(&bench.to);
        bench.from.clear_log();
        bench.to.clear_log();
        let delays = took.as_millis() / DELAY.as_millis();
        eprintln!(
            "{what}: {requests} requests and {evidence} for evidence in {took:?}, {delays} delays, \
             at most {most} at once"
        );
        assert!(evidence <= TAGS * MANIFESTS * 2, "{evidence}: one for each manifest and side");
        (requests, uploads, delays)
    };
    let (cold, warm) = (copy("cold"), copy("warm"));
    // The base layer, and for each image its own layer and configuration.
    assert_eq!(cold.1, 1 + TAGS * 2 * 2);
    assert!(
        warm.0 <= OF_THE_RUN + TAGS * REQUESTS_PER_TAG,
        "{} requests for what is there",
        warm.0
    );
    assert!(cold.2 <= 60 * SLACK && warm.2 <= 20 * SLACK, "{} and {} delays", cold.2, warm.2);
}

/// The lists of tags and of attached evidence, and greetings of the registries.
const OF_THE_RUN: usize = 8;
/// Of one tag: an index and two images.
const MANIFESTS: usize = 3;
/// Of both sides together, for a tag that is there.
const REQUESTS_PER_TAG: usize = 3;
/// 3 s and 1 s are meant for an optimised program on an idle machine.
const SLACK: u128 = if cfg!(debug_assertions) { 4 } else { 1 };

/// How many requests of a side were under way at the same time.
fn crowd(proxy: &Proxy) -> usize {
    let log = proxy.log();
    let during = |at: Duration| {
        let running =
            log.iter().filter(|s| s.started <= at && s.finished.is_none_or(|end| end > at));
        running.count()
    };
    log.iter().map(|seen| during(seen.started)).max().unwrap_or_default()
}

/// A token is fetched once for many tags, not once for each.
#[test]
fn one_token_serves_all_tags() {
    use securecp_testkit::auth::{AuthServer, AuthSettings, User};
    let bench = Bench::new();
    for tag in ["v1", "v2", "v3", "v4"] {
        bench.push(tag, tag);
    }
    let user = User::new("robot", "secret-word").may("pull,push", "app");
    let guard = AuthServer::start(bench.production.address(), AuthSettings::bearer(vec![user]));
    let guard = guard.unwrap();
    let to = format!("docker://{}/app", guard.address());
    bench.ok("-q --all-tags --dest-creds=robot:secret-word", "app", &[&to]);
    assert!(bench.tag("app:v4").is_some());
    assert!(guard.token_requests().len() <= 2, "{} tokens", guard.token_requests().len());
}

/// Planning, directly before and directly after: the turns that the race above relies on.
#[test]
fn a_protected_name_is_looked_at_three_times() {
    let bench = Bench::new();
    bench.push("v1", "one");
    let looks = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&looks);
    let watch = Handler::new(move |_: &Call| {
        seen.fetch_add(1, Ordering::SeqCst);
        None
    });
    let rule = Rule::new("HEAD", "/v2/app/manifests/v1$").unwrap();
    bench.to.add(rule.with(Fault::Handle(watch)));
    bench.ok("-q --no-clobber", "app:v1", &["app:v1"]);
    assert_eq!(looks.load(Ordering::SeqCst), 3, "planning, directly before, directly after");
}
