use std::path::PathBuf;

use securecp_oci::Reference;
use securecp_trust::{IndexSignature, sign_identity};

use super::unknown;
use crate::args::{JudgeArgs, SignArgs};
use crate::failure::Failure;

/// The options that name a key with a passphrase.
const OPTIONS: &str = "--sign-by, --sign-by-key-file and --sign-by-sigstore-private-key";

/// Which signatures are to be made, checked; no key was looked at yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct SignRequest {
    pub(crate) keys: Vec<SigningKey>,
    /// Where the passphrase of the only key is.
    pub(crate) passphrase_file: Option<PathBuf>,
    pub(crate) identity: Option<Reference>,
    pub(crate) dangerous_partial_index: bool,
}

/// A key to sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SigningKey {
    /// In the user's GnuPG.
    Gpg(String),
    /// An exported OpenPGP secret key.
    File(PathBuf),
    /// A sigstore private key, encrypted as cosign does it.
    Sigstore(PathBuf),
}

impl TryFrom<SignArgs> for SignRequest {
    type Error = Failure;

    fn try_from(args: SignArgs) -> Result<Self, Failure> {
        let files = args.sign_by_key_file.into_iter().map(SigningKey::File);
        let sigstore = args.sign_by_sigstore_private_key.into_iter().map(SigningKey::Sigstore);
        let gpg = args.sign_by.into_iter().map(SigningKey::Gpg);
        // In the reference's order.
        let keys: Vec<SigningKey> = gpg.chain(files).chain(sigstore).collect();
        if keys.len() > 1 && args.sign_passphrase_file.is_some() {
            return Err(Failure::usage(format!(
                "Only one of {OPTIONS} can be used with --sign-passphrase-file"
            )));
        }
        for (option, given) in [
            ("--sign-passphrase-file", args.sign_passphrase_file.is_some()),
            ("--sign-identity", args.sign_identity.is_some()),
            ("--dangerous-sign-partial-index", args.dangerous_sign_partial_index),
        ] {
            if given && keys.is_empty() {
                let problem = format!("{option} has no effect without one of {OPTIONS}");
                return Err(Failure::usage(problem));
            }
        }
        Ok(Self {
            keys,
            passphrase_file: args.sign_passphrase_file,
            identity: args.sign_identity.as_deref().map(identity).transpose()?,
            dangerous_partial_index: args.dangerous_sign_partial_index,
        })
    }
}

fn identity(text: &str) -> Result<Reference, Failure> {
    sign_identity(text).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Failure::usage(format!("{error}{}", cause.unwrap_or_default()))
    })
}

/// What an index has to do with the verdict.
pub(crate) fn index_signature(args: &JudgeArgs) -> Result<IndexSignature, Failure> {
    match args.index_signature.as_deref() {
        None | Some("ignore") => Ok(IndexSignature::Ignore),
        Some("accept") => Ok(IndexSignature::Accept),
        Some("require") => Ok(IndexSignature::Require),
        Some(other) => Err(unknown("--index-signature", "require, accept or ignore", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn by(keys: &[&str]) -> SignArgs {
        let sign_by = keys.iter().map(|key| (*key).to_owned()).collect();
        SignArgs { sign_by, ..SignArgs::default() }
    }

    #[test]
    fn one_passphrase_is_for_one_key() {
        let file = || Some(PathBuf::from("p"));
        let one = SignArgs { sign_passphrase_file: file(), ..by(&["A"]) };
        assert!(SignRequest::try_from(one).unwrap().passphrase_file.is_some());
        let two = SignArgs { sign_passphrase_file: file(), ..by(&["A", "B"]) };
        let also_file = SignArgs {
            sign_passphrase_file: file(),
            sign_by_key_file: vec!["k".into()],
            ..by(&["A"])
        };
        let also_sigstore = SignArgs {
            sign_passphrase_file: file(),
            sign_by_sigstore_private_key: vec!["k".into()],
            ..by(&["A"])
        };
        for args in [two, also_file, also_sigstore] {
            let failure = SignRequest::try_from(args).unwrap_err();
            assert!(failure.to_string().starts_with("Only one of --sign-by"), "{failure}");
        }
        assert_eq!(SignRequest::try_from(by(&["A", "B"])).unwrap().keys.len(), 2);
    }

    #[test]
    fn nothing_is_ignored_without_a_key() {
        for args in [
            SignArgs { sign_passphrase_file: Some("p".into()), ..by(&[]) },
            SignArgs { sign_identity: Some("h.example/x:v1".to_owned()), ..by(&[]) },
            SignArgs { dangerous_sign_partial_index: true, ..by(&[]) },
        ] {
            assert_eq!(SignRequest::try_from(args).unwrap_err().exit(), Exit::Usage);
        }
        assert!(SignRequest::try_from(by(&[])).unwrap().keys.is_empty());
    }

    #[test]
    fn an_identity_is_written_out() {
        let with = |text: &str| {
            SignRequest::try_from(SignArgs { sign_identity: Some(text.to_owned()), ..by(&["A"]) })
        };
        assert!(with("h.example/x:v1").unwrap().identity.is_some());
        for (text, says) in [
            ("busybox:v1", "Could not parse --sign-identity: repository name must be canonical"),
            ("h.example/x", "Sign identity must be a fully specified reference h.example/x"),
            ("h.example/X", "Could not parse --sign-identity: "),
        ] {
            let failure = with(text).unwrap_err();
            assert!(failure.to_string().starts_with(says), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }

    #[test]
    fn reads_what_an_index_counts() {
        let mode = |text: &str| {
            index_signature(&JudgeArgs { index_signature: Some(text.to_owned()), trust: None })
        };
        assert_eq!(index_signature(&JudgeArgs::default()).unwrap(), IndexSignature::Ignore);
        assert_eq!(mode("accept").unwrap(), IndexSignature::Accept);
        assert_eq!(mode("require").unwrap(), IndexSignature::Require);
        assert_eq!(mode("maybe").unwrap_err().exit(), Exit::Usage);
    }
}
