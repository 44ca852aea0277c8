//! `securecp list-tags`, `delete` and the templates of `inspect` as whole commands.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::serve::Served;
use cli::{Place, image, listing};

#[test]
fn lists_the_tags_of_a_repository() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    for tag in ["v2", "v1"] {
        let image = format!("docker://{}/a/b:{tag}", served.address);
        place.ok(&format!("copy -q --dest-tls-verify=false oci:image:v1 {image}"));
    }
    let run = place.run(&format!("list-tags --tls-verify=false docker://{}/a/b", served.address));
    let expected = format!(
        "{{\n    \"Repository\": \"{}/a/b\",\n    \"Tags\": [\n        \"v1\",\n        \"v2\"\n    ]\n}}\n",
        served.address
    );
    assert_eq!((run.code, run.out, run.err), (0, expected, String::new()));
    let run = place.run("list-tags oci:image");
    assert_eq!((run.code, run.out.as_str()), (0, "{\n    \"Tags\": [\n        \"v1\"\n    ]\n}\n"));
}

#[test]
fn common_mistakes_of_list_tags() {
    let place = Place::new();
    let served = Served::start(&place, "store", &[]);
    let none = format!("list-tags --tls-verify=false docker://{}/none", served.address);
    for (line, code, says) in [
        ("list-tags", 64, "the following required arguments were not provided: <REPOSITORY>"),
        (
            "list-tags docker://h.example/x:v1",
            64,
            "docker://h.example/x:v1: No tag or digest allowed in reference",
        ),
        (
            "list-tags dir:x",
            64,
            "Unsupported transport 'dir' for tag listing. Only supported: docker, oci",
        ),
        (
            "list-tags docker:h.example/x",
            64,
            "image: docker:h.example/x: expected docker://REFERENCE",
        ),
        (
            "list-tags docker://H.example/X",
            64,
            "image: invalid reference in docker://H.example/X: ",
        ),
        (&none, 2, "Error listing repository tags of "),
    ] {
        let run = place.run(line);
        assert!(run.err.starts_with(&format!("securecp: error: {says}")), "{line}: {}", run.err);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}");
    }
}

#[test]
fn deleting_names_the_tags_that_go_too() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    image::two_platforms(&place.path("other"));
    let served = Served::start(&place, "store", &[]);
    let at = |tag: &str| format!("docker://{}/a/b:{tag}", served.address);
    for tag in ["v1", "v2", "latest"] {
        place.ok(&format!("copy -q --dest-tls-verify=false oci:image:v1 {}", at(tag)));
    }
    place.ok(&format!("copy -q --all --dest-tls-verify=false oci:other:v1 {}", at("other")));
    let run = place.run(&format!("delete --tls-verify=false {}", at("v1")));
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert_eq!(
        run.err,
        format!(
            "deleted {digest}\nsecurecp: warning: these tags stood for the same digest and are gone too: latest, v2\n"
        )
    );
    assert_eq!(place.run(&format!("inspect --raw --tls-verify=false {}", at("v2"))).code, 2);
    assert_eq!(place.run(&format!("inspect --raw --tls-verify=false {}", at("other"))).code, 0);
    let again = place.run(&format!("delete --tls-verify=false {}", at("v1")));
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.err.contains("manifest unknown"), "{}", again.err);
}

#[test]
fn deletes_from_a_layout_with_the_blobs_that_nobody_needs() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    place.ok("copy -q oci:image:v1 oci:out:v1");
    let run = place.run("delete oci:out:v1");
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    assert_eq!(run.err, format!("deleted {digest} and 4 blobs\n"));
    assert!(listing(&place.path("out/blobs/sha256")).is_empty());
    assert_eq!(place.run("delete oci:out:v1").code, 2);
    place.write("plain/x", "");
    let run = place.run("delete dir:plain");
    assert_eq!(run.code, 1);
    assert!(run.err.starts_with("securecp: error: deleting dir:plain: "), "{}", run.err);
    assert!(place.exists("plain/x"));
}

#[test]
fn templates_show_single_fields() {
    let place = Place::new();
    let digest = image::single(&place.path("image"));
    for (template, expected) in [
        ("{{.Digest}}", format!("{digest}\n")),
        ("{{.Created}}", "2026-01-02 03:04:05.6 +0000 UTC\n".to_owned()),
        ("{{.Architecture}}/{{.Os}}", "amd64/linux\n".to_owned()),
        ("{{json.Labels}}", "{\"a\":\"first\",\"z\":\"last\"}\n".to_owned()),
        ("{{.Env}}", "[PATH=/bin A=<b>&c]\n".to_owned()),
        ("{{len.Layers}}", "2\n".to_owned()),
    ] {
        let run = place.run(&format!("inspect --format {template} oci:image:v1"));
        assert_eq!((run.code, run.out), (0, expected), "{template}");
    }
    let usual = place.run("inspect oci:image:v1").out;
    for template in ["json", "{{json}}", "{{json.}}"] {
        assert_eq!(place.run(&format!("inspect -f {template} oci:image:v1")).out, usual);
    }
    let run = place.run("inspect --config --format {{.Config.Env}}{{.RootFS.Type}} oci:image:v1");
    assert_eq!(run.out, "[PATH=/bin A=<b>&c]layers\n");
    place.fails(
        "inspect --format {{.Nothing}} oci:image:v1",
        1,
        &["securecp: error: --format: template: can't evaluate field Nothing"],
    );
    place.fails(
        "inspect --raw --format {{.Digest}} oci:image:v1",
        64,
        &["securecp: error: --raw and --format exclude each other"],
    );
}

#[test]
fn the_digest_shown_may_be_of_another_algorithm() {
    let place = Place::new();
    image::single(&place.path("image"));
    let raw = place.run("inspect --raw oci:image:v1").out;
    let expected = securecp_oci::Digest::of(securecp_oci::Algorithm::Sha512, raw.as_bytes());
    let run = place.run("inspect --manifest-digest sha512 --format {{.Digest}} oci:image:v1");
    assert_eq!((run.code, run.out), (0, format!("{expected}\n")));
    place.fails(
        "inspect --manifest-digest md5 oci:image:v1",
        64,
        &["securecp: error: --manifest-digest: digest algorithm \"md5\" is not available, expected sha256, sha384 or sha512"],
    );
}
