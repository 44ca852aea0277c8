use std::fmt::{self, Display};
use std::sync::Arc;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{HeaderName, Method, Request, Response, Url, header};
use securecp_oci::json::{self, Limits};
use securecp_oci::{
    Declared, Descriptor, Digest, Escaped, MANIFEST_LIMIT, MediaType, RawManifest, Reference,
    Repository, Tag,
};
use serde_json::Value;

use crate::auth::Grants;
use crate::host::{Call, Host};
use crate::link::{self, Walk};
use crate::{Class, Download, Operation, Problem, RegistryError};

/// Speaks with one repository. Clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(crate) host: Arc<Host>,
    repository: Repository,
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestName<'a> {
    /// A tag.
    Tag(&'a Tag),
    /// A digest; what comes must have it.
    Digest(&'a Digest),
}

impl<'a> ManifestName<'a> {
    /// The name within the repository, if the reference has one.
    pub fn of(reference: &'a Reference) -> Option<Self> {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Some(Self::Digest(digest)),
            (None, Some(tag)) => Some(Self::Tag(tag)),
            (None, None) => None,
        }
    }

    fn digest(self) -> Option<&'a Digest> {
        match self {
            Self::Digest(digest) => Some(digest),
            Self::Tag(_) => None,
        }
    }
}

impl Display for ManifestName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// What a registry says of a manifest without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest, if the registry names one.
    pub digest: Option<Digest>,
    /// The media type, if stated.
    pub media_type: Option<MediaType>,
    /// The length, if stated.
    pub size_bytes: Option<u64>,
}

/// What a registry says of a manifest that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutManifest {
    /// The registry has recorded the manifest's subject itself.
    pub subject_recorded: bool,
}

impl Client {
    pub(crate) fn new(host: Arc<Host>, repository: Repository) -> Self {
        Self { host, repository }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Reads a manifest: at most 4 MiB, held to its digest and to what the registry declares of it.
    ///
    /// # Errors
    /// It does not exist, cannot be had, or is not what it should be.
    pub fn manifest(
        &self,
        name: ManifestName<'_>,
        scope: &Scope,
    ) -> Result<RawManifest, RegistryError> {
        self.tagged_manifest(name, scope).map(|(manifest, _)| manifest)
    }

    /// Reads a manifest with the registry's mark of its version, if it gives one.
    pub(crate) fn tagged_manifest(
        &self,
        name: ManifestName<'_>,
        scope: &Scope,
    ) -> Result<(RawManifest, Option<String>), RegistryError> {
        let operation = Operation::ReadManifest(name.to_string());
        self.host.retrying(scope, || {
            let call = self.manifest_call(&operation, Method::GET, name, scope)?;
            let response = self.host.expect(&call, &[200], scope)?;
            let etag = response.header(&header::ETAG).map(str::to_owned);
            Ok((self.read_manifest(&call, response, name, scope)?, etag))
        })
    }

    /// Asks for a manifest without reading it; `None` if it definitely does not exist.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn head_manifest(
        &self,
        name: ManifestName<'_>,
        scope: &Scope,
    ) -> Result<Option<ManifestHead>, RegistryError> {
        let operation = Operation::ReadManifest(name.to_string());
        let response = self.host.retrying(scope, || {
            let call = self.manifest_call(&operation, Method::HEAD, name, scope)?;
            self.host.expect(&call, &[200, 404, 405], scope)
        })?;
        match response.status().as_u16() {
            200 => Ok(Some(head_of(&response))),
            404 => Ok(None),
            // A registry that does not know HEAD is asked in full.
            _ => match self.manifest(name, scope) {
                Ok(found) => Ok(Some(head_of_manifest(&found))),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Writes a manifest's exact bytes under a tag or its digest.
    ///
    /// # Errors
    /// The registry did not take it, or claims to have taken something else.
    pub fn put_manifest(
        &self,
        name: ManifestName<'_>,
        manifest: &RawManifest,
        scope: &Scope,
    ) -> Result<PutManifest, RegistryError> {
        let operation = Operation::WriteManifest(name.to_string());
        let put = self.host.retrying(scope, || {
            let url = self.manifest_url(name, scope)?;
            let request = Request::new(Method::PUT, url)
                .body(manifest.bytes().clone())
                .slow_answer()
                .header(header::CONTENT_TYPE, manifest.media_type().as_str());
            let call = self.call(&operation, Grants::push(self.path()), request)?;
            let response = self.host.expect(&call, &[201], scope)?;
            check_claim(&response, manifest.bytes()).map_err(|p| self.host.failed(&call, p))?;
            Ok(PutManifest { subject_recorded: response.headers().contains_key("oci-subject") })
        });
        match put {
            // A tag that cannot be changed but stands for this manifest already, perhaps by an attempt whose answer
            // was lost, is as wanted.
            Err(error)
                if error.class() == Class::Conflict && self.stands(name, manifest, scope) =>
            {
                Ok(PutManifest { subject_recorded: false })
            }
            put => put,
        }
    }

    fn stands(&self, name: ManifestName<'_>, manifest: &RawManifest, scope: &Scope) -> bool {
        let found = self.head_manifest(name, scope).ok().flatten();
        found.and_then(|head| head.digest).is_some_and(|digest| digest == *manifest.digest())
    }

    /// Deletes a manifest; every tag that stands for it vanishes with it. Where an answer was lost and the manifest is then
    /// not there, it was deleted.
    ///
    /// # Errors
    /// It does not exist, or the registry does not delete it.
    pub fn delete_manifest(&self, digest: &Digest, scope: &Scope) -> Result<(), RegistryError> {
        let operation = Operation::DeleteManifest(digest.to_string());
        let mut lost = false;
        self.host.retrying(scope, || {
            let url = self.manifest_url(ManifestName::Digest(digest), scope)?;
            let request = Ok(Request::new(Method::DELETE, url));
            let call = self.call(&operation, Grants::delete(self.path()), request)?;
            match self.host.expect(&call, &[202, 200, 204], scope) {
                Err(error) if lost && error.is_absence() => Ok(()),
                Err(error) => {
                    lost |= matches!(error.class(), Class::Network | Class::Server);
                    Err(error)
                }
                Ok(_) => Ok(()),
            }
        })
    }

    /// Whether a blob is there, whole. "No" costs at most an upload, so a store behind the registry that refuses to say
    /// counts as "no"; a refusal of the registry itself is an error.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn has_blob(&self, descriptor: &Descriptor, scope: &Scope) -> Result<bool, RegistryError> {
        let operation = Operation::FindBlob(descriptor.digest.to_string());
        self.host.retrying(scope, || {
            let url = self.url(&format!("blobs/{}", descriptor.digest), scope)?;
            let asked = url.clone();
            let request = Ok(Request::new(Method::HEAD, url));
            let call = self.call(&operation, Grants::pull(self.path()), request)?;
            let response = self.host.attempt(&call, scope)?;
            self.host.check_absence(&response, scope)?;
            let moved = *response.url() != asked;
            match response.status().as_u16() {
                200 => Ok(is_whole(&response, descriptor)),
                404 | 405 => Ok(false),
                403 if moved => Ok(false),
                _ => Err(self.host.refused(&call, response, scope)),
            }
        })
    }

    /// The size of a blob that no descriptor speaks of.
    ///
    /// # Errors
    /// It does not exist, or the registry does not say.
    pub fn blob_size(&self, digest: &Digest, scope: &Scope) -> Result<u64, RegistryError> {
        let operation = Operation::FindBlob(digest.to_string());
        self.host.retrying(scope, || {
            let url = self.url(&format!("blobs/{digest}"), scope)?;
            let request = Ok(Request::new(Method::HEAD, url));
            let call = self.call(&operation, Grants::pull(self.path()), request)?;
            let response = self.host.expect(&call, &[200], scope)?;
            let unknown = || Problem::Protocol("the registry does not say its size".to_owned());
            response.length().ok_or_else(|| self.host.failed(&call, unknown()))
        })
    }

    /// Opens a blob. What comes is not verified yet, but broken connections are resumed.
    ///
    /// # Errors
    /// It does not exist or cannot be opened.
    pub fn blob(&self, descriptor: &Descriptor, scope: &Scope) -> Result<Download, RegistryError> {
        Download::open(self.clone(), descriptor.clone(), scope)
    }

    /// Opens a blob after its first `offset` bytes, fewer than it has; `None` if the registry sends no parts of blobs.
    ///
    /// # Errors
    /// It does not exist or cannot be opened.
    pub fn blob_after(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        scope: &Scope,
    ) -> Result<Option<Download>, RegistryError> {
        Download::open_at(self.clone(), descriptor.clone(), offset, scope)
    }

    /// Every tag of the repository, page after page. Entries that are no tags because they are digests or null are
    /// left out, as Artifactory and Nexus send them.
    ///
    /// # Errors
    /// The list cannot be had whole.
    pub fn tags(&self, scope: &Scope) -> Result<Vec<Tag>, RegistryError> {
        let tags = self.tags_within(PAGES, scope)?;
        let too_many = || Problem::Protocol(format!("more than {PAGES} pages"));
        tags.ok_or_else(|| self.error(&Operation::ListTags, too_many()))
    }

    /// As [`Client::tags`]; `None` if there are more pages than `limit`.
    pub(crate) fn tags_within(
        &self,
        limit: usize,
        scope: &Scope,
    ) -> Result<Option<Vec<Tag>>, RegistryError> {
        let mut tags = Vec::new();
        let mut walk = Walk::from(self.url("tags/list", scope)?);
        for _ in 0..limit {
            let Some(url) = walk.page() else { return Ok(Some(tags)) };
            let page = self.page(&Operation::ListTags, url, scope)?;
            let problem = |p| self.error(&Operation::ListTags, Problem::Protocol(p));
            read_tags(&page.body, &mut tags).map_err(problem)?;
            walk.advance(page.body.len(), page.next).map_err(problem)?;
        }
        Ok(walk.page().is_none().then_some(tags))
    }

    /// One page of a list.
    pub(crate) fn page(
        &self,
        operation: &Operation,
        url: &Url,
        scope: &Scope,
    ) -> Result<Page, RegistryError> {
        self.host.retrying(scope, || {
            let request = Ok(Request::get(url.clone()));
            let call = self.call(operation, Grants::pull(self.path()), request)?;
            let response = self.host.expect(&call, &[200], scope)?;
            let next = link::next(&response);
            let next = next.map_err(|p| self.host.failed(&call, Problem::Protocol(p)))?;
            let body = response.bytes(PAGE, scope).map_err(|e| self.host.failed(&call, e))?;
            Ok(Page { body, next })
        })
    }

    /// The path of the repository at the registry.
    pub(crate) fn path(&self) -> &str {
        self.repository.path()
    }

    /// `tail` behind `/v2/REPOSITORY/`.
    pub(crate) fn url(&self, tail: &str, scope: &Scope) -> Result<Url, RegistryError> {
        self.host.url(&format!("{}/{tail}", self.path()), scope)
    }

    pub(crate) fn call<'a>(
        &'a self,
        operation: &'a Operation,
        grants: Grants,
        request: Result<Request, securecp_net::NetError>,
    ) -> Result<Call<'a>, RegistryError> {
        let request = request.map_err(|error| self.error(operation, error))?;
        Ok(Call { operation, repository: self.path(), grants, request })
    }

    pub(crate) fn error(
        &self,
        operation: &Operation,
        problem: impl Into<Problem>,
    ) -> RegistryError {
        RegistryError::new(operation.clone(), self.host.name(), Some(self.path()), problem)
    }

    fn manifest_url(&self, name: ManifestName<'_>, scope: &Scope) -> Result<Url, RegistryError> {
        self.url(&format!("manifests/{name}"), scope)
    }

    fn manifest_call<'a>(
        &'a self,
        operation: &'a Operation,
        method: Method,
        name: ManifestName<'_>,
        scope: &Scope,
    ) -> Result<Call<'a>, RegistryError> {
        let request = Request::new(method, self.manifest_url(name, scope)?);
        let request = request.header(header::ACCEPT, ACCEPTED);
        self.call(operation, Grants::pull(self.path()), request)
    }

    fn read_manifest(
        &self,
        call: &Call<'_>,
        response: Response,
        name: ManifestName<'_>,
        scope: &Scope,
    ) -> Result<RawManifest, RegistryError> {
        let media_type = response.header(&header::CONTENT_TYPE).map(str::to_owned);
        let claimed = response.header(&DIGEST).and_then(|text| text.parse::<Digest>().ok());
        let bytes = response.bytes(MANIFEST_LIMIT, scope);
        let bytes = bytes.map_err(|error| self.host.failed(call, error))?;
        let declared =
            Declared { media_type: media_type.as_deref(), digest: name.digest(), size: None };
        let read =
            RawManifest::read(bytes, declared).map_err(|error| self.host.failed(call, error))?;
        match claimed.filter(|claimed| !read.is_named(claimed)) {
            None => Ok(read),
            Some(claimed) => {
                let problem =
                    format!("the registry announced {claimed}, the bytes have another digest");
                Err(self.host.failed(call, Problem::Integrity(problem)))
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// One page of a list.
pub(crate) struct Page {
    pub(crate) body: Bytes,
    pub(crate) next: Option<Url>,
}

/// Pages read of one list, and the size of each in bytes: more than any registry needs, less than would hurt.
const PAGES: usize = 10_000;
const PAGE: usize = 8 << 20;
/// What a tag takes in a list, in bytes. Tags of less than three characters are so few that any document may hold them.
const TAG_BYTES: usize = 6;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// One header line, because some proxies read only one. Schema 1 comes only where there is nothing better.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1";

fn head_of(response: &Response) -> ManifestHead {
    ManifestHead {
        digest: response.header(&DIGEST).and_then(|text| text.parse().ok()),
        media_type: response.header(&header::CONTENT_TYPE).map(MediaType::new),
        size_bytes: response.length(),
    }
}

fn head_of_manifest(manifest: &RawManifest) -> ManifestHead {
    ManifestHead {
        digest: Some(manifest.digest().clone()),
        media_type: Some(manifest.media_type().clone()),
        size_bytes: Some(manifest.size()),
    }
}

/// Whether an answer speaks of this blob: by its length, or at least by its digest. A server that says yes to everything
/// names neither.
fn is_whole(response: &Response, descriptor: &Descriptor) -> bool {
    let named = || response.header(&DIGEST).and_then(|text| text.parse::<Digest>().ok());
    match response.length() {
        Some(length) => length == descriptor.size,
        None => named().is_some_and(|digest| digest == descriptor.digest),
    }
}

/// A registry that names a digest for what it took must name the right one.
fn check_claim(response: &Response, bytes: &[u8]) -> Result<(), Problem> {
    let claimed = response.header(&DIGEST).and_then(|text| text.parse::<Digest>().ok());
    match claimed.filter(|claimed| !claimed.matches(bytes)) {
        Some(claimed) => Err(Problem::Integrity(format!(
            "the registry took it as {claimed}, which is not the digest of what was sent"
        ))),
        None => Ok(()),
    }
}

fn read_tags(body: &[u8], tags: &mut Vec<Tag>) -> Result<(), String> {
    let limits = Limits { bytes_per_value: TAG_BYTES, ..Limits::bytes(PAGE) };
    let value = json::parse(body, limits).map_err(|e| format!("tag list: {e}"))?;
    let list = match value.get("tags") {
        Some(Value::Null) => return Ok(()),
        list => list.and_then(Value::as_array).ok_or("tag list: expected an array of tags")?,
    };
    for item in list.iter().filter(|item| !item.is_null()) {
        let text = item.as_str().ok_or("tag list: expected texts")?;
        match text.parse::<Tag>() {
            Ok(tag) => tags.push(tag),
            Err(_) if text.is_empty() || text.parse::<Digest>().is_ok() => {}
            Err(_) => {
                return Err(format!("tag list: invalid tag {:?}", Escaped::new(text).to_string()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(tags: impl Iterator<Item = String>) -> Vec<u8> {
        let tags: Vec<_> = tags.map(|tag| format!("\"{tag}\"")).collect();
        format!("{{\"name\":\"a\",\"tags\":[{}]}}", tags.join(",")).into_bytes()
    }

    /// Every tag of at most three letters and digits, the densest list that there can be.
    #[test]
    fn reads_pages_of_hundreds_of_thousands_of_tags() {
        let digits: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').collect();
        let mut all: Vec<String> = digits.iter().map(char::to_string).collect();
        for shorter in [0..62, 62..62 + 62 * 62] {
            let longer =
                all[shorter].iter().flat_map(|tag| digits.iter().map(move |d| format!("{tag}{d}")));
            let longer: Vec<_> = longer.collect();
            all.extend(longer);
        }
        let count = all.len();
        let mut found = Vec::new();
        read_tags(&page(all.into_iter()), &mut found).unwrap();
        assert_eq!((count, found.len()), (242_234, 242_234));
    }

    #[test]
    fn refuses_a_page_of_nothing_but_separators() {
        let error = read_tags(&page((0..100_000).map(|_| String::new())), &mut Vec::new());
        assert!(error.unwrap_err().contains("more than"));
    }
}
