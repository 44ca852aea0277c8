//! Simple-signing signatures of registry images in a lookaside store: numbered files beside each other, read until the
//! first one that is missing (containers-registries.d(5)).

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{HttpClient, NetError, Request, Url};
use securecp_oci::{
    Digest, Reference, SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT, Signature, WithCauses,
};

use super::NO_PLACE;
use crate::TransportError;

/// Where one signature is, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureLocation {
    /// A file.
    File(PathBuf),
    /// An address to fetch; nothing can be written there.
    Http(String),
}

/// Tells where signature number N (from 1) of a manifest is.
pub type SignatureLocator = Arc<dyn Fn(&Digest, usize) -> SignatureLocation + Send + Sync>;

/// Where the signatures of one repository live. Requests carry no credentials. What a registry keeps itself, or has
/// attached to its images, needs no place.
#[derive(Clone)]
pub struct SignatureStorage {
    /// Where they are read, if anywhere.
    pub read: Option<SignatureLocator>,
    /// Where they are written, if anywhere.
    pub write: Option<SignatureLocator>,
    /// Whether signatures attached in the registry count too (`use-sigstore-attachments`).
    pub attachments: bool,
    /// Fetches what is not a file.
    pub http: HttpClient,
}

impl fmt::Debug for SignatureStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureStorage").finish_non_exhaustive()
    }
}

/// Where the signatures of images live, by the place that an image is read from: a mirror's are looked for under the
/// mirror's name, as the reference does.
#[derive(Clone)]
pub struct SignatureStorages(Arc<dyn Fn(&Reference) -> SignatureStorage + Send + Sync>);

impl SignatureStorages {
    /// Takes what knows the storage for every place.
    pub fn new(at: impl Fn(&Reference) -> SignatureStorage + Send + Sync + 'static) -> Self {
        Self(Arc::new(at))
    }

    pub(crate) fn at(&self, place: &Reference) -> SignatureStorage {
        (self.0)(place)
    }
}

impl fmt::Debug for SignatureStorages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureStorages").finish_non_exhaustive()
    }
}

impl SignatureStorage {
    /// The signatures of a manifest; only a definite "not there" ends the list.
    pub(crate) fn signatures(
        &self,
        digest: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        match &self.read {
            Some(read) => self.list(read, digest, scope),
            None => Ok(Vec::new()),
        }
    }

    /// Whether signatures can be stored.
    pub(crate) fn is_writable(&self, digest: &Digest) -> bool {
        matches!(self.first(digest), Some(SignatureLocation::File(_)))
    }

    /// Tells one storage from another.
    pub(crate) fn identity(&self, digest: &Digest) -> (Option<SignatureLocation>, bool) {
        (self.first(digest), self.attachments)
    }

    /// Where the first signature is written.
    fn first(&self, digest: &Digest) -> Option<SignatureLocation> {
        self.write.as_ref().map(|write| write(digest, 1))
    }

    /// Adds what is not there yet and reads everything back. What others stored is never replaced.
    pub(crate) fn add(
        &self,
        digest: &Digest,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let write = self.write.as_ref().ok_or_else(|| TransportError::Unsupported {
            name: format!("signatures of {digest}"),
            problem: NO_PLACE.to_owned(),
        })?;
        for signature in signatures {
            self.add_one(write, digest, signature, scope)?;
        }
        let there = self.list(write, digest, scope)?;
        match signatures.iter().find(|signature| !there.contains(signature)) {
            Some(_) => Err(TransportError::NotFound {
                subject: format!("a signature of {digest} that was just stored"),
                place: shown(&write(digest, 1)),
            }),
            None => Ok(()),
        }
    }

    /// The first free number is taken by a link, which never replaces a file, so that two writers keep both.
    fn add_one(
        &self,
        write: &SignatureLocator,
        digest: &Digest,
        signature: &Signature,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        let mut there = self.list(write, digest, scope)?;
        while !there.contains(signature) {
            if there.len() >= SIGNATURE_COUNT_LIMIT {
                return Err(too_many(&write(digest, there.len())));
            }
            let SignatureLocation::File(path) = write(digest, there.len() + 1) else {
                let place = shown(&write(digest, 1));
                let problem = "Writing directly to a http lookaside is not supported".to_owned();
                return Err(TransportError::Unsupported { name: place, problem });
            };
            let placed = place_file(&path, &signature.to_blob());
            placed.map_err(|source| io_error("storing signature", &path, source))?;
            there = self.list(write, digest, scope)?;
        }
        Ok(())
    }

    fn list(
        &self,
        locate: &SignatureLocator,
        digest: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        let mut found = Vec::new();
        loop {
            scope.check()?;
            let location = locate(digest, found.len() + 1);
            let Some(blob) = self.fetch(&location, scope)? else { return Ok(found) };
            if found.len() == SIGNATURE_COUNT_LIMIT {
                return Err(too_many(&location));
            }
            let path = || PathBuf::from(shown(&location));
            let parsed = Signature::parse(blob);
            found
                .push(parsed.map_err(|source| TransportError::Signature { path: path(), source })?);
        }
    }

    fn fetch(
        &self,
        location: &SignatureLocation,
        scope: &Scope,
    ) -> Result<Option<Bytes>, TransportError> {
        match location {
            SignatureLocation::File(path) => {
                read_file(path).map_err(|source| io_error("reading signature", path, source))
            }
            SignatureLocation::Http(url) => self
                .fetch_http(url, scope)
                .map_err(|problem| TransportError::Unsupported { name: shown(location), problem }),
        }
    }

    fn fetch_http(&self, url: &str, scope: &Scope) -> Result<Option<Bytes>, String> {
        let text = |error: NetError| WithCauses(&error).to_string();
        let url: Url = url.parse().map_err(|_| "not an address".to_owned())?;
        let response = self.http.send(Request::get(url), scope).map_err(text)?;
        match response.status().as_u16() {
            200 => response.bytes(SIGNATURE_LIMIT, scope).map(Some).map_err(text),
            404 => Ok(None),
            other => Err(format!("expected status 200 or 404, found {other}")),
        }
    }
}

/// An address without the credentials and query that it may hold.
fn shown(location: &SignatureLocation) -> String {
    match location {
        SignatureLocation::File(path) => path.display().to_string(),
        SignatureLocation::Http(text) => match text.parse::<Url>() {
            Ok(url) => {
                format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or("?"), url.path())
            }
            Err(_) => "a malformed address".to_owned(),
        },
    }
}

fn too_many(location: &SignatureLocation) -> TransportError {
    TransportError::Place {
        path: PathBuf::from(shown(location)),
        problem: format!("expected at most {SIGNATURE_COUNT_LIMIT} signatures, found more"),
    }
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> TransportError {
    TransportError::Io { operation, path: path.to_owned(), source }
}

/// The file's bytes; `None` only if there is no such file.
fn read_file(path: &Path) -> io::Result<Option<Bytes>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(SIGNATURE_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > SIGNATURE_LIMIT {
        let problem = format!("larger than {SIGNATURE_LIMIT} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(Some(bytes.into()))
}

/// Writes a file whole under a name that is free; a name taken meanwhile is left as it is.
fn place_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".signature-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match fs::hard_link(file.path(), path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_net::{Net, TlsOptions};
    use securecp_oci::Algorithm;

    fn storage(folder: &Path) -> SignatureStorage {
        let folder = folder.to_owned();
        let locate: SignatureLocator = Arc::new(move |digest, number| {
            let name = format!("x@{}={}", digest.algorithm(), digest.hex());
            SignatureLocation::File(folder.join(name).join(format!("signature-{number}")))
        });
        let http = Net::default().client(&TlsOptions::default()).unwrap();
        let (read, write) = (Some(Arc::clone(&locate)), Some(locate));
        SignatureStorage { read, write, attachments: false, http }
    }

    fn signature(text: &str) -> Signature {
        Signature::Simple(Bytes::from(format!("\u{0}{text}").replace('\u{0}', "=")))
    }

    fn digest() -> Digest {
        Digest::of(Algorithm::Sha256, b"manifest")
    }

    /// Whoever has no home still has what registries keep.
    #[test]
    fn without_a_place_nothing_is_found_and_nothing_stored() {
        let folder = tempfile::tempdir().unwrap();
        let placeless = SignatureStorage { read: None, write: None, ..storage(folder.path()) };
        let scope = Scope::new();
        assert!(placeless.signatures(&digest(), &scope).unwrap().is_empty());
        assert!(!placeless.is_writable(&digest()));
        let error = placeless.add(&digest(), &[signature("a")], &scope).unwrap_err();
        assert!(error.to_string().contains("no place for signatures"), "{error}");
    }

    #[test]
    fn adds_without_replacing_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let (storage, scope) = (storage(folder.path()), Scope::new());
        assert!(storage.signatures(&digest(), &scope).unwrap().is_empty());
        storage.add(&digest(), &[signature("a"), signature("b")], &scope).unwrap();
        storage.add(&digest(), &[signature("b"), signature("c")], &scope).unwrap();
        let found = storage.signatures(&digest(), &scope).unwrap();
        assert_eq!(found, [signature("a"), signature("b"), signature("c")]);
        let names = fs::read_dir(folder.path())
            .unwrap()
            .flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap());
        assert_eq!(names.count(), 3, "no temporary file stays");
    }

    #[test]
    fn two_writers_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(folder.path());
        std::thread::scope(|threads| {
            for writer in 0..8 {
                let storage = &storage;
                threads.spawn(move || {
                    let own = [signature(&format!("{writer}"))];
                    storage.add(&digest(), &own, &Scope::new()).unwrap();
                });
            }
        });
        assert_eq!(storage.signatures(&digest(), &Scope::new()).unwrap().len(), 8);
    }

    #[test]
    fn a_failure_to_read_is_not_the_end_of_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let storage = storage(folder.path());
        storage.add(&digest(), &[signature("a")], &Scope::new()).unwrap();
        let SignatureLocation::File(second) = storage.read.as_ref().unwrap()(&digest(), 2) else {
            unreachable!()
        };
        fs::create_dir(&second).unwrap();
        assert!(storage.signatures(&digest(), &Scope::new()).is_err());
        fs::remove_dir(&second).unwrap();
        fs::write(&second, b"neither form").unwrap();
        assert!(storage.signatures(&digest(), &Scope::new()).is_err());
    }

    #[test]
    fn an_address_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut storage = storage(folder.path());
        storage.write =
            Some(Arc::new(|_, _| SignatureLocation::Http("http://127.0.0.1:1/s".to_owned())));
        assert!(!storage.is_writable(&digest()));
        assert!(storage.add(&digest(), &[signature("a")], &Scope::new()).is_err());
    }
}
