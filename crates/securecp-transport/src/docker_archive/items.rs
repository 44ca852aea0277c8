use std::path::Path;

use securecp_oci::Reference;
use securecp_oci::json::{self, Limits};
use serde_json::Value;

use super::name::Selection;
use crate::TransportError;
use crate::files::{self, Files};
use crate::oci::OCI_LAYOUT;
use crate::tar::{member_name, refused};

pub(crate) const MANIFEST: &str = "manifest.json";
const MANIFEST_LIMIT: usize = 1 << 20;

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The member that holds the configuration.
    pub(super) config: String,
    /// Its names, as they are stored.
    pub(super) repo_tags: Vec<String>,
    /// The members that hold its layers, base first.
    pub(super) layers: Vec<String>,
}

/// The images that `manifest.json` lists.
pub(super) fn read(files: &dyn Files) -> Result<Vec<Item>, TransportError> {
    let Some(bytes) = files::read(files, MANIFEST, MANIFEST_LIMIT)? else {
        let is_layout = files::read(files, OCI_LAYOUT, MANIFEST_LIMIT)?.is_some();
        let problem = match is_layout {
            true => {
                "expected an archive of docker save, found an OCI layout, which oci-archive: reads"
            }
            false => "expected an archive of docker save, found no manifest.json",
        };
        let (path, problem) = (files.place().to_owned(), problem.to_owned());
        return Err(TransportError::Place { path, problem });
    };
    let value = json::parse(&bytes, Limits::bytes(MANIFEST_LIMIT)).map_err(|source| {
        TransportError::Document { path: files.place().join(MANIFEST), source }
    })?;
    let items = value.as_array().ok_or_else(|| wrong(files.place(), "the document", "an array"))?;
    items.iter().map(|item| Item::read(item, files.place())).collect()
}

impl Item {
    fn read(value: &Value, place: &Path) -> Result<Self, TransportError> {
        let config = value.get("Config").and_then(Value::as_str);
        let config = config.ok_or_else(|| wrong(place, "Config", "a string"))?;
        let member =
            |name: &str| member_name(name.as_bytes()).map_err(|problem| refused(place, problem));
        let layers = strings(value, "Layers", place)?;
        Ok(Self {
            config: member(config)?,
            repo_tags: strings(value, "RepoTags", place)?,
            layers: layers.iter().map(|layer| member(layer)).collect::<Result<_, _>>()?,
        })
    }

    /// Whether one of its names is `wanted`, once both are written out in full.
    fn is_tagged(&self, wanted: &Reference, place: &Path) -> Result<bool, TransportError> {
        for text in &self.repo_tags {
            let found: Reference = text.parse().map_err(|source| TransportError::Reference {
                name: format!("{}: RepoTags", place.display()),
                source,
            })?;
            if found == *wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The image that a name means.
pub(super) fn select<'a>(
    items: &'a [Item],
    selection: &Selection,
    place: &Path,
) -> Result<&'a Item, TransportError> {
    let error = |problem| TransportError::Place { path: place.to_owned(), problem };
    let missing =
        |subject: String| TransportError::NotFound { subject, place: place.display().to_string() };
    match (selection, items) {
        (Selection::Only, [one]) => Ok(one),
        (Selection::Only, []) => Err(missing("image".to_owned())),
        (Selection::Only, more) => {
            let count = more.len();
            let problem = format!("more than one image ({count}), choose one by name or @N");
            Err(TransportError::SeveralImages { path: place.to_owned(), problem })
        }
        (Selection::Position(position), items) => items.get(*position).ok_or_else(|| {
            error(format!("expected an image at @{position}, found only {} images", items.len()))
        }),
        (Selection::Tagged(wanted), items) => {
            for item in items {
                if item.is_tagged(wanted, place)? {
                    return Ok(item);
                }
            }
            Err(missing(format!("image {wanted}")))
        }
    }
}

/// Strings of an array that may be missing or null.
fn strings(value: &Value, key: &str, place: &Path) -> Result<Vec<String>, TransportError> {
    let error = || wrong(place, key, "an array of strings");
    let items = match value.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(found) => found.as_array().ok_or_else(error)?,
    };
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(error)).collect()
}

fn wrong(place: &Path, key: &str, expected: &str) -> TransportError {
    let problem = format!("{key} is not {expected}");
    TransportError::Place { path: place.join(MANIFEST), problem }
}
