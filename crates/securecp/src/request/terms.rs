use std::path::PathBuf;

use securecp_copy::{Edits, Effort, EvidenceEdits, IndexMode, OnOrphaned, Recompression, Select};
use securecp_oci::{ImageName, ManifestFormat, PlatformWish};
use securecp_trust::IndexSignature;

use super::compress::{cache, recompression};
use super::crypt::{decryption, encryption};
use super::evidence::evidence;
use super::{Globals, Resuming, Retry, SignRequest, both, index_signature};
use crate::args::{ChainArgs, CompressArgs, EffortArgs, ProgressArg, RunArgs, SelectionArgs};
use crate::failure::Failure;
use crate::progress::ProgressStyle;

/// What holds for every image of a run, whatever says which images they are.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) select: Select,
    pub(crate) edits: Edits,
    pub(crate) signing: SignRequest,
    pub(crate) index_signature: IndexSignature,
    /// The trust file, beside the policy.
    pub(crate) trust: Option<PathBuf>,
    pub(crate) effort: Effort,
    /// As given; requests and transfers have different usual values.
    pub(crate) retry: Retry,
    pub(crate) resuming: Resuming,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) progress: ProgressStyle,
}

impl Terms {
    /// Checks what was given for images that go to `destinations`.
    pub(super) fn new(
        chain: ChainArgs,
        run: RunArgs,
        destinations: &[ImageName],
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let output = &run.output;
        let edits = edits(&chain, destinations, globals)?;
        let evidence = evidence(chain.evidence, globals)?;
        let signing = SignRequest::try_from(chain.signing)?;
        check_records(&evidence, &signing)?;
        Ok(Self {
            select: select(&chain.selection, globals.platform.clone())?,
            index_signature: index_signature(&chain.judging)?,
            trust: chain.judging.trust,
            effort: effort(&run.effort),
            retry: Retry::from(&run.effort.retry),
            dry_run: output.dry_run,
            json: output.json,
            progress: progress(output.quiet, output.progress)?,
            resuming: Resuming::new(run.resuming, |name| std::env::var_os(name))?,
            edits: Edits { evidence, ..edits },
            signing,
        })
    }
}

/// A record that nobody signed would be believed by nobody, so none is written.
fn check_records(evidence: &EvidenceEdits, signing: &SignRequest) -> Result<(), Failure> {
    if evidence.on_orphaned != OnOrphaned::Record || signing.format.bundles().is_some() {
        return Ok(());
    }
    let problem = "--on-orphaned record needs a sigstore key and --sign-format bundle or both: records are signed bundles";
    Err(Failure::usage(problem).hint(
        "--sign-by-sigstore-private-key FILE or --sign-by-sigstore FILE names the key; --on-orphaned drop changes images without a record",
    ))
}

/// What is changed on the way; signatures and evidence come later.
fn edits(
    chain: &ChainArgs,
    destinations: &[ImageName],
    globals: &Globals,
) -> Result<Edits, Failure> {
    let recompression = recompression_at(&chain.compression, destinations, globals)?;
    Ok(Edits {
        preserve_digests: chain.changes.preserve_digests,
        remove_signatures: chain.changes.remove_signatures,
        recompression,
        cache: cache(&chain.compression, recompression, |name| std::env::var_os(name))?,
        encrypt: encryption(&chain.encryption)?,
        decrypt: decryption(&chain.encryption)?,
        format: format(chain.changes.format.as_deref())?,
        precompute_digests: chain.compression.dest_precompute_digests,
        temporary: globals.tmpdir.clone(),
        lenient: globals.lenient,
        ..Edits::default()
    })
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

fn format(given: Option<&str>) -> Result<Option<ManifestFormat>, Failure> {
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

fn progress(quiet: bool, form: Option<ProgressArg>) -> Result<ProgressStyle, Failure> {
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

fn effort(args: &EffortArgs) -> Effort {
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
