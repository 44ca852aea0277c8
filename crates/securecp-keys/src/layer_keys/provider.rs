use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use securecp_crypt::{
    Provider, ProviderAddress, ProviderCall, ProviderConfig, ProviderOperation, ProviderSpec,
    Secret,
};
use securecp_net::GrpcService;
use securecp_oci::{Escaped, WithCauses};

use super::program::Program;
use super::protobuf;
use crate::LayerKeyError;

/// How long a provider may take for one key; it may have to ask a service far away.
const TIME: Duration = Duration::from_secs(120);
/// Largest response, in bytes.
const RESPONSE_LIMIT: usize = 1 << 20;
/// What a provider gets to see of the environment: how to find its home, its language and the network.
const ENVIRONMENT: [&str; 19] = [
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
    "ALL_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
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
    /// It is not configured, its program is not named by an absolute path, or its gRPC address cannot be used.
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
            Some(ProviderAddress::Grpc(address)) => {
                let service = GrpcService::new(address.parse()?, TIME, RESPONSE_LIMIT);
                Ok(Provider::new(name, specs, Arc::new(Service(service))))
            }
            Some(_) => Err(fail(
                "gRPC over TLS is not supported, configure a command or a service on this machine",
            )),
            None => Err(fail("not in the configuration that OCICRYPT_KEYPROVIDER_CONFIG names")),
        }
    }
}

/// A provider that is a program: one run for each request.
struct Command(Program);

impl ProviderCall for Command {
    fn call(&self, _: ProviderOperation, request: &Secret) -> Result<Secret, String> {
        self.0.run(request).map_err(|error| told(&error))
    }
}

/// A provider that is a gRPC service (`keyprovider.proto` of ocicrypt): each message holds one document in field 1.
struct Service(GrpcService);

impl ProviderCall for Service {
    fn call(&self, operation: ProviderOperation, request: &Secret) -> Result<Secret, String> {
        let method = match operation {
            ProviderOperation::Wrap => "/keyprovider.KeyProviderService/WrapKey",
            ProviderOperation::Unwrap => "/keyprovider.KeyProviderService/UnWrapKey",
        };
        let answer = self.0.call(method, &protobuf::message(request)).map_err(|e| told(&e))?;
        let found = protobuf::field(&answer);
        found.ok_or_else(|| "the response is not the message of keyprovider.proto".to_owned())
    }
}

/// The error with its causes. It is also logged: where another key fits, nobody else shows it.
fn told(error: &dyn std::error::Error) -> String {
    let text = WithCauses(error).to_string();
    tracing::warn!(error = text, "key provider");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs look for them in capitals, in small letters, or both.
    #[test]
    fn proxies_reach_providers_under_both_names() {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            let small = name.to_lowercase();
            let both = [name, small.as_str()].map(|name| ENVIRONMENT.contains(&name));
            assert_eq!(both, [true, true], "{name}");
        }
    }
}
