//! The key-provider protocol of ocicrypt: JSON documents that another program answers. The documents are made and read
//! here; running the program is somebody else's work.
//!
//! A request names only the provider's own parameters. The reference sends every private key and passphrase that was
//! given on its command line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use securecp_oci::base64;
use securecp_oci::json::{self, Limits};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::secret::SecretText;
use crate::{
    Budget, CryptError, KeyUnwrapper, KeyWrapper, ProviderSpec, Recipient, Scheme, Secret,
    Unwrapped,
};

/// Largest configuration that is read, in bytes.
const CONFIG_LIMIT: usize = 1 << 20;

/// How a provider is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderAddress {
    /// A program that reads the request on its standard input and writes the response to its standard output.
    Command {
        /// The program.
        path: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// A gRPC service at this address, as gRPC writes addresses.
    Grpc(String),
    /// A gRPC service behind TLS (`grpc-tls`).
    GrpcTls(String),
}

/// The providers that the user's configuration knows.
#[derive(Debug, Clone, Default)]
pub struct ProviderConfig(BTreeMap<String, ProviderAddress>);

impl ProviderConfig {
    /// Reads the file that `OCICRYPT_KEYPROVIDER_CONFIG` names.
    ///
    /// # Errors
    /// It is not strict JSON, or a provider has neither a command nor a gRPC address.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptError> {
        let value = json::parse(bytes, Limits::bytes(CONFIG_LIMIT))
            .map_err(|error| malformed(&error.to_string()))?;
        let providers = match value.get("key-providers") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(value) => {
                value.as_object().ok_or_else(|| malformed("key-providers is no object"))?
            }
        };
        let read = |(name, value): (&String, &Value)| {
            let address = address(value).ok_or_else(|| {
                let shown = securecp_oci::Escaped::new(name).limit(80);
                malformed(&format!("provider {shown} has neither cmd with a path nor grpc"))
            })?;
            Ok((name.clone(), address))
        };
        providers.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// How the provider of that name is reached.
    pub fn address(&self, name: &str) -> Option<&ProviderAddress> {
        self.0.get(name)
    }
}

fn malformed(problem: &str) -> CryptError {
    let problem = problem.to_owned();
    CryptError::Option { option: "key provider configuration", problem }
}

/// A command wins over gRPC, as in the reference.
fn address(value: &Value) -> Option<ProviderAddress> {
    if let Some(command) = value.get("cmd").filter(|v| !v.is_null()) {
        let path = command.get("path")?.as_str()?.into();
        let arguments = match command.get("args") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => list
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        };
        return Some(ProviderAddress::Command { path, arguments });
    }
    let address = value.get("grpc")?.as_str()?.to_owned();
    Some(match value.get("grpc-tls") {
        None | Some(Value::Null) => ProviderAddress::Grpc(address),
        Some(_) => ProviderAddress::GrpcTls(address),
    })
}

/// What a provider is asked to do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderOperation {
    /// Wrap it.
    Wrap,
    /// Unwrap it.
    Unwrap,
}

/// Sends one request to a provider and returns its response.
pub trait ProviderCall: Send + Sync {
    /// Asks once.
    ///
    /// # Errors
    /// The provider could not be reached, failed or took too long; the text is for people and holds no secret.
    fn call(&self, operation: ProviderOperation, request: &Secret) -> Result<Secret, String>;
}

/// A key provider as a place to wrap and unwrap keys.
pub struct Provider {
    name: String,
    parameters: Vec<String>,
    call: Arc<dyn ProviderCall>,
}

impl Provider {
    /// Takes everything the user gave for one provider; all `specs` name the same one.
    pub fn new(name: &str, specs: &[ProviderSpec], call: Arc<dyn ProviderCall>) -> Self {
        let own = specs.iter().filter(|spec| spec.name == name);
        let parameters = own.map(|spec| spec.parameter.clone()).collect();
        Self { name: name.to_owned(), parameters, call }
    }

    fn scheme(&self) -> Scheme {
        Scheme::Provider(self.name.clone())
    }

    /// `{"NAME":["BASE64",…]}`
    fn parameters(&self) -> Zeroizing<String> {
        let encoded: Vec<_> = self
            .parameters
            .iter()
            .map(|text| Zeroizing::new(format!("\"{}\"", base64::encode(text.as_bytes()))))
            .collect();
        let list: Vec<_> = encoded.iter().map(|text| text.as_str()).collect();
        let list = Zeroizing::new(list.join(","));
        Zeroizing::new(format!("{{{}:[{}]}}", Value::from(self.name.as_str()), list.as_str()))
    }

    fn wrap_request(&self, options: &Secret) -> Secret {
        let (parameters, data) = (self.parameters(), Zeroizing::new(base64::encode(options)));
        joined(&[
            r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":"#,
            &parameters,
            r#","DecryptConfig":{"Parameters":{}}},"optsdata":""#,
            &data,
            r#""},"keyunwrapparams":{"dc":null,"annotation":null}}"#,
        ])
    }

    fn unwrap_request(&self, item: &[u8]) -> Secret {
        let (parameters, data) = (self.parameters(), base64::encode(item));
        joined(&[
            r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":"#,
            &parameters,
            r#"},"annotation":""#,
            &data,
            r#""}}"#,
        ])
    }
}

fn joined(parts: &[&str]) -> Secret {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    Secret::new(out)
}

#[derive(Deserialize)]
struct WrapResponse {
    keywrapresults: WrapResults,
}

#[derive(Deserialize)]
struct WrapResults {
    annotation: String,
}

#[derive(Deserialize)]
struct UnwrapResponse {
    keyunwrapresults: UnwrapResults,
}

#[derive(Deserialize)]
struct UnwrapResults {
    optsdata: SecretText,
}

impl KeyWrapper for Provider {
    fn scheme(&self) -> Scheme {
        self.scheme()
    }

    fn recipients(&self) -> Vec<Recipient> {
        vec![Recipient { scheme: self.scheme(), id: "key provider".to_owned() }]
    }

    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError> {
        let fail = |problem: String| CryptError::Wrap { scheme: self.scheme(), problem };
        let response = self.call.call(ProviderOperation::Wrap, &self.wrap_request(options));
        let response = response.map_err(fail)?;
        let read: Option<WrapResponse> = serde_json::from_slice(&response).ok();
        let item = read.and_then(|read| base64::decode(&read.keywrapresults.annotation).ok());
        let item = item.ok_or_else(|| fail("the response holds no wrapped key".to_owned()))?;
        if item.is_empty() || item.windows(options.len().max(1)).any(|part| part == &**options) {
            return Err(fail("the response is empty or holds the key in clear".to_owned()));
        }
        Ok(item)
    }
}

impl KeyUnwrapper for Provider {
    fn scheme(&self) -> Scheme {
        self.scheme()
    }

    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError> {
        budget.spend()?;
        let request = self.unwrap_request(item);
        let response = match self.call.call(ProviderOperation::Unwrap, &request) {
            Ok(response) => response,
            Err(problem) => return Ok(Unwrapped::Failed(problem)),
        };
        let read: Option<UnwrapResponse> = serde_json::from_slice(&response).ok();
        let options = read.and_then(|read| base64::decode(&read.keyunwrapresults.optsdata.0).ok());
        Ok(match options {
            Some(options) if !options.is_empty() => Unwrapped::Mine(Secret::new(options)),
            _ => Unwrapped::Failed("the response holds no unwrapped key".to_owned()),
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Answers with a fixed text and keeps what it was asked.
    struct Fixed {
        answer: Result<&'static str, &'static str>,
        asked: Mutex<Vec<String>>,
    }

    impl ProviderCall for Fixed {
        fn call(&self, operation: ProviderOperation, request: &Secret) -> Result<Secret, String> {
            let text = String::from_utf8(request.to_vec()).unwrap();
            assert_eq!(text.contains("\"keywrap\""), operation == ProviderOperation::Wrap);
            self.asked.lock().unwrap().push(text);
            let answer = self.answer.map(|text| Secret::new(text.as_bytes().to_vec()));
            answer.map_err(str::to_owned)
        }
    }

    fn provider(answer: Result<&'static str, &'static str>) -> (Provider, Arc<Fixed>) {
        let fixed = Arc::new(Fixed { answer, asked: Mutex::default() });
        let spec = |name: &str, parameter: &str| ProviderSpec {
            name: name.to_owned(),
            parameter: parameter.to_owned(),
        };
        let specs = [spec("kms", "a"), spec("other", "secret"), spec("kms", "b")];
        (Provider::new("kms", &specs, Arc::clone(&fixed) as Arc<dyn ProviderCall>), fixed)
    }

    #[test]
    fn asks_as_the_reference_does_but_with_its_own_parameters_only() {
        let (own, fixed) = provider(Ok(r#"{"keywrapresults":{"annotation":"YWJj"}}"#));
        assert_eq!(own.wrap(&Secret::new(b"options".to_vec())).unwrap(), b"abc");
        let (own, other) = provider(Ok(r#"{"keyunwrapresults":{"optsdata":"YWJj"},"x":1}"#));
        let outcome = own.unwrap(b"item", &Budget::default()).unwrap();
        assert!(matches!(outcome, Unwrapped::Mine(options) if *options == *b"abc"));
        let asked = [&fixed, &other].map(|fixed| fixed.asked.lock().unwrap().join(""));
        assert_eq!(
            asked[0],
            r#"{"op":"keywrap","keywrapparams":{"ec":{"Parameters":{"kms":["YQ==","Yg=="]},"DecryptConfig":{"Parameters":{}}},"optsdata":"b3B0aW9ucw=="},"keyunwrapparams":{"dc":null,"annotation":null}}"#
        );
        assert_eq!(
            asked[1],
            r#"{"op":"keyunwrap","keywrapparams":{"ec":null,"optsdata":null},"keyunwrapparams":{"dc":{"Parameters":{"kms":["YQ==","Yg=="]}},"annotation":"aXRlbQ=="}}"#
        );
    }

    #[test]
    fn bad_answers_fail_to_wrap_and_to_unwrap() {
        for answer in [
            Err("exit status 1"),
            Ok(""),
            Ok("{}"),
            Ok(r#"{"keywrapresults":{"annotation":""}}"#),
            Ok(r#"{"keywrapresults":{"annotation":"!"}}"#),
            Ok(r#"{"keywrapresults":{"annotation":null}}"#),
            Ok(r#"{"keyunwrapresults":{"optsdata":""}}"#),
            Ok(r#"{"keyunwrapresults":{"optsdata":"!"}}"#),
        ] {
            let (own, _) = provider(answer);
            assert!(own.wrap(&Secret::new(b"options".to_vec())).is_err(), "{answer:?}");
            let outcome = own.unwrap(b"item", &Budget::default()).unwrap();
            assert!(matches!(outcome, Unwrapped::Failed(_)), "{answer:?}");
        }
    }

    #[test]
    fn a_provider_that_returns_the_key_in_clear_is_refused() {
        let (own, _) =
            provider(Ok(r#"{"keywrapresults":{"annotation":"eHgwMTIzNDU2Nzg5YWJjZGVmeHg="}}"#));
        let error = own.wrap(&Secret::new(b"0123456789abcdef".to_vec())).unwrap_err();
        assert!(error.to_string().contains("in clear"), "{error}");
    }

    #[test]
    fn reads_the_configuration_strictly() {
        let text = r#"{"key-providers":{"a":{"cmd":{"path":"/bin/a","args":["x"]},"grpc":"h:1"},"b":{"grpc":"h:2"},"c":{"cmd":{"path":"/c"}}}}"#;
        let config = ProviderConfig::parse(text.as_bytes()).unwrap();
        let command = |path: &str, arguments: &[&str]| ProviderAddress::Command {
            path: path.into(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(config.address("a"), Some(&command("/bin/a", &["x"])));
        assert_eq!(config.address("b"), Some(&ProviderAddress::Grpc("h:2".to_owned())));
        assert_eq!(config.address("c"), Some(&command("/c", &[])));
        assert_eq!(config.address("d"), None);
        let tls = br#"{"key-providers":{"a":{"grpc":"h:1","grpc-tls":{}}}}"#;
        let tls = ProviderConfig::parse(tls).unwrap();
        assert_eq!(tls.address("a"), Some(&ProviderAddress::GrpcTls("h:1".to_owned())));
        assert!(ProviderConfig::parse(b"{}").unwrap().address("a").is_none());
        for bad in [
            "",
            r#"{"key-providers":[]}"#,
            r#"{"key-providers":{"a":{}}}"#,
            r#"{"key-providers":{"a":{"path":"/bin/a"}}}"#,
            r#"{"key-providers":{"a":{"cmd":{"path":"/a","args":[1]}}}}"#,
            r#"{"key-providers":{"a":{"grpc":"x"},"a":{"grpc":"y"}}}"#,
        ] {
            assert!(ProviderConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
