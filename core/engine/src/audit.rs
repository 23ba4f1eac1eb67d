//! The generator's audit of itself: could it keep up?
//!
//! A load generator that is short of CPU or descriptors measures itself and calls it the service. So every live run
//! samples what it used, and past the limits below it is `untrusted`, with an exit code of its own.

use std::time::Duration;

use fleetstorm_reports::record::{Audit, Distribution, Machine};
use rustix::process::{Resource, getrlimit};

/// A run whose devices were woken later than this (99th percentile) is untrusted.
const LAG_MAX: Duration = Duration::from_millis(20);
/// Below this many samples the 99th percentile is the single latest one, which says nothing: the median is judged.
const LAG_SAMPLES_MIN: u64 = 100;
/// A run that used more than this share of its cores, over all of it, is untrusted.
const CPU_SHARE_MAX: f64 = 0.85;

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu: Duration,
    rss_bytes: u64,
    descriptors: u64,
}

/// Samples the process once a second.
#[derive(Debug)]
pub(crate) struct Auditor {
    first: Usage,
    last: Usage,
    last_at: Duration,
    cores: u32,
    cpu_share_worst: f64,
    rss_max_bytes: u64,
    descriptors_max: u64,
}

impl Auditor {
    /// Starts an audit of a run on `cores` cores, which are those of the devices and of an embedded mock.
    pub(crate) fn start(cores: u32) -> Self {
        let first = usage();
        Self {
            first,
            last: first,
            last_at: Duration::ZERO,
            cores: cores.max(1),
            cpu_share_worst: 0.0,
            rss_max_bytes: first.rss_bytes,
            descriptors_max: first.descriptors,
        }
    }

    /// Takes a sample, `at` after the start.
    pub(crate) fn sample(&mut self, at: Duration) {
        let now = usage();
        let passed = at.saturating_sub(self.last_at);
        // A shorter stretch would be noise: the kernel counts CPU time in ticks.
        if passed >= Duration::from_millis(500) {
            let share = (now.cpu.saturating_sub(self.last.cpu)).as_secs_f64() / passed.as_secs_f64();
            self.cpu_share_worst = self.cpu_share_worst.max(share / f64::from(self.cores));
            self.last = now;
            self.last_at = at;
        }
        self.rss_max_bytes = self.rss_max_bytes.max(now.rss_bytes);
        self.descriptors_max = self.descriptors_max.max(now.descriptors);
    }

    /// Ends the audit, `at` after the start.
    pub(crate) fn finish(
        mut self,
        at: Duration,
        send_lag: Distribution,
        exhausted: u64,
        shards: u32,
    ) -> Audit {
        self.sample(at);
        let cpu = self.last.cpu.max(usage().cpu).saturating_sub(self.first.cpu);
        let cpu_share =
            if at.is_zero() { 0.0 } else { cpu.as_secs_f64() / at.as_secs_f64() / f64::from(self.cores) };
        let mut untrusted = Vec::new();
        let (what, lag_us) = match send_lag.count {
            LAG_SAMPLES_MIN.. => ("99th percentile", send_lag.p99_us),
            _ => ("median", send_lag.p50_us),
        };
        let lag = Duration::from_micros(lag_us);
        if lag > LAG_MAX {
            untrusted.push(format!(
                "devices were woken late: the {what} of the lag is {:.1} ms, the limit {} ms",
                lag.as_secs_f64() * 1e3,
                LAG_MAX.as_millis()
            ));
        }
        // Short runs are mostly start-up, which may use every core and delay nobody.
        if cpu_share > CPU_SHARE_MAX && at >= Duration::from_secs(5) {
            untrusted.push(format!(
                "the generator used {:.0} % of its {} cores, the limit is {:.0} %",
                cpu_share * 100.0,
                self.cores,
                CPU_SHARE_MAX * 100.0
            ));
        }
        if exhausted > 0 {
            untrusted.push(format!(
                "{exhausted} connections failed because this machine had no port or descriptor left"
            ));
        }
        Audit {
            send_lag,
            cpu_share,
            cpu_share_worst: self.cpu_share_worst,
            cpu_s: cpu.as_secs_f64(),
            rss_max_bytes: self.rss_max_bytes,
            descriptors_max: self.descriptors_max,
            descriptors_limit: descriptor_limit(),
            exhausted,
            shards,
            untrusted,
        }
    }
}

fn usage() -> Usage {
    Usage {
        cpu: cpu_time(),
        rss_bytes: rss_bytes().unwrap_or(0),
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn rss_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The soft limit of open descriptors.
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit of open descriptors to the hard one, and returns it.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is refused here shows in the limit that is returned.
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    descriptor_limit()
}

/// Ports that connections to one destination from one address may use; `None` where the system does not say.
pub(crate) fn ephemeral_ports() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut bounds = text.split_ascii_whitespace().map(str::parse::<u64>);
    match (bounds.next()?.ok()?, bounds.next()?.ok()?) {
        (first, last) if last >= first => Some(last - first + 1),
        _ => None,
    }
}

/// Memory that can still be used, in bytes; `None` where the system does not say.
pub(crate) fn available_memory_bytes() -> Option<u64> {
    [memory_field("/proc/meminfo", "MemAvailable:"), left_to_container(), left_to_process()]
        .into_iter()
        .flatten()
        .min()
}

/// What the limit of this process's address space leaves.
fn left_to_process() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    Some(limit.saturating_sub(memory_field("/proc/self/status", "VmSize:")?))
}

/// What a container's limit leaves (control groups, version 2). Cached files give way to what is needed.
fn left_to_container() -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat")?;
    let cached: u64 = stat.lines().find_map(|line| line.strip_prefix("file "))?.trim().parse().ok()?;
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

fn memory_field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The machine, for the record.
pub(crate) fn machine(started_unix_ns: u64) -> Machine {
    let started = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(started_unix_ns))
        .ok()
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    Machine {
        started_utc: started.unwrap_or_default(),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpus: cpus(),
        memory_bytes: memory_field("/proc/meminfo", "MemTotal:").unwrap_or(0),
    }
}

/// Logical processors that this process may use.
pub(crate) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untrusted(lag: Distribution, exhausted: u64) -> Vec<String> {
        // An audit of a second in which this test has hardly used a core.
        Auditor::start(1_000).finish(Duration::from_secs(1), lag, exhausted, 1).untrusted
    }

    #[test]
    fn a_generator_that_was_late_or_short_of_ports_says_so() {
        let lag = |count, p50_us, p99_us| Distribution { count, p50_us, p99_us, ..Distribution::default() };
        assert!(untrusted(lag(1_000, 100, 20_000), 0).is_empty());
        assert!(untrusted(lag(1_000, 100, 20_100), 0)[0].contains("99th percentile of the lag is 20.1 ms"));
        assert!(untrusted(lag(5, 100, 90_000), 0).is_empty(), "one late device of five is no verdict");
        assert!(untrusted(lag(5, 30_000, 90_000), 0)[0].contains("median"));
        assert!(untrusted(lag(5, 100, 100), 3)[0].contains("3 connections failed"));
    }

    #[test]
    fn the_process_is_measured() {
        let used = usage();
        assert!(used.rss_bytes > 1 << 20 && used.descriptors > 2);
        assert!(available_memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(ephemeral_ports().is_some_and(|ports| ports > 1_000));
    }
}
