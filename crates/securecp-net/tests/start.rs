//! When the threads of the network start. Alone in its process: any other test would start them too.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::fs;
use std::time::{Duration, Instant};

use securecp_net::{Net, TimeLimits, TlsOptions};

/// How many threads of this process are the network's.
fn running() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name =
        |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(Result::unwrap).filter(|task| name(task).starts_with("securecp-net")).count()
}

#[test]
fn they_start_with_the_first_client_and_not_with_its_first_request() {
    let net = Net::new(TimeLimits::default());
    assert_eq!(running(), 0);
    let options = TlsOptions::default().dangerously_accept_any_certificate();
    let _client = net.client(&options).unwrap();
    // A thread gives itself its name when it first runs.
    let began = Instant::now();
    while running() == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "no thread of the network");
        std::thread::sleep(Duration::from_millis(1));
    }
}
