use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{Lane, Method, NetError, Request, Response, Upload, header};
use securecp_oci::json::{self, Limits};

use super::Engine;
use crate::TransportError;
use crate::archive::{Sink, WriteMembers, fill};

/// Largest report of an engine on what it loaded, in bytes.
const REPORT_LIMIT: usize = 1 << 20;

/// An engine that is given an archive, as by `docker load`.
#[derive(Debug)]
pub(super) struct LoadSink {
    engine: Engine,
    temporary: PathBuf,
}

impl LoadSink {
    pub(super) fn new(engine: Engine, temporary: Option<&Path>) -> Self {
        let temporary = temporary.map_or_else(std::env::temp_dir, Path::to_owned);
        Self { engine, temporary }
    }

    fn start(&self, scope: &Scope) -> Result<Upload, TransportError> {
        let url = self.engine.url("/images/load", &[("quiet", "1")]);
        let request = Request::new(Method::POST, url)
            .lane(Lane::Bulk)
            .header(header::CONTENT_TYPE, "application/x-tar")?;
        self.engine.client.upload(request, None, scope).map_err(|error| self.engine.broken(error))
    }

    /// An engine answers 200 before it has looked at the archive; what went wrong stands in its report.
    fn judge(&self, response: Response, scope: &Scope) -> Result<(), TransportError> {
        let response = self.engine.expect_success(response, scope)?;
        let report = response.bytes(REPORT_LIMIT, scope);
        let report = report.map_err(|error| self.engine.broken(error))?;
        let messages = report.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for message in messages.filter(|message| !message.is_empty()) {
            let message = json::parse(message, Limits::bytes(REPORT_LIMIT)).map_err(|_| {
                self.engine.failure("its report on the loaded image cannot be read")
            })?;
            if let Some(error) = message.get("error") {
                let error = error.as_str().unwrap_or("no reason given");
                return Err(self.engine.failure(&format!("loading the image: {error}")));
            }
        }
        Ok(())
    }
}

impl Sink for LoadSink {
    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        self.engine.ping(scope)
    }

    fn waiting_folder(&self) -> PathBuf {
        self.temporary.clone()
    }

    /// The engine takes the image only when the end of the archive has come.
    fn write(&self, members: &mut WriteMembers<'_>, scope: &Scope) -> Result<(), TransportError> {
        let mut body = UploadWriter { upload: self.start(scope)?, scope, ended: None };
        let written = fill(&mut body, members, scope);
        match (body.ended, written) {
            (Some(Ended::Broken(error)), _) => Err(self.engine.broken(error)),
            (Some(Ended::Answered(response)), _) => {
                self.judge(response, scope)?;
                Err(self.engine.failure("it answered before it had the whole image"))
            }
            (None, Err(error)) => {
                scope.check()?;
                Err(self.engine.failure(&format!("sending the image: {error}")))
            }
            (None, Ok(())) => {
                let response = body.upload.finish(scope);
                self.judge(response.map_err(|error| self.engine.broken(error))?, scope)
            }
        }
    }
}

/// Why an upload ended before its time.
enum Ended {
    Broken(NetError),
    Answered(Response),
}

struct UploadWriter<'a> {
    upload: Upload,
    scope: &'a Scope,
    ended: Option<Ended>,
}

impl Write for UploadWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let why = match self.upload.write(Bytes::copy_from_slice(bytes), self.scope) {
            Ok(None) => return Ok(bytes.len()),
            Ok(Some(response)) => Ended::Answered(response),
            Err(error) => Ended::Broken(error),
        };
        self.ended = Some(why);
        Err(io::Error::other("the upload has ended"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
