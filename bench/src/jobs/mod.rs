//! What is measured.

mod gates;
mod huge;
mod many;
mod real;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::kernels::Kernels;
use crate::lab::Lab;
use crate::tools::{Change, Kind, Place, Task, Tool};

/// What a job cannot do without.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Floor {
    /// CPU seconds of the kernels.
    pub(crate) cpu: f64,
    /// Wall seconds that a registry needs for the same blobs and manifests, sent raw.
    pub(crate) wall: Option<f64>,
}

/// Makes the destination as it is to be and says what to run; called before every single run, unmeasured.
type Setup = fn(&mut Lab) -> Result<Step>;

/// What one run does.
pub(crate) enum Step {
    Copy(Task),
    /// Every tag of a repository.
    Many {
        from: Repository,
        to: Repository,
    },
    /// The program alone.
    Version,
}

/// A repository of a registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repository {
    pub(crate) registry: SocketAddr,
    pub(crate) path: &'static str,
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Run only when it is named.
    pub(crate) apart: bool,
    pub(crate) setup: Setup,
    pub(crate) floor: fn(&mut Lab) -> Result<Floor>,
}

const fn job(
    name: &'static str,
    what: &'static str,
    setup: Setup,
    floor: fn(&mut Lab) -> Result<Floor>,
) -> Job {
    Job { name, what, apart: false, setup, floor }
}

/// A job that takes long and much room, with nothing but the cost of each tool.
const fn apart(name: &'static str, what: &'static str, setup: Setup) -> Job {
    Job { name, what, apart: true, setup, floor: no_floor }
}

pub(crate) const JOBS: &[Job] = &[
    job("start-up", "securecp --version", |_| Ok(Step::Version), no_floor),
    job(
        "registry-cold",
        "registry to registry, nothing there",
        real::registry_cold,
        real::registry_floor,
    ),
    job("registry-warm", "registry to registry, everything there", real::registry_warm, no_floor),
    job("registry-one-of-ten", "one changed layer of ten", real::one_of_ten, no_floor),
    job("oci-oci", "layout to layout", real::oci_to_oci, |lab| {
        by_bytes(lab, |k, c, _| c * (k.sha256 + k.read + k.write))
    }),
    job("decompress", "layout to folder, decompressing", real::decompress, |lab| {
        by_bytes(lab, |k, c, p| c * (k.sha256 + k.read) + p * (k.gunzip + 2.0 * k.sha256 + k.write))
    }),
    job("compress", "folder to layout, compressing", real::compress, |lab| {
        by_bytes(lab, |k, c, p| p * (k.sha256 + k.read + k.gzip) + c * (k.sha256 + k.write))
    }),
    job("gzip-zstd", "layout to layout, gzip to zstd", real::zstd, |lab| {
        by_bytes(lab, |k, c, p| {
            c * (2.0 * k.sha256 + k.read + k.write) + p * (k.gunzip + k.sha256 + k.zstd)
        })
    }),
    job("encrypt", "layout to layout, encrypting every layer", real::encrypt, |lab| {
        by_bytes(lab, |k, c, _| c * (2.0 * k.sha256 + k.hmac + k.ctr + k.read + k.write))
    }),
    job("decrypt", "layout to layout, decrypting every layer", real::decrypt, |lab| {
        by_bytes(lab, |k, c, p| {
            c * (2.0 * k.sha256 + k.hmac + k.ctr + 2.0 * (k.read + k.write))
                + p * (k.gunzip + k.sha256)
        })
    }),
    job("gate-off", "registry to layout, no policy", gates::gate_off, no_floor),
    job(
        "gate-sigstore",
        "registry to layout, sigstore signature required",
        gates::gate_sigstore,
        no_floor,
    ),
    job(
        "gate-openpgp",
        "registry to layout, OpenPGP signature required",
        gates::gate_openpgp,
        no_floor,
    ),
    job(
        "sign",
        "registry to registry, an index and its two images signed with OpenPGP",
        gates::sign,
        no_floor,
    ),
    job(
        "small-cold",
        "200 small images, registry to registry, nothing there",
        many::small_cold,
        many::small_floor,
    ),
    job("small-warm", "200 small images, everything there", many::small_warm, no_floor),
    job(
        "tags-near-cold",
        "20 tags of two platforms, nothing there",
        |lab| many::tags(lab, 0, false),
        no_floor,
    ),
    job(
        "tags-near-warm",
        "20 tags of two platforms, everything there",
        |lab| many::tags(lab, 0, true),
        no_floor,
    ),
    job(
        "tags-far-cold",
        "20 tags of two platforms, 50 ms a request, nothing there",
        |lab| many::tags(lab, 50, false),
        no_floor,
    ),
    job(
        "tags-far-warm",
        "20 tags of two platforms, 50 ms a request, everything there",
        |lab| many::tags(lab, 50, true),
        no_floor,
    ),
    apart("huge-oci", "one layer of 4 GiB, layout to layout", |lab| {
        huge::changed(lab, Change::Nothing)
    }),
    apart("huge-up", "one layer of 4 GiB, layout to registry", huge::up),
    apart("huge-registry", "one layer of 4 GiB, registry to registry", huge::across),
    apart("huge-down", "one layer of 4 GiB, registry to layout", huge::down),
    apart("huge-gzip", "one layer of 4 GiB, to gzip", |lab| huge::changed(lab, Change::Compress)),
    apart("huge-zstd", "one layer of 4 GiB, to zstd", |lab| huge::changed(lab, Change::Zstd)),
    apart("huge-decompress", "one layer of 4 GiB, from gzip to a folder", huge::decompress),
    apart("huge-gzip-zstd", "one layer of 4 GiB, gzip to zstd", huge::gzip_to_zstd),
    apart("huge-encrypt", "one layer of 4 GiB, encrypting", huge::encrypt),
    apart("huge-decrypt", "one layer of 4 GiB, decrypting", huge::decrypt),
    apart("eight-up", "eight layers of 512 MiB, layout to registry", huge::eight_up),
    apart("eight-registry", "eight layers of 512 MiB, registry to registry", huge::eight_across),
    apart("eight-gzip", "eight layers of 512 MiB, to gzip", |lab| {
        huge::eight(lab, Change::Compress)
    }),
    apart("eight-zstd", "eight layers of 512 MiB, to zstd", |lab| huge::eight(lab, Change::Zstd)),
];

impl Step {
    /// The command line; `None` if the tool has no such thing.
    pub(crate) fn command(&self, tool: &Tool) -> Option<Vec<String>> {
        let program = tool.path.display().to_string();
        match self {
            Self::Copy(task) => tool.command(task),
            Self::Version => Some(vec![program, "--version".to_owned()]),
            Self::Many { from, to } => {
                let host = to.registry;
                let line = match tool.kind {
                    Kind::Securecp => format!(
                        "--insecure-policy copy --quiet --all --all-tags --src-tls-verify=false --dest-tls-verify=false docker://{from} docker://{to}"
                    ),
                    Kind::Skopeo => format!(
                        "--insecure-policy sync --all --src docker --dest docker --src-tls-verify=false --dest-tls-verify=false {from} {host}"
                    ),
                    Kind::Crane => format!("copy --insecure --all-tags {from} {to}"),
                    Kind::Regctl => return None,
                };
                Some(std::iter::once(program).chain(line.split(' ').map(str::to_owned)).collect())
            }
        }
    }
}

fn no_floor(_: &mut Lab) -> Result<Floor> {
    Ok(Floor::default())
}

/// A floor of the real image's compressed and plain bytes.
fn by_bytes(lab: &mut Lab, cpu: fn(&Kernels, f64, f64) -> f64) -> Result<Floor> {
    let (compressed, plain) = (lab.real.compressed as f64, lab.real.plain as f64);
    Ok(Floor { cpu: cpu(&lab.kernels, compressed, plain), wall: None })
}

fn plain_copy(from: Place, to: Place) -> Step {
    Step::Copy(Task { from, to, change: Change::Nothing, all: false })
}

fn at(address: SocketAddr, repository: &str, tag: &'static str) -> Place {
    Place::Registry { address, repository: repository.to_owned(), tag: Some(tag) }
}

fn named_layout(layout: &Path) -> String {
    format!("oci:{}:v1", layout.display())
}

/// Runs our own tool once, to make what a job starts from.
fn prepare_copy(lab: &Lab, options: &[&str], from: &str, to: &str) -> Result<()> {
    let mut words = vec!["--insecure-policy", "copy", "--quiet"];
    words.extend(options);
    words.extend([from, to]);
    lab.prepare(&words)
}
