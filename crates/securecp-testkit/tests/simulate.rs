//! Simulated registries behave as the real ones that they stand for.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use securecp_oci::MediaType;
use securecp_testkit::http::{Request, Response};
use securecp_testkit::proxy::Proxy;
use securecp_testkit::simulate::{
    Mounts, Referrers, lagging, referrers, refuse_head, refuse_manifests, refuse_mounts, web_page,
};
use securecp_testkit::{Blob, Fixture, Registry};

struct Bench {
    registry: Registry,
    proxy: Proxy,
    image: Fixture,
    artifact: Fixture,
}

impl Bench {
    fn new() -> Self {
        let registry = Registry::start().unwrap();
        let proxy = Proxy::start(registry.address()).unwrap();
        let image = Fixture::tiny().unwrap();
        let payload = Blob::new(MediaType::new("text/plain"), "signature");
        let artifact = Fixture::artifact("application/x", payload, Some(&image.root));
        image.push(registry.address(), "a", Some("v1")).unwrap();
        artifact.push(registry.address(), "a", None).unwrap();
        Self { registry, proxy, image, artifact }
    }

    fn ask(&self, method: &str, target: &str) -> Response {
        Request::new(method, target).send(self.proxy.address()).unwrap()
    }

    fn referrers(&self) -> Response {
        self.ask("GET", &format!("/v2/a/referrers/{}", self.image.digest()))
    }

    fn fallback(&self) -> String {
        format!("/v2/a/manifests/sha256-{}", self.image.digest().hex())
    }

    /// Whether a push confirms the subject.
    fn confirms(&self) -> bool {
        let target = format!("/v2/a/manifests/{}", self.artifact.digest());
        let request = Request::new("PUT", &target)
            .header("Content-Type", "application/vnd.oci.image.manifest.v1+json");
        let put = request.body(&self.artifact.root.bytes).send(self.proxy.address()).unwrap();
        assert_eq!(put.status, 201);
        put.header("oci-subject").is_some()
    }
}

#[test]
fn referrers_are_answered_in_each_way() {
    for behaviour in Referrers::ALL {
        let bench = Bench::new();
        referrers(&bench.proxy, behaviour).unwrap();
        let found = bench.referrers();
        let (status, listed) = match behaviour {
            Referrers::Api => (200, true),
            Referrers::NotFound | Referrers::SubjectEcho => (404, false),
            Referrers::MethodNotAllowed => (405, false),
            Referrers::NotImplemented => (501, false),
            Referrers::EmptyIndex | Referrers::EmptyBody => (200, false),
            _ => (500, false),
        };
        let lists = found.text().contains(&bench.artifact.digest().to_string());
        assert_eq!((found.status, lists), (status, listed), "{behaviour:?}");
        assert_eq!(bench.confirms(), behaviour == Referrers::Api, "{behaviour:?}");
        let echoed = bench.ask("GET", &bench.fallback());
        if behaviour == Referrers::SubjectEcho {
            assert_eq!(echoed.body, bench.image.root.bytes);
            let expected = bench.image.digest().to_string();
            assert_eq!(echoed.header("docker-content-digest"), Some(expected.as_str()));
        } else {
            assert_eq!(echoed.status, 404, "{behaviour:?}");
        }
    }
}

#[test]
fn an_existing_fallback_tag_is_not_echoed() {
    let bench = Bench::new();
    referrers(&bench.proxy, Referrers::SubjectEcho).unwrap();
    let tag = format!("sha256-{}", bench.image.digest().hex());
    let index = Fixture::index(std::slice::from_ref(&bench.artifact));
    index.push(bench.registry.address(), "a", Some(&tag)).unwrap();
    assert_eq!(bench.ask("GET", &bench.fallback()).body, index.root.bytes);
}

#[test]
fn manifests_of_one_type_are_refused() {
    let bench = Bench::new();
    refuse_manifests(&bench.proxy, "application/vnd.oci.image.index.v1+json").unwrap();
    let error = Fixture::two_platforms().unwrap().push(bench.proxy.address(), "b", Some("v1"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("MANIFEST_INVALID"), "{error}");
    Fixture::tiny().unwrap().push(bench.proxy.address(), "b", Some("v1")).unwrap();
}

#[test]
fn head_and_everything_can_be_refused() {
    let bench = Bench::new();
    refuse_head(&bench.proxy).unwrap();
    assert_eq!(bench.ask("HEAD", "/v2/a/manifests/v1").status, 405);
    assert_eq!(bench.ask("GET", "/v2/a/manifests/v1").status, 200);
    web_page(&bench.proxy).unwrap();
    let page = bench.ask("PUT", "/v2/a/manifests/v2");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[test]
fn mounts_fail_in_each_way() {
    for (behaviour, status) in
        [(Mounts::Session, 202), (Mounts::Unauthorized, 401), (Mounts::Invalid, 400)]
    {
        let bench = Bench::new();
        refuse_mounts(&bench.proxy, behaviour).unwrap();
        let digest = &bench.image.blobs[0].digest;
        let mount = |order: String| {
            let target = format!("/v2/b/blobs/uploads/?{order}");
            Request::new("POST", &target).body(b"").send(bench.proxy.address()).unwrap()
        };
        for order in [format!("mount={digest}&from=a"), format!("from=a&mount={digest}")] {
            let refused = mount(order);
            assert_eq!(refused.status, status, "{behaviour:?}");
            assert_eq!(refused.header("location").is_some(), status == 202);
        }
        assert_eq!(mount(String::new()).status, 202);
    }
}

#[test]
fn what_is_written_is_seen_a_while_later() {
    let bench = Bench::new();
    let lag = std::time::Duration::from_millis(400);
    lagging(&bench.proxy, lag).unwrap();
    let other = Fixture::artifact(
        "application/y",
        Blob::new(MediaType::new("text/plain"), "other"),
        Some(&bench.image.root),
    );
    other.push(bench.proxy.address(), "a", None).unwrap();
    let target = format!("/v2/a/manifests/{}", other.digest());
    let listed = |bench: &Bench| bench.referrers().text().contains(other.digest().hex());
    assert_eq!(bench.ask("GET", &target).status, 404);
    assert_eq!(bench.ask("HEAD", &target).status, 404);
    assert!(!listed(&bench) && bench.referrers().text().contains(bench.artifact.digest().hex()));
    let moved = bench.ask("GET", "/v2/a/manifests/v1").body;
    other.push(bench.proxy.address(), "a", Some("v1")).unwrap();
    assert_eq!(bench.ask("GET", "/v2/a/manifests/v1").body, moved);
    std::thread::sleep(lag);
    assert_eq!(bench.ask("GET", &target).status, 200);
    assert!(listed(&bench));
    assert_eq!(bench.ask("GET", "/v2/a/manifests/v1").body, other.root.bytes);
}
