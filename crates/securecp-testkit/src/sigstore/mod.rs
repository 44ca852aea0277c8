//! Stand-ins for the services of sigstore on loopback: Fulcio, Rekor in both versions, a timestamp authority (openssl), an
//! identity provider, GitHub's token service. Every token is taken whose holder proves to have the key: never a real service.

mod log;
mod stamps;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use url::Url;

use self::log::{Log, Trees};
use self::stamps::Stamps;
use crate::error::{Result, TestkitError, Tried};
use crate::proxy::{Call, Fault, Handler, Proxy, Reply, Rule};

/// The issuer of every identity token.
pub const ISSUER: &str = "https://issuer.securecp.test";

/// What every token and secret of the stand-ins contains, so that a test can look for it in everything that was written.
pub const MARK: &str = "c2VjcmV0LW1hcms";

/// The secret that a workflow shows to GitHub's token service.
pub const REQUEST_TOKEN: &str = "c2VjcmV0LW1hcms-request";

/// A TimeStampResp that only says "rejection".
const REFUSED: [u8; 7] = [0x30, 5, 0x30, 3, 2, 1, 2];

const ENTRIES: &str = "/api/v1/log/entries/";

/// Authorities made so far; no two have one name.
static AUTHORITIES: AtomicU64 = AtomicU64::new(0);

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// The certificate is for another key.
    OtherKey,
    /// The certificate has expired long ago.
    Expired,
    /// The certificate comes without the path to its root.
    NoPath,
    /// Fulcio knows only the second version of its interface.
    SecondVersion,
    /// Fulcio says no, and repeats the token.
    Denied,
    /// The log answers with the entry of another signature; that of the second version with one over other bytes.
    OtherEntry,
    /// The log promises nothing.
    NoPromise,
    /// The log says that the entry is there already, and where.
    AlreadyThere,
    /// The log says that the entry is there already, at another host.
    AlreadyElsewhere,
    /// The identity provider answers another question.
    OtherNonce,
    /// Promise and checkpoint of the log of the first version are by another log's key.
    ForeignPromise,
    /// The checkpoint of the log of the second version is by another log's key.
    ForeignCheckpoint,
    /// The proof of the log of the second version leads elsewhere.
    OtherProof,
    /// The timestamp authority answers with its timestamp of another signature.
    OtherStamp,
    /// The timestamp authority repeats another nonce.
    StampNonce,
    /// The timestamp authority repeats no nonce.
    StampWithoutNonce,
    /// The timestamp authority answers that it will not.
    StampRefused,
}

/// The services; they end when this is dropped.
#[derive(Debug)]
pub struct Sigstore {
    proxy: Proxy,
    inner: Arc<Inner>,
}

struct Inner {
    root: CertifiedIssuer<'static, KeyPair>,
    log: Log,
    stamps: Stamps,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    odd: Option<Odd>,
    trees: Trees,
    /// The first timestamp that was given.
    stamp: Option<Vec<u8>>,
    challenge: String,
    nonce: Option<String>,
    asked: usize,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Sigstore {
    /// Starts them, with keys of their own.
    ///
    /// # Errors
    /// No port or no key can be had.
    pub fn start() -> Result<Self> {
        let mut params = CertificateParams::default();
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("stand-in {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = || KeyPair::generate().map_err(failed);
        let root = CertifiedIssuer::self_signed(params, key()?).map_err(failed)?;
        let (log, stamps) = (Log::new()?, Stamps::new()?);
        let inner = Arc::new(Inner { root, log, stamps, state: Mutex::default() });
        let proxy = Proxy::start(nobody()?)?;
        let shared = Arc::clone(&inner);
        let answer = Handler::new(move |call| Some(shared.answer(call)));
        proxy.add(Rule::new("*", "")?.with(Fault::Handle(answer)));
        Ok(Self { proxy, inner })
    }

    /// The address of all of them.
    pub fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// The root of Fulcio's certificates, PEM.
    pub fn root_pem(&self) -> String {
        self.inner.root.pem()
    }

    /// The key of the log, PEM.
    pub fn log_pem(&self) -> String {
        self.inner.log.key.public_key_pem()
    }

    /// The trusted root of all of them.
    pub fn trusted_root(&self) -> String {
        let inner = &self.inner;
        let authority = json!({
            "subject": {"organization": "securecp.test", "commonName": "stand-in"},
            "uri": "https://fulcio.securecp.test",
            "certChain": {"certificates": [{"rawBytes": STANDARD.encode(inner.root.der())}]},
            "validFor": {"start": "2001-01-01T00:00:00Z"},
        });
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": inner.log.trusted(),
            "certificateAuthorities": [authority],
            "ctlogs": [],
            "timestampAuthorities": inner.stamps.trusted(),
        })
        .to_string()
    }

    /// Lets one thing go wrong from now on, or nothing.
    pub fn set(&self, odd: Option<Odd>) {
        self.inner.state().odd = odd;
    }

    /// How many requests came whose path has `part` in it.
    pub fn requests(&self, part: &str) -> usize {
        self.proxy.requests("POST", part) + self.proxy.requests("GET", part)
    }
}

/// An identity token for an e-mail address, good for a day.
pub fn token(email: &str) -> String {
    let now = now();
    token_with(&json!({
        "iss": ISSUER, "aud": "sigstore", "sub": "1", "email": email, "email_verified": true,
        "iat": now, "exp": now + 86_400,
    }))
}

/// An identity token with these claims.
pub fn token_with(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{MARK}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(claims))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

/// An address where nobody listens.
fn nobody() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).tried("finding a port")?;
    listener.local_addr().tried("finding a port")
}

fn failed(error: rcgen::Error) -> TestkitError {
    TestkitError::Certificate(error.to_string())
}

fn no(text: &str) -> Reply {
    Reply::new(400).body(text)
}

fn yes(status: u16, value: &Value) -> Reply {
    Reply::new(status).header("content-type", "application/json").body(value.to_string())
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, call: &Call) -> Reply {
        let json = || serde_json::from_slice::<Value>(&call.body).unwrap_or_default();
        let odd = self.state().odd;
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/api/v1/signingCert") if odd == Some(Odd::SecondVersion) => Reply::new(404),
            ("POST", "/api/v1/signingCert") => self.first(call, &json()),
            ("POST", "/api/v2/signingCert") => self.second(&json()),
            ("POST", "/api/v1/log/entries") => self.record(call, &json()),
            ("POST", "/api/v2/log/entries") => self.record_v2(&json()),
            ("POST", "/api/v1/timestamp") => self.stamp(&call.body),
            ("GET", path) if path.starts_with(ENTRIES) => {
                let number = path.get(ENTRIES.len()..).and_then(|text| text.parse::<usize>().ok());
                let entry =
                    number.and_then(|number| self.state().trees.entries.get(number).cloned());
                entry.map_or_else(|| no("no entry"), |entry| yes(200, &entry))
            }
            ("GET", "/github") => Self::github(call),
            ("GET", "/.well-known/openid-configuration") => Self::discovery(call),
            ("GET", "/auth") => self.browser(call),
            ("POST", "/device") => self.device(call),
            ("POST", "/token") => self.grant(call),
            _ => Reply::new(404),
        }
    }

    fn first(&self, call: &Call, body: &Value) -> Reply {
        let token = call.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        let Some(token) = token else { return Reply::new(401) };
        if self.state().odd == Some(Odd::Denied) {
            return Reply::new(403).body(format!("the token {token} is not welcome"));
        }
        let text = |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let spki = STANDARD.decode(text("/publicKey/content")).unwrap_or_default();
        match self.issue(token, &spki, text("/signedEmailAddress")) {
            Ok(pems) => Reply::new(201)
                .header("content-type", "application/pem-certificate-chain")
                .body(pems.concat()),
            Err(problem) => no(&problem),
        }
    }

    fn second(&self, body: &Value) -> Reply {
        let text = |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let pem = text("/publicKeyRequest/publicKey/content");
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let spki = STANDARD.decode(body).unwrap_or_default();
        let token = text("/credentials/oidcIdentityToken");
        match self.issue(token, &spki, text("/publicKeyRequest/proofOfPossession")) {
            Ok(pems) => {
                let chain = json!({"chain": {"certificates": pems}});
                yes(200, &json!({"signedCertificateEmbeddedSct": chain}))
            }
            Err(problem) => no(&problem),
        }
    }

    /// A certificate for whoever holds the token and the key.
    fn issue(&self, token: &str, spki: &[u8], proof: &str) -> Result<Vec<String>, String> {
        let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Value = serde_json::from_slice(&claims.unwrap_or_default())
            .map_err(|_| "no token".to_owned())?;
        let text = |key: &str| claims.get(key).and_then(Value::as_str).unwrap_or_default();
        let subject = if text("email").is_empty() { text("sub") } else { text("email") };
        let point = spki.len().checked_sub(65).and_then(|start| spki.get(start..));
        let point = point.ok_or_else(|| "no key".to_owned())?;
        let proof = STANDARD.decode(proof).map_err(|_| "no proof".to_owned())?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(subject.as_bytes(), &proof)
            .map_err(|_| "the proof is not one".to_owned())?;
        let wish = Wish { issuer: text("iss"), subject, email: !text("email").is_empty() };
        let odd = self.state().odd;
        let leaf = self.certificate(&wish, point.to_vec(), odd).map_err(|e| e.to_string())?;
        Ok(match odd {
            Some(Odd::NoPath) => vec![leaf],
            _ => vec![leaf, self.root.pem()],
        })
    }

    fn certificate(
        &self,
        wish: &Wish<'_>,
        point: Vec<u8>,
        odd: Option<Odd>,
    ) -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![match wish.email {
            true => SanType::Rfc822Name(wish.subject.try_into()?),
            false => SanType::URI(wish.subject.try_into()?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let utf8 =
            [&[0x0c, u8::try_from(wish.issuer.len()).unwrap_or(127)], wish.issuer.as_bytes()];
        params.custom_extensions =
            vec![extension(1, wish.issuer.as_bytes().to_vec()), extension(8, utf8.concat())];
        if odd == Some(Odd::Expired) {
            (params.not_before, params.not_after) =
                (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let point = match odd {
            Some(Odd::OtherKey) => KeyPair::generate()?.public_key_raw().to_vec(),
            _ => point,
        };
        params.signed_by(&Point(point), &self.root).map(|certificate| certificate.pem())
    }

    fn record(&self, call: &Call, proposal: &Value) -> Reply {
        let mut state = self.state();
        let odd = state.odd;
        let index = state.trees.entries.len();
        let other = state.trees.entries.first().cloned();
        let mut entry = self.log.record(&mut state.trees, proposal, odd);
        drop(state);
        match (odd, other) {
            (Some(Odd::OtherEntry), Some(other)) => yes(201, &other),
            (Some(Odd::NoPromise), _) => {
                if let Some(entry) = entry.as_object_mut().and_then(|all| all.values_mut().next()) {
                    entry["verification"] = json!({});
                }
                yes(201, &entry)
            }
            (Some(Odd::AlreadyThere), _) => {
                Reply::new(409).header("location", format!("{ENTRIES}{index}"))
            }
            (Some(Odd::AlreadyElsewhere), _) => {
                let port = call.proxy.port();
                let place = format!("http://localhost:{port}{ENTRIES}{index}");
                Reply::new(409).header("location", place)
            }
            _ => yes(201, &entry),
        }
    }

    fn record_v2(&self, proposal: &Value) -> Reply {
        let mut state = self.state();
        let odd = state.odd;
        let digest = &proposal["hashedRekordRequestV002"]["digest"];
        let other = state.trees.entries_v2.iter().find(|(of, _)| of != digest).cloned();
        let Some(entry) = self.log.record_v2(&mut state.trees, proposal, odd) else {
            return no("a request of another kind");
        };
        match (odd, other) {
            (Some(Odd::OtherEntry), Some((_, other))) => yes(201, &other),
            _ => yes(201, &entry),
        }
    }

    fn stamp(&self, query: &[u8]) -> Reply {
        // Held while openssl works.
        let mut state = self.state();
        let answer = match (state.odd, &state.stamp) {
            (Some(Odd::StampRefused), _) => Ok(REFUSED.to_vec()),
            (Some(Odd::OtherStamp), Some(other)) => Ok(other.clone()),
            (Some(odd @ (Odd::StampNonce | Odd::StampWithoutNonce)), _) => {
                self.stamps.answer(&stamps::other_nonce(query, odd == Odd::StampNonce))
            }
            _ => self.stamps.answer(query),
        };
        match answer {
            Ok(answer) => {
                state.stamp.get_or_insert_with(|| answer.clone());
                Reply::new(201).header("content-type", "application/timestamp-reply").body(answer)
            }
            Err(error) => no(&error.to_string()),
        }
    }

    fn github(call: &Call) -> Reply {
        let expected = format!("Bearer {REQUEST_TOKEN}");
        if call.header("authorization") != Some(&expected) {
            return Reply::new(401).body(call.header("authorization").unwrap_or_default());
        }
        let sub = "repo:acme/app:ref:refs/tags/v1";
        match form(&call.query, "audience").as_deref() {
            Some("sigstore") => {
                yes(200, &json!({"value": token_with(&json!({"iss": ISSUER, "sub": sub}))}))
            }
            _ => no("another audience"),
        }
    }

    fn discovery(call: &Call) -> Reply {
        let base = format!("http://{}", call.proxy);
        yes(
            200,
            &json!({
                "issuer": base,
                "authorization_endpoint": format!("{base}/auth"),
                "device_authorization_endpoint": format!("{base}/device"),
                "token_endpoint": format!("{base}/token"),
            }),
        )
    }

    /// The user logs in at once, and the browser is sent back.
    fn browser(&self, call: &Call) -> Reply {
        let value = |key| form(&call.query, key).unwrap_or_default();
        let mut state = self.state();
        state.challenge = value("code_challenge");
        state.nonce = Some(match state.odd {
            Some(Odd::OtherNonce) => "another".to_owned(),
            _ => value("nonce"),
        });
        let back = format!("{}?code={MARK}&state={}", value("redirect_uri"), value("state"));
        Reply::new(302).header("location", back)
    }

    fn device(&self, call: &Call) -> Reply {
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let mut state = self.state();
        state.challenge = form(&body, "code_challenge").unwrap_or_default();
        state.nonce = None;
        state.asked = 0;
        yes(
            200,
            &json!({
                "device_code": MARK, "user_code": "WDJB-MJHT", "interval": 0, "expires_in": 60,
                "verification_uri": "https://login.securecp.test/device",
            }),
        )
    }

    fn grant(&self, call: &Call) -> Reply {
        let body = String::from_utf8_lossy(&call.body).into_owned();
        let value = |key| form(&body, key).unwrap_or_default();
        let mut state = self.state();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, value("code_verifier").as_bytes()));
        if challenge != state.challenge || [value("code"), value("device_code")].concat() != MARK {
            return yes(400, &json!({"error": "invalid_grant"}));
        }
        state.asked += 1;
        if !value("device_code").is_empty() && state.asked == 1 {
            return yes(400, &json!({"error": "authorization_pending"}));
        }
        let mut claims = json!({
            "iss": ISSUER, "sub": "1", "email": "release@securecp.test", "email_verified": true,
        });
        if let Some(nonce) = &state.nonce {
            claims["nonce"] = nonce.as_str().into();
        }
        yes(200, &json!({"id_token": token_with(&claims), "access_token": MARK}))
    }
}

/// Whom a certificate names.
struct Wish<'a> {
    issuer: &'a str,
    subject: &'a str,
    email: bool,
}

/// A public key of which only the point is known.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// An extension of Fulcio's arc.
fn extension(number: u64, content: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, number], content)
}

/// A member of a form or query.
fn form(text: &str, wanted: &str) -> Option<String> {
    let url: Url = format!("http://x/?{text}").parse().ok()?;
    url.query_pairs().find(|(key, _)| key == wanted).map(|(_, value)| value.into_owned())
}
