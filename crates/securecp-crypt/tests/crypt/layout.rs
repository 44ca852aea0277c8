//! OCI layouts on disk, read and written by the simplest means, so that tests can hand images to other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use securecp_crypt::{Encrypt, Keys, Recipients};
use securecp_oci::{Declared, Descriptor, Digest, Document, RawManifest};

use crate::common::{drain, source};

/// A layout with one image.
pub(crate) struct Layout {
    pub(crate) path: PathBuf,
    pub(crate) manifest: RawManifest,
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/crypt").join(name)
}

impl Layout {
    pub(crate) fn open(path: &Path) -> Self {
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
        let root = Descriptor::read(&index["manifests"][0], "root").unwrap();
        let bytes = Bytes::from(blob(path, &root.digest));
        let manifest = RawManifest::read(bytes, Declared::from(&root)).unwrap();
        Self { path: path.to_owned(), manifest }
    }

    pub(crate) fn layers(&self) -> &[Descriptor] {
        &self.manifest.image().unwrap().layers
    }

    pub(crate) fn blob(&self, layer: &Descriptor) -> Vec<u8> {
        blob(&self.path, &layer.digest)
    }

    /// The plaintext digest of every layer, plain ones as they are.
    pub(crate) fn decrypt(&self, keys: &Keys) -> Result<Vec<Digest>, String> {
        let plain = |layer: &Descriptor| {
            if !layer.media_type.is_encrypted() {
                return Ok(layer.digest.clone());
            }
            let unlocked = keys.unlock(layer).map_err(|error| error.to_string())?;
            let data = self.blob(layer);
            let staged = unlocked.staged_in(&std::env::temp_dir());
            let decrypted = source(layer, &data, 1 << 18).pipe(Some(&staged)).unwrap().measured();
            drain(decrypted).1.map(|made| made.digest).map_err(|error| error.to_string())
        };
        self.layers().iter().map(plain).collect()
    }

    /// Writes a copy into `target` with the layers in `chosen` encrypted.
    pub(crate) fn encrypt(&self, chosen: &[usize], recipients: Recipients, target: &Path) -> Self {
        let transform = Encrypt::new(Arc::new(recipients));
        let mut document = Document::of(&self.manifest).unwrap();
        fs::create_dir_all(target.join("blobs/sha256")).unwrap();
        for (position, layer) in self.layers().iter().enumerate() {
            let data = self.blob(layer);
            if chosen.contains(&position) {
                let wrapped = source(layer, &data, 1000).pipe(Some(&transform)).unwrap();
                let (sealed, made) = drain(wrapped.measured());
                let made = made.unwrap();
                document.set_entry("layers", position, &made).unwrap();
                put(target, &made.digest, &sealed);
            } else {
                put(target, &layer.digest, &data);
            }
        }
        let config = &self.manifest.image().unwrap().config;
        put(target, &config.digest, &self.blob(config));
        let manifest = document.seal(self.manifest.media_type()).unwrap();
        write_index(target, &manifest);
        Self { path: target.to_owned(), manifest }
    }

    /// Writes a copy into `target` in which `recipients` can open every encrypted layer as well.
    pub(crate) fn add_recipients(
        &self,
        keys: &Keys,
        recipients: &Recipients,
        target: &Path,
    ) -> Self {
        let mut document = Document::of(&self.manifest).unwrap();
        fs::create_dir_all(target.join("blobs/sha256")).unwrap();
        for (position, layer) in self.layers().iter().enumerate() {
            let unlocked = keys.unlock(layer).unwrap();
            let added = recipients.add_to(layer, &unlocked).unwrap();
            document.set_entry("layers", position, &added).unwrap();
            put(target, &layer.digest, &self.blob(layer));
        }
        let config = &self.manifest.image().unwrap().config;
        put(target, &config.digest, &self.blob(config));
        let manifest = document.seal(self.manifest.media_type()).unwrap();
        write_index(target, &manifest);
        Self { path: target.to_owned(), manifest }
    }
}

fn blob(path: &Path, digest: &Digest) -> Vec<u8> {
    fs::read(path.join("blobs/sha256").join(digest.hex())).unwrap()
}

fn put(path: &Path, digest: &Digest, data: &[u8]) {
    fs::write(path.join("blobs/sha256").join(digest.hex()), data).unwrap();
}

fn write_index(path: &Path, manifest: &RawManifest) {
    put(path, manifest.digest(), manifest.bytes());
    let mut root = manifest.descriptor();
    let name = "org.opencontainers.image.ref.name".to_owned();
    root.annotations.insert(name, "enc".to_owned());
    let index =
        serde_json::json!({"schemaVersion": 2, "manifests": [serde_json::Value::from(&root)]});
    fs::write(path.join("index.json"), index.to_string()).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
