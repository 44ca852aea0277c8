//! Opens what image names stand for, with the options of their side.

use anyhow::Context;
use securecp_oci::ImageName;
use securecp_transport::{
    Destination, DestinationOptions, Source, SourceOptions, open_destination, open_source,
};

use crate::failure::Failure;
use crate::request::SideRequest;

/// Opens the image to read.
pub(crate) fn source(name: &ImageName, side: &SideRequest) -> Result<Box<dyn Source>, Failure> {
    let _ = side;
    let opened = open_source(name, &SourceOptions::default());
    Ok(opened.with_context(|| format!("initializing source {name}"))?)
}

/// Takes the place to write to, without any effect there.
pub(crate) fn destination(
    name: &ImageName,
    side: &SideRequest,
) -> Result<Box<dyn Destination>, Failure> {
    let _ = side;
    let opened = open_destination(name, &DestinationOptions::default());
    Ok(opened.with_context(|| format!("initializing destination {name}"))?)
}
