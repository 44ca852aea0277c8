use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use securecp_layer::Scope;
use securecp_net::Gate;

use crate::{Class, RegistryError};

/// How often and how fast a failed request is tried again. Only failures that may pass are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Further attempts after the first.
    pub times: u32,
    /// The time before each; without one it doubles from half a second on.
    pub delay: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { times: 4, delay: None }
    }
}

/// The longest time between two attempts that we choose ourselves.
const LONGEST: Duration = Duration::from_secs(60);

impl RetryPolicy {
    /// One attempt only.
    pub const NEVER: Self = Self { times: 0, delay: None };

    /// Calls `attempt` until it succeeds, fails for good, or has failed too often. When `host` asks to be left alone,
    /// it is left alone by every request of the process.
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
        loop {
            let error = match attempt() {
                Err(error) if failed < self.times && error.is_transient() => error,
                result => return result,
            };
            let wait = self.wait(failed, &error);
            tracing::info!(host, attempt = failed + 1, ?wait, %error, "trying again");
            failed += 1;
            if error.class() == Class::RateLimited || error.retry_after().is_some() {
                gate.hold(host, wait);
            }
            scope.sleep(wait).map_err(|stopped| error.stopped(stopped))?;
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
