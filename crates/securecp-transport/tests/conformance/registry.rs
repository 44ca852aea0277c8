//! `docker:` against the embedded registry.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use securecp_layer::Scope;
use securecp_net::{Net, TlsOptions};
use securecp_oci::ImageName;
use securecp_registry::{Access, Login, Registries};
use securecp_server::{Options, Running, Server};
use securecp_transport::{
    Destination, DestinationOptions, Place, SignatureLocation, SignatureLocator, SignatureStorage,
    SignatureStorages, Source, SourceOptions, TransportError, open_destination, open_source,
};
use tempfile::TempDir;

use crate::suite::{self, Fixture, Notices, sample};

/// A repository of a registry of its own.
pub(crate) struct Repository {
    root: TempDir,
    registry: Running,
    signatures: Option<TempDir>,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let registry = Server::start(Options { sync: false, ..Options::new(root.path()) }).unwrap();
        Self { root, registry, signatures: None }
    }

    /// One whose signatures are kept: simple ones in a folder, those of sigstore attached.
    pub(crate) fn with_signatures() -> Self {
        Self { signatures: Some(tempfile::tempdir().unwrap()), ..Self::new() }
    }

    fn signatures(&self) -> Option<SignatureStorage> {
        let folder = self.signatures.as_ref()?.path().to_owned();
        let locate: SignatureLocator = Arc::new(move |digest, number| {
            let name = digest.to_string().replace(':', "=");
            SignatureLocation::File(folder.join(name).join(format!("signature-{number}")))
        });
        let http = Net::default().client(&TlsOptions::default()).unwrap();
        let (read, write) = (Some(Arc::clone(&locate)), Some(locate));
        Some(SignatureStorage { read, write, attachments: true, http })
    }

    fn name(&self) -> ImageName {
        format!("docker://{}/some/image:v1", self.registry.address()).parse().unwrap()
    }

    /// Every file of the store, whatever it is.
    pub(crate) fn stored(&self) -> Vec<String> {
        let (mut found, mut folders) = (Vec::new(), vec![self.root.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push(entry.path().display().to_string()),
                }
            }
        }
        found
    }

    fn registries() -> Registries {
        let access =
            Access { login: Login::Anonymous, tls_verify: Some(false), ..Access::default() };
        Registries::new(Net::default(), access)
    }
}

impl Fixture for Repository {
    fn source(&self) -> Result<Box<dyn Source>, TransportError> {
        let signatures = self.signatures();
        let options = SourceOptions {
            registries: Self::registries(),
            signatures: signatures.map(|one| SignatureStorages::new(move |_| one.clone())),
            ..SourceOptions::default()
        };
        open_source(&self.name(), &options)
    }

    fn destination(&self) -> Box<dyn Destination> {
        let options = DestinationOptions {
            registries: Self::registries(),
            signatures: self.signatures(),
            ..DestinationOptions::default()
        };
        open_destination(&self.name(), &options).unwrap()
    }

    /// Uploads that were given up; the registry notices a little later.
    fn leftovers(&self) -> Vec<String> {
        let uploads = self.root.path().join("uploads");
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let found: Vec<String> = fs::read_dir(&uploads)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            if found.is_empty() || Instant::now() > end {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Only the registry itself knows what may be written, and says so when something is.
    fn make_unwritable(&mut self) {
        let options = Options { read_only: true, ..Options::new(self.root.path()) };
        self.registry = Server::start(options).unwrap();
    }

    fn notices_unwritable(&self) -> Notices {
        Notices::WithTheFirstBlob
    }

    fn names_with_manifests(&self) -> bool {
        true
    }

    fn keeps_blobs(&self) -> bool {
        true
    }
}

/// What is read from a mirror has its signatures where the mirror's are, while policies go by the name that was given.
#[test]
fn a_mirrors_signatures_are_looked_for_under_its_name() {
    let mirror = Repository::with_signatures();
    suite::write(&mirror, &sample::image("mirrored"));
    let place = tempfile::tempdir().unwrap();
    let conf = place.path().join("registries.conf");
    let address = mirror.registry.address();
    let text = format!(
        "[[registry]]\nprefix=\"r.example\"\nlocation=\"r.example\"\n\
         [[registry.mirror]]\nlocation=\"{address}\"\ninsecure=true\n"
    );
    fs::write(&conf, text).unwrap();
    let access =
        Access { login: Login::Anonymous, registries_conf: Some(conf), ..Access::default() };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (note, storage) = (Arc::clone(&asked), mirror.signatures().unwrap());
    let signatures = SignatureStorages::new(move |place| {
        note.lock().unwrap().push(place.to_string());
        storage.clone()
    });
    let options = SourceOptions {
        registries: Registries::new(Net::default(), access),
        signatures: Some(signatures),
        ..SourceOptions::default()
    };
    let name = "docker://r.example/some/image:v1".parse().unwrap();
    let source = open_source(&name, &options).unwrap();
    let root = source.root(&Scope::new()).unwrap();
    assert!(source.signatures(&root, Place::Root, &Scope::new()).unwrap().is_empty());
    assert_eq!(*asked.lock().unwrap(), [format!("{address}/some/image:v1")]);
    assert_eq!(source.identity().scope, "r.example/some/image:v1");
}
