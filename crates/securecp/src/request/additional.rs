use securecp_oci::{ImageName, Reference, ReferenceError, Tag, Transport};

use super::Globals;
use crate::args::split_list;
use crate::failure::Failure;

/// Further names that the image gets.
#[derive(Debug, Default)]
pub(super) struct AdditionalNames {
    /// Beside the destination's own tag, in its repository or layout.
    pub(super) tags: Vec<Tag>,
    /// In an archive of `docker save`.
    pub(super) references: Vec<Reference>,
}

impl AdditionalNames {
    /// Reads the values of `--additional-tag` as the destination's transport wants them.
    pub(super) fn read(
        given: &[String],
        destination: &ImageName,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        let mut names = Self::default();
        for value in given {
            for text in split_list(value).map_err(|problem| Failure::usage(said(&problem)))? {
                names.add(&text, destination, globals)?;
            }
        }
        Ok(names)
    }

    fn add(
        &mut self,
        text: &str,
        destination: &ImageName,
        globals: &Globals,
    ) -> Result<(), Failure> {
        match destination.transport {
            Transport::DockerArchive => {
                let reference = tagged(text)?;
                push_new(&mut self.references, reference);
            }
            Transport::Docker | Transport::Oci => match text.parse() {
                Ok(tag) => push_new(&mut self.tags, tag),
                // The reference takes whole names here, and then does nothing with them.
                Err(_) if globals.lenient && tagged(text).is_ok() => {
                    globals.no_effect(said(&format!("{text} has no effect on {destination}")))?;
                }
                Err(error) => return Err(not_bare(&error)),
            },
            _ => globals.no_effect(said(&format!(
                "{destination} has no tags, expected a docker: or oci: destination"
            )))?,
        }
        Ok(())
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// A whole name with a tag.
fn tagged(text: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse_any(text);
    let reference = reference.map_err(|error| Failure::usage(said(&error.to_string())))?;
    if reference.tag().is_none() || reference.digest().is_some() {
        let shown = securecp_oci::Escaped::new(text).to_string();
        return Err(Failure::usage(said(&format!("expected a name with a tag, found {shown:?}"))));
    }
    Ok(reference)
}

fn not_bare(error: &ReferenceError) -> Failure {
    Failure::usage(said(&error.to_string())).hint(
        "give bare tags of the destination's repository, for example --additional-tag v1,v1.2",
    )
}

fn said(problem: &str) -> String {
    format!("--additional-tag: {problem}")
}
