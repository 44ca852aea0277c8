//! A stand-in for registries that keep signatures themselves, as OpenShift's does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::error::Result;
use crate::proxy::{Call, Fault, Handler, Proxy, Reply, Rule};

/// The signatures that a registry keeps. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct KeptSignatures(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    path: String,
    entry: Value,
}

impl KeptSignatures {
    /// Makes the registry behind `proxy` say that it keeps signatures, and keep them.
    ///
    /// # Errors
    /// None in practice: the patterns are fixed.
    pub fn behind(proxy: &Proxy) -> Result<Self> {
        let kept = Self::default();
        let says = Fault::SetResponseHeader("x-registry-supports-signatures", "1".to_owned());
        proxy.add(Rule::new("GET", "^/v2/$")?.with(says));
        let answering = kept.clone();
        let handler = Handler::new(move |call| Some(answering.answer(call)));
        proxy.add(Rule::new("*", "^/extensions/v2/.+/signatures/")?.with(Fault::Handle(handler)));
        Ok(kept)
    }

    /// The signatures of the manifest with this digest, in whatever repository.
    pub fn of(&self, digest: &str) -> Vec<Value> {
        let here = |kept: &&Kept| kept.path.ends_with(digest);
        self.locked().iter().filter(here).map(|kept| kept.entry.clone()).collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.locked().clear();
    }

    fn answer(&self, call: &Call) -> Reply {
        match call.method.as_str() {
            "GET" => {
                let reply = json!({"signatures": self.of(&call.path)});
                Reply::new(200).header("content-type", "application/json").body(reply.to_string())
            }
            "PUT" => self.put(call),
            _ => Reply::new(405),
        }
    }

    /// A name is given once.
    fn put(&self, call: &Call) -> Reply {
        let Ok(entry) = serde_json::from_slice::<Value>(&call.body) else { return Reply::new(400) };
        let complete = ["schemaVersion", "name", "type", "content"];
        if !complete.iter().all(|key| entry.get(key).is_some()) {
            return Reply::error(400, "SIGNATURE_INVALID", "invalid image signature");
        }
        let mut all = self.locked();
        if all.iter().any(|kept| kept.path == call.path && kept.entry["name"] == entry["name"]) {
            return Reply::error(409, "SIGNATURE_EXISTS", "image signature already exists");
        }
        all.push(Kept { path: call.path.clone(), entry });
        Reply::new(201)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
