//! Copies and looks through a registry, and what goes wrong on the way.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

mod cli;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cli::serve::Served;
use cli::{Place, image};

/// Answers every request with what `answer` writes.
fn answering(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let answer = answer.clone();
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 8192];
                while let Ok(count @ 1..) = connection.read(&mut bytes) {
                    let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    answer(request.lines().next().unwrap_or_default(), &mut connection);
                }
            });
        }
    });
    address
}

fn reply(connection: &mut TcpStream, status: &str, kind: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = connection.write_all(format!("{head}{body}").as_bytes());
}

#[test]
fn inspect_lists_the_tags_unless_told_not_to() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    for tag in ["v1", "v2"] {
        place.ok(&format!(
            "copy -q --dest-tls-verify=false oci:image:v1 docker://{}/a/b:{tag}",
            served.address
        ));
    }
    let tags = |options: &str| {
        let run = place.run(&format!(
            "inspect {options} --tls-verify=false docker://{}/a/b:v1",
            served.address
        ));
        assert_eq!(run.code, 0, "{run:?}");
        let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(summary["Name"], format!("{}/a/b", served.address));
        summary["RepoTags"].clone()
    };
    assert_eq!(tags(""), serde_json::json!(["v1", "v2"]));
    assert_eq!(tags("--no-tags"), serde_json::json!([]));
}

#[test]
fn a_missing_image_exits_2() {
    let place = Place::new();
    let served = Served::start(&place, "store", &[]);
    let image = format!("docker://{}/a/b:v1", served.address);
    for line in [
        format!("copy -q --policy accept.json --src-tls-verify=false {image} dir:out"),
        format!("inspect --tls-verify=false {image}"),
    ] {
        let run = place.run(&line);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
        assert!(run.err.contains("manifest unknown"), "{}", run.err);
        assert!(run.err.ends_with(" shows the tags that are there\n"), "{}", run.err);
    }
    assert!(!place.exists("out"));
}

#[test]
fn plain_http_needs_to_be_asked_for_on_its_side() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    let image = format!("docker://{}/a/b:v1", served.address);
    for (line, option) in [
        (
            format!("copy -q --retry-times 0 --policy accept.json {image} dir:out"),
            "--src-tls-verify=false",
        ),
        (
            format!("copy -q --retry-times 0 --policy accept.json oci:image:v1 {image}"),
            "--dest-tls-verify=false",
        ),
        (format!("inspect --retry-times 0 {image}"), "--tls-verify=false"),
    ] {
        let run = place.run(&line);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains("server gave HTTP response to HTTPS client"), "{}", run.err);
        assert!(run.err.contains(&format!("\nhint: {option} allows plain HTTP")), "{}", run.err);
    }
}

#[test]
fn a_registry_that_answers_html_is_named() {
    let place = Place::new();
    let address = answering(|_, connection| {
        reply(connection, "200 OK", "text/html", "<html>\u{1b}[31mwelcome</html>");
    });
    let run = place.run(&format!(
        "copy -q --policy accept.json --src-tls-verify=false docker://{address}/a/b:v1 dir:out"
    ));
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    let start = format!("securecp: error: initializing source docker://{address}/a/b:v1: ");
    assert!(run.err.starts_with(&start), "{}", run.err);
    assert!(!run.err.contains('\u{1b}'), "{}", run.err);
    assert!(!place.exists("out"));
}

#[test]
fn a_listing_that_is_forbidden_costs_a_warning() {
    let place = Place::new();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": image::MANIFEST, "layers": [],
        "config": {"mediaType": image::CONFIG, "digest": image::digest(b"{}"), "size": 2},
    });
    let manifest = manifest.to_string();
    let address = answering(move |request, connection| {
        if request.contains("/tags/list") {
            let body = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
            reply(connection, "403 Forbidden", "application/json", body);
        } else if request.contains("/manifests/") {
            reply(connection, "200 OK", image::MANIFEST, &manifest);
        } else if request.contains("/blobs/") {
            reply(connection, "200 OK", "application/octet-stream", "{}");
        } else {
            reply(connection, "200 OK", "application/json", "{}");
        }
    });
    let run = place.run(&format!("inspect --tls-verify=false docker://{address}/a/b:v1"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("\"RepoTags\": [],"), "{}", run.out);
    assert!(run.err.starts_with("securecp: warning: listing tags in "), "{}", run.err);
}

#[test]
fn credentials_reach_the_registry_and_nothing_else() {
    let place = Place::new();
    let (seen, requests) = std::sync::mpsc::channel::<String>();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(seen));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let seen = seen.clone();
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 8192];
                while let Ok(count @ 1..) = connection.read(&mut bytes) {
                    let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    seen.lock().unwrap().send(request).unwrap();
                    let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
                    let _ = connection.write_all(head.as_bytes());
                }
            });
        }
    });
    let line = format!(
        "inspect --log-level trace --tls-verify=false --creds user:hunter2 docker://{address}/a/b:v1"
    );
    let run = place.run(&line);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("\nhint: the credentials came from the command line; --creds "),
        "{}",
        run.err
    );
    let encoded = "dXNlcjpodW50ZXIy";
    assert!(!run.err.contains("hunter2") && !run.err.contains(encoded), "{}", run.err);
    assert!(requests.try_iter().any(|request| request.contains(encoded)), "they were sent");
}

/// A registry that begins to send a layer and then says nothing more.
fn stalling() -> String {
    let layer = "x".repeat(1 << 20);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": image::MANIFEST,
        "config": {"mediaType": image::CONFIG, "digest": image::digest(b"{}"), "size": 2},
        "layers": [{"mediaType": image::LAYER, "digest": image::digest(layer.as_bytes()), "size": layer.len()}],
    });
    let manifest = manifest.to_string();
    let config = image::digest(b"{}");
    answering(move |request, connection| {
        if request.contains("/manifests/") {
            reply(connection, "200 OK", image::MANIFEST, &manifest);
        } else if request.contains(&config) {
            reply(connection, "200 OK", "application/octet-stream", "{}");
        } else if request.contains("/blobs/") {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n";
            let _ = connection.write_all(format!("{head}{}", "x".repeat(1000)).as_bytes());
        } else if request.contains("/tags/list") {
            reply(connection, "200 OK", "application/json", r#"{"tags":["v1"]}"#);
        } else if request.contains("/referrers/") {
            reply(connection, "404 Not Found", "application/json", "{}");
        } else {
            reply(connection, "200 OK", "application/json", "{}");
        }
    })
}

#[test]
fn a_signal_ends_a_stalled_transfer_in_under_a_second() {
    for signal in ["INT", "TERM"] {
        let place = Place::new();
        let image = format!("docker://{}/a/b:v1", stalling());
        let words =
            ["copy", "--policy", "accept.json", "--src-tls-verify=false", &image, "oci:out:v1"];
        let mut child = place.command(&words).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("(1.00 MiB)")), "it never came to the layer");
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "it waits for the layer");
        let begun = Instant::now();
        let pid = child.id().to_string();
        std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
        let status = child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let err: Vec<String> = lines.collect();
        assert_eq!(status.code(), Some(1), "{err:?}");
        let [.., error, hint] = &err[..] else { panic!("{err:?}") };
        assert!(error.ends_with(": cancelled"), "{err:?}");
        assert!(hint.starts_with("hint: the same command goes on"), "{err:?}");
        assert_eq!(place.run("inspect oci:out:v1").code, 2, "nothing under the final name");
    }
}

#[test]
fn a_time_limit_ends_a_stalled_transfer() {
    let place = Place::new();
    let image = format!("docker://{}/a/b:v1", stalling());
    let begun = Instant::now();
    let run = place.run(&format!(
        "copy -q --policy accept.json --command-timeout 700ms --src-tls-verify=false {image} dir:out"
    ));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("the time limit of 700ms is over\nhint: --command-timeout "),
        "{}",
        run.err
    );
    assert!(!place.exists("out"));
}

#[test]
fn registries_conf_says_where_images_really_are() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    place.write(
        "registries.conf",
        format!(
            "[[registry]]\nlocation = \"{0}\"\ninsecure = true\n\
             [[registry]]\nprefix = \"shop.example/app\"\nlocation = \"{0}/a/b\"\ninsecure = true\n\
             [[registry]]\nlocation = \"evil.example\"\nblocked = true\n",
            served.address
        ),
    );
    let conf = "--registries-conf registries.conf";
    place.ok(&format!("copy -q {conf} oci:image:v1 docker://{}/a/b:v1", served.address));
    place.ok(&format!("copy -q {conf} docker://shop.example/app:v1 dir:out"));
    let run = place.run(&format!("list-tags {conf} docker://shop.example/app"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("\"v1\""), "{}", run.out);
    let run = place.run(&format!("inspect {conf} docker://evil.example/x:v1"));
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(run.err.contains("blocked"), "{}", run.err);
    place.write("registries.conf", "[[registry]\n");
    let run = place.run(&format!("inspect {conf} docker://shop.example/app:v1"));
    assert!(run.code == 1 && run.err.contains("registries.conf"), "{run:?}");
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let place = Place::new();
    image::single(&place.path("image"));
    let socket = format!("unix://{}", place.path("none.sock").display());
    let run = place.run(&format!("inspect --daemon-host {socket} docker-daemon:app:v1"));
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
    assert!(
        run.err.contains("docker-daemon:app:v1") && run.err.contains("none.sock"),
        "{}",
        run.err
    );
    let run = place.run(&format!(
        "copy -q --policy accept.json --format v2s2 --dest-daemon-host {socket} oci:image:v1 docker-daemon:app:v1"
    ));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("destination docker-daemon:app:v1"), "{}", run.err);
}

/// Whether a request is one whose answer has no body.
fn is_head(line: &str) -> bool {
    line.starts_with("HEAD ")
}

#[test]
fn a_host_that_is_no_registry_says_nothing_of_images() {
    let place = Place::new();
    image::single(&place.path("image"));
    let address = answering(|line, connection| {
        let body = if is_head(line) { "" } else { "<html>no such page</html>" };
        reply(connection, "404 Not Found", "text/html", body);
    });
    let image = format!("docker://{address}/a/b:v1");
    for line in [
        format!("inspect --tls-verify=false {image}"),
        format!("list-tags --tls-verify=false docker://{address}/a/b"),
        format!("delete --tls-verify=false {image}"),
        format!("login --tls-verify=false -u u -p p {address}"),
        format!("copy -q --policy accept.json --src-tls-verify=false {image} dir:out"),
        format!(
            "copy -q --policy accept.json --no-clobber --dest-tls-verify=false oci:image:v1 {image}"
        ),
    ] {
        let run = place.run(&line);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{line}: {run:?}");
        let says = "invalid status code from registry 404 Not Found: this host is no registry\n";
        assert!(run.err.contains(says), "{line}: {}", run.err);
        let hint = format!("hint: is {address} the registry's host and port?");
        assert!(run.err.contains(&hint), "{line}: {}", run.err);
    }
    assert!(!place.exists("out"));
}

#[test]
fn a_registry_without_a_header_of_its_own_can_lack_an_image() {
    let place = Place::new();
    for front in ["200 OK", "401 Unauthorized"] {
        let address = answering(move |line, connection| {
            let status = if line.contains(" /v2/ ") { front } else { "404 Not Found" };
            reply(connection, status, "text/html", "");
        });
        let run = place.run(&format!("inspect --tls-verify=false docker://{address}/a/b:v1"));
        assert_eq!(run.code, 2, "{run:?}");
    }
}

#[test]
fn a_wait_is_told_unless_it_is_to_be_quiet() {
    let place = Place::new();
    let address =
        answering(|_, connection| reply(connection, "500 Internal Server Error", "text/html", ""));
    let slow = "--retry-times 2 --retry-delay 600ms";
    let image = format!("docker://{address}/a/b:v1");
    let told = |line: &str| {
        let run = place.run(line);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
        run.err.matches(&format!("trying {address} again in ")).count()
    };
    // A wait of less than a second is not worth a line.
    assert_eq!(told(&format!("inspect {slow} --tls-verify=false {image}")), 1);
    let copy = format!("--policy accept.json {slow} --src-tls-verify=false {image} dir:out");
    assert_eq!(told(&format!("copy {copy}")), 1);
    assert_eq!(told(&format!("copy -q {copy}")), 0);
}

#[test]
fn what_came_of_both_ways_to_a_registry_is_told() {
    let place = Place::new();
    // By TLS this is no answer, and by plain HTTP it is none either.
    let address = answering(|_, connection| drop(connection.write_all(b"SSH-2.0-x\r\n")));
    let image = format!("docker://{address}/a/b:v1");
    let run = place.run(&format!("inspect --retry-times 0 --tls-verify=false {image}"));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains(" (by plain HTTP as well: "), "{}", run.err);
}

#[test]
fn settings_without_effect_are_warned_of() {
    let place = Place::new();
    image::single(&place.path("image"));
    let served = Served::start(&place, "store", &[]);
    std::fs::create_dir(place.path("certs")).unwrap();
    place.write("registries.conf", "[[registry]]\nlocation = \"h.example\"\nblockd = true\n");
    let run = place.run(&format!(
        "list-tags --tls-verify=false --cert-dir certs --registries-conf registries.conf docker://{}/a/b",
        served.address
    ));
    assert!(run.err.contains("certs has no certificates: expected *.crt"), "{}", run.err);
    let says = "registries.conf: registry.blockd is not known and has no effect";
    assert!(run.err.contains(says), "{}", run.err);
}

#[test]
fn a_missing_file_with_credentials_is_named_when_they_are_asked_for() {
    let place = Place::new();
    let address = answering(|_, connection| {
        reply(connection, "401 Unauthorized", "text/html", "");
    });
    let line = format!("inspect --tls-verify=false docker://{address}/a/b:v1");
    let run = place.run_with(&line, |command| {
        command.env("REGISTRY_AUTH_FILE", "/nofile");
    });
    assert_eq!(run.code, 1, "{run:?}");
    let hint = "hint: REGISTRY_AUTH_FILE names /nofile, which does not exist";
    assert!(run.err.contains(hint), "{}", run.err);
}
