use std::ffi::OsString;
use std::path::PathBuf;

use securecp_copy::{CacheUse, Recompression};
use securecp_layer::{Compression, GzipLevel, TransformCache, ZstdLevel};
use securecp_oci::{Escaped, ImageName, Transport};

use super::{Globals, both};
use crate::args::CompressArgs;
use crate::failure::Failure;

/// What becomes of the compression of layers at `destination`. An option without effect there is an error.
pub(crate) fn recompression(
    args: &CompressArgs,
    destination: &ImageName,
    globals: &Globals,
) -> Result<Recompression, Failure> {
    check_places(args, destination, globals)?;
    let format = args.dest_compress_format.as_deref();
    // Elsewhere they were warned of, or the copy would have ended above.
    let in_dir = destination.transport == Transport::Dir;
    match (format, args.dest_compress && in_dir, args.dest_decompress && in_dir) {
        (_, true, true) => Err(both("--dest-compress", "--dest-decompress")),
        (Some(_), _, true) => Err(both("--dest-compress-format", "--dest-decompress")),
        (Some(format), _, false) => Ok(Recompression::To(compression(format, args)?)),
        (None, true, false) => Ok(Recompression::Plain(compression("gzip", args)?)),
        (None, false, decompress) => {
            needs_format("--dest-compress-level", args.dest_compress_level.is_some())?;
            needs_format("--dest-force-compress-format", args.dest_force_compress_format)?;
            let keep = Recompression::Keep;
            Ok(if decompress { Recompression::To(Compression::None) } else { keep })
        }
    }
}

/// The memory of recompressed layers, in the user's cache folder; none where there is no such folder.
pub(crate) fn cache(
    args: &CompressArgs,
    recompression: Recompression,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<CacheUse>, Failure> {
    let dangerous_trust = args.dangerous_trust_cache;
    if recompression == Recompression::Keep {
        return match dangerous_trust {
            false => Ok(None),
            true => Err(Failure::usage(
                "--dangerous-trust-cache has no effect where nothing is recompressed",
            )),
        };
    }
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".cache"));
    let folder = set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(home);
    Ok(folder.map(|folder| CacheUse {
        cache: TransformCache::new(folder.join("securecp/transforms")),
        dangerous_trust,
    }))
}

/// Some options speak of one transport only.
fn check_places(
    args: &CompressArgs,
    destination: &ImageName,
    globals: &Globals,
) -> Result<(), Failure> {
    let rules: [(&str, bool, &[Transport]); 4] = [
        ("--dest-compress", args.dest_compress, &[Transport::Dir]),
        ("--dest-decompress", args.dest_decompress, &[Transport::Dir]),
        (
            "--dest-oci-accept-uncompressed-layers",
            args.dest_oci_accept_uncompressed_layers,
            &[Transport::Oci, Transport::OciArchive],
        ),
        ("--dest-precompute-digests", args.dest_precompute_digests, &[Transport::Docker]),
    ];
    for (option, given, places) in rules {
        if given && !places.contains(&destination.transport) {
            let names: Vec<String> = places.iter().map(|place| format!("{place}:")).collect();
            globals.no_effect(format!(
                "{option} has no effect on {destination}, expected a destination of {}",
                names.join(" or ")
            ))?;
        }
    }
    Ok(())
}

fn needs_format(option: &str, given: bool) -> Result<(), Failure> {
    if !given {
        return Ok(());
    }
    Err(Failure::usage(format!("{option} has no effect without --dest-compress-format")))
}

fn compression(format: &str, args: &CompressArgs) -> Result<Compression, Failure> {
    let level = args.dest_compress_level;
    let bad_level = |error: securecp_layer::LevelError| {
        Failure::usage(format!("--dest-compress-level: {error}"))
    };
    match format {
        "gzip" => {
            let level = level.map(GzipLevel::new).transpose().map_err(bad_level)?;
            Ok(Compression::Gzip(level.unwrap_or_default()))
        }
        "zstd" => {
            let level = level.map(ZstdLevel::new).transpose().map_err(bad_level)?;
            Ok(Compression::Zstd(level.unwrap_or_default()))
        }
        "zstd:chunked" | "bzip2" | "Xz" => Err(Failure::usage(format!(
            "--dest-compress-format: writing {format} is not supported yet, expected gzip or zstd"
        ))),
        other => Err(Failure::usage(format!(
            "--dest-compress-format: expected gzip or zstd, found {}",
            Escaped::new(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::read;
    use crate::failure::Exit;

    fn to(destination: &str, args: CompressArgs) -> Result<Recompression, Failure> {
        let globals = Globals::try_from(read(["securecp", "demo"]).unwrap().globals);
        recompression(&args, &destination.parse().unwrap(), &globals.unwrap())
    }

    fn format(name: &str, level: Option<i64>) -> CompressArgs {
        CompressArgs {
            dest_compress_format: Some(name.to_owned()),
            dest_compress_level: level,
            ..CompressArgs::default()
        }
    }

    #[test]
    fn nothing_changes_unless_asked_for() {
        for destination in ["dir:a", "oci:a:b", "docker://h.example/x"] {
            let found = to(destination, CompressArgs::default()).unwrap();
            assert_eq!(found, Recompression::Keep, "{destination}");
        }
    }

    #[test]
    fn reads_formats_and_levels() {
        let zstd = Compression::Zstd(ZstdLevel::new(7).unwrap());
        assert_eq!(to("oci:a:b", format("zstd", Some(7))).unwrap(), Recompression::To(zstd));
        let gzip = Compression::Gzip(GzipLevel::default());
        assert_eq!(to("oci:a:b", format("gzip", None)).unwrap(), Recompression::To(gzip));
        let plain = CompressArgs { dest_compress: true, ..CompressArgs::default() };
        assert_eq!(to("dir:a", plain).unwrap(), Recompression::Plain(gzip));
        let unpacked = CompressArgs { dest_decompress: true, ..CompressArgs::default() };
        assert_eq!(to("dir:a", unpacked).unwrap(), Recompression::To(Compression::None));
    }

    #[test]
    fn refuses_what_cannot_take_effect() {
        let usual = CompressArgs::default;
        for (destination, args) in [
            ("oci:a:b", CompressArgs { dest_compress: true, ..usual() }),
            ("docker://h.example/x", CompressArgs { dest_decompress: true, ..usual() }),
            ("dir:a", CompressArgs { dest_oci_accept_uncompressed_layers: true, ..usual() }),
            ("dir:a", CompressArgs { dest_precompute_digests: true, ..usual() }),
            ("dir:a", CompressArgs { dest_compress: true, dest_decompress: true, ..usual() }),
            ("dir:a", CompressArgs { dest_decompress: true, ..format("gzip", None) }),
            ("dir:a", CompressArgs { dest_force_compress_format: true, ..usual() }),
            ("dir:a", CompressArgs { dest_compress_level: Some(3), ..usual() }),
            ("dir:a", format("gzip", Some(10))),
            ("dir:a", format("gzip", Some(-1))),
            ("dir:a", format("zstd", Some(0))),
            ("dir:a", format("zstd", Some(23))),
            ("dir:a", format("zstd:chunked", None)),
            ("dir:a", format("Xz", None)),
            ("dir:a", format("brotli", None)),
        ] {
            let shown = format!("{destination} {args:?}");
            assert_eq!(to(destination, args).unwrap_err().exit(), Exit::Usage, "{shown}");
        }
    }
}
