//! The grammar of policies: every row of the reference's strictness, and the lookup of scopes.

use std::error::Error;

use securecp_oci::{ImageIdentity, Transport};
use securecp_trust::{Policy, ScopeUsed};

const REJECT: &str = r#"[{"type":"reject"}]"#;

/// The error with all its causes, as the program prints it.
fn refusal(text: &str) -> String {
    let error = Policy::parse(text.as_bytes()).expect_err(text);
    let causes = std::iter::successors(Some(&error as &dyn Error), |e| (*e).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[track_caller]
fn refuses(text: &str, phrase: &str) {
    let found = refusal(text);
    assert!(found.contains(phrase), "{text}\n  expected: {phrase}\n  found: {found}");
}

#[track_caller]
fn accepts(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

fn with_requirement(requirement: &str) -> String {
    format!(r#"{{"default":[{requirement}]}}"#)
}

fn with_scope(transport: &str, scope: &str) -> String {
    format!(r#"{{"default":{REJECT},"transports":{{"{transport}":{{"{scope}":{REJECT}}}}}}}"#)
}

fn signed_by(members: &str) -> String {
    with_requirement(&format!(r#"{{"type":"signedBy","keyType":"GPGKeys",{members}}}"#))
}

fn sigstore(members: &str) -> String {
    with_requirement(&format!(r#"{{"type":"sigstoreSigned",{members}}}"#))
}

fn identity(value: &str) -> String {
    signed_by(&format!(r#""keyPath":"/k","signedIdentity":{value}"#))
}

#[test]
fn default_is_mandatory_and_lists_are_not_empty() {
    refuses("{}", "Default policy is missing");
    let empty = "List of verification policy requirements must not be empty";
    refuses(r#"{"default":null}"#, empty);
    refuses(r#"{"default":[]}"#, empty);
    refuses(&with_scope("docker", "x").replacen(r#"x":[{"type":"reject"}]"#, r#"x":[]"#, 1), empty);
    refuses(r#"{"default":{}}"#, "not an array");
    refuses("[]", "JSON object expected");
}

#[test]
fn null_is_not_absent() {
    let text = format!(r#"{{"default":{REJECT},"transports":null}}"#);
    refuses(&text, "JSON object expected, got <nil>");
    let text = format!(r#"{{"default":{REJECT},"transports":{{"docker":null}}}}"#);
    refuses(&text, "JSON object expected, got <nil>");
    refuses(&with_requirement("null"), "Unknown policy requirement type \"\"");
    refuses(&identity("null"), "Unknown policy reference match type \"\"");
    refuses(&sigstore(r#""fulcio":null"#), "JSON object expected, got <nil>");
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    let unknown = "Unknown key \"x\"";
    refuses(&format!(r#"{{"default":{REJECT},"x":1}}"#), unknown);
    refuses(&with_requirement(r#"{"type":"reject","x":1}"#), unknown);
    refuses(&with_requirement(r#"{"type":"insecureAcceptAnything","x":1}"#), unknown);
    refuses(&signed_by(r#""keyPath":"/k","x":1"#), unknown);
    refuses(&sigstore(r#""keyPath":"/k","x":1"#), unknown);
    refuses(&identity(r#"{"type":"matchExact","x":1}"#), unknown);
    refuses(&identity(r#"{"type":"matchRepository","x":1}"#), unknown);
    refuses(&identity(r#"{"type":"matchRepoDigestOrExact","x":1}"#), unknown);
    refuses(
        &sigstore(&fulcio(r#""x":1,"caPath":"/c","oidcIssuer":"i","subjectEmail":"e""#)),
        unknown,
    );
    refuses(&sigstore(r#""pki":{"x":1,"caRootsPath":"/c","subjectEmail":"e"}"#), unknown);
    refuses(&with_requirement(r#"{"type":"signedBaseLayer","x":1}"#), unknown);
}

#[test]
fn field_names_are_case_sensitive() {
    refuses(&format!(r#"{{"Default":{REJECT}}}"#), "Unknown key \"Default\"");
    refuses(&with_requirement(r#"{"Type":"insecureAcceptAnything"}"#), "Unknown key \"Type\"");
    refuses(&with_requirement(r#"{"type":"reject","Type":"reject"}"#), "Unknown key \"Type\"");
    refuses(&signed_by(r#""KeyPath":"/k""#), "Unknown key \"KeyPath\"");
}

#[test]
fn duplicate_keys_are_refused_everywhere() {
    let once = r#"{"type":"reject"}"#;
    for (text, key) in [
        (format!(r#"{{"default":[{once}],"default":[{once}]}}"#), "default"),
        (with_requirement(r#"{"type":"reject","type":"insecureAcceptAnything"}"#), "type"),
        (format!(r#"{{"default":[{once}],"transports":{{"dir":{{}},"dir":{{}}}}}}"#), "dir"),
        (
            format!(r#"{{"default":[{once}],"transports":{{"dir":{{"":[{once}],"":[{once}]}}}}}}"#),
            "",
        ),
        (signed_by(r#""keyPath":"/a","keyPath":"/b""#), "keyPath"),
        (identity(r#"{"type":"matchExact","type":"matchExact"}"#), "type"),
        (
            format!(
                r#"{{"default":[{once}],"transports":{{"foo":{{"a":[{once}],"a":[{once}]}}}}}}"#
            ),
            "a",
        ),
    ] {
        refuses(&text, &format!("Duplicate key \"{key}\""));
    }
}

#[test]
fn unknown_types_are_refused() {
    refuses(&with_requirement(r#"{"type":"foo"}"#), "Unknown policy requirement type \"foo\"");
    refuses(&with_requirement("{}"), "Unknown policy requirement type \"\"");
    refuses(&with_requirement(r#"{"type":1}"#), "\"type\" is not a string");
    refuses(&with_requirement("1"), "JSON object expected");
    refuses(&identity(r#"{"type":"foo"}"#), "Unknown policy reference match type \"foo\"");
}

#[test]
fn json_is_one_plain_document() {
    let good = format!(r#"{{"default":{REJECT}}}"#);
    accepts(&format!("  {good}\n"));
    for bad in [
        format!("{good}x"),
        format!("{good}{good}"),
        format!("{good} // comment"),
        format!("/* comment */{good}"),
        format!("\u{feff}{good}"),
        format!("{good},"),
        good.replace('"', "'"),
        String::new(),
    ] {
        refuses(&bad, "policy cannot be read");
    }
    let deep = format!(r#"{{"default":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    refuses(&deep, "policy cannot be read");
    let large = format!("{good}{}", " ".repeat(securecp_trust::POLICY_LIMIT));
    refuses(&large, "the limit is");
}

#[test]
fn unknown_transports_are_accepted_but_their_requirements_are_read() {
    accepts(&with_scope("no-such-transport", "/not//a/scope:?"));
    let text =
        with_scope("no-such-transport", "s").replace("s\":[{\"type\":\"reject\"}]", "s\":[]");
    refuses(&text, "List of verification policy requirements must not be empty");
}

#[test]
fn scopes_are_checked_for_known_transports() {
    for (transport, scope) in [
        ("dir", "relative"),
        ("dir", "/"),
        ("dir", "/a//b"),
        ("oci", "relative"),
        ("oci", "/"),
        ("oci", "/a//b"),
        ("oci-archive", "/a/"),
        ("docker-archive", "/a"),
        ("tarball", "/a"),
    ] {
        refuses(&with_scope(transport, scope), &format!("Unknown key \"{scope}\""));
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    refuses(&with_scope("docker-daemon", &digest), "Unknown key \"sha256:");
    for (transport, scope) in [
        ("docker", "UPPER *.*"),
        ("docker", ""),
        ("docker-archive", ""),
        ("tarball", ""),
        ("dir", "/a/b"),
        ("oci", "/x/ocid:tag1"),
    ] {
        accepts(&with_scope(transport, scope));
    }
}

#[test]
fn signed_by_wants_exactly_one_source_of_keys() {
    let list = "keyPath, keyPaths and keyData";
    let none = format!("Exactly one of {list} must be specified, none of them present");
    refuses(&with_requirement(r#"{"type":"signedBy","keyType":"GPGKeys"}"#), &none);
    let several = format!("Exactly one of {list} must be specified, more than one present");
    refuses(&signed_by(r#""keyPath":"/k","keyData":"YQ==""#), &several);
    refuses(&signed_by(r#""keyPath":"/k","keyPaths":[]"#), &several);
    refuses(&signed_by(r#""keyPath":"","keyData":"""#), &several);
    let empty = format!("exactly one of {list} must be specified");
    for member in
        [r#""keyPath":"""#, r#""keyPath":null"#, r#""keyPaths":null"#, r#""keyData":null"#]
    {
        refuses(&signed_by(member), &empty);
    }
    for member in
        [r#""keyPaths":[]"#, r#""keyData":"""#, r#""keyPaths":["/a","/b"]"#, r#""keyData":"YQ==""#]
    {
        accepts(&signed_by(member));
    }
    for member in [r#""keyPath":1"#, r#""keyPaths":"/k""#, r#""keyPaths":[1]"#, r#""keyData":[]"#] {
        refuses(&signed_by(member), "is not a");
    }
}

#[test]
fn base64_is_go_s_standard_encoding() {
    for bad in ["YQ", "YQ= =", "Y-_=", "%"] {
        refuses(&signed_by(&format!(r#""keyData":"{bad}""#)), "illegal base64 data at input byte");
    }
    accepts(&signed_by(r#""keyData":"Y\r\nQ==\n""#));
}

#[test]
fn key_types_are_known() {
    let with = |member: &str| {
        with_requirement(&format!(r#"{{"type":"signedBy","keyPath":"/k"{member}}}"#))
    };
    refuses(&with(""), "invalid keyType \"\"");
    refuses(&with(r#","keyType":null"#), "invalid keyType \"\"");
    refuses(&with(r#","keyType":"foo""#), "Unrecognized keyType value \"foo\"");
    for known in ["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"] {
        accepts(&with(&format!(r#","keyType":"{known}""#)));
    }
}

#[test]
fn identities_are_checked() {
    let name = r#"{"type":"exactReference","dockerReference":"busybox"}"#;
    refuses(&identity(name), "dockerReference \"busybox\" contains neither a tag nor digest");
    refuses(
        &identity(&name.replace("busybox", "UPPER")),
        "Invalid format of dockerReference \"UPPER\"",
    );
    refuses(&identity(r#"{"type":"exactReference"}"#), "Invalid format of dockerReference \"\"");
    accepts(&identity(&name.replace("busybox", "busybox:1")));
    let repository = r#"{"type":"exactRepository","dockerRepository":"testing/manifest:other"}"#;
    accepts(&identity(repository));
    refuses(
        &identity(&repository.replace("manifest", "MANIFEST")),
        "Invalid format of dockerRepository",
    );
    let remap = |prefix: &str, signed: &str| {
        identity(&format!(
            r#"{{"type":"remapIdentity","prefix":"{prefix}","signedPrefix":"{signed}"}}"#
        ))
    };
    refuses(&remap("", "r.test"), "prefix \"\" is not valid");
    refuses(&remap("r.test/a:tag", "r.test"), "prefix \"r.test/a:tag\" is not valid");
    refuses(&remap("r.test", "r.test/"), "prefix \"r.test/\" is not valid");
    refuses(&identity(r#"{"type":"remapIdentity","prefix":"r.test"}"#), "prefix \"\" is not valid");
    for prefix in ["r.test", "localhost:5000", "r.test/a/b", "busybox", "ns/short", "[::1]:5000"] {
        accepts(&remap(prefix, "r.test"));
    }
}

#[test]
fn base_layer_identity_is_mandatory() {
    let missing = r#"{"type":"signedBaseLayer"}"#;
    refuses(&with_requirement(missing), "Unknown policy reference match type \"\"");
    let whole = r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#;
    accepts(&with_requirement(whole));
}

fn fulcio(members: &str) -> String {
    format!(r#""fulcio":{{{members}}},"rekorPublicKeyPath":"/r""#)
}

#[test]
fn sigstore_wants_exactly_one_trust_and_at_most_one_log() {
    let list = "keyPath, keyPaths, keyData, keyDatas, fulcio and pki";
    let none = format!("Exactly one of {list} must be specified, none of them present");
    refuses(&with_requirement(r#"{"type":"sigstoreSigned"}"#), &none);
    refuses(&sigstore(r#""keyPath":"/k","keyDatas":["YQ=="]"#), "more than one present");
    refuses(&sigstore(r#""keyPath":"""#), "must be specified");
    for key in ["keyPaths", "keyDatas"] {
        refuses(&sigstore(&format!(r#""{key}":[]"#)), &format!("\"{key}\" contains no entries"));
    }
    for key in ["rekorPublicKeyPaths", "rekorPublicKeyDatas"] {
        let text = sigstore(&format!(r#""keyPath":"/k","{key}":[]"#));
        refuses(&text, &format!("\"{key}\" contains no entries"));
    }
    let both = r#""keyPath":"/k","rekorPublicKeyPath":"/r","rekorPublicKeyData":"YQ==""#;
    refuses(&sigstore(both), "more than one present");
    for member in [r#""keyPath":"/k""#, r#""keyDatas":["YQ==","Yg=="]"#, r#""keyData":"""#] {
        accepts(&sigstore(member));
    }
    accepts(&sigstore(r#""keyPaths":["/k"],"rekorPublicKeyDatas":["YQ=="]"#));
}

#[test]
fn an_empty_log_key_is_refused_not_ignored() {
    for value in [r#""""#, "null"] {
        let text = sigstore(&format!(r#""keyPath":"/k","rekorPublicKeyPath":{value}"#));
        refuses(&text, "exactly one of rekorPublicKeyPath");
    }
}

#[test]
fn fulcio_and_pki_are_complete() {
    let whole = r#""caPath":"/c","oidcIssuer":"i","subjectEmail":"e""#;
    accepts(&sigstore(&fulcio(whole)));
    accepts(&sigstore(&fulcio(&whole.replace(r#""caPath":"/c""#, r#""caData":"YQ==""#))));
    let without_rekor = format!(r#""fulcio":{{{whole}}}"#);
    refuses(&sigstore(&without_rekor), "must be specified if fulcio is used");
    let no_issuer = fulcio(&whole.replace(r#""oidcIssuer":"i","#, ""));
    refuses(&sigstore(&no_issuer), "oidcIssuer not specified");
    let no_email = fulcio(&whole.replace(r#","subjectEmail":"e""#, ""));
    refuses(&sigstore(&no_email), "subjectEmail not specified");
    refuses(&sigstore(&fulcio(&whole.replace(r#""caPath":"/c","#, ""))), "caPath and caData");
    refuses(&sigstore(&fulcio(&format!(r#"{whole},"caData":"YQ==""#))), "more than one present");
    let pki = |members: &str| sigstore(&format!(r#""pki":{{{members}}}"#));
    accepts(&pki(r#""caRootsPath":"/c","subjectEmail":"e","subjectHostname":"h""#));
    accepts(&pki(r#""caRootsData":"YQ==","caIntermediatesPath":"/i","subjectHostname":"h""#));
    refuses(
        &pki(r#""caRootsPath":"/c""#),
        "At least one of subjectEmail, subjectHostname must be specified",
    );
    refuses(&pki(r#""subjectEmail":"e""#), "caRootsPath and caRootsData");
    let with_log = r#""pki":{"caRootsPath":"/c","subjectEmail":"e"},"rekorPublicKeyPath":"/r""#;
    refuses(&sigstore(with_log), "are not supported for pki");
}

/// Every member of a valid policy, deleted, doubled, renamed, emptied or mistyped, makes it invalid; the exceptions are
/// listed.
#[test]
fn every_mutation_of_a_valid_policy_is_noticed() {
    let members = [
        ("type", r#""sigstoreSigned""#),
        ("fulcio", r#"{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}"#),
        ("rekorPublicKeyPath", r#""/r""#),
        ("signedIdentity", r#"{"type":"exactReference","dockerReference":"r.test/a:1"}"#),
    ];
    let build = |members: &[(&str, &str)]| {
        let parts: Vec<_> = members.iter().map(|(k, v)| format!(r#""{k}":{v}"#)).collect();
        with_requirement(&format!("{{{}}}", parts.join(",")))
    };
    accepts(&build(&members));
    for (n, (key, value)) in members.iter().enumerate() {
        let mut without = members.to_vec();
        without.remove(n);
        let deleted = Policy::parse(build(&without).as_bytes());
        assert_eq!(deleted.is_ok(), *key == "signedIdentity", "{key} deleted");
        for changed in
            [("renamed", *value), (key, "null"), (key, "1"), (key, "[]"), (key, r#"["a"]"#)]
        {
            let mut other = members.to_vec();
            other[n] = changed;
            assert!(Policy::parse(build(&other).as_bytes()).is_err(), "{key}: {changed:?}");
        }
        let mut doubled = members.to_vec();
        doubled.push((key, value));
        assert!(Policy::parse(build(&doubled).as_bytes()).is_err(), "{key} doubled");
    }
}

fn used(policy: &Policy, identity: &ImageIdentity) -> String {
    policy.scope_for(identity).0.to_string()
}

fn docker(reference: &str) -> ImageIdentity {
    ImageIdentity::docker(&reference.parse().unwrap())
}

/// Whether an image named `reference` falls under the scope `scope` rather than under the default.
fn covers(scope: &str, reference: &str) -> bool {
    let policy = accepts(&with_scope("docker", scope));
    matches!(policy.scope_for(&docker(reference)).0, ScopeUsed::Transport { .. })
}

#[test]
fn docker_scopes_cover_what_they_cover_in_the_reference() {
    let hex = "0".repeat(64);
    let by_digest = format!("127.0.0.1:5588/ns/list@sha256:{hex}");
    for (scope, reference, expected) in [
        ("127.0.0.1:5588/ns/list:v1", "127.0.0.1:5588/ns/list:v1", true),
        ("127.0.0.1:5588/ns/list", "127.0.0.1:5588/ns/list:v1", true),
        ("127.0.0.1:5588/ns", "127.0.0.1:5588/ns/list:v1", true),
        ("127.0.0.1:5588", "127.0.0.1:5588/ns/list:v1", true),
        ("", "127.0.0.1:5588/ns/list:v1", true),
        ("127.0.0.1", "127.0.0.1:5588/ns/list:v1", false),
        ("127.0.0.1:5588/n", "127.0.0.1:5588/ns/list:v1", false),
        (&by_digest, "127.0.0.1:5588/ns/list:v1", false),
        (&by_digest, &by_digest, true),
        ("127.0.0.1:5588/ns/list:v1", &by_digest, false),
        ("*.0.0.1", "127.0.0.1:5588/ns/list:v1", true),
        ("*.0.1", "127.0.0.1:5588/ns/list:v1", true),
        ("*.1", "127.0.0.1:5588/ns/list:v1", true),
        ("localhost", "localhost:5588/ns/list:v1", false),
        ("*.example.com", "example.com/a", false),
        ("*.example.com", "x.example.com:5000/a", true),
        ("docker.io/library", "busybox", true),
        ("docker.io/library/busybox:latest", "busybox", true),
        ("busybox", "busybox", false),
    ] {
        assert_eq!(covers(scope, reference), expected, "{scope:?} {reference}");
    }
}

#[test]
fn the_nearest_scope_decides_alone() {
    let text = r#"{"default":[{"type":"reject"}],"transports":{"docker":{
        "":[{"type":"reject"}],"r.test":[{"type":"reject"}],"r.test/a":[{"type":"insecureAcceptAnything"}]}}}"#;
    let policy = accepts(text);
    for (image, scope) in [
        ("r.test/a:1", "transport docker, scope \"r.test/a\""),
        ("r.test/b:1", "transport docker, scope \"r.test\""),
        ("s.test/b:1", "transport docker, scope \"\""),
    ] {
        assert_eq!(used(&policy, &docker(image)), scope);
    }
    assert_eq!(policy.scope_for(&docker("r.test/a:1")).1.len(), 1);
    assert_eq!(used(&policy, &ImageIdentity::path(Transport::Dir, "/a")), "default");
}

#[test]
fn path_scopes_cover_the_directory_and_what_is_below() {
    let policy = accepts(&with_scope("oci", "/x/ocid"));
    for (path, expected) in
        [("/x/ocid", true), ("/x/ocid/sub", true), ("/x/ocidother", false), ("/x", false)]
    {
        let found = used(&policy, &ImageIdentity::path(Transport::Oci, path));
        assert_eq!(found != "default", expected, "{path}");
    }
    let tagged = accepts(&with_scope("oci", "/x/ocid:tag1"));
    assert_eq!(used(&tagged, &ImageIdentity::path(Transport::Oci, "/x/ocid")), "default");
}

#[test]
fn images_without_identity_fall_under_the_transport_s_own_default() {
    let policy = accepts(&with_scope("docker-archive", ""));
    let archive = ImageIdentity::anonymous(Transport::DockerArchive);
    assert_eq!(used(&policy, &archive), "transport docker-archive, scope \"\"");
    let daemon = ImageIdentity::anonymous(Transport::DockerDaemon);
    assert_eq!(used(&policy, &daemon), "default");
}

#[test]
fn reads_the_vectors_policies() {
    for text in [
        include_str!("../../../../testdata/trust/policy-alice.json"),
        include_str!("../../../../testdata/trust/policy-sigstore.json"),
        include_str!("../../../../testdata/trust/policy-sigstore-rekor.json"),
        include_str!("../../../../testdata/trust/policy-keyless.json"),
    ] {
        accepts(text);
    }
}
