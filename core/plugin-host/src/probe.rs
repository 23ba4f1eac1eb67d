//! Trying a library in a process of its own.
//!
//! The program runs itself again with hidden arguments and the sealed library as standard input. The child says on a
//! pipe of its own that the library is open, and only then is it told a word that nobody could know before; its verdict
//! counts with this word and a good exit. So a library that prints, or ends the process with any code, is not believed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use aws_lc_rs::rand;
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use super::file::{Sealed, hex};
use super::library::Library;
use super::open::open;
use super::problem::{LoadError, Problem};
use super::ward::{Deed, Ward, end_with_parent, say};

/// What the child says once the library is open, or is refused.
const READY: &str = "ready";

/// Most bytes that a child may write to a file.
const OUTPUT_MOST: u64 = 16 << 20;

/// How to run this program as the child. It passes the arguments that follow `arguments` to [`serve_probe`].
#[derive(Clone, Debug)]
pub struct Probe {
    /// The program.
    pub program: PathBuf,
    /// The arguments that lead it to [`serve_probe`]; two pipes, the symbol and the hash follow them.
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

#[derive(Serialize, Deserialize)]
struct Answer {
    word: String,
    verdict: Verdict,
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
        let stdin = sealed.memory.try_clone().map_err(Problem::NoProbe)?;
        let (theirs, mut ours) = std::io::pipe().map_err(Problem::NoProbe)?;
        rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| Problem::NoProbe(error.into()))?;
        let mut ward = Ward::start(|place| {
            let mut command = Command::new(&self.program);
            command
                .args(&self.arguments)
                .arg(place)
                .arg(format!("/proc/self/fd/{}", theirs.as_raw_fd()))
                .args([&sealed.symbol(), sealed.sha256()])
                .stdin(Stdio::from(stdin))
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        })
        .map_err(Problem::NoProbe)?;
        drop(theirs);
        let mut next = || match ward.next(Some(self.limit)).map_err(Problem::NoProbe)? {
            Deed::Nothing => {
                Err(Problem::TimedOut(u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX)))
            }
            deed => Ok(deed),
        };
        let word = word().map_err(Problem::NoProbe)?;
        match next()? {
            Deed::Said(line) if line == READY => {}
            Deed::Ended(status) => return Err(crashed(status)),
            Deed::Said(_) | Deed::Nothing => return Err(Problem::Crashed("nonsense on the pipe".to_owned())),
        }
        // One that is gone by now is told by what comes next.
        let _ = ours.write_all(format!("{word}\n").as_bytes());
        let answer: Option<Answer> = match next()? {
            Deed::Said(line) => serde_json::from_str(&line).ok(),
            Deed::Ended(status) => return Err(crashed(status)),
            Deed::Nothing => None,
        };
        let answer = answer
            .filter(|answer| answer.word == word)
            .ok_or_else(|| Problem::Crashed("nonsense on the pipe".to_owned()))?;
        match next()? {
            Deed::Ended(status) if status.success() => {}
            Deed::Ended(status) => return Err(crashed(status)),
            _ => return Err(Problem::Crashed("nonsense on the pipe".to_owned())),
        }
        match answer.verdict {
            Verdict::Found(found) => Ok(found),
            Verdict::Refused(why) => Err(Problem::Refused(why)),
        }
    }
}

fn crashed(status: ExitStatus) -> Problem {
    use std::os::unix::process::ExitStatusExt as _;
    Problem::Crashed(match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("{status}, without an answer"),
    })
}

/// What nobody can know before it is said.
fn word() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| std::io::Error::other("the system has no random numbers"))?;
    Ok(hex(&bytes))
}

/// The child's side of [`Probe`]: opens the library on standard input, starts it, and says what it found. `arguments`
/// are those that follow [`Probe::arguments`].
pub fn serve_probe(arguments: &[String]) -> ExitCode {
    let [place, word, symbol, sha256] = arguments else { return ExitCode::from(2) };
    end_with_parent();
    // A library that goes wild shall neither fill the disk nor leave a core behind. Where a limit cannot be set, the
    // time limit still holds.
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let _ = rustix::process::setrlimit(Resource::Fsize, limit(OUTPUT_MOST));
    let _ = rustix::process::setrlimit(Resource::Core, limit(0));
    let verdict = match open(std::io::stdin(), symbol, sha256) {
        Ok(Library { name, version, .. }) => Verdict::Found(Found { name, version }),
        Err(problem) => Verdict::Refused(problem.to_string()),
    };
    let place = Path::new(place);
    let answered = say(place, READY).and_then(|()| {
        let mut told = String::new();
        BufReader::new(File::open(word)?).read_line(&mut told)?;
        let answer = Answer { word: told.trim_end().to_owned(), verdict };
        say(place, &serde_json::to_string(&answer)?)
    });
    if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
