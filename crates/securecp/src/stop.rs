//! Ctrl-C and SIGTERM: the first asks the job to end, the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use securecp_layer::Scope;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Whether the first signal came.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether the user asked for an end; for waits that no scope ends.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Cancels `scope` at the first signal.
pub(crate) fn cancel_on_signals(scope: &Scope) -> io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, sets it, and only the second one ends the process.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let scope = scope.clone();
    let listen = move || {
        signals.forever().for_each(|_| {
            ASKED.store(true, Ordering::Relaxed);
            scope.cancel();
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(())
}
