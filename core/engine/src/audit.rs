//! The generator's audit of itself: could it keep up?
//!
//! A load generator that is short of CPU or descriptors, or that stood still, measures itself and calls it the service. So
//! every live run measures what its generator added to what it shows, and past the limits below it is `untrusted`, with an
//! exit code of its own. The limits follow what is measured: a delay that is nothing beside a minute is much beside a
//! millisecond, and one that decides an objective is too much in any case.

use fleetstorm_model::objective::{Metric, Objective, Quantity, Timed};
use fleetstorm_reports::record::{Audit, Distribution, Machine};
use fleetstorm_units::time::Span;
use hdrhistogram::Histogram;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::record::{Delayed, Findings, Health, Phase};

/// A quantile that reports show, and when it says something about the generator.
struct Shown {
    name: &'static str,
    percentile: f64,
    /// Fewer samples are no evidence: the quantile is that of a few.
    samples_min: u64,
    /// A delay up to this one is what a machine that is fine does now and then.
    delay_max: Span,
    /// Likewise of a thread that is busy all the time, where the delay has a cause that stays.
    delay_busy_max: Span,
}

const SHOWN: [Shown; 4] = [
    Shown {
        name: "p50",
        percentile: 50.0,
        samples_min: 10,
        delay_max: Span::from_millis(10),
        delay_busy_max: Span::from_millis(1),
    },
    Shown {
        name: "p90",
        percentile: 90.0,
        samples_min: 50,
        delay_max: Span::from_millis(15),
        delay_busy_max: Span::from_millis(4),
    },
    Shown {
        name: "p99",
        percentile: 99.0,
        samples_min: 100,
        delay_max: Span::from_millis(15),
        delay_busy_max: Span::from_millis(10),
    },
    Shown {
        name: "p99.9",
        percentile: 99.9,
        samples_min: 2_000,
        delay_max: Span::from_millis(100),
        delay_busy_max: Span::from_millis(100),
    },
];
/// A delay up to this share of what would have been shown without it is not seen in a report.
const DELAY_SHARE_MAX: f64 = 0.15;
/// A thread that used more of its core was busy all the time.
const BUSY: f64 = 0.8;
/// Over this time and beyond, a thread that used more than this share of its core was the limit, whatever else is seen.
const BUSY_FOR: Span = Span::from_secs(5);
const BUSY_MAX: f64 = 0.95;
/// A generator that stood still for this long was stopped, or had no machine.
const STILL_MAX: Span = Span::from_millis(250);
/// A machine that was suspended for less was not: the two clocks are read one after the other.
const SUSPENDED_MAX: Span = Span::from_millis(50);
/// Devices that were due for this long when the run ended, and were not started, are missing in it.
const UNWOKEN_MAX: Span = Span::from_millis(100);
/// The load of a fleet whose devices were woken this late is another one than the scenario's, whatever was measured.
const LAG_MAX: Span = Span::from_millis(250);

/// What was measured of a run and its generator.
pub(crate) struct Measured<'a> {
    pub(crate) delayed: &'a [Delayed],
    pub(crate) objectives: &'a [Objective],
    pub(crate) lag: &'a Distribution,
    pub(crate) health: Health,
    pub(crate) suspended: Span,
    pub(crate) exhausted: u64,
}

/// Why a run cannot be trusted; nothing if it can.
pub(crate) fn untrusted(measured: &Measured<'_>) -> Vec<String> {
    let Measured { delayed, objectives, lag, health, suspended, exhausted } = *measured;
    let mut why = Vec::new();
    if health.still > STILL_MAX {
        let still = health.still;
        why.push(format!("the generator stood still for {still}: it was stopped, or had no processor"));
    }
    if suspended > SUSPENDED_MAX {
        why.push(format!("the machine was suspended for {suspended}"));
    }
    if health.unwoken > 0 && health.unwoken_longest > UNWOKEN_MAX {
        why.push(format!(
            "{} devices were never started though their time had come, one of them {} before the end",
            health.unwoken, health.unwoken_longest
        ));
    }
    why.extend(objectives.iter().filter_map(|objective| decides(objective, delayed)));
    let is_busy = health.busy > BUSY;
    why.extend(delayed.iter().filter_map(|delayed| shows(delayed, health, is_busy)));
    if health.busy > BUSY_MAX && health.seen >= BUSY_FOR {
        why.push(format!("a thread that drives devices used {:.0} % of its core", health.busy * 100.0));
    }
    let (what, late_us) =
        if lag.count >= 100 { ("99th percentile", lag.p99_us) } else { ("median", lag.p50_us) };
    let late = Span::from_micros(late_us);
    if late > LAG_MAX {
        why.push(format!(
            "devices were woken late: the {what} of the lag is {late}, and so the load was another one"
        ));
    }
    if exhausted > 0 {
        why.push(format!(
            "{exhausted} connections failed because this machine had no port or descriptor left"
        ));
    }
    why
}

/// What the generator added to the quantile of a phase: the quantile, and what it would be without.
fn at(delayed: &Delayed, percentile: f64) -> (Span, Span) {
    let of = |histogram: &Histogram<u64>| Span::from_micros(histogram.value_at_percentile(percentile));
    let shown = of(&delayed.times);
    (shown, of(&delayed.undelayed).min(shown))
}

/// Whether the generator's delay decides an objective on a percentile.
fn decides(objective: &Objective, delayed: &[Delayed]) -> Option<String> {
    let Metric::Percentile(percentile, Timed::Phase(phase)) = &objective.metric else { return None };
    let Quantity::Time(bound) = objective.bound else { return None };
    let (shown, without) = at(delayed.iter().find(|delayed| delayed.phase == *phase)?, *percentile);
    let holds = |value: Span| objective.comparison.holds(value.as_secs_f64(), bound.as_secs_f64());
    (holds(shown) != holds(without)).then(|| {
        format!("the generator's own delay decides {objective}: {shown} was seen, {without} of it without that delay")
    })
}

/// Whether reports show another time for a phase than they would without the generator's delay: the worst quantile.
fn shows(delayed: &Delayed, health: Health, is_busy: bool) -> Option<String> {
    // A handshake is work of the device itself, and the times of a connection's parts are in those of the connection.
    if !matches!(
        delayed.phase,
        Phase::Register
            | Phase::Poll
            | Phase::Lookup
            | Phase::TimeToAssigned
            | Phase::TimeToOnline
            | Phase::Reconnect
    ) {
        return None;
    }
    let count = delayed.times.len();
    SHOWN.iter().filter(|quantile| count >= quantile.samples_min).find_map(|quantile| {
        let (shown, without) = at(delayed, quantile.percentile);
        let delay = shown.saturating_sub(without);
        let limit = if is_busy { quantile.delay_busy_max } else { quantile.delay_max };
        let share = delay.as_secs_f64() / without.as_secs_f64().max(1e-6);
        (delay > limit && share > DELAY_SHARE_MAX).then(|| {
            let busy =
                if is_busy { format!(", and its thread used {:.0} % of a core", health.busy * 100.0) } else { String::new() };
            format!(
                "the generator's own delay is {delay} of the {} of {}: {shown}, and {without} without it{busy}",
                quantile.name,
                delayed.phase.name()
            )
        })
    })
}

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    rss_bytes: u64,
    descriptors: u64,
}

/// Samples the process once in a while.
#[derive(Debug)]
pub(crate) struct Auditor {
    most: Usage,
    suspended: Span,
}

impl Auditor {
    pub(crate) fn start() -> Self {
        Self { most: usage(), suspended: suspended() }
    }

    /// Takes a sample.
    pub(crate) fn sample(&mut self) {
        let now = usage();
        self.most.rss_bytes = self.most.rss_bytes.max(now.rss_bytes);
        self.most.descriptors = self.most.descriptors.max(now.descriptors);
    }

    /// Ends the audit of a run of so many shards.
    pub(crate) fn finish(mut self, findings: &Findings, objectives: &[Objective], shards: u32) -> Audit {
        self.sample();
        let health = findings.health;
        let suspended = suspended().saturating_sub(self.suspended);
        let measured = Measured {
            delayed: &findings.delayed,
            objectives,
            lag: &findings.send_lag,
            health,
            suspended,
            exhausted: findings.exhausted,
        };
        Audit {
            send_lag: findings.send_lag.clone(),
            cpu_share: health.busy,
            cpu_share_worst: health.busy_worst,
            cpu_s: health.cpu.as_secs_f64(),
            stood_still_ns: health.still.as_nanos(),
            suspended_ns: suspended.as_nanos(),
            never_started: health.unwoken,
            rss_max_bytes: self.most.rss_bytes,
            descriptors_max: self.most.descriptors,
            descriptors_limit: fleetstorm_net::limits::descriptor_limit(),
            exhausted: findings.exhausted,
            shards,
            untrusted: untrusted(&measured),
        }
    }
}

fn usage() -> Usage {
    Usage {
        rss_bytes: rss_bytes().unwrap_or(0),
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
    }
}

fn read(clock: ClockId) -> Span {
    let time = clock_gettime(clock);
    Span::from_nanos(
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// CPU time that this thread has used.
pub(crate) fn thread_time() -> Span {
    read(ClockId::ThreadCPUTime)
}

/// For how long this machine has been suspended since it started: one clock goes on meanwhile, the other does not.
fn suspended() -> Span {
    let awake = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(awake)
}

fn rss_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
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
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phase of these samples: what was seen, and how much of it was the generator's delay, in milliseconds.
    fn phase(phase: Phase, samples: &[(u64, u64)]) -> Delayed {
        let histogram = || Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        let mut delayed = Delayed { phase, times: histogram(), undelayed: histogram() };
        for (seen_ms, delay_ms) in samples {
            delayed.times.record(seen_ms * 1_000).unwrap();
            delayed.undelayed.record((seen_ms - delay_ms) * 1_000).unwrap();
        }
        delayed
    }

    fn judged(delayed: &[Delayed], objectives: &[&str], health: Health) -> Vec<String> {
        let objectives: Vec<Objective> = objectives.iter().map(|text| text.parse().unwrap()).collect();
        untrusted(&Measured {
            delayed,
            objectives: &objectives,
            lag: &Distribution::default(),
            health,
            suspended: Span::ZERO,
            exhausted: 0,
        })
    }

    const FINE: Health = Health {
        still: Span::from_millis(60),
        busy: 0.3,
        busy_worst: 0.9,
        seen: Span::from_secs(60),
        cpu: Span::from_secs(18),
        unwoken: 0,
        unwoken_longest: Span::ZERO,
    };

    /// 1,000 samples of 20 to 54 ms, of which so many were delayed by so much.
    fn requests(late: u64, delay_ms: u64) -> Vec<(u64, u64)> {
        let sample = |n: u64| {
            let own = 20 + n * 34 / 1_000;
            if n % 1_000 >= 1_000 - late { (own + delay_ms, delay_ms) } else { (own, 0) }
        };
        (0..1_000).map(sample).collect()
    }

    #[test]
    fn what_the_generator_adds_is_judged_beside_what_is_shown() {
        let shown = |samples: &[(u64, u64)], of: Phase| judged(&[phase(of, samples)], &[], FINE);
        let late = shown(&requests(20, 24), Phase::Register);
        assert!(late[0].contains("of the p99 of register: 77") && late[0].contains("without it"), "{late:?}");
        assert!(shown(&requests(5, 24), Phase::Register).is_empty(), "five of a thousand reach no p99");
        assert!(shown(&requests(500, 4), Phase::Register).is_empty(), "4 ms of 40 are what machines do");
        assert!(
            !shown(&requests(1_000, 12), Phase::Register).is_empty(),
            "but not 12 ms of 37 for every second one"
        );
        // The same delay of times that are a hundred times as long.
        let long: Vec<(u64, u64)> =
            requests(20, 24).iter().map(|(seen, late)| (seen + 5_000, *late)).collect();
        assert!(shown(&long, Phase::Register).is_empty());
        assert!(
            shown(&requests(20, 24)[900..], Phase::Connect).is_empty(),
            "a handshake is the device's own work"
        );
        let few: Vec<(u64, u64)> = vec![(90, 80); 9];
        assert!(shown(&few, Phase::Register).is_empty(), "nine samples have no p50 to speak of");
    }

    #[test]
    fn a_stop_of_one_second_in_two_minutes_is_seen_in_what_it_did() {
        // 2.2 % of the devices were on their way meanwhile: their 99th percentile was 1,105 ms.
        let own = |n: u64| 400 + n * 713 / 10_000;
        let stopped = |n: u64| if n.is_multiple_of(45) { (own(n) + 500, 500) } else { (own(n), 0) };
        let samples: Vec<(u64, u64)> = (0..10_000).map(stopped).collect();
        let found = judged(&[phase(Phase::TimeToAssigned, &samples)], &[], FINE);
        assert!(found.len() == 1 && found[0].contains("p99 of time-to-assigned"), "{found:?}");
    }

    #[test]
    fn a_delay_that_decides_an_objective_is_too_much_and_another_is_not() {
        // Two of a thousand were delayed by a stop of 0.2 s: nobody would see it but the one who asks for p99.9.
        let stop = phase(Phase::Register, &requests(2, 200));
        let judge = |objective: &str| judged(std::slice::from_ref(&stop), &[objective], FINE);
        assert!(judge("p99.9(register) < 200ms")[0].contains("decides p99.9(register) < 200"));
        assert!(judge("p99.9(register) < 300ms").is_empty(), "it holds, and would without the delay");
        assert!(judge("p99.9(register) < 40ms").is_empty(), "it would fail without the delay too");
        assert!(judge("p99(register) < 200ms").is_empty(), "it does not reach that percentile");
        assert!(judge("p99.9(poll) < 200ms").is_empty(), "nothing was measured");
    }

    #[test]
    fn a_thread_that_is_busy_is_judged_by_what_it_does_to_the_times() {
        let busy = Health { busy: 0.85, ..FINE };
        let mut samples = vec![(3, 2); 100];
        samples.extend([(9, 8); 10]);
        let inflated = [phase(Phase::Register, &samples)];
        assert!(judged(&inflated, &[], FINE).is_empty());
        let found = judged(&inflated, &[], busy);
        assert!(found[0].contains("p50 of register") && found[0].contains("85 % of a core"), "{found:?}");
        assert!(
            judged(&[phase(Phase::Register, &[(3, 0); 100])], &[], busy).is_empty(),
            "nobody was delayed"
        );
        assert!(judged(&[], &[], Health { busy: 0.97, ..FINE })[0].contains("97 % of its core"));
        assert!(judged(&[], &[], Health { busy: 0.97, seen: Span::from_secs(2), ..FINE }).is_empty());
    }

    #[test]
    fn a_generator_that_stood_still_or_never_started_devices_says_so() {
        let health = |change: fn(&mut Health)| {
            let mut health = FINE;
            change(&mut health);
            judged(&[], &[], health)
        };
        assert!(health(|_| {}).is_empty());
        assert!(health(|health| health.still = Span::from_millis(1_490))[0].contains("stood still for 1.4"));
        let unwoken = health(|health| (health.unwoken, health.unwoken_longest) = (12, Span::from_secs(2)));
        assert!(unwoken[0].contains("12 devices were never started"), "{unwoken:?}");
        assert!(
            health(|health| (health.unwoken, health.unwoken_longest) = (1, Span::from_millis(20))).is_empty()
        );
        let with = |suspended, exhausted, p99_us| {
            let lag = Distribution { count: 100, p99_us, ..Distribution::default() };
            untrusted(&Measured {
                delayed: &[],
                objectives: &[],
                lag: &lag,
                health: FINE,
                suspended,
                exhausted,
            })
        };
        assert!(with(Span::from_secs(30), 0, 0)[0].contains("suspended for 30"));
        assert!(with(Span::ZERO, 3, 0)[0].contains("3 connections failed"));
        assert!(with(Span::ZERO, 0, 400_000)[0].contains("lag is 400"));
        assert!(with(Span::from_millis(1), 0, 19_900).is_empty());
    }

    /// The percentile of some times by counting: the smallest that so many percent do not exceed.
    fn counted(times: impl Iterator<Item = u64>, percent: u64) -> u64 {
        let mut times: Vec<u64> = times.collect();
        times.sort_unstable();
        let rank = (times.len() as u64 * percent).div_ceil(100).max(1);
        times[rank as usize - 1]
    }

    proptest::proptest! {
        #[test]
        fn an_objective_is_undecided_where_sorted_samples_say_so(
            samples in proptest::collection::vec((1..400u64, 0..300u64), 1..300), bound in 1..700u64
        ) {
            let samples: Vec<(u64, u64)> = samples.into_iter().map(|(own, delay)| (own + delay, delay)).collect();
            let seen = counted(samples.iter().map(|(seen, _)| *seen), 90);
            let own = counted(samples.iter().map(|(seen, delay)| seen - delay), 90);
            // The histogram is exact to a thousandth.
            let far = |value: u64| value.abs_diff(bound) > 2;
            proptest::prop_assume!(far(seen) && far(own));
            let objective: Objective = format!("p90(register) < {bound}ms").parse().unwrap();
            let found = decides(&objective, &[phase(Phase::Register, &samples)]);
            proptest::prop_assert_eq!(found.is_some(), (seen < bound) != (own < bound));
        }

        #[test]
        fn a_run_that_nothing_delayed_is_trusted(
            samples in proptest::collection::vec(1..400_000u64, 1..300), bound in 1..700_000u64, busy in 0.0..0.95f64
        ) {
            let samples: Vec<(u64, u64)> = samples.into_iter().map(|own| (own, 0)).collect();
            let objective = format!("p99(register) < {bound}ms");
            let health = Health { busy, ..FINE };
            let found = judged(&[phase(Phase::Register, &samples)], &[&*objective], health);
            proptest::prop_assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn the_process_is_measured() {
        let used = usage();
        assert!(used.rss_bytes > 1 << 20 && used.descriptors > 2);
        let before = suspended();
        assert!(thread_time() > Span::ZERO && suspended().saturating_sub(before) < SUSPENDED_MAX);
        assert!(available_memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
