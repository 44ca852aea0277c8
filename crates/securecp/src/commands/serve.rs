//! `securecp serve`

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use securecp_server::{Options, Server};

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::session::Session;

/// How often the wait for the end is renewed.
const LONG: Duration = Duration::from_secs(3600);

/// Runs a registry until it is told to stop.
pub(crate) fn run(args: &ServeArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let options =
        Options { listen: args.listen, read_only: args.read_only, ..Options::new(&args.root) };
    let running = Server::start(options).context("starting the registry")?;
    let address = running.address();
    if !address.ip().is_loopback() {
        let _ = writeln!(
            io::stderr(),
            "securecp: warning: {address} can be reached from elsewhere, and there is no authentication"
        );
    }
    session.write(format!("http://{address}\n").as_bytes())?;
    while session.scope.sleep(LONG).is_ok() {}
    running.stop();
    Ok(())
}
