use std::path::PathBuf;
use std::slice;

use securecp_copy::Protection;
use securecp_oci::{Escaped, ImageName, Reference, Transport};

use super::side::sides;
use super::{Globals, SideRequest, Terms};
use crate::args::SyncArgs;
use crate::failure::Failure;

/// A copy of many images, checked.
#[derive(Debug)]
pub(crate) struct SyncRequest {
    pub(crate) source: SyncSource,
    pub(crate) destination: SyncPlace,
    pub(crate) source_side: SideRequest,
    pub(crate) destination_side: SideRequest,
    pub(crate) protection: Protection,
    pub(crate) terms: Terms,
    pub(crate) keep_going: bool,
    pub(crate) digestfile: Option<PathBuf>,
}

/// Where the images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyncSource {
    /// A repository, or one image of it.
    Repository(Reference),
    /// Every image below a directory.
    Directory(PathBuf),
    /// What a YAML file lists.
    Yaml(PathBuf),
}

/// Where they go, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncPlace {
    pub(crate) transport: Transport,
    /// What stands before every name.
    pub(crate) root: String,
    /// Whole names, not only their last part.
    pub(crate) scoped: bool,
    /// What stands behind every name.
    pub(crate) suffix: String,
}

impl SyncRequest {
    /// Checks what was given.
    pub(crate) fn new(args: SyncArgs, globals: &Globals) -> Result<Self, Failure> {
        let source = source(args.many.src.as_deref(), &args.source)?;
        let destination = place(&args, &source)?;
        if args.chain.signing.sign_identity.is_some() {
            let problem =
                "--sign-identity has no effect on sync: each image is signed for its own name";
            return Err(Failure::usage(problem));
        }
        let (from, to) = (source.example(), destination.example());
        let images = (slice::from_ref(&from), slice::from_ref(&to));
        let [source_side, destination_side] = sides(args.sides, images, globals)?;
        let protection = match args.many.no_clobber {
            true => Protection::NoClobber,
            false => Protection::None,
        };
        Ok(Self {
            source,
            destination,
            source_side,
            destination_side,
            protection,
            terms: Terms::new(args.chain, args.run, slice::from_ref(&to), globals)?,
            keep_going: args.many.keep_going,
            digestfile: args.many.digestfile,
        })
    }
}

fn source(transport: Option<&str>, text: &str) -> Result<SyncSource, Failure> {
    match transport {
        Some("docker") => repository(text).map(SyncSource::Repository),
        Some("dir") => Ok(SyncSource::Directory(text.into())),
        Some("yaml") => Ok(SyncSource::Yaml(text.into())),
        None => Err(Failure::usage("A source transport must be specified")
            .hint("--src docker, --src dir or --src yaml says what SOURCE is")),
        Some(other) => Err(not_a_transport("source", other, "--src docker, dir or yaml")),
    }
}

fn repository(text: &str) -> Result<Reference, Failure> {
    let problem = |error| {
        Failure::usage(format!("source: {}: {error}", Escaped::new(text)))
            .hint("SOURCE is REGISTRY/REPOSITORY, without docker://, and --src says that it is in a registry")
    };
    Reference::parse_any(text).map_err(problem)
}

fn place(args: &SyncArgs, source: &SyncSource) -> Result<SyncPlace, Failure> {
    let transport = match args.many.dest.as_deref() {
        Some("docker") => Transport::Docker,
        Some("dir") => Transport::Dir,
        None => {
            return Err(Failure::usage("A destination transport must be specified")
                .hint("--dest docker or --dest dir says what DESTINATION is"));
        }
        Some(other) => return Err(not_a_transport("destination", other, "--dest docker or dir")),
    };
    if transport == Transport::Dir && matches!(source, SyncSource::Directory(_)) {
        return Err(Failure::usage("sync from 'dir' to 'dir' not implemented").hint(
            "one side must be a registry; copy copies one image from directory to directory",
        ));
    }
    Ok(SyncPlace {
        transport,
        root: args.destination.trim_end_matches('/').to_owned(),
        scoped: args.many.scoped,
        suffix: args.many.append_suffix.clone().unwrap_or_default(),
    })
}

fn not_a_transport(side: &str, found: &str, expected: &str) -> Failure {
    let found = Escaped::new(found);
    Failure::usage(format!("\"{found}\" is not a valid {side} transport"))
        .hint(format!("expected {expected}"))
}

impl SyncSource {
    /// A name like those of the images, to tell which options make sense.
    fn example(&self) -> ImageName {
        match self {
            Self::Repository(reference) => {
                ImageName { transport: Transport::Docker, rest: format!("//{reference}") }
            }
            Self::Directory(path) => {
                ImageName { transport: Transport::Dir, rest: path.display().to_string() }
            }
            Self::Yaml(path) => ImageName {
                transport: Transport::Docker,
                rest: format!("//…, named in {}", path.display()),
            },
        }
    }
}

impl SyncPlace {
    fn example(&self) -> ImageName {
        let slashes = if self.transport == Transport::Docker { "//" } else { "" };
        ImageName { transport: self.transport, rest: format!("{slashes}{}", self.root) }
    }
}

#[cfg(test)]
mod tests {
    use securecp_copy::Select;

    use super::*;
    use crate::args::{Command, read};
    use crate::failure::Exit;

    fn request(options: &[&str]) -> Result<SyncRequest, Failure> {
        let line = ["securecp", "sync"].iter().chain(options);
        let cli = read(line).unwrap();
        let globals = Globals::try_from(cli.globals)?;
        match cli.command {
            Command::Sync(args) => SyncRequest::new(*args, &globals),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn reads_the_references_command_lines() {
        let found =
            request(&["--src", "docker", "--dest", "dir", "busybox", "/media/usb/"]).unwrap();
        assert_eq!(found.source, SyncSource::Repository(Reference::parse_any("busybox").unwrap()));
        assert_eq!(found.destination.root, "/media/usb");
        let line = ["-s", "yaml", "-d", "docker", "--scoped", "--all", "list.yaml", "h.example/x"];
        let found = request(&line).unwrap();
        assert_eq!(found.source, SyncSource::Yaml("list.yaml".into()));
        assert!(found.destination.scoped && matches!(found.terms.select, Select::All));
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, says) in [
            (&["a", "b"][..], "A source transport must be specified"),
            (&["-s", "docker", "h.example/a", "b"], "A destination transport must be specified"),
            (&["-s", "oci", "a", "b"], "\"oci\" is not a valid source transport"),
            (&["-s", "dir", "-d", "oci", "a", "b"], "\"oci\" is not a valid destination transport"),
            (&["-s", "dir", "-d", "dir", "a", "b"], "sync from 'dir' to 'dir' not implemented"),
            (
                &["-s", "docker", "-d", "dir", "docker://h.example/a", "b"],
                "source: docker://h.example/a: ",
            ),
            (
                &["-s", "dir", "-d", "docker", "a", "h.example/b", "--src-creds", "u:p"],
                "--src-creds has no effect on dir:a, only on docker: images",
            ),
        ] {
            let failure = request(line).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{line:?}");
            assert!(failure.to_string().starts_with(says), "{failure}");
        }
    }
}
