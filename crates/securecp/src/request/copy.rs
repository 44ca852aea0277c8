use std::path::PathBuf;
use std::slice;

use securecp_copy::{Edits, Effort, IndexMode, Protection, Recompression, Select};
use securecp_oci::{ImageName, ManifestFormat, PlatformWish};
use securecp_trust::IndexSignature;

use super::compress::{cache, recompression};
use super::crypt::{decryption, encryption};
use super::evidence::evidence;
use super::place::{AllTags, PlaceRequest, protection};
use super::side::sides;
use super::{Globals, Resuming, Retry, SideRequest, SignRequest, both, image, index_signature};
use crate::args::{CompressArgs, CopyArgs, EffortArgs, ProgressArg, SelectionArgs};
use crate::failure::Failure;
use crate::progress::{ProgressStyle, warn};

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
    pub(crate) select: Select,
    pub(crate) edits: Edits,
    pub(crate) signing: SignRequest,
    pub(crate) index_signature: IndexSignature,
    pub(crate) trust: Option<PathBuf>,
    pub(crate) effort: Effort,
    /// As given; requests and transfers have different usual values.
    pub(crate) retry: Retry,
    pub(crate) resuming: Resuming,
    pub(crate) digestfile: Option<PathBuf>,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) progress: ProgressStyle,
}

impl CopyRequest {
    /// Checks what was given.
    pub(crate) fn new(args: CopyArgs, globals: &Globals) -> Result<Self, Failure> {
        let source = image("source", &args.source)?;
        let destinations = destinations(&args.destinations, globals)?;
        let recompression = recompression_at(&args.compression, &destinations, globals)?;
        let (output, both_sides) = (args.output, args.both_sides);
        if both_sides.tls_verify.is_some() {
            warn("'--tls-verify' is deprecated, instead use: --src-tls-verify, --dest-tls-verify");
        }
        let [source_side, destination_side] = sides(
            (args.source_side.into(), slice::from_ref(&source)),
            (args.destination_side.into(), &destinations),
            &both_sides,
            globals,
        )?;
        let place = |name| PlaceRequest::read(name, &args.names, globals);
        let places = destinations.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            all_tags: AllTags::read(&args.names, &source, &places)?,
            protection: protection(&args.names)?,
            source,
            places,
            source_side,
            destination_side,
            select: select(&args.selection, globals.platform.clone())?,
            edits: Edits {
                preserve_digests: args.changes.preserve_digests,
                remove_signatures: args.changes.remove_signatures,
                recompression,
                evidence: evidence(args.evidence, globals)?,
                cache: cache(&args.compression, recompression, |name| std::env::var_os(name))?,
                encrypt: encryption(&args.encryption)?,
                decrypt: decryption(&args.encryption)?,
                format: format(args.changes.format.as_deref())?,
                precompute_digests: args.compression.dest_precompute_digests,
                temporary: globals.tmpdir.clone(),
                ..Edits::default()
            },
            signing: SignRequest::try_from(args.signing)?,
            index_signature: index_signature(&args.judging)?,
            trust: args.judging.trust,
            effort: effort(&args.effort),
            retry: Retry::from(&args.effort.retry),
            resuming: Resuming::new(args.resuming, |name| std::env::var_os(name))?,
            digestfile: args.names.digestfile,
            dry_run: output.dry_run,
            json: output.json,
            progress: progress(output.quiet, output.progress)?,
        })
    }
}

/// The reference takes exactly one.
fn destinations(given: &[String], globals: &Globals) -> Result<Vec<ImageName>, Failure> {
    if globals.lenient && given.len() > 1 {
        return Err(Failure::usage("Exactly two arguments expected"));
    }
    given.iter().map(|text| image("destination", text)).collect()
}

/// One plan has one form for layers, so every destination must take the same.
fn recompression_at(
    args: &CompressArgs,
    destinations: &[ImageName],
    globals: &Globals,
) -> Result<Recompression, Failure> {
    let each = destinations.iter().map(|name| recompression(args, name, globals));
    let each = each.collect::<Result<Vec<_>, _>>()?;
    match each.iter().find(|other| **other != each[0]) {
        Some(_) => Err(Failure::usage(
            "the compression options mean different things at these destinations".to_owned(),
        )
        .hint("copy to them one after the other")),
        None => Ok(each.first().copied().unwrap_or_default()),
    }
}

/// What of an index is meant.
pub(crate) fn select(args: &SelectionArgs, platform: PlatformWish) -> Result<Select, Failure> {
    if !args.platform.is_empty() {
        return platforms(args);
    }
    if args.index.is_some() {
        return Err(Failure::usage("--index has no effect without --platform".to_owned()));
    }
    match (args.all, args.multi_arch.as_deref()) {
        (true, Some(_)) => Err(both("--all", "--multi-arch")),
        (true, None) | (false, Some("all")) => Ok(Select::All),
        (false, None | Some("system")) => Ok(Select::System(platform)),
        (false, Some("index-only")) => Ok(Select::IndexOnly),
        (false, Some(other)) => Err(unknown("--multi-arch", "system, all or index-only", other)),
    }
}

fn platforms(args: &SelectionArgs) -> Result<Select, Failure> {
    if args.all || args.multi_arch.is_some() {
        return Err(both("--platform", if args.all { "--all" } else { "--multi-arch" }));
    }
    let index = match args.index.as_deref() {
        None | Some("sparse") => IndexMode::Sparse,
        Some("rewrite") => IndexMode::Rewrite,
        Some(other) => return Err(unknown("--index", "sparse or rewrite", other)),
    };
    let wishes = args.platform.iter().map(|text| wish(text)).collect::<Result<_, _>>()?;
    Ok(Select::Platforms { wishes, index })
}

fn wish(text: &str) -> Result<PlatformWish, Failure> {
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts[..] {
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
        _ => return Err(unknown("--platform", "OS/ARCH or OS/ARCH/VARIANT", text)),
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(unknown("--platform", "OS/ARCH or OS/ARCH/VARIANT", text));
    }
    Ok(PlatformWish { os: os.to_owned(), architecture: architecture.to_owned(), variant })
}

pub(super) fn format(given: Option<&str>) -> Result<Option<ManifestFormat>, Failure> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|e: securecp_oci::ConvertError| Failure::usage(format!("--format: {e}")))
    };
    given.map(parse).transpose()
}

pub(super) fn unknown(option: &str, expected: &str, found: &str) -> Failure {
    let found = securecp_oci::Escaped::new(found);
    Failure::usage(format!("{option}: expected {expected}, found \"{found}\""))
}

pub(super) fn progress(quiet: bool, form: Option<ProgressArg>) -> Result<ProgressStyle, Failure> {
    match (quiet, form) {
        (true, None | Some(ProgressArg::None)) => Ok(ProgressStyle::WarningsOnly),
        (true, Some(_)) => Err(both("--quiet", "--progress")),
        (false, None | Some(ProgressArg::Auto)) => Ok(ProgressStyle::usual()),
        (false, Some(ProgressArg::Bars)) => Ok(ProgressStyle::Bars),
        (false, Some(ProgressArg::Lines)) => Ok(ProgressStyle::Lines),
        (false, Some(ProgressArg::Json)) => Ok(ProgressStyle::Json),
        (false, Some(ProgressArg::None)) => Ok(ProgressStyle::WarningsOnly),
    }
}

pub(super) fn effort(args: &EffortArgs) -> Effort {
    let usual = Effort::default();
    let retry = Retry::from(&args.retry);
    let parallel = args.image_parallel_copies.filter(|count| *count > 0);
    Effort {
        parallel_blobs: parallel.unwrap_or(usual.parallel_blobs),
        retry_times: retry.times.unwrap_or(usual.retry_times),
        retry_delay: retry.delay,
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::failure::Exit;

    fn request(options: &[&str]) -> Result<CopyRequest, Failure> {
        let line = ["securecp", "copy"].iter().chain(options);
        let cli = Cli::try_parse_from(line).unwrap();
        let globals = Globals::try_from(cli.globals)?;
        match cli.command {
            Command::Copy(args) => CopyRequest::new(*args, &globals),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn selects_what_was_asked_for() {
        let select =
            |options: &[&str]| request(&[options, &["dir:a", "dir:b"]].concat()).map(|r| r.select);
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
        let select =
            |options: &[&str]| request(&[options, &["dir:a", "dir:b"]].concat()).map(|r| r.select);
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
        let edits = request(&["-f", "v2s2", "dir:a", "dir:b"]).unwrap().edits;
        assert_eq!(edits.format, Some(ManifestFormat::Docker));
    }

    #[test]
    fn additional_tags_are_bare_and_only_where_there_are_tags() {
        let tags = |to: &str, value: &str| {
            request(&["dir:a", to, "--additional-tag", value]).map(|r| r.places[0].tags.len())
        };
        assert_eq!(tags("oci:b:v1", "v2,v3,v2").unwrap(), 2);
        assert_eq!(tags("docker://h.example/x", "latest").unwrap(), 1);
        for (to, value) in [("dir:b", "v1"), ("oci:b:v1", "h.example/x:v1"), ("oci:b:v1", "")] {
            assert_eq!(tags(to, value).unwrap_err().exit(), Exit::Usage, "{to} {value}");
        }
    }

    #[test]
    fn zero_means_the_usual_effort() {
        let effort =
            |options: &[&str]| request(&[options, &["dir:a", "dir:b"]].concat()).unwrap().effort;
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
