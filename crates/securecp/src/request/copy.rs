use std::path::PathBuf;
use std::slice;

use securecp_copy::Protection;
use securecp_oci::ImageName;

use super::image::DESTINATION;
use super::place::{AllTags, PlaceRequest, protection};
use super::side::sides;
use super::{Globals, SideRequest, Terms, image};
use crate::args::CopyArgs;
use crate::failure::Failure;
use crate::progress::warn;

/// A copy, checked.
#[derive(Debug)]
pub(crate) struct CopyRequest {
    pub(crate) source: ImageName,
    /// Where it goes; with `all_tags` the repositories or layouts.
    pub(crate) places: Vec<PlaceRequest>,
    pub(crate) all_tags: Option<AllTags>,
    pub(crate) protection: Protection,
    pub(crate) source_side: SideRequest,
    pub(crate) destination_side: SideRequest,
    pub(crate) terms: Terms,
    pub(crate) digestfile: Option<PathBuf>,
}

impl CopyRequest {
    /// Checks what was given.
    pub(crate) fn new(args: CopyArgs, globals: &Globals) -> Result<Self, Failure> {
        let source = image("source", &args.source)?;
        let destinations = destinations(&args.destinations, globals)?;
        let terms = Terms::new(args.chain, args.run, &destinations, globals)?;
        if args.sides.both.tls_verify.is_some() {
            warn("'--tls-verify' is deprecated, instead use: --src-tls-verify, --dest-tls-verify");
        }
        let images = (slice::from_ref(&source), destinations.as_slice());
        let [source_side, destination_side] = sides(args.sides, images, globals)?;
        let place = |name| PlaceRequest::read(name, &args.names, globals);
        let places = destinations.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            all_tags: AllTags::read(&args.names, &source, &places)?,
            protection: protection(&args.names, &places)?,
            source,
            places,
            source_side,
            destination_side,
            terms,
            digestfile: args.names.digestfile,
        })
    }
}

/// The reference takes exactly one.
fn destinations(given: &[String], globals: &Globals) -> Result<Vec<ImageName>, Failure> {
    if globals.lenient && given.len() > 1 {
        return Err(Failure::usage("Exactly two arguments expected"));
    }
    given.iter().map(|text| image(DESTINATION, text)).collect()
}

#[cfg(test)]
mod tests {
    use securecp_copy::{IndexMode, Select};
    use securecp_oci::ManifestFormat;

    use super::*;
    use crate::args::{Command, read};
    use crate::failure::Exit;

    fn request(options: &[&str]) -> Result<CopyRequest, Failure> {
        let line = ["securecp", "copy"].iter().chain(options);
        let cli = read(line).unwrap();
        let globals = Globals::try_from(cli.globals)?;
        match cli.command {
            Command::Copy(args) => CopyRequest::new(*args, &globals),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn selects_what_was_asked_for() {
        let select = |options: &[&str]| {
            request(&[options, &["dir:a", "dir:b"]].concat()).map(|r| r.terms.select)
        };
        assert!(matches!(select(&[]), Ok(Select::System(_))));
        assert!(matches!(select(&["--multi-arch", "system"]), Ok(Select::System(_))));
        assert!(matches!(select(&["-a"]), Ok(Select::All)));
        assert!(matches!(select(&["--multi-arch=all"]), Ok(Select::All)));
        assert!(matches!(select(&["--multi-arch=index-only"]), Ok(Select::IndexOnly)));
        for bad in [&["--all", "--multi-arch=all"][..], &["--multi-arch=some"]] {
            assert_eq!(select(bad).unwrap_err().exit(), Exit::Usage);
        }
    }

    #[test]
    fn reads_platforms_and_formats() {
        let select = |options: &[&str]| {
            request(&[options, &["dir:a", "dir:b"]].concat()).map(|r| r.terms.select)
        };
        let Ok(Select::Platforms { wishes, index }) =
            select(&["--platform", "linux/arm/v7", "--platform=linux/amd64", "--index=rewrite"])
        else {
            panic!("expected platforms")
        };
        assert_eq!(index, IndexMode::Rewrite);
        assert_eq!(wishes[0].to_string(), "linux/arm/v7");
        assert_eq!(wishes[1].variant, None);
        for bad in [
            &["--platform=linux"][..],
            &["--platform=linux/"],
            &["--platform=a/b/c/d"],
            &["--platform=linux/amd64", "--all"],
            &["--platform=linux/amd64", "--index=some"],
            &["--index=sparse"],
            &["--format=v2s1"],
            &["--format=docker"],
        ] {
            assert_eq!(select(bad).unwrap_err().exit(), Exit::Usage, "{bad:?}");
        }
        let edits = request(&["-f", "v2s2", "dir:a", "dir:b"]).unwrap().terms.edits;
        assert_eq!(edits.format, Some(ManifestFormat::Docker));
    }

    #[test]
    fn additional_tags_are_bare_and_only_where_there_are_tags() {
        let tags = |to: &str, value: &str| {
            request(&["dir:a", to, "--additional-tag", value]).map(|r| r.places[0].tags.len())
        };
        assert_eq!(tags("oci:b:v1", "v2,v3,v2").unwrap(), 2);
        assert_eq!(tags("docker://h.example/x", "latest").unwrap(), 1);
        for (to, value) in [("dir:b", "v1"), ("oci:b:v1", "h.example/x:v1")] {
            assert_eq!(tags(to, value).unwrap_err().exit(), Exit::Usage, "{to} {value}");
        }
    }

    #[test]
    fn zero_means_the_usual_effort() {
        let effort = |options: &[&str]| {
            request(&[options, &["dir:a", "dir:b"]].concat()).unwrap().terms.effort
        };
        assert_eq!(effort(&["--image-parallel-copies=0"]).parallel_blobs, 6);
        assert_eq!(effort(&["--image-parallel-copies=2"]).parallel_blobs, 2);
        assert_eq!(effort(&["--retry-times=0"]).retry_times, 0);
        assert_eq!(effort(&["--retry-delay=0"]).retry_delay, None);
    }

    #[test]
    fn names_the_side_of_a_bad_name() {
        let error = request(&["nowhere", "dir:b"]).unwrap_err().to_string();
        assert!(error.contains("source: Invalid image name \"nowhere\""), "{error}");
        let error = request(&["dir:a", "tape:b"]).unwrap_err().to_string();
        assert!(error.contains("destination: Invalid image name \"tape:b\""), "{error}");
    }
}
