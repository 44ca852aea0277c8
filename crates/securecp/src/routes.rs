//! From names to images opened on both sides: what one copy brings where.

use anyhow::Context;
use securecp_copy::{Route, Target};
use securecp_layer::Scope;
use securecp_oci::{Escaped, ImageName, Tag, Transport, is_evidence_name};
use securecp_registry::Registries;
use securecp_transport::{Destination, Source};

use crate::connect::{DestinationDoor, Doors, SourceDoor};
use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::request::{AllTags, PlaceRequest, SideRequest, docker_reference};

/// Most images of one copy.
const ROUTE_LIMIT: usize = 10_000;

/// One image and where it goes, by name.
#[derive(Debug)]
pub(crate) struct RouteNames {
    pub(crate) source: ImageName,
    pub(crate) to: Vec<PlaceRequest>,
}

/// One image, opened on both sides.
pub(crate) struct OpenRoute {
    from: Box<dyn Source>,
    to: Vec<(Box<dyn Destination>, Vec<Tag>)>,
}

/// Opens one image and its places.
pub(crate) fn open_one(
    source: &ImageName,
    places: &[PlaceRequest],
    doors: &Doors<'_>,
    sides: (&SideRequest, &SideRequest),
    lookaside: &Lookaside,
) -> Result<OpenRoute, Failure> {
    let sources = doors.sources(sides.0, lookaside);
    let destinations = doors.destinations(sides.1, lookaside);
    OpenRoute::new(source, places, &sources, &destinations)
}

/// Opens everything, the sources through `registries`; nothing is asked of a registry yet, and nothing changed.
pub(crate) fn open(
    names: &[RouteNames],
    (doors, registries): (&Doors<'_>, Registries),
    (source_side, destination_side): (&SideRequest, &SideRequest),
    lookaside: &Lookaside,
) -> Result<Vec<OpenRoute>, Failure> {
    let sources = doors.sources(source_side, lookaside).through(registries);
    let destinations = doors.destinations(destination_side, lookaside);
    let open =
        |route: &RouteNames| OpenRoute::new(&route.source, &route.to, &sources, &destinations);
    names.iter().map(open).collect()
}

impl OpenRoute {
    pub(crate) fn new(
        source: &ImageName,
        places: &[PlaceRequest],
        sources: &SourceDoor<'_>,
        destinations: &DestinationDoor<'_>,
    ) -> Result<Self, Failure> {
        let open = |place: &PlaceRequest| -> Result<_, Failure> {
            Ok((destinations.open(&place.name, &place.references)?, place.tags.clone()))
        };
        let from = sources.open(source)?;
        Ok(Self { from, to: places.iter().map(open).collect::<Result<_, _>>()? })
    }
}

/// Hands the routes to `run` in the engine's form.
pub(crate) fn with_routes<T>(opened: &[OpenRoute], run: impl FnOnce(&[Route<'_>]) -> T) -> T {
    let targets: Vec<Vec<Target<'_>>> = opened
        .iter()
        .map(|route| route.to.iter().map(|(to, tags)| Target { to: &**to, tags }).collect())
        .collect();
    let routes: Vec<Route<'_>> =
        opened.iter().zip(&targets).map(|(route, to)| Route { from: &*route.from, to }).collect();
    run(&routes)
}

/// The routes of every chosen tag of a repository, or name of a layout; registries are asked through `registries`.
pub(crate) fn of_all_tags(
    all: &AllTags,
    places: &[PlaceRequest],
    (doors, registries): (&Doors<'_>, &Registries),
    side: &SideRequest,
    scope: &Scope,
) -> Result<Vec<RouteNames>, Failure> {
    let found = tags(&all.repository, (doors, registries), side, scope)?;
    // What is attached to images travels with them.
    let chosen = found.iter().filter(|tag| all.filter.chooses(tag) && !is_evidence_name(tag));
    let routes: Vec<RouteNames> = chosen.map(|tag| route(all, places, tag)).collect();
    match routes.len() {
        0 => Err(Failure::new(format!(
            "none of the {} tags of {} is chosen",
            found.len(),
            all.repository
        ))),
        count if count > ROUTE_LIMIT => Err(Failure::new(format!(
            "expected at most {ROUTE_LIMIT} tags of {}, found {count}",
            all.repository
        ))
        .hint("--tag-filter chooses some of them")),
        _ => Ok(routes),
    }
}

fn route(all: &AllTags, places: &[PlaceRequest], tag: &str) -> RouteNames {
    let place = |place: &PlaceRequest| PlaceRequest::new(with_tag(&place.name, tag));
    RouteNames { source: with_tag(&all.repository, tag), to: places.iter().map(place).collect() }
}

fn with_tag(name: &ImageName, tag: &str) -> ImageName {
    ImageName { rest: format!("{}:{tag}", name.rest), ..name.clone() }
}

/// Every name that is there and could be a tag elsewhere.
fn tags(
    name: &ImageName,
    (doors, registries): (&Doors<'_>, &Registries),
    side: &SideRequest,
    scope: &Scope,
) -> Result<Vec<String>, Failure> {
    if name.transport == Transport::Docker {
        let repository = docker_reference(name)?.repository().clone();
        let tags = registries.tags(&repository, scope);
        let tags = tags.with_context(|| format!("listing the tags of {name}"))?;
        return Ok(tags.iter().map(ToString::to_string).collect());
    }
    let listed = securecp_transport::list(name, &doors.source_options(side), scope);
    let listed = listed.with_context(|| format!("listing the names in {name}"))?;
    let names: Vec<String> = listed.into_iter().flat_map(|image| image.names).collect();
    match names.iter().find(|found| found.parse::<Tag>().is_err()) {
        Some(other) => Err(Failure::new(format!(
            "{name} has the name {}, which is no tag",
            Escaped::new(other)
        ))),
        None => Ok(names),
    }
}
