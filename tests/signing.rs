//! Signing at the destination and judging at the source, with GnuPG, Debian's skopeo and two registries.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, SystemTime};

use cli::gnupg::{GnuPg, configure, policy, signatures_of};
use cli::{Place, Run, image, listing, signing};
use securecp_testkit::http::Request;
use securecp_testkit::{DockerRegistry, Registry};
use securecp_trust::FreshKey;
use serde_json::Value;

const ALICE: &str = "Alice <alice@release.example>";
const BOB: &str = "Bob <bob@other.example>";

/// A place with a two-platform image in `oci:image:v1`, a lookaside store, and keys of which Alice's is trusted.
struct Bench {
    place: Place,
    gnupg: GnuPg,
    /// Those of the index and of its images.
    digests: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        let (place, gnupg) = (Place::new(), GnuPg::with_keys(&[(ALICE, ""), (BOB, "")]));
        let digests = signing::signable(&place);
        configure(&place);
        gnupg.export("alice", &place, "key.asc");
        gnupg.export("bob", &place, "bob.asc");
        place.write("bob.json", policy(&place.path("bob.asc")));
        Self { place, gnupg, digests }
    }

    /// Runs securecp under the policy that trusts Alice.
    fn run(&self, line: &str) -> Run {
        self.gnupg
            .run(&self.place, &format!("--policy signed.json --registries.d registries.d {line}"))
    }

    fn ok(&self, line: &str) -> Run {
        let run = self.run(line);
        assert_eq!(run.code, 0, "{line}\n{run:?}");
        run
    }

    fn skopeo(&self, line: &str) -> Output {
        self.gnupg.skopeo(&self.place, &format!("--registries.d registries.d {line}"))
    }

    #[track_caller]
    fn skopeo_ok(&self, line: &str) {
        let output = self.skopeo(line);
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Copies the image with a signature by Alice's key.
    fn sign(&self, to: &str, options: &str) {
        self.ok(&format!("copy -q --all --dest-tls-verify=false --sign-by alice@release.example {options} oci:image:v1 {to}"));
    }

    /// Refused both by verify and by copy, for this reason.
    #[track_caller]
    fn refused(&self, policy: &str, image: &str, reason: &str, says: &str) {
        let options = format!("--policy {policy} --registries.d registries.d");
        let verify = format!("{options} verify --all --json --tls-verify=false {image}");
        let run = self.gnupg.run(&self.place, &verify);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.out.contains(&format!("\"reason\":\"{reason}\"")), "{reason}: {}", run.out);
        let copy = format!("{options} copy -q --all --src-tls-verify=false {image} dir:refused");
        let run = self.gnupg.run(&self.place, &copy);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
        assert!(
            run.err.contains("Source image rejected: ") && run.err.contains(says),
            "{}",
            run.err
        );
        assert!(!self.place.exists("refused"));
    }
}

/// The status of a manifest in a registry.
fn status(registry: SocketAddr, name: &str) -> u16 {
    Request::new("HEAD", name).send(registry).unwrap().status
}

fn both_ways(registry: SocketAddr) {
    let bench = Bench::new();
    let (ours, theirs) =
        (format!("docker://{registry}/our/app:v1"), format!("docker://{registry}/their/app:v1"));
    bench.sign(&ours, "");
    bench.skopeo_ok(&format!(
        "--policy signed.json copy -q --all --src-tls-verify=false {ours} dir:to-skopeo"
    ));
    assert!(bench.place.exists("to-skopeo/signature-1"));
    let alice = bench.gnupg.fingerprint("alice");
    bench.skopeo_ok(&format!(
        "--policy signed.json copy -q --all --dest-tls-verify=false --sign-by {alice} oci:image:v1 {theirs}"
    ));
    bench.ok(&format!("copy -q --all --src-tls-verify=false {theirs} dir:from-skopeo"));
    assert_eq!(
        bench.place.read("from-skopeo/manifest.json"),
        bench.place.read("to-skopeo/manifest.json")
    );
    for image in [&ours, &theirs] {
        let run =
            bench.ok(&format!("verify --all --index-signature require --tls-verify=false {image}"));
        assert_eq!(run.out.matches(": accepted\n").count(), 3, "{}", run.out);
        assert_eq!(
            run.out.matches(&format!("signature 1: by {alice}, for ")).count(),
            3,
            "{}",
            run.out
        );
    }
    // Neither accepts what is signed for another name or by another key.
    let other = bench
        .skopeo(&format!("--policy bob.json copy -q --all --src-tls-verify=false {ours} dir:no"));
    assert!(!other.status.success());
    bench.refused("bob.json", &theirs, "unknownKey", "signature by key ");
}

#[test]
fn skopeo_accepts_our_signatures_and_we_accept_its_in_debians_registry() {
    both_ways(DockerRegistry::start().unwrap().address());
}

#[test]
fn skopeo_accepts_our_signatures_and_we_accept_its_in_our_registry() {
    both_ways(Registry::start().unwrap().address());
}

#[test]
fn every_instance_the_index_and_every_tag_get_a_signature() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let app = format!("docker://{}/shop/app", registry.address());
    bench.sign(&format!("{app}:v1"), "--additional-tag stable --additional-tag v1.0");
    for digest in &bench.digests {
        let folder = signatures_of(&bench.place, "shop/app", digest);
        assert_eq!(listing(&folder), ["signature-1", "signature-2", "signature-3"], "{digest}");
        let mut names: Vec<String> = (1..=3)
            .map(|n| {
                let file = folder.join(format!("signature-{n}"));
                let line =
                    format!("untrusted-signature-dump-without-verification {}", file.display());
                let dump: Value = serde_json::from_str(&bench.place.run(&line).out).unwrap();
                assert_eq!(dump["UntrustedDockerManifestDigest"], digest.as_str());
                dump["UntrustedDockerReference"]
                    .as_str()
                    .unwrap()
                    .rsplit_once(':')
                    .unwrap()
                    .1
                    .to_owned()
            })
            .collect();
        names.sort();
        assert_eq!(names, ["stable", "v1", "v1.0"]);
    }
    for tag in ["v1", "stable", "v1.0"] {
        bench.ok(&format!("verify --all --index-signature require --tls-verify=false {app}:{tag}"));
    }
    // The same images under a name that was not signed.
    bench.ok(&format!("copy -q --all --dest-tls-verify=false oci:image:v1 {app}:v2"));
    bench.refused("signed.json", &format!("{app}:v2"), "identity", "Signature for identity ");
}

#[test]
fn refusals_say_what_is_wrong() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let good = format!("docker://{}/shop/app:v1", registry.address());
    let unsigned = format!("docker://{}/lab/tool:v1", registry.address());
    bench.sign(&good, "");
    bench.ok(&format!("copy -q --all --dest-tls-verify=false oci:image:v1 {unsigned}"));
    bench.refused(
        "signed.json",
        &unsigned,
        "noSignature",
        "A signature was required, but no signature exists",
    );
    bench.refused("bob.json", &good, "unknownKey", "signature by key ");
    let digests = &bench.digests;
    let amd64 = signatures_of(&bench.place, "shop/app", &digests[1]).join("signature-1");
    let arm64 = signatures_of(&bench.place, "shop/app", &digests[2]).join("signature-1");
    let original = std::fs::read(&amd64).unwrap();

    // A signature of one image beside the bytes of another: what a tampered manifest looks like.
    std::fs::copy(&arm64, &amd64).unwrap();
    bench.refused("signed.json", &good, "digest", "Signature for digest ");
    let mut broken = original.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    std::fs::write(&amd64, &broken).unwrap();
    let run = bench.run(&format!("verify --all --tls-verify=false {good}"));
    assert_eq!(run.code, 3, "{run:?}");
    std::fs::write(&amd64, b"no signature at all").unwrap();
    bench.refused("signed.json", &good, "notFetched", "signatures could not be fetched: ");
    std::fs::remove_file(&amd64).unwrap();
    bench.refused(
        "signed.json",
        &good,
        "noSignature",
        "A signature was required, but no signature exists",
    );
    std::fs::write(&amd64, &original).unwrap();
    bench.ok(&format!("verify --all --tls-verify=false {good}"));
}

#[test]
fn an_index_counts_as_asked_for() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let good = format!("docker://{}/shop/app:v1", registry.address());
    bench.sign(&good, "");
    let verify = |mode: &str| {
        let run =
            bench.run(&format!("verify --all --index-signature {mode} --tls-verify=false {good}"));
        (run.code, run.out)
    };
    let digests = &bench.digests;
    let hide = |digest: &str| {
        let folder = signatures_of(&bench.place, "shop/app", digest);
        std::fs::rename(&folder, folder.with_extension("hidden")).unwrap();
    };
    hide(&digests[1]);
    assert_eq!(verify("ignore").0, 3);
    assert_eq!(verify("require").0, 3);
    let (code, out) = verify("accept");
    assert_eq!((code, out.matches("named by the accepted index").count()), (0, 2), "{out}");
    let copied = bench.run(&format!(
        "copy -q --all --index-signature accept --src-tls-verify=false {good} dir:out"
    ));
    assert_eq!(copied.code, 0, "{copied:?}");
    hide(&digests[0]);
    assert_eq!(verify("accept").0, 3);
}

#[test]
fn a_signer_that_fails_leaves_no_tag() {
    let bench = Bench::new();
    let locked = GnuPg::with_keys(&[("Carol <carol@x.example>", "open sesame")]);
    let registry = Registry::start().unwrap();
    let app = format!("docker://{}/shop/app", registry.address());
    bench.place.write("wrong", "other\n");
    bench.place.write("right", "open sesame\nand more\n");
    let copy = |file: &str| {
        locked.forget();
        let line = format!(
            "--policy signed.json --registries.d registries.d copy -q --all --dest-tls-verify=false \
             --sign-by carol --sign-passphrase-file {file} oci:image:v1 {app}:v1"
        );
        locked.run(&bench.place, &line)
    };
    let run = copy("wrong");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(run.err.contains("the passphrase does not unlock key "), "{}", run.err);
    assert!(!run.err.contains("other"), "{}", run.err);
    assert_eq!(status(registry.address(), "/v2/shop/app/manifests/v1"), 404);
    assert!(!bench.place.exists("lookaside"));
    let run = copy("right");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(status(registry.address(), "/v2/shop/app/manifests/v1"), 200);
}

#[test]
fn keys_that_are_not_there_or_ambiguous_stop_a_copy_before_it_begins() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let (alice, bob) = (bench.gnupg.fingerprint("alice"), bench.gnupg.fingerprint("bob"));
    let app = format!("docker://{}/shop/app:v1", registry.address());
    for (key, says) in [
        ("carol".to_owned(), "gpg has no secret key for \"carol\"".to_owned()),
        (
            "example".to_owned(),
            format!(
                "\"example\" is ambiguous, gpg has several secret keys for it: {}",
                alice.clone().min(bob.clone())
            ),
        ),
    ] {
        let run = bench.run(&format!(
            "copy -q --all --dest-tls-verify=false --sign-by {key} oci:image:v1 {app}"
        ));
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains(&says), "{}", run.err);
    }
    assert!(registry.requests().is_empty(), "nothing was asked of the registry");
    let run =
        bench.run("copy --sign-by alice --sign-by bob --sign-passphrase-file p oci:image:v1 dir:x");
    assert_eq!(run.code, 64, "{run:?}");
    let run = bench.run("copy --sign-by alice --sign-identity busybox:v1 oci:image:v1 dir:x");
    assert_eq!(run.code, 64, "{run:?}");
    assert!(
        run.err.contains("Could not parse --sign-identity: repository name must be canonical"),
        "{}",
        run.err
    );
}

#[test]
fn several_keys_sign_at_once_and_a_second_signature_joins_the_first() {
    let (bench, registry) = (Bench::new(), Registry::start().unwrap());
    let now = SystemTime::now();
    let fresh =
        FreshKey::generate("File <file@x.example>", now, Duration::from_secs(3600)).unwrap();
    bench.place.write("file.key", &*fresh.secret);
    bench.place.write("file.asc", &fresh.public);
    bench.place.write("file.json", policy(&bench.place.path("file.asc")));
    let app = format!("docker://{}/shop/app:v1", registry.address());
    bench.sign(&app, "--sign-by-key-file file.key");
    for policy in ["signed.json", "file.json"] {
        bench.skopeo_ok(&format!(
            "--policy {policy} copy -q --all --src-tls-verify=false {app} dir:{policy}.out"
        ));
        let verify = format!("--registries.d registries.d verify --all --tls-verify=false {app}");
        assert_eq!(bench.place.run(&format!("--policy {policy} {verify}")).code, 0);
    }
    bench.ok(&format!("copy -q --all --dest-tls-verify=false --sign-by bob oci:image:v1 {app}"));
    for policy in ["signed.json", "file.json", "bob.json"] {
        let line = format!(
            "--policy {policy} --registries.d registries.d verify --all --tls-verify=false {app}"
        );
        assert_eq!(bench.place.run(&line).code, 0, "{policy}");
    }
}

#[test]
fn a_directory_is_signed_for_the_name_given() {
    let bench = Bench::new();
    let run = bench.run("copy -q --all --sign-by alice oci:image:v1 dir:out");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("Cannot determine canonical Docker reference for destination dir:"),
        "{}",
        run.err
    );
    assert!(!bench.place.exists("out"));
    bench.ok("copy -q --all --sign-by alice --sign-identity h.example/app:v1 oci:image:v1 dir:out");
    let alice = bench.gnupg.fingerprint("alice");
    let run = bench.ok(&format!(
        "standalone-verify out/manifest.json h.example/app:v1 {alice} out/signature-1"
    ));
    let expected =
        format!("Signature verified using fingerprint {alice}, digest {}\n", bench.digests[0]);
    assert_eq!(run.out, expected);
    // Signatures travel with a copy whose bytes stay.
    bench.ok("copy -q --all dir:out dir:again");
    assert_eq!(bench.place.read("again/signature-1"), bench.place.read("out/signature-1"));
}

#[test]
fn an_index_is_signed_only_if_all_of_it_was_judged() {
    let bench = Bench::new();
    let line = "copy -q --platform linux/amd64 --sign-by alice --sign-identity h.example/app:v1";
    let run = bench.run(&format!("{line} oci:image:v1 dir:out"));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("of which 1 were judged in this run"), "{}", run.err);
    assert!(!bench.place.exists("out"));
    bench.ok(&format!("{line} --dangerous-sign-partial-index oci:image:v1 dir:out"));
    assert!(bench.place.exists("out/signature-1"));
}

#[test]
fn standalone_signatures_go_both_ways() {
    let bench = Bench::new();
    let alice = bench.gnupg.fingerprint("alice");
    bench.place.write("m.json", "{}\n");
    bench.ok(&format!("standalone-sign m.json h.example/app:v1 {alice} -o ours.sig"));
    bench.skopeo_ok(&format!("standalone-verify m.json h.example/app:v1 {alice} ours.sig"));
    bench.skopeo_ok(&format!("standalone-sign m.json h.example/app:v1 {alice} -o theirs.sig"));
    let digest = image::digest(b"{}\n");
    let verified = format!("Signature verified using fingerprint {alice}, digest {digest}\n");
    for keys in [alice.clone(), alice.to_lowercase(), format!("{alice},{alice}")] {
        let run = bench.ok(&format!("standalone-verify m.json h.example/app:v1 {keys} theirs.sig"));
        assert_eq!(run.out, verified);
    }
    let run = bench
        .ok("standalone-verify --public-key-file key.asc m.json h.example/app:v1 any theirs.sig");
    assert_eq!(run.out, verified);
    bench.place.write("other.json", "[]");
    let bob = bench.gnupg.fingerprint("bob");
    for (words, says) in [
        (
            format!("m.json h.example/app:v2 {alice} theirs.sig"),
            "Docker reference h.example/app:v1 does not match h.example/app:v2".to_owned(),
        ),
        (
            format!("other.json h.example/app:v1 {alice} theirs.sig"),
            format!("Signature for docker digest \"{digest}\" does not match"),
        ),
        (
            format!("--public-key-file key.asc m.json h.example/app:v1 {bob} theirs.sig"),
            format!("Signature by {alice} does not match expected fingerprint {bob}"),
        ),
        (format!("m.json h.example/app:v1 {bob} theirs.sig"), "signature by key ".to_owned()),
        (
            "--public-key-file bob.asc m.json h.example/app:v1 any theirs.sig".to_owned(),
            "signature by key ".to_owned(),
        ),
    ] {
        let run = bench.run(&format!("standalone-verify {words}"));
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{words}: {run:?}");
        assert!(
            run.err.contains("Error verifying signature: ") && run.err.contains(&says),
            "{}",
            run.err
        );
    }
    let run = bench.run("standalone-verify m.json h.example/app:v1 any theirs.sig");
    assert!(
        run.err.contains("Cannot use any fingerprint without a public key file"),
        "{}",
        run.err
    );
    let run = bench.run("standalone-sign m.json h.example/app alice -o no.sig");
    assert!(run.err.contains("can't be signed, it has neither a tag nor a digest"), "{}", run.err);
    assert!(!bench.place.exists("no.sig"));
    let dump: Value = serde_json::from_str(
        &bench.ok("untrusted-signature-dump-without-verification theirs.sig").out,
    )
    .unwrap();
    assert_eq!(dump["UntrustedShortKeyIdentifier"], alice[24..]);
    assert_eq!(dump["UntrustedDockerManifestDigest"], digest);
    let theirs = bench.skopeo("untrusted-signature-dump-without-verification theirs.sig");
    assert_eq!(serde_json::from_slice::<Value>(&theirs.stdout).unwrap(), dump);
}
