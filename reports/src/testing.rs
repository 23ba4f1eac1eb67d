//! A record for tests: a cold start against a quota, with every section's data and fixed numbers.

use hdrhistogram::Histogram;

use crate::Record;
use crate::record::*;
use crate::sentence;

/// 1,000 devices; all but 3 assigned within two minutes; a third of the requests throttled; one objective of three
/// failed.
pub(crate) fn record() -> Record {
    let mut record = Record::empty();
    record.tool = "fleetstorm 0.1.0".into();
    record.name = "cold start".into();
    record.question = "When is everybody online after a power cut?".into();
    record.seed = 7;
    record.target.address = "127.0.0.1:8443".into();
    record.target.id_scope = "0ne00F1EE75".into();
    record.target.throttle = Some("dps-doc".into());
    record.scenario = "name = \"cold start\"\nseed = 7\n\n[fleet]\ndevices = 1000\n".into();
    record.plugins = vec![Plugin {
        kind: "retry".into(),
        id: "full-jitter".into(),
        version: "0.1.0".into(),
        sha256: None,
    }];
    record.end = End::Horizon;
    record.duration_ns = 120_000_000_000;
    record.devices = 1_000;
    fill_counts(&mut record);
    record.phases = vec![
        phase("register", "ok", 997, 1_200),
        phase("register", "throttled", 503, 900),
        phase("time-to-assigned", "ok", 997, 40_000_000),
    ];
    record.codes = codes();
    record.flow = flow();
    over_time(&mut record);
    record.practice = Practice { watched: 1_000, checks: checks() };
    record.objectives = objectives();
    record.audit = Some(audit());
    record.machine = Some(Machine {
        started_utc: "2026-01-01T00:00:00Z".into(),
        os: "linux x86_64".into(),
        cpus: 8,
        memory_bytes: 16 << 30,
    });
    record.verdict = Verdict { result: VerdictResult::Failed, sentence: String::new(), exit_code: 10 };
    record.verdict.sentence = sentence(&record);
    record
}

fn fill_counts(record: &mut Record) {
    record.totals = Totals {
        devices: 1_000,
        booted: 1_000,
        assigned: 997,
        stopped: 2,
        connections: 1_311,
        requests: 2_502,
        registers: 1_503,
        billable: 1_502,
        throttled: 503,
        failed: 4,
        ..Totals::default()
    };
    record.totals.hubs = [("hub-1".into(), 500), ("hub-2".into(), 497)].into();
    record.totals.stopped_by = [("unauthorized".into(), 2)].into();
    record.completion = Completion {
        t50_ns: Some(20_500_000_000),
        t90_ns: Some(78_000_000_000),
        t99_ns: Some(101_250_000_000),
        ..Completion::default()
    };
    let mut totals = record.totals.clone();
    totals.hubs.clear();
    record.cohorts = vec![Cohort {
        name: "sensors".into(),
        attestation: "x509".into(),
        retry: "full-jitter (base_ms = 500)".into(),
        transport: "https".into(),
        totals,
        completion: record.completion.clone(),
        assigned: Vec::new(),
    }];
    let second = |from: u32| {
        (0..120u32).map(move |second| if second < 5 { from * 10 } else { from * (120 - second) / 60 })
    };
    record.series = Series {
        step_s: 1,
        intended: second(11).collect(),
        sent: second(10).collect(),
        accepted: second(6).collect(),
        throttled: second(4).collect(),
        failed: (0..120).map(|second| u32::from(second % 30 == 29)).collect(),
        // 120 and 114 at first, then 7 a second until 997 have it.
        assigned: (0..120u32)
            .map(|second| {
                if second < 2 {
                    120 - 6 * second
                } else if second < 111 {
                    7
                } else {
                    0
                }
            })
            .collect(),
        in_flight: (0..120u32).map(|second| 880 - second * 7).collect(),
        registers: second(7).collect(),
        first: second(3).collect(),
        booted: (0..120u32).map(|second| if second < 20 { 50 } else { 0 }).collect(),
    };
    record.attempts = [(2, 610), (3, 240), (4, 120), (9, 27)].into();
    record.retry_after = RetryAfterUse { given: 503, honoured: 480, violated: 23 };
    record.bound = Some(Bound {
        rate_per_s: 10.0,
        burst: 200.0,
        window_s: 0.0,
        what: "registration quota: 600 a minute, 200 at once".into(),
    });
}

/// Latency over time, the ways of four devices and a herd.
fn over_time(record: &mut Record) {
    record.window_ns = 5_000_000_000;
    let heat = |phase: &str, slowest_us: u64| Heat {
        phase: phase.into(),
        edges_us: vec![slowest_us / 4, slowest_us / 3, slowest_us / 2, slowest_us],
        rows: (1..=3u32).map(|row| (0..24).map(|window| (24 - window) * 9 / (row * row)).collect()).collect(),
    };
    record.heat = vec![heat("register", 2_400), heat("time-to-assigned", 80_000_000)];
    let journey = |quantile: &str, device: u32, total_s: u64| Journey {
        quantile: quantile.into(),
        device,
        name: format!("dev-{device:06}"),
        attempts: 2 + device / 100,
        total_ns: total_s * 1_000_000_000,
        connect_ns: 90_000_000,
        tls_ns: 60_000_000,
        register_ns: 40_000_000,
        poll_ns: 10_000_000,
        polling_ns: 3_000_000_000,
        back_off_ns: (total_s - 4) * 1_000_000_000,
        lag_ns: 5_000_000,
        admission_ns: 795_000_000,
    };
    record.journeys = vec![
        journey("p50", 17, 20),
        journey("p90", 170, 78),
        journey("p99", 512, 101),
        journey("p99.9", 9, 118),
    ];
    record.totals.back_offs = 505;
    record.totals.backed_off_ns = 21_000_000_000_000;
    record.herd = HerdIndex {
        retries: 506,
        synchrony: Some(0.42),
        period_s: 30,
        fullest_share: Some(0.061),
        fullest_ns: 31_200_000_000,
        folded: (0..60).map(|part| if part < 6 { 60 - part * 9 } else { 4 }).collect(),
    };
}

fn checks() -> Vec<Check> {
    let case = |device: u32, at_ns, what: &str| {
        Some(Case { device, name: format!("dev-{device:06}"), at_ns, what: what.into() })
    };
    let check = |id: &str, title: &str, status, exercised, broken, evidence: &str| Check {
        id: id.into(),
        title: title.into(),
        status,
        exercised,
        broken,
        devices: broken / 2,
        evidence: evidence.into(),
        advice: "Wait at least as long as the service says, then add jitter on top.".into(),
        first: None,
        worst: None,
    };
    let mut broken = check(
        "retry-after-floor",
        "Retry-After is never undercut",
        CheckStatus::Failed,
        503,
        23,
        "broken on 23 of 503 occasions, by 11 devices",
    );
    broken.first = case(7, 9_500_000_000, "came back 800ms before the time that Retry-After named");
    broken.worst = case(512, 40_000_000_000, "came back 4s before the time that Retry-After named");
    vec![
        check("poll-pace", "A device polls at most 5 times in 10 s", CheckStatus::Passed, 998, 0, "kept"),
        broken,
        check(
            "unknown-outcome",
            "A lost answer ends in one assignment",
            CheckStatus::NotExercised,
            0,
            0,
            "–",
        ),
        check("no-herd", "Retries do not come in waves", CheckStatus::Unknown, 506, 1, "Rayleigh R 0.42"),
    ]
}

/// A histogram of `samples` times that grow evenly to twice `middle_us`, and of half of each as service times.
fn phase(name: &str, outcome: &str, samples: u64, middle_us: u64) -> Phase {
    let distribution = |divisor: u64| {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        for sample in 1..=samples {
            histogram.record((sample * 2 * middle_us / samples / divisor).max(1)).unwrap();
        }
        Distribution::from_histogram(&histogram)
    };
    Phase { phase: name.into(), outcome: outcome.into(), intended: distribution(1), service: distribution(2) }
}

fn codes() -> Vec<Code> {
    let code = |operation: &str, status, code, fault: &str, count| Code {
        operation: operation.into(),
        status,
        code,
        fault: fault.into(),
        count,
        devices: count.min(997),
        first_ns: 1_500_000,
        last_ns: 90_000_000_000,
        windows: (0..24).map(|window| count as u32 * (24 - window) / 300).collect(),
        causes: Vec::new(),
    };
    vec![
        code("connect", 0, 0, "connect-timeout", 2),
        code("poll", 200, 0, "", 998),
        code("register", 202, 0, "", 997),
        code("register", 401, 401_000, "", 2),
        code("register", 429, 429_001, "", 503),
    ]
}

fn flow() -> Vec<Passage> {
    let way =
        |from: &str, to: &str, times, devices| Passage { from: from.into(), to: to.into(), times, devices };
    vec![
        way("connect", "failed", 2, 2),
        way("register", "assigning", 997, 997),
        way("register", "throttled", 503, 312),
        way("register", "failed", 2, 1),
        way("lookup", "assigned", 1, 1),
        way("poll", "assigning", 3, 3),
        way("poll", "assigned", 996, 996),
        way("failure", "back-off", 505, 313),
        way("failure", "stopped", 2, 2),
    ]
}

fn objectives() -> Vec<Objective> {
    let objective = |expression: &str, status, observed: &str, margin, note: &str| Objective {
        expression: expression.into(),
        status,
        observed: observed.into(),
        value: Some(0.0),
        bound: 1.0,
        margin,
        note: note.into(),
        worst: None,
    };
    vec![
        objective(
            "assigned >= 99.9% within 2m",
            ObjectiveStatus::Failed,
            "99.7 %",
            Some(-0.002),
            "3 devices have no hub",
        ),
        objective("p99(register) < 2s", ObjectiveStatus::Passed, "2.38ms", Some(0.998_8), ""),
        objective("count(500) == 0", ObjectiveStatus::Passed, "0", None, ""),
    ]
}

fn audit() -> Audit {
    Audit {
        send_lag: phase("lag", "ok", 2_000, 300).intended,
        cpu_share: 0.12,
        cpu_share_worst: 0.34,
        cpu_s: 3.3,
        rss_max_bytes: 112 << 20,
        descriptors_max: 1_020,
        descriptors_limit: 20_000,
        exhausted: 0,
        shards: 7,
        ..Audit::default()
    }
}
