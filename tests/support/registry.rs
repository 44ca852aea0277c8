//! Debian's docker-registry on a free loopback port.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running docker-registry; ends when dropped.
pub(crate) struct DockerRegistry {
    port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl DockerRegistry {
    /// Starts one over plain HTTP without authentication.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with further lines of configuration.
    pub(crate) fn start_with(further: &str) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let storage = folder.path().join("storage");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: '127.0.0.1:{port}'}}\n{further}",
                storage.display()
            ),
        )
        .unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is needed for the interop tests: ./test installs it");
        let registry = Self { port, child, folder };
        registry.wait_until_ready();
        registry
    }

    /// `docker://HOST:PORT/REPOSITORY`.
    pub(crate) fn image(&self, repository: &str) -> String {
        format!("docker://127.0.0.1:{}/{repository}", self.port)
    }

    /// Number of requests with one of these methods in the access log.
    pub(crate) fn log_lines(&self, methods: &[&str]) -> usize {
        // the log is written behind the answer
        std::thread::sleep(Duration::from_millis(200));
        let mut text = String::new();
        let path: PathBuf = self.folder.path().join("log");
        std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
        let hit = |line: &&str| methods.iter().any(|m| line.contains(&format!("\"{m} /v2/")));
        text.lines().filter(hit).count()
    }

    fn wait_until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "docker-registry did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
