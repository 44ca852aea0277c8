use std::time::{Duration, Instant};

use securecp_layer::{Scope, Stopped};
use securecp_net::{Method, Request, header};
use securecp_oci::{Digest, RawManifest, Tag};

use crate::auth::Grants;
use crate::{Class, Client, ManifestName, Operation, Problem, RegistryError};

/// Attempts to add to a tag that others write to as well.
const ATTEMPTS: u32 = 16;

/// The least time after which it is looked again whether somebody who had read before us has written after us.
const SETTLED: Duration = Duration::from_millis(150);

/// How long a registry that answers from several machines may need until all of them know what was written.
const LAG: Duration = Duration::from_secs(4);

/// A tag beside an image to which several writers add, none of whom may lose what the others added.
pub(crate) struct SharedTag<'a> {
    pub(crate) client: &'a Client,
    /// The image.
    pub(crate) subject: &'a Digest,
    pub(crate) tag: Tag,
    /// What is being done, for messages.
    pub(crate) operation: Operation,
}

/// What the tag stands for.
pub(crate) struct Standing {
    pub(crate) manifest: RawManifest,
    etag: Option<String>,
}

/// What has to be written so that everything wanted is there; `None` if it is. Asked again after every write.
pub type Wanted<'a, E = RegistryError> =
    dyn FnMut(Option<&RawManifest>) -> Result<Option<RawManifest>, E> + 'a;

impl Client {
    /// Adds to what stands under a tag beside the image `subject`, whoever else adds to it: `wanted` is given what is
    /// there now and says what has to be written, until it is satisfied. What it needs to be there it puts there itself.
    ///
    /// # Errors
    /// `wanted` failed, the tag cannot be read or written, or others never cease to change it.
    pub fn add_to_tag<E: From<RegistryError> + From<Stopped>>(
        &self,
        (subject, tag): (&Digest, Tag),
        wanted: &mut Wanted<'_, E>,
        scope: &Scope,
    ) -> Result<(), E> {
        let operation = Operation::WriteManifest(tag.to_string());
        SharedTag { client: self, subject, tag, operation }.add(wanted, scope)
    }
}

/// What came of one attempt.
enum Added {
    Yes,
    /// Somebody else wrote at the same time.
    Overtaken,
}

impl SharedTag<'_> {
    /// What the tag stands for now; `None` if there definitely is no such tag, nor may be a repository yet.
    fn before(&self, scope: &Scope) -> Result<Option<Standing>, RegistryError> {
        match self.now(scope) {
            Err(error) if error.is_unknown_repository() => Ok(None),
            other => other,
        }
    }

    /// What the tag stands for now; `None` if there definitely is no such tag in the repository.
    pub(crate) fn now(&self, scope: &Scope) -> Result<Option<Standing>, RegistryError> {
        let (manifest, etag) =
            match self.client.tagged_manifest(ManifestName::Tag(&self.tag), scope) {
                Ok(found) => found,
                Err(error) if error.is_absence() => return Ok(None),
                Err(error) => return Err(error),
            };
        // A registry that reads such a tag as the digest gives the subject itself (seen with GitLab).
        if manifest.digest() == self.subject || self.subject.matches(manifest.bytes()) {
            return Ok(None);
        }
        Ok(Some(Standing { manifest, etag }))
    }

    /// Makes everything wanted be there, whoever else writes.
    pub(crate) fn add<E: From<RegistryError> + From<Stopped>>(
        &self,
        wanted: &mut Wanted<'_, E>,
        scope: &Scope,
    ) -> Result<(), E> {
        // One after the other within this process; others are dealt with by looking again.
        let key = format!("{}:{}", self.client.path(), self.tag);
        let one_by_one = |(): &()| false;
        self.client.host.turns().take(&key, scope, one_by_one, || self.add_in_turn(wanted, scope))
    }

    fn add_in_turn<E: From<RegistryError>>(
        &self,
        wanted: &mut Wanted<'_, E>,
        scope: &Scope,
    ) -> Result<(), E> {
        for _ in 0..ATTEMPTS {
            if let Added::Yes = self.try_add(wanted, scope)? {
                return Ok(());
            }
        }
        let problem = format!("somebody else keeps changing the tag {}", self.tag);
        Err(self.error(Problem::Protocol(problem)).into())
    }

    /// Without a registry that compares, a writer who had read before us may still write after us and take away what we
    /// added. Everybody needs about as long between reading and writing, so after twice that time it is known.
    fn try_add<E: From<RegistryError>>(
        &self,
        wanted: &mut Wanted<'_, E>,
        scope: &Scope,
    ) -> Result<Added, E> {
        let start = Instant::now();
        let before = self.before(scope)?;
        let Some(new) = wanted(before.as_ref().map(|standing| &standing.manifest))? else {
            return Ok(Added::Yes);
        };
        let etag = before.as_ref().and_then(|standing| standing.etag.as_deref());
        if let Err(error) = self.write(&new, etag, scope) {
            return Ok(self.explain(error, before.as_ref(), scope)?);
        }
        let mut settle = (start.elapsed() * 2).max(SETTLED);
        let digest = |standing: Option<&Standing>| standing.map(|s| s.manifest.digest().clone());
        loop {
            scope.sleep(settle).map_err(|stopped| self.error(stopped))?;
            let after = self.now(scope)?;
            if wanted(after.as_ref().map(|standing| &standing.manifest))?.is_none() {
                return Ok(Added::Yes);
            }
            // What still looks as before may be the answer of a machine that has not heard of it yet.
            let as_before = digest(after.as_ref()) == digest(before.as_ref());
            if !as_before || start.elapsed() > LAG {
                return Ok(Added::Overtaken);
            }
            settle *= 2;
        }
    }

    /// A conflict means that somebody was faster, or that the tag cannot be changed at all.
    fn explain(
        &self,
        error: RegistryError,
        before: Option<&Standing>,
        scope: &Scope,
    ) -> Result<Added, RegistryError> {
        if error.class() != Class::Conflict {
            return Err(error);
        }
        let now = self.now(scope)?;
        let digest = |standing: Option<&Standing>| standing.map(|s| s.manifest.digest().clone());
        if digest(now.as_ref()) != digest(before) {
            return Ok(Added::Overtaken);
        }
        Err(self.error(Problem::Immutable(format!("the tag {} is immutable: {error}", self.tag))))
    }

    fn write(
        &self,
        manifest: &RawManifest,
        etag: Option<&str>,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let operation = Operation::WriteReferrer(self.subject.to_string());
        self.client.host.retrying(scope, || {
            let url = self.client.url(&format!("manifests/{}", self.tag), scope)?;
            let request = Request::new(Method::PUT, url)
                .body(manifest.bytes().clone())
                .header(header::CONTENT_TYPE, manifest.media_type().as_str());
            let request = match etag {
                Some(etag) => request.and_then(|r| r.header(header::IF_MATCH, etag)),
                None => request,
            };
            let call = self.client.call(&operation, Grants::push(self.client.path()), request)?;
            self.client.host.expect(&call, &[201], scope).map(drop)
        })
    }

    pub(crate) fn error(&self, problem: impl Into<Problem>) -> RegistryError {
        self.client.error(&self.operation, problem)
    }
}
