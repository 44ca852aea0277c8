use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether two URLs lead to the same scheme, host and port; only then may credentials be shared.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether a URL names this machine or a private network by a literal address or as `localhost`.
pub fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => private_v4(address),
        Some(Host::Ipv6(address)) => private_v6(address),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    }
}

fn private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || address.is_broadcast()
        || address.is_multicast()
}

fn private_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped().map(IpAddr::V4) {
        Some(IpAddr::V4(mapped)) => private_v4(mapped),
        _ => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_private_addresses() {
        let private = ["http://127.0.0.1", "http://10.1.2.3", "http://169.254.169.254/latest"];
        let more = [
            "http://[::1]:5000",
            "http://[::ffff:10.0.0.1]",
            "http://localhost",
            "http://[fd00::1]",
        ];
        for url in private.iter().chain(&more).chain(&["http://0x7f.1", "http://100.64.0.1"]) {
            assert!(is_private(&url.parse().unwrap()), "{url}");
        }
        for url in ["https://example.com", "https://8.8.8.8", "https://[2606:4700::1]"] {
            assert!(!is_private(&url.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn compares_scheme_host_and_port() {
        let base: Url = "https://a.example/v2/".parse().unwrap();
        assert!(same_origin(&base, &"https://a.example:443/x".parse().unwrap()));
        for other in ["http://a.example/", "https://b.example/", "https://a.example:444/"] {
            assert!(!same_origin(&base, &other.parse().unwrap()), "{other}");
        }
    }
}
