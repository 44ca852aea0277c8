//! `securecp experimental-image-proxy`: another program asks for images over a socket, one JSON object a packet, and gets
//! their bytes through pipes. The protocol is the reference's, version 0.2.8; the policy judges as for a copy.

mod image;
mod pipes;
mod socket;

use std::collections::BTreeMap;
use std::io::{self, PipeReader};
use std::os::fd::AsFd;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use securecp_copy::{CopyError, Effort, Select, Trial};
use securecp_layer::LayerError;
use securecp_oci::Digest;
use securecp_oci::json::{self, Limits};
use securecp_trust::{IndexSignature, Policy};
use serde_json::{Value, json};

use crate::args::{ImageProxyArgs, SideArgs};
use crate::connect::Doors;
use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::policy;
use crate::request::{Globals, Retry, SideRequest, image as image_name};
use crate::session::Session;
use crate::trust;
use image::{Opened, chosen};
use pipes::Pipes;
use socket::{PACKET, Socket};

const PROTOCOL: &str = "0.2.8";
/// Most images that may be open at the same time.
const IMAGES: usize = 1024;

/// Serves until the other program has enough.
pub(crate) fn run(args: ImageProxyArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    // The options are for whatever will be opened, so none of them can be without use beforehand.
    let globals = Globals { lenient: true, ..session.globals.clone() };
    let names = [image_name("image", "docker://localhost/any")?, image_name("image", "oci:any")?];
    let side = SideRequest::new(SideArgs::from(args.side), &names, &globals)?;
    let policy = policy::load(&globals.policy)?;
    let doors = Doors::new(&globals, Retry::looking(&args.retry, &session.globals))?;
    let lookaside = Lookaside::load(globals.registries_d.as_deref())?;
    let socket = Socket::inherited(args.sockfd)
        .with_context(|| format!("--sockfd {}: expected a socket", args.sockfd))?;
    let select = Select::System(globals.platform.clone());
    let house = House { session, doors, side, policy, lookaside, select };
    Ok(Proxy { house, begun: false, images: BTreeMap::new(), last: 0, pipes: Pipes::default() }
        .serve(&socket)?)
}

/// What is the same for every image.
struct House<'a, 'b> {
    session: &'a Session<'b>,
    doors: Doors<'a>,
    side: SideRequest,
    policy: Policy,
    lookaside: Lookaside,
    select: Select,
}

struct Proxy<'a, 'b> {
    house: House<'a, 'b>,
    begun: bool,
    images: BTreeMap<u64, Opened>,
    last: u64,
    pipes: Pipes,
}

/// What is told, and what is read from.
#[derive(Default)]
struct Reply {
    value: Value,
    pipe: u32,
    passed: Vec<PipeReader>,
}

impl Reply {
    fn of(value: impl Into<Value>) -> Self {
        Self { value: value.into(), ..Self::default() }
    }

    fn through(value: impl Into<Value>, (pipe, reader): (u32, PipeReader)) -> Self {
        Self { value: value.into(), pipe, passed: vec![reader] }
    }
}

impl Proxy<'_, '_> {
    fn serve(&mut self, socket: &Socket) -> anyhow::Result<()> {
        while let Some(packet) = socket.receive(self.house.session.scope)? {
            let (method, arguments) = match read(&packet) {
                Ok(request) => request,
                Err(error) => {
                    tell(socket, Err(error))?;
                    continue;
                }
            };
            // The reference goes without a word.
            if method == "Shutdown" {
                return Ok(());
            }
            let reply = self.answer(&method, &arguments);
            tell(socket, reply)?;
        }
        Ok(())
    }

    fn answer(&mut self, method: &str, arguments: &[Value]) -> anyhow::Result<Reply> {
        match (method, self.begun) {
            ("Initialize", false) => {
                self.begun = true;
                return Ok(Reply::of(PROTOCOL));
            }
            ("Initialize", true) => bail!("already initialized"),
            (_, false) => bail!("expected Initialize first"),
            (_, true) => {}
        }
        let given = Given { method, arguments };
        match method {
            "OpenImage" => self.open(given.text(0)?).map(Reply::of),
            "OpenImageOptional" => self.open_optional(given.text(0)?),
            "CloseImage" => self.close(given.number(0)?),
            "FinishPipe" => {
                let number = u32::try_from(given.number(0)?)?;
                self.pipes.finish(number).map(|()| Reply::default())
            }
            _ => self.of_image(&given),
        }
    }

    /// What concerns an image that is open.
    fn of_image(&mut self, given: &Given<'_>) -> anyhow::Result<Reply> {
        let image = self.images.get(&given.number(0)?);
        let image = image.ok_or_else(|| anyhow!("no such image is open"));
        let scope = self.house.session.scope;
        match given.method {
            "GetManifest" => {
                let shown = image?.manifest(scope)?;
                let pipe = self.pipes.send(shown.bytes)?;
                Ok(Reply::through(shown.digest.to_string(), pipe))
            }
            "GetFullConfig" => {
                let config = image?.config(scope)?;
                Ok(Reply::through(Value::Null, self.pipes.send(config)?))
            }
            "GetConfig" => {
                let config = image?.config(scope)?;
                Ok(Reply::through(Value::Null, self.pipes.send(part(&config)?)?))
            }
            "GetBlob" => {
                let (size, layer) = image?.blob(&given.digest(1)?, scope)?;
                let expected = given.number(2)?;
                if size != expected {
                    bail!("expected a blob of {expected} bytes, found {size}");
                }
                Ok(Reply::through(size, self.pipes.send_blob(layer)?))
            }
            "GetRawBlob" => {
                let (size, layer) = image?.blob(&given.digest(1)?, scope)?;
                let passed = pipes::raw(layer)?.into();
                Ok(Reply { value: size.into(), pipe: 0, passed })
            }
            "GetLayerInfo" => Ok(Reply::of(described(image?)?)),
            "GetLayerInfoPiped" => {
                let text = described(image?)?.to_string();
                Ok(Reply::through(Value::Null, self.pipes.send(text.into())?))
            }
            _ => bail!("unknown method"),
        }
    }

    fn open(&mut self, name: &str) -> anyhow::Result<u64> {
        if self.images.len() >= IMAGES {
            bail!("{IMAGES} images are open already; close some of them");
        }
        let house = &self.house;
        let name = image_name("image", name).map_err(|failure| anyhow!("{failure}"))?;
        let source = house.doors.source(&name, &house.side, &house.lookaside);
        let source = source.map_err(|failure| anyhow!("{failure}"))?;
        let gate = trust::gate(&house.session.globals, IndexSignature::default(), None);
        let opened = Opened::new(source, |from| {
            chosen(&Trial {
                from,
                select: &house.select,
                policy: &house.policy,
                gate: &gate,
                effort: Effort::default(),
                scope: house.session.scope,
            })
        })?;
        self.last += 1;
        self.images.insert(self.last, opened);
        Ok(self.last)
    }

    /// Only an image that definitely does not exist is none.
    fn open_optional(&mut self, name: &str) -> anyhow::Result<Reply> {
        match self.open(name) {
            Err(error) if error.downcast_ref().is_some_and(CopyError::is_not_found) => {
                Ok(Reply::of(0))
            }
            opened => opened.map(Reply::of),
        }
    }

    fn close(&mut self, number: u64) -> anyhow::Result<Reply> {
        let closed = self.images.remove(&number);
        closed.map(|_| Reply::default()).ok_or_else(|| anyhow!("no such image is open"))
    }
}

/// The arguments of one request.
struct Given<'a> {
    method: &'a str,
    arguments: &'a [Value],
}

impl Given<'_> {
    fn text(&self, position: usize) -> anyhow::Result<&str> {
        let found = self.arguments.get(position).and_then(Value::as_str);
        found.ok_or_else(|| self.wrong(position, "a text"))
    }

    fn digest(&self, position: usize) -> anyhow::Result<Digest> {
        Ok(self.text(position)?.parse()?)
    }

    /// Programs that have only floating numbers send such.
    fn number(&self, position: usize) -> anyhow::Result<u64> {
        let found = self.arguments.get(position);
        let found = found.and_then(|value| value.as_u64().or_else(|| whole(value.as_f64()?)));
        let found = found.filter(|number| *number < 1 << 53);
        found.ok_or_else(|| self.wrong(position, "a number from 0 to 2^53 - 1"))
    }

    fn wrong(&self, position: usize, expected: &str) -> anyhow::Error {
        anyhow!("{}: expected {expected} as argument {}", self.method, position + 1)
    }
}

fn whole(number: f64) -> Option<u64> {
    let fits = (0.0..9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u64)
}

fn read(packet: &[u8]) -> anyhow::Result<(String, Vec<Value>)> {
    let value = json::parse(packet, Limits::bytes(PACKET)).context("the request is not JSON")?;
    let method =
        value.get("method").and_then(Value::as_str).context("the request has no method")?;
    let arguments = match value.get("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(arguments)) => arguments.clone(),
        Some(_) => bail!("the request's arguments are no list"),
    };
    Ok((method.to_owned(), arguments))
}

fn tell(socket: &Socket, reply: anyhow::Result<Reply>) -> anyhow::Result<()> {
    let (told, passed) = match reply {
        Ok(Reply { value, pipe, passed }) => {
            let told = json!({"success": true, "value": value, "pipeid": pipe, "error_code": "", "error": ""});
            (told, passed)
        }
        Err(error) => {
            let text = securecp_oci::Escaped::new(&format!("{error:#}")).limit(4096).to_string();
            let told = json!({
                "success": false, "value": null, "pipeid": 0, "error_code": code(&error), "error": text,
            });
            (told, Vec::new())
        }
    };
    let packet = told.to_string();
    let descriptors: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
    if packet.len() <= PACKET {
        return Ok(socket.send(packet.as_bytes(), &descriptors)?);
    }
    tell(socket, Err(anyhow!("the answer does not fit a packet; ask for it through a pipe")))
}

/// What kind of failure it is, in the protocol's words.
fn code(error: &anyhow::Error) -> &'static str {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    let passing = |cause: &(dyn std::error::Error + 'static)| {
        let layer = cause.downcast_ref::<LayerError>().is_some_and(LayerError::is_transient);
        layer || cause.downcast_ref::<CopyError>().is_some_and(CopyError::is_transient)
    };
    match () {
        () if error.chain().any(broken) => "EPIPE",
        () if error.chain().any(passing) => "retryable",
        () => "other",
    }
}

fn described(image: &Opened) -> anyhow::Result<Value> {
    let layers = image.layers()?;
    let one = |layer: &securecp_oci::Descriptor| json!({"digest": layer.digest.to_string(), "size": layer.size, "media_type": layer.media_type.as_str()});
    Ok(layers.iter().map(one).collect())
}

/// The member `config` of a configuration.
fn part(config: &Bytes) -> anyhow::Result<Bytes> {
    let value = json::parse(config, Limits::bytes(config.len()))?;
    Ok(value.get("config").unwrap_or(&json!({})).to_string().into())
}
