//! Signing without a key of one's own, and keys with a log, against stand-ins of Fulcio, Rekor and an identity provider.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use cli::{Place, Run, signing};
use securecp_testkit::Registry;
use securecp_testkit::http::Request;
use securecp_testkit::sigstore::{ISSUER, MARK, Odd, REQUEST_TOKEN, Sigstore, token};
use serde_json::{Value, json};

const EMAIL: &str = "release@securecp.test";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A place with an image in `oci:image:v1`, the services, and policies that trust them.
struct Bench {
    place: Place,
    sigstore: Sigstore,
    registry: Registry,
    digest: String,
}

impl Bench {
    fn new() -> Self {
        let (place, sigstore) = (Place::new(), Sigstore::start().unwrap());
        let digest = signing::signable(&place).remove(0);
        signing::attachments(&place, true);
        place.write("root.pem", sigstore.root_pem());
        place.write("rekor.pub", sigstore.log_pem());
        let other = Sigstore::start().unwrap();
        place.write("other-root.pem", other.root_pem());
        place.write("other-rekor.pub", other.log_pem());
        let bench = Self { place, sigstore, registry: Registry::start().unwrap(), digest };
        bench.parameters(&format!("oidcMode: staticToken, oidcIDToken: {}", token(EMAIL)));
        bench
    }

    fn parameters(&self, fulcio: &str) {
        let url = self.sigstore.url();
        let text = format!("fulcio: {{fulcioURL: '{url}', {fulcio}}}\nrekorURL: {url}\n");
        self.place.write("parameters.yaml", text);
    }

    /// A policy: e-mail address, issuer, root, key of the log.
    fn policy(&self, [email, issuer, root, log]: [&str; 4]) {
        let fulcio = json!({
            "caPath": self.place.path(root), "oidcIssuer": issuer, "subjectEmail": email,
        });
        self.write_policy(json!({
            "type": "sigstoreSigned", "fulcio": fulcio, "rekorPublicKeyPath": self.place.path(log),
        }));
    }

    fn write_policy(&self, requirement: Value) {
        let accept = json!([{"type": "insecureAcceptAnything"}]);
        let policy = json!({"default": [requirement], "transports": {"oci": {"": accept}}});
        self.place.write("policy.json", policy.to_string());
    }

    fn app(&self, tag: &str) -> String {
        format!("docker://{}/shop/app:{tag}", self.registry.address())
    }

    fn line(&self, options: &str, tag: &str) -> String {
        format!(
            "--debug --policy accept.json --registries.d registries.d copy -q --all --dest-tls-verify=false \
             --sign-by-sigstore parameters.yaml {options} oci:image:v1 {}",
            self.app(tag)
        )
    }

    /// Signs with these variables in the environment.
    fn sign_with(&self, tag: &str, variables: &[(&str, &str)]) -> Run {
        let run = self.place.run_with(&self.line("", tag), |command| {
            command.envs(variables.iter().copied());
        });
        quiet(&format!("{run:?}"));
        run
    }

    #[track_caller]
    fn sign_ok(&self, tag: &str) {
        let run = self.sign_with(tag, &[]);
        assert_eq!(run.code, 0, "{run:?}");
    }

    #[track_caller]
    fn judged(&self, tag: &str, code: i32, says: &str) {
        let line = format!(
            "--policy policy.json --registries.d registries.d verify --all --index-signature require --tls-verify=false {}",
            self.app(tag)
        );
        let run = self.place.run(&line);
        assert_eq!(run.code, code, "{run:?}");
        assert!(format!("{run:?}").contains(says), "{says:?} in {run:?}");
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let request = Request::new("GET", path).header("accept", MANIFEST);
        let response = request.send(self.registry.address()).unwrap();
        (response.status, response.body)
    }

    /// The annotations of the first signature of the index.
    fn annotations(&self) -> Value {
        let path = format!("/v2/shop/app/manifests/{}.sig", self.digest.replace(':', "-"));
        let manifest: Value = serde_json::from_slice(&self.get(&path).1).unwrap();
        manifest["layers"][0]["annotations"].clone()
    }
}

/// Nothing that was written has a token in it.
#[track_caller]
fn quiet(text: &str) {
    assert!(!text.contains(MARK), "a secret was written: {text}");
}

/// Every file below a folder.
fn everything(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(everything(&entry.path())),
            false => all.extend(std::fs::read(entry.path()).unwrap()),
        }
    }
    all
}

#[test]
fn a_certificate_signs_and_is_judged_at_the_log_s_time() {
    let bench = Bench::new();
    bench.sign_ok("v1");
    assert_eq!(bench.sigstore.requests("/signingCert"), 1, "one certificate for all signatures");
    assert_eq!(bench.sigstore.requests("/log/entries"), 3);
    let annotations = bench.annotations();
    let keys: Vec<&str> = annotations.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "dev.cosignproject.cosign/signature",
            "dev.sigstore.cosign/bundle",
            "dev.sigstore.cosign/certificate",
            "dev.sigstore.cosign/chain",
        ]
    );
    let bundle = annotations["dev.sigstore.cosign/bundle"].as_str().unwrap();
    assert!(bundle.starts_with("{\"Payload\":{\"body\":\""), "the reference's order: {bundle}");
    for (policy, code, says) in [
        ([EMAIL, ISSUER, "root.pem", "rekor.pub"], 0, "accepted"),
        (["other@securecp.test", ISSUER, "root.pem", "rekor.pub"], 3, "Required email"),
        (
            [EMAIL, "https://other.test", "root.pem", "rekor.pub"],
            3,
            "Unexpected Fulcio OIDC issuer",
        ),
        ([EMAIL, ISSUER, "other-root.pem", "rekor.pub"], 3, "unknown authority"),
        ([EMAIL, ISSUER, "root.pem", "other-rekor.pub"], 3, "verification of Rekor SET failed"),
    ] {
        bench.policy(policy);
        bench.judged("v1", code, says);
    }
    let written = everything(bench.registry.root());
    quiet(&String::from_utf8_lossy(&written));
}

#[test]
fn what_does_not_vouch_for_the_signature_is_not_stored() {
    let bench = Bench::new();
    bench.sign_ok("first");
    for (number, (odd, says)) in [
        (Odd::OtherKey, "the certificate is for another key"),
        (Odd::Expired, "has expired or is not yet valid"),
        (Odd::NoPath, "without the path to its root"),
        (Odd::OtherEntry, "publicKey in Rekor SET does not match"),
        (Odd::NoPromise, "answer cannot be read"),
        (Odd::AlreadyElsewhere, "one that says where the entry is"),
        (Odd::Denied, "answered 403: (an answer that repeats a secret is not shown)"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.sigstore.set(Some(odd));
        let tag = format!("v{number}");
        let run = bench.sign_with(&tag, &[]);
        assert_eq!(run.code, 1, "{odd:?}: {run:?}");
        assert!(run.err.contains(says), "{odd:?}: {}", run.err);
        assert_eq!(bench.get(&format!("/v2/shop/app/manifests/{tag}")).0, 404, "{odd:?}");
    }
    for odd in [Odd::SecondVersion, Odd::AlreadyThere] {
        bench.sigstore.set(Some(odd));
        bench.sign_ok("good");
        bench.policy([EMAIL, ISSUER, "root.pem", "rekor.pub"]);
        bench.judged("good", 0, "accepted");
    }
}

#[test]
fn builds_have_tokens_in_their_environment() {
    let bench = Bench::new();
    bench.parameters("oidcMode: ambient");
    let run = bench.sign_with("none", &[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("expected SIGSTORE_ID_TOKEN, or ACTIONS_ID_TOKEN_REQUEST_URL"),
        "{}",
        run.err
    );
    assert!(bench.registry.requests().is_empty(), "that is seen before anything is done");
    let run = bench.sign_with("gitlab", &[("SIGSTORE_ID_TOKEN", &token(EMAIL))]);
    assert_eq!(run.code, 0, "{run:?}");
    bench.policy([EMAIL, ISSUER, "root.pem", "rekor.pub"]);
    bench.judged("gitlab", 0, "accepted");
    let github = format!("{}/github?x=1", bench.sigstore.url());
    let variables = |token| {
        [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", github.as_str()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token),
        ]
    };
    let run = bench.sign_with("github", &variables(REQUEST_TOKEN));
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(bench.sigstore.requests("/github"), 1);
    bench.judged("github", 3, "is not accepted");
    let wrong = format!("{MARK}-wrong");
    let run = bench.sign_with("wrong", &variables(&wrong));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("answered 401: (an answer that repeats a secret is not shown)"),
        "{}",
        run.err
    );
}

#[test]
fn a_user_logs_in_on_another_device() {
    let bench = Bench::new();
    bench.parameters(&format!("oidcMode: deviceGrant, oidcIssuerURL: '{}'", bench.sigstore.url()));
    let run = bench.sign_with("v1", &[]);
    assert_eq!(run.code, 0, "{run:?}");
    let told = "to sign, log in at https://login.securecp.test/device with the code WDJB-MJHT\n";
    assert!(run.err.contains(told), "{}", run.err);
    assert_eq!(bench.sigstore.requests("/token"), 2, "asked again while nobody had logged in");
    bench.policy([EMAIL, ISSUER, "root.pem", "rekor.pub"]);
    bench.judged("v1", 0, "accepted");
}

/// Signs while a browser opens the address that is told; gives the exit code and what was said.
fn with_browser(bench: &Bench, tag: &str) -> (i32, String) {
    let line = bench.line("", tag).replace("--debug ", "");
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command: Command = bench.place.command(&words);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    said.read_line(&mut told).unwrap();
    let url =
        told.trim().strip_prefix("to sign, log in with a browser at ").expect("an address to open");
    let target = url.strip_prefix(&bench.sigstore.url()).unwrap();
    let services: SocketAddr =
        bench.sigstore.url().strip_prefix("http://").unwrap().parse().unwrap();
    let sent = Request::new("GET", target).send(services).unwrap();
    let back =
        sent.header("location").unwrap().strip_prefix("http://localhost:").unwrap().to_owned();
    let (port, path) = back.split_once('/').unwrap();
    let here = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    // Somebody else finds the port first.
    let foreign = Request::new("GET", "/auth/callback?code=x&state=guessed").send(here).unwrap();
    assert_eq!(foreign.status, 404);
    let page = Request::new("GET", &format!("/{path}")).send(here).unwrap();
    assert_eq!(page.status, 200);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    quiet(&format!("{told}{rest}"));
    (child.wait().unwrap().code().unwrap(), rest)
}

#[test]
fn a_user_logs_in_with_a_browser() {
    let bench = Bench::new();
    bench.parameters(&format!("oidcMode: interactive, oidcIssuerURL: '{}'", bench.sigstore.url()));
    let (code, said) = with_browser(&bench, "v1");
    assert_eq!(code, 0, "{said}");
    bench.policy([EMAIL, ISSUER, "root.pem", "rekor.pub"]);
    bench.judged("v1", 0, "accepted");
    bench.sigstore.set(Some(Odd::OtherNonce));
    let (code, said) = with_browser(&bench, "v2");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the identity token answers another question"), "{said}");
}

#[test]
fn a_key_can_have_a_log_too() {
    let bench = Bench::new();
    bench.place.write("passphrase", "pw\n");
    let run =
        bench.place.run("generate-sigstore-key --output-prefix key --passphrase-file passphrase");
    assert_eq!(run.code, 0, "{run:?}");
    let url = bench.sigstore.url();
    let text = format!(
        "privateKeyFile: key.private\nprivateKeyPassphraseFile: passphrase\nrekorURL: {url}\n"
    );
    bench.place.write("parameters.yaml", text);
    bench.sign_ok("v1");
    for (log, code, says) in
        [("rekor.pub", 0, "accepted"), ("other-rekor.pub", 3, "verification of Rekor SET failed")]
    {
        let paths = [bench.place.path("key.pub"), bench.place.path(log)];
        bench.write_policy(json!({
            "type": "sigstoreSigned", "keyPath": paths[0], "rekorPublicKeyPath": paths[1],
        }));
        bench.judged("v1", code, says);
    }
    assert_eq!(bench.sigstore.requests("/signingCert"), 0);
}

#[test]
fn a_dry_run_asks_nobody_for_a_certificate() {
    let bench = Bench::new();
    let run = bench.place.run(&bench.line("--dry-run", "v1"));
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(bench.sigstore.requests("/"), 0);
}

#[test]
fn parameters_are_strict_and_show_no_token() {
    let bench = Bench::new();
    for (text, says) in [
        (String::new(), "--sign-by-sigstore: parsing \"parameters.yaml\": EOF"),
        (token(EMAIL), "expected members"),
        ("privateKeyFile: k\nprivatekey: x\n".to_owned(), "field privatekey not found in type params.SigningParameterFile"),
        ("fulcio: {fulcioURL: 'http://fulcio.example', oidcMode: ambient}\nrekorURL: 'http://127.0.0.1:1'\n".to_owned(), "tokens would be sent in the clear"),
        (format!("fulcio: {{fulcioURL: 'http://127.0.0.1:1', oidcMode: staticToken, oidcIDToken: {MARK}}}\nrekorURL: 'http://127.0.0.1:1'\n"), "identity token: expected three parts"),
    ] {
        bench.place.write("parameters.yaml", &text);
        let run = bench.sign_with("v1", &[("SIGSTORE_ID_TOKEN", &token(EMAIL))]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains(says), "{says:?}: {}", run.err);
    }
    assert!(bench.registry.requests().is_empty());
}
