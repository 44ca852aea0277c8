//! What encrypting and decrypting a layer costs, beside what its hashes and cipher cost by themselves.
//!
//! `cargo bench -p securecp-crypt --bench layer_cipher [-- MIB]` prints one row a way; the last column is the cost in
//! units of the calibration: SHA-256 of the input, AES-256-CTR, HMAC-SHA-256 and SHA-256 of the output, one after the
//! other over the same memory.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(clippy::unwrap_used, reason = "a benchmark ends where its premise fails")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::md::Md;
use openssl::md_ctx::MdCtx;
use openssl::pkey::PKey;
use securecp_crypt::{
    Budget, CryptError, Encrypt, KeyUnwrapper, KeyWrapper, Keys, PrivateStaging, Recipient,
    Recipients, Scheme, Secret, Unwrapped,
};
use securecp_layer::{CHUNK, Chunks, Layer, SourceError};
use securecp_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};

/// Wraps nothing, so that only the cipher is measured.
struct Bare;

impl KeyWrapper for Bare {
    fn scheme(&self) -> Scheme {
        Scheme::Other("bare".to_owned())
    }

    fn recipients(&self) -> Vec<Recipient> {
        vec![Recipient { scheme: KeyWrapper::scheme(self), id: String::new() }]
    }

    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError> {
        Ok(options.to_vec())
    }
}

impl KeyUnwrapper for Bare {
    fn scheme(&self) -> Scheme {
        Scheme::Other("bare".to_owned())
    }

    fn unwrap(&self, item: &[u8], _: &Budget) -> Result<Unwrapped, CryptError> {
        Ok(Unwrapped::Mine(Secret::new(item.to_vec())))
    }
}

/// The same memory over and over, copied out as a file would be.
struct Memory {
    chunk: Vec<u8>,
    left: usize,
}

impl Chunks for Memory {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        Ok(more.then(|| Bytes::from(self.chunk.clone())))
    }
}

fn memory(count: usize) -> Memory {
    let chunk = (0..CHUNK).map(|n| (n * 31 % 251) as u8).collect();
    Memory { chunk, left: count }
}

/// Reads to the end; CPU seconds of this thread's process, and what passed.
fn run(layer: Layer<'_>) -> (f64, Descriptor) {
    let start = Instant::now();
    let mut layer = layer.measured();
    while layer.next().unwrap().is_some() {}
    let made = layer.finish().unwrap();
    (start.elapsed().as_secs_f64(), made)
}

fn calibrate(count: usize) -> f64 {
    let mut chunk = memory(1).chunk;
    let start = Instant::now();
    let (mut first, mut second) = (Hasher::new(Algorithm::Sha256), Hasher::new(Algorithm::Sha256));
    let mut ctr = CipherCtx::new().unwrap();
    ctr.encrypt_init(Some(Cipher::aes_256_ctr()), Some(&[1; 32]), Some(&[2; 16])).unwrap();
    let mut mac = MdCtx::new().unwrap();
    mac.digest_sign_init(Some(Md::sha256()), &*PKey::hmac(&[1; 32]).unwrap()).unwrap();
    for _ in 0..count {
        first.update(&chunk);
        ctr.cipher_update_inplace(&mut chunk, CHUNK).unwrap();
        mac.digest_sign_update(&chunk).unwrap();
        second.update(&chunk);
    }
    start.elapsed().as_secs_f64()
}

fn main() {
    let mib = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(512);
    let count = mib * (1 << 20) / CHUNK;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut source = memory(count);
    while let Some(chunk) = source.next().unwrap() {
        hasher.update(&chunk);
    }
    let plain = Descriptor::new(MediaType::OCI_LAYER, hasher.finish(), (count * CHUNK) as u64);
    let encrypt = Encrypt::new(Arc::new(Recipients::new(vec![Box::new(Bare)]).unwrap()));
    let keys = Keys::new(vec![Box::new(Bare)], Budget::default());
    let best =
        |measure: &mut dyn FnMut() -> f64| (0..5).map(|_| measure()).fold(f64::INFINITY, f64::min);
    let base = best(&mut || calibrate(count));
    let verify = best(&mut || run(Layer::verified(plain.clone(), memory(count))).0);
    let encrypting = best(&mut || {
        let layer = Layer::verified(plain.clone(), memory(count));
        run(layer.pipe(Some(&encrypt)).unwrap()).0
    });
    let helped = encrypt.clone().with_helper(true);
    let encrypting_helped = best(&mut || {
        let layer = Layer::verified(plain.clone(), memory(count));
        run(layer.pipe(Some(&helped)).unwrap()).0
    });
    let sealed = seal(&encrypt, &plain, count);
    let unlocked = keys.unlock(&sealed.0).unwrap();
    let private = unlocked.in_private(PrivateStaging::declared(true).unwrap());
    let staged = unlocked.staged_in(&std::env::temp_dir());
    let open = || Layer::verified(sealed.0.clone(), Whole(sealed.1.clone()));
    let one_pass = best(&mut || run(open().pipe(Some(&private)).unwrap()).0);
    let two_pass = best(&mut || {
        let start = Instant::now();
        run(open().pipe(Some(&staged)).unwrap());
        start.elapsed().as_secs_f64()
    });
    for (name, seconds) in [
        ("calibration", base),
        ("verify only", verify),
        ("encrypt", encrypting),
        ("encrypt, helped", encrypting_helped),
        ("decrypt, one pass", one_pass),
        ("decrypt, staged", two_pass),
    ] {
        let speed = mib as f64 / seconds;
        println!("{name:20} {seconds:7.3} s {speed:7.0} MiB/s {:6.2}", seconds / base);
    }
}

/// The ciphertext, whole in memory.
fn seal(encrypt: &Encrypt, plain: &Descriptor, count: usize) -> (Descriptor, Bytes) {
    let layer = Layer::verified(plain.clone(), memory(count)).pipe(Some(encrypt)).unwrap();
    let mut layer = layer.measured();
    let mut out = Vec::with_capacity(count * CHUNK);
    while let Some(chunk) = layer.next().unwrap() {
        out.extend_from_slice(&chunk);
    }
    let made = layer.finish().unwrap();
    assert_eq!(made.digest, Digest::of(Algorithm::Sha256, &out));
    (made, Bytes::from(out))
}

/// Chunks of a blob in memory, copied out as a file would be.
struct Whole(Bytes);

impl Chunks for Whole {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let count = CHUNK.min(self.0.len());
        let piece = self.0.split_to(count);
        Ok((!piece.is_empty()).then(|| Bytes::from(piece.to_vec())))
    }
}
