//! A command that opens libraries, in a process apart.
//!
//! A library has all the rights of the process that opens it, the right to end it included. So the command runs itself
//! again with the same arguments, and what is left here only waits: for the word that the work is done and its exit
//! code, for a call that does not come back, or for an end without a word. Whatever the libraries have started is ended
//! with the command. A library that sets out to deceive can still do so; the hash that its operator allowed is what holds
//! against that.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleetstorm_plugin_host::{Deed, Ward, adopt_orphans, end_orphans, end_with_parent, say, watch_calls};
use rustix::process::{Pid, Signal, kill_process};

use crate::arguments::APART;
use crate::exit_code::INTERRUPTED;
use crate::failure::Failure;
use crate::signals::{Signals, runtime};
use crate::terminal::QuietKeys;

/// How long a call of a library may last.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long the process may take to end once its work is done: what a library does then has nothing to do with it.
const END_LIMIT: Duration = Duration::from_secs(2);
/// What the process says when its work is done, before the exit code.
const DONE: &str = "done ";
/// What it says of a call that does not come back, before whose call it is.
const HUNG: &str = "hung ";

/// Where this process gives its word, if it is the one that is watched.
static PLACE: OnceLock<PathBuf> = OnceLock::new();

/// How the work that libraries take part in is done.
pub(crate) enum Work {
    /// By this process: go on.
    Here,
    /// By another one, to this exit code.
    Done(u8),
    /// By another one, which broke: why.
    Broken(String),
}

/// The other process: does the work of `arguments` by `work`.
pub(crate) fn serve(place: &Path, work: impl FnOnce() -> ExitCode) -> ExitCode {
    end_with_parent();
    // Set once: this is where the process begins.
    let _ = PLACE.set(place.to_owned());
    let told = place.to_owned();
    let watched = watch_calls(CALL_LIMIT, move |whose| {
        // Whoever does not listen any more needs no word.
        let _ = say(&told, &format!("{HUNG}{whose}"));
    });
    match watched {
        Ok(()) => work(),
        Err(error) => {
            eprintln!("error: a thread cannot be started: {error}");
            over(1);
            ExitCode::from(1)
        }
    }
}

/// Says that the work is done. Does nothing in a process that is not watched.
pub(crate) fn over(code: u8) {
    if let Some(place) = PLACE.get() {
        use std::io::Write as _;
        let _ = std::io::stdout().flush();
        let _ = say(place, &format!("{DONE}{code}"));
    }
}

/// Has the whole command done by another process, unless this is that process or there are no libraries.
pub(crate) fn work(libraries: &[&String]) -> Result<Work, Failure> {
    if libraries.is_empty() || PLACE.get().is_some() {
        return Ok(Work::Here);
    }
    let failed = |error: std::io::Error| {
        Failure::internal(format!("the process that opens plugins cannot be run: {error}"))
    };
    adopt_orphans();
    // The other process is not in the foreground, so this one keeps the terminal in order.
    let _quiet = QuietKeys::new();
    let copy = crate::once::copy().map_err(failed)?;
    let mut ward = Ward::start(|place| {
        let read = copy.iter().flat_map(|(path, copy, _)| [path.as_path(), copy.as_path()]);
        command(place, read)
    })
    .map_err(failed)?;
    let interruptions = std::sync::Arc::new(AtomicU32::new(0));
    forward(ward.id(), std::sync::Arc::clone(&interruptions))?;
    let mut done = None;
    let ended = loop {
        match ward.next(done.map(|_| END_LIMIT)).map_err(failed)? {
            Deed::Said(line) if done.is_none() => {
                if let Some(whose) = line.strip_prefix(HUNG) {
                    break Some(Work::Broken(format!(
                        "{whose} did not come back from a call within {} s",
                        CALL_LIMIT.as_secs()
                    )));
                }
                done = line.strip_prefix(DONE).and_then(|code| code.parse().ok());
            }
            Deed::Said(_) => {}
            Deed::Ended(_) if done.is_some() => break None,
            // The second interruption is an order, and the first is one to whoever does not listen for it.
            Deed::Ended(status)
                if interruptions.load(Ordering::Relaxed)
                    > u32::from(status.signal() != Some(Signal::INT.as_raw())) =>
            {
                break Some(Work::Done(INTERRUPTED));
            }
            Deed::Ended(status) => {
                let names: Vec<String> = libraries.iter().map(|name| format!("`{}`", tame(name))).collect();
                break Some(Work::Broken(format!(
                    "the process with the {} {} ended before its work was done ({status}): a library that calls \
                     `exit`, crashes or replaces the process does this",
                    if names.len() == 1 { "plugin" } else { "plugins" },
                    names.join(", ")
                )));
            }
            Deed::Nothing => break None,
        }
    };
    ward.end();
    end_orphans();
    Ok(ended.unwrap_or(Work::Done(done.unwrap_or(1))))
}

/// A name from a file, for a line of a message.
fn tame(name: &str) -> String {
    name.replace(char::is_control, "?")
}

/// This command again, with the same arguments. `read` is a path that cannot be read again and where its text is, or
/// nothing.
fn command<'a>(place: OsString, read: impl Iterator<Item = &'a Path>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.arg(APART);
    let mut read = read.peekable();
    if read.peek().is_some() {
        command.arg("--read").args(read);
    }
    command.arg(place).arg("--").args(arguments);
    command
}

/// Hands every signal on, because only this process is in the terminal's foreground.
fn forward(to: u32, interruptions: std::sync::Arc<AtomicU32>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let hand_on = move || {
        loop {
            runtime.block_on(signals.next());
            interruptions.fetch_add(1, Ordering::Relaxed);
            if let Some(process) = i32::try_from(to).ok().and_then(Pid::from_raw) {
                let order =
                    if interruptions.load(Ordering::Relaxed) > 2 { Signal::KILL } else { Signal::INT };
                let _ = kill_process(process, order);
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(hand_on)
        .map(drop)
        .map_err(|error| Failure::internal(format!("a thread cannot be started: {error}")))
}
