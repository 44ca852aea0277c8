use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use securecp_oci::json::{self, Limits};
use serde_json::{Map, Value};

use super::content::Content;
use crate::{CryptError, Secret};

/// Largest JWE that is read, in bytes.
const LIMIT: usize = 512 << 10;
/// Most recipients of one JWE.
pub(crate) const RECIPIENT_LIMIT: usize = 256;
/// Largest header, in bytes: the protected one, the unprotected one and that of each recipient.
const HEADER_LIMIT: usize = 16 << 10;

/// A JWE in any of its three forms, decoded.
pub(crate) struct Message {
    /// What the content's tag covers beside the content (RFC 7516, section 5.1, step 14).
    pub(crate) authenticated: String,
    pub(crate) iv: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) tag: Vec<u8>,
    pub(crate) parts: Vec<Part>,
}

/// What belongs to one recipient.
pub(crate) struct Part {
    /// What applies to it alone; no name of it is in the shared headers.
    pub(crate) own: Map<String, Value>,
    /// What applies to all parts of a message.
    pub(crate) shared: Arc<Map<String, Value>>,
    pub(crate) encrypted_key: Vec<u8>,
}

impl Message {
    /// Reads the compact, flattened or general form; `None` for everything else, including a repeated header, `crit`
    /// (nothing critical is understood here) and `zip` (which would inflate without bound).
    ///
    /// go-jose writes `encrypted_key` both at the top and in `recipients`; the one at the top is then ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let first = bytes.iter().find(|b| !b.is_ascii_whitespace())?;
        match first {
            b'{' => Self::parse_json(json::parse(bytes, Limits::bytes(LIMIT)).ok()?.as_object()?),
            _ => Self::parse_compact(std::str::from_utf8(bytes).ok().filter(|t| t.len() <= LIMIT)?),
        }
    }

    fn parse_compact(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('.').take(6).collect();
        let [protected, encrypted_key, iv, ciphertext, tag] = parts[..] else { return None };
        let shared = Arc::new(header(protected)?);
        let part = Part { own: Map::new(), shared, encrypted_key: decode(encrypted_key)? };
        Some(Self {
            authenticated: protected.to_owned(),
            iv: decode(iv)?,
            ciphertext: decode(ciphertext)?,
            tag: decode(tag)?,
            parts: vec![sane(part)?],
        })
    }

    fn parse_json(map: &Map<String, Value>) -> Option<Self> {
        let protected = text(map, "protected")?;
        let mut shared = header(protected)?;
        for (name, value) in small(map, "unprotected")? {
            shared.insert(name, value).is_none().then_some(())?;
        }
        let shared = Arc::new(shared);
        let parts = match map.get("recipients") {
            None => vec![Part::read(&shared, map)?],
            Some(Value::Array(recipients)) if !map.contains_key("header") => recipients
                .iter()
                .take(RECIPIENT_LIMIT + 1)
                .map(|recipient| Part::read(&shared, recipient.as_object()?))
                .collect::<Option<_>>()?,
            Some(_) => return None,
        };
        if parts.len() > RECIPIENT_LIMIT {
            return None;
        }
        let aad = text(map, "aad")?;
        let dot = if map.contains_key("aad") { "." } else { "" };
        Some(Self {
            authenticated: format!("{protected}{dot}{aad}"),
            iv: decode(text(map, "iv")?)?,
            ciphertext: decode(text(map, "ciphertext")?)?,
            tag: decode(text(map, "tag")?)?,
            parts,
        })
    }

    /// Encrypts `options` and writes the JWE: flattened for one recipient, general for several, as the reference does.
    pub(crate) fn seal(
        parts: Vec<Part>,
        content: Content,
        key: &Secret,
        options: &Secret,
    ) -> Result<Vec<u8>, CryptError> {
        let mut shared = Map::new();
        let single = parts.len() == 1;
        if let (true, Some(part)) = (single, parts.first()) {
            shared.extend(part.own.clone());
        }
        shared.insert("enc".to_owned(), content.name().into());
        let protected = encode(Value::Object(shared).to_string().as_bytes());
        let sealed = content.seal(key, protected.as_bytes(), options)?;
        let mut map = Map::new();
        map.insert("protected".to_owned(), protected.into());
        if single {
            let key = parts.into_iter().map(|part| encode(&part.encrypted_key).into());
            map.extend(key.map(|key| ("encrypted_key".to_owned(), key)));
        } else {
            let recipients = parts.into_iter().map(Part::write).collect();
            map.insert("recipients".to_owned(), Value::Array(recipients));
        }
        for (name, bytes) in
            [("iv", &sealed.iv), ("ciphertext", &sealed.ciphertext), ("tag", &sealed.tag)]
        {
            map.insert(name.to_owned(), encode(bytes).into());
        }
        Ok(Value::Object(map).to_string().into_bytes())
    }
}

impl Part {
    fn read(shared: &Arc<Map<String, Value>>, map: &Map<String, Value>) -> Option<Self> {
        let own = small(map, "header")?;
        if own.keys().any(|name| shared.contains_key(name)) {
            return None;
        }
        let shared = Arc::clone(shared);
        sane(Self { own, shared, encrypted_key: decode(text(map, "encrypted_key")?)? })
    }

    /// A parameter of its own header or of the shared ones; no name is in both (RFC 7516, section 7.2.1).
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    fn write(self) -> Value {
        let mut map = Map::new();
        map.insert("header".to_owned(), self.own.into());
        map.insert("encrypted_key".to_owned(), encode(&self.encrypted_key).into());
        map.into()
    }
}

fn sane(part: Part) -> Option<Part> {
    (part.get("crit").is_none() && part.get("zip").is_none()).then_some(part)
}

/// A text member; an absent one is empty, one of another type is an error.
fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    map.get(name).map_or(Some(""), Value::as_str)
}

/// A protected header; an empty one is allowed.
fn header(encoded: &str) -> Option<Map<String, Value>> {
    if encoded.is_empty() {
        return Some(Map::new());
    }
    match json::parse(&decode(encoded)?, Limits { depth: 8, ..Limits::bytes(HEADER_LIMIT) }).ok()? {
        Value::Object(header) => Some(header),
        _ => None,
    }
}

/// A header that is not encoded; an absent one is empty.
fn small(map: &Map<String, Value>, name: &str) -> Option<Map<String, Value>> {
    let Some(header) = map.get(name) else { return Some(Map::new()) };
    let fits = header.to_string().len() <= HEADER_LIMIT;
    header.as_object().filter(|_| fits).cloned()
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(protected: &str, rest: &str) -> Option<Message> {
        let protected = encode(protected.as_bytes());
        Message::parse(format!(r#"{{"protected":"{protected}","iv":"AA"{rest}}}"#).as_bytes())
    }

    #[test]
    fn joins_headers_of_all_places() {
        let found = message(
            r#"{"enc":"e"}"#,
            r#","unprotected":{"u":1},"encrypted_key":"stray","recipients":[{"header":{"alg":"a"},"encrypted_key":"AQ"},{}],"aad":"AAAA""#,
        )
        .unwrap();
        let value = |part: usize, name| found.parts[part].get(name).map(Value::to_string);
        let values = ["enc", "u", "alg"].map(|name| value(0, name).unwrap());
        assert_eq!(values, [r#""e""#, "1", r#""a""#]);
        assert_eq!((value(1, "u").unwrap().as_str(), value(1, "alg")), ("1", None));
        assert_eq!((found.parts.len(), found.parts[0].encrypted_key.as_slice()), (2, &[1][..]));
        assert_eq!(found.authenticated, format!("{}.AAAA", encode(br#"{"enc":"e"}"#)));
        let compact = format!("{}.AQ.AA.AA.AA", encode(br#"{"alg":"a"}"#));
        assert_eq!(Message::parse(compact.as_bytes()).unwrap().parts.len(), 1);
    }

    #[test]
    fn refuses_what_is_ambiguous_critical_or_compressed() {
        for (protected, rest) in [
            (r#"{"crit":["x"]}"#, ""),
            (r#"{"zip":"DEF"}"#, ""),
            (r#"{"a":1}"#, r#","header":{"a":1}"#),
            (r#"{"a":1}"#, r#","unprotected":{"a":1}"#),
            (r#"{"a":1,"a":1}"#, ""),
            ("{}", r#","header":{"crit":[]}"#),
            ("{}", r#","unprotected":{"zip":"DEF"}"#),
            ("{}", r#","header":{},"recipients":[{}]"#),
            ("{}", r#","recipients":{}"#),
            ("{}", r#","tag":1"#),
            ("{}", r#","encrypted_key":"AA==""#),
            ("{}", r#","recipients":[{"header":[]}]"#),
            (r#"{"a":1}"#, r#","recipients":[{},{"header":{"a":1}}]"#),
            ("{}", r#","unprotected":{"a":1},"recipients":[{"header":{"a":1}}]"#),
            ("[]", ""),
        ] {
            assert!(message(protected, rest).is_none(), "{protected} {rest}");
        }
        let many = format!(r#","recipients":[{{}}{}]"#, ",{}".repeat(RECIPIENT_LIMIT));
        assert!(message("{}", &many).is_none());
        assert!(message("{}", &many.replacen("{},", "", 1)).is_some());
        for place in [r#""unprotected":{"a":"X"}"#, r#""recipients":[{},{"header":{"a":"X"}}]"#] {
            let of = |length: usize| {
                message("{}", &format!(",{}", place.replace('X', &"x".repeat(length))))
            };
            assert!(of(HEADER_LIMIT - 8).is_some() && of(HEADER_LIMIT - 7).is_none(), "{place}");
        }
        for bad in ["", "a.b.c.d", "e30.AA.AA.AA.AA.AA", "[]"] {
            assert!(Message::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
