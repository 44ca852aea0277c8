//! What is shown besides results: progress, help, completions, manual pages; and signatures beside a registry.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its premise fails")]

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

/// The text of a page of the documentation.
fn page(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Whether a value is of a type, or of one of several.
fn is_of(value: &Value, kind: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| is_of(value, kind)),
        kind => match kind.as_str().unwrap() {
            "integer" => value.is_u64(),
            "string" => value.is_string(),
            "null" => value.is_null(),
            other => panic!("the schema has a type that this test does not know: {other}"),
        },
    }
}

/// What an event has that the published schema does not, or the reverse.
fn misfit(event: &Value, schema: &Value) -> Option<String> {
    let forms = schema["oneOf"].as_array().unwrap();
    let of_event = |form: &&Value| form["properties"]["event"]["const"] == event["event"];
    let Some(form) = forms.iter().find(of_event) else { return Some(format!("unknown: {event}")) };
    let required = form["required"].as_array().unwrap();
    if let Some(name) = required.iter().find(|name| event.get(name.as_str().unwrap()).is_none()) {
        return Some(format!("{name} is missing: {event}"));
    }
    event.as_object().unwrap().iter().find_map(|(name, value)| {
        let property = &form["properties"][name];
        let fits = property.get("const").is_some_and(|only| only == value)
            || property.get("type").is_some_and(|kind| is_of(value, kind));
        (!fits).then(|| format!("{name} is not as in the schema: {event}"))
    })
}

#[test]
fn events_are_as_the_published_schema_says() {
    let text = page("progress.md");
    let (_, schema) = text.split_once("```json\n").unwrap();
    let schema: Value = serde_json::from_str(schema.split("```").next().unwrap()).unwrap();
    let place = Place::new();
    image::two_platforms(&place.path("image"));
    let mut kinds = std::collections::BTreeSet::new();
    for line in ["", "--all", "--all"] {
        let run = place.ok(&format!(
            "copy --progress json {line} --override-arch amd64 oci:image:v1 oci:out:v1"
        ));
        for event in run.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            assert_eq!(misfit(&event, &schema), None);
            kinds.insert(event["event"].as_str().unwrap().to_owned());
        }
    }
    for kind in ["planned", "started", "finished", "skipped"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    for bad in [
        serde_json::json!({"event": "fly"}),
        serde_json::json!({"event": "finished", "task": 1}),
        serde_json::json!({"event": "finished", "task": 1, "bytes": "1"}),
        serde_json::json!({"event": "finished", "task": 1, "bytes": 1, "more": 1}),
    ] {
        assert!(misfit(&bad, &schema).is_some(), "{bad}");
    }
}

/// The members that docs/formats.md lists under a heading.
fn documented(heading: &str) -> Vec<String> {
    let text = page("formats.md");
    let (_, rest) = text.split_once(&format!("### {heading}\n")).unwrap();
    let table = rest.split("\n### ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut names: Vec<String> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn results_have_the_members_that_the_documentation_lists() {
    let place = Place::new();
    image::two_platforms(&place.path("image"));
    place.write("trust.yaml", "version: 1\ndefault: policy-only\n");
    place.write("k.pub", include_bytes!("../testdata/sigstore/private-keys/p256.pub"));
    place.write(
        "recorders.yaml",
        "version: 1\nsigners: {m: {key: k.pub, dangerous-no-log: true}}\nrecorders: [m]\ndefault: policy-only\n",
    );
    for (heading, line) in [
        ("`copy --dry-run --json`", "copy --all --dry-run --json oci:image:v1 oci:out:v1"),
        ("`copy --json`", "copy --all --json -q oci:image:v1 oci:out:v1"),
        ("`verify --json`", "verify --all --json --trust trust.yaml oci:image:v1"),
        (
            "`verify --follow-record --json`",
            "verify --all --json --follow-record --trust recorders.yaml oci:image:v1",
        ),
    ] {
        let result: Value = serde_json::from_str(&place.ok(line).out).unwrap();
        let mut names: Vec<String> = result.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(names, documented(heading), "{heading}");
    }
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
    // in the order of the chain
    let headings = [
        "What is copied:",
        "Trust:",
        "What travels beside it:",
        "What is changed:",
        "Encryption of layers:",
        "Compression (nothing changes unless asked for):",
        "Signing at the destination:",
        "Names and results:",
        "Reaching the source:",
        "Reaching the destination:",
        "How hard to try:",
        "Being interrupted:",
        "Output:",
    ];
    let found: Vec<&str> = help.lines().filter(|line| headings.contains(line)).collect();
    assert_eq!(found, headings);
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
fn the_log_has_each_request_with_its_answer_and_no_secret() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let line = format!(
        "--policy accept.json --debug copy -q --dest-tls-verify=false --dest-creds user:hunter2 oci:image:v1 docker://{}/a/b:v1",
        served.address
    );
    let run = place.run_with(&line, |command| {
        command.env("NO_COLOR", "1");
    });
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{run:?}");
    assert!(!run.err.contains('\u{1b}') && !run.err.contains("hunter2"), "{}", run.err);
    let field = |line: &str, name: &str| {
        let value = line.split_once(&format!(" {name}="))?.1;
        Some(value.split(' ').next()?.trim_matches('"').to_owned())
    };
    let of = |kind: &str| {
        let lines = run.err.lines().filter(|line| line.contains(kind));
        let mut all: Vec<_> = lines
            .filter(|line| field(line, "scheme").is_none_or(|scheme| scheme == "http"))
            .map(|line| (field(line, "method").unwrap(), field(line, "path").unwrap()))
            .collect();
        all.sort();
        all
    };
    let asked = [of("client: request "), of("client: upload ")].concat();
    let mut asked = asked;
    asked.sort();
    assert!(asked.iter().any(|(method, _)| method == "PUT"), "{asked:?}");
    // The first question, in HTTPS, has no answer from a registry without it.
    assert_eq!(asked, of("client: answer "), "{}", run.err);
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
    place.write("file", "");
    let run = place.run(
        "copy -q --policy accept.json --dest-shared-blob-dir file/blobs oci:image:v1 oci:out:v1",
    );
    assert!(run.code == 1 && run.err.contains("file"), "{run:?}");
    place.ok("copy -q --dry-run --dest-shared-blob-dir store/blobs oci:image:v1 oci:out:v1");
    assert!(!place.exists("store") && !place.exists("out"));
    place.ok("copy -q --dest-shared-blob-dir store/blobs oci:image:v1 oci:out:v1");
    assert!(place.exists(&format!("store/blobs/sha256/{}", &digest[7..])));
    std::fs::rename(place.path("store/blobs"), place.path("blobs")).unwrap();
    place.ok("copy -q --src-shared-blob-dir blobs oci:out:v1 dir:back");
    assert_eq!(image::digest(&place.read("back/manifest.json")), digest);
    assert_eq!(place.run("inspect --shared-blob-dir blobs oci:out:v1").code, 0);
    assert_ne!(place.run("inspect oci:out:v1").code, 0);
}
