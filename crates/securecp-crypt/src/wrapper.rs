use std::fmt::{self, Display};
use std::sync::atomic::{AtomicUsize, Ordering};

use securecp_oci::{Descriptor, Escaped, base64};

use crate::options::PrivateOptions;
use crate::scheme::PUBOPTS;
use crate::{CryptError, Envelope, Scheme, Secret, Unlocked};

/// Wraps layer keys for the recipients that it knows. One value serves one scheme.
pub trait KeyWrapper: Send + Sync {
    /// The scheme, which says under which annotation the result stands.
    fn scheme(&self) -> Scheme;

    /// The recipients, for receipts.
    fn recipients(&self) -> Vec<Recipient>;

    /// Wraps `options` for all recipients in one item.
    ///
    /// # Errors
    /// [`CryptError::Wrap`] if it cannot be done for every recipient.
    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError>;
}

/// Unwraps layer keys with the private keys that it knows. One value serves one scheme.
pub trait KeyUnwrapper: Send + Sync {
    /// The scheme.
    fn scheme(&self) -> Scheme;

    /// Tries all keys on one item.
    ///
    /// # Errors
    /// Only what must end the whole attempt, such as [`CryptError::TooMuchWork`]; an item that cannot be opened is an
    /// outcome.
    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError>;
}

/// What became of one item.
#[derive(Debug)]
pub enum Unwrapped {
    /// It is for somebody else, or not readable at all.
    NotMine,
    /// A key opened it; these are the options.
    Mine(Secret),
    /// A key fits it, but it is damaged.
    Broken(&'static str),
    /// Whoever has the key could not be asked or refused, so nobody knows whether it fits; the text is for people.
    Failed(String),
}

/// One recipient, named by something public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// How keys are wrapped for it.
    pub scheme: Scheme,
    /// A thumbprint, key id, issuer and serial number or provider name; escaped, safe to print.
    pub id: String,
}

impl Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scheme, self.id)
    }
}

/// Counts private-key operations, which a manifest full of wrapped keys could cause without end.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    left: AtomicUsize,
}

impl Budget {
    /// Private-key operations allowed in one copy unless said otherwise: some tens of seconds with RSA-4096.
    pub const DEFAULT: usize = 8192;

    /// Allows `limit` operations.
    pub fn new(limit: usize) -> Self {
        Self { limit, left: AtomicUsize::new(limit) }
    }

    /// Takes one operation.
    ///
    /// # Errors
    /// None is left.
    pub fn spend(&self) -> Result<(), CryptError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .map(drop)
            .map_err(|_| CryptError::TooMuchWork { limit: self.limit })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// Everybody for whom layers are encrypted. There is always at least one.
pub struct Recipients(Vec<Box<dyn KeyWrapper>>);

impl Recipients {
    /// Takes the wrappers, one for each scheme.
    ///
    /// # Errors
    /// There is no recipient.
    pub fn new(wrappers: Vec<Box<dyn KeyWrapper>>) -> Result<Self, CryptError> {
        if wrappers.iter().all(|wrapper| wrapper.recipients().is_empty()) {
            return Err(CryptError::NoRecipient);
        }
        Ok(Self(wrappers))
    }

    /// Who they are.
    pub fn list(&self) -> Vec<Recipient> {
        self.0.iter().flat_map(|wrapper| wrapper.recipients()).collect()
    }

    /// Gives these recipients access to an encrypted layer as well; its bytes and digest stay.
    ///
    /// # Errors
    /// `layer` is not the one that was unlocked, or the key cannot be wrapped.
    pub fn add_to(
        &self,
        layer: &Descriptor,
        unlocked: &Unlocked,
    ) -> Result<Descriptor, CryptError> {
        if layer.digest != unlocked.ciphertext().digest {
            return Err(CryptError::NotThisLayer {
                expected: unlocked.ciphertext().digest.clone(),
            });
        }
        let mut added = layer.clone();
        self.wrap_into(&unlocked.options, &mut added)?;
        Ok(added)
    }

    /// Appends one wrapped key for each scheme to the annotations.
    pub(crate) fn wrap_into(
        &self,
        options: &PrivateOptions,
        layer: &mut Descriptor,
    ) -> Result<(), CryptError> {
        let document = options.to_json();
        for wrapper in &self.0 {
            let item = base64::encode(&wrapper.wrap(&document)?);
            let place = layer.annotations.entry(wrapper.scheme().annotation()).or_default();
            if !place.is_empty() {
                place.push(',');
            }
            place.push_str(&item);
        }
        // What the reader would refuse nobody could ever open.
        crate::envelope::check_size(layer).map_err(|problem| CryptError::Annotation {
            digest: layer.digest.clone(),
            annotation: crate::scheme::ENC.to_owned(),
            problem: format!("{problem}: encrypt for fewer recipients"),
        })
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipients").field(&self.list()).finish()
    }
}

/// The private keys at hand, in the order in which they are tried.
#[derive(Default)]
pub struct Keys {
    unwrappers: Vec<Box<dyn KeyUnwrapper>>,
    budget: Budget,
}

impl Keys {
    /// Takes the unwrappers; those that ask other programs or people belong at the end.
    pub fn new(unwrappers: Vec<Box<dyn KeyUnwrapper>>, budget: Budget) -> Self {
        Self { unwrappers, budget }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.unwrappers.is_empty()
    }

    /// Opens the envelope of `layer`; reads no byte of the blob.
    ///
    /// # Errors
    /// The layer is not encrypted or its annotations are malformed, no key fits, the one that fits opens something
    /// damaged, or too many operations would be needed.
    pub fn unlock(&self, layer: &Descriptor) -> Result<Unlocked, CryptError> {
        let Some(envelope) = Envelope::of(layer)? else {
            let problem = "is not encrypted";
            return Err(CryptError::Contradiction { digest: layer.digest.clone(), problem });
        };
        let (mut damaged, mut failures) = (None, Vec::new());
        for unwrapper in &self.unwrappers {
            let scheme = unwrapper.scheme();
            for item in envelope.items.iter().filter(|item| item.scheme == scheme) {
                match open(unwrapper.as_ref(), &item.bytes, &self.budget)? {
                    Ok(options) => return Ok(Unlocked::new(layer, envelope, options)),
                    Err(Miss::Broken(problem)) => damaged = Some((scheme.clone(), problem)),
                    Err(Miss::Failed(problem)) => failures.push((scheme.clone(), problem)),
                    Err(Miss::NotMine) => {}
                }
            }
        }
        let digest = layer.digest.clone();
        match damaged {
            Some((scheme, problem)) => Err(CryptError::Damaged { digest, scheme, problem }),
            None => Err(CryptError::NoKey { digest, tried: self.tried(&envelope, &failures) }),
        }
    }

    /// What was tried, by scheme, and why it may have failed where a key would fit.
    fn tried(&self, envelope: &Envelope, failures: &[(Scheme, String)]) -> String {
        let outcome = |scheme: &&Scheme| {
            let tried = self.unwrappers.iter().any(|unwrapper| unwrapper.scheme() == **scheme);
            let failure = failures.iter().find(|(failed, _)| failed == *scheme);
            match (scheme, failure) {
                (_, Some((_, problem))) => {
                    format!("{scheme}: failed: {}", Escaped::new(problem).limit(FAILURE_LENGTH))
                }
                _ if tried => format!("{scheme}: no key fits"),
                (Scheme::Pkcs11, _) => format!("{scheme}: not supported"),
                _ => format!("{scheme}: no key given"),
            }
        };
        let tried: Vec<_> = envelope.schemes().iter().map(outcome).collect();
        tried.join(", ")
    }
}

/// Longest text of a failure that is shown, in characters.
const FAILURE_LENGTH: usize = 300;

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> = self.unwrappers.iter().map(|unwrapper| unwrapper.scheme()).collect();
        f.debug_struct("Keys").field("schemes", &schemes).finish_non_exhaustive()
    }
}

/// Why an item gave no options.
enum Miss {
    NotMine,
    Broken(&'static str),
    Failed(String),
}

/// The options in `item`, or why there are none.
fn open(
    unwrapper: &dyn KeyUnwrapper,
    item: &[u8],
    budget: &Budget,
) -> Result<Result<PrivateOptions, Miss>, CryptError> {
    Ok(match unwrapper.unwrap(item, budget)? {
        Unwrapped::Mine(document) => PrivateOptions::from_json(&document).map_err(Miss::Broken),
        Unwrapped::Broken(problem) => Err(Miss::Broken(problem)),
        Unwrapped::Failed(problem) => Err(Miss::Failed(problem)),
        Unwrapped::NotMine => Err(Miss::NotMine),
    })
}

/// Refuses to wrap for more recipients than readers look at.
pub(crate) fn check_count(scheme: Scheme, count: usize, limit: usize) -> Result<(), CryptError> {
    if count <= limit {
        return Ok(());
    }
    let problem = format!("{count} recipients, the limit is {limit}: encrypt for fewer recipients");
    Err(CryptError::Wrap { scheme, problem })
}

/// Holds what was written to what its reader finds in it.
pub(crate) fn check_readable(
    scheme: Scheme,
    read: Option<usize>,
    count: usize,
) -> Result<(), CryptError> {
    if read == Some(count) {
        return Ok(());
    }
    let problem = format!(
        "what was wrapped for {count} recipients is too large to be read again: encrypt for fewer recipients"
    );
    Err(CryptError::Wrap { scheme, problem })
}

/// Writes the public options; only an encryption that is finished can.
pub(crate) fn set_public(layer: &mut Descriptor, public: &crate::options::PublicOptions) {
    let value = base64::encode(public.to_json().as_bytes());
    layer.annotations.insert(PUBOPTS.to_owned(), value);
}
