use std::time::{Duration, Instant};

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{Method, Request, Response, Url, header};
use securecp_oci::{
    Declared, Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType, RawManifest, Tag,
    referrers_tag,
};
use serde_json::{Value, json};

use crate::auth::Grants;
use crate::{Class, Client, ManifestName, Operation, Problem, RegistryError, link};

/// Most referrers of one subject, and most pages of them.
const COUNT: usize = 10_000;
const PAGES: usize = 1_000;

/// Attempts to add to a fallback tag that others write to as well.
const ATTEMPTS: u32 = 16;

/// The least time after which it is looked again whether somebody who had read before us has written after us.
const SETTLED: Duration = Duration::from_millis(150);

impl Client {
    /// The manifests whose subject is `subject`, of one artifact type if that is given. An empty list is a definite
    /// answer: whatever else than absence keeps the registry from answering is an error.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let listing = Listing::new(self, subject);
        let mut found = listing.by_api(artifact_type, scope)?.unwrap_or_default();
        if found.is_empty() {
            // Some registries answer with an empty list because they keep none; the tag then knows.
            found = listing.by_tag(scope)?.map(|tagged| tagged.manifests).unwrap_or_default();
        }
        // Not every server filters, and one that does not need not say so.
        let wanted = |referrer: &Descriptor| {
            referrer.digest != *subject
                && artifact_type
                    .is_none_or(|wanted| referrer.artifact_type.as_deref() == Some(wanted))
        };
        found.retain(wanted);
        Ok(found)
    }

    /// Writes a manifest under its digest and, if it has a subject, makes sure that it is found from there.
    ///
    /// # Errors
    /// The registry did not take it, or its fallback tag cannot be written.
    pub fn put_referrer(&self, manifest: &RawManifest, scope: &Scope) -> Result<(), RegistryError> {
        let put = self.put_manifest(ManifestName::Digest(manifest.digest()), manifest, scope)?;
        let Some(subject) = manifest.view().subject() else { return Ok(()) };
        if put.subject_recorded {
            return Ok(());
        }
        let listing = Listing::new(self, &subject.digest);
        // Some registries keep the list without saying so when it changes (seen with early Quay).
        let known = listing.by_api(None, scope)?.unwrap_or_default();
        if known.iter().any(|entry| entry.digest == *manifest.digest()) {
            return Ok(());
        }
        // One after the other within this process; others are dealt with by looking again.
        let key = format!("{}@{}", self.path(), subject.digest);
        let one_by_one = |(): &()| false;
        self.host
            .turns()
            .take(&key, scope, one_by_one, || listing.add(&manifest.as_referrer(), scope))
    }
}

/// The list of one subject, in either of its two forms.
pub(crate) struct Listing<'a> {
    client: &'a Client,
    subject: &'a Digest,
    operation: Operation,
}

/// One page of the list that the API gives.
struct ListPage {
    manifests: Vec<Descriptor>,
    next: Option<Url>,
}

/// What the fallback tag stands for now.
pub(crate) struct Tagged {
    index: RawManifest,
    pub(crate) manifests: Vec<Descriptor>,
    etag: Option<String>,
}

/// What came of one attempt to add an entry.
enum Added {
    Yes,
    /// Somebody else wrote at the same time.
    Overtaken,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(client: &'a Client, subject: &'a Digest) -> Self {
        let operation = Operation::ListReferrers(subject.to_string());
        Self { client, subject, operation }
    }

    /// The list that the referrers API gives; `None` if the registry has no such API.
    pub(crate) fn by_api(
        &self,
        artifact_type: Option<&str>,
        scope: &Scope,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let mut url = self.client.url(&format!("referrers/{}", self.subject), scope)?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut all = Vec::new();
        let mut next = Some(url);
        for _ in 0..PAGES {
            let Some(url) = next.take() else { return Ok(Some(all)) };
            let Some(page) = self.page(&url, scope)? else {
                return match all.is_empty() {
                    true => Ok(None),
                    false => Err(self.error("a page of the list is missing")),
                };
            };
            all.extend(page.manifests);
            if all.len() > COUNT {
                return Err(self.error(&format!("more than {COUNT} referrers")));
            }
            next = page.next.filter(|next| *next != url);
        }
        match next {
            None => Ok(Some(all)),
            Some(_) => Err(self.error(&format!("more than {PAGES} pages"))),
        }
    }

    fn page(&self, url: &Url, scope: &Scope) -> Result<Option<ListPage>, RegistryError> {
        self.client.host.retrying(scope, || {
            let request =
                Request::get(url.clone()).header(header::ACCEPT, MediaType::OCI_INDEX.as_str());
            let call =
                self.client.call(&self.operation, Grants::pull(self.client.path()), request)?;
            let response = self.client.host.attempt(&call, scope)?;
            match response.status().as_u16() {
                200 => self.read_page(response, scope),
                // What registries without the API were seen to answer. Anything else is no definite absence.
                400 | 404 | 405 | 406 | 501 => Ok(None),
                _ => Err(self.client.host.refused(&call, response, scope)),
            }
        })
    }

    fn read_page(
        &self,
        response: Response,
        scope: &Scope,
    ) -> Result<Option<ListPage>, RegistryError> {
        let next = link::next(&response);
        let media_type = response.header(&header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let body = response.bytes(MANIFEST_LIMIT, scope);
        let body = body.map_err(|error| self.client.error(&self.operation, error))?;
        // Nothing at all, or the subject itself (seen with GitLab): the path means something else to this registry.
        if body.is_empty() || self.subject.matches(&body) {
            return Ok(None);
        }
        if MediaType::new(&media_type) != MediaType::OCI_INDEX {
            let shown = MediaType::new(&media_type);
            return Err(self.error(&format!("expected an OCI index, found {shown:?}")));
        }
        let declared = Declared { media_type: Some(&media_type), ..Declared::default() };
        let index = RawManifest::read(body, declared);
        let index = index.map_err(|error| self.client.error(&self.operation, error))?;
        Ok(Some(ListPage { manifests: self.manifests(&index)?, next }))
    }

    /// The list behind the fallback tag; `None` if there definitely is no such tag.
    pub(crate) fn by_tag(&self, scope: &Scope) -> Result<Option<Tagged>, RegistryError> {
        let tag = self.tag();
        let found = match self.client.tagged_manifest(ManifestName::Tag(&tag), scope) {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let (index, etag) = found;
        // A registry that reads such a tag as the digest gives the subject itself (seen with GitLab).
        if index.digest() == self.subject || self.subject.matches(index.bytes()) {
            return Ok(None);
        }
        let manifests = self.manifests(&index)?;
        Ok(Some(Tagged { index, manifests, etag }))
    }

    /// Adds an entry to the list behind the fallback tag, whoever else writes there.
    fn add(&self, entry: &Descriptor, scope: &Scope) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS {
            if let Added::Yes = self.try_add(entry, scope)? {
                return Ok(());
            }
        }
        Err(self.error(&format!("somebody else keeps changing the fallback tag {}", self.tag())))
    }

    /// Without a registry that compares, a writer who had read before us may still write after us and take our entry
    /// away. Everybody needs about as long between reading and writing, so after twice that time it is known.
    fn try_add(&self, entry: &Descriptor, scope: &Scope) -> Result<Added, RegistryError> {
        let start = Instant::now();
        let before = self.by_tag(scope)?;
        if before.as_ref().is_some_and(|tagged| lists(tagged, entry)) {
            return Ok(Added::Yes);
        }
        let index = self.with_entry(before.as_ref(), entry)?;
        let etag = before.as_ref().and_then(|tagged| tagged.etag.as_deref());
        if let Err(error) = self.write(&index, etag, scope) {
            return self.explain(error, before.as_ref(), scope);
        }
        let settle = (start.elapsed() * 2).max(SETTLED);
        let stopped = |why| self.client.error(&self.operation, why);
        scope.sleep(settle).map_err(stopped)?;
        match self.by_tag(scope)? {
            Some(after) if lists(&after, entry) => Ok(Added::Yes),
            _ => Ok(Added::Overtaken),
        }
    }

    /// A conflict means that somebody was faster, or that the tag cannot be changed at all.
    fn explain(
        &self,
        error: RegistryError,
        before: Option<&Tagged>,
        scope: &Scope,
    ) -> Result<Added, RegistryError> {
        if error.class() != Class::Conflict {
            return Err(error);
        }
        let now = self.by_tag(scope)?;
        let digest = |tagged: Option<&Tagged>| tagged.map(|tagged| tagged.index.digest().clone());
        if digest(now.as_ref()) != digest(before) {
            return Ok(Added::Overtaken);
        }
        let problem = format!("the fallback tag {} is immutable: {error}", self.tag());
        Err(self.client.error(&self.operation, Problem::Immutable(problem)))
    }

    fn write(
        &self,
        index: &RawManifest,
        etag: Option<&str>,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let tag = self.tag();
        let operation = Operation::WriteReferrer(self.subject.to_string());
        self.client.host.retrying(scope, || {
            let url = self.client.url(&format!("manifests/{tag}"), scope)?;
            let request = Request::new(Method::PUT, url)
                .body(index.bytes().clone())
                .header(header::CONTENT_TYPE, index.media_type().as_str());
            let request = match etag {
                Some(etag) => request.and_then(|r| r.header(header::IF_MATCH, etag)),
                None => request,
            };
            let call = self.client.call(&operation, Grants::push(self.client.path()), request)?;
            self.client.host.expect(&call, &[201], scope).map(drop)
        })
    }

    /// The index with the entry behind the others; what else is in it stays.
    fn with_entry(
        &self,
        before: Option<&Tagged>,
        entry: &Descriptor,
    ) -> Result<RawManifest, RegistryError> {
        let failed = |error| self.client.error(&self.operation, Problem::Manifest(error));
        let Some(tagged) = before else {
            let text = json!({
                "schemaVersion": 2,
                "mediaType": MediaType::OCI_INDEX.as_str(),
                "manifests": [Value::from(entry)],
            });
            let bytes = Bytes::from(text.to_string());
            return RawManifest::read(bytes, Declared::default()).map_err(failed);
        };
        let mut document = Document::of(&tagged.index).map_err(failed)?;
        let mut entries = match document.value("manifests") {
            Some(Value::Array(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        entries.push(Value::from(entry));
        document.set("manifests", entries.into());
        document.seal(tagged.index.media_type()).map_err(failed)
    }

    fn manifests(&self, index: &RawManifest) -> Result<Vec<Descriptor>, RegistryError> {
        match index.index() {
            Some(view) => Ok(view.manifests.clone()),
            None => Err(self.error("expected an index of referrers, found an image")),
        }
    }

    /// The tag that stands for the list at registries without the API.
    fn tag(&self) -> Tag {
        referrers_tag(self.subject)
    }

    fn error(&self, problem: &str) -> RegistryError {
        self.client.error(&self.operation, Problem::Protocol(problem.to_owned()))
    }
}

fn lists(tagged: &Tagged, entry: &Descriptor) -> bool {
    tagged.manifests.iter().any(|known| known.digest == entry.digest)
}
