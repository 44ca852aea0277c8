use std::collections::HashSet;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{Request, Response, Url, header};
use securecp_oci::{
    Algorithm, Declared, Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType, RawManifest,
    referrers_tag,
};
use serde_json::{Value, json};

use crate::auth::Grants;
use crate::link::{self, Walk};
use crate::shared_tag::SharedTag;
use crate::{Class, Client, ManifestName, Operation, Problem, RegistryError};

/// Most referrers of one subject, and most pages of them.
const COUNT: usize = 10_000;
const PAGES: usize = 1_000;

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
        let mut found = listing.by_api(artifact_type, scope)?.into_list();
        if found.is_empty() {
            // Some registries answer with an empty list because they keep none; the tag then knows.
            found = listing.by_tag(scope)?.unwrap_or_default();
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
        let known = match listing.by_api(None, scope) {
            // A machine that has not heard of the manifest yet: one list too many does no harm.
            Err(error) if error.is_unknown_repository() => Vec::new(),
            other => other?.into_list(),
        };
        if known.iter().any(|entry| entry.digest == *manifest.digest()) {
            return Ok(());
        }
        listing.add(manifest.as_referrer(), scope)
    }

    /// Takes a manifest that was deleted out of the list that a fallback tag keeps of its subject's referrers, if there
    /// is one. A registry with a referrers API does so by itself, but the tag may be older than its API.
    ///
    /// # Errors
    /// It cannot be told, or the tag cannot be written; whoever follows the list then finds nothing.
    pub fn unlist_referrer(
        &self,
        manifest: &RawManifest,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let Some(subject) = manifest.view().subject() else { return Ok(()) };
        let listing = Listing::new(self, &subject.digest);
        listing.shared().add(&mut |there| listing.without(there, manifest.digest()), scope)
    }
}

/// The list of one subject, in either of its two forms.
pub(crate) struct Listing<'a> {
    client: &'a Client,
    subject: &'a Digest,
    operation: Operation,
}

/// What the referrers API says of one subject.
pub(crate) enum ApiAnswer {
    /// These are its referrers.
    Listed(Vec<Descriptor>),
    /// The registry has the API and keeps no list for a digest like this.
    NotKept,
    /// The registry has no such API.
    NoApi,
}

impl ApiAnswer {
    fn into_list(self) -> Vec<Descriptor> {
        match self {
            Self::Listed(list) => list,
            Self::NotKept | Self::NoApi => Vec::new(),
        }
    }
}

/// What came back of the API's path.
enum Asked<T> {
    Found(T),
    /// The path means something else to this registry.
    Otherwise,
    Refused(RegistryError),
}

/// One page of the list that the API gives.
struct ListPage {
    manifests: Vec<Descriptor>,
    /// In bytes.
    size: usize,
    next: Option<Url>,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(client: &'a Client, subject: &'a Digest) -> Self {
        let operation = Operation::ListReferrers(subject.to_string());
        Self { client, subject, operation }
    }

    /// The list that the referrers API gives, if the registry has one.
    pub(crate) fn by_api(
        &self,
        artifact_type: Option<&str>,
        scope: &Scope,
    ) -> Result<ApiAnswer, RegistryError> {
        match self.ask(artifact_type, scope)? {
            Asked::Found(list) => Ok(ApiAnswer::Listed(list)),
            Asked::Otherwise => Ok(ApiAnswer::NoApi),
            Asked::Refused(error) => self.why_refused(error, scope),
        }
    }

    /// What is said of one subject is not said of all: the path may be unknown, or only what it ends with. Where the
    /// status does not tell, the registry is asked about a digest that every registry with the API knows how to read.
    fn why_refused(&self, error: RegistryError, scope: &Scope) -> Result<ApiAnswer, RegistryError> {
        if error.is_unknown_repository() {
            return Err(error);
        }
        let no_path = matches!(error.status().map(|status| status.as_u16()), Some(404 | 405 | 501));
        let usual = self.subject.algorithm() == Algorithm::Sha256;
        if no_path && usual {
            return Ok(ApiAnswer::NoApi);
        }
        let empty = Digest::of(Algorithm::Sha256, b"");
        let codes = ["DIGEST_INVALID", "UNSUPPORTED"];
        let unreadable = error.codes().iter().any(|code| codes.contains(&code.code.as_str()));
        match Listing::new(self.client, &empty).ask(None, scope)? {
            Asked::Found(_) if no_path || (unreadable && !usual) => Ok(ApiAnswer::NotKept),
            Asked::Found(_) => Err(error),
            Asked::Refused(error) if error.is_unknown_repository() => Err(error),
            Asked::Otherwise | Asked::Refused(_) => Ok(ApiAnswer::NoApi),
        }
    }

    fn ask(
        &self,
        artifact_type: Option<&str>,
        scope: &Scope,
    ) -> Result<Asked<Vec<Descriptor>>, RegistryError> {
        let mut url = self.client.url(&format!("referrers/{}", self.subject), scope)?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let mut all = Vec::new();
        let mut walk = Walk::from(url);
        for _ in 0..PAGES {
            let Some(url) = walk.page() else { return Ok(Asked::Found(all)) };
            let page = match self.page(url, scope)? {
                Asked::Found(page) => page,
                _ if !all.is_empty() => return Err(self.error("a page of the list is missing")),
                Asked::Otherwise => return Ok(Asked::Otherwise),
                Asked::Refused(error) => return Ok(Asked::Refused(error)),
            };
            all.extend(page.manifests);
            if all.len() > COUNT {
                return Err(self.error(&format!("more than {COUNT} referrers")));
            }
            walk.advance(page.size, page.next).map_err(|problem| self.error(&problem))?;
        }
        match walk.page() {
            None => Ok(Asked::Found(all)),
            Some(_) => Err(self.error(&format!("more than {PAGES} pages"))),
        }
    }

    fn page(&self, url: &Url, scope: &Scope) -> Result<Asked<ListPage>, RegistryError> {
        self.client.host.retrying(scope, || {
            let request =
                Request::get(url.clone()).header(header::ACCEPT, MediaType::OCI_INDEX.as_str());
            let call =
                self.client.call(&self.operation, Grants::pull(self.client.path()), request)?;
            let response = self.client.host.attempt(&call, scope)?;
            let status = response.status().as_u16();
            if status == 200 {
                return self.read_page(response, scope);
            }
            let error = self.client.host.refused(&call, response, scope);
            // What registries without the API were seen to answer. Anything else is no definite absence, nor is one of
            // these with a code that means something else.
            match (status, error.class()) {
                (400 | 404 | 405 | 406, Class::NotFound | Class::Invalid)
                | (501, Class::Server) => Ok(Asked::Refused(error)),
                _ => Err(error),
            }
        })
    }

    fn read_page(
        &self,
        response: Response,
        scope: &Scope,
    ) -> Result<Asked<ListPage>, RegistryError> {
        let next = link::next(&response).map_err(|problem| self.error(&problem));
        let media_type = response.header(&header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let body = response.bytes(MANIFEST_LIMIT, scope);
        let body = body.map_err(|error| self.client.error(&self.operation, error))?;
        // Nothing at all, or the subject itself (seen with GitLab): the path means something else to this registry.
        if body.is_empty() || self.subject.matches(&body) {
            return Ok(Asked::Otherwise);
        }
        if MediaType::new(&media_type) != MediaType::OCI_INDEX {
            let shown = MediaType::new(&media_type);
            return Err(self.error(&format!("expected an OCI index, found {shown:?}")));
        }
        let (next, size) = (next?, body.len());
        let declared = Declared { media_type: Some(&media_type), ..Declared::default() };
        let index = RawManifest::read(body, declared);
        let index = index.map_err(|error| self.client.error(&self.operation, error))?;
        Ok(Asked::Found(ListPage { manifests: self.manifests(&index)?, size, next }))
    }

    /// The list behind the fallback tag; `None` if there definitely is no such tag.
    pub(crate) fn by_tag(&self, scope: &Scope) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let standing = self.shared().now(scope)?;
        standing.map(|standing| self.manifests(&standing.manifest)).transpose()
    }

    /// Adds an entry to the list behind the fallback tag, with whatever else of this process waits to be added there.
    fn add(&self, entry: Descriptor, scope: &Scope) -> Result<(), RegistryError> {
        let shared = self.shared();
        let list = format!("{}:{}", self.client.path(), shared.tag);
        let waiting = self.client.host.waiting();
        let _waits = waiting.enter(&list, entry);
        shared.add(&mut |there| self.with_entries(there, waiting.of(&list)), scope)
    }

    fn shared(&self) -> SharedTag<'a> {
        SharedTag {
            client: self.client,
            subject: self.subject,
            tag: referrers_tag(self.subject),
            operation: self.operation.clone(),
        }
    }

    /// The index with the entries behind the others; what else is in it stays. `None` if all are in it.
    fn with_entries(
        &self,
        there: Option<&RawManifest>,
        mut entries: Vec<Descriptor>,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let failed = |error| self.client.error(&self.operation, Problem::Manifest(error));
        let known = there.map(|index| self.manifests(index)).transpose()?.unwrap_or_default();
        let mut listed: HashSet<Digest> = known.into_iter().map(|entry| entry.digest).collect();
        entries.retain(|entry| listed.insert(entry.digest.clone()));
        if entries.is_empty() {
            return Ok(None);
        }
        let empty = || {
            let media_type = MediaType::OCI_INDEX.to_string();
            let text = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []});
            RawManifest::read(Bytes::from(text.to_string()), Declared::default())
        };
        let index = there.cloned().map_or_else(empty, Ok).map_err(failed)?;
        let mut document = Document::of(&index).map_err(failed)?;
        let mut all = match document.value("manifests") {
            Some(Value::Array(all)) => all.clone(),
            _ => Vec::new(),
        };
        all.extend(entries.iter().map(Value::from));
        document.set("manifests", all.into());
        document.seal(index.media_type()).map(Some).map_err(failed)
    }

    /// The list less every entry of `gone`; `None` if there is none.
    fn without(
        &self,
        there: Option<&RawManifest>,
        gone: &Digest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let failed = |error| self.client.error(&self.operation, Problem::Manifest(error));
        let Some(index) = there else { return Ok(None) };
        let known = self.manifests(index)?;
        if known.iter().all(|entry| entry.digest != *gone) {
            return Ok(None);
        }
        let mut document = Document::of(index).map_err(failed)?;
        let stays = |position: usize| known.get(position).is_none_or(|entry| entry.digest != *gone);
        document.retain_manifests(stays);
        document.seal(index.media_type()).map(Some).map_err(failed)
    }

    fn manifests(&self, index: &RawManifest) -> Result<Vec<Descriptor>, RegistryError> {
        match index.index() {
            Some(view) => Ok(view.manifests.clone()),
            None => Err(self.error("expected an index of referrers, found an image")),
        }
    }

    fn error(&self, problem: &str) -> RegistryError {
        self.client.error(&self.operation, Problem::Protocol(problem.to_owned()))
    }
}
