//! Logging in with a browser on this machine (RFC 8252): it comes back to a port of ours.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use securecp_layer::{Scope, Stopped};
use securecp_net::Url;

use super::identity::Tell;
use super::provider::{Challenge, Granted, Provider};
use super::token::{IdentityToken, encode};
use super::{KeylessError, SecretText, random};

/// How long the user may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks whether a browser has come.
const POLL: Duration = Duration::from_millis(50);
/// Most bytes of a request, and the time it may take.
const HEAD_LIMIT: usize = 16 << 10;
const HEAD_TIME: Duration = Duration::from_secs(5);

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 45\r\n\r\nYou are logged in and may close this window.\n";
const NOTHING: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Tells the user which address to open, and waits until their browser comes back.
pub(super) fn token(
    provider: &Provider<'_>,
    tell: &Tell,
    scope: &Scope,
) -> Result<SecretText, KeylessError> {
    let failed = |error: io::Error| KeylessError::Login(format!("waiting for a browser: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let back = format!("http://localhost:{port}/auth/callback");
    let (challenge, state, nonce) =
        (Challenge::new()?, encode(&random::<16>()?), encode(&random::<16>()?));
    let mut url = provider.endpoint("authorization_endpoint")?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", provider.client_id)
        .append_pair("scope", "openid email")
        .append_pair("redirect_uri", &back)
        .append_pair("code_challenge", &challenge.challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", &state)
        .append_pair("nonce", &nonce);
    tell(&format!("to sign, log in with a browser at {url}"));
    let code = wait(&listener, &state, scope)?;
    let members =
        [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", &back)];
    let Granted::Token(token) = provider.grant(&members, &challenge, scope)? else {
        return Err(KeylessError::Login("the identity provider is not ready".to_owned()));
    };
    // A token that was made for somebody else's question.
    if IdentityToken::parse(token.clone())?.nonce.as_deref() != Some(&nonce) {
        return Err(KeylessError::Login("the identity token answers another question".to_owned()));
    }
    Ok(token)
}

/// The code with which the browser comes back.
fn wait(listener: &TcpListener, state: &str, scope: &Scope) -> Result<String, KeylessError> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match listener.accept() {
            // Whoever else finds the port gets nothing and changes nothing.
            Ok((stream, _)) => {
                if let Some(found) = serve(stream, state, scope)? {
                    return found.map_err(KeylessError::Login);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => scope.sleep(POLL)?,
            Err(error) => {
                return Err(KeylessError::Login(format!("waiting for a browser: {error}")));
            }
        }
    }
    Err(KeylessError::Login("nobody logged in in time".to_owned()))
}

fn serve(
    mut stream: TcpStream,
    state: &str,
    scope: &Scope,
) -> Result<Option<Result<String, String>>, Stopped> {
    let line = first_line(&mut stream, HEAD_TIME, scope)?;
    let target = line.as_deref().and_then(|line| line.strip_prefix("GET ")?.split(' ').next());
    let Some(target) = target else { return Ok(None) };
    let found = read(target, state);
    let answer = if found.is_some() { ANSWER } else { NOTHING };
    // A browser that is gone has said what it had to say.
    let _ = stream.write_all(answer.as_bytes());
    Ok(found)
}

/// `None` if no line comes within `time`, however many bytes do.
fn first_line(
    stream: &mut TcpStream,
    time: Duration,
    scope: &Scope,
) -> Result<Option<String>, Stopped> {
    let end = Instant::now() + time;
    let patient = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(POLL)))
        .and_then(|()| stream.set_write_timeout(Some(HEAD_TIME)));
    let (mut line, mut piece) = (Vec::new(), [0; 1024]);
    while patient.is_ok() && Instant::now() < end && line.len() < HEAD_LIMIT {
        scope.check()?;
        let read = match stream.read(&mut piece) {
            Err(error) if is_passing(&error) => continue,
            Ok(0) | Err(_) => break,
            Ok(read) => &piece[..read],
        };
        line.extend_from_slice(read);
        if let Some(length) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(length);
            return Ok(String::from_utf8(line).ok());
        }
    }
    Ok(None)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The code in a request that answers our question; `None` if it is another one.
fn read(target: &str, state: &str) -> Option<Result<String, String>> {
    let url: Url = format!("http://localhost{target}").parse().ok()?;
    let value = |wanted: &str| {
        url.query_pairs().find(|(key, _)| key == wanted).map(|(_, value)| value.into_owned())
    };
    if url.path() != "/auth/callback" || value("state").as_deref() != Some(state) {
        return None;
    }
    let error = value("error").map(|text| securecp_oci::Escaped::new(&text).limit(80).to_string());
    match (value("code"), error) {
        (_, Some(error)) => Some(Err(format!("the identity provider says {error}"))),
        (Some(code), None) => Some(Ok(code)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_our_question_counts() {
        assert_eq!(read("/auth/callback?code=c%26d&state=s", "s"), Some(Ok("c&d".to_owned())));
        for other in [
            "/auth/callback?code=c&state=t",
            "/auth/callback?code=c",
            "/favicon.ico?code=c&state=s",
            "/auth/callback?state=s",
            "//x",
        ] {
            assert_eq!(read(other, "s"), None, "{other}");
        }
        let denied = read("/auth/callback?error=access_denied&state=s", "s").unwrap();
        assert_eq!(denied.unwrap_err(), "the identity provider says access_denied");
    }

    /// A connection to a listener of ours, and what becomes of its first line.
    fn lines(
        scope: &Scope,
        speak: impl FnOnce(&mut TcpStream) + Send,
    ) -> Result<Option<String>, Stopped> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut here = listener.accept().unwrap().0;
        std::thread::scope(|threads| {
            threads.spawn(move || speak(&mut there));
            let found = first_line(&mut here, Duration::from_millis(300), scope);
            let _ = here.shutdown(std::net::Shutdown::Both);
            found
        })
    }

    #[test]
    fn nobody_keeps_us_by_dripping() {
        let drip = |stream: &mut TcpStream| {
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let start = Instant::now();
        assert_eq!(lines(&Scope::new(), drip).unwrap(), None);
        assert!(lines(&Scope::lasting(Duration::ZERO), drip).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
        let pieces = |stream: &mut TcpStream| {
            for piece in ["GET /x", " HTTP/1.1\r\nHo"] {
                stream.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(30));
            }
        };
        assert_eq!(lines(&Scope::new(), pieces).unwrap().unwrap(), "GET /x HTTP/1.1\r");
        let flood = |stream: &mut TcpStream| {
            let _ = stream.write_all(&[b'x'; HEAD_LIMIT + 2048]);
        };
        assert_eq!(lines(&Scope::new(), flood).unwrap(), None);
    }

    #[test]
    fn the_answer_s_length_is_true() {
        let (head, body) = ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
