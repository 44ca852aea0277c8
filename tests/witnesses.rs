//! Who witnesses new sigstore signatures: logs of both versions, timestamp authorities, and how they are held to their keys.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::SocketAddr;
use std::path::Path;

use cli::{Place, Run, signing};
use securecp_testkit::Registry;
use securecp_testkit::http::Request;
use securecp_testkit::sigstore::{ISSUER, MARK, Odd, Sigstore, token};
use securecp_testkit::tls::{Authority, TlsFront, TlsSettings};
use serde_json::{Value, json};

const EMAIL: &str = "release@securecp.test";
/// Where copies go that must come to nothing.
const REFUSED: &str = "refused";
const BUNDLE: &str = "--sign-format bundle --sign-trusted-root root.json";
const BOTH: &str = "--sign-format both --sign-trusted-root root.json";

/// A place with an image in `oci:image:v1`, the services and their trusted root, and a key.
struct Bench {
    place: Place,
    sigstore: Sigstore,
    registry: Registry,
    digests: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let (place, sigstore) = (Place::new(), Sigstore::start().unwrap());
        let digests = signing::signable(&place);
        signing::attachments(&place, true);
        place.write("root.json", sigstore.trusted_root());
        place.write("rekor.pub", sigstore.log_pem());
        place.write("passphrase", "pw\n");
        place.ok("generate-sigstore-key --output-prefix key --passphrase-file passphrase");
        let file = |accept: &str, signer: &str| {
            format!(
                "version: 1\ntrusted-root: root.json\ndangerous-no-certificate-log: true\n\
                 signers: {{who: {{{signer}}}}}\ndefault: {{accept: {accept}, require: who}}\n"
            )
        };
        let person = format!("issuer: '{ISSUER}', email: {EMAIL}");
        place.write("bundle.yaml", file("bundle", &person));
        place.write("attachment.yaml", file("attachment", &person));
        place.write("key.yaml", file("bundle", "key: key.pub"));
        Self { place, sigstore, registry: Registry::start().unwrap(), digests }
    }

    /// Writes a parameter file with these witnesses; `SERVICES` is the address of all services.
    fn by_certificate(&self, witnesses: &str) {
        let fulcio = format!("oidcMode: staticToken, oidcIDToken: {}", token(EMAIL));
        self.parameters(&format!("fulcio: {{fulcioURL: 'SERVICES', {fulcio}}}\n{witnesses}"));
    }

    fn by_key(&self, witnesses: &str) {
        let key = "privateKeyFile: key.private\nprivateKeyPassphraseFile: passphrase\n";
        self.parameters(&format!("{key}{witnesses}"));
    }

    fn parameters(&self, text: &str) {
        let text = text.replace("SERVICES", &self.sigstore.url());
        self.place.write("sign.yaml", text);
    }

    /// Every copy has a repository of its own: what another left there would count too.
    fn app(&self, name: &str) -> String {
        format!("docker://{}/{name}/app:v1", self.registry.address())
    }

    fn sign(&self, options: &str, name: &str) -> Run {
        self.sign_with(options, name, &[])
    }

    fn sign_with(&self, options: &str, name: &str, variables: &[(&str, &Path)]) -> Run {
        let line = format!(
            "--policy accept.json --registries.d registries.d {options} oci:image:v1 {}",
            self.app(name)
        );
        let line = line.replacen(
            "COPY",
            "copy -q --all --dest-tls-verify=false --sign-by-sigstore sign.yaml",
            1,
        );
        let run = self.place.run_with(&line, |command| {
            command.envs(variables.iter().copied());
        });
        assert!(!format!("{run:?}").contains(MARK), "a secret was written: {run:?}");
        run
    }

    #[track_caller]
    fn sign_ok(&self, options: &str, name: &str) {
        let run = self.sign(&format!("COPY {options}"), name);
        assert_eq!(run.code, 0, "{run:?}");
    }

    /// Refused with this code and reason, and nothing was put anywhere.
    #[track_caller]
    fn refused(&self, options: &str, code: i32, says: &str) {
        let run = self.sign(&format!("COPY {options}"), REFUSED);
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.err.contains(says), "{says:?} in {}", run.err);
        self.is_clean();
    }

    /// No name, no attachment and no bundle is where refused copies go.
    #[track_caller]
    fn is_clean(&self) {
        let get = |path: &str| {
            let target = format!("/v2/{REFUSED}/app/{path}");
            Request::new("GET", &target).send(self.registry.address()).unwrap()
        };
        assert_eq!(get("manifests/v1").status, 404);
        for digest in &self.digests {
            assert_eq!(get(&format!("manifests/{}.sig", digest.replace(':', "-"))).status, 404);
            let list: Value =
                serde_json::from_slice(&get(&format!("referrers/{digest}")).body).unwrap();
            assert_eq!(list["manifests"], json!([]), "{digest}");
        }
    }

    #[track_caller]
    fn accepted(&self, trust: &str, name: &str) {
        let run = self.place.run(&format!(
            "--policy accept.json --registries.d registries.d verify --all --index-signature require \
             --tls-verify=false --trust {trust} {}",
            self.app(name)
        ));
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(run.out.matches(", as who\n").count(), 3, "index and images: {}", run.out);
    }

    /// A bundle in the layout that a copy made.
    fn bundle(&self, options: &str) -> Value {
        let run = self.place.run(&format!(
            "--policy accept.json copy -q --all --sign-by-sigstore sign.yaml {options} oci:image:v1 oci:out:v1"
        ));
        assert_eq!(run.code, 0, "{run:?}");
        let blobs = std::fs::read_dir(self.place.path("out/blobs/sha256")).unwrap();
        let read = |path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).ok();
        let mut found = blobs.filter_map(|entry| read(entry.unwrap().path()));
        found.find(|value| value["verificationMaterial"].is_object()).unwrap()
    }
}

const SECOND: &str = "rekorV2URL: 'SERVICES'\ntsaURL: 'SERVICES/api/v1/timestamp'\n";
const FIRST: &str = "rekorURL: 'SERVICES'\n";

#[test]
fn a_log_of_the_second_version_and_a_timestamp_authority_witness_bundles() {
    let bench = Bench::new();
    bench.by_certificate(SECOND);
    bench.sign_ok(BUNDLE, "v1");
    assert_eq!(bench.sigstore.requests("/api/v2/log/entries"), 3, "index and images");
    assert_eq!(bench.sigstore.requests("/api/v1/timestamp"), 3);
    assert_eq!(bench.sigstore.requests("/api/v1/log/entries"), 0);
    bench.accepted("bundle.yaml", "v1");
    let bundle = bench.bundle(BUNDLE);
    let material = &bundle["verificationMaterial"];
    assert_eq!(
        material["timestampVerificationData"]["rfc3161Timestamps"].as_array().unwrap().len(),
        1
    );
    let entry = &material["tlogEntries"][0];
    assert_eq!(entry["kindVersion"], json!({"kind": "hashedrekord", "version": "0.0.2"}));
    assert!(entry["inclusionProof"]["checkpoint"]["envelope"].is_string());
    for absent in ["integratedTime", "inclusionPromise"] {
        assert!(entry.get(absent).is_none(), "{absent} is nobody's word: {entry}");
    }
}

#[test]
fn a_key_s_bundle_goes_to_the_same_witnesses() {
    let bench = Bench::new();
    for (name, witnesses, stamps) in [
        ("second", "rekorV2URL: 'SERVICES'\n", 0),
        ("second-and-time", SECOND, 1),
        ("first", FIRST, 0),
        ("first-and-time", "rekorURL: 'SERVICES'\ntsaURL: 'SERVICES/api/v1/timestamp'\n", 1),
    ] {
        bench.by_key(witnesses);
        bench.sign_ok(BUNDLE, name);
        bench.accepted("key.yaml", name);
        let bundle = bench.bundle(BUNDLE);
        std::fs::remove_dir_all(bench.place.path("out")).unwrap();
        let times = &bundle["verificationMaterial"]["timestampVerificationData"];
        let found = times["rfc3161Timestamps"].as_array().map_or(0, Vec::len);
        assert_eq!(found, stamps, "{name}");
    }
    assert_eq!(bench.sigstore.requests("/signingCert"), 0);
}

impl Bench {
    /// Writes a signing configuration with logs of these versions.
    fn services(&self, logs: &[u32], change: impl FnOnce(&mut Value)) {
        let url = self.sigstore.url();
        let service = |url: &str, version: u32| {
            json!({"url": url, "majorApiVersion": version, "operator": "securecp.test",
                "validFor": {"start": "2020-01-01T00:00:00Z"}})
        };
        let logs: Vec<_> = logs.iter().map(|version| service(&url, *version)).collect();
        let mut config = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(&url, 1)],
            "oidcUrls": [service("https://login.securecp.test", 1)],
            "rekorTlogUrls": logs, "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [service(&format!("{url}/api/v1/timestamp"), 1)],
            "tsaConfig": {"selector": "EXACT", "count": 1},
        });
        change(&mut config);
        self.place.write("services.json", config.to_string());
    }
}

/// The file that cosign 3 takes with `--signing-config`.
#[test]
fn a_signing_configuration_says_who_witnesses() {
    let bench = Bench::new();
    let mode = format!("fulcio: {{oidcMode: staticToken, oidcIDToken: {}}}", token(EMAIL));
    bench.parameters(&format!("{mode}\nsigningConfigFile: services.json\n"));
    let counts = || {
        ["/api/v1/log/entries", "/api/v2/log/entries", "/api/v1/timestamp"]
            .map(|path| bench.sigstore.requests(path))
    };
    bench.services(&[1, 2], |_| {});
    bench.sign_ok(BUNDLE, "second");
    bench.accepted("bundle.yaml", "second");
    assert_eq!(counts(), [0, 3, 3], "the best version");
    bench.sign_ok(BOTH, "both");
    bench.accepted("attachment.yaml", "both");
    bench.accepted("bundle.yaml", "both");
    assert_eq!(counts(), [3, 6, 6], "attachments go to a log of the first");
    bench.services(&[1, 3], |_| {});
    bench.sign_ok(BUNDLE, "first");
    bench.accepted("bundle.yaml", "first");
    assert_eq!(counts(), [6, 6, 9], "a version that nobody here speaks is passed over");
    bench.parameters(
        "privateKeyFile: key.private\nprivateKeyPassphraseFile: passphrase\nsigningConfigFile: services.json\n",
    );
    bench.sign_ok(BUNDLE, "key");
    bench.accepted("key.yaml", "key");
}

#[test]
fn a_signing_configuration_that_cannot_take_effect_is_refused() {
    let bench = Bench::new();
    let mode = format!("fulcio: {{oidcMode: staticToken, oidcIDToken: {}}}", token(EMAIL));
    let named = format!("{mode}\nsigningConfigFile: services.json\n");
    bench.parameters(&named);
    bench.refused(BUNDLE, 1, "signingConfigFile services.json");
    bench.services(&[1], |_| {});
    bench.refused("", 64, "signingConfigFile has no effect without --sign-format bundle or both");
    bench.services(&[2], |_| {});
    bench.refused(BOTH, 1, "rekorTlogUrls: none of its 1 services is valid now and of a version");
    bench.services(&[1], |config| {
        config["rekorTlogConfig"] = json!({"selector": "EXACT", "count": 2})
    });
    bench.refused(BUNDLE, 1, "rekorTlogConfig: wants 2 operators");
    bench.services(&[1], |config| {
        config["tsaUrls"][0]["validFor"]["end"] = json!("2021-01-01T00:00:00Z")
    });
    bench.refused(BUNDLE, 1, "tsaUrls: none of its 1 services is valid now");
    bench.services(&[1], |config| config["mediaType"] = json!("x"));
    bench.refused(BUNDLE, 1, "mediaType: expected application/vnd.dev.sigstore.signingconfig.v0.2");
    bench.services(&[1], |config| config["more"] = json!([]));
    bench.refused(BUNDLE, 1, "unknown field");
    bench.services(&[1], |_| {});
    bench.parameters(&format!("{named}rekorURL: 'SERVICES'\n"));
    bench.refused(BUNDLE, 1, "rekorURL has no effect beside signingConfigFile");
    assert_eq!(bench.sigstore.requests("/"), 0);
}

/// A record is signed with a certificate, witnessed as any bundle, and counts if the trust file names its holder.
#[test]
fn a_certificate_s_change_record_counts_where_its_holder_is_a_recorder() {
    let bench = Bench::new();
    bench.place.ok(
        "copy -q --all --sign-by-sigstore-private-key key.private --sign-passphrase-file passphrase \
         --sign-format bundle --dangerous-sign-without-log oci:image:v1 oci:staging:v1",
    );
    bench.by_certificate(SECOND);
    let run = bench.place.ok(&format!(
        "copy -q --all --json --sign-by-sigstore sign.yaml {BUNDLE} --remove-signatures --on-orphaned record \
         --dest-compress-format zstd oci:staging:v1 oci:prod:v1"
    ));
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    for changed in receipt["changed"].as_array().unwrap() {
        assert_eq!(changed["records"].as_array().unwrap().len(), 1, "{receipt}");
    }
    assert_eq!(bench.sigstore.requests("/signingCert"), 1);
    assert_eq!(bench.sigstore.requests("/api/v2/log/entries"), 6, "signatures and records");
    let trust = |root: &str, recorder: &str| {
        bench.place.write(
            "follow.yaml",
            format!(
                "version: 1\ntrusted-root: {root}\ndangerous-no-certificate-log: true\nsigners:\n  \
                 release: {{key: key.pub, dangerous-no-log: true}}\n  mover: {{{recorder}}}\n\
                 recorders: [mover]\ndefault: {{accept: bundle, require: release}}\n"
            ),
        );
    };
    let verify = |options: &str| {
        bench.place.run(&format!(
            "--policy accept.json verify --all --index-signature require --trust follow.yaml {options} oci:prod:v1"
        ))
    };
    let mover = format!("issuer: '{ISSUER}', email: {EMAIL}");
    trust("root.json", &mover);
    let run = verify("");
    assert_eq!(run.code, 3, "release has not signed what was made: {run:?}");
    let run = verify("--follow-record");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.out.matches("with its change records: accepted\n").count(), 1, "{}", run.out);
    bench.place.write("other.json", Sigstore::start().unwrap().trusted_root());
    for (root, recorder) in [
        ("root.json", format!("issuer: '{ISSUER}', email: other@securecp.test")),
        ("root.json", format!("issuer: 'https://other.test', email: {EMAIL}")),
        ("root.json", "key: rekor.pub".to_owned()),
        ("other.json", mover),
    ] {
        trust(root, &recorder);
        let run = verify("--follow-record");
        assert_eq!(run.code, 3, "{root}, {recorder}: {run:?}");
        assert!(run.out.contains("record 1: untrusted: "), "{root}, {recorder}: {}", run.out);
    }
}

/// Attachments go to the log that promises, bundles to the other.
#[test]
fn both_forms_have_their_own_log() {
    let bench = Bench::new();
    bench.by_certificate(&format!("{FIRST}{SECOND}rekorPublicKeyFile: rekor.pub\n"));
    bench.sign_ok(BOTH, "v1");
    assert_eq!(bench.sigstore.requests("/api/v1/log/entries"), 3);
    assert_eq!(bench.sigstore.requests("/api/v2/log/entries"), 3);
    bench.accepted("bundle.yaml", "v1");
    bench.accepted("attachment.yaml", "v1");
}

#[test]
fn witnesses_that_do_not_fit_are_refused_before_anybody_is_asked() {
    let bench = Bench::new();
    for (witnesses, options, code, says) in [
        (SECOND, "", 64, "attachments need the promise of a log of the first version (rekorURL)"),
        (SECOND, BOTH, 64, "attachments need the promise of a log of the first version (rekorURL)"),
        ("rekorV2URL: 'SERVICES'\n", BUNDLE, 1, "missing tsaURL"),
        ("tsaURL: 'SERVICES'\n", BUNDLE, 1, "missing rekorURL"),
        (
            "rekorURL: 'SERVICES'\nrekorV2URL: 'SERVICES'\ntsaURL: 'SERVICES'\n",
            "",
            64,
            "rekorV2URL has no effect without --sign-format bundle or both",
        ),
        (
            "rekorURL: 'SERVICES'\ntsaURL: 'SERVICES'\n",
            "",
            64,
            "tsaURL has no effect without --sign-format bundle or both",
        ),
        (
            "rekorURL: 'SERVICES'\nrekorV2URL: 'SERVICES'\ntsaURL: 'SERVICES'\n",
            BUNDLE,
            64,
            "rekorURL has no effect with --sign-format bundle",
        ),
        (
            "rekorURL: 'SERVICES'\nrekorPublicKeyFile: rekor.pub\n",
            BUNDLE,
            64,
            "rekorPublicKeyFile has no effect with --sign-format bundle",
        ),
        (
            "rekorURL: 'SERVICES'\nrekorPublicKeyFile: passphrase\n",
            "",
            1,
            "rekorPublicKeyFile passphrase",
        ),
        ("rekorURL: 'SERVICES'\ntsaURL: 'http://time.example'\n", BUNDLE, 1, "timestamp authority"),
    ] {
        bench.by_certificate(witnesses);
        bench.refused(options, code, says);
    }
    bench.by_key("");
    bench.refused(
        "--sign-trusted-root root.json",
        64,
        "has no effect on attachments without rekorURL",
    );
    bench.refused(BUNDLE, 64, "would have no log entry");
    for (key, witnesses, says) in [
        ("p521", FIRST, "log entries of ECDSA P-521 keys are not understood"),
        ("p521", SECOND, "a log of version 2 takes no ECDSA P-521 keys"),
        ("p384", SECOND, "a log of version 2 takes no ECDSA P-384 keys"),
    ] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/sigstore/private-keys");
        bench.place.write("horse", "correct horse\n");
        let key = format!("privateKeyFile: {folder}/{key}.key\nprivateKeyPassphraseFile: horse\n");
        bench.parameters(&format!("{key}{witnesses}"));
        bench.refused(BUNDLE, 1, says);
    }
    assert_eq!(bench.sigstore.requests("/"), 0);
    let log = bench.registry.requests();
    assert!(log.iter().all(|seen| seen.method == "GET"), "{log:?}");
}

/// P-384 keys sign bundles with SHA-384, which is what everybody else verifies them with.
#[test]
fn a_bundle_by_a_key_on_p384_has_a_log_entry() {
    let bench = Bench::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/sigstore/private-keys");
    bench.place.write("horse", "correct horse\n");
    bench.parameters(&format!(
        "privateKeyFile: {folder}/p384.key\nprivateKeyPassphraseFile: horse\n{FIRST}"
    ));
    bench.sign_ok(BUNDLE, "v1");
    let public = std::fs::read(format!("{folder}/p384.pub")).unwrap();
    bench.place.write("key.pub", public);
    bench.accepted("key.yaml", "v1");
}

/// What the witnesses say is judged before anything is put.
#[test]
fn a_bundle_with_a_lying_witness_is_not_stored() {
    let bench = Bench::new();
    bench.by_certificate(SECOND);
    bench.sign_ok(BUNDLE, "first");
    for (odd, says) in [
        (Odd::ForeignCheckpoint, "No valid Rekor signature found on checkpoint"),
        (Odd::OtherProof, "inclusion proof verification failed"),
        (Odd::OtherEntry, "artifact hash mismatch for hashedrekord entry"),
        (Odd::OtherStamp, "its timestamp is of another message than was sent"),
        (Odd::StampNonce, "expected the nonce"),
        (Odd::StampWithoutNonce, "that was sent, found none"),
        (Odd::StampRefused, "PKIStatus is 2, expected 0 or 1 (granted)"),
    ] {
        bench.sigstore.set(Some(odd));
        bench.refused(BUNDLE, 1, says);
    }
    bench.by_certificate(FIRST);
    bench.sigstore.set(None);
    bench.sign_ok(BUNDLE, "first-log");
    for (odd, says) in [
        (Odd::ForeignPromise, "log entry of the bundle is not proven"),
        (Odd::OtherEntry, "log entry is not about this bundle"),
        (Odd::NoPromise, "the answer of the log"),
    ] {
        bench.sigstore.set(Some(odd));
        bench.refused(BUNDLE, 1, says);
    }
    // Another instance's witnesses, each alone.
    let other = Sigstore::start().unwrap();
    bench.sigstore.set(None);
    for (witnesses, says) in [
        (
            format!("rekorV2URL: '{}'\ntsaURL: 'SERVICES/api/v1/timestamp'\n", other.url()),
            "log of the bundle's entry is not trusted",
        ),
        (
            format!("rekorV2URL: 'SERVICES'\ntsaURL: '{}/api/v1/timestamp'\n", other.url()),
            "bundle has no trusted time",
        ),
        (format!("rekorURL: '{}'\n", other.url()), "log of the bundle's entry is not trusted"),
    ] {
        bench.by_certificate(&witnesses);
        bench.refused(BUNDLE, 1, says);
    }
}

/// An attachment's log entry is held to the log's key where one is known: from the parameter file or the trusted root.
#[test]
fn an_attachment_of_a_lying_log_is_not_stored_where_the_log_s_key_is_known() {
    let bench = Bench::new();
    let keyed = format!("{FIRST}rekorPublicKeyFile: rekor.pub\n");
    let root = "--sign-trusted-root root.json";
    for (witnesses, options, by_key) in
        [(keyed.as_str(), "", false), (FIRST, root, false), (&keyed, "", true), (FIRST, root, true)]
    {
        let parameters = |text: &str| match by_key {
            true => bench.by_key(text),
            false => bench.by_certificate(text),
        };
        parameters(witnesses);
        bench.sigstore.set(None);
        bench.sign_ok(options, "good");
        bench.sigstore.set(Some(Odd::ForeignPromise));
        let says = match (options.is_empty(), by_key) {
            (false, false) => "the trusted root does not prove the new signature",
            _ => "verification of Rekor SET failed",
        };
        bench.refused(options, 1, says);
        bench.sigstore.set(Some(Odd::OtherEntry));
        bench.refused(options, 1, "Rekor SET does not match");
        // Another log, which is honest in its own name.
        let other = Sigstore::start().unwrap();
        bench.sigstore.set(None);
        parameters(
            &witnesses.replace("rekorURL: 'SERVICES'", &format!("rekorURL: '{}'", other.url())),
        );
        let run = bench.sign(&format!("COPY {options}"), REFUSED);
        assert_eq!(run.code, 1, "{run:?}");
        bench.is_clean();
    }
    // The certificate of another authority is not stored under the trusted root either.
    let other = Sigstore::start().unwrap();
    let fulcio = format!("oidcMode: staticToken, oidcIDToken: {}", token(EMAIL));
    bench.parameters(&format!("fulcio: {{fulcioURL: '{}', {fulcio}}}\n{FIRST}", other.url()));
    bench.refused(root, 1, "certificate of the bundle is not trusted");
    // Whose key is not known is believed, as the documentation says: whoever verifies will know.
    bench.by_certificate(FIRST);
    bench.sigstore.set(Some(Odd::ForeignPromise));
    bench.sign_ok("", "believed");
}

/// The services behind TLS with a certificate of an authority that the system does not know.
struct Behind {
    front: TlsFront,
    authority: Authority,
}

impl Behind {
    fn new(bench: &Bench, tls13: bool) -> Self {
        let services: SocketAddr =
            bench.sigstore.url().strip_prefix("http://").unwrap().parse().unwrap();
        let authority = Authority::new("services").unwrap();
        let mut settings = TlsSettings::new(authority.server(&["localhost", "127.0.0.1"]).unwrap());
        settings.tls13 = tls13;
        Self { front: TlsFront::start(services, &settings).unwrap(), authority }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.front.address().port())
    }
}

#[test]
fn restrictions_of_tls_and_roots_of_the_system_hold_for_the_services_too() {
    let bench = Bench::new();
    let new = Behind::new(&bench, true);
    let old = Behind::new(&bench, false);
    bench.place.write("new.crt", new.authority.certificate());
    let both = [new.authority.certificate(), old.authority.certificate()].concat();
    bench.place.write("both.crt", both);
    bench.place.write("strict.yaml", "minVersion: \"1.3\"\n");
    let trusted = bench.place.path("both.crt");
    let trusted = [("SSL_CERT_FILE", trusted.as_path())];
    let strict = format!("--tls-details strict.yaml COPY {BUNDLE}");
    let fulcio = format!("oidcMode: staticToken, oidcIDToken: {}", token(EMAIL));
    let parameters = |[fulcio_at, log, time]: [&str; 3]| {
        bench.parameters(&format!(
            "fulcio: {{fulcioURL: '{fulcio_at}', {fulcio}}}\nrekorV2URL: '{log}'\ntsaURL: '{time}/api/v1/timestamp'\n"
        ));
    };
    let (new, old) = (new.url(), old.url());
    parameters([&new, &new, &new]);
    let run = bench.sign(&format!("COPY {BUNDLE}"), "unknown");
    assert_eq!(run.code, 1, "an authority that nobody knows: {run:?}");
    assert!(run.err.contains("asking Fulcio") && run.err.contains("certificate"), "{}", run.err);
    let run = bench.sign_with(&strict, "known", &trusted);
    assert_eq!(run.code, 0, "{run:?}");
    bench.accepted("bundle.yaml", "known");
    for (places, asked) in [
        ([&old, &new, &new], "asking Fulcio"),
        ([&new, &old, &new], "asking Rekor"),
        ([&new, &new, &old], "asking the timestamp authority"),
    ] {
        parameters(places.map(String::as_str));
        let run = bench.sign_with(&format!("COPY {BUNDLE}"), "lax", &trusted);
        assert_eq!(run.code, 0, "TLS 1.2 is enough where nothing else is said: {run:?}");
        let run = bench.sign_with(&strict, "strict", &trusted);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains(asked), "{asked}: {}", run.err);
    }
}
