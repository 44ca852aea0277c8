//! The example policies do what their READMEs say.

use std::path::{Path, PathBuf};

use securecp_oci::{ImageIdentity, Transport};
use securecp_trust::{
    Direction, Gate, Payload, PayloadKind, Policy, RegistriesD, SimpleSigner, TrustFile,
};

use crate::simple::{manifest, testdata, then};
use crate::support::{Survey, subject};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../policy")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn example(path: &str) -> Policy {
    Policy::parse(&std::fs::read(folder().join(path)).unwrap()).unwrap()
}

/// Alice is the build system, Bob the release team; the next release key does not exist yet.
fn keys(path: &str) -> Result<Vec<u8>, std::io::Error> {
    match path {
        "/etc/securecp/keys/build.asc" => Ok(testdata("keys/pgp-alice.pub.asc")),
        "/etc/securecp/keys/release.asc" | "/etc/securecp/keys/release-next.asc" => {
            Ok(testdata("keys/pgp-bob.pub.asc"))
        }
        other => panic!("no test key for {other}"),
    }
}

/// Whether the policy accepts an image with signatures made by `signers` for the name `signed`.
fn accepts(policy: &Policy, identity: ImageIdentity, signers: &[&str], signed: &str) -> bool {
    let name = signed.parse().unwrap();
    let payload = Payload::new(PayloadKind::Simple, manifest().digest(), &name, then()).unwrap();
    let sign = |who: &&str| {
        let secret = testdata(&format!("keys/pgp-{who}.sec.asc"));
        SimpleSigner::from_key(&secret, None, then()).unwrap().sign(&payload, then()).unwrap()
    };
    let signatures = signers.iter().map(sign).collect();
    let survey = Survey { identity, subjects: vec![subject(manifest(), signatures)] };
    policy.admit(survey, &Gate::new(&keys).at(then())).is_ok()
}

fn docker(name: &str) -> ImageIdentity {
    ImageIdentity::docker(&name.parse().unwrap())
}

const BUILD: &str = "alice";
const RELEASE: &str = "bob";

#[test]
fn every_example_is_valid_and_explained() {
    let files = files_below(&folder());
    let mut policies = 0;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        match path.extension().and_then(|e| e.to_str()) {
            Some("json") => {
                Policy::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
                assert!(path.with_file_name("README.md").exists(), "{}", path.display());
                policies += 1;
            }
            Some("yaml") if path.ends_with("trust.yaml") => {
                TrustFile::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
                assert!(path.with_file_name("README.md").exists(), "{}", path.display());
                policies += 1;
            }
            Some("yaml") => {
                let config = RegistriesD::parse([("example", bytes.as_slice())]).unwrap();
                assert!(config.ignored().is_empty(), "{}", path.display());
            }
            Some("md") => {}
            _ => panic!("{} is no example", path.display()),
        }
    }
    assert!(policies >= 6);
}

#[test]
fn release_workflow() {
    let bytes = std::fs::read(folder().join("release-workflow/trust.yaml")).unwrap();
    let file = TrustFile::parse(&bytes).unwrap();
    assert_eq!(file.wants(&docker("registry.acme.example/prod/app:v1")), (true, false));
    let text = file.explain(&docker("registry.acme.example/prod/app:v1")).to_string();
    for part in ["a bundle by (workflow and 1 of (alice, release-key))", "ref refs/tags/v*"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for other in ["registry.acme.example/staging/app:v1", "registry.example/prod/app:v1"] {
        let text = file.explain(&docker(other)).to_string();
        assert!(text.contains("reject: no image passes"), "{other}: {text}");
    }
}

#[test]
fn developer_laptop() {
    let policy = example("developer-laptop/policy.json");
    let unsigned = |identity| accepts(&policy, identity, &[], "r.test/a:1");
    assert!(unsigned(docker("busybox")));
    assert!(unsigned(docker("quay.io/a/b:1")));
    assert!(!unsigned(docker("registry.example/a:1")));
    assert!(!unsigned(docker("registry.corp.example/app:1")));
    assert!(unsigned(docker("registry.corp.example/sandbox/app:1")));
    assert!(unsigned(ImageIdentity::path(Transport::Oci, "/home/me/layout")));
    assert!(unsigned(ImageIdentity::anonymous(Transport::DockerArchive)));
    let signed =
        |name: &str| accepts(&policy, docker("registry.corp.example/app:1"), &[RELEASE], name);
    assert!(signed("registry.corp.example/app:1"));
    assert!(!signed("registry.corp.example/app:2"));
    let name = "registry.corp.example/app:1";
    assert!(!accepts(&policy, docker(name), &[BUILD], name), "another key");
}

#[test]
fn staging_to_production() {
    let gate = example("staging-to-production/gate.json");
    let app = "registry.corp.example/staging/app:1.4";
    assert!(accepts(&gate, docker(app), &[BUILD, RELEASE], app));
    assert!(accepts(&gate, docker(app), &[RELEASE, BUILD], app));
    for too_few in [&[BUILD][..], &[RELEASE], &[]] {
        assert!(!accepts(&gate, docker(app), too_few, app), "{too_few:?}");
    }
    let base = "registry.corp.example/staging/base/debian:13";
    assert!(accepts(&gate, docker(base), &[BUILD], base));
    assert!(!accepts(&gate, docker("busybox"), &[BUILD, RELEASE], "busybox:latest"));

    let production = example("staging-to-production/production.json");
    let there = "registry.corp.example/production/app:1.4";
    assert!(accepts(&production, docker(there), &[BUILD, RELEASE], app));
    assert!(!accepts(&production, docker(there), &[BUILD], app));
    assert!(!accepts(
        &production,
        docker("registry.corp.example/production/app:1.5"),
        &[RELEASE],
        app
    ));

    let yaml =
        std::fs::read(folder().join("staging-to-production/registries.d/corp.yaml")).unwrap();
    let config = RegistriesD::parse([("corp.yaml", yaml.as_slice())]).unwrap();
    let base = |direction| config.lookaside(&docker(app), direction).unwrap().to_string();
    assert_eq!(base(Direction::Read), "https://signatures.corp.example/staging");
    assert_eq!(base(Direction::Write), "file:///srv/signatures/staging");
}

#[test]
fn air_gap() {
    let import = example("air-gap/import.json");
    let dir = |path| ImageIdentity::path(Transport::Dir, path);
    let app = "registry.corp.example/production/app:1.4";
    assert!(accepts(&import, dir("/media/transfer/app-1.4"), &[RELEASE], app));
    assert!(!accepts(&import, dir("/media/transfer/app-1.4"), &[BUILD], app));
    assert!(!accepts(
        &import,
        dir("/media/transfer/app-1.4"),
        &[RELEASE],
        "registry.corp.example/other:1"
    ));
    assert!(!accepts(&import, dir("/tmp/app-1.4"), &[RELEASE], app));
    let control = "registry.corp.example/production/control-plane:2.1";
    assert!(accepts(&import, dir("/media/transfer/control-plane"), &[RELEASE], control));
    assert!(!accepts(&import, dir("/media/transfer/control-plane"), &[RELEASE], app));
    assert!(!accepts(
        &import,
        ImageIdentity::path(Transport::Oci, "/media/transfer/x"),
        &[RELEASE],
        app
    ));

    let inside = example("air-gap/inside.json");
    assert!(accepts(&inside, docker("registry.inside.example:5000/app:1.4"), &[RELEASE], app));
    assert!(
        !accepts(&inside, docker("registry.inside.example/app:1.4"), &[RELEASE], app),
        "the port counts"
    );
    assert!(!accepts(&inside, docker("registry.inside.example:5000/app:1.5"), &[RELEASE], app));
}
