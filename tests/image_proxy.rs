//! The image proxy, asked by the same client as the reference's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use securecp_testkit::{Fixture, Layer};
use serde_json::{Value, json};
use support::run::command;

/// A program that was started with one end of a socket.
struct Client {
    socket: OwnedFd,
    child: Child,
}

/// An answer, with what was passed along.
struct Answer {
    told: Value,
    passed: Vec<File>,
}

impl Answer {
    fn value(&self) -> Value {
        assert_eq!(self.told["success"], true, "{}", self.told);
        self.told["value"].clone()
    }

    fn error(&self) -> String {
        assert_eq!(self.told["success"], false, "{}", self.told);
        assert!(self.passed.is_empty());
        self.told["error"].as_str().unwrap().to_owned()
    }
}

impl Client {
    fn start(mut command: Command) -> Self {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let child = command.stdin(Stdio::from(theirs)).spawn().unwrap();
        Self { socket: ours, child }
    }

    fn begun(command: Command) -> Self {
        let client = Self::start(command);
        let version = client.call("Initialize", json!([])).value();
        assert!(version.as_str().unwrap().starts_with("0.2."), "{version}");
        client
    }

    fn send(&self, packet: &[u8]) {
        let mut none = SendAncillaryBuffer::default();
        sendmsg(&self.socket, &[IoSlice::new(packet)], &mut none, SendFlags::empty()).unwrap();
    }

    fn receive(&self) -> Answer {
        let mut packet = vec![0; 40 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut packet)];
        let got = recvmsg(&self.socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut passed = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                passed.extend(descriptors.map(File::from));
            }
        }
        Answer { told: serde_json::from_slice(&packet[..got.bytes]).unwrap(), passed }
    }

    fn call(&self, method: &str, arguments: Value) -> Answer {
        self.send(json!({"method": method, "args": arguments}).to_string().as_bytes());
        self.receive()
    }

    /// Calls, reads the pipe, and finishes it.
    fn piped(&self, method: &str, arguments: Value) -> (Value, Vec<u8>) {
        let mut answer = self.call(method, arguments);
        let value = answer.value();
        let reading = reading(answer.passed.remove(0));
        self.call("FinishPipe", json!([answer.told["pipeid"]])).value();
        (value, reading.join().unwrap())
    }

    fn end(mut self) {
        self.send(br#"{"method":"Shutdown","args":[]}"#);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end, which comes only when the pipe is finished.
fn reading(mut pipe: File) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn ours() -> Command {
    let mut command = command();
    command.args([
        "--override-os",
        "linux",
        "--override-arch",
        "amd64",
        "experimental-image-proxy",
    ]);
    command
}

fn theirs() -> Command {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "--override-os", "linux", "--override-arch", "amd64"]);
    command.arg("experimental-image-proxy");
    command
}

fn layout(place: &Path, name: &str, image: &Fixture) -> String {
    image.write_layout(&place.join(name), Some("v1")).unwrap();
    format!("oci:{}:v1", place.join(name).display())
}

/// Everything of an image that both know how to tell.
fn told(client: &Client, image: &str) -> (Value, Value, Vec<(Value, Vec<u8>)>) {
    let id = client.call("OpenImage", json!([image])).value();
    let (digest, manifest) = client.piped("GetManifest", json!([id]));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let blob = |layer: &Value| client.piped("GetBlob", json!([id, layer["digest"], layer["size"]]));
    let blobs = layers.iter().map(blob).collect();
    let (_, config) = client.piped("GetFullConfig", json!([id]));
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["architecture"], "amd64");
    client.call("CloseImage", json!([id])).value();
    (digest, json!([manifest["layers"], config["rootfs"], config["os"]]), blobs)
}

#[test]
fn tells_what_the_reference_tells() {
    let place = tempfile::tempdir().unwrap();
    let images = [
        layout(place.path(), "one", &Fixture::tiny().unwrap()),
        layout(place.path(), "index", &Fixture::two_platforms().unwrap()),
    ];
    let layers = [Layer::gzip(&[("file", b"content")]).unwrap()];
    let docker = Fixture::docker_image("amd64", &layers);
    let registry = securecp_testkit::Registry::start().unwrap();
    docker.push(registry.address(), "app", Some("v1")).unwrap();
    let docker = format!("docker://{}/app:v1", registry.address());
    let insecure = |mut command: Command| {
        command.arg("--tls-verify=false");
        command
    };
    let (ours, theirs) = (Client::begun(insecure(ours())), Client::begun(insecure(theirs())));
    for image in images.iter().chain([&docker]) {
        assert_eq!(told(&ours, image), told(&theirs, image), "{image}");
    }
    // Debian's skopeo is older than this method.
    let missing = format!("docker://{}/app:none", registry.address());
    assert_eq!(ours.call("OpenImageOptional", json!([missing])).value(), 0);
    for client in [ours, theirs] {
        client.call("OpenImage", json!([missing])).error();
        client.call("GetManifest", json!([99])).error();
        client.call("NoSuchMethod", json!([])).error();
        client.end();
    }
}

#[test]
fn newer_methods_give_layers_and_raw_blobs() {
    let place = tempfile::tempdir().unwrap();
    let image = layout(place.path(), "one", &Fixture::tiny().unwrap());
    let client = Client::begun(ours());
    let id = client.call("OpenImage", json!([image])).value();
    let layers = client.call("GetLayerInfo", json!([id])).value();
    let (_, piped) = client.piped("GetLayerInfoPiped", json!([id]));
    assert_eq!(serde_json::from_slice::<Value>(&piped).unwrap(), layers);
    let mut answer = client.call("GetRawBlob", json!([id, layers[0]["digest"]]));
    assert_eq!(answer.value(), layers[0]["size"]);
    let (mut bytes, mut error) = (Vec::new(), Vec::new());
    answer.passed[0].read_to_end(&mut bytes).unwrap();
    answer.passed[1].read_to_end(&mut error).unwrap();
    assert_eq!(support::sha256(&bytes), layers[0]["digest"].as_str().unwrap());
    assert!(error.is_empty());
    client.end();
}

#[test]
fn a_refused_image_is_not_opened() {
    let place = tempfile::tempdir().unwrap();
    let image = layout(place.path(), "one", &Fixture::tiny().unwrap());
    let policy = place.path().join("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"reject"}]}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_securecp"));
    command.arg("--policy").arg(&policy).arg("experimental-image-proxy");
    let client = Client::begun(command);
    for method in ["OpenImage", "OpenImageOptional"] {
        let error = client.call(method, json!([image])).error();
        assert!(error.contains("refused") || error.contains("reject"), "{error}");
    }
    client.call("GetManifest", json!([1])).error();
    client.end();
}

#[test]
fn only_whole_blobs_of_the_image_that_was_judged_are_given_out() {
    let place = tempfile::tempdir().unwrap();
    let image = layout(place.path(), "one", &Fixture::tiny().unwrap());
    let client = Client::begun(ours());
    let id = client.call("OpenImage", json!([image])).value();
    let layer = client.call("GetLayerInfo", json!([id])).value()[0].clone();
    let (digest, size) = (layer["digest"].as_str().unwrap(), layer["size"].as_u64().unwrap());
    let error = client.call("GetBlob", json!([id, digest, size + 1])).error();
    assert!(error.contains("expected a blob of"), "{error}");
    let other = support::sha256(b"other");
    std::fs::write(place.path().join("one/blobs/sha256").join(&other[7..]), "other").unwrap();
    let error = client.call("GetBlob", json!([id, other, 5])).error();
    assert!(error.contains("has no blob"), "{error}");
    // A blob that was altered is found at its end.
    let path = place.path().join("one/blobs/sha256").join(&digest[7..]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut answer = client.call("GetBlob", json!([id, digest, size]));
    let reading = reading(answer.passed.remove(0));
    let error = client.call("FinishPipe", json!([answer.told["pipeid"]])).error();
    assert!(error.contains("Digest did not match"), "{error}");
    client.call("FinishPipe", json!([answer.told["pipeid"]])).error();
    reading.join().unwrap();
    client.end();
}

#[test]
fn nonsense_is_answered_and_does_no_harm() {
    let client = Client::start(ours());
    client.call("OpenImage", json!(["oci:nowhere:v1"])).error();
    client.call("Initialize", json!([])).value();
    client.call("Initialize", json!([])).error();
    for packet in
        ["", "nonsense", "[]", "{}", r#"{"method":1}"#, r#"{"method":"GetBlob","args":{}}"#]
    {
        if !packet.is_empty() {
            client.send(packet.as_bytes());
            client.receive().error();
        }
    }
    for arguments in [json!([]), json!([-1]), json!([1.5]), json!(["1"]), json!([1u64 << 60])] {
        for method in ["GetManifest", "CloseImage", "FinishPipe", "GetBlob"] {
            client.call(method, arguments.clone()).error();
        }
    }
    client.call("OpenImage", json!(["tape:nowhere"])).error();
    client.end();
}

#[test]
fn ends_with_its_client_and_takes_another_descriptor() {
    let mut client = Client::begun(ours());
    let (other, _) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    client.socket = other;
    assert!(client.child.wait().unwrap().success(), "the other end is gone");
    let program = ours();
    let mut words: Vec<String> =
        program.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    words.insert(0, program.get_program().to_str().unwrap().to_owned());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {} --sockfd 3 3<&0 </dev/null", words.join(" "))]);
    Client::begun(shell).end();
}
