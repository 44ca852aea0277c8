use std::fmt;

use securecp_oci::Tag;
use securecp_transport::{Destination, Source};

/// One image and everything that is to become of it.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    /// Where the image is.
    pub from: &'a dyn Source,
    /// Where it is to be.
    pub to: &'a [Target<'a>],
}

/// One place that an image goes to.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The place, with the name that it gives the image.
    pub to: &'a dyn Destination,
    /// Further tags beside that name.
    pub tags: &'a [Tag],
}

impl fmt::Debug for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("from", &self.from.name()).field("to", &self.to).finish()
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("to", &self.to.name()).field("tags", &self.tags).finish()
    }
}

/// Destinations that share what is put, and are written together.
pub(crate) struct Storage<'a> {
    /// Speaks for all of them.
    pub(crate) to: &'a dyn Destination,
    pub(crate) names: Vec<StorageName<'a>>,
}

/// A name that is to be given in a storage.
#[derive(Clone, Copy)]
pub(crate) struct StorageName<'a> {
    pub(crate) route: usize,
    pub(crate) to: &'a dyn Destination,
    /// Beside the destination's own name.
    pub(crate) tag: Option<&'a Tag>,
}

impl<'a> StorageName<'a> {
    /// The name within the storage.
    pub(crate) fn entry(&self) -> Option<&'a str> {
        match self.tag {
            Some(tag) => Some(tag.as_str()),
            None => self.to.entry(),
        }
    }
}

impl Storage<'_> {
    /// The routes that end here, in order.
    pub(crate) fn routes(&self) -> Vec<usize> {
        let mut routes: Vec<usize> = self.names.iter().map(|name| name.route).collect();
        routes.dedup();
        routes
    }
}

/// The storages that `routes` lead to, in the order in which they are met.
pub(crate) fn storages<'a>(routes: &[Route<'a>]) -> Vec<Storage<'a>> {
    let mut keys: Vec<Option<String>> = Vec::new();
    let mut storages: Vec<Storage<'a>> = Vec::new();
    for (route, target) in targets(routes) {
        let key = target.to.storage();
        let known = key.as_ref().and_then(|_| keys.iter().position(|found| *found == key));
        let at = known.unwrap_or_else(|| {
            keys.push(key);
            storages.push(Storage { to: target.to, names: Vec::new() });
            storages.len() - 1
        });
        add_names(&mut storages[at].names, route, &target);
    }
    storages
}

fn targets<'a>(routes: &[Route<'a>]) -> impl Iterator<Item = (usize, Target<'a>)> {
    let routes = routes.iter().enumerate();
    routes.flat_map(|(route, ends)| ends.to.iter().map(move |target| (route, *target)))
}

/// A name that was given twice for one image is one name.
fn add_names<'a>(names: &mut Vec<StorageName<'a>>, route: usize, target: &Target<'a>) {
    let to = target.to;
    for tag in std::iter::once(None).chain(target.tags.iter().map(Some)) {
        let name = StorageName { route, to, tag };
        let same = |known: &StorageName<'_>| {
            known.route == route && known.entry().is_some() && known.entry() == name.entry()
        };
        if !names.iter().any(same) {
            names.push(name);
        }
    }
}
