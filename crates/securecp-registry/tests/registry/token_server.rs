//! A token server and its registry's doorman, played by the fault proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use securecp_testkit::proxy::{Call, Fault, Handler, Proxy, Reply, Rule};

/// What the doorman does.
#[derive(Clone)]
pub(crate) struct Doorman {
    /// How long a token lives.
    pub(crate) life: Duration,
    /// What the server says of it.
    pub(crate) says: Option<u64>,
    /// The `Authorization` that the token endpoint wants, if any.
    pub(crate) basic: Option<&'static str>,
    /// Repositories that need no token at all.
    pub(crate) public: &'static [&'static str],
    /// The realm's path.
    pub(crate) realm: Option<String>,
    /// Answers to POST.
    pub(crate) refresh: Option<&'static str>,
}

impl Default for Doorman {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(300),
            says: Some(300),
            basic: None,
            public: &[],
            realm: None,
            refresh: None,
        }
    }
}

struct Issued {
    scopes: Vec<String>,
    until: Instant,
}

/// The proxy with the doorman in it.
pub(crate) struct Guarded {
    pub(crate) proxy: Proxy,
    pub(crate) fetched: Arc<AtomicUsize>,
}

impl Doorman {
    pub(crate) fn before(self, registry: SocketAddr) -> Guarded {
        let proxy = Proxy::start(registry).unwrap();
        let fetched = Arc::new(AtomicUsize::new(0));
        let issued: Mutex<HashMap<String, Issued>> = Mutex::default();
        let count = Arc::clone(&fetched);
        let handler = Handler::new(move |call| match call.path.as_str() {
            "/token" => {
                let number = count.fetch_add(1, Ordering::SeqCst);
                Some(self.issue(call, number, &mut issued.lock().unwrap()))
            }
            _ => self.admit(call, &issued.lock().unwrap()),
        });
        proxy.add(Rule::new("*", ".*").unwrap().with(Fault::Handle(handler)));
        Guarded { proxy, fetched }
    }

    fn issue(&self, call: &Call, number: usize, issued: &mut HashMap<String, Issued>) -> Reply {
        let form = String::from_utf8_lossy(&call.body).into_owned();
        let parameters = if call.method == "POST" { &form } else { &call.query };
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(parameters.as_bytes()).into_owned().collect();
        if call.method == "POST" {
            let token = pairs.iter().find(|(name, _)| name == "refresh_token");
            if token.map(|(_, value)| value.as_str()) != self.refresh {
                return Reply::error(401, "UNAUTHORIZED", "bad refresh token");
            }
        } else if self.basic.is_some() && call.header("authorization") != self.basic {
            return Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let scopes = pairs.iter().filter(|(name, _)| name == "scope");
        let scopes = scopes.flat_map(|(_, value)| value.split(' ').map(str::to_owned)).collect();
        let token = format!("geheim-token-{number}");
        issued.insert(token.clone(), Issued { scopes, until: Instant::now() + self.life });
        let says = self.says.map(|says| format!(r#","expires_in":{says}"#)).unwrap_or_default();
        Reply::new(200).body(format!(r#"{{"token":"{token}"{says}}}"#))
    }

    /// Lets a request pass, or challenges it.
    fn admit(&self, call: &Call, issued: &HashMap<String, Issued>) -> Option<Reply> {
        let path = call.path.strip_prefix("/v2/")?;
        if path.is_empty() {
            return None;
        }
        let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"];
        let end = end.iter().filter_map(|part| path.find(part)).min().unwrap_or(path.len());
        let repository = &path[..end];
        let action = if matches!(call.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
        if self.public.contains(&repository) {
            return None;
        }
        let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let found = token.and_then(|token| issued.get(token));
        let live = found.filter(|found| Instant::now() < found.until);
        let resource = format!("repository:{repository}:");
        let covers = |scope: &String| {
            scope
                .strip_prefix(&resource)
                .is_some_and(|actions| actions.split(',').any(|a| a == action))
        };
        if live.is_some_and(|found| found.scopes.iter().any(covers)) {
            return None;
        }
        let actions = if action == "pull" { "pull" } else { "pull,push" };
        let realm = self.realm.clone().unwrap_or_else(|| format!("http://{}/token", call.proxy));
        let why = if live.is_some() { ",error=\"insufficient_scope\"" } else { "" };
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"{resource}{actions}\"{why}");
        let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
        Some(reply.header("www-authenticate", challenge))
    }
}
