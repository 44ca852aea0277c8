//! Memory and rate with blobs of a gibibyte; run with `--release -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]
#![expect(clippy::print_stdout, reason = "the numbers are the point")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use securecp_oci::{Algorithm, Digest, Hasher};
use securecp_server::{Options, Server};

const GIBIBYTE: u64 = 1 << 30;
const LIMIT_KIB: u64 = 48 << 10;

/// One piece that is sent again and again.
fn piece() -> Vec<u8> {
    (0..256u32 << 10).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn digest_of(size: u64) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let piece = piece();
    for _ in 0..size / piece.len() as u64 {
        hasher.update(&piece);
    }
    hasher.finish()
}

fn upload(address: SocketAddr, name: &str, digest: &Digest, size: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v2/{name}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = piece();
    for _ in 0..size / piece.len() as u64 {
        stream.write_all(&piece).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

fn download(address: SocketAddr, name: &str, digest: &Digest) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("GET /v2/{name}/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut piece = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => return total,
            read => total += read as u64,
        }
    }
}

/// The most memory this process ever had resident.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn rate(what: &str, bytes: u64, elapsed: Duration) {
    let rate = bytes as f64 / 1e6 / elapsed.as_secs_f64();
    println!("{what}: {rate:.0} MB/s, peak {} MiB", peak_kib() >> 10);
}

#[test]
#[ignore = "writes two gibibytes"]
fn keeps_memory_flat() {
    let folder = tempfile::tempdir().unwrap();
    let running = Server::start(Options::new(folder.path())).unwrap();
    let address = running.address();
    let digest = digest_of(GIBIBYTE);
    let started = Instant::now();
    upload(address, "a", &digest, GIBIBYTE);
    rate("upload of 1 GiB", GIBIBYTE, started.elapsed());
    let started = Instant::now();
    assert!(download(address, "a", &digest) > GIBIBYTE);
    rate("download of 1 GiB", GIBIBYTE, started.elapsed());
    let eighth = GIBIBYTE / 8;
    let digest = digest_of(eighth);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let digest = &digest;
            scope.spawn(move || upload(address, &format!("b{n}"), digest, eighth));
        }
    });
    rate("8 uploads at once", GIBIBYTE, started.elapsed());
    assert!(peak_kib() < LIMIT_KIB, "{} KiB", peak_kib());
}
