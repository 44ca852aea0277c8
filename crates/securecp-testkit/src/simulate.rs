//! Behaviours of registries in the field, as rules of a [`Proxy`] in front of the embedded registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::http::{Request, Response};
use crate::proxy::{Call, Fault, Handler, Proxy, Reply, Rule};

/// What becomes of `GET /v2/NAME/referrers/DIGEST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referrers {
    /// As the specification has it.
    Api,
    /// 404: the registry does not know the endpoint.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 501.
    NotImplemented,
    /// 200 with an empty index, whatever was pushed.
    EmptyIndex,
    /// 200 with an empty body.
    EmptyBody,
    /// 404, and a fallback tag that does not exist resolves to the subject itself (registry.gitlab.com, seen in
    /// September 2026: `sha256-HEX` is read as the digest `sha256:HEX`).
    SubjectEcho,
    /// 500: neither an answer nor a proof of absence.
    Broken,
}

impl Referrers {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Api,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotImplemented,
        Self::EmptyIndex,
        Self::EmptyBody,
        Self::SubjectEcho,
        Self::Broken,
    ];

    fn reply(self) -> Option<Reply> {
        let unsupported = |status| Reply::error(status, "UNSUPPORTED", "no such endpoint");
        Some(match self {
            Self::Api => return None,
            Self::NotFound | Self::SubjectEcho => Reply::new(404).body("404 page not found\n"),
            Self::MethodNotAllowed => unsupported(405),
            Self::NotImplemented => unsupported(501),
            Self::EmptyIndex => {
                let kind = "application/vnd.oci.image.index.v1+json";
                let index =
                    serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": []});
                Reply::new(200).header("content-type", kind).body(index.to_string())
            }
            Self::EmptyBody => Reply::new(200),
            Self::Broken => Reply::error(500, "UNKNOWN", "something failed"),
        })
    }
}

/// Makes the registry behind the proxy treat referrers in that way. Without the API a push does not confirm a subject.
///
/// # Errors
/// None in practice: the patterns are fixed.
pub fn referrers(proxy: &Proxy, behaviour: Referrers) -> Result<()> {
    let Some(reply) = behaviour.reply() else { return Ok(()) };
    proxy.add(Rule::new("GET", "/referrers/")?.with(Fault::Answer(reply)));
    let silent = Fault::DropResponseHeader("oci-subject");
    proxy.add(Rule::new("PUT", "/manifests/")?.with(silent));
    if behaviour == Referrers::SubjectEcho {
        let echo = Fault::Handle(Handler::new(echo));
        proxy.add(Rule::new("GET", "/manifests/sha256-[0-9a-f]{64}$")?.with(echo.clone()));
        proxy.add(Rule::new("HEAD", "/manifests/sha256-[0-9a-f]{64}$")?.with(echo));
    }
    Ok(())
}

/// Answers 200 with a web page to everything, as a parked domain or a login portal does.
///
/// # Errors
/// None in practice: the pattern is fixed.
pub fn web_page(proxy: &Proxy) -> Result<()> {
    proxy.add(Rule::new("*", "")?.with(Fault::Answer(Reply::html(200))));
    Ok(())
}

/// Refuses manifests of a media type with `MANIFEST_INVALID`, as registries do that know only one format.
///
/// # Errors
/// None in practice: the pattern is fixed.
pub fn refuse_manifests(proxy: &Proxy, media_type: &'static str) -> Result<()> {
    let handler = Handler::new(move |call| {
        let declared = call.header("content-type") == Some(media_type);
        declared.then(|| Reply::error(400, "MANIFEST_INVALID", "manifest invalid"))
    });
    proxy.add(Rule::new("PUT", "/manifests/")?.with(Fault::Handle(handler)));
    Ok(())
}

/// Answers `HEAD` with 405, as some registries do.
///
/// # Errors
/// None in practice: the pattern is fixed.
pub fn refuse_head(proxy: &Proxy) -> Result<()> {
    let reply = Reply::error(405, "UNSUPPORTED", "method is not supported here");
    proxy.add(Rule::new("HEAD", "")?.with(Fault::Answer(reply)));
    Ok(())
}

/// What becomes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// An upload session instead, with 202.
    Session,
    /// 401 without a way out, as for a missing project.
    Unauthorized,
    /// 400 with an error in another format than the specification's.
    Invalid,
}

/// Makes every mount fail in that way.
///
/// # Errors
/// None in practice: the pattern is fixed.
pub fn refuse_mounts(proxy: &Proxy, behaviour: Mounts) -> Result<()> {
    let handler = Handler::new(move |call| match behaviour {
        Mounts::Session => {
            let bare = Request::new("POST", &call.path).body(b"").send(call.upstream).ok()?;
            Some(passed(bare))
        }
        Mounts::Unauthorized => Some(Reply::error(401, "UNAUTHORIZED", "unauthorized")),
        Mounts::Invalid => {
            let text = "{\"details\":\"invalid repository name\"}";
            Some(Reply::new(400).header("content-type", "application/json").body(text))
        }
    });
    proxy.add(Rule::new("POST", r"/blobs/uploads/\?(.*&)?mount=")?.with(Fault::Handle(handler)));
    Ok(())
}

/// Hides what is written for a while, as registries do that answer from several machines: a tag stands for what it stood
/// for before, a manifest that was not there is not found, and new referrers are not listed.
///
/// # Errors
/// None in practice: the patterns are fixed.
pub fn lagging(proxy: &Proxy, lag: Duration) -> Result<()> {
    let written: Arc<Mutex<HashMap<String, (Instant, Response)>>> = Arc::default();
    let (before, now, unlisted) = (written.clone(), written.clone(), written);
    let note = Handler::new(move |call| {
        let old = ask(call, "GET", &call.path)?;
        let fresh = |(at, _): &(Instant, Response)| at.elapsed() < lag;
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        // Within the lag the oldest state is what everybody sees.
        if !before.get(&call.path).is_some_and(fresh) {
            before.insert(call.path.clone(), (Instant::now(), old));
        }
        None
    });
    proxy.add(Rule::new("PUT", "/manifests/")?.with(Fault::Handle(note)));
    let hide = Handler::new(move |call| {
        let now = now.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, old) = now.get(&call.path).filter(|(at, _)| at.elapsed() < lag)?;
        Some(passed(old.clone()))
    });
    proxy.add(Rule::new("GET", "/manifests/")?.with(Fault::Handle(hide.clone())));
    proxy.add(Rule::new("HEAD", "/manifests/")?.with(Fault::Handle(hide)));
    let shorten = Handler::new(move |call| {
        let mut list = ask(call, "GET", &call.target())?;
        let mut index: serde_json::Value = serde_json::from_slice(&list.body).ok()?;
        let hidden = unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden: Vec<&String> =
            hidden.iter().filter(|(_, (at, _))| at.elapsed() < lag).map(|(path, _)| path).collect();
        index.get_mut("manifests")?.as_array_mut()?.retain(|entry| {
            let digest = entry["digest"].as_str().unwrap_or_default();
            !hidden.iter().any(|path| path.ends_with(digest))
        });
        list.body = index.to_string().into_bytes();
        list.headers.retain(|(name, _)| name != "content-length");
        Some(passed(list))
    });
    proxy.add(Rule::new("GET", "/referrers/")?.with(Fault::Handle(shorten)));
    Ok(())
}

fn ask(call: &Call, method: &str, target: &str) -> Option<Response> {
    let accept = call.header("accept").unwrap_or("*/*");
    Request::new(method, target).header("Accept", accept).send(call.upstream).ok()
}

/// A reference of the form `sha256-HEX` that is no tag is read as a digest.
fn echo(call: &Call) -> Option<Reply> {
    if ask(call, &call.method, &call.path)?.status != 404 {
        return None;
    }
    let path = call.path.replacen("/manifests/sha256-", "/manifests/sha256:", 1);
    ask(call, &call.method, &path).map(passed)
}

/// An answer of the registry as one of the proxy's own.
fn passed(response: Response) -> Reply {
    let dropped = ["connection", "transfer-encoding", "date"];
    let mut reply = Reply::new(response.status).body(response.body);
    for (name, value) in response.headers {
        if !dropped.contains(&name.as_str()) {
            reply = reply.header(&name, value);
        }
    }
    reply
}
