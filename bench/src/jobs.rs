//! What is measured.

use std::time::Duration;

use anyhow::Result;

use crate::data;
use crate::kernels::{self, Kernels};
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
        from: (std::net::SocketAddr, &'static str),
        to: (std::net::SocketAddr, &'static str),
    },
    /// The program alone.
    Version,
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
    job("registry-cold", "registry to registry, nothing there", registry_cold, registry_floor),
    job("registry-warm", "registry to registry, everything there", registry_warm, no_floor),
    job("registry-one-of-ten", "one changed layer of ten", one_of_ten, no_floor),
    job("oci-oci", "layout to layout", oci_to_oci, |lab| {
        by_bytes(lab, |k, c, _| c * (k.sha256 + k.read + k.write))
    }),
    job("decompress", "layout to folder, decompressing", decompress, |lab| {
        by_bytes(lab, |k, c, p| c * (k.sha256 + k.read) + p * (k.gunzip + 2.0 * k.sha256 + k.write))
    }),
    job("compress", "folder to layout, compressing", compress, |lab| {
        by_bytes(lab, |k, c, p| p * (k.sha256 + k.read + k.gzip) + c * (k.sha256 + k.write))
    }),
    job("gzip-zstd", "layout to layout, gzip to zstd", zstd, |lab| {
        by_bytes(lab, |k, c, p| {
            c * (2.0 * k.sha256 + k.read + k.write) + p * (k.gunzip + k.sha256 + k.zstd)
        })
    }),
    job("encrypt", "layout to layout, encrypting every layer", encrypt, |lab| {
        by_bytes(lab, |k, c, _| c * (2.0 * k.sha256 + k.hmac + k.ctr + k.read + k.write))
    }),
    job("decrypt", "layout to layout, decrypting every layer", decrypt, |lab| {
        by_bytes(lab, |k, c, p| {
            c * (2.0 * k.sha256 + k.hmac + k.ctr + 2.0 * (k.read + k.write))
                + p * (k.gunzip + k.sha256)
        })
    }),
    job("gate-off", "registry to layout, no policy", gate_off, no_floor),
    job(
        "gate-sigstore",
        "registry to layout, sigstore signature required",
        gate_sigstore,
        no_floor,
    ),
    job("gate-openpgp", "registry to layout, OpenPGP signature required", gate_openpgp, no_floor),
    job(
        "sign",
        "registry to registry, an index and its two images signed with OpenPGP",
        sign,
        no_floor,
    ),
    job(
        "small-cold",
        "200 small images, registry to registry, nothing there",
        small_cold,
        small_floor,
    ),
    job("small-warm", "200 small images, everything there", small_warm, no_floor),
    job(
        "tags-near-cold",
        "20 tags of two platforms, nothing there",
        |lab| tags(lab, 0, false),
        no_floor,
    ),
    job(
        "tags-near-warm",
        "20 tags of two platforms, everything there",
        |lab| tags(lab, 0, true),
        no_floor,
    ),
    job(
        "tags-far-cold",
        "20 tags of two platforms, 50 ms a request, nothing there",
        |lab| tags(lab, 50, false),
        no_floor,
    ),
    job(
        "tags-far-warm",
        "20 tags of two platforms, 50 ms a request, everything there",
        |lab| tags(lab, 50, true),
        no_floor,
    ),
    apart("huge-registry", "one layer of 4 GiB, registry to registry", huge_registry),
    apart("huge-oci", "one layer of 4 GiB, layout to layout", |lab| huge(lab, Change::Nothing)),
    apart("huge-zstd", "one layer of 4 GiB, to zstd", |lab| huge(lab, Change::Zstd)),
    apart("huge-gzip", "one layer of 4 GiB, to gzip", |lab| huge(lab, Change::Compress)),
    apart("huge-encrypt", "one layer of 4 GiB, encrypting", |lab| {
        let [public, _] = layer_key(lab)?;
        huge(lab, Change::Encrypt(public))
    }),
    apart("huge-decrypt", "one layer of 4 GiB, decrypting", huge_decrypt),
];

impl Step {
    /// The command line; `None` if the tool has no such thing.
    pub(crate) fn command(&self, tool: &Tool) -> Option<Vec<String>> {
        let program = tool.path.display().to_string();
        match self {
            Self::Copy(task) => tool.command(task),
            Self::Version => Some(vec![program, "--version".to_owned()]),
            Self::Many { from, to } => {
                let (from, to) = (format!("{}/{}", from.0, from.1), format!("{}/{}", to.0, to.1));
                let host = to.split('/').next().unwrap_or_default();
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

fn registry_floor(lab: &mut Lab) -> Result<Floor> {
    let address = lab.empty_registry()?;
    let images = [(lab.real.fixture.clone(), "raw".to_owned(), "v1".to_owned())];
    let wall = kernels::raw_upload(address, &images, 6)?;
    let floor = by_bytes(lab, |k, c, _| c * (k.sha256 + k.get + k.put))?;
    Ok(Floor { wall: Some(wall), ..floor })
}

fn small_floor(lab: &mut Lab) -> Result<Floor> {
    let address = lab.empty_registry()?;
    let wall = kernels::raw_upload(address, &lab.small, 8)?;
    Ok(Floor { cpu: 0.0, wall: Some(wall) })
}

fn plain_copy(from: Place, to: Place) -> Step {
    Step::Copy(Task { from, to, change: Change::Nothing, all: false })
}

fn at(address: std::net::SocketAddr, repository: &str, tag: &'static str) -> Place {
    Place::Registry { address, repository: repository.to_owned(), tag: Some(tag) }
}

fn registry_cold(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    Ok(plain_copy(lab.at_source("real", Some("v1")), at(to, "real", "v1")))
}

fn registry_warm(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    lab.real.fixture.push(to, "real", Some("v1"))?;
    Ok(plain_copy(lab.at_source("real", Some("v1")), at(to, "real", "v1")))
}

fn one_of_ten(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    lab.ten[0].push(to, "ten", Some("v1"))?;
    Ok(plain_copy(lab.at_source("ten", Some("v2")), at(to, "ten", "v2")))
}

fn real_to_layout(lab: &mut Lab, change: Change) -> Result<Step> {
    let (from, to) = (Place::Oci(lab.real.layout.clone()), Place::Oci(lab.nothing_at("out")?));
    Ok(Step::Copy(Task { from, to, change, all: false }))
}

fn oci_to_oci(lab: &mut Lab) -> Result<Step> {
    real_to_layout(lab, Change::Nothing)
}

fn zstd(lab: &mut Lab) -> Result<Step> {
    real_to_layout(lab, Change::Zstd)
}

fn decompress(lab: &mut Lab) -> Result<Step> {
    let (from, to) = (Place::Oci(lab.real.layout.clone()), Place::Dir(lab.nothing_at("out")?));
    Ok(Step::Copy(Task { from, to, change: Change::Decompress, all: false }))
}

fn compress(lab: &mut Lab) -> Result<Step> {
    let plain = lab.folder.join("plain");
    if !plain.exists() {
        let (from, to) =
            (format!("oci:{}:v1", lab.real.layout.display()), format!("dir:{}", plain.display()));
        lab.prepare(&["--insecure-policy", "copy", "--quiet", "--dest-decompress", &from, &to])?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    Ok(Step::Copy(Task { from: Place::Dir(plain), to, change: Change::Compress, all: false }))
}

/// Paths of a fresh RSA key pair, the public half first.
fn layer_key(lab: &Lab) -> Result<[std::path::PathBuf; 2]> {
    let [public, private] = ["layer.pub.pem", "layer.pem"].map(|name| lab.folder.join(name));
    if !private.exists() {
        let (public, private) = (public.display().to_string(), private.display().to_string());
        lab.helper("openssl", &["genrsa", "-out", &private, "3072"])?;
        lab.helper("openssl", &["rsa", "-in", &private, "-pubout", "-out", &public])?;
    }
    Ok([public, private])
}

fn encrypt(lab: &mut Lab) -> Result<Step> {
    let [public, _] = layer_key(lab)?;
    real_to_layout(lab, Change::Encrypt(public))
}

fn decrypt(lab: &mut Lab) -> Result<Step> {
    let [public, private] = layer_key(lab)?;
    let encrypted = lab.folder.join("encrypted");
    if !encrypted.exists() {
        let (from, to) = (
            format!("oci:{}:v1", lab.real.layout.display()),
            format!("oci:{}:v1", encrypted.display()),
        );
        let key = format!("jwe:{}", public.display());
        lab.prepare(&[
            "--insecure-policy",
            "copy",
            "--quiet",
            "--encryption-key",
            &key,
            &from,
            &to,
        ])?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    Ok(Step::Copy(Task {
        from: Place::Oci(encrypted),
        to,
        change: Change::Decrypt(private),
        all: false,
    }))
}

/// The image with the huge layer, made when it is first wanted.
fn huge_layout(lab: &Lab) -> Result<std::path::PathBuf> {
    let folder = lab.folder.join("huge");
    let layout = folder.join("layout");
    if !layout.exists() {
        data::huge_image(&folder, &lab.real.sample, lab.sizes.huge_bytes)?;
    }
    Ok(layout)
}

fn huge(lab: &mut Lab, change: Change) -> Result<Step> {
    let from = Place::Oci(huge_layout(lab)?);
    Ok(Step::Copy(Task { from, to: Place::Oci(lab.nothing_at("out")?), change, all: false }))
}

fn huge_registry(lab: &mut Lab) -> Result<Step> {
    let layout = format!("oci:{}:v1", huge_layout(lab)?.display());
    let source = lab.near.address();
    let there = format!("docker://{source}/huge:v1");
    lab.prepare(&[
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        &layout,
        &there,
    ])?;
    let (_, to) = lab.far(Duration::ZERO)?;
    Ok(plain_copy(at(source, "huge", "v1"), at(to, "huge", "v1")))
}

fn huge_decrypt(lab: &mut Lab) -> Result<Step> {
    let [public, private] = layer_key(lab)?;
    let encrypted = lab.folder.join("huge-encrypted");
    if !encrypted.exists() {
        let from = format!("oci:{}:v1", huge_layout(lab)?.display());
        let (key, to) =
            (format!("jwe:{}", public.display()), format!("oci:{}:v1", encrypted.display()));
        lab.prepare(&[
            "--insecure-policy",
            "copy",
            "--quiet",
            "--encryption-key",
            &key,
            &from,
            &to,
        ])?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    Ok(Step::Copy(Task {
        from: Place::Oci(encrypted),
        to,
        change: Change::Decrypt(private),
        all: false,
    }))
}

const SIGNER: &str = "bench@release.example";

/// A key, a policy that trusts it, and a place for signatures.
fn signing(lab: &Lab) -> Result<[std::path::PathBuf; 2]> {
    let [policy, registries_d, key] =
        ["policy.json", "registries.d", "bench.asc"].map(|name| lab.folder.join(name));
    if policy.exists() {
        return Ok([policy, registries_d]);
    }
    let batch = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-gen-key",
        SIGNER,
        "ed25519",
        "sign",
    ];
    lab.helper("gpg", &batch)?;
    std::fs::write(&key, lab.helper("gpg", &["--armor", "--export", SIGNER])?)?;
    std::fs::create_dir_all(&registries_d)?;
    let store = lab.folder.join("sigstore");
    let stores = format!(
        "default-docker:\n  sigstore: file://{0}\n  sigstore-staging: file://{0}\n",
        store.display()
    );
    std::fs::write(registries_d.join("default.yaml"), stores)?;
    let rule = serde_json::json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": key, "signedIdentity": {"type": "matchRepository"}}]);
    let text =
        serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": {"": rule}}});
    std::fs::write(&policy, text.to_string())?;
    Ok([policy, registries_d])
}

fn gate_off(lab: &mut Lab) -> Result<Step> {
    let to = Place::Oci(lab.nothing_at("out")?);
    Ok(plain_copy(lab.at_source("ten", Some("v1")), to))
}

fn gate_openpgp(lab: &mut Lab) -> Result<Step> {
    let [policy, registries_d] = signing(lab)?;
    if !lab.folder.join("sigstore").exists() {
        let (from, to) = (
            format!("docker://{}/ten:v1", lab.source.address()),
            format!("docker://{}/signed:v1", lab.source.address()),
        );
        let folder = registries_d.display().to_string();
        lab.prepare(&[
            "--insecure-policy",
            "--registries.d",
            &folder,
            "copy",
            "--quiet",
            "--sign-by",
            SIGNER,
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &from,
            &to,
        ])?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    let change = Change::Judge { policy, registries_d };
    Ok(Step::Copy(Task { from: lab.at_source("signed", Some("v1")), to, change, all: false }))
}

/// As [`gate_openpgp`], with a signature that is attached in the registry.
fn gate_sigstore(lab: &mut Lab) -> Result<Step> {
    let [policy, registries_d, prefix, passphrase] =
        ["sigstore.json", "attached.d", "cosign", "passphrase"].map(|name| lab.folder.join(name));
    if !policy.exists() {
        std::fs::create_dir_all(&registries_d)?;
        let attached = "default-docker:\n  use-sigstore-attachments: true\n";
        std::fs::write(registries_d.join("default.yaml"), attached)?;
        std::fs::write(&passphrase, "open sesame\n")?;
        let words = [&prefix, &passphrase, &registries_d].map(|path| path.display().to_string());
        let [prefix, passphrase, folder] = words.each_ref().map(String::as_str);
        lab.prepare(&[
            "generate-sigstore-key",
            "--output-prefix",
            prefix,
            "--passphrase-file",
            passphrase,
        ])?;
        let key = format!("{prefix}.private");
        let [from, to] =
            ["ten", "attached"].map(|name| format!("docker://{}/{name}:v1", lab.source.address()));
        lab.prepare(&[
            "--insecure-policy",
            "--registries.d",
            folder,
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--sign-by-sigstore-private-key",
            &key,
            "--sign-passphrase-file",
            passphrase,
            &from,
            &to,
        ])?;
        let rule = serde_json::json!([{"type": "sigstoreSigned", "keyPath": format!("{prefix}.pub"),
            "signedIdentity": {"type": "matchRepository"}}]);
        let text = serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": {"": rule}}});
        std::fs::write(&policy, text.to_string())?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    let change = Change::Judge { policy, registries_d };
    Ok(Step::Copy(Task { from: lab.at_source("attached", Some("v1")), to, change, all: false }))
}

fn sign(lab: &mut Lab) -> Result<Step> {
    let [_, registries_d] = signing(lab)?;
    let to = lab.empty_registry()?;
    let from = at(lab.near.address(), "many", "v0");
    let change = Change::Sign { key: SIGNER, registries_d };
    Ok(Step::Copy(Task { from, to: at(to, "many", "v0"), change, all: true }))
}

fn small_cold(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    Ok(Step::Many { from: (lab.source.address(), "small"), to: (to, "small") })
}

fn small_warm(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    kernels::in_parallel(4, &lab.small, |(image, repository, tag)| {
        Ok(image.push(to, repository, Some(tag))?)
    })?;
    Ok(Step::Many { from: (lab.source.address(), "small"), to: (to, "small") })
}

fn tags(lab: &mut Lab, milliseconds: u64, warm: bool) -> Result<Step> {
    let (from, to) = lab.far(Duration::from_millis(milliseconds))?;
    let step = Step::Many { from: (from, "many"), to: (to, "many") };
    if warm && let Some(command) = step.command(lab.ours()) {
        crate::measure::run(&command, &lab.folder)?;
    }
    Ok(step)
}
