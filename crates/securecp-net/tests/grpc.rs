//! Unary gRPC calls against services that behave, and some that do not.

#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use securecp_net::{GrpcAddress, GrpcService, NetError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// What the service does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// Turns the message round.
    Reverse,
    /// Refuses in the head, as servers do before they look at the message.
    RefuseAtOnce,
    /// Refuses in the trailers, behind a message.
    RefuseAtLast,
    /// Ends without trailers.
    NoStatus,
    /// Answers with two messages.
    Twice,
    /// Says that its message is compressed.
    Compressed,
    /// Never ends its message.
    Endless,
    /// Never answers.
    Silent,
    /// Is a web server.
    Html,
}

const PATH: &str = "/test.Service/Reverse";

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

fn status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", "no such key%0a".parse().unwrap());
    trailers
}

async fn message_of(request: Request<h2::RecvStream>) -> Vec<u8> {
    let (head, mut body) = request.into_parts();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", PATH));
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, framed(&bytes[5..]));
    bytes.split_off(5)
}

async fn answer(
    behaviour: Behaviour,
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let mut message = message_of(request).await;
    message.reverse();
    let head = |kind: &str| Response::builder().header("content-type", kind);
    let plain = || head("application/grpc").body(()).unwrap();
    let reply = match behaviour {
        Behaviour::Silent => return std::future::pending().await,
        Behaviour::Html => {
            respond.send_response(head("text/html").body(()).unwrap(), true).unwrap();
            return;
        }
        Behaviour::RefuseAtOnce => {
            let mut head = plain();
            *head.headers_mut() = status("7");
            head.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            respond.send_response(head, true).unwrap();
            return;
        }
        Behaviour::Twice => [framed(&message), framed(&message)].concat(),
        Behaviour::Compressed => [&[1], &framed(&message)[1..]].concat(),
        Behaviour::Endless => vec![0; 1 << 20],
        _ => framed(&message),
    };
    let mut body = respond.send_response(plain(), false).unwrap();
    body.send_data(reply.into(), behaviour == Behaviour::NoStatus).unwrap();
    match behaviour {
        Behaviour::NoStatus => {}
        Behaviour::Endless => std::future::pending().await,
        Behaviour::RefuseAtLast => body.send_trailers(status("13")).unwrap(),
        _ => body.send_trailers(status("0")).unwrap(),
    }
}

async fn serve(behaviour: Behaviour, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(behaviour, request, respond));
    }
}

/// Starts a service in a thread that ends with the test.
fn start(behaviour: Behaviour, socket: Option<std::path::PathBuf>) -> GrpcAddress {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            if let Some(path) = socket {
                let listener = UnixListener::bind(&path).unwrap();
                sender.send(format!("unix:{}", path.display())).unwrap();
                serve(behaviour, listener.accept().await.unwrap().0).await;
            } else {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                sender.send(listener.local_addr().unwrap().to_string()).unwrap();
                serve(behaviour, listener.accept().await.unwrap().0).await;
            }
        });
    });
    receiver.recv().unwrap().parse().unwrap()
}

fn call(address: GrpcAddress, time: Duration, message: &[u8]) -> Result<Bytes, NetError> {
    GrpcService::new(address, time, 300_000).call(PATH, message)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_message_there_and_one_back() {
    for message in [&b"abc"[..], b"", &[7; 200_000]] {
        let mut expected = message.to_vec();
        expected.reverse();
        let found = call(start(Behaviour::Reverse, None), LONG, message).unwrap();
        assert_eq!(found, expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let address = start(Behaviour::Reverse, Some(folder.path().join("socket")));
    assert_eq!(call(address, LONG, b"abc").unwrap(), "cba");
}

#[test]
fn whatever_else_comes_is_an_error() {
    for (behaviour, expected) in [
        (Behaviour::RefuseAtOnce, "gRPC status 7: no such key%0a"),
        (Behaviour::RefuseAtLast, "gRPC status 13: no such key%0a"),
        (Behaviour::NoStatus, "it ended without a status"),
        (Behaviour::Twice, "expected exactly one message"),
        (Behaviour::Compressed, "expected exactly one message"),
        (Behaviour::Endless, "has more than 300000 bytes"),
        (Behaviour::Html, "it is no gRPC service (status 200 OK)"),
    ] {
        let error = call(start(behaviour, None), LONG, b"abc").unwrap_err().to_string();
        assert!(error.contains(expected), "{behaviour:?}: {error}");
    }
}

#[test]
fn a_service_that_says_nothing_is_given_up() {
    let begin = Instant::now();
    let error = call(start(Behaviour::Silent, None), Duration::from_millis(200), b"abc");
    assert!(matches!(error, Err(NetError::Stalled { .. })), "{error:?}");
    // Something that listens and speaks no HTTP/2 at all.
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let error = call(address, Duration::from_millis(200), b"abc");
    assert!(matches!(error, Err(NetError::Stalled { .. })), "{error:?}");
    assert!(begin.elapsed() < LONG);
    let folder = tempfile::tempdir().unwrap();
    let nobody = GrpcAddress::Unix(folder.path().join("nobody"));
    assert!(matches!(call(nobody, LONG, b"abc"), Err(NetError::Connect { .. })));
}

#[test]
fn keys_do_not_leave_the_machine_in_the_clear() {
    // An address of a documentation network: nothing is sent, whatever listens there.
    for address in ["192.0.2.1:50000", "[2001:db8::1]:50000", "0.0.0.0:1"] {
        let error = address.parse::<GrpcAddress>().unwrap_err().to_string();
        assert!(error.contains("must be on this machine"), "{error}");
        // As if a name stood for it.
        let error = call(GrpcAddress::Tcp(address.to_owned()), LONG, b"abc").unwrap_err();
        assert!(error.to_string().contains("must be on this machine, but at"), "{error}");
    }
}
