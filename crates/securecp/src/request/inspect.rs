use securecp_oci::{Algorithm, PlatformWish};

use super::{Globals, ImageRequest, both};
use crate::args::InspectArgs;
use crate::failure::Failure;

/// A look at an image, checked.
#[derive(Debug)]
pub(crate) struct InspectRequest {
    pub(crate) image: ImageRequest,
    pub(crate) view: View,
    pub(crate) platform: PlatformWish,
    /// A template to be filled in, unless JSON is wanted.
    pub(crate) template: Option<String>,
    /// The algorithm of the digest shown, if another one is wanted.
    pub(crate) algorithm: Option<Algorithm>,
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
    /// Checks what was given.
    pub(crate) fn new(args: InspectArgs, globals: &Globals) -> Result<Self, Failure> {
        let view = match (args.raw, args.config) {
            (false, false) => View::Summary { tags: !args.no_tags },
            (true, false) => View::RawManifest,
            (false, true) => View::Config,
            (true, true) => View::RawConfig,
        };
        let image = ImageRequest::new(&args.image, args.side, &args.retry, globals)?;
        if args.raw && args.format.is_some() {
            return Err(both("--raw", "--format"));
        }
        let template = args.format.filter(|text| !means_json(text));
        let algorithm = args.manifest_digest.map(|name| name.parse::<Algorithm>());
        let algorithm =
            algorithm.transpose().map_err(|e| Failure::usage(format!("--manifest-digest: {e}")))?;
        Ok(Self { image, view, platform: globals.platform.clone(), template, algorithm })
    }
}

/// Templates that ask for the usual JSON.
fn means_json(template: &str) -> bool {
    let inner = template.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    match inner {
        Some(inner) => matches!(inner.trim(), "json" | "json."),
        None => template == "json",
    }
}
