//! What encrypting and decrypting a layer costs, beside what its hashes and cipher cost by themselves.
//!
//! `cargo bench -p securecp-crypt --bench layer_cipher [-- MIB]` prints one row a way: wall and CPU seconds, the least of
//! five runs each. The last column is the CPU time in units of the calibration: SHA-256 of the input, AES-256-CTR,
//! HMAC-SHA-256 and SHA-256 of the output, one after the other over the same memory. Linux only.
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
    Budget, CryptError, Encrypt, KeyUnwrapper, KeyWrapper, Keys, Recipient, Recipients, Scheme,
    Secret, Unwrapped,
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

/// Reads to the end.
fn run(layer: Layer<'_>) {
    let mut layer = layer.measured();
    while layer.next().unwrap().is_some() {}
    layer.finish().unwrap();
}

/// CPU seconds of this process so far: user and system time, in ticks of a hundredth of a second.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

/// Wall and CPU seconds.
fn best(work: &dyn Fn()) -> (f64, f64) {
    let once = || {
        let (start, used) = (Instant::now(), cpu());
        work();
        (start.elapsed().as_secs_f64(), cpu() - used)
    };
    (0..5).map(|_| once()).fold((f64::INFINITY, f64::INFINITY), |a, b| (a.0.min(b.0), a.1.min(b.1)))
}

fn calibrate(count: usize) {
    let mut chunk = memory(1).chunk;
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
    let source = || Layer::verified(plain.clone(), memory(count));
    let sealed = seal(source().pipe(Some(&encrypt)).unwrap());
    let unlocked = keys.unlock(&sealed.0).unwrap();
    let staged = unlocked.staged_in(&std::env::temp_dir());
    let open = || Layer::verified(sealed.0.clone(), Whole(sealed.1.clone()));
    let rows: [(&str, &dyn Fn()); 4] = [
        ("calibration", &|| calibrate(count)),
        ("verify only", &|| run(source())),
        ("encrypt", &|| run(source().pipe(Some(&encrypt)).unwrap())),
        ("decrypt, staged", &|| run(open().pipe(Some(&staged)).unwrap())),
    ];
    let mut base = None;
    for (name, work) in rows {
        let (wall, cpu) = best(work);
        let base = *base.get_or_insert(cpu);
        println!("{name:20} {wall:7.3} s wall {cpu:7.2} s CPU {:6.2}", cpu / base);
    }
}

/// The ciphertext, whole in memory.
fn seal(layer: Layer<'_>) -> (Descriptor, Bytes) {
    let mut layer = layer.measured();
    let mut out = Vec::new();
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
