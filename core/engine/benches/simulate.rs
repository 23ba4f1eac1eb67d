//! How fast a simulated fleet runs, and what it weighs.
//!
//! `cargo bench -p fleetstorm-engine --bench simulate -- [devices] [arrival] [retry] [rate] [burst]`, one case a
//! process, because the peak of the resident memory is the process's. Speed is per second of CPU time: a run has one
//! thread, and a busy machine should not look like a slow simulator. At the end the run's alarms ring once more with
//! nothing to do, in the same wheel and in a binary heap: that is how far the simulator is from a bare event queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fleetstorm_engine::{Control, Plan, virtual_time};
use fleetstorm_plugin_host::Registry;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::random::span_below;
use fleetstorm_units::time::{Calendar, Moment, Span};
use fleetstorm_units::wheel::Wheel;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    let argument = |index: usize, usual: &str| arguments.get(index).cloned().unwrap_or(usual.to_owned());
    let devices: u32 = argument(0, "100000").parse().expect("devices is a number");
    let arrival = argument(1, "kind = \"all-at-once\", spread = \"30s\"");
    let retry = argument(2, "\"full-jitter\"");
    let rate = argument(3, &format!("{}/min", devices / 10));
    let burst = argument(4, "1000");
    let text = format!(
        "horizon = \"30d\"\n[fleet]\ndevices = {devices}\narrival = {{ {arrival} }}\n[[cohort]]\nretry = {retry}\n\
         [mock.throttle]\nprofile = \"dps-doc\"\nrate = \"{rate}\"\nburst = {burst}\n\
         [network]\nconnect = {{ kind = \"uniform\", min = \"50ms\", max = \"150ms\" }}\n\
         hop = {{ kind = \"uniform\", min = \"5ms\", max = \"15ms\" }}\n"
    );
    let scenario = Scenario::read(&text, "bench.toml", &[]).expect("the scenario reads");
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
    let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL).expect("the plan is sound");
    let before = peak_bytes();
    let start_s = cpu_s();
    let record = virtual_time::run(plan, &Control::default()).expect("the run ends");
    let took_s = cpu_s() - start_s;
    // A connection is one alarm; a request is two, and the wait before it is one.
    let events = record.totals.booted + record.totals.connections + 3 * record.totals.requests;
    println!(
        "{devices} devices: {took_s:.2} s of CPU, {events} events, {:.2} M events/s, {:.1} attempts a device, ended at {:.0} s",
        events as f64 / took_s / 1e6,
        record.totals.requests as f64 / f64::from(devices),
        record.duration_ns as f64 / 1e9
    );
    println!(
        "peak {} MB, {:.0} bytes a device over the plan's",
        peak_bytes() >> 20,
        (peak_bytes() - before) as f64 / f64::from(devices)
    );

    // Between two arrivals at the service a device needs no alarm.
    let alarms = record.totals.booted + record.totals.requests;
    let mean_ns = record.duration_ns / (alarms / u64::from(devices)).max(1);
    // Scattered by one multiplication: a draw as runs make them would be measured with the queue.
    let wait = |device: u32, count: u64| {
        let mixed = (u64::from(device) << 32 ^ count).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        span_below(mixed ^ mixed >> 32, Span::from_nanos(2 * mean_ns))
    };
    let told = |name: &str, took_s: f64| {
        println!(
            "{alarms} alarms of a bare {name}: {took_s:.2} s of CPU, {:.1} M/s",
            alarms as f64 / took_s / 1e6
        );
    };
    let mut wheel = Wheel::new(devices);
    (0..devices).for_each(|device| wheel.set(device, Moment::START + wait(device, 0)));
    let start_s = cpu_s();
    for count in 1..=alarms {
        let (now, device) = wheel.pop(Moment::FAR).expect("every device has an alarm");
        wheel.set(device, now + wait(device, count));
    }
    told("wheel", cpu_s() - start_s);
    let first = |device| Reverse((Moment::START + wait(device, 0), device));
    let mut heap: BinaryHeap<_> = (0..devices).map(first).collect();
    let start_s = cpu_s();
    for count in 1..=alarms {
        let Reverse((now, device)) = heap.pop().expect("every device has an alarm");
        heap.push(Reverse((now + wait(device, count), device)));
    }
    told("binary heap", cpu_s() - start_s);
}

fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
}
