//! What the layer of faults costs where nobody is hit: `cargo bench -p fleetstorm-engine --bench chaos -- [rounds]`.
//!
//! One fleet as real bytes over pipes, in cases that take turns. Each is told by its cheapest round, because a busy machine
//! makes a round dearer and never cheaper. CPU time is the process's.
//!
//! - `no [[chaos]]`: nobody holds any rules; a request looks at empty options. The same case again shows what is noise.
//! - `asking about none`: everybody holds rules about no faults, and asks all that is asked of a request. That is all that
//!   the layer does in a run without `[[chaos]]`, and the questions beside: a bound of what it costs there, at most 1 %.
//! - a fault armed at one layer, or at each, which selects nobody: at most 3 %.
//!
//! After a run under faults canaries look what they have left behind; what they ask for is counted with the rest.

use fleetstorm_engine::{Control, Plan, wired};
use fleetstorm_plugin_host::Registry;
use fleetstorm_scenario::Scenario;
use fleetstorm_units::time::Calendar;

/// Faults of each layer, on all the time.
const NETWORK: &str = "{ kind = \"net.reset\", phase = \"after-request\" }";
const SERVICE: &str = "{ kind = \"service.error\", status = 503 }";
const FLEET: &str = "{ kind = \"fleet.no-back-off\", wait = \"1s\" }";

/// Devices of a run, and its canaries: three at the run's service and three at a clean one.
const DEVICES: u64 = 1_000;
const CANARIES: u64 = 6;

fn main() {
    let cases: [(&str, bool, &[&str]); 7] = [
        ("no [[chaos]]", false, &[]),
        ("no [[chaos]], again", false, &[]),
        ("asking about none", true, &[]),
        ("network", true, &[NETWORK]),
        ("service", true, &[SERVICE]),
        ("fleet", true, &[FLEET]),
        ("all three", true, &[NETWORK, SERVICE, FLEET]),
    ];
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(9);
    let mut cheapest = [f64::INFINITY; 7];
    for _ in 0..rounds {
        for ((_, asks, faults), cheapest) in cases.iter().zip(&mut cheapest) {
            *cheapest = cheapest.min(request_us(*asks, faults));
        }
    }
    println!("{:<22} {:>12} {:>8}", "armed", "us a request", "ratio");
    for ((name, ..), us) in cases.iter().zip(cheapest) {
        println!("{name:<22} {us:>12.2} {:>8.3}", us / cheapest[0]);
    }
}

/// Microseconds of CPU for a request of a run under these faults, its mock and its devices together.
fn request_us(asks: bool, faults: &[&str]) -> f64 {
    let nobody =
        |fault: &&str| format!("[[chaos]]\nfault = {fault}\nselect = {{ share = 1e-9 }}\nmin_fired = 0\n");
    let text = format!(
        "horizon = \"1h\"\n[fleet]\ndevices = {DEVICES}\narrival = {{ kind = \"constant\", rate = \"50/s\" }}\n\
         [[cohort]]\npoll_interval = \"1s\"\n[mock]\nassignment = {{ kind = \"constant\", delay = \"9s\" }}\n\
         retry_after_s = 1\n[mock.throttle]\nprofile = \"unlimited\"\n{}",
        faults.iter().map(nobody).collect::<String>()
    );
    let scenario = Scenario::read(&text, "bench.toml", &[]).expect("the scenario reads");
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
    let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL).expect("the plan is sound");
    let plan = if asks { plan.asking() } else { plan };
    let start_s = cpu_s();
    let record = wired::run(plan, &Control::default()).expect("the run ends");
    let took_s = cpu_s() - start_s;
    assert_eq!(record.totals.assigned, DEVICES, "nobody is hit");
    let canaries = if faults.is_empty() { 0 } else { CANARIES };
    let requests = record.totals.requests as f64 * (1.0 + canaries as f64 / DEVICES as f64);
    took_s * 1e6 / requests
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
