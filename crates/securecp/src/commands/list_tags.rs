//! `securecp list-tags`

use anyhow::Context;
use securecp_oci::Transport;
use serde::Serialize;

use crate::args::ListTagsArgs;
use crate::connect::Doors;
use crate::failure::Failure;
use crate::inspection::to_go_json;
use crate::request::{ImageRequest, docker_reference};
use crate::session::Session;

/// What is printed, in the reference's form.
#[derive(Debug, Serialize)]
struct Listing {
    #[serde(rename = "Repository", skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(rename = "Tags")]
    tags: Vec<String>,
}

/// Lists the tags of a repository, in the registry's order.
pub(crate) fn run(args: ListTagsArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = ImageRequest::new(&args.repository, args.side, &args.retry, &session.globals)?;
    let doors = Doors::new(&session.globals, request.retry)?;
    let listing = match request.name.transport {
        Transport::Docker => of_registry(&request, &doors, session)?,
        Transport::Oci | Transport::OciArchive | Transport::DockerArchive => {
            of_file(&request, &doors, session)?
        }
        other => {
            return Err(Failure::usage(format!(
                "Unsupported transport '{other}' for tag listing. Only supported: docker, oci, oci-archive, \
                 docker-archive"
            )));
        }
    };
    session.write(&to_go_json(&listing)?)
}

fn of_registry(
    request: &ImageRequest,
    doors: &Doors<'_>,
    session: &Session<'_>,
) -> Result<Listing, Failure> {
    let reference = docker_reference(&request.name)?;
    if !reference.is_name_only() {
        let problem = format!("{}: No tag or digest allowed in reference", request.name);
        return Err(Failure::usage(problem).hint("inspect shows one image"));
    }
    let repository = reference.repository();
    let tags = doors.registries(&request.side).tags(repository, session.scope);
    let tags =
        tags.with_context(|| format!("Error listing repository tags of {}", request.name))?;
    let tags = tags.iter().map(ToString::to_string).collect();
    Ok(Listing { repository: Some(repository.to_string()), tags })
}

/// The names in a layout or archive; an image without any is shown by its position.
fn of_file(
    request: &ImageRequest,
    doors: &Doors<'_>,
    session: &Session<'_>,
) -> Result<Listing, Failure> {
    let options = doors.source_options(&request.side);
    let images = securecp_transport::list(&request.name, &options, session.scope);
    let images = images.with_context(|| format!("listing the names in {}", request.name))?;
    let names = images.into_iter().enumerate().flat_map(|(position, image)| match image.names {
        names if names.is_empty() => vec![format!("@{position}")],
        names => names,
    });
    Ok(Listing { repository: None, tags: names.collect() })
}
