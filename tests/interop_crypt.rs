//! Encrypted layers, both ways between securecp and Debian's skopeo.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::run::{command, said, securecp, skopeo, try_securecp};

const OURS: &str = "securecp";
const THEIRS: &str = "skopeo";

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/crypt").join(name)
}

fn key(name: &str) -> String {
    vector("keys").join(name).to_str().unwrap().to_owned()
}

fn oci(path: &Path, name: &str) -> String {
    format!("oci:{}:{name}", path.display())
}

fn plain() -> String {
    oci(&vector("plain"), "plain")
}

/// Runs a copy with one of the two programs.
fn copy(program: &str, options: &[&str], from: &str, to: &str) {
    let line = [&["copy"], options, &[from, to]].concat();
    match program {
        OURS => securecp(&line),
        _ => skopeo(&line),
    };
}

/// Digests and media types of the layers, as skopeo sees them.
fn layers(image: &str) -> Vec<(String, String)> {
    let output = skopeo(&["inspect", "--raw", image]);
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| (text(&layer["digest"]), text(&layer["mediaType"]))).collect()
}

#[test]
fn what_one_encrypts_the_other_decrypts() {
    let everybody = format!(
        "jwe:{},jwe:{},pkcs7:{}",
        key("rsa-a.pub.pem"),
        key("ec-a.pub.pem"),
        key("x509-b.pem")
    );
    let expected = layers(&plain());
    for (writer, reader) in [(OURS, THEIRS), (THEIRS, OURS), (OURS, OURS)] {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| oci(&scratch.path().join(name), "x");
        copy(writer, &["--encryption-key", &everybody], &plain(), &at("enc"));
        let encrypted = layers(&at("enc"));
        assert!(encrypted.iter().all(|(_, media_type)| media_type.ends_with("+encrypted")));
        assert!(encrypted.iter().zip(&expected).all(|(made, plain)| made.0 != plain.0));
        copy(reader, &["--decryption-key", &key("rsa-a.pem")], &at("enc"), &at("dec"));
        assert_eq!(layers(&at("dec")), expected, "{writer} to {reader}");
    }
}

/// The reference reads only binary keys.
fn dearmoured(folder: &Path, name: &str) -> String {
    let made = folder.join("key.gpg");
    let output = Command::new("gpg")
        .env("GNUPGHOME", folder)
        .args(["--batch", "--yes", "--output", made.to_str().unwrap(), "--dearmor", &key(name)])
        .output()
        .expect("gpg is needed for the interop tests: ./test installs it");
    assert!(output.status.success(), "{}", said(&output));
    made.to_str().unwrap().to_owned()
}

#[test]
fn openpgp_recipients_are_served() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| oci(&scratch.path().join(name), "x");
    let alice = format!("pgp:{}", key("pgp-alice.pub.asc"));
    copy(OURS, &["--encryption-key", &alice], &plain(), &at("enc"));
    let binary = dearmoured(scratch.path(), "pgp-alice.sec.asc");
    for (reader, secret) in
        [(OURS, key("pgp-alice.sec.asc")), (OURS, binary.clone()), (THEIRS, binary)]
    {
        let scratch = tempfile::tempdir().unwrap();
        let to = oci(&scratch.path().join("dec"), "x");
        copy(reader, &["--decryption-key", &secret], &at("enc"), &to);
        assert_eq!(layers(&to), layers(&plain()), "{reader}");
    }
    let other = ["copy", "--decryption-key", &key("pgp-bob.sec.asc"), &at("enc"), &at("never")]
        .map(String::from);
    let run = try_securecp(&other.each_ref().map(String::as_str));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("no suitable key unwrapper found"), "{said}");
    assert!(!scratch.path().join("never").exists());
}

#[test]
fn only_the_chosen_layers_are_encrypted() {
    for selection in ["1", "-1", "0,2"] {
        let mut chosen = Vec::new();
        for writer in [OURS, THEIRS] {
            let scratch = tempfile::tempdir().unwrap();
            let to = oci(&scratch.path().join("enc"), "x");
            let recipient = format!("jwe:{}", key("rsa-a.pub.pem"));
            let layer = format!("--encrypt-layer={selection}");
            copy(writer, &["--encryption-key", &recipient, &layer], &plain(), &to);
            let types: Vec<String> = layers(&to).into_iter().map(|layer| layer.1).collect();
            chosen.push(types);
        }
        assert_eq!(chosen[0], chosen[1], "{selection}");
    }
}

#[test]
fn encrypts_anew_in_one_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| oci(&scratch.path().join(name), "x");
    let from = oci(&vector("enc-jwe"), "enc");
    let to_b = format!("jwe:{}", key("rsa-b.pub.pem"));
    let from_a = key("rsa-a.pem");
    copy(OURS, &["--decryption-key", &from_a, "--encryption-key", &to_b], &from, &at("enc"));
    copy(THEIRS, &["--decryption-key", &key("rsa-b.pem")], &at("enc"), &at("dec"));
    assert_eq!(layers(&at("dec")), layers(&plain()));
    let run = try_securecp(&["copy", "--encryption-key", &to_b, &from, &at("never")]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && said.contains("is encrypted already"), "{said}");
}

#[test]
fn decrypts_recompresses_and_encrypts_in_one_chain() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| oci(&scratch.path().join(name), "x");
    let to_b = format!("jwe:{}", key("rsa-b.pub.pem"));
    let options = [
        "--decryption-key",
        &key("rsa-a.pem"),
        "--dest-compress-format=zstd",
        "--encryption-key",
        &to_b,
    ];
    copy(OURS, &options, &oci(&vector("enc-jwe"), "enc"), &at("enc"));
    let types: Vec<String> = layers(&at("enc")).into_iter().map(|layer| layer.1).collect();
    assert!(types.iter().all(|t| t.ends_with("tar+zstd+encrypted")), "{types:?}");
    let dec = scratch.path().join("dec");
    let dir = format!("dir:{}", dec.display());
    let unpack = ["--decryption-key", &key("rsa-b.pem"), "--dest-decompress"];
    copy(OURS, &unpack, &at("enc"), &dir);
    let config: serde_json::Value = {
        let output = skopeo(&["inspect", "--config", "--raw", &plain()]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let found: Vec<String> = layers(&dir).into_iter().map(|layer| layer.0).collect();
    let wanted = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(found, wanted.iter().map(|d| d.as_str().unwrap()).collect::<Vec<_>>());
}

#[test]
fn nothing_appears_when_ciphertext_was_altered() {
    let scratch = tempfile::tempdir().unwrap();
    let layout = scratch.path().join("enc");
    let recipient = format!("jwe:{}", key("rsa-a.pub.pem"));
    copy(OURS, &["--encryption-key", &recipient], &plain(), &oci(&layout, "x"));
    // another ciphertext of the same length under a manifest that names it: only the MAC can tell
    let output = skopeo(&["inspect", "--raw", &oci(&layout, "x")]);
    let mut manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let blobs = layout.join("blobs/sha256");
    let old = manifest["layers"][1]["digest"].as_str().unwrap()[7..].to_owned();
    let mut bytes = std::fs::read(blobs.join(&old)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let digest = support::sha256(&bytes);
    std::fs::write(blobs.join(&digest[7..]), &bytes).unwrap();
    manifest["layers"][1]["digest"] = digest.into();
    let dir = scratch.path().join("bad");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(dir.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    for entry in std::fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    let from = format!("dir:{}", dir.display());
    for to in ["oci", "dir"] {
        let place = scratch.path().join(format!("never-{to}"));
        let run = try_securecp(&[
            "copy",
            "--decryption-key",
            &key("rsa-a.pem"),
            &from,
            &format!("{to}:{}", place.display()),
        ]);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.contains("HMAC"), "{said}");
        assert!(!place.exists() || to == "oci" && !place.join("index.json").exists(), "{to}");
    }
}

#[test]
fn a_further_recipient_leaves_the_bytes_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| oci(&scratch.path().join(name), "x");
    let from = oci(&vector("enc-jwe"), "enc");
    let to_b = format!("jwe:{}", key("rsa-b.pub.pem"));
    let options = ["--decryption-key", &key("rsa-a.pem"), "--add-recipient", &to_b];
    copy(OURS, &options, &from, &at("both"));
    assert_eq!(layers(&at("both")), layers(&from), "same ciphertext, same types");
    for secret in ["rsa-a.pem", "rsa-b.pem"] {
        copy(THEIRS, &["--decryption-key", &key(secret)], &at("both"), &at(secret));
        assert_eq!(layers(&at(secret)), layers(&plain()), "{secret}");
    }
    let run = try_securecp(&["copy", "--add-recipient", &to_b, &from, &at("never")]);
    assert_eq!(run.status.code(), Some(64), "who is not a recipient cannot add one");
}

#[test]
fn the_result_says_which_layers_and_for_whom() {
    let scratch = tempfile::tempdir().unwrap();
    let to = oci(&scratch.path().join("enc"), "x");
    let recipient = format!("jwe:{}", key("rsa-a.pub.pem"));
    let layer = "--encrypt-layer=1";
    let run = securecp(&["copy", "--json", "--encryption-key", &recipient, layer, &plain(), &to]);
    let result: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(result["changed"][0]["reasons"][0], "layer 1 is encrypted");
    assert_eq!(result["recipients"].as_array().unwrap().len(), 1);
    let source = skopeo(&["inspect", "--raw", &plain()]).stdout;
    assert_eq!(result["sourceDigest"], support::sha256(&source));
}

/// A throw-away GnuPG home with a key for `who`, without passphrase.
fn gnupg_home(who: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("gpg")
        .env("GNUPGHOME", home.path())
        .args([
            "--batch",
            "--passphrase",
            "",
            "--quick-generate-key",
            who,
            "rsa2048",
            "encr,sign",
            "never",
        ])
        .output()
        .expect("gpg is needed for the interop tests: ./test installs it");
    assert!(output.status.success(), "{}", said(&output));
    home
}

#[test]
fn the_users_own_gnupg_serves_both_ends() {
    let home = gnupg_home("Carol <carol@securecp.test>");
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| oci(&scratch.path().join(name), "x");
    let run = |arguments: &[&str]| {
        let output = support::run::command().env("GNUPGHOME", home.path()).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}\n{}", said(&output));
    };
    run(&["copy", "--encryption-key", "pgp:carol@securecp.test", &plain(), &at("enc")]);
    run(&["copy", "--decryption-key", "pgp:", &at("enc"), &at("dec")]);
    assert_eq!(layers(&at("dec")), layers(&plain()));
    let stop = Command::new("gpgconf")
        .env("GNUPGHOME", home.path())
        .args(["--kill", "gpg-agent"])
        .status();
    assert!(stop.is_ok_and(|status| status.success()));
}

#[test]
fn inspect_shows_for_whom_layers_are_encrypted_without_any_key() {
    let summary = |image: &str| -> serde_json::Value {
        serde_json::from_slice(&securecp(&["inspect", image]).stdout).unwrap()
    };
    let mixed = summary(&oci(&vector("enc-mixed"), "enc"));
    let recipients = mixed["LayersData"][0]["Encryption"]["Recipients"].as_array().unwrap();
    let schemes: Vec<&str> =
        recipients.iter().map(|r| r.as_str().unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(schemes.len(), 3, "{recipients:?}");
    for scheme in ["jwe", "pgp", "pkcs7"] {
        assert!(schemes.contains(&scheme), "{recipients:?}");
    }
    assert!(summary(&plain())["LayersData"][0].get("Encryption").is_none());
}

/// Nothing in the format ties a layer to its place; the configuration's diffIDs do.
#[test]
fn swapped_layers_are_found_out() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("enc");
    let place = format!("dir:{}", dir.display());
    let recipient = format!("jwe:{}", key("rsa-a.pub.pem"));
    copy(OURS, &["--encryption-key", &recipient], &plain(), &place);
    let file = dir.join("manifest.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    manifest["layers"].as_array_mut().unwrap().swap(0, 1);
    std::fs::write(&file, manifest.to_string()).unwrap();
    let to = oci(&scratch.path().join("never"), "x");
    let run = try_securecp(&["copy", "--decryption-key", &key("rsa-a.pem"), &place, &to]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && said.contains("diffID"), "{said}");
    assert!(!scratch.path().join("never/index.json").exists());
}

/// A key provider behind gRPC, by the library that Python programs use for it; ends when dropped.
struct GrpcProvider {
    child: Child,
    folder: tempfile::TempDir,
}

impl GrpcProvider {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/key_provider.py");
        let at = |name: &str| folder.path().join(name);
        // Debian's own Python, which sees Debian's modules.
        let mut child = Command::new("/usr/bin/python3")
            .arg(program)
            .args([at("socket"), at("asked")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the interop tests: ./test installs it");
        let mut port = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufReader::new(out).read_line(&mut port).unwrap();
        assert!(
            !port.is_empty(),
            "python3-grpcio and python3-protobuf are needed: ./test installs them"
        );
        let providers = serde_json::json!({"key-providers": {
            "port": {"grpc": format!("127.0.0.1:{}", port.trim())},
            "socket": {"grpc": format!("unix:{}", at("socket").display())},
        }});
        std::fs::write(at("config"), providers.to_string()).unwrap();
        Self { child, folder }
    }

    fn copy(&self, line: &[&str]) {
        let mut command = command();
        command.env("OCICRYPT_KEYPROVIDER_CONFIG", self.folder.path().join("config"));
        let run = command.arg("copy").args(line).output().unwrap();
        assert!(run.status.success(), "{line:?}\n{}", said(&run));
    }
}

impl Drop for GrpcProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_grpc_key_provider_opens_what_it_locked() {
    let provider = GrpcProvider::start();
    for name in ["provider:port:mine", "provider:socket"] {
        // The peer is the provider: Debian's skopeo is built without any (its ocicrypt knows pgp, jwe and pkcs7).
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| oci(&scratch.path().join(name), "x");
        provider.copy(&["--encryption-key", name, &plain(), &at("enc")]);
        let encrypted = layers(&at("enc"));
        assert!(encrypted.iter().all(|(_, media_type)| media_type.ends_with("+encrypted")));
        provider.copy(&["--decryption-key", name, &at("enc"), &at("dec")]);
        assert_eq!(layers(&at("dec")), layers(&plain()), "by {name}");
    }
}

#[test]
fn a_grpc_key_provider_learns_its_own_parameters_only() {
    let provider = GrpcProvider::start();
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| oci(&scratch.path().join(name), "x");
    let secret = format!("{}:pass=hunter2", key("rsa-a.pkcs8-enc.pem"));
    provider.copy(&["--encryption-key", "provider:port:mine", &plain(), &at("enc")]);
    let keys = ["--decryption-key", "provider:port", "--decryption-key", &secret];
    provider.copy(&[&keys[..], &[&at("enc"), &at("dec")]].concat());
    let asked = std::fs::read_to_string(provider.folder.path().join("asked")).unwrap();
    assert!(asked.contains(r#""port": ["bWluZQ=="]"#), "{asked}");
    assert!(!asked.contains("privkeys"), "nobody else's keys");
}
