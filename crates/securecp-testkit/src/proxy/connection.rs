use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Instant;

use super::flow::{Cut, Flow};
use super::log::{Seen, shown, split};
use super::message::{Framing, Head, Pieces, write_end, write_piece};
use super::plan::{Early, Plan};
use super::rule::{Call, Reply, Side};
use super::{Shared, reset};

const SMALL_BODY: u64 = 64 << 10;

/// One client at the proxy.
pub(super) struct Connection<'a> {
    line: Line<'a>,
    reader: BufReader<TcpStream>,
    number: u64,
}

/// The way back to the client.
struct Line<'a> {
    shared: &'a Shared,
    stream: TcpStream,
}

/// One request whose head was read.
struct Exchange {
    head: Head,
    call: Call,
    framing: Framing,
    /// The body, if it was read already.
    body: Option<Vec<u8>>,
    plan: Plan,
    entry: usize,
}

impl<'a> Connection<'a> {
    pub(super) fn new(shared: &'a Shared, stream: TcpStream, number: u64) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let reader = BufReader::with_capacity(64 << 10, stream.try_clone()?);
        Ok(Self { line: Line { shared, stream }, reader, number })
    }

    /// Serves requests until the connection ends; says how it shall end.
    pub(super) fn serve(mut self) {
        loop {
            let served = match Head::read(&mut self.reader) {
                Ok(Some(head)) => self.request(head),
                _ => Err(Cut::Close),
            };
            match served {
                Ok(()) => {}
                Err(Cut::Close) if !self.line.shared.is_down() => {
                    // The client may be gone already.
                    let _ = self.line.stream.shutdown(Shutdown::Both);
                    return;
                }
                Err(_) => return reset(&self.line.stream),
            }
        }
    }

    fn request(&mut self, head: Head) -> Result<(), Cut> {
        let mut exchange = self.begin(head)?;
        let closes =
            exchange.head.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        let pause = exchange.plan.close_after;
        let outcome = self.answer(&mut exchange);
        self.line.shared.log.finish(exchange.entry);
        outcome?;
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
        if closes || pause.is_some() { Err(Cut::Close) } else { Ok(()) }
    }

    fn begin(&mut self, head: Head) -> Result<Exchange, Cut> {
        let (method, path, query) = split(&head.first).ok_or(Cut::Close)?;
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        let plan = self.line.shared.plan(&method, &target);
        let entry = self.line.shared.log.begin(Seen {
            method: method.clone(),
            path: path.clone(),
            query: query.clone(),
            headers: shown(&head, self.line.shared.settings.keep_secrets),
            connection: self.number,
            faulty: plan.1,
            ..Seen::default()
        });
        let call = Call {
            method,
            path,
            query,
            headers: head.headers.clone(),
            body: Vec::new(),
            upstream: self.line.shared.upstream,
            proxy: self.line.shared.address,
        };
        let framing = head.framing(Framing::Length(0));
        Ok(Exchange { head, call, framing, body: None, plan: plan.0, entry })
    }

    fn answer(&mut self, exchange: &mut Exchange) -> Result<(), Cut> {
        self.line.shared.pause(exchange.plan.delay + self.line.shared.latency());
        match exchange.plan.early.take() {
            Some(Early::Reset) => return Err(Cut::Reset),
            Some(Early::AnswerUnread(reply)) => return self.reply_unread(exchange, &reply),
            Some(Early::Answer(reply)) => return self.reply(exchange, &reply),
            None => {}
        }
        self.read_small(exchange)?;
        let reply = exchange.plan.handlers.iter().find_map(|handler| (handler.0)(&exchange.call));
        match reply {
            Some(reply) => self.reply(exchange, &reply),
            None => self.forward(exchange),
        }
    }

    /// Reads the body of a request that only a handler can be interested in.
    fn read_small(&mut self, exchange: &mut Exchange) -> Result<(), Cut> {
        let Framing::Length(length) = exchange.framing else { return Ok(()) };
        if exchange.call.path.starts_with("/v2/") || length > SMALL_BODY {
            return Ok(());
        }
        let mut body = Vec::new();
        self.expected(exchange)?;
        let mut pieces = Pieces::new(&mut self.reader, exchange.framing);
        while let Some(piece) = pieces.next()? {
            body.extend(piece);
        }
        self.line.shared.log.edit(exchange.entry, |seen| seen.request_bytes = body.len() as u64);
        exchange.call.body.clone_from(&body);
        exchange.body = Some(body);
        Ok(())
    }

    /// Tells a client that asked first to send its body.
    fn expected(&mut self, exchange: &mut Exchange) -> io::Result<()> {
        if exchange.head.header("expect").is_some() {
            exchange.head.remove("expect");
            self.line.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(())
    }

    /// Answers after the body was read.
    fn reply(&mut self, exchange: &mut Exchange, reply: &Reply) -> Result<(), Cut> {
        if exchange.body.is_none() {
            self.expected(exchange)?;
            let mut flow = self.line.flow(&exchange.plan, Side::Request, exchange.head.length());
            flow.begin()?;
            let mut pieces = Pieces::new(&mut self.reader, exchange.framing);
            while let Some(mut piece) = pieces.next()? {
                self.line.shared.received(exchange.entry, &piece);
                flow.pass(&mut piece, &mut |_| Ok(()))?;
            }
        }
        Ok(self.line.write_reply(exchange, reply)?)
    }

    /// Answers at once, then reads nothing more until the client is gone.
    fn reply_unread(&mut self, exchange: &Exchange, reply: &Reply) -> Result<(), Cut> {
        self.line.write_reply(exchange, reply)?;
        if exchange.framing == Framing::Length(0) {
            return Ok(());
        }
        let breaks = vec![(0, super::rule::How::Stall)];
        Flow { breaks, ..self.line.flow(&exchange.plan, Side::Request, None) }.begin()
    }

    /// Lets the registry answer.
    fn forward(&mut self, exchange: &mut Exchange) -> Result<(), Cut> {
        self.expected(exchange)?;
        let upstream = TcpStream::connect(self.line.shared.upstream)?;
        upstream.set_nodelay(true)?;
        let _guard = self.line.shared.track(&upstream)?;
        let mut head = exchange.head.clone();
        head.set("connection", "close");
        exchange.plan.drop_request_headers.iter().for_each(|name| head.remove(name));
        head.write(&mut &upstream)?;
        if let Some(body) = exchange.body.take() {
            (&upstream).write_all(&body)?;
            return self.line.relay(exchange, &upstream);
        }
        if exchange.framing == Framing::Length(0) {
            return self.line.relay(exchange, &upstream);
        }
        self.forward_with_body(exchange, &upstream)
    }

    /// Sends the body while the answer is awaited: a registry may answer early.
    fn forward_with_body(&mut self, exchange: &Exchange, upstream: &TcpStream) -> Result<(), Cut> {
        let Self { line, reader, .. } = self;
        let flow = line.flow(&exchange.plan, Side::Request, exchange.head.length());
        let (pumped, relayed) = thread::scope(|scope| {
            let pump = scope.spawn(|| {
                let outcome = pump(exchange, flow, (reader, upstream));
                if outcome.is_err() {
                    // The relay must not wait for an answer that will not come.
                    let _ = upstream.shutdown(Shutdown::Both);
                }
                outcome
            });
            let relayed = line.relay(exchange, upstream);
            if relayed.is_err() {
                let _ = line.stream.shutdown(Shutdown::Read);
            }
            (pump.join().unwrap_or(Err(Cut::Reset)), relayed)
        });
        pumped.and(relayed)
    }
}

impl Line<'_> {
    fn write_reply(&self, exchange: &Exchange, reply: &Reply) -> io::Result<()> {
        let mut head = Head { first: format!("HTTP/1.1 {} ", reply.status), headers: Vec::new() };
        for (name, value) in &reply.headers {
            head.headers.push((name.to_ascii_lowercase(), value.clone()));
        }
        let length = head.header("content-length").is_some();
        if !length {
            head.set("content-length", reply.body.len().to_string());
        }
        let mut bytes = Vec::new();
        head.write(&mut bytes)?;
        let sent = if exchange.call.method == "HEAD" { &[] } else { reply.body.as_slice() };
        bytes.extend_from_slice(sent);
        (&self.stream).write_all(&bytes)?;
        self.shared.log.edit(exchange.entry, |seen| {
            seen.status = reply.status;
            seen.response_bytes = sent.len() as u64;
        });
        Ok(())
    }

    /// Passes the registry's answer on.
    fn relay(&self, exchange: &Exchange, upstream: &TcpStream) -> Result<(), Cut> {
        let mut reader = BufReader::with_capacity(64 << 10, upstream);
        let mut head = loop {
            let head = Head::read(&mut reader)?.ok_or(Cut::Reset)?;
            if head.status() >= 200 {
                break head;
            }
        };
        let bodiless = exchange.call.method == "HEAD" || matches!(head.status(), 204 | 304);
        let framing = if bodiless { Framing::Length(0) } else { head.framing(Framing::UntilClose) };
        exchange.plan.answered.iter().for_each(|hook| (hook.0)(&exchange.call));
        if exchange.plan.lose_answer {
            let mut pieces = Pieces::new(&mut reader, framing);
            while pieces.next()?.is_some() {}
            return Err(Cut::Reset);
        }
        let outward = edit_answer(&mut head, &exchange.plan, framing);
        head.write(&mut &self.stream)?;
        self.shared.log.edit(exchange.entry, |seen| seen.status = head.status());
        self.relay_body(exchange, (&mut reader, framing), outward)
    }

    fn relay_body(
        &self,
        exchange: &Exchange,
        (reader, framing): (&mut BufReader<&TcpStream>, Framing),
        outward: Framing,
    ) -> Result<(), Cut> {
        let edits = &exchange.plan.answer;
        let length = match framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        let mut left = length.map_or(u64::MAX, |length| length.saturating_sub(edits.shorten));
        let mut flow = self.flow(&exchange.plan, Side::Response, length);
        let mut write = |piece: &[u8]| {
            write_piece(&mut &self.stream, outward, piece)?;
            let sent = piece.len() as u64;
            self.shared.log.edit(exchange.entry, |seen| seen.response_bytes += sent);
            Ok(())
        };
        flow.begin()?;
        let mut pieces = Pieces::new(reader, framing);
        while let Some(mut piece) = pieces.next()? {
            let kept = usize::try_from(left).map_or(piece.len(), |left| piece.len().min(left));
            left -= kept as u64;
            flow.pass(&mut piece[..kept], &mut write)?;
        }
        if framing != Framing::Length(0) && !edits.lengthen.is_empty() {
            flow.pass(&mut edits.lengthen.clone(), &mut write)?;
        }
        write_end(&mut &self.stream, outward)?;
        if outward == Framing::UntilClose { Err(Cut::Close) } else { Ok(()) }
    }

    fn flow(&self, plan: &Plan, side: Side, length: Option<u64>) -> Flow<'_> {
        Flow {
            shared: self.shared,
            client: &self.stream,
            breaks: plan.breaks(side, length),
            throttle: plan.throttle,
            position: 0,
            started: Instant::now(),
        }
    }
}

/// Moves a request body to the registry. A registry that has answered and closed does not stop the client: the rest
/// is read and thrown away, as a server does that wants its answer to be seen.
fn pump(
    exchange: &Exchange,
    mut flow: Flow<'_>,
    (reader, upstream): (&mut BufReader<TcpStream>, &TcpStream),
) -> Result<(), Cut> {
    let shared = flow.shared;
    let mut deaf = false;
    flow.begin()?;
    let mut pieces = Pieces::new(reader, exchange.framing);
    while let Some(mut piece) = pieces.next()? {
        shared.received(exchange.entry, &piece);
        flow.pass(&mut piece, &mut |piece| {
            deaf = deaf || write_piece(&mut &*upstream, exchange.framing, piece).is_err();
            Ok(())
        })?;
    }
    if !deaf {
        // The registry may have closed by now; its answer tells.
        let _ = write_end(&mut &*upstream, exchange.framing);
    }
    Ok(())
}

/// Applies the edits to the head of an answer and says how its body is framed for the client.
fn edit_answer(head: &mut Head, plan: &Plan, framing: Framing) -> Framing {
    let edits = &plan.answer;
    head.remove("connection");
    edits.drop_headers.iter().for_each(|name| head.remove(name));
    edits.set_headers.iter().for_each(|(name, value)| head.set(name, value.clone()));
    if let Some(status) = edits.status {
        head.first = format!("HTTP/1.1 {status} ");
    }
    let Framing::Length(length) = framing else {
        if framing == Framing::UntilClose {
            head.set("connection", "close");
        }
        return framing;
    };
    if length > 0 && edits.hide_length {
        head.remove("content-length");
        head.set("transfer-encoding", "chunked");
        return Framing::Chunked;
    }
    if length > 0 {
        let length = length.saturating_sub(edits.shorten) + edits.lengthen.len() as u64;
        head.set("content-length", length.to_string());
    }
    framing
}
