use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use securecp_layer::{Scope, Stopped, check_threads};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use crate::NetError;

/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long one wait may last without anything happening, and whom to blame.
pub(crate) struct Patience<'a> {
    pub(crate) host: &'a str,
    pub(crate) limit: Duration,
}

impl Patience<'_> {
    /// Bounds one step of the other side.
    pub(crate) async fn bound<T>(&self, step: impl Future<Output = T>) -> Result<T, NetError> {
        let late = |_| NetError::Stalled { host: self.host.to_owned(), limit: self.limit };
        tokio::time::timeout(self.limit, step).await.map_err(late)
    }
}

/// Waits on the runtime that all share, see [`wait_on`].
pub(crate) fn wait<T>(
    scope: &Scope,
    future: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    wait_on(runtime()?, scope, future)
}

/// The one door between threads and a runtime: blocks until `future` is done or `scope` ends. The time limit of each
/// step is set inside `future` with [`Patience::bound`], because one call may span several steps.
pub(crate) fn wait_on<T>(
    runtime: &Runtime,
    scope: &Scope,
    future: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    check_outside()?;
    scope.check()?;
    let stop = Arc::new(Notify::new());
    let _listener = scope.on_stop({
        let stop = Arc::clone(&stop);
        move || stop.notify_one()
    });
    runtime.block_on(async {
        tokio::select! {
            biased;
            result = future => result,
            () = ended(scope, &stop) => {
                Err(scope.check().err().unwrap_or(Stopped::Cancelled).into())
            }
        }
    })
}

/// Runs `future` in the background.
pub(crate) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<tokio::task::JoinHandle<T>, NetError> {
    Ok(runtime()?.spawn(future))
}

async fn ended(scope: &Scope, stop: &Notify) {
    match scope.deadline() {
        Some(deadline) => tokio::select! {
            () = stop.notified() => {}
            () = tokio::time::sleep_until(deadline.into()) => {}
        },
        None => stop.notified().await,
    }
}

/// A thread that runs tasks must not block.
pub(crate) fn check_outside() -> Result<(), NetError> {
    match Handle::try_current() {
        Ok(_) => Err(NetError::InsideRuntime),
        Err(_) => Ok(()),
    }
}

/// Does what blocks on a thread that is kept for it; may be called from any task.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<tokio::task::JoinHandle<T>, NetError> {
    Ok(shared()?.spawn_blocking(work))
}

fn runtime() -> Result<&'static Runtime, NetError> {
    check_outside()?;
    shared()
}

/// Starts the runtime that all share. To be called as early as it is known that there will be requests: threads that a job
/// starts in the meantime may take the places that were found for those of the runtime.
pub(crate) fn begin() -> Result<(), NetError> {
    shared().map(drop)
}

/// The runtime that all share, started by the first call and never stopped.
fn shared() -> Result<&'static Runtime, NetError> {
    static RUNTIME: OnceLock<Result<Runtime, Arc<io::Error>>> = OnceLock::new();
    let found = RUNTIME.get_or_init(|| start().map_err(Arc::new));
    found.as_ref().map_err(|error| NetError::Runtime(Arc::clone(error)))
}

/// tokio panics where a thread cannot be had, so it is asked for none that cannot.
fn start() -> io::Result<Runtime> {
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    // One more for names of hosts, and as many again for what else starts in the meantime.
    check_threads(2 * (workers + 1))?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_name("securecp-net").enable_all();
    let runtime = builder.thread_keep_alive(FOR_EVER).build()?;
    // As long as there is one such thread, work that finds no other waits for it.
    drop(runtime.spawn_blocking(|| ()));
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn cancel_and_deadline_end_a_wait_that_would_last_for_ever() {
        let scope = Scope::new();
        let other = scope.clone();
        let start = Instant::now();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            other.cancel();
        });
        let result: Result<(), _> = wait(&scope, std::future::pending());
        assert!(matches!(result, Err(NetError::Stopped(Stopped::Cancelled))));
        thread.join().unwrap();
        let scope = Scope::lasting(Duration::from_millis(50));
        let result: Result<(), _> = wait(&scope, std::future::pending());
        assert!(matches!(result, Err(NetError::Stopped(Stopped::Deadline { .. }))));
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn patience_ends_a_stalled_step() {
        let patience = Patience { host: "h", limit: Duration::from_millis(20) };
        let result =
            wait(&Scope::new(), async { patience.bound(std::future::pending::<()>()).await });
        assert!(matches!(result, Err(NetError::Stalled { .. })));
    }

    #[test]
    fn a_call_from_inside_a_task_is_refused() {
        let outer = Builder::new_current_thread().build().unwrap();
        let result = outer.block_on(async { wait(&Scope::new(), async { Ok(()) }) });
        assert!(matches!(result, Err(NetError::InsideRuntime)));
    }
}
