//! What the layer of faults costs where nobody is hit: `cargo bench -p fleetstorm-engine --bench chaos -- [rounds]`.
//!
//! One fleet as real bytes over pipes, without faults and with faults armed that select nobody: of the network (rules,
//! and the stream that they act on), of the service, of the fleet, and of all three. The cases take turns, and each is
//! told by its cheapest round, because a busy machine makes a round dearer and never cheaper. CPU time is the process's.

use fleetstorm_engine::{Control, Plan, Registry, wired};
use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::Calendar;

/// Faults of each layer, on all the time.
const NETWORK: &str = "{ kind = \"net.reset\", phase = \"after-request\" }";
const SERVICE: &str = "{ kind = \"service.error\", status = 503 }";
const FLEET: &str = "{ kind = \"fleet.no-back-off\", wait = \"1s\" }";

fn main() {
    let cases: [(&str, &[&str]); 6] = [
        ("no [[chaos]]", &[]),
        ("no [[chaos]], again", &[]),
        ("network", &[NETWORK]),
        ("service", &[SERVICE]),
        ("fleet", &[FLEET]),
        ("all three", &[NETWORK, SERVICE, FLEET]),
    ];
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(9);
    let mut cheapest = [f64::INFINITY; 6];
    for _ in 0..rounds {
        for ((_, faults), cheapest) in cases.iter().zip(&mut cheapest) {
            *cheapest = cheapest.min(request_us(faults));
        }
    }
    println!("{:<22} {:>12} {:>8}", "armed", "us a request", "ratio");
    for ((name, _), us) in cases.iter().zip(cheapest) {
        println!("{name:<22} {us:>12.2} {:>8.3}", us / cheapest[0]);
    }
}

/// Microseconds of CPU for a request of a run under these faults, its mock and its devices together.
fn request_us(faults: &[&str]) -> f64 {
    let nobody =
        |fault: &&str| format!("[[chaos]]\nfault = {fault}\nselect = {{ share = 1e-9 }}\nmin_fired = 0\n");
    let text = format!(
        "horizon = \"1h\"\n[fleet]\ndevices = 1000\narrival = {{ kind = \"constant\", rate = \"50/s\" }}\n\
         [[cohort]]\npoll_interval = \"1s\"\n[mock]\nassignment = {{ kind = \"constant\", delay = \"9s\" }}\n\
         retry_after_s = 1\n[mock.throttle]\nprofile = \"unlimited\"\n{}",
        faults.iter().map(nobody).collect::<String>()
    );
    let scenario = Scenario::read(&text, "bench.toml", &[]).expect("the scenario reads");
    let registry = Registry::new(&[&fleetstorm_plugin_retry::ENTRY, &fleetstorm_plugin_symmetric_key::ENTRY]);
    let plan = Plan::new(scenario, &registry, Calendar::VIRTUAL).expect("the plan is sound");
    let start_s = cpu_s();
    let record = wired::run(plan, &Control::default()).expect("the run ends");
    let took_s = cpu_s() - start_s;
    assert_eq!(record.totals.assigned, 1_000, "nobody is hit");
    took_s * 1e6 / record.totals.requests as f64
}

fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
