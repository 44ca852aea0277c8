use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::thread::{self, JoinHandle};

use anyhow::{anyhow, bail};
use bytes::Bytes;
use securecp_layer::Layer;

/// Most pipes that may be waited for at the same time.
const MOST: usize = 1024;

/// Bytes on their way to the other program, each through a pipe and a thread of its own. A pipe stays open until it is
/// finished: nobody can take what came for complete who has not asked whether it was right.
#[derive(Default)]
pub(super) struct Pipes {
    sending: HashMap<u32, JoinHandle<Sent>>,
    last: u32,
}

/// How sending ended; the pipe is closed when this is dropped.
struct Sent {
    _pipe: PipeWriter,
    result: anyhow::Result<()>,
}

impl Pipes {
    /// Sends `bytes`; the number under which the end is waited for, and where to read.
    pub(super) fn send(&mut self, bytes: Bytes) -> anyhow::Result<(u32, PipeReader)> {
        self.start(move |pipe| Ok(pipe.write_all(&bytes)?))
    }

    /// Sends a blob. That it was right is known at its end.
    pub(super) fn send_blob(&mut self, layer: Layer<'static>) -> anyhow::Result<(u32, PipeReader)> {
        self.start(move |pipe| pour(layer, pipe))
    }

    fn start(
        &mut self,
        work: impl FnOnce(&mut PipeWriter) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<(u32, PipeReader)> {
        if self.sending.len() >= MOST {
            bail!("{MOST} pipes are open already; finish some of them");
        }
        let (reader, mut writer) = io::pipe()?;
        let send = move || {
            let result = work(&mut writer);
            Sent { _pipe: writer, result }
        };
        let thread = thread::Builder::new().name("pipe".to_owned()).spawn(send)?;
        self.last = self.last.wrapping_add(1).max(1);
        self.sending.insert(self.last, thread);
        Ok((self.last, reader))
    }

    /// Waits until everything was sent, and says how it ended.
    pub(super) fn finish(&mut self, number: u32) -> anyhow::Result<()> {
        let thread = self.sending.remove(&number);
        let thread = thread.ok_or_else(|| anyhow!("there is no pipe {number}"))?;
        match thread.join() {
            Ok(sent) => sent.result,
            Err(_) => Err(anyhow!("sending ended early")),
        }
    }
}

/// Sends a blob, and how it ended through a second pipe.
pub(super) fn raw(layer: Layer<'static>) -> anyhow::Result<[PipeReader; 2]> {
    let ((reader, mut writer), (error_reader, mut error_writer)) = (io::pipe()?, io::pipe()?);
    let work = move || {
        if let Err(error) = pour(layer, &mut writer) {
            let told =
                serde_json::json!({"code": super::code(&error), "message": format!("{error:#}")});
            // Nobody listens any more if this fails.
            let _ = error_writer.write_all(told.to_string().as_bytes());
        }
    };
    thread::Builder::new().name("pipe".to_owned()).spawn(work)?;
    Ok([reader, error_reader])
}

fn pour(mut layer: Layer<'static>, pipe: &mut PipeWriter) -> anyhow::Result<()> {
    while let Some(chunk) = layer.next()? {
        pipe.write_all(&chunk)?;
    }
    layer.finish()?;
    Ok(())
}
