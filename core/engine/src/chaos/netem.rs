//! Faults of packets: the kernel's emulator (tc-netem(8)) in a network of the run's own.
//!
//! A network namespace without a name belongs to the threads and sockets in it. With the last of them the kernel takes
//! it down, and with it all that was done to its packets: however a run ends, killed or not, nothing is left to be
//! healed, and this machine's own network never had a part in it.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use fleetstorm_model::chaos::{PacketCounts, Packets, Timeline};
use fleetstorm_net::clock::Clock;
use fleetstorm_net::governor::{Brake, Halt};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::{Moment, Span};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};
use serde::Deserialize;

use crate::RunError;
use crate::plan::Plan;

/// How late a fault may begin or end.
const LOOK: Duration = Duration::from_millis(10);
/// How often the kernel's counts are read while a fault is on.
const READ: Span = Span::from_secs(1);
/// Packets that may be held back at a time. More would be lost, and be counted as a fault's.
const LIMIT: &str = "1000000";

/// Whether a plan has faults of packets.
pub(crate) fn is_wanted(plan: &Plan) -> bool {
    plan.chaos.as_ref().is_some_and(|timeline| timeline.packet_faults().next().is_some())
}

/// Virtual time has no kernel that could lose a packet.
pub(crate) fn refuse(plan: &Plan) -> Result<(), RunError> {
    let timeline = plan.chaos.as_ref();
    let Some(fault) = timeline.and_then(|timeline| timeline.packet_faults().next()) else { return Ok(()) };
    Err(RunError::Preflight(format!(
        "{} is done by this machine's kernel, which virtual time does without: use --clock wall, or take a fault of \
         net.*",
        fault.kind.name()
    )))
}

/// Asks the kernel for the right to a network of the run's own, which faults of packets need and root has unasked. It
/// changes the process: call it before there is a second thread.
///
/// # Errors
/// The kernel refuses.
pub fn claim_network(scenario: &Scenario) -> Result<(), RunError> {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    let wanted = scenario.chaos.iter().any(|file| file.fault.is_about_packets());
    if !wanted || capabilities(None).is_ok_and(|held| held.effective.contains(needed)) {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    // As user_namespaces(7) wants it: who gives groups up may name one.
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (file, text) in maps {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| no_network(&error))?;
    }
    Ok(())
}

fn unshare(what: UnshareFlags) -> Result<(), RunError> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe, for callers that give up the table of descriptors; these flags do not"
    )]
    rustix::thread::unshare(what).map_err(|error| no_network(&error.into()))
}

fn no_network(error: &std::io::Error) -> RunError {
    RunError::Preflight(format!(
        "faults of packets need a network of the run's own, and the kernel gives none ({error}): run as root, or let \
         users have namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns)"
    ))
}

fn no_tool(error: &ToolError) -> RunError {
    RunError::Preflight(format!("faults of packets need a network of the run's own: {error}"))
}

fn untold(error: &ToolError) -> String {
    format!("the kernel's netem cannot be told what to do: {error}")
}

/// The emulator at the one device of this thread's own network.
pub(crate) struct Netem {
    /// What it does.
    done: Packets,
    /// What it had counted when that was looked at last.
    counted: PacketCounts,
}

impl Netem {
    /// Puts this thread, and those that it will start, into a network of their own, with the emulator doing nothing yet.
    pub(crate) fn enter() -> Result<Self, RunError> {
        unshare(UnshareFlags::NEWNET)?;
        // The loopback device carries 64 KB at a time; on a path from afar a packet is an Ethernet frame.
        let up = ["link", "set", "dev", "lo", "mtu", "1500", "gso_max_segs", "1", "up"];
        tool("ip", &up).map_err(|error| no_tool(&error))?;
        let add = ["qdisc", "add", "dev", "lo", "root", "netem", "limit", LIMIT];
        tool("tc", &add).map_err(|error| match error {
            ToolError::Refused { .. } => RunError::Preflight(format!(
                "faults of packets need the kernel's netem: {error}; load it (modprobe sch_netem), take a kernel that \
                 has it (CONFIG_NET_SCH_NETEM), or take faults of net.*"
            )),
            error => no_tool(&error),
        })?;
        Ok(Self { done: Packets::default(), counted: PacketCounts::default() })
    }

    /// Does to packets what the timeline says of the first moment, so that it is not late.
    pub(crate) fn begin(&mut self, timeline: &Timeline) -> Result<(), RunError> {
        self.turn(timeline, timeline.packets(Moment::START), Moment::START)
            .map_err(|error| RunError::driver(untold(&error)))
    }

    /// Does to packets what the timeline says from then on, and counts what came of it, until `stopped` is hung up: then
    /// nothing. Breaks the run off if that becomes impossible.
    pub(crate) fn follow(mut self, timeline: &Timeline, clock: Clock, brake: &Brake, stopped: &Receiver<()>) {
        if let Err(error) = self.keep(timeline, clock, stopped) {
            brake.pull(Halt::Broken(untold(&error)));
        }
    }

    fn keep(&mut self, timeline: &Timeline, clock: Clock, stopped: &Receiver<()>) -> Result<(), ToolError> {
        let mut read = Moment::START;
        loop {
            let ended = stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected);
            let now = clock.now();
            let wanted = if ended { Packets::default() } else { timeline.packets(now) };
            let due = self.done != Packets::default() && now >= read + READ;
            if wanted != self.done || due {
                self.turn(timeline, wanted, now)?;
                read = now;
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Counts what came of what was done until now, and does something else.
    fn turn(&mut self, timeline: &Timeline, wanted: Packets, now: Moment) -> Result<(), ToolError> {
        if wanted != self.done {
            tool("tc", &arguments(&wanted))?;
        }
        let qdisc = Qdisc::read()?;
        let counts = self.since(qdisc.counts());
        timeline.count_packets(&self.done, now, counts);
        qdisc.options.must_be(&wanted)?;
        self.done = wanted;
        Ok(())
    }

    /// What was counted since the last time.
    fn since(&mut self, counts: PacketCounts) -> PacketCounts {
        let before = std::mem::replace(&mut self.counted, counts);
        PacketCounts {
            passed: counts.passed.saturating_sub(before.passed),
            lost: counts.lost.saturating_sub(before.lost),
            overtook: counts.overtook.saturating_sub(before.overtook),
        }
    }
}

/// What tc(8) is told. It keeps what it is not told about, so it is told everything. A packet that is on its way keeps
/// the delay that it was given, so a fault that ends loses nothing.
fn arguments(packets: &Packets) -> Vec<String> {
    let percent = |share: f64| format!("{}%", share * 100.0);
    let micros = |span: Span| format!("{}us", span.as_micros());
    let mut list: Vec<String> =
        ["qdisc", "change", "dev", "lo", "root", "netem", "limit", LIMIT].map(str::to_owned).into();
    list.extend(["delay".to_owned(), micros(packets.delay), micros(packets.jitter), "loss".to_owned()]);
    match packets.bursts() {
        // In a burst every packet is lost, and outside of one none.
        Some((begins, ends)) => {
            list.extend(["gemodel".to_owned(), percent(begins), percent(ends), percent(1.0), percent(0.0)]);
        }
        None => list.extend(["random".to_owned(), percent(packets.lost)]),
    }
    list.extend(["reorder".to_owned(), percent(packets.overtaking)]);
    list
}

/// What `tc -s -j qdisc show` tells.
#[derive(Deserialize)]
struct Qdisc {
    #[serde(default)]
    options: Options,
    packets: u64,
    drops: u64,
    /// netem counts there what it has put in front of the queue.
    requeues: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    delay: Option<Held>,
    #[serde(rename = "loss-random")]
    random: Option<Random>,
    #[serde(rename = "loss-gemodel")]
    bursts: Option<Bursts>,
    reorder: Option<Reordered>,
}

#[derive(Deserialize)]
struct Held {
    #[serde(rename = "delay")]
    secs: f64,
}

#[derive(Deserialize)]
struct Random {
    loss: f64,
}

#[derive(Deserialize)]
struct Bursts {
    #[serde(rename = "p")]
    begins: f64,
}

#[derive(Deserialize)]
struct Reordered {
    reorder: f64,
}

impl Qdisc {
    fn read() -> Result<Self, ToolError> {
        let told = tool("tc", &["-s", "-j", "qdisc", "show", "dev", "lo"])?;
        let unclear =
            |why: String| ToolError::Unclear { why, told: String::from_utf8_lossy(&told).into_owned() };
        let [qdisc] = serde_json::from_slice(&told).map_err(|error| unclear(error.to_string()))?;
        Ok(qdisc)
    }

    fn counts(&self) -> PacketCounts {
        PacketCounts { passed: self.packets, lost: self.drops, overtook: self.requeues }
    }
}

impl Options {
    /// Checks that the kernel does what it was told; after a fault's end, that it does nothing any more.
    fn must_be(&self, wanted: &Packets) -> Result<(), ToolError> {
        let (begins, lost) = match wanted.bursts() {
            Some((begins, _)) => (begins, 0.0),
            None => (0.0, wanted.lost),
        };
        let dials = [
            ("delay", self.delay.as_ref().map(|held| held.secs), wanted.delay.as_secs_f64()),
            ("loss", self.random.as_ref().map(|random| random.loss), lost),
            ("loss in bursts", self.bursts.as_ref().map(|bursts| bursts.begins), begins),
            ("reordering", self.reorder.as_ref().map(|reordered| reordered.reorder), wanted.overtaking),
        ];
        for (dial, is, should_be) in dials {
            let is = is.unwrap_or(0.0);
            // Microseconds, and shares of 2^32.
            if (is - should_be).abs() > 2e-6 {
                return Err(ToolError::Ignored { dial, is, should_be });
            }
        }
        Ok(())
    }
}

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    #[error("there is no `{0}`: install iproute2")]
    Missing(&'static str),
    #[error("`{0}` cannot be started: {1}")]
    Unstarted(&'static str, std::io::Error),
    #[error("`{command}` says: {complaint}")]
    Refused { command: String, complaint: String },
    #[error("`tc` answers what cannot be read ({why}): {told}")]
    Unclear { why: String, told: String },
    #[error("its {dial} is {is} and should be {should_be}")]
    Ignored { dial: &'static str, is: f64, should_be: f64 },
}

/// Runs one of iproute2's tools in this thread's network.
fn tool<S: AsRef<str>>(name: &'static str, arguments: &[S]) -> Result<Vec<u8>, ToolError> {
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    // Where users other than root do not look by default.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    // Ctrl-C goes to a whole group: it asks the run to end, and not a tool in the middle of its work.
    let done =
        Command::new(name).args(&arguments).env("PATH", path).process_group(0).output().map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                ToolError::Missing(name)
            } else {
                ToolError::Unstarted(name, error)
            }
        })?;
    tracing::debug!(name, ?arguments, status = %done.status, "ran a tool");
    if done.status.success() {
        return Ok(done.stdout);
    }
    let complaint = String::from_utf8_lossy(&done.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(ToolError::Refused { command: format!("{name} {}", arguments.join(" ")), complaint })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As iproute2 6.1 tells it, under Linux 6.1.
    fn told(options: &str) -> Options {
        let text = format!(
            r#"[{{"kind":"netem","handle":"8001:","root":true,"refcnt":2,"options":{{"limit":1000,{options}"ecn":false,
            "gap":0}},"bytes":980,"packets":10,"drops":3,"overlimits":0,"requeues":2,"backlog":0,"qlen":0}}]"#
        );
        let [qdisc]: [Qdisc; 1] = serde_json::from_str(&text).unwrap();
        assert_eq!(qdisc.counts(), PacketCounts { passed: 10, lost: 3, overtook: 2 });
        qdisc.options
    }

    const DELAY: &str = r#""delay":{"delay":0.02,"jitter":0.005,"correlation":0},"#;
    const LOSS: &str = r#""loss-random":{"loss":0.1,"correlation":0},"#;
    const BURSTS: &str = r#""loss-gemodel":{"p":0.0555556,"r":0.5,"1-h":1,"1-k":0},"#;
    const REORDER: &str = r#""reorder":{"reorder":0.25,"correlation":0},"#;

    fn dials(delay_ms: u64, lost: f64, burst: Option<f64>, overtaking: f64) -> Packets {
        let delay = Span::from_millis(delay_ms);
        Packets { delay, lost, burst, overtaking, ..Packets::default() }
    }

    #[test]
    fn the_kernel_is_told_everything_each_time() {
        let told = |packets: Packets| arguments(&packets)[8..].join(" ");
        assert_eq!(told(Packets::default()), "delay 0us 0us loss random 0% reorder 0%");
        let bursts = Packets { jitter: Span::from_micros(1_500), ..dials(20, 0.5, Some(4.0), 0.25) };
        assert_eq!(told(bursts), "delay 20000us 1500us loss gemodel 25% 25% 100% 0% reorder 25%");
        assert_eq!(told(dials(0, 0.02, None, 0.0)), "delay 0us 0us loss random 2% reorder 0%");
    }

    #[test]
    fn what_the_kernel_does_is_held_against_what_it_was_told() {
        told("").must_be(&Packets::default()).unwrap();
        told(DELAY).must_be(&dials(20, 0.0, None, 0.0)).unwrap();
        told(&[DELAY, LOSS, REORDER].concat()).must_be(&dials(20, 0.1, None, 0.25)).unwrap();
        told(BURSTS).must_be(&dials(0, 0.1, Some(2.0), 0.0)).unwrap();
        for (options, wanted) in [
            (DELAY, Packets::default()),
            ("", dials(20, 0.0, None, 0.0)),
            (LOSS, dials(0, 0.2, None, 0.0)),
            (BURSTS, dials(0, 0.1, None, 0.0)),
            (LOSS, dials(0, 0.1, Some(2.0), 0.0)),
            (REORDER, Packets::default()),
        ] {
            assert!(told(options).must_be(&wanted).is_err(), "{options} {wanted:?}");
        }
    }
}
