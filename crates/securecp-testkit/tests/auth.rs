//! The token server and Basic authentication, seen by a raw client.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use securecp_testkit::auth::{AuthServer, AuthSettings, User};
use securecp_testkit::http::{Request, Response};
use securecp_testkit::{Fixture, Registry};
use serde_json::Value;

struct Bench {
    _registry: Registry,
    server: AuthServer,
}

impl Bench {
    fn new(settings: AuthSettings) -> Self {
        let registry = Registry::start().unwrap();
        for name in ["open", "shut"] {
            Fixture::tiny().unwrap().push(registry.address(), name, Some("v1")).unwrap();
        }
        let server = AuthServer::start(registry.address(), settings).unwrap();
        Self { _registry: registry, server }
    }

    fn ask(&self, method: &str, target: &str, authorization: Option<&str>) -> Response {
        let request = Request::new(method, target);
        let request = match authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        };
        request.send(self.server.address()).unwrap()
    }

    fn token(&self, scopes: &[&str], authorization: Option<&str>) -> String {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("scope={scope}")).collect();
        let target = format!("/token?service=testkit&{}", scopes.join("&"));
        token_in(&self.ask("GET", &target, authorization))
    }

    fn status(&self, method: &str, target: &str, token: &str) -> u16 {
        self.ask(method, target, Some(&format!("Bearer {token}"))).status
    }
}

fn token_in(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn users() -> Vec<User> {
    vec![
        User::new("reader", "one").may("pull", "open"),
        User::new("writer", "two").may("pull,push,delete", "*").refresh_token("identity"),
    ]
}

const MANIFEST: &str = "/v2/open/manifests/v1";
const SHUT: &str = "/v2/shut/manifests/v1";

#[test]
fn challenges_name_realm_and_scope() {
    let bench = Bench::new(AuthSettings::bearer(users()));
    let address = bench.server.address();
    let refused = bench.ask("GET", MANIFEST, None);
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    let expected = format!(
        "Bearer realm=\"http://{address}/token\",service=\"testkit\",scope=\"repository:open:pull\""
    );
    assert_eq!(challenge, expected);
    let ping = bench.ask("GET", "/v2/", None);
    assert!(!ping.header("www-authenticate").unwrap().contains("scope"));
    let mount = "/v2/open/blobs/uploads/?mount=sha256:x&from=shut";
    let challenge = bench.ask("POST", mount, None);
    let challenge = challenge.header("www-authenticate").unwrap();
    assert!(challenge.contains("repository:open:pull,push repository:shut:pull"), "{challenge}");
    assert_eq!(bench.server.refused(), 3);
}

#[test]
fn tokens_open_what_the_user_may() {
    let bench = Bench::new(AuthSettings::bearer(users()));
    let reader = Some(basic("reader", "one"));
    let scopes = ["repository:open:pull,push", "repository:shut:pull"];
    let token = bench.token(&scopes, reader.as_deref());
    assert_eq!(bench.status("GET", "/v2/", &token), 200);
    assert_eq!(bench.status("GET", MANIFEST, &token), 200);
    assert_eq!(bench.status("GET", SHUT, &token), 401);
    assert_eq!(bench.status("POST", "/v2/open/blobs/uploads/", &token), 401);
    let refused = bench.ask("GET", SHUT, Some(&format!("Bearer {token}")));
    assert!(refused.header("www-authenticate").unwrap().contains("error=\"insufficient_scope\""));
    let request = &bench.server.token_requests()[0];
    assert_eq!((request.user.as_deref(), request.status), (Some("reader"), 200));
    assert_eq!(
        (request.scopes.as_slice(), request.granted.as_str()),
        (scopes.map(str::to_owned).as_slice(), "repository:open:pull")
    );
    let writer = Some(basic("writer", "two"));
    let token = bench.token(&["repository:shut:pull,push,delete"], writer.as_deref());
    assert_eq!(bench.status("DELETE", SHUT, &token), 202);
    assert_eq!(bench.status("GET", MANIFEST, &token), 401);
}

#[test]
fn wrong_credentials_buy_nothing() {
    let bench = Bench::new(AuthSettings::bearer(users()));
    for wrong in [basic("reader", "two"), basic("nobody", "one"), "Basic !".to_owned()] {
        assert_eq!(bench.ask("GET", "/token?scope=repository:open:pull", Some(&wrong)).status, 401);
    }
    assert_eq!(bench.status("GET", MANIFEST, "made-up"), 401);
    let anonymous = bench.token(&["repository:open:pull"], None);
    assert_eq!(bench.status("GET", MANIFEST, &anonymous), 401);
    assert_eq!(bench.server.token_requests().len(), 4);
}

#[test]
fn anonymous_may_what_is_open_to_all() {
    let anonymous = vec![("pull", "open")];
    let bench = Bench::new(AuthSettings { anonymous, ..AuthSettings::bearer(users()) });
    let token = bench.token(&["repository:open:pull,push"], None);
    assert_eq!(bench.status("GET", MANIFEST, &token), 200);
    assert_eq!(bench.status("GET", SHUT, &token), 401);
    assert_eq!(bench.status("POST", "/v2/open/blobs/uploads/", &token), 401);
}

#[test]
fn tokens_expire_and_can_be_revoked() {
    let lifetime = Duration::from_millis(300);
    let bench = Bench::new(AuthSettings { lifetime, ..AuthSettings::bearer(users()) });
    let reader = Some(basic("reader", "one"));
    let token = bench.token(&["repository:open:pull"], reader.as_deref());
    assert_eq!(bench.status("GET", MANIFEST, &token), 200);
    std::thread::sleep(lifetime);
    let refused = bench.ask("GET", MANIFEST, Some(&format!("Bearer {token}")));
    assert!(refused.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    let token = bench.token(&["repository:open:pull"], reader.as_deref());
    bench.server.revoke();
    assert_eq!(bench.status("GET", MANIFEST, &token), 401);
}

#[test]
fn identity_tokens_are_exchanged_by_post() {
    let bench = Bench::new(AuthSettings::bearer(users()));
    let post = |form: &str| {
        let request = Request::new("POST", "/token");
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        request.body(form.as_bytes()).send(bench.server.address()).unwrap()
    };
    let form =
        "grant_type=refresh_token&service=testkit&client_id=x&scope=repository%3Ashut%3Apull";
    let answer = post(&format!("{form}&refresh_token=identity"));
    assert_eq!(bench.status("GET", SHUT, &token_in(&answer)), 200);
    assert!(answer.text().contains("\"refresh_token\":\"identity\""));
    assert_eq!(post(&format!("{form}&refresh_token=other")).status, 401);
    let password = "grant_type=password&username=reader&password=one&scope=repository:open:pull";
    assert_eq!(bench.status("GET", MANIFEST, &token_in(&post(password))), 200);
    assert_eq!(bench.server.token_requests()[0].method, "POST");
    let bench = Bench::new(AuthSettings { oauth2: false, ..AuthSettings::bearer(users()) });
    let request = Request::new("POST", "/token").body(form.as_bytes());
    assert_eq!(request.send(bench.server.address()).unwrap().status, 405);
}

#[test]
fn basic_asks_for_the_password_each_time() {
    let anonymous = vec![("pull", "open")];
    let bench = Bench::new(AuthSettings { anonymous, ..AuthSettings::basic(users()) });
    let status = |target: &str, name: &str, password: &str| {
        bench.ask("GET", target, Some(&basic(name, password))).status
    };
    assert_eq!(status(SHUT, "writer", "two"), 200);
    assert_eq!(status(SHUT, "writer", "one"), 401);
    assert_eq!(status(SHUT, "reader", "one"), 403);
    assert_eq!(status(MANIFEST, "reader", "one"), 200);
    assert_eq!(bench.ask("GET", MANIFEST, None).status, 200);
    let refused = bench.ask("GET", SHUT, None);
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"testkit\""));
    assert_eq!(bench.ask("GET", "/v2/", None).status, 401);
    let open = Bench::new(AuthSettings { open_ping: true, ..AuthSettings::basic(users()) });
    assert_eq!(open.ask("GET", "/v2/", None).status, 200);
}

#[test]
fn secrets_stay_out_of_records() {
    let bench = Bench::new(AuthSettings::bearer(users()));
    let token = bench.token(&["repository:shut:pull"], Some(&basic("writer", "two")));
    bench.status("GET", SHUT, &token);
    let records = format!("{:?}{:?}", bench.server.proxy().log(), bench.server.token_requests());
    assert!(!records.contains(&token) && !records.contains(&basic("writer", "two")));
}
