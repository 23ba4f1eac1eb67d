//! What it costs to ask about faults that hit nobody: `cargo bench -p fleetstorm-model --bench chaos`.
//!
//! One call is what a request asks on its way: what it meets when it sets out, on its way, and at the service.

use divan::{Bencher, black_box};
use fleetstorm_model::chaos::{ChaosFile, Fleet, Layer, Naming, Occasion, Rules, Timeline};
use fleetstorm_protocol::{Operation, Transport};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Moment, Span};

const DEVICES: u32 = 10_000;

fn main() {
    divan::main();
}

#[derive(serde::Deserialize)]
struct Faults {
    chaos: Vec<ChaosFile>,
}

/// The rules of a fleet under a fault of the network and one of the service.
fn rules(more: &str) -> Rules {
    let fault = |kind: &str| format!("[[chaos]]\nfault = {kind}\n{more}\n");
    let text = format!(
        "{}{}",
        fault("{ kind = \"net.latency\", delay = { kind = \"constant\", delay = \"1ms\" } }"),
        fault("{ kind = \"service.throttle\" }"),
    );
    let faults: Faults = toml::from_str(&text).expect("the faults read");
    let fleet = Fleet {
        seed: Seed(0),
        devices: DEVICES,
        cohorts: vec![("default", Transport::Https)],
        membership: &[0; DEVICES as usize],
        naming: &Naming::Fleet("dev-".to_owned()),
    };
    Timeline::new(&faults.chaos, &fleet).rules(&[Layer::Network, Layer::Service])
}

fn ask(bencher: Bencher<'_, '_>, more: &str) {
    let mut rules = rules(more);
    let (mut device, mut now) = (0, Moment::START + Span::from_secs(60));
    bencher.bench_local(|| {
        device = (device * 7 + 1) % DEVICES;
        now += Span::from_nanos(100);
        let occasion = Occasion::of(now, device, Some(Operation::Poll));
        black_box((rules.send(&occasion), rules.exchange(&occasion), rules.serve(&occasion, 60)))
    });
}

#[divan::bench]
fn not_yet_on(bencher: Bencher<'_, '_>) {
    ask(bencher, "start = \"59m\"");
}

#[divan::bench]
fn on_and_selects_nobody(bencher: Bencher<'_, '_>) {
    ask(bencher, "select = { share = 1e-9 }");
}

#[divan::bench]
fn on_for_another_operation(bencher: Bencher<'_, '_>) {
    ask(bencher, "select = { operation = \"lookup\" }");
}

#[divan::bench]
fn on_and_hits_one_in_a_thousand(bencher: Bencher<'_, '_>) {
    ask(bencher, "probability = 0.001\nunit = \"request\"");
}
