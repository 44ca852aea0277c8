//! What stands beside an image arrives with it, whole: attestations, bills of materials, signatures that nobody judges.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its premise fails")]

mod cli;

use cli::{Place, Run};
use securecp_layer::Scope;
use securecp_net::Net;
use securecp_oci::{Attached, Digest, MediaType};
use securecp_registry::{Access, Beside, Client, Login, ManifestName, Registries};
use securecp_testkit::proxy::{Fault, Proxy, Rule};
use securecp_testkit::simulate::{self, Referrers};
use securecp_testkit::{Blob, EvidenceSet, Fixture, Layer, Registry};
use serde_json::Value;

/// A registry behind a proxy.
struct Side {
    registry: Registry,
    proxy: Proxy,
}

impl Side {
    fn new(behaviour: Referrers) -> Self {
        let registry = Registry::start().unwrap();
        let proxy = Proxy::start(registry.address()).unwrap();
        simulate::referrers(&proxy, behaviour).unwrap();
        Self { registry, proxy }
    }

    fn name(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.proxy.address())
    }

    fn client(&self, repository: &str) -> Client {
        let access =
            Access { tls_verify: Some(false), login: Login::Anonymous, ..Access::default() };
        let repository = format!("{}/{repository}", self.proxy.address()).parse().unwrap();
        Registries::new(Net::default(), access).client(&repository).unwrap()
    }

    /// Puts an image as `app:v1` with its evidence, without lists of referrers where the registry keeps them.
    fn put(&self, image: &Fixture, evidence: &EvidenceSet, fallback: bool) {
        image.push(self.proxy.address(), "app", Some("v1")).unwrap();
        evidence.push(self.proxy.address(), "app", fallback).unwrap();
        self.proxy.clear_log();
    }

    /// Every piece is found where readers look for it, byte for byte, with its blobs.
    fn assert_has(&self, evidence: &EvidenceSet) {
        let (client, scope) = (self.client("app"), Scope::new());
        let beside = Beside::afresh(client.clone());
        for (subject, fixture) in &evidence.referrers {
            let listed = beside.referrers(subject, &scope).unwrap().manifests;
            let entry = listed.iter().find(|entry| entry.digest == *fixture.digest());
            let entry = entry.unwrap_or_else(|| panic!("{} is not listed", fixture.digest()));
            assert!(entry.artifact_type.is_some());
            let found = client.manifest(ManifestName::Digest(fixture.digest()), &scope).unwrap();
            assert_eq!(found.bytes(), &fixture.root.bytes);
        }
        for (tag, fixture) in &evidence.attached {
            let tag = tag.parse().unwrap();
            let found = client.manifest(ManifestName::Tag(&tag), &scope).unwrap();
            assert_eq!(found.digest(), fixture.digest(), "{tag}");
        }
        for fixture in evidence.fixtures() {
            for blob in &fixture.blobs {
                let layer = blob.descriptor();
                assert!(client.has_blob(&layer, &scope).unwrap(), "{}", blob.digest);
            }
        }
    }
}

const OPTIONS: &str = "--policy accept.json copy -q --all --src-tls-verify=false";

fn copy(place: &Place, rest: &str) -> Run {
    place.run(&format!("{OPTIONS} {rest}"))
}

fn copied(place: &Place, rest: &str) -> Value {
    let run = copy(place, &format!("--json {rest}"));
    assert_eq!(run.code, 0, "{run:?}");
    serde_json::from_str(&run.out).unwrap()
}

/// Numbers of a receipt: found, carried, there already, skipped.
fn counts(receipt: &Value) -> [u64; 4] {
    ["found", "carried", "alreadyThere", "skipped"].map(|key| receipt[key].as_u64().unwrap())
}

#[test]
fn everything_arrives_for_every_mix_of_registries_and_nothing_is_sent_twice() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let behaviours = [Referrers::Api, Referrers::NotFound, Referrers::SubjectEcho];
    for from in behaviours {
        let source = Side::new(from);
        source.put(&image, &evidence, from != Referrers::Api);
        for to in behaviours {
            let (place, destination) = (Place::new(), Side::new(to));
            let rest = format!(
                "--dest-tls-verify=false {} {}",
                source.name("app:v1"),
                destination.name("app:v1")
            );
            let receipt = copied(&place, &rest);
            assert_eq!(counts(&receipt["evidence"]), [8, 8, 0, 0], "{from:?} to {to:?}");
            destination.assert_has(&evidence);
            let tag_last = destination.proxy.log();
            let last = tag_last.iter().rfind(|seen| seen.method == "PUT").unwrap();
            assert!(last.path.ends_with("/manifests/v1"), "the name moves last: {last:?}");
            destination.proxy.clear_log();
            let again = copied(&place, &rest);
            assert_eq!(counts(&again["evidence"]), [8, 0, 8, 0], "{from:?} to {to:?}");
            assert_eq!(destination.proxy.requests("PUT", ""), 0, "nothing is written twice");
            assert_eq!(destination.proxy.requests("POST", ""), 0, "nothing is sent twice");
        }
    }
}

#[test]
fn the_receipt_counts_by_platform_and_type() {
    let image = Fixture::two_platforms_attested().unwrap();
    let children = [0, 2].map(|at| image.children[at].clone());
    let plain = Fixture { children: children.to_vec(), ..image.clone() };
    let evidence = EvidenceSet::of(&plain);
    let (place, source, destination) =
        (Place::new(), Side::new(Referrers::Api), Side::new(Referrers::Api));
    source.put(&image, &evidence, false);
    let rest =
        format!("--dest-tls-verify=false {} {}", source.name("app:v1"), destination.name("app:v1"));
    let receipt = copied(&place, &rest);
    let rows = receipt["evidence"]["rows"].as_array().unwrap();
    let mut found: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            format!("{} {} {}", text("platform"), text("type"), row["carried"])
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "index attestation 1",
            "index sigstore signature 2",
            "linux/amd64 attestation 1",
            "linux/amd64 sbom 1",
            "linux/amd64 sigstore signature 1",
            "linux/arm64 attestation 2",
            "linux/arm64 notation signature 1",
            "linux/arm64 sigstore signature 1",
        ]
    );
}

#[test]
fn it_travels_through_layouts_and_archives() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let source = Side::new(Referrers::Api);
    source.put(&image, &evidence, false);
    for layout in ["oci:layout", "oci-archive:layout.tar"] {
        let (place, destination) = (Place::new(), Side::new(Referrers::NotFound));
        let into = copied(&place, &format!("{} {layout}", source.name("app:v1")));
        assert_eq!(counts(&into["evidence"]), [8, 8, 0, 0], "{layout}");
        if layout.starts_with("oci:") {
            let again = copied(&place, &format!("{} {layout}", source.name("app:v1")));
            assert_eq!(counts(&again["evidence"]), [8, 0, 8, 0]);
        }
        // The layout is named without the image: evidence does not count as one.
        let run = place.run(&format!(
            "--policy accept.json copy -q --all --json --dest-tls-verify=false {layout} {}",
            destination.name("app:v1")
        ));
        assert_eq!(run.code, 0, "{run:?}");
        let out: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(out["digest"], image.digest().to_string());
        assert_eq!(counts(&out["evidence"]), [8, 8, 0, 0], "{layout}");
        destination.assert_has(&evidence);
    }
}

#[test]
fn places_without_room_refuse_and_say_what_to_add() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let (place, source) = (Place::new(), Side::new(Referrers::Api));
    source.put(&image, &evidence, false);
    let run = copy(&place, &format!("{} dir:out", source.name("app:v1")));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("dir:out cannot hold evidence: "), "{run:?}");
    assert!(run.err.contains("(and 7 more)"), "{run:?}");
    assert!(run.err.contains("hint: --evidence none"), "{run:?}");
    assert!(!place.exists("out"));
    let receipt = copied(&place, &format!("--evidence none {} dir:out", source.name("app:v1")));
    assert_eq!(counts(&receipt["evidence"]), [0; 4]);
    let signatures =
        copied(&place, &format!("--evidence signatures {} oci:signed", source.name("app:v1")));
    assert_eq!(counts(&signatures["evidence"]), [4, 4, 0, 0]);
}

#[test]
fn a_failed_look_is_never_no_evidence() {
    let image = Fixture::two_platforms().unwrap();
    let source = Side::new(Referrers::Broken);
    image.push(source.proxy.address(), "app", Some("v1")).unwrap();
    let place = Place::new();
    let run = copy(&place, &format!("--retry-times 0 {} oci:out", source.name("app:v1")));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("looking for evidence at source"), "{run:?}");
    assert!(!place.exists("out"));
    let source_of_pages = Side::new(Referrers::Api);
    image.push(source_of_pages.proxy.address(), "app", Some("v1")).unwrap();
    let page = securecp_testkit::proxy::Reply::html(200);
    let rule = Rule::new("GET", "/referrers/").unwrap();
    source_of_pages.proxy.add(rule.with(Fault::Answer(page)));
    let run = copy(&place, &format!("{} oci:out", source_of_pages.name("app:v1")));
    assert_eq!(run.code, 1, "a web page is no answer: {run:?}");
    assert!(run.err.contains("hint: --evidence none copies the image"), "{run:?}");
    assert!(!place.exists("out"));
    let rest = format!("--retry-times 0 --evidence none {} oci:out", source.name("app:v1"));
    assert_eq!(copy(&place, &rest).code, 0);
}

/// One hostile referrer of a small image, copied.
fn hostile(referrer: &Fixture, options: &str) -> (Run, Side) {
    let image = Fixture::tiny().unwrap();
    let (place, source, destination) =
        (Place::new(), Side::new(Referrers::NotFound), Side::new(Referrers::Api));
    image.push(source.proxy.address(), "app", Some("v1")).unwrap();
    // No registry takes such things whole; one that was written by hand has them.
    referrer.plant(source.registry.root(), "app", None).unwrap();
    let tag = securecp_oci::referrers_tag(image.digest()).to_string();
    Fixture::referrers_list(&[referrer]).push(source.proxy.address(), "app", Some(&tag)).unwrap();
    let to = destination.name("app:v1");
    let run =
        copy(&place, &format!("{options} --dest-tls-verify=false {} {to}", source.name("app:v1")));
    (run, destination)
}

/// An artifact with a subject, and with other members than artifacts have.
fn posing(subject: &Fixture, change: impl FnOnce(&mut Value)) -> Fixture {
    let blob = Blob::new(MediaType::new("text/plain"), "evidence");
    let made = Fixture::artifact("application/x", blob, Some(&subject.root));
    let mut document: Value = serde_json::from_slice(&made.root.bytes).unwrap();
    change(&mut document);
    made.with_root(&document)
}

#[test]
fn what_only_poses_as_evidence_does_not_get_past_the_gate() {
    let image = Fixture::tiny().unwrap();
    let child = Fixture::image("arm64", &[Layer::gzip(&[("evil", b"1")]).unwrap()]);
    let with_config = posing(&image, |document| {
        document["config"]["mediaType"] = MediaType::OCI_CONFIG.as_str().into();
    });
    let index = {
        let mut document: Value =
            serde_json::from_slice(&Fixture::index(std::slice::from_ref(&child)).root.bytes)
                .unwrap();
        document["subject"] = image.root.descriptor();
        document["artifactType"] = "application/vnd.example.tree".into();
        Fixture::index(&[child]).with_root(&document)
    };
    let untyped = posing(&image, |document| {
        document["config"]["mediaType"] = "".into();
        document.as_object_mut().unwrap().remove("artifactType");
    });
    for (fixture, what, named) in [
        (&with_config, "is an image", "application/x"),
        (&index, "is an index", "application/vnd.example.tree"),
        (&untyped, "is of no known type", ""),
    ] {
        let (run, destination) = hostile(fixture, "");
        assert_eq!(run.code, 1, "{what}: {run:?}");
        assert!(run.err.contains(what) && run.err.contains("not admitted"), "{run:?}");
        assert_eq!(destination.proxy.requests("PUT", ""), 0, "{what}");
        if named.is_empty() {
            continue;
        }
        let hint = format!("hint: --evidence-type {named} carries it unjudged");
        assert!(run.err.contains(&hint), "{run:?}");
        let (run, destination) = hostile(fixture, &format!("--evidence-type {named}"));
        assert_eq!(run.code, 0, "{run:?}");
        let client = destination.client("app");
        client.manifest(ManifestName::Digest(fixture.digest()), &Scope::new()).unwrap();
    }
}

#[test]
fn evidence_is_bounded() {
    let image = Fixture::tiny().unwrap();
    let huge = posing(&image, |document| {
        document["layers"][0]["size"] = (10_u64 << 30).into();
    });
    let wide = posing(&image, |document| {
        let layer = document["layers"][0].clone();
        document["layers"] = vec![layer; 1001].into();
    });
    for (fixture, text) in
        [(&huge, "has a blob of 10737418240 bytes, the limit is 134217728"), (&wide, "1001 layers")]
    {
        let (run, destination) = hostile(fixture, "");
        assert_eq!(run.code, 1, "{text}: {run:?}");
        assert!(run.err.contains(text), "{run:?}");
        assert_eq!(destination.proxy.requests("PUT", ""), 0, "{text}");
    }
}

#[test]
fn lists_cannot_lead_in_circles_or_on_for_ever_or_elsewhere() {
    let image = Fixture::tiny().unwrap();
    let stranger = Fixture::docker_image("s390x", &[Layer::gzip(&[("x", b"1")]).unwrap()]);
    let bundle = Fixture::bundle(&image.root, "https://slsa.dev/provenance/v1");
    let listing = |entries: Vec<Value>| {
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": entries,
        })
        .to_string()
    };
    let entry = |fixture: &Fixture| {
        let mut entry = fixture.root.descriptor();
        entry["artifactType"] = "application/vnd.example".into();
        entry
    };
    let run_with = |answer: &dyn Fn(&str) -> String| {
        let (place, source) = (Place::new(), Side::new(Referrers::Api));
        image.push(source.proxy.address(), "app", Some("v1")).unwrap();
        bundle.push(source.proxy.address(), "app", None).unwrap();
        for (subject, list) in [
            (image.digest(), answer(&image.digest().to_string())),
            (bundle.digest(), answer(&bundle.digest().to_string())),
        ] {
            let reply = securecp_testkit::proxy::Reply::new(200)
                .header("content-type", MediaType::OCI_INDEX.as_str())
                .body(list);
            let path = format!("/referrers/{subject}");
            source.proxy.add(Rule::new("GET", &path).unwrap().with(Fault::Answer(reply)));
        }
        copy(&place, &format!("{} oci:out", source.name("app:v1")))
    };
    // The bundle lists the image, which lists the bundle.
    let circle = run_with(&|subject| {
        let of_image = subject == image.digest().to_string();
        listing(vec![entry(if of_image { &bundle } else { &image })])
    });
    assert_eq!(circle.code, 1, "a circle ends: {circle:?}");
    assert!(circle.err.contains("but its subject is nothing"), "{circle:?}");
    let elsewhere = run_with(&|_| listing(vec![entry(&stranger), entry(&bundle)]));
    assert_eq!(elsewhere.code, 1, "{elsewhere:?}");
    let many = run_with(&|_| {
        let entries = (0..10_000_u32).map(|number| {
            let mut entry = entry(&bundle);
            let digest = Digest::of(securecp_oci::Algorithm::Sha256, &number.to_le_bytes());
            entry["digest"] = digest.to_string().into();
            entry
        });
        listing(entries.collect())
    });
    assert_eq!(many.code, 1, "{many:?}");
    assert!(many.err.contains("more than 1000 pieces of evidence"), "{many:?}");
}

#[test]
fn what_is_listed_elsewhere_than_under_its_subject_is_refused() {
    let (image, other) = (Fixture::tiny().unwrap(), Fixture::two_platforms().unwrap());
    let bundle = Fixture::bundle(&other.root, "https://slsa.dev/provenance/v1");
    let (place, source) = (Place::new(), Side::new(Referrers::NotFound));
    image.push(source.proxy.address(), "app", Some("v1")).unwrap();
    bundle.push(source.proxy.address(), "app", None).unwrap();
    let tag = securecp_oci::referrers_tag(image.digest()).to_string();
    Fixture::referrers_list(&[&bundle]).push(source.proxy.address(), "app", Some(&tag)).unwrap();
    let run = copy(&place, &format!("{} oci:out", source.name("app:v1")));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("but its subject is"), "{run:?}");
}

#[test]
fn changes_of_a_manifest_orphan_its_evidence() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let source = Side::new(Referrers::Api);
    source.put(&image, &evidence, false);
    let place = Place::new();
    let change = format!("--dest-compress-format zstd {}", source.name("app:v1"));
    let run = copy(&place, &format!("{change} oci:out"));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("would no longer apply, because the manifest changes"), "{run:?}");
    assert!(run.err.contains("hint: --remove-signatures --on-orphaned drop leaves"), "{run:?}");
    // One meaning per switch: neither does the other's work.
    let run = copy(&place, &format!("--on-orphaned drop {change} oci:out"));
    assert!(run.code == 1 && run.err.contains("hint: --remove-signatures leaves"), "{run:?}");
    let run = copy(&place, &format!("--remove-signatures {change} oci:out"));
    assert!(run.code == 1 && run.err.contains("hint: --on-orphaned drop leaves"), "{run:?}");
    let both = format!("--remove-signatures --on-orphaned drop {change} oci:out");
    let receipt = copied(&place, &both);
    assert_eq!(counts(&receipt["evidence"]), [8, 0, 0, 8]);
    let whys = receipt["evidence"]["skippedPieces"].as_array().unwrap();
    assert!(whys.iter().any(|one| one["why"].as_str().unwrap().contains("another digest")));
    assert!(whys.iter().any(|one| one["why"] == "signatures are removed"));
}

#[test]
fn a_manifest_that_keeps_its_digest_keeps_its_evidence_under_a_rewritten_index() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let source = Side::new(Referrers::Api);
    source.put(&image, &evidence, false);
    let place = Place::new();
    let run = place.run(&format!(
        "--policy accept.json copy -q --json --platform linux/arm64 --index rewrite --src-tls-verify=false \
         --remove-signatures --on-orphaned drop {} oci:out",
        source.name("app:v1")
    ));
    assert_eq!(run.code, 0, "{run:?}");
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    // Of arm64 the provenance and the Notation signature travel; the signature of the provenance is dropped, and all
    // evidence of the index.
    let carried: Vec<&Value> = receipt["evidence"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["carried"].as_u64().unwrap() > 0)
        .collect();
    assert!(carried.iter().all(|row| row["platform"] == "linux/arm64"), "{carried:?}");
    assert_eq!(carried.len(), 2, "{carried:?}");
}

#[test]
fn an_attestation_in_the_index_goes_with_what_it_attests() {
    let image = Fixture::two_platforms_attested().unwrap();
    let place = Place::new();
    image.write_layout(&place.path("image"), Some("v1")).unwrap();
    let change = "--dest-compress-format zstd oci:image:v1";
    let run = place.run(&format!("--policy accept.json copy -q --all {change} oci:out:v1"));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("hint: --on-orphaned drop leaves it behind"), "{run:?}");
    let line =
        format!("--policy accept.json copy -q --all --json --on-orphaned drop {change} oci:out:v1");
    let run = place.run(&line);
    assert_eq!(run.code, 0, "{run:?}");
    let receipt: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(receipt["manifests"].as_array().unwrap().len(), 3, "the attestations are gone");
    assert_eq!(counts(&receipt["evidence"]), [2, 0, 0, 2]);
    let warned: Vec<&str> = run.err.lines().filter(|line| line.contains("stays behind")).collect();
    assert_eq!(warned.len(), 2, "{run:?}");
    let skipped = receipt["evidence"]["skippedPieces"].as_array().unwrap();
    let index = run_raw(&place, "oci:image:v1");
    for (entry, piece) in [1, 3].into_iter().zip(skipped) {
        let (attested, digest) =
            (&index["manifests"][entry - 1]["digest"], &index["manifests"][entry]["digest"]);
        assert_eq!((&piece["digest"], &piece["manifest"]), (digest, attested), "{receipt:#}");
        let says = format!("{} of {}", digest.as_str().unwrap(), attested.as_str().unwrap());
        assert!(warned.iter().any(|line| line.contains(&says)), "{says}: {warned:?}");
    }
    let plan = place.run(&line.replace("--json", "--json --dry-run").replace("oci:out", "oci:new"));
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let left = plan["evidence"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{plan:#}");
    for (left, skipped) in left.iter().zip(skipped) {
        assert_eq!((&left["action"], &left["digest"]), (&"leave".into(), &skipped["digest"]));
        assert_eq!(left["subject"], skipped["manifest"]);
    }
}

#[test]
fn what_was_put_is_looked_for_afterwards() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let source = Side::new(Referrers::Api);
    source.put(&image, &evidence, false);
    let (place, destination) = (Place::new(), Side::new(Referrers::Api));
    // The registry says that it keeps the list, and does not.
    let lost = evidence.referrers[0].1.digest().to_string();
    let wanted = lost.clone();
    let forgetful = securecp_testkit::proxy::Handler::new(move |call| {
        let target = call.target();
        let answer = securecp_testkit::http::Request::new("GET", &target);
        let answer = answer.send(call.upstream).ok()?;
        let mut list: Value = serde_json::from_slice(&answer.body).ok()?;
        list["manifests"].as_array_mut()?.retain(|entry| entry["digest"] != wanted.as_str());
        let reply = securecp_testkit::proxy::Reply::new(200);
        let reply = reply.header("content-type", MediaType::OCI_INDEX.as_str());
        Some(reply.body(list.to_string()))
    });
    destination.proxy.add(Rule::new("GET", "/referrers/").unwrap().with(Fault::Handle(forgetful)));
    let rest =
        format!("--dest-tls-verify=false {} {}", source.name("app:v1"), destination.name("app:v1"));
    let run = copy(&place, &rest);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("reading back from destination") && run.err.contains(&lost),
        "{run:?}"
    );
    let tag = "v1".parse().unwrap();
    let scope = Scope::new();
    let there = destination.client("app").head_manifest(ManifestName::Tag(&tag), &scope).unwrap();
    assert!(there.is_none(), "no name stands for an image whose evidence is not whole");
}

#[test]
fn a_registry_that_lags_is_waited_for() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let source = Side::new(Referrers::Api);
    source.put(&image, &evidence, false);
    let (place, destination) = (Place::new(), Side::new(Referrers::Api));
    simulate::lagging(&destination.proxy, std::time::Duration::from_secs(1)).unwrap();
    let rest = format!(
        "--evidence signatures --dest-tls-verify=false {} {}",
        source.name("app:v1"),
        destination.name("app:v1")
    );
    // Only evidence is waited for: what lags of an image itself is a failure of its own.
    image.push(destination.registry.address(), "app", None).unwrap();
    let receipt = copied(&place, &rest);
    assert_eq!(counts(&receipt["evidence"]), [4, 4, 0, 0]);
}

#[test]
fn two_processes_that_bring_different_evidence_lose_nothing() {
    let image = Fixture::two_platforms().unwrap();
    let destination = Side::new(Referrers::NotFound);
    let sources = [0, 1].map(|number| {
        let source = Side::new(Referrers::Api);
        let mut evidence = EvidenceSet::default();
        let blob = Blob::new(MediaType::new("text/plain"), format!("evidence {number}"));
        let kind = "application/vnd.in-toto+json";
        evidence.refer(&image.root, Fixture::artifact(kind, blob, Some(&image.root)));
        let text = format!("attestation {number}");
        evidence.attach(&image.root, Attached::Attestations, &[&text]);
        source.put(&image, &evidence, false);
        (source, evidence)
    });
    let place = Place::new();
    std::thread::scope(|threads| {
        for (source, _) in &sources {
            let (place, destination) = (&place, &destination);
            threads.spawn(move || {
                let rest = format!(
                    "--dest-tls-verify=false {} {}",
                    source.name("app:v1"),
                    destination.name("app:v1")
                );
                let run = copy(place, &rest);
                assert_eq!(run.code, 0, "{run:?}");
            });
        }
    });
    let (beside, scope) = (Beside::afresh(destination.client("app")), Scope::new());
    assert_eq!(beside.referrers(image.digest(), &scope).unwrap().manifests.len(), 2);
    let attached = beside.attached(image.digest(), Attached::Attestations, &scope).unwrap();
    assert_eq!(attached.unwrap().image().unwrap().layers.len(), 2);
}

#[test]
fn a_warm_copy_asks_little() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let (place, source, destination) =
        (Place::new(), Side::new(Referrers::Api), Side::new(Referrers::Api));
    source.put(&image, &evidence, false);
    let rest =
        format!("--dest-tls-verify=false {} {}", source.name("app:v1"), destination.name("app:v1"));
    copied(&place, &rest);
    source.proxy.clear_log();
    destination.proxy.clear_log();
    copied(&place, &rest);
    // Three manifests of the image, eight of evidence.
    assert_eq!(source.proxy.requests("GET", "/referrers/"), 11);
    assert_eq!(source.proxy.requests("GET", "/tags/list"), 1);
    assert!(destination.proxy.requests("GET", "/referrers/") <= 11);
    assert!(destination.proxy.requests("GET", "/tags/list") <= 1);
    // Referrers that are there need not be read; what cosign attached is compared.
    for (_, referrer) in &evidence.referrers {
        let path = format!("/manifests/{}", referrer.digest());
        assert_eq!(source.proxy.requests("GET", &path), 0, "{path}");
    }
    assert_eq!(source.proxy.requests("GET", "/manifests/sha256-"), 3);
}

#[test]
fn users_of_skopeo_get_a_warning_for_what_cannot_travel() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let (place, source) = (Place::new(), Side::new(Referrers::Api));
    source.put(&image, &evidence, false);
    let skopeo = place.path("skopeo");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_securecp"), &skopeo).unwrap();
    let run = |to: &str| {
        let words = ["--policy", "accept.json", "copy", "--all", "--src-tls-verify=false"];
        let name = source.name("app:v1");
        let words: Vec<&str> = words.into_iter().chain([name.as_str(), to]).collect();
        place.command_of(&skopeo, &words).output().unwrap()
    };
    let output = run("dir:out");
    assert!(output.status.success(), "{output:?}");
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err.lines().filter(|line| line.contains("stays behind")).count(), 8, "{err}");
    let output = run("oci:layout:v1");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// An attestation in the index of what becomes another image attests nothing any more, whoever asks.
#[test]
fn users_of_skopeo_are_told_of_attestations_that_no_longer_apply() {
    let place = Place::new();
    let image = Fixture::two_platforms_attested().unwrap();
    image.write_layout(&place.path("image"), Some("v1")).unwrap();
    let skopeo = place.path("skopeo");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_securecp"), &skopeo).unwrap();
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = place.command_of(&skopeo, &words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let line = "--policy accept.json copy --all --dest-compress-format zstd oci:image:v1";
    let err = run(&format!("{line} oci:out:v1"));
    let warned =
        err.lines().filter(|line| line.contains("attestation") && line.contains("stays behind"));
    assert_eq!(warned.count(), 2, "{err}");
    let index = run_raw(&place, "oci:out:v1");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "{index:#}");
    // Whoever wants no evidence looked for gets what is there, as it is.
    assert_eq!(run(&format!("{line} --evidence none oci:plain:v1")), "");
    assert_eq!(run_raw(&place, "oci:plain:v1")["manifests"].as_array().unwrap().len(), 4);
}

fn run_raw(place: &Place, image: &str) -> Value {
    let run = place.run(&format!("inspect --raw {image}"));
    assert_eq!(run.code, 0, "{run:?}");
    serde_json::from_str(&run.out).unwrap()
}

#[test]
fn encryption_of_a_signed_image_says_what_to_add() {
    let image = Fixture::tiny().unwrap();
    let mut evidence = EvidenceSet::default();
    evidence.attach(&image.root, Attached::Signatures, &["a signature"]);
    let sbom = Blob::new(MediaType::new("application/spdx+json"), "{}");
    let sbom = Fixture::artifact("application/spdx+json", sbom, Some(&image.root));
    evidence.refer(&image.root, sbom);
    let source = Side::new(Referrers::Api);
    source.put(&image, &evidence, false);
    let place = Place::new();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/crypt/keys/rsa-a.pub.pem");
    let change =
        format!("--encryption-key jwe:{key} --encrypt-layer 1 {} oci:out", source.name("app:v1"));
    let run = copy(&place, &change);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("hint: --remove-signatures --on-orphaned drop"), "{run:?}");
    assert!(!place.exists("out"));
    let run = copy(&place, &format!("--remove-signatures --on-orphaned drop {change}"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("sbom") && run.err.contains("layer 1 is encrypted"), "{run:?}");
    assert!(run.err.contains("sigstore signature") && run.err.contains("removed"), "{run:?}");
}

#[test]
fn a_dry_run_lists_what_becomes_of_it() {
    let image = Fixture::two_platforms().unwrap();
    let evidence = EvidenceSet::of(&image);
    let (place, source) = (Place::new(), Side::new(Referrers::Api));
    source.put(&image, &evidence, false);
    let plan = copied(&place, &format!("--dry-run {} oci:out", source.name("app:v1")));
    let pieces = plan["evidence"].as_array().unwrap();
    assert_eq!(pieces.len(), 8);
    assert!(pieces.iter().all(|piece| piece["action"] == "copy" && piece["why"].is_null()));
    let text = copy(&place, &format!("--dry-run {} oci:out", source.name("app:v1"))).out;
    assert!(text.contains("notation signature") && text.contains("unverified"), "{text}");
    for bad in ["--evidence some", "--on-orphaned keep", "--evidence none --on-orphaned drop"] {
        let run = copy(&place, &format!("{bad} oci:a oci:b"));
        assert_eq!(run.code, 64, "{run:?}");
    }
}
