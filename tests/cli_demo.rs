//! `securecp demo` and `securecp serve` as whole commands.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::serve::Served;
use cli::{Place, image, listing};

/// The story with what differs from run to run taken out.
fn story(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for piece in text.split_inclusive([' ', '\n', '/', '"', ':']) {
        let port = piece.trim_end_matches([' ', '\n', '/', '"', ':']);
        let is_port = port.len() >= 4 && port.bytes().all(|b| b.is_ascii_digit());
        let after_host = words.last().is_some_and(|last| last == "127.0.0.1:");
        words.push(if is_port && after_host {
            piece.replace(port, "PORT")
        } else {
            piece.to_owned()
        });
    }
    // what is encrypted has another digest each time
    let same = |line: &str| match line.contains("decrypting layer") {
        true => "(an error with digests of encrypted things)\n".to_owned(),
        false => line.to_owned(),
    };
    let text: String = words.concat().split_inclusive('\n').map(same).collect();
    // the sigstore key too is made anew each time
    let text = match text.rsplit_once("key sha256:") {
        Some((_, rest)) => text.replace(&rest[..64], "SIGSTORE-KEY"),
        None => text,
    };
    let is_key = |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let keys: Vec<&str> = text.split([' ', ',']).filter(is_key).collect();
    keys.first().map_or_else(|| text.clone(), |key| text.replace(key, "KEY"))
}

/// The lines that are the same in each telling. What is signed anew has another digest, and another place in lists.
fn lasting(text: &str) -> Vec<&str> {
    let passing =
        |line: &&str| line.contains("sha256:") || line.trim_start().starts_with("bundle ");
    text.lines().filter(|line| !passing(line)).collect()
}

#[test]
fn the_demo_tells_the_same_story_each_time_and_leaves_nothing() {
    let place = Place::new();
    std::fs::create_dir(place.path("tmp")).unwrap();
    let tell = || {
        let run = place.run("demo --tmpdir tmp");
        assert_eq!(run.code, 0, "{run:?}");
        let warned = run.err.lines().filter(|line| line.contains("stays behind: not verified"));
        assert_eq!((warned.count(), run.err.lines().count()), (2, 2), "{}", run.err);
        assert!(listing(&place.path("tmp")).is_empty());
        let folder = run.out.split("[DIR]/tmp/").nth(1).unwrap().split('/').next().unwrap();
        story(&run.out.replace(folder, "FOLDER"))
    };
    let (first, second) = (tell(), tell());
    assert_eq!(lasting(&first), lasting(&second));
    assert_eq!(first.lines().count(), second.lines().count());
    for line in [
        "    Checked: both registries have the same digest, the one that the copy reported.",
        "          signature 1: by KEY, for 127.0.0.1:PORT/shop/app:v1",
        "          signature 1: by ECDSA P-256 key sha256:SIGSTORE-KEY, for 127.0.0.1:PORT/out/app:v1",
        "    Checked: production has the signatures, the bill of materials and the statement, under the same digests.",
        "    Checked: the report that nobody signed stayed in staging.",
        "    Checked: all six pieces are verified in production: the build system signed what is there.",
        "    Checked: the decrypted image has the digest that it had before.",
        "(an error with digests of encrypted things)",
        "    (exit code 3)",
        "    (exit code 2)",
        "Everything ended as it should.",
    ] {
        assert!(first.lines().any(|found| found == line), "{line}\n{first}");
    }
}

#[test]
fn kept_files_let_a_reader_repeat_the_commands() {
    let place = Place::new();
    assert_eq!(place.run("demo --keep kept").code, 0);
    assert_eq!(
        listing(&place.path("kept")),
        [
            "attested",
            "builder.pub",
            "built",
            "dispatch.pass",
            "dispatch.private",
            "dispatch.pub",
            "image",
            "opened",
            "plain",
            "policy.json",
            "production",
            "registries.d",
            "release.asc",
            "release.key",
            "signatures",
            "staging",
            "thief.key.pem",
            "thief.pub.pem",
            "trust.yaml",
            "vault.key.pem",
            "vault.pub.pem"
        ]
    );
    let served = Served::start(&place, "kept/production", &[]);
    let run = place.run(&format!(
        "inspect --override-os linux --override-arch amd64 --tls-verify=false docker://{}/shop/app:v1",
        served.address
    ));
    assert_eq!(run.code, 0, "{run:?}");
    let again = place.run("demo --keep kept");
    assert_eq!(again.code, 1);
    assert_eq!(
        again.err,
        "securecp: error: making a folder for the demo, kept: File exists (os error 17)\n"
    );
}

#[test]
fn a_served_folder_takes_and_gives_images() {
    let place = Place::new();
    let digest = image::two_platforms(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let image = format!("docker://{}/a/b:v1", served.address);
    place.ok(&format!("copy -q --all --dest-tls-verify=false oci:image:v1 {image}"));
    place.ok(&format!("copy -q --all --src-tls-verify=false {image} oci:back:v1"));
    let raw = place.run("inspect --raw oci:back:v1").out;
    assert_eq!(image::digest(raw.as_bytes()), digest);
    assert_eq!(served.terminate(), Some(0), "a signal ends it well");
}

#[test]
fn a_read_only_registry_takes_nothing() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let image = |server: &Served| format!("docker://{}/a/b:v1", server.address);
    place.ok(&format!("copy -q --dest-tls-verify=false oci:image:v1 {}", image(&served)));
    served.terminate();
    let served = Served::start(&place, "store", &["--read-only"]);
    place.ok(&format!("copy -q --src-tls-verify=false {} dir:out", image(&served)));
    let to = format!("docker://{}/a/b:v2", served.address);
    let run = place
        .run(&format!("copy -q --policy accept.json --dest-tls-verify=false oci:image:v1 {to}"));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains(&format!("destination {to}")), "{}", run.err);
}

#[test]
fn common_mistakes_of_serve() {
    let place = Place::new();
    place.write("file", "x");
    let taken = Served::start(&place, "store", &[]);
    for (line, code, says) in [
        (
            "serve".to_owned(),
            64,
            "the following required arguments were not provided: --root <DIR>",
        ),
        (
            "serve --root x --listen here".to_owned(),
            64,
            "invalid value 'here' for '--listen <ADDRESS>'",
        ),
        (
            "serve --root file --listen 127.0.0.1:0".to_owned(),
            1,
            "starting the registry: registry root \"file\" cannot be used",
        ),
        (
            format!("serve --root x --listen {}", taken.address),
            1,
            &format!("starting the registry: cannot listen on {}", taken.address),
        ),
        (
            "serve --root store --listen 127.0.0.1:0".to_owned(),
            1,
            "starting the registry: registry root \"store\" cannot be used",
        ),
    ] {
        let run = place.run(&line);
        assert!(run.err.starts_with(&format!("securecp: error: {says}")), "{line}: {}", run.err);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}");
    }
}
