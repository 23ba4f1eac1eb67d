//! Simulated runs against closed forms, and against the same runs as real bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fleetstorm_engine::{Control, Plan, RunError, virtual_time, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Clock, End, VerdictResult};
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

/// No way takes more than a millisecond, so that closed forms hold to the millisecond.
const FAST: &str = "[network]\nconnect = { kind = \"constant\", delay = \"1ms\" }\nhop = { kind = \"constant\", \
                    delay = \"500us\" }\nservice = { kind = \"constant\", delay = \"0s\" }\n";

fn plan(text: &str) -> Plan {
    let scenario = Scenario::read(text, "test.toml", &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let registry = Registry::new(&[
        &fleetstorm_plugin_retry::ENTRY,
        &fleetstorm_plugin_symmetric_key::ENTRY,
        &fleetstorm_plugin_x509::ENTRY,
    ]);
    Plan::new(scenario, &registry, Calendar::VIRTUAL).expect("the plan is sound")
}

fn simulated(text: &str) -> Record {
    virtual_time::run(plan(text), &Control::default()).expect("the run ends")
}

fn secs(ns: Option<u64>) -> f64 {
    ns.map_or(f64::INFINITY, |ns| ns as f64 / 1e9)
}

#[test]
fn the_same_seed_leaves_the_same_bytes() {
    let text = "horizon = \"1h\"\n[fleet]\ndevices = 3000\n[[cohort]]\nname = \"a\"\n[[cohort]]\nname = \"b\"\nretry = \
         \"decorrelated\"\n[mock.throttle]\nrate = \"600/min\"\nburst = 50\n";
    let json = |record: &Record| serde_json::to_string(record).expect("a record is JSON");
    let first = simulated(text);
    assert_eq!(json(&first), json(&simulated(text)));
    assert_eq!((first.clock, first.totals.assigned, &first.end), (Clock::Virtual, 3_000, &End::Settled));
    let other = simulated(&format!("seed = 2\n{text}"));
    assert_ne!(first.totals.requests, other.totals.requests);
}

/// The last device of an ideal drain is through at `(N - burst) / rate`. A fleet that comes back exactly when the
/// service says approaches it from above.
#[test]
fn no_fleet_beats_the_ideal_drain_and_a_slotted_one_meets_it() {
    let (devices, rate_per_s, burst) = (1_000.0, 10.0, 100.0);
    let ideal_s = (devices - burst) / rate_per_s;
    let text = |arrival: &str, retry: &str| {
        format!(
            "horizon = \"1h\"\n[fleet]\ndevices = {devices}\narrival = {{ {arrival} }}\n[[cohort]]\nretry = {retry}\n\
             [mock]\nassignment = {{ kind = \"constant\", delay = \"0s\" }}\nretry_after_s = -1\n[mock.throttle]\n\
             rate = \"{rate_per_s}/s\"\nburst = {burst}\n{FAST}"
        )
    };
    // A poll follows the registration after 2 to 3 s.
    let storm = simulated(&text("kind = \"all-at-once\"", "\"full-jitter\""));
    let took_s = secs(storm.completion.t100_ns);
    assert!(took_s >= ideal_s + 2.0, "nobody is faster than the quota: {took_s}");
    assert_eq!(storm.totals.assigned, 1_000);

    let slotted = simulated(&text(&format!("kind = \"constant\", rate = \"{rate_per_s}/s\""), "\"none\""));
    let took_s = secs(slotted.completion.t100_ns);
    let last_boot_s = (devices - 1.0) / rate_per_s;
    assert!((last_boot_s + 2.0..last_boot_s + 3.1).contains(&took_s), "{took_s}");
    assert_eq!(slotted.totals.throttled, 0);
}

#[test]
fn slots_below_the_quota_make_one_attempt_a_device() {
    let record = simulated(
        "horizon = \"2h\"\n[fleet]\ndevices = 20000\narrival = { kind = \"constant\", rate = \"900/min\" }\n\
         [mock.throttle]\nprofile = \"dps-smooth\"\n",
    );
    assert_eq!((record.totals.throttled, record.totals.registers), (0, 20_000));
    assert_eq!((record.totals.assigned, record.totals.billable), (20_000, 20_000));
}

/// A throttle of rate q in which a reject costs rho locks up once rejects pass q / rho, if they come evenly: 400
/// devices that knock every 4 s make 100 rejects a second against 10 / 0.2 = 50.
#[test]
fn a_fleet_that_hammers_a_penalising_throttle_locks_it_up() {
    let text = |every_ms: u32| {
        format!(
            "horizon = \"20m\"\n[fleet]\ndevices = 400\narrival = {{ kind = \"all-at-once\", spread = \"{every_ms}ms\" }}\n\
             [[cohort]]\nretry = {{ kind = \"fixed\", base_ms = {every_ms}, retry_after = \"ignore\" }}\n\
             [mock.throttle]\nprofile = \"dps-penalising\"\nrate = \"10/s\"\nburst = 10\nrho = 0.2\n{FAST}"
        )
    };
    let patient = simulated(&text(40_000));
    assert_eq!(patient.totals.assigned, 400, "400 in 40 s are 10 a second");
    let hammering = simulated(&text(4_000));
    assert_eq!(hammering.end, End::Horizon);
    assert!(hammering.totals.assigned < 40, "{} got in with the burst", hammering.totals.assigned);
}

/// The wired run spells every byte and takes 1 ms a request and 1 ms to connect; the simulation is given the same.
/// Slots below the quota leave no room for order to matter, so all counts are equal.
#[test]
fn a_simulation_counts_what_real_bytes_count() {
    let network = "[network]\nconnect = { kind = \"constant\", delay = \"1ms\" }\nhop = { kind = \"constant\", delay \
                   = \"0s\" }\nservice = { kind = \"constant\", delay = \"1ms\" }\n";
    for (arrival, attestation) in [
        ("kind = \"constant\", rate = \"10/s\"", "symmetric-key"),
        ("kind = \"constant\", rate = \"10/s\"", "x509"),
    ] {
        let text = format!(
            "horizon = \"1h\"\n[fleet]\ndevices = 300\narrival = {{ {arrival} }}\n[[cohort]]\nname = \"known\"\nshare = 4\n\
             attestation = \"{attestation}\"\n[[cohort]]\nname = \"stranger\"\nattestation = \"{attestation}\"\nenrolled \
             = false\n[[cohort]]\nname = \"behind\"\nclock_offset = \"-2h\"\nattestation = \"{attestation}\"\n{network}"
        );
        let (simulated, wired) =
            (simulated(&text), wired::run(plan(&text), &Control::default()).expect("the run ends"));
        assert_eq!(simulated.totals, wired.totals, "{attestation}");
        let counts = |record: &Record| -> Vec<_> {
            let count = |code: &fleetstorm_reports::record::Code| {
                (code.operation.clone(), code.status, code.code, code.count, code.devices)
            };
            record.codes.iter().map(count).collect()
        };
        assert_eq!(counts(&simulated), counts(&wired), "{attestation}");
        let metrics = |record: &Record| -> Vec<_> {
            let total = |one: &fleetstorm_reports::record::MetricSeries| {
                (one.metric.clone(), one.hub.clone(), one.status.clone(), one.total)
            };
            record.metrics.iter().map(total).collect()
        };
        assert!(!simulated.metrics.is_empty());
        assert_eq!(metrics(&simulated), metrics(&wired), "{attestation}");
        assert!((secs(simulated.completion.t50_ns) - secs(wired.completion.t50_ns)).abs() < 0.1);
    }
}

/// Under a storm the two meet the throttle in another order, because pipes take their millisecond before the
/// service and the simulation half a hop: counts agree to a few percent, not exactly.
#[test]
fn a_simulated_storm_is_like_one_of_real_bytes() {
    let text = format!(
        "horizon = \"1h\"\n[fleet]\ndevices = 400\n[mock.throttle]\nrate = \"240/min\"\nburst = 20\n{FAST}"
    );
    let (simulated, wired) =
        (simulated(&text), wired::run(plan(&text), &Control::default()).expect("the run ends"));
    assert_eq!((simulated.totals.assigned, wired.totals.assigned), (400, 400));
    let close = |name: &str, a: f64, b: f64| assert!((a / b - 1.0).abs() < 0.05, "{name}: {a} and {b}");
    close("requests", simulated.totals.requests as f64, wired.totals.requests as f64);
    close("T50", secs(simulated.completion.t50_ns), secs(wired.completion.t50_ns));
    close("T99", secs(simulated.completion.t99_ns), secs(wired.completion.t99_ns));
}

/// A fleet that waits 30 s give or take a tenth draws little chance many times: what its draws have in common shows in
/// the last devices. So the same fleet is computed another way, with another generator: only a heap and a bucket.
#[test]
fn a_fleet_with_small_jitter_drains_as_by_an_independent_simulation() {
    const DEVICES: usize = 10_000;
    const PER_MINUTE: f64 = 1_000.0;
    const BURST: f64 = 17.0;

    // PCG-XSH-RR 64/32 (O'Neill, 2014).
    let mut state = 0x853c_49e6_748f_ea9b_u64;
    let mut fraction = move || {
        let old = state;
        state = old.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0xda3e_39cb_94b9_5bdb);
        let bits = ((((old >> 18) ^ old) >> 27) as u32).rotate_right((old >> 59) as u32);
        f64::from(bits) / 2f64.powi(32)
    };
    // Nanoseconds, because a heap wants an order.
    let ns = |s: f64| (s * 1e9) as u64;
    let mut heap: BinaryHeap<_> = (0..DEVICES).map(|_| Reverse(0)).collect();
    let (mut tokens, mut filled_ns, mut requests) = (BURST, 0, 0);
    let mut assigned_s = Vec::new();
    while let Some(Reverse(now_ns)) = heap.pop() {
        requests += 1;
        tokens = BURST.min(tokens + (now_ns - filled_ns) as f64 / 1e9 * PER_MINUTE / 60.0);
        filled_ns = now_ns;
        if tokens >= 1.0 {
            tokens -= 1.0;
            // The poll that tells of the assignment comes after 2 to 3 s.
            assigned_s.push(now_ns as f64 / 1e9 + 2.0 + fraction());
        } else {
            heap.push(Reverse(now_ns + ns(30.0 * (0.9 + 0.2 * fraction()))));
        }
    }
    assigned_s.sort_unstable_by(f64::total_cmp);
    let expected = |share: f64| assigned_s[(share * DEVICES as f64) as usize - 1];

    let record = simulated(&format!(
        "horizon = \"2h\"\n[fleet]\ndevices = {DEVICES}\n\
         [[cohort]]\nretry = {{ kind = \"fixed\", base_ms = 30000, jitter = 0.1 }}\n[mock]\nassignment = {{ kind = \
         \"constant\", delay = \"0s\" }}\nretry_after_s = -1\n[mock.throttle]\nrate = \"{PER_MINUTE}/min\"\nburst = \
         {BURST}\n{FAST}"
    ));
    // What the seeds of the one and of the other are apart from each other, and as much again.
    let close = |name: &str, found: f64, expected: f64, within: f64| {
        let off = (found / expected - 1.0).abs();
        assert!(off < within, "{name}: {found}, independently {expected}");
    };
    close("T50", secs(record.completion.t50_ns), expected(0.5), 0.01);
    close("T90", secs(record.completion.t90_ns), expected(0.9), 0.05);
    close("T99", secs(record.completion.t99_ns), expected(0.99), 0.015);
    close("registrations", record.totals.registers as f64, f64::from(requests), 0.015);
}

#[test]
fn a_service_that_takes_longer_than_a_device_waits_is_a_time_out() {
    let record = simulated(
        "horizon = \"2m\"\n[fleet]\ndevices = 20\n[[cohort]]\nrequest_timeout = \"1s\"\nretry = \"none\"\n[network]\n\
         hop = { kind = \"constant\", delay = \"3s\" }\n",
    );
    assert_eq!((record.totals.assigned, record.totals.stopped), (0, 20));
    let faults: Vec<_> = record.codes.iter().map(|code| (&*code.fault, code.count)).collect();
    assert_eq!(faults, [("timeout", 20)]);
}

#[test]
fn time_that_stands_still_is_told_with_the_strategy() {
    let still = "connect = { kind = \"constant\", delay = \"0s\" }\nhop = { kind = \"constant\", delay = \"0s\" }\n\
                 service = { kind = \"constant\", delay = \"0s\" }\n";
    let text = format!(
        "[fleet]\ndevices = 10\n[[cohort]]\nretry = \"immediate\"\n[mock.throttle]\nrate = \"0/s\"\nburst = 1\n[network]\n{still}"
    );
    let error = virtual_time::run(plan(&text), &Control::default()).expect_err("time stands still");
    assert!(matches!(&error, RunError::Livelock { strategy, .. } if strategy == "immediate"), "{error}");
}

/// Neither clock has a network to ask a webhook, and both say so to the device.
#[test]
fn a_webhook_that_cannot_be_asked_fails_the_registration() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    std::fs::write(&file, "AAECAwQFBgcICQoLDA0ODw==").expect("a file");
    let key = format!("{{ file = {file:?} }}");
    let text = format!(
        "horizon = \"10m\"\n[fleet]\ndevices = 20\n[target]\ngroup_key = {key}\n[[cohort]]\nretry = \"none\"\n\
         [[mock.enrollment_group]]\nid = \"fleet\"\nprimary_key = {key}\nallocation = \"custom\"\nwebhook_url = \
         \"https://localhost/hook\"\n"
    );
    let failed = |record: &Record| -> u64 {
        let attempts = record.metrics.iter().filter(|one| one.metric == "RegistrationAttempts");
        attempts.filter(|one| one.status == "failed").map(|one| one.total).sum()
    };
    let wired = wired::run(plan(&text), &Control::default()).expect("the run ends");
    for record in [simulated(&text), wired] {
        assert_eq!((record.totals.assigned, record.totals.stopped, failed(&record)), (0, 20, 20));
        assert!(record.codes.iter().all(|code| code.count == 20), "{:?}", record.codes);
    }
}

#[test]
fn a_log_that_nobody_would_write_is_refused() {
    let text = "[fleet]\ndevices = 10\n[mock]\nlog = { file = \"dps.jsonl\" }\n";
    let error = virtual_time::run(plan(text), &Control::default()).expect_err("there is nothing to log");
    assert!(matches!(&error, RunError::Preflight(why) if why.contains("wired")), "{error}");
}

#[test]
fn a_quota_of_nothing_ends_at_the_horizon() {
    let record = simulated(
        "horizon = \"10m\"\nobjectives = [\"assigned >= 50%\"]\n[fleet]\ndevices = 50\n[mock.throttle]\nrate = \
         \"0/min\"\nburst = 1\n",
    );
    assert_eq!(
        (&record.end, record.totals.assigned, record.duration_ns),
        (&End::Horizon, 1, 600_000_000_000)
    );
    assert_eq!(record.verdict.result, VerdictResult::Failed);
}

#[test]
fn an_interrupted_run_is_marked() {
    let control = Control::default();
    control.interrupt();
    let text = "horizon = \"10h\"\n[fleet]\ndevices = 5000\n[mock.throttle]\nrate = \"60/min\"\n";
    let record = virtual_time::run(plan(text), &control).expect("a partial record");
    assert_eq!((&record.end, record.verdict.exit_code), (&End::Interrupted, 130));
    assert!(record.totals.assigned < 5_000);
}

#[test]
fn devices_wait_for_a_place() {
    let text = "horizon = \"1h\"\n[fleet]\ndevices = 60\nmax_concurrent = 5\n";
    let record = simulated(text);
    assert_eq!(record.totals.assigned, 60);
    assert_eq!(record.series.in_flight.iter().max(), Some(&5));
}

#[test]
fn fates_are_kept_in_detail() {
    let text = "horizon = \"30s\"\n[fleet]\ndevices = 100\n[[cohort]]\nname = \"a\"\n[[cohort]]\nname = \"b\"\nenrolled = \
                false\n[mock.throttle]\nburst = 40\nrate = \"30/min\"\n";
    let (record, herd) = virtual_time::run_in_detail(plan(text), &Control::default()).expect("the run ends");
    let count = |fate| herd.fates.iter().filter(|other| **other == fate).count() as u64;
    assert_eq!(count(virtual_time::Fate::Assigned), record.totals.assigned);
    assert_eq!(count(virtual_time::Fate::Stopped), record.totals.stopped);
    assert_eq!(
        herd.attempts.iter().map(|&attempts| u64::from(attempts)).sum::<u64>(),
        record.totals.requests
    );
    let sent: u32 = herd.first.iter().chain(&herd.later).sum();
    assert_eq!(u64::from(sent), record.totals.registers);
}
