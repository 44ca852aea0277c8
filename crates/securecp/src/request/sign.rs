use std::path::PathBuf;

use securecp_oci::Reference;
use securecp_trust::{IndexSignature, sign_identity};

use super::{both, unknown};
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
    /// What sigstore keys make.
    pub(crate) format: SignFormat,
    /// What must prove new signatures that a log has seen.
    pub(crate) trusted_root: Option<PathBuf>,
}

/// The forms of new sigstore signatures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum SignFormat {
    /// Attachments only.
    #[default]
    Attachment,
    /// Bundles only.
    Bundle(BundleWitness),
    /// Both.
    Both(BundleWitness),
}

/// What a new bundle must have, beside a good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BundleWitness {
    /// What this trusted root proves.
    TrustedRoot(PathBuf),
    /// Nothing.
    DangerousNone,
}

impl SignFormat {
    /// Whether attachments are made.
    pub(crate) fn attaches(&self) -> bool {
        !matches!(self, Self::Bundle(_))
    }

    /// What bundles must have, if any are made.
    pub(crate) fn bundles(&self) -> Option<&BundleWitness> {
        match self {
            Self::Attachment => None,
            Self::Bundle(witness) | Self::Both(witness) => Some(witness),
        }
    }

    fn read(args: &SignArgs, keys: &[SigningKey]) -> Result<Self, Failure> {
        let sigstore = keys.iter().any(SigningKey::is_sigstore);
        let form = args.sign_format.as_deref().unwrap_or("attachment");
        let both: fn(BundleWitness) -> Self = match form {
            "attachment" => return Self::attachment(args, keys),
            "bundle" => Self::Bundle,
            "both" => Self::Both,
            other => return Err(unknown("--sign-format", "attachment, bundle or both", other)),
        };
        if !sigstore {
            let problem = format!("--sign-format {form} has no effect without a sigstore key");
            return Err(Failure::usage(problem));
        }
        BundleWitness::read(args).map(both)
    }

    fn attachment(args: &SignArgs, keys: &[SigningKey]) -> Result<Self, Failure> {
        let sigstore = keys.iter().any(SigningKey::is_sigstore);
        let logged = keys.iter().any(|key| matches!(key, SigningKey::Parameters(_)));
        let options = [
            ("--sign-format", args.sign_format.is_some() && !sigstore, "a sigstore key"),
            (
                "--sign-trusted-root",
                args.sign_trusted_root.is_some() && !logged,
                "--sign-by-sigstore or --sign-format bundle or both",
            ),
            (
                "--dangerous-sign-without-log",
                args.dangerous_sign_without_log,
                "--sign-format bundle or both",
            ),
        ];
        match options.into_iter().find(|(_, given, _)| *given) {
            Some((option, _, needed)) => {
                Err(Failure::usage(format!("{option} has no effect without {needed}")))
            }
            None => Ok(Self::Attachment),
        }
    }
}

impl BundleWitness {
    fn read(args: &SignArgs) -> Result<Self, Failure> {
        match (&args.sign_trusted_root, args.dangerous_sign_without_log) {
            (Some(root), false) => Ok(Self::TrustedRoot(root.clone())),
            (None, true) => Ok(Self::DangerousNone),
            (Some(_), true) => Err(both("--sign-trusted-root", "--dangerous-sign-without-log")),
            (None, false) => Err(Failure::usage(
                "new bundles need --sign-trusted-root FILE, against which they are verified",
            )
            .hint(
                "--dangerous-sign-without-log makes bundles by key that no transparency log has seen",
            )),
        }
    }
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
    /// Whatever a parameter file for sigstore says.
    Parameters(PathBuf),
}

impl SigningKey {
    /// Whether it makes what `--sign-format` says.
    fn is_sigstore(&self) -> bool {
        matches!(self, Self::Sigstore(_) | Self::Parameters(_))
    }
}

impl TryFrom<SignArgs> for SignRequest {
    type Error = Failure;

    fn try_from(mut args: SignArgs) -> Result<Self, Failure> {
        let keys = signing_keys(&mut args)?;
        let format = SignFormat::read(&args, &keys)?;
        if args.sign_identity.is_some()
            && !format.attaches()
            && keys.iter().all(SigningKey::is_sigstore)
        {
            return Err(Failure::usage(
                "--sign-identity has no effect on bundles, which name no image",
            ));
        }
        Ok(Self {
            keys,
            format,
            trusted_root: args.sign_trusted_root,
            passphrase_file: args.sign_passphrase_file,
            identity: args.sign_identity.as_deref().map(identity).transpose()?,
            dangerous_partial_index: args.dangerous_sign_partial_index,
        })
    }
}

/// Takes the keys out of the arguments, in the order in which they sign; options that need one are refused without.
fn signing_keys(args: &mut SignArgs) -> Result<Vec<SigningKey>, Failure> {
    let files = std::mem::take(&mut args.sign_by_key_file).into_iter().map(SigningKey::File);
    let sigstore = std::mem::take(&mut args.sign_by_sigstore_private_key)
        .into_iter()
        .map(SigningKey::Sigstore);
    let gpg = std::mem::take(&mut args.sign_by).into_iter().map(SigningKey::Gpg);
    let mut keys: Vec<SigningKey> = gpg.chain(files).chain(sigstore).collect();
    if keys.len() > 1 && args.sign_passphrase_file.is_some() {
        return Err(Failure::usage(format!(
            "Only one of {OPTIONS} can be used with --sign-passphrase-file"
        )));
    }
    let idle = |option: &str, options: String| {
        Failure::usage(format!("{option} has no effect without one of {options}"))
    };
    if args.sign_passphrase_file.is_some() && keys.is_empty() {
        return Err(idle("--sign-passphrase-file", OPTIONS.to_owned()));
    }
    // A parameter file says itself where its passphrase is, and comes first, as in the reference.
    keys.splice(0..0, args.sign_by_sigstore.take().map(SigningKey::Parameters));
    for (option, given) in [
        ("--sign-identity", args.sign_identity.is_some()),
        ("--dangerous-sign-partial-index", args.dangerous_sign_partial_index),
    ] {
        if given && keys.is_empty() {
            return Err(idle(option, format!("--sign-by-sigstore, {OPTIONS}")));
        }
    }
    Ok(keys)
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

    /// A bundle is not made without either proof that it will be accepted or the word that there is none.
    #[test]
    fn bundles_say_what_witnesses_them() {
        let format = |form: &str, root: bool, without: bool, sigstore: bool| {
            let args = SignArgs {
                sign_format: Some(form.to_owned()),
                sign_trusted_root: root.then(|| "root".into()),
                dangerous_sign_without_log: without,
                sign_by_sigstore_private_key: if sigstore { vec!["k".into()] } else { Vec::new() },
                ..by(&["A"])
            };
            SignRequest::try_from(args).map(|request| request.format)
        };
        let root = || BundleWitness::TrustedRoot("root".into());
        assert_eq!(format("attachment", false, false, true).unwrap(), SignFormat::Attachment);
        assert_eq!(format("bundle", true, false, true).unwrap(), SignFormat::Bundle(root()));
        assert_eq!(format("both", true, false, true).unwrap(), SignFormat::Both(root()));
        let none = SignFormat::Both(BundleWitness::DangerousNone);
        assert_eq!(format("both", false, true, true).unwrap(), none);
        for (form, root, without, sigstore, expected) in [
            ("bundle", false, false, true, "new bundles need --sign-trusted-root"),
            ("both", true, true, true, "--sign-trusted-root"),
            ("attachment", true, false, true, "--sign-trusted-root has no effect"),
            ("attachment", false, true, true, "--dangerous-sign-without-log has no effect"),
            ("both", true, false, false, "--sign-format both has no effect without a sigstore key"),
            ("attachment", false, false, false, "--sign-format has no effect"),
            ("cosign", false, false, true, "--sign-format: expected attachment, bundle or both"),
        ] {
            let failure = format(form, root, without, sigstore).unwrap_err();
            assert!(failure.to_string().starts_with(expected), "{failure}");
            assert_eq!(failure.exit(), Exit::Usage);
        }
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
    fn a_parameter_file_has_its_own_passphrase() {
        let with = |args: SignArgs| {
            SignRequest::try_from(SignArgs { sign_by_sigstore: Some("f".into()), ..args })
        };
        let file = SignArgs { sign_passphrase_file: Some("p".into()), ..by(&[]) };
        assert_eq!(with(file).unwrap_err().exit(), Exit::Usage);
        let beside = SignArgs { sign_passphrase_file: Some("p".into()), ..by(&["A"]) };
        let keys = with(beside).unwrap().keys;
        assert_eq!(keys, [SigningKey::Parameters("f".into()), SigningKey::Gpg("A".to_owned())]);
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
