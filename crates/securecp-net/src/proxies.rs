//! Proxies of the environment, read as Go's programs read them.

use std::ffi::OsString;
use std::net::IpAddr;

use url::{Host, Url};

use crate::NetError;

/// The variables, which are also read in small letters.
const NAMES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Which requests go through which proxy. What is meant for this machine never does: its credentials would.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exempt: Vec<Exempt>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, PartialEq, Eq)]
enum Exempt {
    All,
    Address(IpAddr, Option<u16>),
    Network(IpAddr, u32),
    /// A domain, whether it is meant itself beside those below it, and the port.
    Domain(String, bool, Option<u16>),
}

impl Proxies {
    /// Those of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, or of the same in small letters.
    ///
    /// # Errors
    /// A proxy that is no URL of a known kind. Under CGI, `HTTP_PROXY` comes from whoever sends the request.
    pub(crate) fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, NetError> {
        let value = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let either = |name: &str| value(name).or_else(|| value(&name.to_lowercase()));
        if value("HTTP_PROXY").is_some() && value("REQUEST_METHOD").is_some() {
            return Err(bad("HTTP_PROXY", "not taken from the environment of a CGI program"));
        }
        let proxy = |name| match either(name) {
            Some(text) => parse(name, text.trim()).map(Some),
            None => Ok(None),
        };
        let all = proxy("ALL_PROXY")?;
        Ok(Self {
            http: proxy("HTTP_PROXY")?.or_else(|| all.clone()),
            https: proxy("HTTPS_PROXY")?.or(all),
            exempt: either("NO_PROXY")
                .map(|list| list.split(',').filter_map(Exempt::of).collect())
                .unwrap_or_default(),
        })
    }

    /// Those of this process.
    pub(crate) fn of_environment() -> Result<Self, NetError> {
        Self::of_variables(&|name| std::env::var_os(name))
    }

    /// # Errors
    /// As [`Self::of`], or one that is not UTF-8: what it forbids or demands would not be heard.
    fn of_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, NetError> {
        for name in NAMES.into_iter().flat_map(|name| [name.to_owned(), name.to_lowercase()]) {
            if variable(&name).is_some_and(|value| value.to_str().is_none()) {
                return Err(bad(&name, "is not UTF-8"));
            }
        }
        Self::of(&|name| variable(name).and_then(|value| value.into_string().ok()))
    }

    /// The proxy for a request to `url`, if there is one.
    pub(crate) fn proxy_for(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let direct = is_this_machine(url) || self.exempt.iter().any(|one| one.covers(url));
        (!direct).then_some(proxy)
    }
}

impl Exempt {
    fn of(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_lowercase();
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let (address, bits) = (bare(address).parse().ok()?, bits.parse().ok()?);
            return (bits <= width(address)).then_some(Self::Network(address, bits));
        }
        let (host, port) = split_port(&entry);
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let below = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        let domain = below.unwrap_or(host).trim_end_matches('.');
        (!domain.is_empty()).then(|| Self::Domain(domain.to_owned(), below.is_none(), port))
    }

    fn covers(&self, url: &Url) -> bool {
        let at = |port: &Option<u16>| port.is_none() || *port == url.port_or_known_default();
        match (self, url.host()) {
            (Self::All, _) => true,
            (Self::Domain(domain, itself, port), Some(Host::Domain(name))) => {
                let name = name.trim_end_matches('.');
                let below = name.strip_suffix(domain.as_str());
                let named = below.is_some_and(|b| b.ends_with('.') || (b.is_empty() && *itself));
                named && at(port)
            }
            (Self::Address(address, port), _) => address_of(url) == Some(*address) && at(port),
            (Self::Network(network, bits), _) => {
                address_of(url).is_some_and(|address| is_within(address, *network, *bits))
            }
            _ => false,
        }
    }
}

/// `HOST:PORT` in two; more than one colon is an address of version 6.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn address_of(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(IpAddr::from(address).to_canonical()),
        Host::Domain(_) => None,
    }
}

fn is_this_machine(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else {
        return address_of(url).is_some_and(|address| address.is_loopback());
    };
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let dropped = width(network) - bits;
    let head = |address| number(address).checked_shr(dropped).unwrap_or(0);
    address.is_ipv4() == network.is_ipv4() && head(address) == head(network)
}

/// A proxy's URL, `http://` if it has no scheme. The value may hold a password and is never shown.
fn parse(name: &str, text: &str) -> Result<Url, NetError> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url: Url = whole.parse().map_err(|_| bad(name, "not a URL"))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
        return Err(bad(name, "expected the scheme http, https, socks5 or socks5h"));
    }
    if url.host().is_none_or(|host| host == Host::Domain("")) {
        return Err(bad(name, "names no host"));
    }
    Ok(url)
}

fn bad(name: &str, problem: &str) -> NetError {
    NetError::ProxySettings { variable: name.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, NetError> {
        Proxies::of(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    /// Whether a request goes through the proxy.
    fn intercepts(proxies: &Proxies, url: &str) -> bool {
        proxies.proxy_for(&url.parse().unwrap()).is_some()
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        let found = proxies(&[("ALL_PROXY", "http://p.test:3128")]).unwrap();
        for url in [
            "http://localhost:5000/v2/",
            "http://LOCALHOST./",
            "https://registry.localhost/",
            "http://127.0.0.1:5000/",
            "https://127.8.9.10/",
            "http://[::1]:5000/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(!intercepts(&found, url), "{url}");
        }
        for url in
            ["http://notlocalhost/", "https://128.0.0.1/", "http://10.0.0.1/", "http://[::2]/"]
        {
            assert!(intercepts(&found, url), "{url}");
        }
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let variables = [
            ("HTTPS_PROXY", "https://secure.test"),
            ("https_proxy", "http://small.test"),
            ("http_proxy", "plain.test:8080"),
            ("ALL_PROXY", "socks5h://all.test:1080"),
        ];
        let of = |variables: &[(&str, &str)], url: &str| {
            let found = proxies(variables).unwrap();
            found.proxy_for(&url.parse().unwrap()).map(Url::to_string)
        };
        let (http, https) = ("http://r.test/", "https://r.test/");
        assert_eq!(of(&variables, https).unwrap(), "https://secure.test/");
        assert_eq!(of(&variables, http).unwrap(), "http://plain.test:8080/");
        assert_eq!(of(&variables[1..], https).unwrap(), "http://small.test/");
        assert_eq!(of(&variables[3..], https).unwrap(), "socks5h://all.test:1080");
        assert_eq!(of(&variables[2..3], https), None);
        assert_eq!(
            of(&[("HTTP_PROXY", " "), ("http_proxy", "x.test")], http).unwrap(),
            "http://x.test/"
        );
    }

    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        let list = "a.test, .b.test,*.c.test,d.test:8443,10.1.2.3,10.2.0.0/16,[fd00::1]:80,fd01::/16,192.0.2.7:5000,,bad:port";
        let found = proxies(&[("all_proxy", "p.test"), ("no_proxy", list)]).unwrap();
        for (url, direct) in [
            ("http://a.test/", true),
            ("http://x.a.test:99/", true),
            ("http://A.TEST./", true),
            ("http://nota.test/", false),
            ("http://b.test/", false),
            ("http://x.b.test/", true),
            ("http://c.test/", false),
            ("http://y.x.c.test/", true),
            ("https://d.test:8443/", true),
            ("https://x.d.test:8443/", true),
            ("https://d.test/", false),
            ("http://10.1.2.3:1/", true),
            ("http://10.1.2.4/", false),
            ("http://10.2.255.1/", true),
            ("http://10.3.0.0/", false),
            ("http://[fd00::1]/", true),
            ("http://[fd00::1]:81/", false),
            ("http://[fd01::99]/", true),
            ("http://192.0.2.7:5000/", true),
            ("http://192.0.2.7/", false),
        ] {
            assert_eq!(!intercepts(&found, url), direct, "{url}");
        }
        let none = proxies(&[("all_proxy", "p.test"), ("NO_PROXY", "*")]).unwrap();
        assert!(!intercepts(&none, "https://r.test/"));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_without_its_password() {
        for (variables, phrase) in [
            (vec![("HTTPS_PROXY", "ftp://u:geheim@p.test")], "HTTPS_PROXY: expected the scheme"),
            (vec![("https_proxy", "socks4://u:geheim@p.test")], "expected the scheme"),
            (vec![("http_proxy", "http://u:geheim@[")], "HTTP_PROXY: not a URL"),
            (vec![("http_proxy", "http://")], "HTTP_PROXY: not a URL"),
            (vec![("HTTP_PROXY", "p.test"), ("REQUEST_METHOD", "GET")], "CGI"),
        ] {
            let error = proxies(&variables).err().unwrap().to_string();
            assert!(error.contains(phrase) && !error.contains("geheim"), "{error}");
        }
        assert!(proxies(&[("http_proxy", "p.test"), ("REQUEST_METHOD", "GET")]).is_ok());
    }

    #[test]
    fn a_variable_that_is_not_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt as _;
        for odd in ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "all_proxy"] {
            let variable = |name: &str| {
                (name == odd).then(|| OsString::from_vec(b"http://p.test:1/\xff".to_vec()))
            };
            let Err(error) = Proxies::of_variables(&variable) else { panic!("{odd}") };
            assert!(error.to_string().contains(odd), "{error}");
        }
        let good = |name: &str| (name == "http_proxy").then(|| "http://p.test:1".into());
        assert!(intercepts(&Proxies::of_variables(&good).unwrap(), "http://r.test/"));
    }
}
