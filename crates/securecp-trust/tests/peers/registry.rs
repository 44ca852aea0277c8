//! A registry with one image under every name, on the loopback interface.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use securecp_oci::{Algorithm, Digest};

pub(crate) const CONFIG: &str =
    r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;

pub(crate) fn manifest() -> String {
    let digest = Digest::of(Algorithm::Sha256, CONFIG.as_bytes());
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[]}}"#,
        CONFIG.len()
    )
}

/// Starts it; the threads end with the process. Returns `HOST:PORT`.
pub(crate) fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let manifest = Arc::new(manifest());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let manifest = Arc::clone(&manifest);
            std::thread::spawn(move || answer(stream, &manifest));
        }
    });
    address
}

fn answer(stream: TcpStream, manifest: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1)?;
    let (kind, body) = if path.contains("/manifests/") {
        ("application/vnd.oci.image.manifest.v1+json", manifest)
    } else if path.contains("/blobs/") {
        ("application/octet-stream", CONFIG)
    } else {
        ("application/json", "{}")
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()
}
