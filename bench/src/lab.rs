//! The data, the registries and the keys that jobs are run with.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use securecp_testkit::proxy::Proxy;
use securecp_testkit::{DockerRegistry, DockerRegistrySettings, Fixture, Registry};

use crate::data::{self, RealImage, Sizes};
use crate::kernels::{self, Kernels};
use crate::measure;
use crate::tools::{Place, Tool};

/// An image with the repository and tag that it gets.
pub(crate) type Named = (Fixture, String, String);

/// Everything that jobs share; made once, and gone with the folder.
pub(crate) struct Lab {
    pub(crate) folder: PathBuf,
    pub(crate) sizes: Sizes,
    pub(crate) tools: Vec<Tool>,
    pub(crate) real: RealImage,
    pub(crate) kernels: Kernels,
    /// Debian's registry with everything that is copied from one.
    pub(crate) source: DockerRegistry,
    pub(crate) target: Option<DockerRegistry>,
    /// Our own registry, with what is copied from far away; requests are counted at the proxies.
    pub(crate) near: Registry,
    pub(crate) far: Option<Far>,
    pub(crate) small: Vec<Named>,
    pub(crate) ten: [Fixture; 2],
}

/// Two registries behind proxies that let every request wait.
pub(crate) struct Far {
    pub(crate) from: Proxy,
    pub(crate) to: Proxy,
    _target: Registry,
}

impl Lab {
    pub(crate) fn new(folder: &Path, sizes: Sizes, tools: Vec<Tool>) -> Result<Self> {
        fs::create_dir_all(folder.join("gnupg"))?;
        eprintln!("making data in {}", folder.display());
        let real = data::real_image(&folder.join("real"), &sizes)?;
        let near = Registry::start()?;
        eprintln!("calibrating");
        let kernels = Kernels::measure(&real.sample, folder, near.address())?;
        let ten =
            [data::ten_layers(&folder.join("ten"), 1)?, data::ten_layers(&folder.join("ten"), 2)?];
        let small = (0..sizes.small_images as u64)
            .map(|n| Ok((data::small_image(n, "amd64")?, "small".to_owned(), format!("t{n}"))))
            .collect::<Result<Vec<Named>>>()?;
        let storage = folder.join("source");
        let _ = fs::remove_dir_all(&storage);
        let source = docker_registry(&storage)?;
        real.fixture.push(source.address(), "real", Some("v1"))?;
        ten[0].push(source.address(), "ten", Some("v1"))?;
        ten[1].push(source.address(), "ten", Some("v2"))?;
        kernels::in_parallel(
            4,
            &small,
            || Ok(()),
            |(), (image, repository, tag)| {
                Ok(image.push(source.address(), repository, Some(tag))?)
            },
        )?;
        push_tags(&near, sizes.tags)?;
        data::small_index(sizes.tags as u64)?.push(near.address(), "pair", Some("v1"))?;
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            sizes,
            tools,
            real,
            kernels,
            source,
            target: None,
            near,
            far: None,
            small,
            ten,
        })
    }

    pub(crate) fn ours(&self) -> &Tool {
        &self.tools[0]
    }

    /// A place in this folder at which there is nothing.
    pub(crate) fn nothing_at(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(path),
        }
    }

    /// An empty registry of Debian's.
    pub(crate) fn empty_registry(&mut self) -> Result<SocketAddr> {
        self.target = None;
        let storage = self.nothing_at("target")?;
        let registry = docker_registry(&storage)?;
        let address = registry.address();
        self.target = Some(registry);
        Ok(address)
    }

    /// An empty registry of ours at a distance, and the one with the tags.
    pub(crate) fn far(&mut self, latency: Duration) -> Result<(SocketAddr, SocketAddr)> {
        let target = Registry::start()?;
        let (from, to) = (Proxy::start(self.near.address())?, Proxy::start(target.address())?);
        from.set_latency(latency);
        to.set_latency(latency);
        let addresses = (from.address(), to.address());
        self.far = Some(Far { from, to, _target: target });
        Ok(addresses)
    }

    /// Requests that reached any registry so far.
    pub(crate) fn requests(&self) -> usize {
        let docker = [Some(&self.source), self.target.as_ref()];
        let lines = |log: String| log.lines().filter(|line| line.contains("HTTP/1.1\" ")).count();
        let docker: usize =
            docker.into_iter().flatten().map(|registry| lines(registry.log())).sum();
        let far = self.far.as_ref().map_or(0, |far| far.from.log().len() + far.to.log().len());
        docker + far
    }

    /// Runs our own tool, to make what a job starts from.
    pub(crate) fn prepare(&self, words: &[&str]) -> Result<()> {
        let program = self.ours().path.display().to_string();
        let command: Vec<String> =
            std::iter::once(program).chain(words.iter().map(|word| (*word).to_owned())).collect();
        measure::run(&command, &self.folder).map(drop)
    }

    /// Runs another program, to make keys.
    pub(crate) fn helper(&self, program: &str, words: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(program);
        command.args(words).env("GNUPGHOME", self.folder.join("gnupg"));
        let output = command.output().with_context(|| format!("starting {program}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {}: {said}", words.join(" "));
        Ok(output.stdout)
    }

    pub(crate) fn at_source(&self, repository: &str, tag: Option<&'static str>) -> Place {
        Place::Registry { address: self.source.address(), repository: repository.to_owned(), tag }
    }
}

fn docker_registry(storage: &Path) -> Result<DockerRegistry> {
    let storage = Some(storage.to_owned());
    let settings = DockerRegistrySettings { delete: true, storage, ..Default::default() };
    Ok(DockerRegistry::start_with(&settings)?)
}

/// Tags of two platforms each, with an artifact that refers to each index.
fn push_tags(registry: &Registry, count: usize) -> Result<()> {
    let tags: Vec<u64> = (0..count as u64).collect();
    kernels::in_parallel(
        4,
        &tags,
        || Ok(()),
        |(), number| {
            let index = data::small_index(*number)?;
            index.push(registry.address(), "many", Some(&format!("v{number}")))?;
            let text = format!("bill of materials {number}");
            let blob =
                securecp_testkit::Blob::new(securecp_oci::MediaType::new("text/plain"), text);
            let artifact = Fixture::artifact("application/spdx", blob, Some(&index.root));
            Ok(artifact.push(registry.address(), "many", None)?)
        },
    )
}
