use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use securecp_layer::Scope;
use securecp_oci::{Attached, Descriptor, Digest, RawManifest, Tag, referrers_tag};

use crate::flight::Flights;
use crate::referrers::{ApiAnswer, Listing};
use crate::{Client, ManifestName, Problem, RegistryError};

/// Most pages of a list of tags that are read to save requests; where there are more, each tag is asked for.
const PAGES: usize = 8;

/// What stands beside the images of one repository: referrers, and the tags of cosign. What is the same for all images is
/// asked once for all that look around there: whether there is a referrers API, which tags there are, and what refers to a
/// manifest that stands in several images.
pub struct Beside {
    client: Client,
    known: Option<Arc<Known>>,
    /// Nothing may have been written to the repository yet.
    may_be_new: bool,
}

/// What was learned of one repository.
#[derive(Default)]
pub(crate) struct Known {
    /// Whether there is a referrers API, as the first answer said. A later subject that is refused is no answer about others.
    api: Flights<(), bool>,
    /// `None` where each tag has to be asked for.
    tags: Flights<(), Option<Arc<HashSet<Tag>>>>,
    referrers: Flights<Digest, Referrers>,
}

/// The referrers of one subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referrers {
    /// What the list says of them, each once.
    pub manifests: Vec<Descriptor>,
    /// The registry keeps the list itself, so what is listed is there; a fallback tag can list anything.
    pub by_api: bool,
}

impl Beside {
    /// For looking around beside images that were read there: what is the same for all is asked once, and a tag that is
    /// not listed is not there.
    pub fn new(client: Client) -> Self {
        let known = Some(client.host.beside(client.path()));
        Self { client, known, may_be_new: false }
    }

    /// As [`Beside::new`] for images that may be written there: in a repository that is not known there is nothing.
    #[must_use]
    pub fn of_destination(client: Client) -> Self {
        Self { may_be_new: true, ..Self::new(client) }
    }

    /// For looking after a change: every answer is the registry's of now.
    #[must_use]
    pub fn afresh(client: Client) -> Self {
        Self { client, known: None, may_be_new: false }
    }

    /// The referrers of `subject`. None is a definite answer: whatever else than absence keeps the registry from
    /// answering is an error.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn referrers(&self, subject: &Digest, scope: &Scope) -> Result<Referrers, RegistryError> {
        let look = || self.look(subject, scope);
        let found = match &self.known {
            None => look(),
            Some(known) => known.referrers.take(subject, scope, |_| true, look),
        };
        match found {
            Err(error) if self.has_nothing_yet(&error) => Ok(Referrers::default()),
            other => other,
        }
    }

    fn has_nothing_yet(&self, error: &RegistryError) -> bool {
        self.may_be_new && error.is_unknown_repository()
    }

    fn look(&self, subject: &Digest, scope: &Scope) -> Result<Referrers, RegistryError> {
        let listing = Listing::new(&self.client, subject);
        match self.by_api(&listing, scope)? {
            ApiAnswer::Listed(found) if !found.is_empty() => {
                return Ok(Referrers { manifests: distinct(found, subject), by_api: true });
            }
            _ => {}
        }
        // Some registries answer with an empty list because they keep none; the tag then knows.
        let found = match self.may_have(&referrers_tag(subject), scope)? {
            true => listing.by_tag(scope)?.unwrap_or_default(),
            false => Vec::new(),
        };
        Ok(Referrers { manifests: distinct(found, subject), by_api: false })
    }

    /// Whoever asks first asks for all others too whether there is such an API; they wait for that answer.
    fn by_api(&self, listing: &Listing<'_>, scope: &Scope) -> Result<ApiAnswer, RegistryError> {
        let Some(known) = &self.known else { return listing.by_api(None, scope) };
        let mut first = None;
        let ask = || {
            let found = listing.by_api(None, scope)?;
            let has = !matches!(found, ApiAnswer::NoApi);
            first = Some(found);
            Ok::<_, RegistryError>(has)
        };
        let has = known.api.take(&(), scope, |_| true, ask)?;
        match first {
            Some(found) => Ok(found),
            None if has => listing.by_api(None, scope),
            None => Ok(ApiAnswer::NoApi),
        }
    }

    /// What cosign attached to `subject`; `None` is a definite "nothing".
    ///
    /// # Errors
    /// It cannot be told.
    pub fn attached(
        &self,
        subject: &Digest,
        what: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let Some(tag) = what.tag(subject) else { return Ok(None) };
        if !self.may_have(&tag, scope)? {
            return Ok(None);
        }
        match self.client.manifest(ManifestName::Tag(&tag), scope) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absence() || self.has_nothing_yet(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn may_have(&self, tag: &Tag, scope: &Scope) -> Result<bool, RegistryError> {
        let Some(known) = &self.known else { return Ok(true) };
        let tags = known.tags.take(&(), scope, |_| true, || self.list(scope))?;
        Ok(tags.is_none_or(|tags| tags.contains(tag)))
    }

    /// Every tag; `None` if there are too many, or the registry lists none: that proves nothing of a single tag.
    fn list(&self, scope: &Scope) -> Result<Option<Arc<HashSet<Tag>>>, RegistryError> {
        match self.client.tags_within(PAGES, scope) {
            Ok(tags) => {
                let told = tags.filter(|tags| !tags.is_empty());
                Ok(told.map(|tags| Arc::new(tags.into_iter().collect())))
            }
            Err(error) if matches!(error.problem(), Problem::Stopped(_)) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "tags are not listed, each is asked for");
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside")
            .field("repository", self.client.repository())
            .finish_non_exhaustive()
    }
}

/// Each manifest once, and never the subject itself; the first description counts.
fn distinct(found: Vec<Descriptor>, subject: &Digest) -> Vec<Descriptor> {
    let mut seen = HashSet::from([subject.clone()]);
    found.into_iter().filter(|entry| seen.insert(entry.digest.clone())).collect()
}
