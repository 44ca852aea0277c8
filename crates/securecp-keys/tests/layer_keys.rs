//! Keys of layer encryption from files, the user's GnuPG and a key provider.
#![expect(clippy::unwrap_used, reason = "a failed test may panic outside of #[test] functions too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use securecp_crypt::{DecryptionKeySpec, Encrypt, KeyFileError, Keys, RecipientSpec, Secret};
use securecp_keys::{
    DecryptionKeys, DecryptionSources, GpgHome, KeyProviders, LayerKeyError, RecipientSources,
};
use securecp_layer::{Layer, Once};
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};

const PLAIN: &[u8] = b"a layer";

fn key(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/crypt/keys").join(name);
    path.canonicalize().unwrap().display().to_string()
}

fn recipient(text: &str) -> RecipientSpec {
    RecipientSpec::parse(text).unwrap()
}

/// The descriptor of a layer encrypted for `recipients`.
fn encrypted(sources: &RecipientSources, recipients: &[&str]) -> Result<Descriptor, LayerKeyError> {
    let specs: Vec<_> = recipients.iter().map(|text| recipient(text)).collect();
    let transform = Encrypt::new(Arc::new(sources.recipients(&specs)?));
    let digest = Digest::of(Algorithm::Sha256, PLAIN);
    let plain = Descriptor::new(MediaType::OCI_LAYER, digest, PLAIN.len() as u64);
    let layer = Layer::verified(plain, Once::new(Bytes::from_static(PLAIN)));
    let mut layer = layer.pipe(Some(&transform)).unwrap().measured();
    while layer.next().unwrap().is_some() {}
    Ok(layer.finish().unwrap())
}

fn no_prompt(_: &Path) -> std::io::Result<Secret> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn sources(gpg: Option<GpgHome>, providers: KeyProviders) -> DecryptionSources<'static> {
    let dangerous_unauthenticated_pkcs7 = false;
    DecryptionSources { gpg, providers, prompt: &no_prompt, dangerous_unauthenticated_pkcs7 }
}

fn specs(texts: &[&str]) -> Vec<DecryptionKeySpec> {
    texts.iter().map(|text| DecryptionKeySpec::parse(text, Path::exists).unwrap()).collect()
}

fn load(texts: &[&str]) -> Result<DecryptionKeys, LayerKeyError> {
    sources(None, KeyProviders::default()).keys(&specs(texts))
}

fn keys(texts: &[&str]) -> Keys {
    load(texts).unwrap().keys
}

#[test]
fn opens_with_files_of_every_scheme() {
    let names = [
        format!("jwe:{}", key("rsa-a.pub.pem")),
        format!("jwe:{}", key("ec-a.pub.pem")),
        format!("pgp:{}", key("pgp-alice.pub.asc")),
        format!("pkcs7:{}", key("x509-b.pem")),
    ];
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let layer = encrypted(&RecipientSources::default(), &names).unwrap();
    let sealed = format!("{}:pass=hunter2", key("rsa-a.pkcs8-enc.pem"));
    let (rsa_b, x509_b) = (key("rsa-b.pem"), key("x509-b.pem"));
    for right in [
        &[key("rsa-a.pem").as_str()][..],
        &[&sealed],
        &[&key("ec-a.pem")],
        &[&key("pgp-alice.sec.asc")],
        &[&rsa_b, &x509_b],
        &[&x509_b, &rsa_b],
    ] {
        keys(right).unlock(&layer).unwrap();
    }
    for wrong in [&[rsa_b.as_str()][..], &[&x509_b], &[&key("pgp-bob.sec.asc")], &[]] {
        assert!(keys(wrong).unlock(&layer).is_err());
    }
}

#[test]
fn passphrases_come_from_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass:word");
    fs::write(&file, "hunter2\n").unwrap();
    let sealed = key("rsa-a.pkcs8-enc.pem");
    assert_eq!(load(&[&format!("{sealed}:file={}", file.display())]).unwrap().warnings.len(), 0);
    load(&[&format!("{sealed}:hunter2")]).unwrap();
    let prompt = |path: &Path| {
        assert!(path.ends_with("rsa-a.pkcs8-enc.pem"));
        Ok(Secret::new(b"hunter2".to_vec()))
    };
    let asking = DecryptionSources { prompt: &prompt, ..sources(None, KeyProviders::default()) };
    asking.keys(&specs(&[&format!("{sealed}:prompt")])).unwrap();
    let denied = load(&[&format!("{sealed}:prompt")]);
    assert!(matches!(denied, Err(LayerKeyError::Prompt { .. })));
    let missing = load(&[&sealed]).unwrap_err();
    assert!(matches!(missing, LayerKeyError::KeyFile(KeyFileError::PassphraseMissing { .. })));
    let wrong = load(&[&format!("{sealed}:hunter3")]).unwrap_err();
    assert!(matches!(wrong, LayerKeyError::KeyFile(KeyFileError::PassphraseWrong { .. })));
    assert!(!format!("{wrong} {wrong:?}").contains("hunter3"));
    let twice = [format!("{sealed}:fd=0"), format!("{sealed}:fd=0")];
    let twice = load(&[&twice[0], &twice[1]]).unwrap_err();
    assert!(!twice.to_string().is_empty());
}

#[test]
fn reads_a_passphrase_from_a_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pass"), "hunter2").unwrap();
    let open = fs::File::open(folder.path().join("pass")).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&open);
    load(&[&format!("{}:fd={number}", key("rsa-a.pkcs8-enc.pem"))]).unwrap();
    let spec = format!("{}:fd={number}", key("rsa-a.pkcs8-enc.pem"));
    let twice = load(&[&spec, &spec]);
    assert!(matches!(twice, Err(LayerKeyError::DescriptorTwice(_))));
}

#[test]
fn refuses_keys_in_the_wrong_place_and_files_that_are_none() {
    for (text, expected) in [
        (format!("jwe:{}", key("rsa-a.pem")), "expected a public key or JWK, found a private key"),
        (format!("jwe:{}", key("x509-a.pem")), "found a certificate"),
        (format!("pkcs7:{}", key("rsa-a.pub.pem")), "expected an X.509 certificate"),
        (format!("pgp:{}", key("pgp-bob.sec.asc")), "found an OpenPGP secret key"),
        (format!("jwe:{}", key("pgp-alice.fpr")), "not a key"),
        ("jwe:/nowhere".to_owned(), "reading /nowhere"),
        ("pgp:anna@x.test".to_owned(), "GnuPG is needed for OpenPGP recipients"),
        ("provider:kms".to_owned(), "key provider kms: not in the configuration"),
    ] {
        let error = encrypted(&RecipientSources::default(), &[&text]).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (text, expected) in [
        (key("rsa-a.pub.pem"), "expected a private key or certificate, found a public key"),
        (key("pgp-alice.pub.asc"), "found OpenPGP public keys"),
        (key("pgp-alice.fpr"), "not a key"),
        ("/dev/zero".to_owned(), "/dev/zero holds more than"),
        ("pgp:".to_owned(), "GnuPG is needed for pgp:"),
    ] {
        let error = load(&[&text]).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let none = RecipientSources::default().recipients(&[]);
    assert!(matches!(none, Err(LayerKeyError::Crypt(_))));
}

/// The named key files put together in one file of `folder`.
fn together(folder: &Path, names: &[&str]) -> String {
    let path = folder.join(names.join("+"));
    let parts: Vec<_> = names.iter().map(|name| fs::read(key(name)).unwrap()).collect();
    fs::write(&path, parts.concat()).unwrap();
    path.display().to_string()
}

#[test]
fn a_file_of_several_keys_leaves_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let from = |names: &[&str]| together(folder.path(), names);
    let jwe = format!("jwe:{}", from(&["rsa-a.pub.pem", "ec-a.pub.pem"]));
    let pgp = format!("pgp:{}", from(&["pgp-alice.pub.asc", "pgp-bob.pub.asc"]));
    let pair = format!("pkcs7:{}", from(&["x509-b.pem", "rsa-b.pem"]));
    let layer = encrypted(&RecipientSources::default(), &[&jwe, &pgp, &pair]).unwrap();
    for right in ["rsa-a.pem", "ec-a.pem", "pgp-alice.sec.asc", "pgp-bob.sec.asc"] {
        keys(&[&key(right)]).unlock(&layer).unwrap();
    }
    keys(&[&from(&["x509-b.pem", "rsa-b.pem"])]).unlock(&layer).unwrap();
    let secrets = from(&["pgp-bob.sec.asc", "pgp-alice.sec.asc"]);
    let alone = format!("pgp:{}", key("pgp-alice.pub.asc"));
    let layer = encrypted(&RecipientSources::default(), &[&alone]).unwrap();
    keys(&[&secrets]).unlock(&layer).unwrap();
}

#[test]
fn a_file_whose_keys_cannot_all_be_recipients_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let from = |names: &[&str]| together(folder.path(), names);
    let set = folder.path().join("set.jwk");
    fs::write(&set, r#"{"keys":[{"kty":"EC"}]}"#).unwrap();
    for (text, expected) in [
        (
            format!("pkcs7:{}", from(&["x509-a.pem", "x509-b.pem"])),
            "certificate, found 2; give each",
        ),
        (format!("pkcs7:{}", key("rsa-a.pem")), "an X.509 certificate, found a private key"),
        (format!("pkcs7:{}", from(&["x509-a.pem", "rsa-b.pem"])), "found a private key"),
        (format!("pkcs7:{}", from(&["x509-a.pem", "rsa-a.pub.pem"])), "found a public key"),
        (format!("jwe:{}", from(&["rsa-a.pub.pem", "x509-a.pem"])), "found a certificate"),
        (format!("jwe:{}", from(&["rsa-a.pub.pem", "rsa-a.pem"])), "found a private key"),
        (format!("jwe:{}", from(&["rsa-a.pub.pem", "pgp-bob.pub.asc"])), "OpenPGP and other keys"),
        (format!("jwe:{}", set.display()), "a JWK set"),
    ] {
        let error = encrypted(&RecipientSources::default(), &[&text]).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn warns_of_certificates_without_their_key() {
    let warnings = load(&[&key("x509-a.pem"), &key("rsa-b.pem")]).unwrap().warnings;
    assert!(warnings[0].contains("securecp test a") && warnings[0].contains("was not given"));
    assert!(load(&[&key("x509-a.pem"), &key("rsa-a.pem")]).unwrap().warnings.is_empty());
}

/// A home directory of GnuPG with an agent of its own.
struct Home(tempfile::TempDir);

impl Home {
    fn new(import: &[&str]) -> Self {
        let home = Self(tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap());
        for name in import {
            let mut command = Command::new("gpg");
            command.args(["--batch", "--quiet", "--import", &key(name)]);
            let output = command.env("GNUPGHOME", home.0.path()).output().expect("gpg is needed");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        home
    }

    fn gpg(&self) -> GpgHome {
        GpgHome::of_user().unwrap().home(self.0.path())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut stop = Command::new("gpgconf");
        stop.args(["--kill", "gpg-agent"]).env("GNUPGHOME", self.0.path());
        let _ = stop.status();
    }
}

#[test]
fn encrypts_for_people_in_the_keyring_and_decrypts_through_gpg() {
    let (alice, bob) =
        (Home::new(&["pgp-alice.sec.asc", "pgp-bob.pub.asc"]), Home::new(&["pgp-bob.sec.asc"]));
    let from = RecipientSources { gpg: Some(alice.gpg()), ..RecipientSources::default() };
    let print = fs::read_to_string(key("pgp-bob.fpr")).unwrap().trim().to_owned();
    for name in ["bob@securecp.test", &print, &format!("0x{}", &print[24..])] {
        let layer = encrypted(&from, &[&format!("pgp:{name}")]).unwrap();
        let open = |home: &Home| {
            let keys = sources(Some(home.gpg()), KeyProviders::default()).keys(&specs(&["pgp:"]));
            keys.unwrap().keys.unlock(&layer).map(drop)
        };
        open(&bob).unwrap();
        assert!(open(&alice).is_err());
    }
    for unknown in ["securecp.test", "nobody@securecp.test"] {
        assert!(encrypted(&from, &[&format!("pgp:{unknown}")]).is_err(), "{unknown}");
    }
}

/// A provider that turns letters around and keeps what it was asked.
fn provider(folder: &Path) -> (KeyProviders, PathBuf) {
    let (program, log) = (folder.join("provider"), folder.join("asked"));
    let script = format!(
        r#"#!/bin/sh
request=$(cat); printf '%s\n' "$request" >> '{}'
turn() {{ tail=${{1#"${{1%????}}"}}; printf '%s' "${{1%????}}" | tr A-Za-z N-ZA-Mn-za-m; printf '%s' "$tail"; }}
field() {{ turn "$(printf '%s' "$request" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/")"; }}
case "$request" in
*'"op":"keywrap"'*) printf '{{"keywrapresults":{{"annotation":"%s"}}}}' "$(field optsdata)" ;;
*) printf '{{"keyunwrapresults":{{"optsdata":"%s"}}}}' "$(field annotation)" ;;
esac
"#,
        log.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let config = folder.join("config.json");
    let text = format!(
        r#"{{"key-providers":{{"turn":{{"cmd":{{"path":"{}"}}}},"far":{{"grpc":"192.0.2.1:1"}},"odd":{{"grpc":"nowhere"}},"tls":{{"grpc":"localhost:1","grpc-tls":{{}}}},"bare":{{"cmd":{{"path":"provider"}}}}}}}}"#,
        program.display()
    );
    fs::write(&config, text).unwrap();
    (KeyProviders::read(&config).unwrap(), log)
}

#[test]
fn a_provider_wraps_and_unwraps_and_learns_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (providers, log) = provider(folder.path());
    let from = RecipientSources { gpg: None, providers: providers.clone() };
    let jwe = format!("jwe:{}", key("rsa-a.pub.pem"));
    let layer = encrypted(&from, &["provider:turn:mine", &jwe]).unwrap();
    assert!(layer.annotations.contains_key("org.opencontainers.image.enc.keys.provider.turn"));
    let sealed = format!("{}:hunter2", key("rsa-a.pkcs8-enc.pem"));
    let with = |texts: &[&str]| sources(None, providers.clone()).keys(&specs(texts)).unwrap().keys;
    with(&["provider:turn"]).unlock(&layer).unwrap();
    let asked = fs::read_to_string(&log).unwrap();
    assert_eq!(asked.lines().count(), 2);
    assert!(
        asked.contains(r#""turn":["bWluZQ=="]"#) && asked.contains(r#""turn":["RW5hYmxlZA=="]"#)
    );
    with(&[&sealed]).unlock(&layer).unwrap();
    with(&["provider:turn", &sealed]).unlock(&layer).unwrap();
    let asked = fs::read_to_string(&log).unwrap();
    assert_eq!(asked.lines().count(), 2, "asked only if named, and after the keys at hand");
    assert!(!asked.contains("privkeys") && !asked.contains("hunter2"));
}

#[test]
fn providers_that_fail_or_cannot_be_used_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (providers, _) = provider(folder.path());
    let from = RecipientSources { gpg: None, providers: providers.clone() };
    for (name, expected) in [
        ("far", "a service without TLS must be on this machine"),
        ("odd", "expected HOST:PORT"),
        ("tls", "gRPC over TLS is not supported"),
        ("bare", "absolute path"),
        ("none", "not in the configuration"),
    ] {
        let error = encrypted(&from, &[&format!("provider:{name}")]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            sources(None, providers.clone()).keys(&specs(&[&format!("provider:{name}")])).is_err()
        );
    }
    assert!(KeyProviders::read(&folder.path().join("missing")).is_err());
}
