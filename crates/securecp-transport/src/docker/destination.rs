use std::sync::OnceLock;

use securecp_layer::{Layer, Scope, each_on_a_thread};
use securecp_oci::{
    Algorithm, Attached, Descriptor, Digest, ImageName, RawManifest, Reference, Signature, Tag,
};
use securecp_registry::{Beside, BlobUpload, Client, ManifestName, Problem, RegistryError};

use crate::docker::attachments::attach;
use crate::docker::{NO_PLACE, SignatureStorage, evidence, failure, kept, reference};
use crate::{
    Accepts, BlobPut, CommitError, Destination, DestinationOptions, Naming, OfSignatures, Piece,
    Place, Requests, TransportError, Writing,
};

/// What the reference says, too.
const DISABLED: &str = "writing sigstore attachments is disabled by configuration";
/// Tags that are moved at the same time.
const TAGS_AT_ONCE: usize = 16;

/// A place in a registry.
pub(crate) struct DockerDestination {
    name: String,
    reference: Reference,
    client: Client,
    beside: Beside,
    signatures: Option<SignatureStorage>,
    /// Whether the registry keeps signatures, once that is known.
    keeps: OnceLock<bool>,
}

/// A tag that did not move, or of which it is not known.
struct NotNamed {
    cause: TransportError,
    unclear: bool,
}

impl DockerDestination {
    /// Nothing is asked of the registry yet.
    pub(crate) fn new(
        name: &ImageName,
        options: &DestinationOptions,
    ) -> Result<Self, TransportError> {
        let reference = reference(name)?;
        let client = options.registries.client(reference.repository())?;
        let signatures = options.signatures.clone();
        let (beside, keeps) = (Beside::of_destination(client.clone()), OnceLock::new());
        Ok(Self { name: name.to_string(), client, beside, reference, signatures, keeps })
    }

    /// The digest that the registry gives for a name. A registry that names none is asked in full.
    fn digest_of(
        &self,
        name: ManifestName<'_>,
        scope: &Scope,
    ) -> Result<Option<Digest>, RegistryError> {
        match self.client.head_manifest(name, scope)? {
            None => Ok(None),
            Some(head) if head.digest.is_some() => Ok(head.digest),
            Some(_) => match self.client.manifest(name, scope) {
                Ok(found) => Ok(Some(found.digest().clone())),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Moves tags at the same time.
    fn name_all(&self, names: &[(usize, &Naming<'_>)], scope: &Scope) -> Vec<Result<(), NotNamed>> {
        each_on_a_thread(names, |(_, naming)| self.name_it(naming, scope))
    }

    /// Moves one tag. What goes by its digest alone has no name to move.
    fn name_it(&self, naming: &Naming<'_>, scope: &Scope) -> Result<(), NotNamed> {
        let Some(entry) = naming.entry else { return Ok(()) };
        let tag: Tag = entry.parse().map_err(|source| {
            let name = format!("{}:{entry}", self.reference.repository());
            NotNamed { cause: TransportError::Reference { name, source }, unclear: false }
        })?;
        match self.client.put_manifest(ManifestName::Tag(&tag), naming.root, scope) {
            Ok(_) => Ok(()),
            Err(error) => self.look_again(&tag, naming.root.digest(), error, scope),
        }
    }

    /// A failure does not tell whether the tag moved: an answer may have been lost, also that of an earlier attempt. What
    /// stands where it should has moved; what is refused and stands elsewhere has not.
    fn look_again(
        &self,
        tag: &Tag,
        wanted: &Digest,
        error: RegistryError,
        scope: &Scope,
    ) -> Result<(), NotNamed> {
        let refused = matches!(error.problem(), Problem::Refused(_)) && !error.is_transient();
        let lost = refused || error.is_transient();
        let now = self.digest_of(ManifestName::Tag(tag), scope);
        match now {
            Ok(Some(now)) if lost && now == *wanted => Ok(()),
            Ok(_) => Err(NotNamed { cause: failure(error), unclear: !refused }),
            Err(_) => Err(NotNamed { cause: failure(error), unclear: true }),
        }
    }

    fn holds_signatures(&self) -> bool {
        let any = Digest::of(Algorithm::Sha256, b"");
        let kept = self.keeps.get().copied().unwrap_or(false);
        self.signatures.as_ref().is_some_and(|storage| kept || storage.is_writable(&any))
    }

    /// Stores simple signatures: with the registry if it keeps them, else in the lookaside store.
    fn store(
        &self,
        digest: &Digest,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let Some(storage) = &self.signatures else {
            return Err(self.unsupported(NO_PLACE.to_owned()));
        };
        match kept::keeps(&self.client, scope)? {
            true => kept::add(&self.client, digest, signatures, scope),
            false => storage.add(digest, signatures, scope),
        }
    }

    /// Whether the configuration says that sigstore signatures are attached here.
    fn attaches(&self) -> bool {
        self.signatures.as_ref().is_some_and(|storage| storage.attachments)
    }

    fn unsupported(&self, problem: String) -> TransportError {
        TransportError::Unsupported { name: self.name.clone(), problem }
    }
}

impl Destination for DockerDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn reference(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    /// Tags of one repository whose signatures go to one place.
    fn storage(&self) -> Option<String> {
        let any = Digest::of(Algorithm::Sha256, b"");
        let signatures = self.signatures.as_ref().map(|storage| storage.identity(&any));
        let attached = self.attaches();
        Some(format!("docker {} {signatures:?} {attached}", self.reference.repository()))
    }

    fn vouches_for_names(&self) -> bool {
        true
    }

    fn entry(&self) -> Option<&str> {
        self.reference.tag().map(Tag::as_str)
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            manifests: &[],
            indexes: true,
            only_images: false,
            simple_signatures: self.holds_signatures(),
            sigstore_signatures: self.attaches(),
            evidence: true,
            keeps_urls: true,
        }
    }

    fn requests(&self) -> Requests {
        let kept = self.keeps.get().copied().unwrap_or(false);
        // The list before and after, and each of them.
        let simple =
            if kept { OfSignatures { together: 2, each: 1 } } else { OfSignatures::default() };
        Requests {
            // A session, and the bytes with the digest, or the bytes and then the digest.
            blob: 2,
            made_blob: 3,
            mount: 1,
            piece_bytes: self.client.piece_bytes(),
            manifest: 1,
            read_back: 1,
            name: 1,
            simple,
            // What is attached before and after, a configuration and the manifest; each is a blob.
            sigstore: OfSignatures { together: 5, each: 2 },
        }
    }

    /// Whether the registry answers and knows us is seen when it is asked for the names; whether it lets us write is only
    /// known by writing.
    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        // What is not known now is asked again when there is a signature to store, and fails then.
        if let (Some(_), Ok(keeps)) = (&self.signatures, kept::keeps(&self.client, scope)) {
            self.keeps.get_or_init(|| keeps);
        }
        Ok(())
    }

    fn has_blob(&self, descriptor: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        self.client.has_blob(descriptor, scope).map_err(failure)
    }

    fn read_blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        let download = self.client.blob(descriptor, scope).map_err(failure)?;
        Ok(Some(Layer::verified(descriptor.clone(), download)))
    }

    fn has_manifest(&self, manifest: &RawManifest, scope: &Scope) -> Result<bool, TransportError> {
        let name = ManifestName::Digest(manifest.digest());
        let Some(head) = self.client.head_manifest(name, scope).map_err(failure)? else {
            return Ok(false);
        };
        match head.digest {
            Some(digest) => Ok(digest == *manifest.digest()
                && head.size_bytes.is_none_or(|size| size == manifest.size())),
            // A bare "yes" is anybody's answer; the bytes are not.
            None => match self.client.manifest(name, scope) {
                Ok(found) => Ok(found.bytes() == manifest.bytes()),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(failure(error)),
            },
        }
    }

    fn current(&self, tag: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError> {
        let name = match tag {
            Some(tag) => Some(ManifestName::Tag(tag)),
            None => ManifestName::of(&self.reference),
        };
        let found = name.map(|name| self.digest_of(name, scope)).transpose().map_err(failure)?;
        Ok(found.flatten())
    }

    fn referrers(
        &self,
        subject: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        Ok(self.beside.referrers(subject, scope).map_err(failure)?.manifests)
    }

    fn read_manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        match self.client.manifest(ManifestName::Digest(&descriptor.digest), scope) {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some).map_err(failure),
        }
    }

    fn has_referrers(
        &self,
        subject: &Digest,
        wanted: &[Descriptor],
        scope: &Scope,
    ) -> Result<Vec<bool>, TransportError> {
        evidence::has_referrers(&self.client, &self.beside, (subject, wanted), scope)
    }

    fn has_attached(
        &self,
        subject: (&Digest, Attached),
        manifest: &RawManifest,
        scope: &Scope,
    ) -> Result<bool, TransportError> {
        evidence::has_attached(&self.beside, subject, manifest, scope)
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        scope.check()?;
        Ok(Box::new(DockerWriting { to: self }))
    }
}

/// Everything goes under its digest at once; only tags make it visible under a name.
struct DockerWriting<'a> {
    to: &'a DockerDestination,
}

impl Writing for DockerWriting<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let upload = BlobUpload { known: blob.known, mount_from: blob.mount_from, open: blob.open };
        self.to.client.put_blob(&upload, scope).map_err(failure)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        // A manifest with a subject is also recorded there, where the registry does not do it by itself.
        self.to.client.put_referrer(manifest, scope).map_err(failure)
    }

    fn put_signatures(
        &self,
        manifest: &RawManifest,
        _: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let is_simple = |signature: &Signature| matches!(signature, Signature::Simple(_));
        let (simple, sigstore): (Vec<_>, Vec<_>) = signatures.iter().cloned().partition(is_simple);
        if !simple.is_empty() {
            self.to.store(manifest.digest(), &simple, scope)?;
        }
        match sigstore.is_empty() {
            true => Ok(()),
            false if self.to.attaches() => {
                attach(&self.to.client, manifest.digest(), &sigstore, scope)
            }
            false => Err(self.to.unsupported(DISABLED.to_owned())),
        }
    }

    fn put_evidence(&self, piece: &Piece<'_>, scope: &Scope) -> Result<(), TransportError> {
        evidence::put(&self.to.client, piece, scope)
    }

    fn read_back_evidence(
        &self,
        pieces: &[Piece<'_>],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        evidence::read_back(&self.to.client, pieces, scope)
    }

    fn read_back(
        &self,
        manifest: &RawManifest,
        _: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        if self.to.has_manifest(manifest, scope)? {
            return Ok(());
        }
        Err(TransportError::NotFound {
            subject: format!("manifest {}", manifest.digest()),
            place: self.to.name.clone(),
        })
    }

    fn commit(self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError> {
        let mut moved = Vec::new();
        let moving = names.iter().enumerate().filter(|(_, naming)| !naming.stands);
        let (further, last): (Vec<_>, Vec<_>) = moving.partition(|(_, naming)| naming.further);
        for together in further.chunks(TAGS_AT_ONCE).chain(last.chunks(TAGS_AT_ONCE)) {
            let (mut cause, mut unclear) = (None, Vec::new());
            for ((position, _), put) in together.iter().zip(self.to.name_all(together, scope)) {
                match put {
                    Ok(()) => moved.push(*position),
                    Err(not) => {
                        cause.get_or_insert(not.cause);
                        unclear.extend(not.unclear.then_some(*position));
                    }
                }
            }
            if let Some(cause) = cause {
                return Err(CommitError { cause, moved, unclear });
            }
        }
        Ok(())
    }
}
