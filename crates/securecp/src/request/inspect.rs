use securecp_copy::Effort;
use securecp_oci::{ImageName, PlatformWish};

use super::SideRequest;
use super::copy::image;
use crate::args::{InspectArgs, SideArgs};
use crate::failure::Failure;

/// A look at an image, checked.
#[derive(Debug)]
pub(crate) struct InspectRequest {
    pub(crate) image: ImageName,
    pub(crate) side: SideRequest,
    pub(crate) view: View,
    pub(crate) platform: PlatformWish,
    pub(crate) effort: Effort,
    pub(crate) retry_times: Option<u32>,
}

/// What is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// The summary; with the repository's tags or without.
    Summary { tags: bool },
    /// The manifest's exact bytes.
    RawManifest,
    /// The configuration, formatted.
    Config,
    /// The configuration's exact bytes.
    RawConfig,
}

impl InspectRequest {
    /// Checks what was given; `platform` is the image wanted from an index.
    pub(crate) fn new(args: InspectArgs, platform: PlatformWish) -> Result<Self, Failure> {
        let view = match (args.raw, args.config) {
            (false, false) => View::Summary { tags: !args.no_tags },
            (true, false) => View::RawManifest,
            (false, true) => View::Config,
            (true, true) => View::RawConfig,
        };
        Ok(Self {
            image: image("image", &args.image)?,
            side: SideRequest::try_from(SideArgs::from(args.side))?,
            view,
            platform,
            retry_times: args.retry_times,
            effort: Effort {
                retry_delay: args.retry_delay.filter(|delay| !delay.is_zero()),
                ..Effort::default()
            },
        })
    }
}
