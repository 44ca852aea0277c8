//! The cryptography that sigstore-verify asks for: ring, and OpenSSL for signatures over digests, which ring lacks.

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;
use ring::digest::{Context, SHA256, SHA384, SHA512};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sigstore_verify::crypto::{
    CryptoProvider, Error, HashContext, KeyAlgorithm, Result, SigningScheme,
    install_default_provider,
};
use sigstore_verify::types::HashAlgorithm;

static PROVIDER: Provider = Provider;

/// Makes this provider the one of the process. Whoever came first stays; in this program nobody else does.
pub(super) fn install() {
    let _ = install_default_provider(&PROVIDER);
}

#[derive(Debug)]
struct Provider;

struct Hash(Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Provider {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha2256 => &SHA256,
            HashAlgorithm::Sha2384 => &SHA384,
            HashAlgorithm::Sha2512 => &SHA512,
            other => return Err(Error::UnsupportedAlgorithm(other.to_string())),
        };
        Ok(Box::new(Hash(Context::new(algorithm))))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let key = UnparsedPublicKey::new(algorithm(scheme)?, key);
        key.verify(data, signature).map_err(|_| invalid(scheme))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let md = message_digest(scheme)?;
        if digest.len() != md.size() {
            return Err(invalid(scheme));
        }
        match verify_digest(scheme, md, key, [digest, signature]) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(invalid(scheme)),
        }
    }
}

fn invalid(scheme: SigningScheme) -> Error {
    Error::Verification(format!("{} signature invalid", scheme.name()))
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(scheme.name().to_owned())
}

fn algorithm(scheme: SigningScheme) -> Result<&'static dyn VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &signature::ED25519,
        SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        other => return Err(unsupported(other)),
    })
}

fn message_digest(scheme: SigningScheme) -> Result<&'static MdRef> {
    match scheme.hash_algorithm() {
        Some(HashAlgorithm::Sha2256) => Ok(Md::sha256()),
        Some(HashAlgorithm::Sha2384) => Ok(Md::sha384()),
        Some(HashAlgorithm::Sha2512) => Ok(Md::sha512()),
        _ => Err(unsupported(scheme)),
    }
}

fn verify_digest(
    scheme: SigningScheme,
    md: &MdRef,
    key: &[u8],
    [digest, signature]: [&[u8]; 2],
) -> std::result::Result<bool, ErrorStack> {
    let key = match scheme.key_algorithm() {
        KeyAlgorithm::EcdsaP256 => ec_key(Nid::X9_62_PRIME256V1, key)?,
        KeyAlgorithm::EcdsaP384 => ec_key(Nid::SECP384R1, key)?,
        KeyAlgorithm::Rsa => PKey::from_rsa(Rsa::public_key_from_der_pkcs1(key)?)?,
        _ => return Ok(false),
    };
    let mut context = PkeyCtx::new(&key)?;
    context.verify_init()?;
    match scheme {
        SigningScheme::RsaPkcs1Sha256
        | SigningScheme::RsaPkcs1Sha384
        | SigningScheme::RsaPkcs1Sha512 => context.set_rsa_padding(Padding::PKCS1)?,
        SigningScheme::RsaPssSha256 | SigningScheme::RsaPssSha384 | SigningScheme::RsaPssSha512 => {
            context.set_rsa_padding(Padding::PKCS1_PSS)?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        _ => {}
    }
    context.set_signature_md(md)?;
    context.verify(digest, signature)
}

fn ec_key(curve: Nid, point: &[u8]) -> std::result::Result<PKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(curve)?;
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, point, &mut context)?;
    PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::hash::{MessageDigest, hash};
    use openssl::sign::Signer;

    fn check(scheme: SigningScheme, raw: &[u8], digest: MessageDigest, signature: &[u8]) {
        let message = b"message";
        let hashed = hash(digest, message).unwrap();
        let other = hash(digest, b"other").unwrap();
        PROVIDER.verify_raw(scheme, raw, message, signature).unwrap();
        PROVIDER.verify_prehashed(scheme, raw, &hashed, signature).unwrap();
        assert!(PROVIDER.verify_raw(scheme, raw, b"other", signature).is_err());
        assert!(PROVIDER.verify_prehashed(scheme, raw, &other, signature).is_err());
        assert!(PROVIDER.verify_prehashed(scheme, raw, &hashed[1..], signature).is_err());
        assert!(PROVIDER.verify_prehashed(scheme, &raw[1..], &hashed, signature).is_err());
        assert!(PROVIDER.verify_prehashed(scheme, raw, &hashed, b"").is_err());
    }

    #[test]
    fn digests_verify_as_messages_do() {
        for (curve, digest, scheme) in [
            (Nid::X9_62_PRIME256V1, MessageDigest::sha256(), SigningScheme::EcdsaP256Sha256),
            (Nid::X9_62_PRIME256V1, MessageDigest::sha384(), SigningScheme::EcdsaP256Sha384),
            (Nid::SECP384R1, MessageDigest::sha256(), SigningScheme::EcdsaP384Sha256),
            (Nid::SECP384R1, MessageDigest::sha384(), SigningScheme::EcdsaP384Sha384),
        ] {
            let group = EcGroup::from_curve_name(curve).unwrap();
            let key = EcKey::generate(&group).unwrap();
            let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
            let mut context = BigNumContext::new().unwrap();
            let raw = key.public_key().to_bytes(&group, form, &mut context).unwrap();
            let key = PKey::from_ec_key(key).unwrap();
            let signature =
                Signer::new(digest, &key).unwrap().sign_oneshot_to_vec(b"message").unwrap();
            check(scheme, &raw, digest, &signature);
        }
    }

    #[test]
    fn rsa_digests_verify_with_their_own_padding_only() {
        let rsa = Rsa::generate(2048).unwrap();
        let raw = rsa.public_key_to_der_pkcs1().unwrap();
        let key = PKey::from_rsa(rsa).unwrap();
        for (digest, plain, pss) in [
            (MessageDigest::sha256(), SigningScheme::RsaPkcs1Sha256, SigningScheme::RsaPssSha256),
            (MessageDigest::sha384(), SigningScheme::RsaPkcs1Sha384, SigningScheme::RsaPssSha384),
            (MessageDigest::sha512(), SigningScheme::RsaPkcs1Sha512, SigningScheme::RsaPssSha512),
        ] {
            let sign = |padding| {
                let mut signer = Signer::new(digest, &key).unwrap();
                signer.set_rsa_padding(padding).unwrap();
                if padding == Padding::PKCS1_PSS {
                    signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
                }
                signer.sign_oneshot_to_vec(b"message").unwrap()
            };
            check(plain, &raw, digest, &sign(Padding::PKCS1));
            check(pss, &raw, digest, &sign(Padding::PKCS1_PSS));
            let hashed = hash(digest, b"message").unwrap();
            for (scheme, signature) in
                [(plain, sign(Padding::PKCS1_PSS)), (pss, sign(Padding::PKCS1))]
            {
                assert!(PROVIDER.verify_prehashed(scheme, &raw, &hashed, &signature).is_err());
            }
        }
    }

    #[test]
    fn schemes_without_digests_are_refused() {
        for scheme in [SigningScheme::Ed25519, SigningScheme::MlDsa44] {
            let found = PROVIDER.verify_prehashed(scheme, &[0; 32], &[0; 32], b"");
            assert!(matches!(found, Err(Error::UnsupportedAlgorithm(_))));
        }
        let found = PROVIDER.verify_raw(SigningScheme::MlDsa87, b"", b"", b"");
        assert!(matches!(found, Err(Error::UnsupportedAlgorithm(_))));
    }
}
