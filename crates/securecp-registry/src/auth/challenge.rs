use http_auth::{ChallengeParser, ChallengeRef};
use securecp_net::{HeaderMap, Url, header};

use crate::auth::Grants;

/// How a registry wants to be convinced (RFC 9110 section 11.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
    pub(crate) grants: Grants,
}

/// The challenge to answer: Bearer before Basic, each the first that can be understood.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    let found: Vec<Challenge> = texts.flat_map(parse).collect();
    let bearer = found.iter().find(|challenge| matches!(challenge, Challenge::Bearer(_)));
    bearer.or(found.first()).cloned()
}

/// Every challenge of one header up to the first that is malformed.
fn parse(text: &str) -> Vec<Challenge> {
    let challenges = ChallengeParser::new(text).map_while(Result::ok);
    challenges.filter_map(|challenge| understand(&challenge)).collect()
}

fn understand(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !challenge.scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Challenge::Bearer(Bearer {
        realm: parameter("realm")?.parse().ok()?,
        service: parameter("service").filter(|service| !service.is_empty()),
        grants: Grants::parse(&parameter("scope").unwrap_or_default()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        choose(&headers)
    }

    #[test]
    fn prefers_bearer_wherever_it_stands() {
        let bearer =
            r#"Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull""#;
        for values in [
            vec![bearer],
            vec![r#"Basic realm="x""#, bearer],
            vec![&format!(r#"Basic realm="x", {bearer}"#)],
            vec!["Negotiate", bearer],
        ] {
            let Some(Challenge::Bearer(found)) = chosen(&values) else { panic!("{values:?}") };
            assert_eq!(found.realm.as_str(), "https://auth.example/token");
            assert_eq!(found.grants, Grants::pull("a"));
        }
        assert_eq!(chosen(&["bAsIc realm=\"x\""]), Some(Challenge::Basic));
    }

    #[test]
    fn what_cannot_be_understood_is_no_challenge() {
        for value in [
            "",
            "Digest realm=\"x\"",
            "Bearer",
            "Bearer realm=\"not a url\"",
            "=,=\"",
            "Bearer realm=",
        ] {
            assert_eq!(chosen(&[value]), None, "{value}");
        }
    }
}
