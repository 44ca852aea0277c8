use securecp_copy::Protection;
use securecp_oci::{ImageName, Reference, Tag, Transport};

use super::additional::AdditionalNames;
use super::{Globals, both, docker_reference};
use crate::args::NameArgs;
use crate::failure::Failure;
use crate::tag_filter::TagFilter;

/// One place to copy to, with every name that the image is to have there.
#[derive(Debug)]
pub(crate) struct PlaceRequest {
    pub(crate) name: ImageName,
    /// Beside the name itself.
    pub(crate) tags: Vec<Tag>,
    /// Further names in an archive.
    pub(crate) references: Vec<Reference>,
}

impl PlaceRequest {
    /// Under one name.
    pub(crate) fn new(name: ImageName) -> Self {
        Self { name, tags: Vec::new(), references: Vec::new() }
    }

    pub(super) fn read(
        name: ImageName,
        args: &NameArgs,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let AdditionalNames { tags, references } =
            AdditionalNames::read(&args.additional_tag, &name, globals)?;
        Ok(Self { name, tags, references })
    }
}

/// Every tag of a repository, or name of a layout, that a filter chooses.
#[derive(Debug)]
pub(crate) struct AllTags {
    pub(crate) repository: ImageName,
    pub(crate) filter: TagFilter,
}

impl AllTags {
    /// `None` if one image is meant.
    pub(super) fn read(
        args: &NameArgs,
        source: &ImageName,
        places: &[PlaceRequest],
    ) -> Result<Option<Self>, Failure> {
        if !args.all_tags {
            return match args.tag_filter.is_empty() {
                true => Ok(None),
                false => Err(Failure::usage("--tag-filter has no effect without --all-tags")),
            };
        }
        if !args.additional_tag.is_empty() {
            return Err(both("--all-tags", "--additional-tag"));
        }
        if args.digestfile.is_some() {
            return Err(both("--all-tags", "--digestfile").hint("--json prints every digest"));
        }
        check_nameless(source)?;
        places.iter().try_for_each(|place| check_nameless(&place.name))?;
        let filter = TagFilter::parse(&args.tag_filter);
        let filter = filter.map_err(|problem| Failure::usage(format!("--tag-filter {problem}")))?;
        Ok(Some(Self { repository: source.clone(), filter }))
    }
}

/// The tags come from the source, so neither side names one.
fn check_nameless(name: &ImageName) -> Result<(), Failure> {
    let bare = match name.transport {
        Transport::Docker => docker_reference(name)?.is_name_only(),
        Transport::Oci | Transport::OciArchive => !name.rest.contains(':'),
        _ => false,
    };
    if bare {
        return Ok(());
    }
    let expected = "docker://REPOSITORY, oci:DIRECTORY or oci-archive:FILE without a tag";
    Err(Failure::usage(format!("--all-tags: expected {expected}, found {name}")))
}

/// Which names may be moved. Where it cannot be told what a name stands for, none can be protected.
pub(super) fn protection(args: &NameArgs, places: &[PlaceRequest]) -> Result<Protection, Failure> {
    let (option, protection) = match (args.no_clobber, args.expect_dest_digest.as_deref()) {
        (true, Some(_)) => return Err(both("--no-clobber", "--expect-dest-digest")),
        (false, None) => return Ok(Protection::None),
        (true, None) => ("--no-clobber", Protection::NoClobber),
        (false, Some(text)) => {
            let digest = text.parse().map_err(|error: securecp_oci::DigestError| {
                Failure::usage(format!("--expect-dest-digest: {error}"))
            })?;
            ("--expect-dest-digest", Protection::Expect(digest))
        }
    };
    let check = |place: &PlaceRequest| check_protectable(&place.name, option, args.all_tags);
    places.iter().try_for_each(check)?;
    Ok(protection)
}

fn check_protectable(name: &ImageName, option: &str, all_tags: bool) -> Result<(), Failure> {
    let problem = match name.transport {
        Transport::DockerArchive | Transport::DockerDaemon => {
            "what a name stands for cannot be told there"
        }
        Transport::Oci if !all_tags && !name.rest.contains(':') => {
            "an image in a layout has a name only if one is given (oci:DIRECTORY:NAME)"
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("{option} cannot protect {name}: {problem}")))
}
