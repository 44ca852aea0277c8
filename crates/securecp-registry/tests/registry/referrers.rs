//! Referrers at registries that know them, do not know them, or answer something else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use securecp_layer::Scope;
use securecp_oci::{
    Algorithm, Attached, Declared, Descriptor, Digest, MediaType, RawManifest, Tag,
};
use securecp_registry::{Beside, Class, Client, ManifestName, Problem, RegistryError};
use securecp_testkit::proxy::{Fault, Handler, Proxy, Reply, Rule};
use securecp_testkit::simulate::{self, Referrers};

use crate::peers::{Peer, blob, client, image, plain, pull, push};

/// A registry behind a proxy.
fn registry() -> (Peer, Proxy, Client) {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let client = client(proxy.address(), "a", plain());
    (peer, proxy, client)
}

fn subject(client: &Client) -> RawManifest {
    let manifest = image(client, 1);
    client.put_manifest(ManifestName::Digest(manifest.digest()), &manifest, &Scope::new()).unwrap();
    manifest
}

/// An index with one manifest, which is there.
fn subject_index(client: &Client) -> RawManifest {
    let child = subject(client);
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        serde_json::Value::from(&child.descriptor()),
    );
    let index = RawManifest::read(text.into(), Declared::default()).unwrap();
    client.put_manifest(ManifestName::Digest(index.digest()), &index, &Scope::new()).unwrap();
    index
}

/// An artifact that refers to `subject`; its config blob is one that is there.
fn referrer(subject: &RawManifest, number: usize, artifact_type: &str) -> RawManifest {
    // Any blob that is there will do for a configuration; an index has none of its own.
    let config = subject.image().map_or_else(|| blob(1000, 1).0, |image| image.config.clone());
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{artifact_type}","config":{},"layers":[],"subject":{},"annotations":{{"n":"{number}"}}}}"#,
        MediaType::OCI_MANIFEST,
        serde_json::Value::from(&config),
        serde_json::Value::from(&subject.descriptor()),
    );
    RawManifest::read(text.into(), Declared::default()).unwrap()
}

fn fallback_tag(digest: &Digest) -> Tag {
    format!("sha256-{}", digest.hex()).parse().unwrap()
}

/// Two referrers of two types are written, one of them twice, and read with and without filter.
fn writes_and_reads(client: &Client, subject: &RawManifest) -> Result<(), RegistryError> {
    let scope = Scope::new();
    assert!(client.referrers(subject.digest(), None, &scope)?.is_empty());
    let (first, second) = (referrer(subject, 1, "type/a"), referrer(subject, 2, "type/b"));
    for manifest in [&first, &second, &first] {
        client.put_referrer(manifest, &scope)?;
    }
    let mut found = client.referrers(subject.digest(), None, &scope)?;
    found.sort_by_key(|entry| entry.annotations.get("n").cloned());
    let digests: Vec<&Digest> = found.iter().map(|entry| &entry.digest).collect();
    assert_eq!(digests, [first.digest(), second.digest()]);
    let filtered = client.referrers(subject.digest(), Some("type/b"), &scope)?;
    assert_eq!(filtered.len(), 1);
    assert_eq!(filtered[0].artifact_type.as_deref(), Some("type/b"));
    Ok(())
}

#[test]
fn every_behaviour_is_read_and_written_correctly() {
    for behaviour in Referrers::ALL {
        for index in [false, true] {
            let (_peer, proxy, client) = registry();
            let subject = if index { subject_index(&client) } else { subject(&client) };
            simulate::referrers(&proxy, behaviour).unwrap();
            let result = writes_and_reads(&client, &subject);
            assert_eq!(result.is_err(), behaviour == Referrers::Broken, "{behaviour:?} {result:?}");
            proxy.clear_rules();
            let tag = fallback_tag(subject.digest());
            let tagged = client.head_manifest(ManifestName::Tag(&tag), &Scope::new()).unwrap();
            let expected = !matches!(behaviour, Referrers::Api | Referrers::Broken);
            assert_eq!(tagged.is_some(), expected, "{behaviour:?}");
        }
    }
}

#[test]
fn an_api_that_echoes_the_subject_is_no_api() {
    let (_peer, proxy, client) = registry();
    let subject = subject_index(&client);
    let echo = Reply::new(200)
        .header("content-type", subject.media_type().as_str())
        .body(subject.bytes().to_vec());
    proxy.add(Rule::new("GET", "/referrers/").unwrap().with(Fault::Answer(echo)));
    let silent = Fault::DropResponseHeader("oci-subject");
    proxy.add(Rule::new("PUT", "/manifests/").unwrap().with(silent));
    writes_and_reads(&client, &subject).unwrap();
}

#[test]
fn anything_but_absence_is_an_error_and_never_none() {
    let broken = [
        (Reply::new(401), Class::Auth),
        (Reply::new(403), Class::Auth),
        (Reply::new(429), Class::RateLimited),
        (Reply::new(500), Class::Server),
        (Reply::new(503), Class::Server),
        (Reply::html(200), Class::Invalid),
    ];
    for (reply, class) in broken {
        for path in ["/referrers/", "/manifests/sha256-"] {
            let (_peer, proxy, client) = registry();
            let subject = subject(&client);
            if path != "/referrers/" {
                simulate::referrers(&proxy, Referrers::NotFound).unwrap();
            }
            proxy.add(Rule::new("GET", path).unwrap().with(Fault::Answer(reply.clone())));
            let error = client.referrers(subject.digest(), None, &Scope::new()).unwrap_err();
            let found = error.class();
            assert!(found == class || found == Class::Integrity, "{path} {reply:?}: {error}");
        }
    }
    let (_peer, proxy, client) = registry();
    let subject = subject(&client);
    proxy.add(Rule::new("GET", "/referrers/").unwrap().with(Fault::Reset));
    assert!(client.referrers(subject.digest(), None, &Scope::new()).is_err());
}

#[test]
fn a_fallback_tag_that_is_no_index_is_an_error() {
    let (_peer, proxy, client) = registry();
    simulate::referrers(&proxy, Referrers::NotFound).unwrap();
    let (subject, scope) = (subject(&client), Scope::new());
    let (tag, other) = (fallback_tag(subject.digest()), image(&client, 2));
    client.put_manifest(ManifestName::Tag(&tag), &other, &scope).unwrap();
    assert!(client.referrers(subject.digest(), None, &scope).is_err());
}

#[test]
fn long_lists_come_page_by_page_whether_filtered_or_not() {
    let peer = Peer::embedded_with(|options| options.page_limit = 2);
    let (client, scope) = (peer.client("a"), Scope::new());
    let subject = subject(&client);
    for number in 0..7 {
        let kind = if number % 2 == 0 { "type/even" } else { "type/odd" };
        client.put_referrer(&referrer(&subject, number, kind), &scope).unwrap();
    }
    assert_eq!(client.referrers(subject.digest(), None, &scope).unwrap().len(), 7);
    assert_eq!(client.referrers(subject.digest(), Some("type/odd"), &scope).unwrap().len(), 3);
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let (_peer, proxy, first) = registry();
    simulate::referrers(&proxy, Referrers::NotFound).unwrap();
    let subject = subject(&first);
    let second = client(proxy.address(), "a", plain());
    thread::scope(|threads| {
        for number in 0..6 {
            // Two clients that share nothing, as two processes do.
            let (client, subject) = (if number % 2 == 0 { &first } else { &second }, &subject);
            threads.spawn(move || {
                client.put_referrer(&referrer(subject, number, "type/a"), &Scope::new()).unwrap();
            });
        }
    });
    assert_eq!(first.referrers(subject.digest(), None, &Scope::new()).unwrap().len(), 6);
}

#[test]
fn an_immutable_fallback_tag_is_reported() {
    let peer = Peer::embedded_with(|options| options.immutable_tags = true);
    let proxy = Proxy::start(peer.address).unwrap();
    let client = client(proxy.address(), "a", plain());
    simulate::referrers(&proxy, Referrers::NotFound).unwrap();
    let (subject, scope) = (subject(&client), Scope::new());
    client.put_referrer(&referrer(&subject, 1, "type/a"), &scope).unwrap();
    let error = client.put_referrer(&referrer(&subject, 2, "type/a"), &scope).unwrap_err();
    assert!(matches!(error.problem(), Problem::Immutable(_)), "{error:?}");
    assert_eq!(error.class(), Class::Conflict);
}

#[test]
fn a_long_digest_is_cut_in_the_tag() {
    let (_peer, proxy, client) = registry();
    simulate::referrers(&proxy, Referrers::NotFound).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let wanted = Digest::of(Algorithm::Sha512, b"x");
    let tag = format!("/manifests/sha512-{}", &wanted.hex()[..64]);
    let handler = Handler::new(move |call| {
        if call.path.ends_with(&tag) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        None
    });
    proxy.add(Rule::new("GET", "/manifests/").unwrap().with(Fault::Handle(handler)));
    assert!(client.referrers(&wanted, None, &Scope::new()).unwrap().is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn looking_around_finds_what_every_behaviour_keeps_and_asks_once_what_is_the_same() {
    for behaviour in Referrers::ALL {
        let (_peer, proxy, client) = registry();
        let subjects = [1, 2, 3].map(|number| image(&client, number));
        for subject in &subjects {
            let name = ManifestName::Digest(subject.digest());
            client.put_manifest(name, subject, &Scope::new()).unwrap();
        }
        // An empty list of tags would say nothing.
        let name = ManifestName::Tag(&"t".parse().unwrap());
        client.put_manifest(name, &subjects[0], &Scope::new()).unwrap();
        simulate::referrers(&proxy, behaviour).unwrap();
        let scope = Scope::new();
        let made = referrer(&subjects[0], 1, "type/a");
        if behaviour != Referrers::Broken {
            client.put_referrer(&made, &scope).unwrap();
        }
        proxy.clear_log();
        // Sources of one repository share what they learn.
        let look =
            |subject: &RawManifest| Beside::new(client.clone()).referrers(subject.digest(), &scope);
        let found = subjects.each_ref().map(look);
        if behaviour == Referrers::Broken {
            assert!(found.iter().all(Result::is_err), "a failure is no absence");
            continue;
        }
        let digests = |found: &securecp_registry::Referrers| {
            found.manifests.iter().map(|entry| entry.digest.clone()).collect::<Vec<_>>()
        };
        let found = found.map(Result::unwrap);
        assert_eq!(digests(&found[0]), [made.digest().clone()], "{behaviour:?}");
        assert!(found[1].manifests.is_empty() && found[2].manifests.is_empty());
        assert_eq!(found[0].by_api, behaviour == Referrers::Api);
        // The list of tags tells for all manifests at once that they have no fallback tag.
        assert!(proxy.requests("GET", "/tags/list") <= 1, "{behaviour:?}");
        let fallback = proxy.requests("GET", "/manifests/sha256-");
        assert_eq!(fallback, usize::from(behaviour != Referrers::Api), "{behaviour:?}");
        let api = proxy.requests("GET", "/referrers/");
        let lists = matches!(behaviour, Referrers::Api | Referrers::EmptyIndex);
        assert_eq!(api, if lists { 3 } else { 1 }, "{behaviour:?}");
    }
}

#[test]
fn what_cosign_attached_is_found_whether_or_not_tags_are_listed() {
    let (_peer, proxy, client) = registry();
    let (subject, scope) = (subject(&client), Scope::new());
    let attached = image(&client, 7);
    let tag = Attached::Attestations.tag(subject.digest()).unwrap();
    client.put_manifest(ManifestName::Tag(&tag), &attached, &scope).unwrap();
    let look = |beside: &Beside| {
        Attached::ALL.map(|what| {
            let found = beside.attached(subject.digest(), what, &scope).unwrap();
            found.map(|manifest| manifest.digest().clone())
        })
    };
    let expected = [None, Some(attached.digest().clone()), None];
    assert_eq!(look(&Beside::new(client.clone())), expected);
    assert_eq!(proxy.requests("GET", "/manifests/"), 1, "what is not listed is not asked for");
    assert_eq!(look(&Beside::afresh(client.clone())), expected);
    // A registry that refuses to list its tags has not said that there are none.
    let refused = Reply::error(401, "UNAUTHORIZED", "not yours");
    proxy.add(Rule::new("GET", "/tags/list").unwrap().with(Fault::Answer(refused)));
    let newcomer = self::client(proxy.address(), "a", plain());
    assert_eq!(look(&Beside::new(newcomer)), expected);
    let broken = Reply::error(500, "UNKNOWN", "something failed");
    proxy.add(Rule::new("GET", "/manifests/sha256-").unwrap().with(Fault::Answer(broken)));
    let failed = Beside::afresh(client).attached(subject.digest(), Attached::Sbom, &scope);
    assert!(failed.is_err(), "a failure is no absence");
}

/// Something that cosign attached, with a layer for each text.
fn attachment(client: &Client, texts: &[String]) -> RawManifest {
    let digests: Vec<Digest> =
        texts.iter().map(|text| Digest::of(Algorithm::Sha256, text.as_bytes())).collect();
    let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": digests}});
    let put = |media_type: MediaType, text: String| {
        let bytes = bytes::Bytes::from(text);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        push(client, &descriptor, &bytes).unwrap();
        serde_json::Value::from(&descriptor)
    };
    let layer =
        |text: &String| put(MediaType::new("application/vnd.dsse.envelope.v1+json"), text.clone());
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "config": put(MediaType::OCI_CONFIG, config.to_string()),
        "layers": texts.iter().map(layer).collect::<Vec<_>>(),
    });
    RawManifest::read(document.to_string().into(), Declared::default()).unwrap()
}

#[test]
fn what_is_attached_joins_what_others_attached() {
    let (_peer, _proxy, client) = registry();
    let (subject, scope) = (subject(&client), Scope::new());
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let put = |manifest: &RawManifest| {
        client.put_attached(subject.digest(), Attached::Attestations, manifest, &scope).unwrap();
        let beside = Beside::afresh(client.clone());
        beside.attached(subject.digest(), Attached::Attestations, &scope).unwrap().unwrap()
    };
    let first = attachment(&client, &texts(&["a", "b"]));
    assert_eq!(put(&first).digest(), first.digest(), "alone it keeps its digest");
    assert_eq!(put(&attachment(&client, &texts(&["b"]))).digest(), first.digest());
    let more = attachment(&client, &texts(&["b", "a", "c"]));
    assert_eq!(put(&more).digest(), more.digest());
    let joined = put(&attachment(&client, &texts(&["d"])));
    let image = joined.image().unwrap();
    assert_eq!(image.layers.len(), 4);
    let config = pull(&client, &image.config).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 4);
}

/// Two clients that share nothing, as two processes do, add to the same lists and attachments at the same time.
#[test]
fn two_writers_lose_nothing_in_200_tries() {
    let (_peer, proxy, first) = registry();
    simulate::referrers(&proxy, Referrers::NotFound).unwrap();
    let second = client(proxy.address(), "a", plain());
    let subjects: Vec<RawManifest> = (0..8).map(|seed| image(&first, seed)).collect();
    let digest = |n: usize| Digest::of(Algorithm::Sha256, &n.to_le_bytes());
    let attempt = |n: usize| {
        let scope = Scope::new();
        // The subject need not be there; that each try has its own is what matters.
        let made = [1, 2].map(|half| {
            let text =
                String::from_utf8(referrer(&subjects[0], 2 * n + half, "t").bytes().to_vec());
            let subject = subjects[0].digest().to_string();
            let text = text.unwrap().replace(&subject, &digest(n).to_string());
            RawManifest::read(text.into(), Declared::default()).unwrap()
        });
        let attached = [1, 2].map(|half| attachment(&first, &[format!("{n} {half}")]));
        thread::scope(|threads| {
            for (client, half) in [(&first, 0), (&second, 1)] {
                let (made, attached, scope) = (&made[half], &attached[half], &scope);
                threads.spawn(move || match n % 2 {
                    0 => client.put_referrer(made, scope).unwrap(),
                    _ => client.put_attached(&digest(n), Attached::Sbom, attached, scope).unwrap(),
                });
            }
        });
        let beside = Beside::afresh(first.clone());
        let found = match n % 2 {
            0 => beside.referrers(&digest(n), &scope).unwrap().manifests.len(),
            _ => {
                let there = beside.attached(&digest(n), Attached::Sbom, &scope).unwrap().unwrap();
                there.image().unwrap().layers.len()
            }
        };
        assert_eq!(found, 2, "try {n}");
    };
    thread::scope(|threads| {
        for worker in 0..20 {
            threads.spawn(move || (0..10).for_each(|round| attempt(worker * 10 + round)));
        }
    });
}

#[test]
fn a_registry_that_needs_a_second_until_it_knows_is_waited_for() {
    for behaviour in [Referrers::Api, Referrers::NotFound] {
        let (_peer, proxy, client) = registry();
        let subject = subject(&client);
        simulate::referrers(&proxy, behaviour).unwrap();
        let lag = std::time::Duration::from_secs(1);
        simulate::lagging(&proxy, lag).unwrap();
        let (first, scope) = (referrer(&subject, 1, "type/a"), Scope::new());
        client.put_referrer(&first, &scope).unwrap();
        thread::sleep(lag);
        client.put_referrer(&referrer(&subject, 2, "type/a"), &scope).unwrap();
        thread::sleep(lag);
        let found = client.referrers(subject.digest(), None, &scope).unwrap();
        assert_eq!(found.len(), 2, "{behaviour:?}");
    }
}

#[test]
fn a_referrer_that_is_deleted_is_taken_out_of_the_list() {
    for behaviour in [Referrers::NotFound, Referrers::EmptyIndex, Referrers::Api] {
        let (_peer, proxy, client) = registry();
        simulate::referrers(&proxy, behaviour).unwrap();
        let (subject, scope) = (subject(&client), Scope::new());
        let all: Vec<RawManifest> = (0..3).map(|n| referrer(&subject, n, "type/a")).collect();
        all.iter().for_each(|manifest| client.put_referrer(manifest, &scope).unwrap());
        for (number, gone) in all.iter().enumerate() {
            client.delete_manifest(gone.digest(), &scope).unwrap();
            client.unlist_referrer(gone, &scope).unwrap();
            client.unlist_referrer(gone, &scope).unwrap();
            let found = client.referrers(subject.digest(), None, &scope).unwrap();
            // The API says nothing about an order.
            let digests: BTreeSet<&Digest> = found.iter().map(|entry| &entry.digest).collect();
            let expected = all[number + 1..].iter().map(RawManifest::digest).collect();
            assert_eq!(digests, expected, "{behaviour:?}");
        }
        client.unlist_referrer(&subject, &scope).unwrap();
    }
}

#[test]
fn a_list_that_cannot_be_read_or_written_is_an_error_when_a_referrer_is_deleted() {
    for (method, reply) in [("GET", Reply::new(500)), ("PUT", Reply::error(403, "DENIED", "no"))] {
        let (_peer, proxy, client) = registry();
        simulate::referrers(&proxy, Referrers::NotFound).unwrap();
        let (subject, scope) = (subject(&client), Scope::new());
        let manifest = referrer(&subject, 1, "type/a");
        client.put_referrer(&manifest, &scope).unwrap();
        let refuse = Fault::Answer(reply);
        proxy.add(Rule::new(method, "/manifests/sha256-").unwrap().with(refuse));
        client.unlist_referrer(&manifest, &scope).unwrap_err();
    }
}

/// An empty list of tags proves nothing of a single tag.
#[test]
fn a_registry_that_lists_no_tags_has_not_said_that_there_are_none() {
    for body in [r#"{"name":"a","tags":null}"#, r#"{"name":"a","tags":[]}"#, "{}"] {
        let (_peer, proxy, client) = registry();
        let (subject, scope) = (subject(&client), Scope::new());
        let attached = image(&client, 7);
        let tag = Attached::Attestations.tag(subject.digest()).unwrap();
        client.put_manifest(ManifestName::Tag(&tag), &attached, &scope).unwrap();
        let list = Reply::new(200).header("content-type", "application/json").body(body);
        proxy.add(Rule::new("GET", "/tags/list").unwrap().with(Fault::Answer(list)));
        assert_eq!(client.tags(&scope).is_err(), body == "{}", "{body}");
        let beside = Beside::new(client);
        let found = beside.attached(subject.digest(), Attached::Attestations, &scope).unwrap();
        assert!(found.is_some(), "{body}: the tag is there and was not asked for");
    }
}

/// Harbor puts the name into the text of its 404.
#[test]
fn a_repository_called_quota_can_lack_something() {
    let (_peer, proxy, client) = registry();
    let (subject, scope) = (subject(&client), Scope::new());
    let message = "artifact acme/quota-service:sha256-0.att not found";
    let absent = Reply::error(404, "NOT_FOUND", message);
    proxy.add(Rule::new("GET", "/manifests/sha256-").unwrap().with(Fault::Answer(absent)));
    let beside = Beside::afresh(client);
    let found = beside.attached(subject.digest(), Attached::Attestations, &scope);
    assert!(found.unwrap().is_none());
}

/// A repository from which an image was just read is not unknown; one that is written to may be.
#[test]
fn an_unknown_repository_is_no_answer_about_its_tags() {
    for path in ["/manifests/sha256-", "/referrers/"] {
        let (_peer, proxy, client) = registry();
        let (subject, scope) = (subject(&client), Scope::new());
        if path != "/referrers/" {
            simulate::referrers(&proxy, Referrers::NotFound).unwrap();
        }
        let unknown = Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        proxy.add(Rule::new("GET", path).unwrap().with(Fault::Answer(unknown)));
        let (digest, what) = (subject.digest(), Attached::Attestations);
        for beside in [Beside::afresh(client.clone()), Beside::new(client.clone())] {
            let found = beside.referrers(digest, &scope);
            assert!(found.is_err(), "{path}: taken for a definite nothing");
        }
        let found = Beside::afresh(client.clone()).attached(digest, what, &scope);
        assert_eq!(found.is_err(), path != "/referrers/", "{path}");
        let beside = Beside::of_destination(client);
        assert!(beside.referrers(digest, &scope).unwrap().manifests.is_empty(), "{path}");
        assert!(beside.attached(digest, what, &scope).unwrap().is_none(), "{path}");
    }
}

/// What a registry says of one subject is not said of all.
#[test]
fn a_digest_that_the_api_refuses_says_nothing_of_the_others() {
    // A registry that has the API and does not know SHA-512, in its own words or as a path that it does not know.
    let invalid = Reply::error(400, "DIGEST_INVALID", "invalid digest");
    for refused in [invalid, Reply::new(404).body("404 page not found\n")] {
        let (_peer, proxy, client) = registry();
        let (subject, scope) = (subject(&client), Scope::new());
        client.put_referrer(&referrer(&subject, 1, "type/a"), &scope).unwrap();
        let rule = Rule::new("GET", "/referrers/sha512:").unwrap();
        proxy.add(rule.with(Fault::Answer(refused)));
        let beside = Beside::new(client);
        let other = Digest::of(Algorithm::Sha512, b"an instance of the index");
        assert!(beside.referrers(&other, &scope).unwrap().manifests.is_empty());
        let found = beside.referrers(subject.digest(), &scope).unwrap();
        assert_eq!(found.manifests.len(), 1, "the referrer is there and was not looked for");
    }
}

/// A registry that has the API and answers 404 for what nothing refers to, after it has listed another one.
#[test]
fn an_api_that_was_seen_is_asked_on_after_a_subject_that_it_does_not_know() {
    let (_peer, proxy, client) = registry();
    let (first, scope) = (subject(&client), Scope::new());
    let second = subject_index(&client);
    for subject in [&first, &second] {
        client.put_referrer(&referrer(subject, 1, "type/a"), &scope).unwrap();
    }
    let unknown = Digest::of(Algorithm::Sha256, b"nothing refers to this");
    let rule = Rule::new("GET", &format!("/referrers/{unknown}")).unwrap();
    proxy.add(rule.with(Fault::Answer(Reply::new(404).body("404 page not found\n"))));
    let beside = Beside::new(client);
    let found = |digest: &Digest| beside.referrers(digest, &scope).unwrap().manifests.len();
    assert_eq!([found(first.digest()), found(&unknown), found(second.digest())], [1, 0, 1]);
}

/// A registry that has the API, and an answer that is neither a list nor says why there can be none.
#[test]
fn a_refusal_of_one_subject_alone_is_an_error() {
    for status in [400, 406] {
        let (_peer, proxy, client) = registry();
        let (subject, scope) = (subject(&client), Scope::new());
        client.put_referrer(&referrer(&subject, 1, "type/a"), &scope).unwrap();
        let path = format!("/referrers/{}", subject.digest());
        proxy.add(Rule::new("GET", &path).unwrap().with(Fault::Answer(Reply::new(status))));
        for beside in [Beside::new(client.clone()), Beside::afresh(client.clone())] {
            let error = beside.referrers(subject.digest(), &scope).unwrap_err();
            assert_eq!(error.status().map(|found| found.as_u16()), Some(status), "{error}");
        }
        client.referrers(subject.digest(), None, &scope).unwrap_err();
    }
}

/// Where every subject is refused alike there is no such API, and the fallback tag knows; this is learned once.
#[test]
fn a_registry_that_refuses_every_subject_has_no_api() {
    for status in [400, 406] {
        let (_peer, proxy, client) = registry();
        let (subject, scope) = (subject(&client), Scope::new());
        let silent = Fault::DropResponseHeader("oci-subject");
        proxy.add(Rule::new("PUT", "/manifests/").unwrap().with(silent));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let refuse = Handler::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Some(Reply::new(status))
        });
        proxy.add(Rule::new("GET", "/referrers/").unwrap().with(Fault::Handle(refuse)));
        client.put_referrer(&referrer(&subject, 1, "type/a"), &scope).unwrap();
        asked.store(0, Ordering::SeqCst);
        let beside = Beside::new(client);
        assert_eq!(beside.referrers(subject.digest(), &scope).unwrap().manifests.len(), 1);
        for other in [Algorithm::Sha256, Algorithm::Sha512] {
            beside.referrers(&Digest::of(other, b"other"), &scope).unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{status}");
    }
}

/// The machine that is asked may not have heard of what was just put.
#[test]
fn a_referrer_is_listed_by_its_tag_where_the_repository_is_not_known_yet() {
    let (_peer, proxy, client) = registry();
    let (subject, scope) = (subject(&client), Scope::new());
    let silent = Fault::DropResponseHeader("oci-subject");
    proxy.add(Rule::new("PUT", "/manifests/").unwrap().with(silent));
    let unknown = Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    proxy.add(Rule::new("GET", "/referrers/").unwrap().with(Fault::Answer(unknown)));
    client.put_referrer(&referrer(&subject, 1, "type/a"), &scope).unwrap();
    let tag = fallback_tag(subject.digest());
    assert!(client.head_manifest(ManifestName::Tag(&tag), &scope).unwrap().is_some());
}
