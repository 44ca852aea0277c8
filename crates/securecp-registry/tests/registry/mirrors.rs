//! registries.conf: where images are read, and where nothing is sent at all.

use securecp_layer::Scope;
use securecp_net::Net;
use securecp_oci::{Reference, Tag};
use securecp_registry::{
    Access, Class, Environment, Login, ManifestName, Problem, Registries, RegistryError,
};
use securecp_testkit::proxy::{Fault, Proxy, Reply, Rule};
use tempfile::TempDir;

use crate::peers::{Peer, image, password, plain};

/// Access whose only configuration is `conf`.
fn configured(root: &TempDir, conf: &str, login: Login) -> Access {
    let file = root.path().join("etc/containers/registries.conf");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, conf).unwrap();
    let environment = Environment::inside(root.path());
    Access { tls_verify: None, environment, login, ..plain() }
}

fn tagged(peer: &Peer, repository: &str, seed: u8) {
    let client = peer.client(repository);
    let manifest = image(&client, seed);
    let tag: Tag = "t".parse().unwrap();
    client.put_manifest(ManifestName::Tag(&tag), &manifest, &Scope::new()).unwrap();
}

/// Reads an image by its name and says which registry gave it.
fn read(access: Access, name: &str) -> Result<String, RegistryError> {
    let reference: Reference = name.parse().unwrap();
    let registries = Registries::new(Net::default(), access);
    let (client, _) = registries.read(&reference, |client, place| {
        client.manifest(ManifestName::of(place).unwrap(), &Scope::new())
    })?;
    Ok(client.repository().to_string())
}

#[test]
fn mirrors_are_asked_in_order_and_the_registry_last() {
    let (mirror, main) = (Peer::embedded(), Peer::embedded());
    let dead = crate::peers::free_address();
    tagged(&mirror, "copy/only-mirror", 1);
    tagged(&main, "only-main", 2);
    let root = TempDir::new().unwrap();
    let conf = format!(
        "[[registry]]\nprefix=\"r.example\"\nlocation=\"{}\"\ninsecure=true\n\
         [[registry.mirror]]\nlocation=\"{dead}\"\ninsecure=true\n\
         [[registry.mirror]]\nlocation=\"{}/copy\"\ninsecure=true\n",
        main.address, mirror.address
    );
    let access = || configured(&root, &conf, Login::Anonymous);
    let found = read(access(), "r.example/only-mirror:t").unwrap();
    assert_eq!(found, format!("{}/copy/only-mirror", mirror.address));
    let found = read(access(), "r.example/only-main:t").unwrap();
    assert_eq!(found, format!("{}/only-main", main.address));
    let registries = Registries::new(Net::default(), access());
    let tags = registries.tags(&"r.example/only-main".parse().unwrap(), &Scope::new()).unwrap();
    assert_eq!(tags, ["t".parse().unwrap()]);
    let error = read(access(), "r.example/nowhere:t").unwrap_err();
    assert!(error.is_not_found());
    let text = error.to_string();
    assert!(text.starts_with("(Mirrors also failed: [127.0.0.1:"), "{text}");
    assert!(text.contains("manifest unknown") && text.contains(&dead.to_string()), "{text}");
}

#[test]
fn what_is_blocked_gets_no_request() {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let root = TempDir::new().unwrap();
    let host = proxy.address();
    let conf = format!("[[registry]]\nlocation=\"{host}\"\ninsecure=true\nblocked=true\n");
    let access = configured(&root, &conf, Login::Anonymous);
    let error = read(access.clone(), &format!("{host}/a:t")).unwrap_err();
    assert!(matches!(error.problem(), Problem::Blocked(_)), "{error}");
    assert!(error.to_string().contains(&format!("registry {host} is blocked in")), "{error}");
    let repository = format!("{host}/a").parse().unwrap();
    assert!(Registries::new(Net::default(), access).client(&repository).is_err());
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn credentials_of_the_command_line_are_not_for_mirrors() {
    let peer = Peer::embedded();
    let proxy = Proxy::start(peer.address).unwrap();
    let asks = Reply::new(401).header("www-authenticate", "Basic realm=\"x\"");
    proxy.add(Rule::new("GET", "/manifests/").unwrap().with(Fault::Answer(asks)));
    tagged(&peer, "a", 1);
    let root = TempDir::new().unwrap();
    let conf = format!(
        "[[registry]]\nlocation=\"{}\"\ninsecure=true\n[[registry.mirror]]\nlocation=\"{}\"\ninsecure=true\n",
        peer.address,
        proxy.address()
    );
    let name = format!("{}/a:t", peer.address);
    for login in [password("user", "geheim"), Login::Token("geheim".to_owned().into())] {
        read(configured(&root, &conf, login), &name).unwrap();
    }
    assert!(proxy.requests("GET", "/manifests/") >= 2);
    assert!(proxy.log().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn the_command_line_has_the_last_word_on_verification() {
    let peer = Peer::embedded();
    tagged(&peer, "a", 1);
    let root = TempDir::new().unwrap();
    let conf = format!("[[registry]]\nlocation=\"{}\"\ninsecure=true\n", peer.address);
    let access = configured(&root, &conf, Login::Anonymous);
    let name = format!("{}/a:t", peer.address);
    read(access.clone(), &name).unwrap();
    let error = read(Access { tls_verify: Some(true), ..access }, &name).unwrap_err();
    assert_eq!(error.class(), Class::Network);
}

#[test]
fn a_broken_file_is_an_error_for_every_registry() {
    let root = TempDir::new().unwrap();
    let access = configured(&root, "[registries.search]\nregistries=[\"a\"]\n", Login::Anonymous);
    let error = read(access, "r.example/a:t").unwrap_err();
    assert_eq!(error.class(), Class::Local);
    assert!(error.to_string().contains("version 1"), "{error}");
}

/// A file of the configuration that cannot be looked at is not one that is not there.
#[test]
fn a_drop_in_that_cannot_be_read_does_not_open_what_it_blocks() {
    let conf = "[[registry]]\nlocation=\"r.example\"\nblocked=true\n";
    let folder = "etc/containers/registries.conf.d";
    let prepare = |root: &TempDir| {
        let folder = root.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("50-block.conf")
    };
    let refused = |root: &TempDir| {
        let access = Access { environment: Environment::inside(root.path()), ..plain() };
        Registries::new(Net::default(), access).client(&"r.example/a".parse().unwrap()).is_err()
    };
    let root = TempDir::new().unwrap();
    std::fs::write(prepare(&root), conf).unwrap();
    assert!(refused(&root), "it blocks while it can be read");
    // The file lives elsewhere, in a volume that is not mounted now.
    let root = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/nowhere/50-block.conf", prepare(&root)).unwrap();
    assert!(refused(&root), "a drop-in that leads nowhere is passed over");
}

/// The main file, where looking at it fails with something else than its absence.
#[test]
fn a_main_file_that_cannot_be_looked_at_is_an_error() {
    let root = TempDir::new().unwrap();
    let system = root.path().join("etc/containers/registries.conf");
    std::fs::create_dir_all(system.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("registries.conf", &system).unwrap();
    let access = Access { environment: Environment::inside(root.path()), ..plain() };
    let made = Registries::new(Net::default(), access).client(&"r.example/a".parse().unwrap());
    assert!(made.is_err(), "a loop of links is taken for no file");
}
