//! Opens what image names stand for, with the options of their side.

use anyhow::Context;
use securecp_net::{HttpClient, Net, NetError, TlsOptions};
use securecp_oci::{ImageName, Reference};
use securecp_registry::{
    Access, Credentials, Login as RegistryLogin, Registries, RetryPolicy, Secret, tls_details,
};
use securecp_transport::{
    DaemonAccess, Destination, DestinationOptions, SharedPlaces, Source, SourceOptions,
    open_destination, open_source,
};

use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::request::{Globals, Login, Resuming, Retry, SideRequest};

/// The ways to the outside that one command uses; connections are shared between its sides.
#[derive(Debug)]
pub(crate) struct Doors<'a> {
    globals: &'a Globals,
    net: Net,
    tls: TlsOptions,
    retry: RetryPolicy,
    resuming: Resuming,
    shared: SharedPlaces,
}

impl<'a> Doors<'a> {
    /// Reads the restrictions of TLS, if there are some; nothing is started or sent yet.
    pub(crate) fn new(globals: &'a Globals, retry: Retry) -> Result<Self, Failure> {
        let usual = RetryPolicy::default();
        let retry = RetryPolicy {
            times: retry.times.unwrap_or(usual.times),
            delay: retry.delay.or(usual.delay),
            // The reference always waits when it is asked to.
            times_when_limited: if globals.lenient { usual.times } else { 0 },
        };
        let tls = globals.tls_details.as_deref().map(tls_details).transpose();
        let tls = tls.context("--tls-details")?.unwrap_or_default();
        let resuming = Resuming::default();
        let shared = SharedPlaces::default();
        Ok(Self { globals, net: Net::default(), tls, retry, resuming, shared })
    }

    /// The way to services that are no registries, under the same restrictions of TLS.
    pub(crate) fn http(&self) -> Result<HttpClient, NetError> {
        self.net.client(&self.tls)
    }

    /// Keeps something for the case that writing is interrupted.
    pub(crate) fn resuming(self, resuming: &Resuming) -> Self {
        Self { resuming: resuming.clone(), ..self }
    }

    /// Every registry, as this side meets it.
    pub(crate) fn registries(&self, side: &SideRequest) -> Registries {
        let usual = Access::default();
        let access = Access {
            login: login(side),
            authfile: side.authfile.clone(),
            cert_dir: side.cert_dir.clone(),
            tls_verify: side.tls_verify,
            tls: self.tls.clone(),
            registries_conf: self.globals.registries_conf.clone(),
            user_agent: match &self.globals.user_agent_prefix {
                Some(prefix) => format!("{prefix} {}", usual.user_agent),
                None => usual.user_agent.clone(),
            },
            retry: self.retry,
            uploads: self.resuming.uploads.clone(),
            ..usual
        };
        Registries::new(self.net.clone(), access)
    }

    /// What reading needs to know.
    pub(crate) fn source_options(&self, side: &SideRequest) -> SourceOptions {
        SourceOptions {
            registries: self.registries(side),
            shared_blob_dir: side.shared_blob_dir.clone(),
            tmpdir: Some(self.globals.tmpdir.clone()),
            daemon: self.daemon(side),
            shared: self.shared.clone(),
            ..SourceOptions::default()
        }
    }

    /// The Docker engine, as this side meets it.
    fn daemon(&self, side: &SideRequest) -> DaemonAccess {
        DaemonAccess {
            host: side.daemon_host.clone(),
            cert_dir: side.cert_dir.clone(),
            tls: self.tls.clone(),
            dangerously_accept_any_certificate: side.tls_verify == Some(false),
            net: self.net.clone(),
        }
    }

    /// Opens an image to be looked at.
    pub(crate) fn image(
        &self,
        name: &ImageName,
        side: &SideRequest,
    ) -> Result<Box<dyn Source>, Failure> {
        let opened = open_source(name, &self.source_options(side));
        Ok(opened.with_context(|| format!("initializing source {name}"))?)
    }

    /// Opens the image to copy, with its signatures.
    pub(crate) fn source(
        &self,
        name: &ImageName,
        side: &SideRequest,
        lookaside: &Lookaside,
    ) -> Result<Box<dyn Source>, Failure> {
        self.sources(side, lookaside).open(name)
    }

    /// Opens many images of one side, which share connections and tokens.
    pub(crate) fn sources<'b>(
        &'b self,
        side: &SideRequest,
        lookaside: &'b Lookaside,
    ) -> SourceDoor<'b> {
        SourceDoor { doors: self, options: self.source_options(side), lookaside }
    }

    /// Takes places to write to, without any effect there; they share connections and tokens.
    pub(crate) fn destinations<'b>(
        &'b self,
        side: &SideRequest,
        lookaside: &'b Lookaside,
    ) -> DestinationDoor<'b> {
        let options = DestinationOptions {
            registries: self.registries(side),
            shared_blob_dir: side.shared_blob_dir.clone(),
            partial: self.resuming.partial,
            tmpdir: Some(self.globals.tmpdir.clone()),
            shared: self.shared.clone(),
            daemon: self.daemon(side),
            ..DestinationOptions::default()
        };
        DestinationDoor { doors: self, options, lookaside }
    }
}

/// Opens images of one side, with their signatures.
#[derive(Debug)]
pub(crate) struct SourceDoor<'a> {
    doors: &'a Doors<'a>,
    options: SourceOptions,
    lookaside: &'a Lookaside,
}

impl SourceDoor<'_> {
    /// Shares connections, tokens and what was learnt with whatever else uses `registries`.
    pub(crate) fn through(self, registries: Registries) -> Self {
        Self { options: SourceOptions { registries, ..self.options }, ..self }
    }

    pub(crate) fn open(&self, name: &ImageName) -> Result<Box<dyn Source>, Failure> {
        let signatures = self.lookaside.of_source(name, &self.doors.net, &self.doors.tls)?;
        let options = SourceOptions { signatures, ..self.options.clone() };
        let opened = open_source(name, &options);
        Ok(opened.with_context(|| format!("initializing source {name}"))?)
    }
}

/// Takes places to write to.
#[derive(Debug)]
pub(crate) struct DestinationDoor<'a> {
    doors: &'a Doors<'a>,
    options: DestinationOptions,
    lookaside: &'a Lookaside,
}

impl DestinationDoor<'_> {
    /// Folders above a directory are made when writing begins.
    pub(crate) fn making_parents(self) -> Self {
        Self { options: DestinationOptions { makes_parents: true, ..self.options }, ..self }
    }

    pub(crate) fn open(
        &self,
        name: &ImageName,
        references: &[Reference],
    ) -> Result<Box<dyn Destination>, Failure> {
        let options = DestinationOptions {
            additional_references: references.to_vec(),
            signatures: self.lookaside.of(name, &self.doors.net, &self.doors.tls)?,
            ..self.options.clone()
        };
        let opened = open_destination(name, &options);
        Ok(opened.with_context(|| format!("initializing destination {name}"))?)
    }
}

/// A token goes with every request, whatever else was given.
fn login(side: &SideRequest) -> RegistryLogin {
    if let Some(token) = &side.registry_token {
        return RegistryLogin::Token(Secret::new(token.expose().to_owned()));
    }
    match &side.login {
        Login::Stored => RegistryLogin::Configured,
        Login::Anonymous => RegistryLogin::Anonymous,
        Login::User { name, password } => RegistryLogin::Given(Credentials::Password {
            user: name.clone(),
            password: Secret::new(password.expose().to_owned()),
        }),
    }
}
