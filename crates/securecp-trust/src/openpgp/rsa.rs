use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, RsaPrivateKeyBuilder};
use sequoia_openpgp::crypto::{Signer, mpi};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::HashAlgorithm;
use sequoia_openpgp::{Error, anyhow};

/// Signs with an RSA key inside OpenSSL: the default backend's RSA leaks timing (RUSTSEC-2023-0071).
#[derive(Clone)]
pub(super) struct RsaSigner {
    public: Key<PublicParts, UnspecifiedRole>,
    private: PKey<Private>,
}

impl RsaSigner {
    /// `None` if the key material is not RSA.
    pub(super) fn new(
        public: Key<PublicParts, UnspecifiedRole>,
        secret: &mpi::SecretKeyMaterial,
    ) -> Option<Result<Self, ErrorStack>> {
        let mpi::PublicKey::RSA { e, n } = public.mpis() else { return None };
        let mpi::SecretKeyMaterial::RSA { d, p, q, u } = secret else { return None };
        let private =
            private_key([n.value(), e.value(), d.value(), p.value(), q.value(), u.value()]);
        Some(private.map(|private| Self { public: public.clone(), private }))
    }
}

impl Signer for RsaSigner {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.public
    }

    fn sign(&mut self, algorithm: HashAlgorithm, digest: &[u8]) -> anyhow::Result<mpi::Signature> {
        let hash = match algorithm {
            HashAlgorithm::SHA256 => Md::sha256(),
            HashAlgorithm::SHA384 => Md::sha384(),
            HashAlgorithm::SHA512 => Md::sha512(),
            other => return Err(Error::UnsupportedHashAlgorithm(other).into()),
        };
        let mut context = PkeyCtx::new(&self.private)?;
        context.sign_init()?;
        context.set_rsa_padding(Padding::PKCS1)?;
        context.set_signature_md(hash)?;
        let mut signature = Vec::new();
        context.sign_to_vec(digest, &mut signature)?;
        Ok(mpi::Signature::RSA { s: mpi::MPI::new(&signature) })
    }
}

/// OpenPGP keeps `u`, the inverse of p modulo q (RFC 9580 section 5.5.5.1); OpenSSL wants the inverse of its second
/// prime, so the primes change places.
fn private_key([n, e, d, p, q, u]: [&[u8]; 6]) -> Result<PKey<Private>, ErrorStack> {
    let number = BigNum::from_slice;
    let (first, second) = (number(q)?, number(p)?);
    let exponent = number(d)?;
    let exponents = (reduced(&exponent, &first)?, reduced(&exponent, &second)?);
    let key = RsaPrivateKeyBuilder::new(number(n)?, number(e)?, exponent)?
        .set_factors(first, second)?
        .set_crt_params(exponents.0, exponents.1, number(u)?)?
        .build();
    if !key.check_key()? {
        return Err(ErrorStack::get());
    }
    PKey::from_rsa(key)
}

/// `exponent` modulo `prime - 1`.
fn reduced(exponent: &BigNumRef, prime: &BigNumRef) -> Result<BigNum, ErrorStack> {
    let mut less = prime.to_owned()?;
    less.sub_word(1)?;
    let mut result = BigNum::new_secure()?;
    let outcome = result.nnmod(exponent, &less, &mut *BigNumContext::new_secure()?);
    less.clear();
    outcome.map(|()| result)
}
