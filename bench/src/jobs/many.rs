//! Many images at once.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{Floor, Repository, Step};
use crate::lab::Lab;
use crate::{kernels, measure, raw};

pub(super) fn small_floor(lab: &mut Lab) -> Result<Floor> {
    let (source, target) = (lab.source.address(), lab.empty_registry()?);
    let wall = raw::copy(Some(source), target, &lab.small, 8)?;
    Ok(Floor { cpu: 0.0, wall: Some(wall) })
}

pub(super) fn small_cold(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    Ok(between(lab.source.address(), to, "small"))
}

pub(super) fn small_warm(lab: &mut Lab) -> Result<Step> {
    let to = lab.empty_registry()?;
    kernels::in_parallel(
        4,
        &lab.small,
        || Ok(()),
        |(), (image, repository, tag)| Ok(image.push(to, repository, Some(tag))?),
    )?;
    Ok(between(lab.source.address(), to, "small"))
}

pub(super) fn tags(lab: &mut Lab, milliseconds: u64, warm: bool) -> Result<Step> {
    let (from, to) = lab.far(Duration::from_millis(milliseconds))?;
    let step = between(from, to, "many");
    if warm && let Some(command) = step.command(lab.ours()) {
        measure::run(&command, &lab.folder)?;
    }
    Ok(step)
}

/// Every tag of one repository, to the same one elsewhere.
fn between(from: SocketAddr, to: SocketAddr, path: &'static str) -> Step {
    Step::Many { from: Repository { registry: from, path }, to: Repository { registry: to, path } }
}
