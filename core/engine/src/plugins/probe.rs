//! Trying a library in a process of its own.
//!
//! The program runs itself again with hidden arguments and the sealed library as standard input. What the child finds
//! out it writes as one marked line, so that a library which prints something does no harm. The child's output is
//! memory with a limit, not a pipe: nobody has to read along.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::MemfdFlags;
use rustix::process::{PidfdFlags, Resource, Rlimit};
use serde::{Deserialize, Serialize};

use super::file::Sealed;
use super::library::Library;
use super::load::open;
use super::problem::{LoadError, Problem};

/// What marks the child's line among whatever a library prints.
const MARK: &str = "fleetstorm-plugin-probe: ";

/// Most bytes that a child may write anywhere.
const OUTPUT_MOST: u64 = 16 << 20;

/// How to run this program as the child. It passes the arguments that follow `arguments` to [`serve_probe`].
#[derive(Clone, Debug)]
pub struct Probe {
    /// The program.
    pub program: PathBuf,
    /// The arguments that lead it to [`serve_probe`]; the symbol and the hash follow them.
    pub arguments: Vec<OsString>,
    /// How long a library may take.
    pub limit: Duration,
}

/// What a library says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Found(Found),
    Refused(String),
}

impl Probe {
    /// Tries a library.
    ///
    /// # Errors
    /// It crashed, hung, or anything is wrong with it.
    pub fn run(&self, sealed: &Sealed) -> Result<Found, LoadError> {
        self.verdict(sealed)
            .map_err(|problem| LoadError { library: sealed.path().display().to_string(), problem })
    }

    fn verdict(&self, sealed: &Sealed) -> Result<Found, Problem> {
        let memory = rustix::fs::memfd_create(c"fleetstorm-probe", MemfdFlags::CLOEXEC)
            .map_err(|error| Problem::NoProbe(error.into()))?;
        let mut output = File::from(memory);
        let stdin = sealed.memory.try_clone().map_err(Problem::NoProbe)?;
        let stdout = output.try_clone().map_err(Problem::NoProbe)?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(sealed.symbol())
            .arg(sealed.sha256())
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::null())
            .spawn()
            .map_err(Problem::NoProbe)?;
        let status = match wait(&mut child, self.limit) {
            Ok(true) => child.wait().map_err(Problem::NoProbe)?,
            ended => {
                let _ = child.kill();
                let _ = child.wait();
                ended.map_err(Problem::NoProbe)?;
                let limit_ms = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
                return Err(Problem::TimedOut(limit_ms));
            }
        };
        match line(&mut output) {
            Some(Verdict::Found(found)) => Ok(found),
            Some(Verdict::Refused(why)) => Err(Problem::Refused(why)),
            None => Err(Problem::Crashed(match status.signal() {
                Some(signal) => format!("signal {signal}"),
                None => format!("{status}, without an answer"),
            })),
        }
    }
}

/// Waits for a child; false if it still runs after `limit`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<bool> {
    let process = rustix::process::pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let limit = rustix::event::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    loop {
        match rustix::event::poll(&mut polled, Some(&limit)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The child's last marked line.
fn line(output: &mut File) -> Option<Verdict> {
    output.rewind().ok()?;
    let mut bytes = Vec::new();
    output.take(OUTPUT_MOST).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (_, json) = text.rsplit_once(MARK)?;
    serde_json::from_str(json.lines().next()?).ok()
}

/// The child's side of [`Probe`]: opens the library on standard input, starts it, and says what it found. `arguments`
/// are those that follow [`Probe::arguments`].
pub fn serve_probe(arguments: &[String]) -> ExitCode {
    let [symbol, sha256] = arguments else { return ExitCode::from(2) };
    // A library that goes wild shall neither fill the memory with output nor leave a core behind. Where a limit cannot
    // be set, the time limit still holds.
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let _ = rustix::process::setrlimit(Resource::Fsize, limit(OUTPUT_MOST));
    let _ = rustix::process::setrlimit(Resource::Core, limit(0));
    let verdict = match open(std::io::stdin(), symbol, sha256) {
        Ok(Library { name, version, .. }) => Verdict::Found(Found { name, version }),
        Err(problem) => Verdict::Refused(problem.to_string()),
    };
    let Ok(json) = serde_json::to_string(&verdict) else { return ExitCode::from(1) };
    let mut output = std::io::stdout().lock();
    if writeln!(output, "\n{MARK}{json}").and_then(|()| output.flush()).is_err() {
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}
