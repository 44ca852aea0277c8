//! Judging without copying, and questions about policies.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use cli::{Place, image};
use serde_json::{Value, json};

#[test]
fn a_verdict_is_a_table_json_and_an_exit_code() {
    let place = Place::new();
    let index = image::two_platforms(&place.path("image"));
    let run = place.ok("verify --all oci:image:v1");
    assert!(run.out.starts_with("oci:[DIR]/image: accepted (default)\n"), "{}", run.out);
    assert!(
        run.out.contains(&format!("  {index} {}: not judged, its instances are\n", image::INDEX)),
        "{}",
        run.out
    );
    assert_eq!(run.out.matches("insecureAcceptAnything: met\n").count(), 2, "{}", run.out);
    let run = place.run("--policy reject.json verify --json --multi-arch index-only oci:image:v1");
    assert_eq!(run.code, 3, "{run:?}");
    let verdict: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(verdict["accepted"], false);
    assert_eq!(verdict["subjects"][0]["digest"], index);
    assert_eq!(verdict["subjects"][0]["requirements"][0]["denial"]["reason"], "rejected");
    assert!(
        run.err.contains(
            "Source image rejected: Running image oci:[DIR]/image is rejected by policy."
        ),
        "{}",
        run.err
    );
    let run = place.run("--policy accept.json --require-signed verify --all oci:image:v1");
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.out.contains("no requirement of this scope verifies signatures"), "{}", run.out);
}

#[test]
fn a_refused_copy_prints_the_verdict_that_verify_prints() {
    let place = Place::new();
    image::two_platforms(&place.path("image"));
    let verified = place.run("--policy reject.json verify --all --json oci:image:v1");
    for dry_run in ["", "--dry-run "] {
        let line = format!("--policy reject.json copy {dry_run}--all --json oci:image:v1 oci:new");
        let copied = place.run(&line);
        assert_eq!((copied.code, copied.out), (3, verified.out.clone()), "{}", copied.err);
        assert!(copied.err.contains("Source image rejected: "), "{}", copied.err);
        assert!(!place.path("new").exists());
    }
    let plain = place.run("--policy reject.json copy --all oci:image:v1 oci:new");
    assert_eq!((plain.code, plain.out.as_str()), (3, ""), "{}", plain.err);
    let missing = place.run("--policy reject.json copy --json oci:nowhere:v1 oci:new");
    assert_eq!((missing.code, missing.out.as_str()), (2, ""), "{}", missing.err);
}

#[test]
fn what_cannot_be_read_is_no_verdict() {
    let place = Place::new();
    let run = place.run("--policy accept.json verify oci:nowhere:v1");
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
    image::single(&place.path("image"));
    let run = place.run("--policy missing.json verify oci:image:v1");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    let run = place.run("--policy accept.json verify --index-signature maybe oci:image:v1");
    assert_eq!(run.code, 64, "{run:?}");
}

#[test]
fn check_says_what_a_policy_asks_for_and_what_is_wrong_with_it() {
    let place = Place::new();
    let signed =
        json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": place.path("key.asc")}]);
    let policy =
        json!({"default": [{"type": "reject"}], "transports": {"docker": {"h.example": signed}}});
    place.write("p.json", policy.to_string());
    let run = place.run("policy check p.json");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        run.out,
        "p.json is a valid policy\n  transport docker, scope \"h.example\"\n    signedBy: an OpenPGP signature \
         by a key in [DIR]/key.asc (GPGKeys), identity matchRepoDigestOrExact\n  default\n    reject: no image passes\n"
    );
    assert!(run.err.contains("warning: key file [DIR]/key.asc cannot be read: "), "{}", run.err);
    place.write("key.asc", "some key");
    let run = place.run("policy check --json p.json");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let entries: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(entries["entries"][0]["scope"]["scope"], "h.example");
    assert_eq!(entries["entries"][1]["requirements"][0]["type"], "reject");
    place.write("bad.json", r#"{"default": [{"type": "reject", "keyPath": "/x"}]}"#);
    place.fails(
        "policy check bad.json",
        1,
        &["securecp: error: loading trust policy bad.json: policy is invalid at default[0]: Unknown key \"keyPath\""],
    );
}

#[test]
fn explain_needs_neither_image_nor_network() {
    let place = Place::new();
    // Nobody listens on this port: any request would fail.
    let run = place.run("--policy reject.json policy explain docker://127.0.0.1:9/app:v1");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert_eq!(
        run.out,
        "docker://127.0.0.1:9/app:v1\nentries of the policy, nearest first:\n  \"127.0.0.1:9/app:v1\": none\n  \
         \"127.0.0.1:9/app\": none\n  \"127.0.0.1:9\": none\n  \"*.0.0.1\": none\n  \"*.0.1\": none\n  \
         \"*.1\": none\n  \"\": none\n  default: decides alone\nall of this must be met:\n  reject: no image passes\n"
    );
    image::single(&place.path("image"));
    let run = place.run("--policy accept.json policy explain --json oci:image:v1");
    let found: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(found["scope"], json!({"default": true}));
    assert_eq!(found["requirements"][0]["verifiesSignatures"], false);
}

#[test]
fn check_warns_of_entries_that_no_image_can_meet() {
    let place = Place::new();
    let reject = json!([{"type": "reject"}]);
    let policy = json!({"default": reject, "transports": {
        "dokcer": {"h.example": reject},
        "docker": {"h.example/a": reject, "docker://h.example/b": reject},
    }});
    place.write("p.json", policy.to_string());
    let run = place.run("policy check p.json");
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.err);
    assert!(run.err.contains("transport dokcer, scope \"h.example\": no such transport is known"));
    let scope = "transport docker, scope \"docker://h.example/b\": no image can meet this entry";
    assert!(run.err.contains(scope), "{}", run.err);
}
