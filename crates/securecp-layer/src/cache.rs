use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use securecp_oci::{Algorithm, Descriptor, Digest};
use tempfile::NamedTempFile;
use zstd::zstd_safe;

use crate::{CheckDiffId, Codec, Compression, Layer, LayerError, Scope};

/// What decides the bytes of a recompressed layer: its source, and everything about the codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformKey {
    source: Digest,
    to: Compression,
}

impl TransformKey {
    /// The transform of the blob `source` by [`crate::Recompress`] to `to`.
    ///
    /// Encrypted layers have no place here: they are different in every run.
    pub fn new(source: Digest, to: Compression) -> Self {
        Self { source, to }
    }

    /// Codec, version, level and what else changes the bytes.
    fn recipe(&self) -> String {
        match self.to {
            Compression::None => "plain".to_owned(),
            Compression::Gzip(level) => format!("gzip {GZIP_RECIPE} level {}", level.number()),
            Compression::Zstd(level) => {
                let version = zstd_safe::version_string();
                format!("zstd {version} {ZSTD_RECIPE} level {}", level.number())
            }
        }
    }

    /// The lines that stand before the result; their digest is the entry's name.
    fn head(&self) -> String {
        format!("{MAGIC}\nsource {}\nrecipe {}\n", self.source, self.recipe())
    }
}

/// The first line of an entry; a new number for a new form.
const MAGIC: &str = "securecp transform 1";
/// The library and the parts of [`crate::Recompress`] that decide gzip's bytes. To be changed with either.
const GZIP_RECIPE: &str = "zlib-rs-0.6.8 block-1MiB dictionary-32KiB";
/// As [`GZIP_RECIPE`]; the library says its version itself.
const ZSTD_RECIPE: &str = "job-1MiB-2MiB-4MiB window-4MiB overlap-512KiB checksum";

/// Remembers what layers became, in a folder of small files.
///
/// Any number of processes may use the folder at the same time, and it may be deleted at any time. Entries that are
/// damaged, of another form or of another codec version are as good as absent.
#[derive(Debug, Clone)]
pub struct TransformCache {
    folder: PathBuf,
}

impl TransformCache {
    /// A cache in `folder`, which is made when something is first recorded.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// What the transform may have given before.
    pub fn propose(&self, key: &TransformKey) -> Option<Proposal> {
        let file = File::open(self.path(key)).ok()?;
        let mut text = String::new();
        file.take(ENTRY_LIMIT + 1).read_to_string(&mut text).ok()?;
        Proposal::parse(key, &text)
    }

    /// Remembers that the transform gave `made`, whose plain bytes have the digest `diff_id`.
    ///
    /// # Errors
    /// The entry cannot be written; a copy can go on without.
    pub fn record(
        &self,
        key: &TransformKey,
        made: &Descriptor,
        diff_id: &Digest,
    ) -> Result<(), LayerError> {
        let path = self.path(key);
        let text = entry(key, &made.digest, made.size, diff_id);
        write(&path, &text).map_err(|source| LayerError::Cache { path, source })
    }

    fn path(&self, key: &TransformKey) -> PathBuf {
        let name = Digest::of(Algorithm::Sha256, key.head().as_bytes());
        let (shelf, rest) = name.hex().split_at(2);
        self.folder.join(shelf).join(rest)
    }
}

/// Far more than two lines of digests need, in bytes.
const ENTRY_LIMIT: u64 = 4096;

/// A whole entry appears under its name, or none: written beside, then renamed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn entry(key: &TransformKey, digest: &Digest, size: u64, diff_id: &Digest) -> String {
    let body = format!("{}digest {digest}\nsize {size}\ndiff-id {diff_id}\n", key.head());
    format!("{body}check {}\n", Digest::of(Algorithm::Sha256, body.as_bytes()))
}

/// What a cache says that a layer becomes. It is a guess until the blob was read: whoever wrote the cache may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    codec: Codec,
    digest: Digest,
    size: u64,
    diff_id: Digest,
}

impl Proposal {
    /// The digest of the blob to look for at the destination.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size of that blob, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads `layer`, the blob at the proposed digest, to its end, and confirms the proposal if its plain bytes have
    /// the digest `diff_id`, which has to come from the source image's configuration.
    ///
    /// # Errors
    /// The blob is not the one proposed, not in the format asked for, or has other plain bytes; the transform has to
    /// be run.
    pub fn confirm(
        self,
        layer: Layer<'_>,
        diff_id: &Digest,
        scope: &Scope,
    ) -> Result<Confirmed, LayerError> {
        if self.diff_id != *diff_id {
            let (layer, expected, found) = (self.digest, diff_id.clone(), self.diff_id);
            return Err(LayerError::DiffId { layer, expected, found });
        }
        let check = CheckDiffId::new().expect(self.diff_id).expect_codec(self.codec);
        let check = check.scoped(scope.clone());
        let mut layer = layer.pipe(Some(&check))?;
        while layer.next()?.is_some() {}
        let found = layer.finish()?.digest;
        if found != self.digest {
            return Err(LayerError::Altered { expected: self.digest, found });
        }
        Ok(Confirmed { digest: self.digest, size: self.size })
    }

    /// Takes the cache at its word. Never to be used where something is signed or signatures are required.
    pub fn dangerous_trust(self) -> Confirmed {
        Confirmed { digest: self.digest, size: self.size }
    }

    /// Reads an entry; nothing but the exact text that [`TransformCache::record`] writes counts as one.
    fn parse(key: &TransformKey, text: &str) -> Option<Self> {
        let mut lines = text.strip_prefix(&key.head())?.lines();
        let digest: Digest = lines.next()?.strip_prefix("digest ")?.parse().ok()?;
        let size = lines.next()?.strip_prefix("size ")?.parse().ok()?;
        let diff_id: Digest = lines.next()?.strip_prefix("diff-id ")?.parse().ok()?;
        let whole = entry(key, &digest, size, &diff_id) == text;
        whole.then(|| Self { codec: key.to.codec(), digest, size, diff_id })
    }
}

/// A blob that is known to be the layer wanted, recompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    digest: Digest,
    size: u64,
}

impl Confirmed {
    /// The blob's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The blob's size, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GzipLevel, Once, Recompress, ZstdLevel};
    use bytes::Bytes;
    use securecp_oci::MediaType;
    use std::sync::atomic::{AtomicBool, Ordering};

    const PLAIN: &[u8] = b"the plain bytes of a layer";

    fn sha256(bytes: &[u8]) -> Digest {
        Digest::of(Algorithm::Sha256, bytes)
    }

    fn layer(bytes: &[u8]) -> Layer<'static> {
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, sha256(bytes), bytes.len() as u64);
        Layer::verified(descriptor, Once::new(Bytes::copy_from_slice(bytes)))
    }

    fn packed(bytes: &[u8], to: Compression) -> (Vec<u8>, Descriptor) {
        let recompress = Recompress::new(to);
        let mut layer = layer(bytes).pipe(Some(&recompress)).unwrap().measured();
        let mut out = Vec::new();
        while let Some(chunk) = layer.next().unwrap() {
            out.extend_from_slice(&chunk);
        }
        (out, layer.finish().unwrap())
    }

    fn zstd() -> Compression {
        Compression::Zstd(ZstdLevel::default())
    }

    fn key() -> TransformKey {
        TransformKey::new(sha256(b"source"), zstd())
    }

    #[test]
    fn remembers_what_a_layer_became() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TransformCache::new(folder.path().join("not/yet"));
        assert_eq!(cache.propose(&key()), None);
        let (blob, made) = packed(PLAIN, zstd());
        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
        let proposal = cache.propose(&key()).unwrap();
        assert_eq!((proposal.digest(), proposal.size()), (&made.digest, made.size));
        let confirmed = proposal.confirm(layer(&blob), &sha256(PLAIN), &Scope::new()).unwrap();
        assert_eq!((confirmed.digest(), confirmed.size()), (&made.digest, made.size));
    }

    #[test]
    fn knows_sources_codecs_and_levels_apart() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TransformCache::new(folder.path());
        let (_, made) = packed(PLAIN, zstd());
        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
        for other in [
            TransformKey::new(sha256(b"other"), zstd()),
            TransformKey::new(sha256(b"source"), Compression::Zstd(ZstdLevel::new(4).unwrap())),
            TransformKey::new(sha256(b"source"), Compression::Gzip(GzipLevel::new(3).unwrap())),
            TransformKey::new(sha256(b"source"), Compression::None),
        ] {
            assert_eq!(cache.propose(&other), None, "{other:?}");
        }
    }

    #[test]
    fn takes_no_proposal_at_its_word() {
        let (blob, made) = packed(PLAIN, zstd());
        let (foreign, foreign_made) = packed(b"something else", zstd());
        let (gzip, gzip_made) = packed(PLAIN, Compression::Gzip(GzipLevel::default()));
        let folder = tempfile::tempdir().unwrap();
        let cache = TransformCache::new(folder.path());
        let try_confirm = |made: &Descriptor, claimed: &[u8], blob: &[u8]| {
            cache.record(&key(), made, &sha256(claimed)).unwrap();
            let proposal = cache.propose(&key()).unwrap();
            proposal.confirm(layer(blob), &sha256(PLAIN), &Scope::new())
        };
        try_confirm(&made, PLAIN, &blob).unwrap();
        // A foreign layer, honest about its diffID or not.
        let error = try_confirm(&foreign_made, b"something else", &foreign).unwrap_err();
        assert!(matches!(error, LayerError::DiffId { .. }), "{error:?}");
        let error = try_confirm(&foreign_made, PLAIN, &foreign).unwrap_err();
        assert!(matches!(error, LayerError::DiffId { .. }), "{error:?}");
        // Another blob than the one proposed.
        let error = try_confirm(&foreign_made, PLAIN, &blob).unwrap_err();
        assert!(matches!(error, LayerError::Altered { .. }), "{error:?}");
        // The right bytes in the wrong format, which would be labelled wrongly.
        let error = try_confirm(&gzip_made, PLAIN, &gzip).unwrap_err();
        assert!(matches!(error, LayerError::Format { .. }), "{error:?}");
        let scope = Scope::new();
        scope.cancel();
        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
        let proposal = cache.propose(&key()).unwrap();
        assert!(proposal.clone().confirm(layer(&blob), &sha256(PLAIN), &scope).is_err());
        assert_eq!(proposal.dangerous_trust().digest(), &made.digest);
    }

    #[test]
    fn damaged_entries_are_as_good_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TransformCache::new(folder.path());
        let (_, made) = packed(PLAIN, zstd());
        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
        let path = cache.path(&key());
        let good = std::fs::read(&path).unwrap();
        for cut in 0..good.len() {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(cache.propose(&key()), None, "cut at {cut}");
            let mut flipped = good.clone();
            flipped[cut] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            assert_eq!(cache.propose(&key()), None, "flipped at {cut}");
        }
        for more in [&b"x"[..], b"\n", &vec![b'x'; 10_000]] {
            std::fs::write(&path, [&good, more].concat()).unwrap();
            assert_eq!(cache.propose(&key()), None);
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(cache.propose(&key()), None);
        assert!(matches!(
            cache.record(&key(), &made, &sha256(PLAIN)),
            Err(LayerError::Cache { .. })
        ));
    }

    #[test]
    fn an_entry_is_whole_whoever_else_writes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = TransformCache::new(folder.path());
        let (_, made) = packed(PLAIN, zstd());
        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        cache.record(&key(), &made, &sha256(PLAIN)).unwrap();
                    }
                });
            }
            for _ in 0..2000 {
                assert!(cache.propose(&key()).is_some());
            }
            stop.store(true, Ordering::Relaxed);
        });
        let shelf = cache.path(&key());
        let files = std::fs::read_dir(shelf.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing is left behind");
    }

    #[test]
    fn the_recipe_names_the_library_that_is_linked() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        let (name, version) = GZIP_RECIPE.split(' ').next().unwrap().rsplit_once('-').unwrap();
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "GZIP_RECIPE is out of date");
    }

    #[test]
    fn the_bytes_are_those_of_the_recipe() {
        let mut plain = Vec::new();
        for n in 0..100_000_u32 {
            plain.extend_from_slice(format!("{} ", n.wrapping_mul(2_654_435_761) >> 16).as_bytes());
        }
        let gzip = Compression::Gzip(GzipLevel::new(6).unwrap());
        for (to, expected) in [
            (gzip, "5624df92d62d050daa7eb415221c406d53a59a70a9e25c250eadc240de769dd6"),
            (zstd(), "9be771e34c5641ee4e223c4c738c0e5a5afeb1e8073c35038a4555771febc64a"),
        ] {
            // A change of these digests needs a change of the recipe.
            assert_eq!(packed(&plain, to).1.digest.hex(), expected);
        }
    }
}
