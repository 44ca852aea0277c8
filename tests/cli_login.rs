//! `securecp login` and `logout` as whole commands, against a registry that knows one user.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use cli::{Place, Run};

/// A registry that lets `alice` with `open sesame` in.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 8192];
                while let Ok(count @ 1..) = connection.read(&mut bytes) {
                    let request = String::from_utf8_lossy(&bytes[..count]).to_lowercase();
                    let good = request.contains("authorization: basic ywxpy2u6b3blbibzzxnhbwu=");
                    let head = match good {
                        true => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                        false => {
                            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n"
                        }
                    };
                    let _ = connection.write_all(head.as_bytes());
                }
            });
        }
    });
    address
}

fn log_in(place: &Place, address: &str, options: &str, password: &str) -> Run {
    let line = format!("login --tls-verify=false --authfile auth.json {options} {address}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = place.command(&words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn stores_credentials_that_work_and_removes_them() {
    let place = Place::new();
    let address = registry();
    let run = log_in(&place, &address, "-u alice --password-stdin -v", "open sesame\n");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert_eq!(run.out, "Used:  auth.json\nLogin Succeeded!\n");
    let mode = std::fs::metadata(place.path("auth.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        place.run(&format!("login --authfile auth.json --get-login {address}")).out,
        "alice\n"
    );
    let again = log_in(&place, &address, "", "");
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        again.out.ends_with(&format!(
            "Existing credentials are valid. Already logged in to {address}\n"
        ))
    );
    let run = place.run(&format!("logout --authfile auth.json {address}"));
    assert_eq!((run.code, run.out), (0, format!("Removed login credentials for {address}\n")));
    let run = place.run(&format!("logout --authfile auth.json {address}"));
    assert_eq!((run.code, run.err), (1, format!("securecp: error: not logged into {address}\n")));
    let run = place.run(&format!("login --authfile auth.json --get-login {address}"));
    assert_eq!((run.code, run.err), (1, format!("securecp: error: not logged into {address}\n")));
}

#[test]
fn wrong_credentials_are_not_stored() {
    let place = Place::new();
    let address = registry();
    let run = log_in(&place, &address, "-u alice --password-stdin", "open barley");
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(
        run.err.starts_with(&format!("securecp: error: logging into \"{address}\": ")),
        "{}",
        run.err
    );
    assert!(!run.err.contains("barley"), "{}", run.err);
    let hint =
        "hint: are user name and password right? --username and --password-stdin give others";
    assert!(run.err.contains(hint) && !run.err.contains("--creds"), "{}", run.err);
    assert!(!place.exists("auth.json"));
}

#[test]
fn stored_credentials_are_used_by_copies() {
    let place = Place::new();
    let address = registry();
    assert_eq!(log_in(&place, &address, "-u alice --password-stdin", "open sesame").code, 0);
    let list = |options: &str| {
        let image = format!("docker://{address}/a/b");
        place.run(&format!("list-tags --retry-times 0 --tls-verify=false {options} {image}"))
    };
    let with = list("--authfile auth.json");
    assert!(!with.err.contains("401"), "{}", with.err);
    let without = list("--authfile auth.json --no-creds");
    assert!(without.err.contains("\nhint: no credentials were sent; --creds "), "{}", without.err);
}

#[test]
fn common_mistakes() {
    let place = Place::new();
    for (line, code, says) in [
        ("login", 64, "the following required arguments were not provided: <REGISTRY>"),
        ("login --password-stdin h.example", 64, "--password-stdin needs --username as well"),
        (
            "login -u a -p b --password-stdin h.example",
            64,
            "--password-stdin and --password exclude each other",
        ),
        (
            "login user@h.example",
            64,
            "\"user@h.example\" is not a registry, expected HOST[:PORT][/PATH]",
        ),
        ("login -u alice h.example", 1, "there is no terminal to ask on"),
        ("logout", 64, "name a registry, or give --all"),
        ("logout --all h.example", 64, "--all goes with no registry"),
    ] {
        let run = place.run(line);
        assert!(run.err.starts_with(&format!("securecp: error: {says}")), "{line}: {}", run.err);
        assert_eq!((run.code, run.out.as_str()), (code, ""), "{line}");
    }
}

/// A terminal of its own for the program: types `answer` at the question, or sends SIGINT, and tells exit code, output and
/// whether the terminal echoes again.
const TERMINAL: &str = r#"
import os, pty, signal, subprocess, sys, termios, time
master, slave = pty.openpty()
run = subprocess.Popen(sys.argv[2:], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
said = b""
while not said.endswith(b": "):
    said += run.stderr.read(1)
echo = bool(termios.tcgetattr(slave)[3] & termios.ECHO)
os.kill(run.pid, signal.SIGINT) if sys.argv[1] == "" else os.write(master, sys.argv[1].encode() + b"\n")
out, err = run.communicate(timeout=60)
after = bool(termios.tcgetattr(slave)[3] & termios.ECHO)
print(run.returncode, echo, after, (said + out + err).decode().replace("\n", "|"))
"#;

/// Ctrl-C at a question ends the program, and the terminal shows again what is typed.
#[test]
fn a_question_is_answered_or_given_up() {
    let place = Place::new();
    let address = registry();
    let ask = |answer: &str| {
        let program = env!("CARGO_BIN_EXE_securecp");
        let line = format!("login --tls-verify=false --authfile auth.json -u alice {address}");
        let mut python = std::process::Command::new("python3");
        python.args(["-c", TERMINAL, answer, program]).args(line.split(' '));
        let output = python.current_dir(place.path("")).env("HOME", place.path("home")).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let typed = ask("open sesame");
    assert!(typed.starts_with("0 False True Password: "), "{typed}");
    assert!(!typed.contains("sesame"), "{typed}");
    assert!(
        String::from_utf8(place.read("auth.json")).unwrap().contains("YWxpY2U6b3BlbiBzZXNhbWU=")
    );
    let given_up = ask("");
    assert!(given_up.starts_with("1 False True Password: "), "{given_up}");
    assert!(given_up.contains("nothing was answered"), "{given_up}");
}
