//! Both ways with Debian's skopeo 1.9.3, on local layouts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use openssl::pkey::PKey;
use securecp_crypt::{
    JweRecipients, KeyMaterial, KeyWrapper, PgpRecipients, Pkcs7Recipients, PublicKey, Recipients,
    Secret,
};
use tempfile::TempDir;

use crate::layout::{Layout, testdata};
use crate::vectors::{keys, plain, read};

/// A temporary folder and skopeo to work in it.
pub(crate) struct Bench {
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Copies the image with skopeo; its error text if it fails.
    pub(crate) fn skopeo(&self, options: &[&str], from: &Path, to: &str) -> Result<Layout, String> {
        let target = self.path(to);
        let name = if from.starts_with(testdata("plain")) { "plain" } else { "enc" };
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy"])
            .args(options)
            .arg(format!("oci:{}:{name}", from.display()))
            .arg(format!("oci:{}:enc", target.display()))
            .env("GNUPGHOME", self.path("gnupg"))
            .output()
            .expect("skopeo is installed");
        match output.status.success() {
            true => Ok(Layout::open(&target)),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Encrypts the chosen layers of the plain image with this crate.
    pub(crate) fn encrypt(&self, wrappers: Vec<Box<dyn KeyWrapper>>, chosen: &[usize]) -> Layout {
        let recipients = Recipients::new(wrappers).unwrap();
        Layout::open(&testdata("plain")).encrypt(chosen, recipients, &self.path("sealed"))
    }

    /// Whether skopeo decrypts `layout` with these keys to the plain image.
    pub(crate) fn opens(&self, layout: &Layout, keys: &[&str]) -> Result<(), String> {
        let options: Vec<_> = keys.iter().flat_map(|key| ["--decryption-key", key]).collect();
        let target = format!("opened-{}", fs::read_dir(self.directory.path()).unwrap().count());
        let opened = self.skopeo(&options, &layout.path, &target)?;
        let digests: Vec<_> = opened.layers().iter().map(|layer| layer.digest.clone()).collect();
        assert_eq!(digests, plain());
        Ok(())
    }
}

pub(crate) fn key(name: &str) -> String {
    testdata("keys").join(name).display().to_string()
}

fn public(name: &str) -> PublicKey {
    match &read(name, None)[..] {
        [KeyMaterial::Public(key)] => key.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

pub(crate) fn jwe(names: &[&str]) -> Box<dyn KeyWrapper> {
    Box::new(JweRecipients::new(names.iter().map(|name| public(name)).collect()).unwrap())
}

pub(crate) fn pkcs7(names: &[&str]) -> Box<dyn KeyWrapper> {
    let certificate = |name: &&str| match &read(name, None)[..] {
        [KeyMaterial::Certificate(certificate)] => certificate.clone(),
        other => panic!("{name}: {other:?}"),
    };
    Box::new(Pkcs7Recipients::new(names.iter().map(certificate).collect()).unwrap())
}

pub(crate) fn pgp(names: &[&str]) -> Box<dyn KeyWrapper> {
    let recipient = |name: &&str| match &read(&format!("pgp-{name}.pub.asc"), None)[..] {
        [KeyMaterial::PgpPublic(found)] => found.select(&format!("{name}@securecp.test")).unwrap(),
        other => panic!("{name}: {other:?}"),
    };
    Box::new(PgpRecipients::new(names.iter().map(recipient).collect()))
}

/// A binary keyring, since the reference does not read armoured ones.
fn binary_ring(bench: &Bench, name: &str) -> String {
    let ring = bench.path(&format!("{name}.gpg"));
    let armoured = key(&format!("pgp-{name}.sec.asc"));
    gpg(bench, &["--yes", "--output", &ring.display().to_string(), "--dearmor", &armoured]);
    ring.display().to_string()
}

fn gpg(bench: &Bench, arguments: &[&str]) -> Vec<u8> {
    let home = bench.path("gnupg");
    fs::create_dir_all(&home).unwrap();
    let output = Command::new("gpg")
        .args(["--batch", "--quiet", "--no-permission-warning", "--trust-model", "always"])
        .args(arguments)
        .env("GNUPGHOME", home)
        .output()
        .expect("gpg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The EC key as PKCS#8, since the reference does not read the form of `openssl ecparam`.
fn ec_key(bench: &Bench) -> String {
    let pem = fs::read(key("ec-a.pem")).unwrap();
    let pkcs8 = PKey::private_key_from_pem(&pem).unwrap().private_key_to_pem_pkcs8().unwrap();
    fs::write(bench.path("ec-a.pkcs8.pem"), pkcs8).unwrap();
    bench.path("ec-a.pkcs8.pem").display().to_string()
}

#[test]
fn skopeo_opens_jwe_for_one_recipient() {
    let bench = Bench::new();
    let rsa = bench.encrypt(vec![jwe(&["rsa-a.pub.pem"])], &[0, 1, 2]);
    assert!(rsa.layers().iter().all(|layer| layer.media_type.is_encrypted()));
    bench.opens(&rsa, &[&key("rsa-a.pem")]).unwrap();
    let error = bench.opens(&rsa, &[&key("rsa-b.pem")]).unwrap_err();
    assert!(error.contains(crate::vectors::REFUSAL), "{error}");
    let bench = Bench::new();
    let ec = bench.encrypt(vec![jwe(&["ec-a.pub.pem"])], &[0, 1, 2]);
    bench.opens(&ec, &[&ec_key(&bench)]).unwrap();
}

#[test]
fn skopeo_opens_jwe_for_several_recipients_and_some_layers() {
    let bench = Bench::new();
    let names = ["rsa-a.pub.pem", "ec-a.pub.pem", "rsa-b.pub.pem"];
    let layout = bench.encrypt(vec![jwe(&names)], &[1]);
    let encrypted: Vec<_> = layout.layers().iter().map(|l| l.media_type.is_encrypted()).collect();
    assert_eq!(encrypted, [false, true, false]);
    for key in [key("rsa-a.pem"), key("rsa-b.pem"), ec_key(&bench)] {
        bench.opens(&layout, &[&key]).unwrap();
    }
}

#[test]
fn opens_jwe_that_skopeo_made_here() {
    let bench = Bench::new();
    let (rsa, ec) =
        (format!("jwe:{}", key("rsa-a.pub.pem")), format!("jwe:{}", key("ec-a.pub.pem")));
    let options = ["--encryption-key", &rsa, "--encryption-key", &ec, "--encrypt-layer", "-1"];
    let made = bench.skopeo(&options, &testdata("plain"), "made").unwrap();
    for right in ["rsa-a.pem", "ec-a.pem"] {
        assert_eq!(made.decrypt(&keys(&[right])).unwrap(), plain());
    }
    assert!(made.decrypt(&keys(&["rsa-b.pem"])).is_err());
}

#[test]
fn skopeo_opens_pkcs7_and_mixed() {
    let bench = Bench::new();
    let layout = bench.encrypt(vec![pkcs7(&["x509-a.pem", "x509-b.pem"])], &[0, 1, 2]);
    bench.opens(&layout, &[&key("rsa-a.pem"), &key("x509-a.pem")]).unwrap();
    bench.opens(&layout, &[&key("x509-b.pem"), &key("rsa-b.pem")]).unwrap();
    assert!(bench.opens(&layout, &[&key("x509-b.pem"), &key("rsa-a.pem")]).is_err());
    let bench = Bench::new();
    let wrappers = vec![jwe(&["rsa-a.pub.pem"]), pkcs7(&["x509-b.pem"])];
    let layout = bench.encrypt(wrappers, &[0, 2]);
    bench.opens(&layout, &[&key("rsa-a.pem")]).unwrap();
    bench.opens(&layout, &[&key("rsa-b.pem"), &key("x509-b.pem")]).unwrap();
}

/// The content of this version stands in octet strings.
#[test]
fn opens_pkcs7_that_skopeo_made_here() {
    let bench = Bench::new();
    let recipients = ["x509-a.pem", "x509-b.pem"].map(|name| format!("pkcs7:{}", key(name)));
    let options: Vec<_> = recipients.iter().flat_map(|r| ["--encryption-key", r]).collect();
    let made = bench.skopeo(&options, &testdata("plain"), "made").unwrap();
    for pair in [["x509-a.pem", "rsa-a.pem"], ["x509-b.pem", "rsa-b.pem"]] {
        assert_eq!(made.decrypt(&keys(&pair)).unwrap(), plain());
    }
    assert!(made.decrypt(&keys(&["x509-a.pem", "rsa-b.pem"])).is_err());
}

#[test]
fn skopeo_opens_pgp_and_everything_mixed() {
    let bench = Bench::new();
    let (alice, bob) = (binary_ring(&bench, "alice"), binary_ring(&bench, "bob"));
    let layout = bench.encrypt(vec![pgp(&["alice"])], &[0, 1, 2]);
    bench.opens(&layout, &[&alice]).unwrap();
    assert!(bench.opens(&layout, &[&bob]).is_err());
    let wrappers = vec![jwe(&["rsa-a.pub.pem"]), pgp(&["alice", "bob"]), pkcs7(&["x509-b.pem"])];
    let layout = bench.encrypt(wrappers, &[0, 2]);
    bench.opens(&layout, &[&alice]).unwrap();
    bench.opens(&layout, &[&bob]).unwrap();
    bench.opens(&layout, &[&key("rsa-a.pem")]).unwrap();
    bench.opens(&layout, &[&key("rsa-b.pem"), &key("x509-b.pem")]).unwrap();
}

/// About every second message of this version has a number with leading zeros; five images have fifteen messages.
#[test]
fn opens_pgp_that_skopeo_made_here() {
    let bench = Bench::new();
    for name in ["alice", "bob"] {
        gpg(&bench, &["--import", &key(&format!("pgp-{name}.pub.asc"))]);
    }
    let recipients = ["pgp:alice@securecp.test", "pgp:bob@securecp.test"];
    let options: Vec<_> = recipients.iter().flat_map(|r| ["--encryption-key", r]).collect();
    for number in 0..5 {
        let made = bench.skopeo(&options, &testdata("plain"), &format!("made-{number}")).unwrap();
        for name in ["pgp-alice.sec.asc", "pgp-bob.sec.asc"] {
            assert_eq!(made.decrypt(&keys(&[name])).unwrap(), plain());
        }
    }
}

#[test]
fn gpg_opens_what_is_written_here() {
    let bench = Bench::new();
    gpg(&bench, &["--import", &key("pgp-bob.sec.asc")]);
    let options = b"stands for the private options".to_vec();
    let item = pgp(&["alice", "bob"]).wrap(&Secret::new(options.clone())).unwrap();
    let file = bench.path("item");
    fs::write(&file, item).unwrap();
    let found = gpg(&bench, &["--decrypt", &file.display().to_string()]);
    let mut stop = Command::new("gpgconf");
    stop.args(["--kill", "gpg-agent"]).env("GNUPGHOME", bench.path("gnupg")).status().unwrap();
    assert_eq!(found, options);
}

#[test]
fn skopeo_opens_with_recipients_that_were_added_later() {
    let bench = Bench::new();
    let pgp_only = Layout::open(&testdata("enc-pgp"));
    let added = Recipients::new(vec![jwe(&["rsa-b.pub.pem"]), pgp(&["bob"])]).unwrap();
    let alice = keys(&["pgp-alice.sec.asc"]);
    let layout = pgp_only.add_recipients(&alice, &added, &bench.path("added"));
    let old: Vec<_> = pgp_only.layers().iter().map(|layer| &layer.digest).collect();
    assert_eq!(layout.layers().iter().map(|layer| &layer.digest).collect::<Vec<_>>(), old);
    for right in [key("rsa-b.pem"), binary_ring(&bench, "bob"), binary_ring(&bench, "alice")] {
        bench.opens(&layout, &[&right]).unwrap();
    }
    assert!(bench.opens(&layout, &[&key("rsa-a.pem")]).is_err());
}
