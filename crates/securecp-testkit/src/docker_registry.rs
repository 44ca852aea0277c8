use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::{Result, TestkitError, Tried};
use crate::http::Request;
use crate::tls::Identity;

const PROGRAM: &str = "docker-registry";
const PATIENCE: Duration = Duration::from_secs(20);
const ATTEMPTS: usize = 5;

/// How Debian's docker-registry is started; everything is off by default.
#[derive(Debug, Clone, Default)]
pub struct DockerRegistrySettings {
    /// Ask for the user [`DockerRegistry::USER`] with [`DockerRegistry::PASSWORD`].
    pub htpasswd: bool,
    /// Speak TLS with this certificate.
    pub tls: Option<Identity>,
    /// With TLS: clients must show a certificate of this authority (PEM).
    pub client_authority: Option<String>,
    /// Refuse writes.
    pub read_only: bool,
    /// Allow deletion.
    pub delete: bool,
    /// Where it stores; a temporary directory if not given. Two registries may serve one after the other.
    pub storage: Option<PathBuf>,
}

/// Debian's docker-registry on a free loopback port; it is killed when this is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
    storage: PathBuf,
}

impl DockerRegistry {
    /// The user that `htpasswd` knows.
    pub const USER: &'static str = "tester";
    /// The password of the user.
    pub const PASSWORD: &'static str = "open sesame";
    /// Both, in bcrypt, as the registry wants it.
    const HTPASSWD: &'static str =
        "tester:$2y$04$h.bAY8Zw1mjRiQGwOFaVouBuuNqz0fn9xx39CRs4v1/94pEmYvsQe\n";

    /// Starts it without authentication, over plain HTTP, deletion allowed.
    ///
    /// # Errors
    /// It is not installed, or does not become ready.
    pub fn start() -> Result<Self> {
        Self::start_with(&DockerRegistrySettings { delete: true, ..Default::default() })
    }

    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or does not become ready.
    pub fn start_with(settings: &DockerRegistrySettings) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            // The port was free a moment ago; somebody may have been quicker.
            match Self::attempt(settings) {
                Err(TestkitError::NotReady { program, found })
                    if found.contains("address already in use") =>
                {
                    last = Some(TestkitError::NotReady { program, found });
                }
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| not_ready("no attempt was made")))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it stores.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    fn attempt(settings: &DockerRegistrySettings) -> Result<Self> {
        let folder = tempfile::tempdir().tried("making a temporary directory")?;
        let address = free_address().tried("finding a free port")?;
        let own = folder.path().join("storage");
        let storage = settings.storage.clone().unwrap_or(own);
        let config = configure(settings, folder.path(), (address, &storage))
            .tried("configuring docker-registry")?;
        let child = spawn(folder.path(), &config)?;
        let mut registry = Self { address, child, folder, storage };
        registry.wait(settings.tls.is_some())?;
        Ok(registry)
    }

    fn wait(&mut self, tls: bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().tried("watching docker-registry")? {
                return Err(not_ready(&format!("ended with {status}: {}", self.log())));
            }
            if self.listens() && self.answers(tls) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(not_ready(&format!("no answer in {PATIENCE:?}: {}", self.log())))
    }

    /// Whether it says so itself: its port is open before it has read its certificate, and may be somebody else's.
    fn listens(&self) -> bool {
        self.log().contains(&format!("listening on {}", self.address))
    }

    fn answers(&self, tls: bool) -> bool {
        if tls {
            return TcpStream::connect(self.address).is_ok();
        }
        let answer = Request::new("GET", "/v2/").send(self.address);
        answer.is_ok_and(|answer| matches!(answer.status, 200 | 401))
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn spawn(folder: &Path, config: &Path) -> Result<Child> {
    let output = File::create(folder.join("log")).tried("making a log file")?;
    let errors = output.try_clone().tried("making a log file")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let child = Command::new(PROGRAM)
        .arg("serve")
        .arg(config)
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn();
    match child {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(TestkitError::MissingPeer { program: PROGRAM.to_owned(), package: PROGRAM })
        }
        other => other.tried("starting docker-registry"),
    }
}

/// Writes the configuration and what it names; returns its path.
fn configure(
    settings: &DockerRegistrySettings,
    folder: &Path,
    (address, storage): (SocketAddr, &Path),
) -> io::Result<PathBuf> {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: false\nstorage:\n  filesystem:\n    rootdirectory: {}\n",
        quoted(storage)
    );
    if settings.delete {
        text += "  delete:\n    enabled: true\n";
    }
    if settings.read_only {
        text += "  maintenance:\n    readonly:\n      enabled: true\n";
    }
    text += &format!("http:\n  addr: {address}\n");
    if let Some(identity) = &settings.tls {
        text += "  tls:\n";
        text += &keep(folder, "certificate", "server.crt", &identity.certificate)?;
        text += &keep(folder, "key", "server.key", &identity.key)?;
        if let Some(authority) = &settings.client_authority {
            let path = folder.join("client-ca.crt");
            fs::write(&path, authority)?;
            text += &format!("    clientcas:\n      - {}\n", quoted(&path));
        }
    }
    if settings.htpasswd {
        text += "auth:\n  htpasswd:\n    realm: testkit\n";
        text += &keep(folder, "path", "htpasswd", DockerRegistry::HTPASSWD)?;
    }
    let path = folder.join("config.yml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Writes a file and returns the line that names it.
fn keep(folder: &Path, key: &str, name: &str, content: &str) -> io::Result<String> {
    let path = folder.join(name);
    fs::write(&path, content)?;
    Ok(format!("    {key}: {}\n", quoted(&path)))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn not_ready(found: &str) -> TestkitError {
    TestkitError::NotReady { program: PROGRAM.to_owned(), found: found.to_owned() }
}
