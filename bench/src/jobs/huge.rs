//! One layer of 4 GiB, or eight that are as large together: what is looked at is memory.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::real::{decrypting, layer_key};
use super::{Step, at, named_layout, plain_copy, prepare_copy};
use crate::data;
use crate::lab::Lab;
use crate::tools::{Change, Place, Task};

/// The image with the huge layer, made when it is first wanted.
fn one(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.folder.join("huge");
    let layout = folder.join("layout");
    if !layout.exists() {
        data::huge_image(&folder, &lab.real.sample, &[lab.sizes.huge_bytes])?;
    }
    Ok(layout)
}

/// The image with eight large layers, likewise.
fn eight_layers(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.folder.join("eight");
    let layout = folder.join("layout");
    if !layout.exists() {
        data::huge_image(&folder, &lab.real.sample, &[lab.sizes.huge_bytes / 8; 8])?;
    }
    Ok(layout)
}

/// The huge layer in gzip.
fn packed(lab: &Lab) -> Result<PathBuf> {
    let layout = lab.folder.join("huge-packed");
    if !layout.exists() {
        let (from, to) = (named_layout(&one(lab)?), named_layout(&layout));
        prepare_copy(lab, &["--dest-compress-format", "gzip"], &from, &to)?;
    }
    Ok(layout)
}

fn to_layout(lab: &Lab, from: Place, change: Change) -> Result<Step> {
    Ok(Step::Copy(Task { from, to: Place::Oci(lab.nothing_at("out")?), change, all: false }))
}

pub(super) fn changed(lab: &mut Lab, change: Change) -> Result<Step> {
    to_layout(lab, Place::Oci(one(lab)?), change)
}

pub(super) fn eight(lab: &mut Lab, change: Change) -> Result<Step> {
    to_layout(lab, Place::Oci(eight_layers(lab)?), change)
}

pub(super) fn gzip_to_zstd(lab: &mut Lab) -> Result<Step> {
    to_layout(lab, Place::Oci(packed(lab)?), Change::Zstd)
}

pub(super) fn decompress(lab: &mut Lab) -> Result<Step> {
    let (from, to) = (Place::Oci(packed(lab)?), Place::Dir(lab.nothing_at("out")?));
    Ok(Step::Copy(Task { from, to, change: Change::Decompress, all: false }))
}

pub(super) fn encrypt(lab: &mut Lab) -> Result<Step> {
    let [public, _] = layer_key(lab)?;
    changed(lab, Change::Encrypt(public))
}

pub(super) fn decrypt(lab: &mut Lab) -> Result<Step> {
    let layout = one(lab)?;
    decrypting(lab, &layout, "huge-encrypted")
}

pub(super) fn up(lab: &mut Lab) -> Result<Step> {
    let from = one(lab)?;
    upload(lab, from)
}

pub(super) fn eight_up(lab: &mut Lab) -> Result<Step> {
    let from = eight_layers(lab)?;
    upload(lab, from)
}

fn upload(lab: &mut Lab, from: PathBuf) -> Result<Step> {
    let (_, to) = lab.far(Duration::ZERO)?;
    Ok(plain_copy(Place::Oci(from), at(to, "huge", "v1")))
}

pub(super) fn across(lab: &mut Lab) -> Result<Step> {
    let from = at_registry(lab, one(lab)?)?;
    let (_, to) = lab.far(Duration::ZERO)?;
    Ok(plain_copy(from, at(to, "huge", "v1")))
}

pub(super) fn eight_across(lab: &mut Lab) -> Result<Step> {
    let from = at_registry(lab, eight_layers(lab)?)?;
    let (_, to) = lab.far(Duration::ZERO)?;
    Ok(plain_copy(from, at(to, "huge", "v1")))
}

pub(super) fn down(lab: &mut Lab) -> Result<Step> {
    let from = at_registry(lab, one(lab)?)?;
    to_layout(lab, from, Change::Nothing)
}

/// The image at the registry of ours.
fn at_registry(lab: &Lab, layout: PathBuf) -> Result<Place> {
    let source = lab.near.address();
    let there = format!("docker://{source}/huge:v1");
    prepare_copy(lab, &["--dest-tls-verify=false"], &named_layout(&layout), &there)?;
    Ok(at(source, "huge", "v1"))
}
