//! One file for each command.

mod completion;
mod copy;
mod delete;
mod demo;
mod generate_sigstore_key;
mod image_proxy;
mod inspect;
mod layers;
mod list_tags;
mod login;
mod logout;
mod man;
mod manifest_digest;
mod policy;
mod serve;
mod standalone;
mod sync;
mod verify;

use crate::args::Command;
use crate::failure::Failure;
use crate::session::Session;

/// Does what was asked.
pub(crate) fn run(command: Command, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Copy(args) => copy::run(*args, session),
        Command::Sync(args) => sync::run(*args, session),
        Command::Verify(args) => verify::run(*args, session),
        Command::Policy(args) => policy::run(&args, session),
        Command::Inspect(args) => inspect::run(*args, session),
        Command::ListTags(args) => list_tags::run(*args, session),
        Command::Delete(args) => delete::run(*args, session),
        Command::Login(args) => login::run(*args, session),
        Command::Logout(args) => logout::run(&args, session),
        Command::ManifestDigest(args) => manifest_digest::run(&args, session),
        Command::StandaloneSign(args) => standalone::sign(&args, session),
        Command::StandaloneVerify(args) => standalone::verify(&args, session),
        Command::UntrustedSignatureDumpWithoutVerification(args) => {
            standalone::dump(&args, session)
        }
        Command::GenerateSigstoreKey(args) => generate_sigstore_key::run(&args, session),
        Command::ExperimentalImageProxy(args) => image_proxy::run(*args, session),
        Command::Layers(args) => layers::run(*args, session),
        Command::Serve(args) => serve::run(&args, session),
        Command::Completion(args) => completion::run(&args, session),
        Command::Man(args) => man::run(&args, session),
        Command::Demo(args) => demo::run(&args, session),
    }
}
