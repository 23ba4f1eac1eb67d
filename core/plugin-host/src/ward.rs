//! A process of its own for code that is not ours, and the word that it has to give.
//!
//! Code in that process can do there what it likes: read its memory, and so forge any word. What holds against that is
//! the operator's hash. This is for everything else: a library that ends the process, crashes it, hangs, prints, or
//! leaves processes behind.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

/// Most bytes of what a ward says.
const WORD_MOST: usize = 64 << 10;

/// A child process in a group of its own, and the pipe on which it gives its word.
#[derive(Debug)]
pub struct Ward {
    child: Child,
    process: OwnedFd,
    word: PipeReader,
    /// What came and is no whole line yet.
    rest: Vec<u8>,
    /// Nobody writes any more.
    silent: bool,
    status: Option<ExitStatus>,
}

/// What a ward did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It said a line.
    Said(String),
    /// It ended.
    Ended(ExitStatus),
    /// Nothing, for as long as was waited.
    Nothing,
}

impl Ward {
    /// Starts a process. `command` is told the path on which the child can open its end of the pipe: see [`say`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: impl FnOnce(OsString) -> Command) -> io::Result<Self> {
        let (ours, theirs) = io::pipe()?;
        rustix::io::fcntl_setfd(&theirs, FdFlags::empty())?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let place = PathBuf::from(format!("/proc/self/fd/{}", theirs.as_raw_fd()));
        let mut child = command(place.into_os_string()).process_group(0).spawn()?;
        let process = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let process = process.inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Self { child, process, word: ours, rest: Vec::new(), silent: false, status: None })
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it does next, within `limit`; for ever without one. What it said before it ended is told first.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn next(&mut self, limit: Option<Duration>) -> io::Result<Deed> {
        loop {
            self.hear()?;
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Deed::Said(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            if let Some(status) = self.status {
                return Ok(Deed::Ended(status));
            }
            let mut polled = vec![PollFd::new(&self.process, PollFlags::IN)];
            if !self.silent {
                polled.push(PollFd::new(&self.word, PollFlags::IN));
            }
            let limit = limit.map(|limit| Timespec {
                tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(limit.subsec_nanos()),
            });
            match rustix::event::poll(&mut polled, limit.as_ref()) {
                Ok(0) => return Ok(Deed::Nothing),
                Ok(_) if !polled[0].revents().is_empty() => self.status = Some(self.child.wait()?),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes what it has said.
    fn hear(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4_096];
        while !self.silent {
            match self.word.read(&mut chunk) {
                Ok(0) => self.silent = true,
                Ok(read) => self.rest.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // Whoever says more than that says nothing that counts.
            self.silent |= self.rest.len() > WORD_MOST;
        }
        Ok(())
    }

    /// Ends it, and what it has started in its group.
    pub fn end(&mut self) {
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        if self.status.is_none() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says a line, as a ward.
///
/// # Errors
/// Nobody listens.
pub fn say(place: &std::path::Path, line: &str) -> io::Result<()> {
    File::options().write(true).open(place)?.write_all(format!("{line}\n").as_bytes())
}

/// Makes processes whose parents are gone children of this one, so that [`end_orphans`] can find them.
pub fn adopt_orphans() {
    // Without it, what a library leaves behind is the system's.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Has this process end with its parent. Call it in a ward.
pub fn end_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Ends every child of this process. Call it where there are none that are wanted.
pub fn end_orphans() {
    // Whoever forks faster than it is ended has won; everybody else is gone after a few rounds.
    for _ in 0..100 {
        let mut none = true;
        for child in children() {
            none = false;
            let _ = rustix::process::kill_process(child, Signal::KILL);
            let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
        }
        if none {
            return;
        }
    }
}

fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().get().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let child = |entry: std::fs::DirEntry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        // `pid (name) state parent ...`, and a name may hold anything.
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)? == own;
        parent.then(|| Pid::from_raw(id)).flatten()
    };
    processes.filter_map(child).collect()
}
