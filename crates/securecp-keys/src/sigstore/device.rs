//! Logging in on another device (RFC 8628).

use std::time::{Duration, Instant};

use securecp_layer::Scope;
use securecp_oci::Escaped;
use serde_json::Value;

use super::identity::Tell;
use super::provider::{Challenge, Granted, Provider};
use super::{KeylessError, SecretText};

/// Longest time that is waited, whatever the provider says.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Tells the user where to log in and waits until they did.
pub(super) fn token(
    provider: &Provider<'_>,
    tell: &Tell,
    scope: &Scope,
) -> Result<SecretText, KeylessError> {
    let challenge = Challenge::new()?;
    let url = provider.endpoint("device_authorization_endpoint")?;
    let members = [
        ("client_id", provider.client_id),
        ("scope", "openid email"),
        ("code_challenge", challenge.challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let answer = provider.service.post_form(url, &members, scope)?;
    let answer = provider.service.object(&provider.service.accepted(answer, &[])?)?;
    let text = |key| answer.get(key).and_then(Value::as_str);
    let code = text("device_code").ok_or_else(|| provider.service.odd("a device code"))?;
    let place = text("verification_uri_complete").or_else(|| text("verification_uri"));
    let place = place.ok_or_else(|| provider.service.odd("a place to log in"))?;
    let shown = |text: &str| Escaped::new(text).limit(1000).to_string();
    let user_code = text("user_code").unwrap_or_default();
    tell(&format!("to sign, log in at {} with the code {}", shown(place), shown(user_code)));
    let seconds = |key| answer.get(key).and_then(Value::as_u64);
    let limit = Duration::from_secs(seconds("expires_in").unwrap_or(600)).min(PATIENCE);
    let wait = Wait { code, pause: pause(seconds("interval")), limit };
    wait.token(provider, &challenge, scope)
}

/// Between two questions: never none, whatever the provider says, and no more than a minute.
fn pause(interval: Option<u64>) -> Duration {
    Duration::from_secs(interval.unwrap_or(5).clamp(1, 60))
}

struct Wait<'a> {
    code: &'a str,
    pause: Duration,
    limit: Duration,
}

impl Wait<'_> {
    fn token(
        mut self,
        provider: &Provider<'_>,
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<SecretText, KeylessError> {
        let start = Instant::now();
        let members = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", self.code),
        ];
        while start.elapsed() < self.limit {
            match provider.grant(&members, challenge, scope)? {
                Granted::Token(token) => return Ok(token),
                Granted::Pending { slower } => self.pause += slower,
            }
            scope.sleep(self.pause)?;
        }
        Err(KeylessError::Login("nobody logged in in time".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_never_asked_without_a_pause() {
        for (interval, seconds) in [(None, 5), (Some(0), 1), (Some(7), 7), (Some(u64::MAX), 60)] {
            assert_eq!(pause(interval), Duration::from_secs(seconds));
        }
    }
}
