use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use securecp_crypt::{
    Provider, ProviderAddress, ProviderCall, ProviderConfig, ProviderSpec, Secret,
};
use securecp_oci::Escaped;

use super::program::Program;
use crate::LayerKeyError;

/// How long a provider may take for one key; it may have to ask a service far away.
const TIME: Duration = Duration::from_secs(120);
/// Largest response, in bytes.
const RESPONSE_LIMIT: usize = 1 << 20;
/// What a provider gets to see of the environment: how to find its home, its language and the network.
const ENVIRONMENT: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
];

/// The key providers that the user has configured.
#[derive(Debug, Clone, Default)]
pub struct KeyProviders(ProviderConfig);

impl KeyProviders {
    /// Reads the configuration file that `OCICRYPT_KEYPROVIDER_CONFIG` names.
    ///
    /// # Errors
    /// It cannot be read or is malformed.
    pub fn read(path: &Path) -> Result<Self, LayerKeyError> {
        let bytes = super::file::read(path)?;
        Ok(Self(ProviderConfig::parse(&bytes)?))
    }

    /// The provider that `specs` name, with all parameters that the user gave for it.
    ///
    /// # Errors
    /// It is not configured, its program is not named by an absolute path, or it is a gRPC service.
    pub fn provider(&self, name: &str, specs: &[ProviderSpec]) -> Result<Provider, LayerKeyError> {
        let fail = |problem| {
            let name = Escaped::new(name).limit(80).to_string();
            LayerKeyError::Provider { name, problem }
        };
        match self.0.address(name) {
            Some(ProviderAddress::Command { path, arguments }) => {
                let program = Program::new(path, TIME, RESPONSE_LIMIT)?.arguments(arguments);
                let call = Arc::new(Command(program.only_environment(&ENVIRONMENT)));
                Ok(Provider::new(name, specs, call))
            }
            Some(_) => Err(fail("gRPC services are not supported yet, configure a command")),
            None => Err(fail("not in the configuration that OCICRYPT_KEYPROVIDER_CONFIG names")),
        }
    }
}

/// A provider that is a program: one run for each request.
struct Command(Program);

impl ProviderCall for Command {
    fn call(&self, request: &Secret) -> Result<Secret, String> {
        self.0.run(request).map_err(|error| {
            tracing::warn!(%error, "key provider");
            error.to_string()
        })
    }
}
