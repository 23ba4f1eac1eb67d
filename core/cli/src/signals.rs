//! The ways in which the process is asked to end.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Ctrl-C, or another way in which the process is asked to end, heard from now on.
pub(crate) struct Interruption {
    runtime: tokio::runtime::Runtime,
    signals: Signals,
}

impl Interruption {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let runtime = runtime()?;
        let signals = runtime.block_on(async { Signals::new() })?;
        Ok(Self { runtime, signals })
    }

    /// Returns once it comes.
    pub(crate) fn wait(mut self) {
        self.runtime.block_on(self.signals.next());
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("the event loop cannot start: {error}")))
}

/// The ways in which a process is asked to end.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// The terminal went away; absent where that is not to end the process, as under `nohup`.
    hangup: Option<tokio::signal::unix::Signal>,
}

/// Whether whoever started this process wants it to outlive its terminal: SIGHUP is ignored.
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::internal(format!("signals cannot be listened for: {error}")))
        };
        let hangup = (!outlives_terminal()).then(|| listen(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup,
        })
    }

    pub(crate) async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}
