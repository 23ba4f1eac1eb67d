//! How fast a simulated fleet runs, and what it weighs.
//!
//! `cargo bench -p fleetstorm-engine --bench simulate -- [devices] [arrival] [retry] [rate] [burst]`, one case a
//! process, because the peak of the resident memory is the process's. Speed is per second of CPU time: a run has one
//! thread, and a busy machine should not look like a slow simulator.

use fleetstorm_engine::Control;
use fleetstorm_engine::{Plan, Registry, simulate};
use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::Calendar;

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
    let record = simulate::run(plan, &Control::default()).expect("the run ends");
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
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
}
