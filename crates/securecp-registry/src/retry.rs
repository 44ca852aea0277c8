use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use securecp_layer::Scope;
use securecp_net::Gate;
use securecp_oci::WithCauses;

use crate::{Class, RegistryError};

/// How often and how fast a failed request is tried again. Only failures that may pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Further attempts after the first.
    pub times: u32,
    /// The time before each; without one it doubles from half a second on.
    pub delay: Option<Duration>,
    /// Further attempts, if these are more, after the registry has asked for fewer requests.
    pub times_when_limited: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { times: 4, delay: None, times_when_limited: 0 }
    }
}

/// The longest time between two attempts that we choose ourselves.
const LONGEST: Duration = Duration::from_secs(60);

/// A request that has waited for less than this, all in all, needs no explanation.
const UNNOTICED: Duration = Duration::from_secs(1);

impl RetryPolicy {
    /// One attempt only.
    pub const NEVER: Self = Self { times: 0, delay: None, times_when_limited: 0 };

    /// Calls `attempt` until it succeeds, fails for good, or has failed too often. When `host` asks to be left alone,
    /// it is left alone by every request of the process. A wait that a person would notice is told as a warning.
    ///
    /// # Errors
    /// The last failure, or the scope ended.
    pub(crate) fn run<T>(
        &self,
        host: &str,
        gate: &Gate,
        scope: &Scope,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failed = 0;
        let mut waited = Duration::ZERO;
        loop {
            let error = match attempt() {
                Err(error) if failed < self.limit(&error) && error.is_transient() => error,
                result => return result,
            };
            let wait = self.wait(failed, &error);
            tracing::info!(host, attempt = failed + 1, ?wait, %error, "trying again");
            waited += wait;
            failed += 1;
            if waited >= UNNOTICED {
                let limit = self.limit(&error);
                tracing::warn!(
                    "trying {host} again in {wait:.1?} ({failed} of {limit}): {}",
                    WithCauses(&error)
                );
            }
            if error.class() == Class::RateLimited || error.retry_after().is_some() {
                gate.hold(host, wait);
            }
            scope.sleep(wait).map_err(|stopped| error.stopped(stopped))?;
        }
    }

    /// Most further attempts after such a failure.
    fn limit(&self, error: &RegistryError) -> u32 {
        match error.class() {
            Class::RateLimited => self.times.max(self.times_when_limited),
            _ => self.times,
        }
    }

    /// The user's wish or 0.5 s · 2ⁿ, and the server's if that is longer: one that says "at once" again and again is not
    /// to be pressed. Up to a quarter more, so that parallel transfers do not return all at once.
    fn wait(&self, failed: u32, error: &RegistryError) -> Duration {
        let doubling = Duration::from_millis(500).saturating_mul(1 << failed.min(10)).min(LONGEST);
        let wait = self.delay.unwrap_or(doubling).max(error.retry_after().unwrap_or_default());
        wait + wait.mul_f64(chance() / 4.0)
    }
}

/// A number from 0 to 1 that differs each time; it need not be hard to guess.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}
