//! One image of real files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Floor, Step, at, named_layout, plain_copy, prepare_copy};
use crate::lab::Lab;
use crate::raw;
use crate::tools::{Change, Place, Task};

/// What no client can do without is measured with the plainest one between the same registries: how a connection brings its
/// bytes depends on who sends them.
pub(super) fn registry_floor(lab: &mut Lab) -> Result<Floor> {
    let images = [(lab.real.fixture.clone(), "raw".to_owned(), "v1".to_owned())];
    let (source, blobs) = (lab.source.address(), &images[0].0.blobs);
    let mut cpu = f64::MAX;
    for _ in 0..3 {
        let target = lab.empty_registry()?;
        cpu = cpu.min(raw::relay((source, "real"), (target, "relay"), blobs, 6)?);
    }
    let wall = raw::copy(None, lab.empty_registry()?, &images, 6)?;
    Ok(Floor { cpu, wall: Some(wall) })
}

pub(super) fn registry_cold(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    Ok(plain_copy(lab.at_source("real", Some("v1")), at(to, "real", "v1")))
}

pub(super) fn registry_warm(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    lab.real.fixture.push(to, "real", Some("v1"))?;
    Ok(plain_copy(lab.at_source("real", Some("v1")), at(to, "real", "v1")))
}

pub(super) fn one_of_ten(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    lab.ten[0].push(to, "ten", Some("v1"))?;
    Ok(plain_copy(lab.at_source("ten", Some("v2")), at(to, "ten", "v2")))
}

fn real_to_layout(lab: &mut Lab, change: Change) -> Result<Step> {
    let (from, to) = (Place::Oci(lab.real.layout.clone()), Place::Oci(lab.nothing_at("out")?));
    Ok(Step::Copy(Task { from, to, change, all: false }))
}

pub(super) fn oci_to_oci(lab: &mut Lab) -> Result<Step> {
    real_to_layout(lab, Change::Nothing)
}

pub(super) fn zstd(lab: &mut Lab) -> Result<Step> {
    real_to_layout(lab, Change::Zstd)
}

pub(super) fn decompress(lab: &mut Lab) -> Result<Step> {
    let (from, to) = (Place::Oci(lab.real.layout.clone()), Place::Dir(lab.nothing_at("out")?));
    Ok(Step::Copy(Task { from, to, change: Change::Decompress, all: false }))
}

pub(super) fn compress(lab: &mut Lab) -> Result<Step> {
    let plain = lab.folder.join("plain");
    if !plain.exists() {
        let (from, to) = (named_layout(&lab.real.layout), format!("dir:{}", plain.display()));
        prepare_copy(lab, &["--dest-decompress"], &from, &to)?;
    }
    let to = Place::Oci(lab.nothing_at("out")?);
    Ok(Step::Copy(Task { from: Place::Dir(plain), to, change: Change::Compress, all: false }))
}

/// Paths of a fresh RSA key pair, the public half first.
pub(super) fn layer_key(lab: &Lab) -> Result<[PathBuf; 2]> {
    let [public, private] = ["layer.pub.pem", "layer.pem"].map(|name| lab.folder.join(name));
    if !private.exists() {
        let (public, private) = (public.display().to_string(), private.display().to_string());
        lab.helper("openssl", &["genrsa", "-out", &private, "3072"])?;
        lab.helper("openssl", &["rsa", "-in", &private, "-pubout", "-out", &public])?;
    }
    Ok([public, private])
}

pub(super) fn encrypt(lab: &mut Lab) -> Result<Step> {
    let [public, _] = layer_key(lab)?;
    real_to_layout(lab, Change::Encrypt(public))
}

pub(super) fn decrypt(lab: &mut Lab) -> Result<Step> {
    let layout = lab.real.layout.clone();
    decrypting(lab, &layout, "encrypted")
}

/// Decrypts what `layout` holds; encrypted into the folder `name` when it is first wanted.
pub(super) fn decrypting(lab: &Lab, layout: &Path, name: &str) -> Result<Step> {
    let [public, private] = layer_key(lab)?;
    let encrypted = lab.folder.join(name);
    if !encrypted.exists() {
        let key = format!("jwe:{}", public.display());
        let (from, to) = (named_layout(layout), named_layout(&encrypted));
        prepare_copy(lab, &["--encryption-key", &key], &from, &to)?;
    }
    let (from, to) = (Place::Oci(encrypted), Place::Oci(lab.nothing_at("out")?));
    Ok(Step::Copy(Task { from, to, change: Change::Decrypt(private), all: false }))
}
