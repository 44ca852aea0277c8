//! Where the system gives only so many threads, the program does its work with those or says so: it never panics.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use cli::Place;
use securecp_testkit::{Fixture, Registry};

/// As many threads as each of these jobs must be content with.
const PLENTY: usize = 64;

/// A place in which the program runs as a user who has no other process.
struct Bench {
    place: Place,
    program: PathBuf,
    user: u32,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        // The user may not come to where the program was built.
        let program = place.path("securecp");
        fs::copy(env!("CARGO_BIN_EXE_securecp"), &program).unwrap();
        for folder in ["", "home", "out"] {
            fs::create_dir_all(place.path(folder)).unwrap();
            fs::set_permissions(place.path(folder), Permissions::from_mode(0o777)).unwrap();
        }
        static BENCHES: AtomicU32 = AtomicU32::new(0);
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        Self { place, program, user: 10_000_000 + 16 * std::process::id() + number }
    }

    /// Runs the words of `line` with at most so many threads. The limit does not hold for root.
    fn run(&self, limit: usize, line: &str) -> Output {
        let (user, nproc) = (self.user, format!("--nproc={limit}"));
        let mut words: Vec<String> = ["timeout", "--signal=KILL", "120"].map(str::to_owned).into();
        words.extend(match rustix::process::getuid().is_root() {
            true => vec![
                "setpriv".to_owned(),
                format!("--reuid={user}"),
                format!("--regid={user}"),
                "--clear-groups".to_owned(),
            ],
            // Whose processes of before count elsewhere.
            false => vec!["unshare".to_owned(), "--user".to_owned()],
        });
        words.extend(["prlimit".to_owned(), nproc, self.program.display().to_string()]);
        words.extend(line.split_whitespace().map(str::to_owned));
        let mut command = Command::new(words.remove(0));
        command.args(words).current_dir(self.place.path("out")).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.place.path("home"));
        command.output().unwrap()
    }

    /// Runs the words of `line` with each number of threads until there are enough; `{limit}` stands for it. Gives what
    /// was said where it failed.
    fn with_few(&self, line: &str) -> Vec<String> {
        let (mut refusals, mut enough) = (Vec::new(), 0);
        for limit in 1..=PLENTY {
            let output = self.run(limit, &line.replace("{limit}", &limit.to_string()));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!said.contains("panicked"), "{limit} threads: {said}");
            match output.status.code() {
                Some(0) => enough += 1,
                Some(1) if limit < PLENTY => {
                    enough = 0;
                    refusals.push(said);
                }
                other => unreachable!("{limit} threads: ended with {other:?}: {said}"),
            }
            if enough == 2 {
                break;
            }
        }
        refusals
    }
}

#[test]
fn a_copy_between_registries_works_or_says_why_not() {
    let bench = Bench::new();
    let (from, to) = (Registry::start().unwrap(), Registry::start().unwrap());
    Fixture::tiny().unwrap().push(from.address(), "app", Some("v1")).unwrap();
    // By name, which has to be looked up on one more thread.
    let refusals = bench.with_few(&format!(
        "--policy ../accept.json copy -q --src-tls-verify=false --dest-tls-verify=false \
         --dest-compress-format zstd docker://localhost:{}/app:v1 docker://localhost:{}/app{{limit}}:v1",
        from.address().port(),
        to.address().port()
    ));
    let says = |text: &str| refusals.iter().any(|said| said.contains(text));
    assert!(says("the network runtime cannot be started"), "{refusals:?}");
}

#[test]
fn a_demonstration_works_or_says_why_not() {
    let bench = Bench::new();
    let refusals = bench.with_few("demo --keep lab{limit}");
    let says = |text: &str| refusals.iter().any(|said| said.contains(text));
    assert!(says("threads"), "{refusals:?}");
}
