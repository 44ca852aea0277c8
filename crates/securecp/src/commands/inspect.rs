//! `securecp inspect`

use anyhow::Context;
use bytes::Bytes;
use securecp_oci::json::{self, Limits};
use securecp_oci::{
    CONFIG_LIMIT, Digest, Image, PlatformWish, RawManifest, Reference, Repository, Tag, Transport,
};
use securecp_registry::RegistryError;
use securecp_transport::{Source, TransportError};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::connect::Doors;
use crate::failure::Failure;
use crate::inspection::{ImageConfig, Summary, to_go_json};
use crate::progress::warn;
use crate::request::{InspectRequest, View};
use crate::session::Session;
use crate::template::{Value, fill_in};

/// Deepest nesting of indexes.
const DEPTH_LIMIT: usize = 8;

/// Shows what an image is. The trust policy is not asked: nothing is copied.
pub(crate) fn run(args: InspectArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = InspectRequest::new(args, &session.globals)?;
    let doors = Doors::new(&session.globals, request.image.retry)?;
    let source = doors.image(&request.image.name, &request.image.side)?;
    let look = Look { request: &request, doors: &doors, source: &*source, session };
    let bytes = look.bytes()?;
    session.write(&bytes)
}

struct Look<'a, 'b> {
    request: &'a InspectRequest,
    doors: &'a Doors<'a>,
    source: &'a dyn Source,
    session: &'a Session<'b>,
}

impl Look<'_, '_> {
    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        let root = self.named("reading the manifest", self.source.root(self.session.scope))?;
        if self.request.view == View::RawManifest {
            return Ok(root.bytes().to_vec());
        }
        let chosen = self.choose(root.clone(), &self.request.platform)?;
        let Some(image) = chosen.image() else { return Err(self.schema1()) };
        if !image.config.media_type.is_image_config() && self.request.view != View::RawConfig {
            return Err(self.artifact(image));
        }
        let config = self.config(image)?;
        match self.request.view {
            View::RawConfig => Ok(config.to_vec()),
            View::Config => {
                let config = self.parsed(&config)?;
                self.shown(&config, config.value()?)
            }
            _ => self.summary(&root, image, self.parsed(&config)?),
        }
    }

    /// Adds the image to an error.
    fn named<T>(&self, doing: &str, result: Result<T, TransportError>) -> Result<T, Failure> {
        Ok(result.with_context(|| format!("{doing} of image {}", self.request.image.name))?)
    }

    /// Follows an index, also a nested one, to the image of the wanted platform.
    fn choose(&self, root: RawManifest, wish: &PlatformWish) -> Result<RawManifest, Failure> {
        let mut manifest = root;
        for _ in 0..DEPTH_LIMIT {
            let Some(index) = manifest.index() else { return Ok(manifest) };
            let position = wish.choose(index);
            let entry = position.and_then(|position| index.manifests.get(position));
            let entry = entry.ok_or_else(|| self.no_platform(wish))?;
            let child = self.source.manifest(entry, self.session.scope);
            let child = self.named("reading a manifest of the index", child);
            manifest = child.map_err(Failure::of_part)?;
        }
        Err(self.too_deep())
    }

    fn config(&self, image: &Image) -> Result<Bytes, Failure> {
        let descriptor = &image.config;
        if descriptor.size > CONFIG_LIMIT as u64 {
            return Err(Failure::new(format!(
                "configuration {} of image {} has {} bytes, the limit is {CONFIG_LIMIT}",
                descriptor.digest, self.request.image.name, descriptor.size
            )));
        }
        let layer = self.source.blob(descriptor, self.session.scope);
        let read = layer.and_then(|layer| Ok(layer.read_whole()?));
        self.named("reading the configuration", read).map_err(Failure::of_part)
    }

    fn parsed(&self, bytes: &[u8]) -> Result<ImageConfig, Failure> {
        let name = || format!("configuration of image {}", self.request.image.name);
        let value = json::parse(bytes, Limits::bytes(CONFIG_LIMIT)).with_context(name)?;
        Ok(serde_json::from_value(value).with_context(name)?)
    }

    fn summary(
        &self,
        root: &RawManifest,
        image: &Image,
        config: ImageConfig,
    ) -> Result<Vec<u8>, Failure> {
        let repository = self.source.identity().reference.as_ref().map(Reference::repository);
        // An engine's images have a repository's name too, but what is in that repository is not asked of its registry.
        let listed = repository.filter(|_| self.request.image.name.transport == Transport::Docker);
        let tags = listed.map_or_else(|| Ok(Vec::new()), |repository| self.tags(repository))?;
        let digest = match self.request.algorithm {
            Some(algorithm) => Digest::of(algorithm, root.bytes()),
            None => root.digest().clone(),
        };
        let summary = Summary::new(repository, digest, tags, image, config);
        self.shown(&summary, summary.value()?)
    }

    /// As JSON, or in the form that was asked for.
    fn shown(&self, whole: &impl Serialize, value: Value) -> Result<Vec<u8>, Failure> {
        match &self.request.template {
            Some(template) => Ok(fill_in(template, &value).context("--format")?.into_bytes()),
            None => Ok(to_go_json(whole)?),
        }
    }

    /// The repository's tags. A registry that does not let us list them, or does not know how to, costs a warning.
    fn tags(&self, repository: &Repository) -> Result<Vec<String>, Failure> {
        if self.request.view != (View::Summary { tags: true }) {
            return Ok(Vec::new());
        }
        let registries = self.doors.registries(&self.request.image.side);
        let listed = registries.tags(repository, self.session.scope);
        match listed {
            Ok(tags) => Ok(tags.iter().map(Tag::to_string).collect()),
            Err(error) if cannot_list(&error) => {
                warn(&format!("{error}"));
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn no_platform(&self, wish: &PlatformWish) -> Failure {
        Failure::new(format!(
            "image {}: no image found in manifest list for platform {wish}",
            self.request.image.name
        ))
        .hint("--override-os, --override-arch and --override-variant choose another one; --raw shows the list")
    }

    fn too_deep(&self) -> Failure {
        let image = &self.request.image.name;
        Failure::new(format!("image {image}: indexes nest deeper than {DEPTH_LIMIT}"))
    }

    /// Its configuration is not known before its layers are read.
    fn schema1(&self) -> Failure {
        let image = &self.request.image.name;
        Failure::new(format!(
            "image {image} has a Docker schema 1 manifest, which has no configuration"
        ))
        .hint("--raw shows the manifest; copy converts the image")
    }

    fn artifact(&self, image: &Image) -> Failure {
        Failure::new(format!(
            "{} is an artifact with a configuration of type {}, not an image",
            self.request.image.name, image.config.media_type
        ))
        .hint("--raw shows its manifest, --config --raw its configuration")
    }
}

/// The registry forbids the listing, or its front door does not know it at all.
fn cannot_list(error: &RegistryError) -> bool {
    let denied = error.codes().iter().any(|code| code.code == "DENIED");
    let unknown = error.status().is_some_and(|status| status.as_u16() == 404);
    denied || (unknown && error.codes().is_empty())
}
