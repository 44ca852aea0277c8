//! Registries to test against: the embedded one, Debian's docker-registry, and an independent one.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferro_blob_store::InMemoryBlobStore;
use ferro_oci_server::{AppState, InMemoryRegistryMeta, router};
use securecp_layer::{CHUNK, Chunks, Layer, LayerError, Scope, SourceError};
use securecp_net::Net;
use securecp_oci::{Algorithm, Declared, Descriptor, Digest, MediaType, RawManifest};
use securecp_registry::{
    Access, BlobUpload, Client, Credentials, Login, Registries, RegistryError, RetryPolicy,
};
use securecp_server::{Options, Running, Server};
use tempfile::TempDir;

/// A registry on a free port; gone when dropped.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    _embedded: Option<Running>,
    process: Option<Child>,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Peer {
    pub(crate) fn embedded() -> Self {
        Self::embedded_with(|_| {})
    }

    /// An independent registry. It ends with the process: nothing waits for it.
    pub(crate) fn ferro() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let blobs = Arc::new(InMemoryBlobStore::new());
                let state = AppState::new(blobs, Arc::new(InMemoryRegistryMeta::new()));
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, router(state)).await.unwrap();
            });
        });
        let address = receiver.recv().unwrap();
        Self { address, _embedded: None, process: None, _folder: TempDir::new().unwrap() }
    }

    pub(crate) fn embedded_with(adjust: impl FnOnce(&mut Options)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut options = Options::new(folder.path());
        options.listen = "127.0.0.1:0".parse().unwrap();
        options.log_requests = true;
        options.sync = false;
        adjust(&mut options);
        let running = Server::start(options).unwrap();
        Self {
            address: running.address(),
            _embedded: Some(running),
            process: None,
            _folder: folder,
        }
    }

    pub(crate) fn debian() -> Self {
        Self::debian_with(TempDir::new().unwrap(), "")
    }

    /// `extra` is YAML at the top level, in which `ADDRESS` and `DATA` are filled in; its `http` and `storage` replace the
    /// usual ones.
    pub(crate) fn debian_with(folder: TempDir, extra: &str) -> Self {
        let address = free_address();
        let root = folder.path().join("data");
        std::fs::create_dir_all(&root).unwrap();
        let storage = "storage: {delete: {enabled: true}, filesystem: {rootdirectory: DATA}}\n";
        let storage = if extra.contains("storage:") { "" } else { storage };
        let config = format!("version: 0.1\nlog: {{level: error}}\n{storage}{extra}")
            .replace("ADDRESS", &address.to_string())
            .replace("DATA", &root.display().to_string());
        let config = match extra.contains("http:") {
            true => config,
            false => format!("{config}http: {{addr: \"{address}\"}}\n"),
        };
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's docker-registry is needed");
        let peer = Self { address, _embedded: None, process: Some(process), _folder: folder };
        peer.wait();
        peer
    }

    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "docker-registry does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn client(&self, repository: &str) -> Client {
        client(self.address, repository, plain())
    }
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Access by http without credentials, with retries that do not make a test slow.
pub(crate) fn plain() -> Access {
    Access { tls_verify: Some(false), retry: quick(), login: Login::Anonymous, ..Access::default() }
}

pub(crate) fn quick() -> RetryPolicy {
    RetryPolicy { times: 3, delay: Some(Duration::from_millis(5)), ..RetryPolicy::NEVER }
}

pub(crate) fn password(user: &str, password: &str) -> Login {
    let password = password.to_owned().into();
    Login::Given(Credentials::Password { user: user.to_owned(), password })
}

pub(crate) fn client(address: SocketAddr, repository: &str, access: Access) -> Client {
    let repository = format!("{address}/{repository}").parse().unwrap();
    Registries::new(Net::default(), access).client(&repository).unwrap()
}

/// A blob of `size` bytes that differs by `seed`.
pub(crate) fn blob(size: usize, seed: u8) -> (Descriptor, Bytes) {
    let bytes: Bytes = (0..size).map(|n| (n / 251) as u8 ^ (n as u8) ^ seed).collect();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (Descriptor::new(MediaType::OCI_LAYER, digest, size as u64), bytes)
}

/// Bytes in chunks.
pub(crate) struct Memory(pub(crate) Bytes);

impl Chunks for Memory {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let size = self.0.len().min(CHUNK);
        Ok((size > 0).then(|| self.0.split_to(size)))
    }
}

/// Opens `bytes` as the verified blob `descriptor`.
pub(crate) fn open<'a>(descriptor: &Descriptor, bytes: &Bytes) -> Result<Layer<'a>, LayerError> {
    Ok(Layer::verified(descriptor.clone(), Memory(bytes.clone())))
}

pub(crate) fn push(
    client: &Client,
    descriptor: &Descriptor,
    bytes: &Bytes,
) -> Result<Descriptor, RegistryError> {
    let open = || open(descriptor, bytes);
    let upload = BlobUpload { known: Some(descriptor), mount_from: &[], open: &open };
    client.put_blob(&upload, &Scope::new())
}

pub(crate) fn pull(client: &Client, descriptor: &Descriptor) -> Result<Bytes, LayerError> {
    let scope = Scope::new();
    let download = client.blob(descriptor, &scope).map_err(|error| LayerError::Source {
        digest: descriptor.digest.clone(),
        source: SourceError { transient: error.is_transient(), source: Box::new(error) },
    })?;
    let mut layer = Layer::verified(descriptor.clone(), download);
    let mut all = Vec::new();
    while let Some(chunk) = layer.next()? {
        all.extend_from_slice(&chunk);
    }
    layer.finish()?;
    Ok(all.into())
}

/// A small image, its blobs pushed, its manifest not.
pub(crate) fn image(client: &Client, seed: u8) -> RawManifest {
    let (layer, bytes) = blob(1000, seed);
    push(client, &layer, &bytes).unwrap();
    let config_bytes =
        Bytes::from(format!(r#"{{"architecture":"amd64","os":"linux","seed":{seed}}}"#));
    let digest = Digest::of(Algorithm::Sha256, &config_bytes);
    let config = Descriptor::new(MediaType::OCI_CONFIG, digest, config_bytes.len() as u64);
    push(client, &config, &config_bytes).unwrap();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        serde_json::Value::from(&config),
        serde_json::Value::from(&layer),
    );
    RawManifest::read(text.into(), Declared::default()).unwrap()
}
