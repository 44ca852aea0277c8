//! Images made of this machine's own files.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use securecp_layer::{Compression, FileChunks, GzipLevel, Recompress};
use securecp_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use securecp_testkit::{Blob, Content, Fixture, Layer, Noise};

/// How much data there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) layers: usize,
    pub(crate) plain_bytes: u64,
    pub(crate) huge_bytes: u64,
    pub(crate) small_images: usize,
    pub(crate) tags: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        layers: 8,
        plain_bytes: 1_050_000_000,
        huge_bytes: 4 << 30,
        small_images: 200,
        tags: 20,
    };
    pub(crate) const QUICK: Self = Self {
        layers: 6,
        plain_bytes: 120_000_000,
        huge_bytes: 256 << 20,
        small_images: 20,
        tags: 4,
    };
}

/// An image of real files, in a layout.
#[derive(Debug)]
pub(crate) struct RealImage {
    pub(crate) layout: PathBuf,
    pub(crate) fixture: Fixture,
    /// Bytes of all layers as they are and decompressed.
    pub(crate) compressed: u64,
    pub(crate) plain: u64,
    /// One of its layers, decompressed, to measure kernels with.
    pub(crate) sample: PathBuf,
}

/// Layers of about the same size, filled with files in order.
pub(crate) fn real_image(folder: &Path, sizes: &Sizes) -> Result<RealImage> {
    fs::create_dir_all(folder)?;
    let mut files = Files::new();
    let share = sizes.plain_bytes / sizes.layers as u64;
    let mut layers = Vec::new();
    let (mut compressed, mut plain) = (0, 0);
    let sample = folder.join("layer-0.tar");
    for number in 0..sizes.layers {
        let tar = folder.join(format!("layer-{number}.tar"));
        plain += files.archive(&tar, share)?;
        let layer = compress(&tar)?;
        compressed += layer.blob.size;
        layers.push(layer);
        if tar != sample {
            fs::remove_file(&tar)?;
        }
    }
    let fixture = Fixture::image("amd64", &layers);
    let layout = folder.join("layout");
    let _ = fs::remove_dir_all(&layout);
    fixture.write_layout(&layout, Some("v1"))?;
    Ok(RealImage { layout, fixture, compressed, plain, sample })
}

/// Plain layers of so many bytes each: the files of `from` over and over, so that they compress as layers do.
pub(crate) fn huge_image(folder: &Path, from: &Path, sizes: &[u64]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let unit = fs::read(from)?;
    let mut layers = Vec::new();
    for (number, bytes) in sizes.iter().enumerate() {
        let tar = folder.join(format!("{number}.tar"));
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&tar)?);
        let mut left = *bytes;
        for turn in 0.. {
            if left == 0 {
                break;
            }
            // A part of its own keeps one turn from being the same as any other.
            let seed = (number as u64) << 32 | turn;
            std::io::copy(&mut Noise::new(seed + 1, (1 << 20).min(left)), &mut out)?;
            left -= (1 << 20).min(left);
            let part = unit.len().min(usize::try_from(left)?);
            out.write_all(&unit[..part])?;
            left -= part as u64;
        }
        out.flush()?;
        let diff_id = digest_of(&tar)?;
        let (media_type, content) = (MediaType::OCI_LAYER, Content::File(tar));
        let blob = Blob { media_type, digest: diff_id.clone(), size: *bytes, content };
        layers.push(Layer { blob, diff_id });
    }
    Fixture::image("amd64", &layers).write_layout(&folder.join("layout"), Some("v1"))?;
    for number in 0..sizes.len() {
        fs::remove_file(folder.join(format!("{number}.tar")))?;
    }
    Ok(())
}

/// Ten layers of eight MiB that do not compress; `version` decides the last one.
pub(crate) fn ten_layers(folder: &Path, version: u64) -> Result<Fixture> {
    fs::create_dir_all(folder)?;
    let seeds = (1..10).chain([100 + version]);
    let layers: securecp_testkit::Result<Vec<Layer>> =
        seeds.map(|seed| Layer::incompressible(folder, seed, 8)).collect();
    Ok(Fixture::image("amd64", &layers?))
}

/// A small image unlike every other one.
pub(crate) fn small_image(number: u64, architecture: &str) -> Result<Fixture> {
    let noise = |seed: u64, length: u64| {
        let mut bytes = Vec::new();
        Noise::new(seed, length).read_to_end(&mut bytes).map(|_| bytes)
    };
    let (own, more) = (noise(2 * number + 1, 8 << 10)?, noise(2 * number + 2, 24 << 10)?);
    let layers = [
        Layer::gzip(&[("usr/bin/app", own.as_slice())])?,
        Layer::gzip(&[("usr/share/app/data", more.as_slice())])?,
    ];
    Ok(Fixture::image(architecture, &layers))
}

/// Two platforms under one index.
pub(crate) fn small_index(number: u64) -> Result<Fixture> {
    let first = small_image(1_000_000 + 2 * number, "amd64")?;
    Ok(Fixture::index(&[first, small_image(1_000_001 + 2 * number, "arm64")?]))
}

/// Compresses an archive as a layer, beside it.
fn compress(tar: &Path) -> Result<Layer> {
    let diff_id = digest_of(tar)?;
    let size = fs::metadata(tar)?.len();
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, diff_id.clone(), size);
    let gzip = Recompress::new(Compression::Gzip(GzipLevel::new(6)?));
    let source = securecp_layer::Layer::verified(descriptor, FileChunks::new(File::open(tar)?));
    let mut layer = source.pipe(Some(&gzip))?.measured();
    let path = tar.with_extension("tar.gz");
    let mut out = File::create(&path)?;
    while let Some(chunk) = layer.next()? {
        out.write_all(&chunk)?;
    }
    let made = layer.finish()?;
    let blob = Blob {
        media_type: made.media_type,
        digest: made.digest,
        size: made.size,
        content: Content::File(path),
    };
    Ok(Layer { blob, diff_id })
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// This machine's files, programs and libraries and documents in turn, each once.
struct Files {
    waiting: Vec<PathBuf>,
}

/// Larger files would make a layer of one kind of data.
const LARGEST: u64 = 32 << 20;

impl Files {
    fn new() -> Self {
        let roots = ["/usr/share", "/usr/lib", "/usr/bin"];
        Self { waiting: roots.iter().map(PathBuf::from).collect() }
    }

    /// The next regular file that can be read.
    fn next(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        while let Some(path) = self.waiting.pop() {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
                inside.sort();
                self.waiting.extend(inside);
            } else if metadata.is_file()
                && metadata.len() <= LARGEST
                && let Ok(bytes) = fs::read(&path)
            {
                return Some((path, bytes));
            }
        }
        None
    }

    /// Writes files of `bytes` in all to an archive; returns the archive's size.
    fn archive(&mut self, path: &Path, bytes: u64) -> Result<u64> {
        let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut archive = tar::Builder::new(out);
        let mut written = 0;
        while written < bytes {
            let Some((name, content)) = self.next() else { break };
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let inside = name.strip_prefix("/").unwrap_or(&name);
            archive.append_data(&mut header, inside, content.as_slice())?;
            written += content.len() as u64;
        }
        ensure!(written > bytes / 2, "this machine has too few files for the benchmark's image");
        archive.into_inner()?.flush()?;
        Ok(fs::metadata(path)?.len())
    }
}
