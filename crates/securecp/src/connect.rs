//! Opens what image names stand for, with the options of their side.

use anyhow::Context;
use securecp_net::Net;
use securecp_oci::ImageName;
use securecp_registry::{
    Access, Credentials, Login as RegistryLogin, Registries, RetryPolicy, Secret,
};
use securecp_transport::{
    Destination, DestinationOptions, Source, SourceOptions, open_destination, open_source,
};

use crate::failure::Failure;
use crate::request::{Login, Retry, SideRequest};

/// The ways to the outside that one command uses; connections are shared between its sides.
#[derive(Debug)]
pub(crate) struct Doors {
    net: Net,
    retry: RetryPolicy,
}

impl Doors {
    /// Nothing is read, started or sent yet.
    pub(crate) fn new(retry: Retry) -> Self {
        let usual = RetryPolicy::default();
        let retry = RetryPolicy {
            times: retry.times.unwrap_or(usual.times),
            delay: retry.delay.or(usual.delay),
        };
        Self { net: Net::default(), retry }
    }

    /// Every registry, as this side meets it.
    pub(crate) fn registries(&self, side: &SideRequest) -> Registries {
        let access = Access {
            login: login(side),
            cert_dir: side.cert_dir.clone(),
            tls_verify: side.tls_verify,
            retry: self.retry,
            ..Access::default()
        };
        Registries::new(self.net.clone(), access)
    }

    /// What reading needs to know.
    pub(crate) fn source_options(&self, side: &SideRequest) -> SourceOptions {
        SourceOptions { registries: self.registries(side), ..SourceOptions::default() }
    }

    /// Opens the image to read.
    pub(crate) fn source(
        &self,
        name: &ImageName,
        side: &SideRequest,
    ) -> Result<Box<dyn Source>, Failure> {
        let options = self.source_options(side);
        let opened = open_source(name, &options);
        Ok(opened.with_context(|| format!("initializing source {name}"))?)
    }

    /// Takes the place to write to, without any effect there.
    pub(crate) fn destination(
        &self,
        name: &ImageName,
        side: &SideRequest,
    ) -> Result<Box<dyn Destination>, Failure> {
        let options = DestinationOptions {
            registries: self.registries(side),
            ..DestinationOptions::default()
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
