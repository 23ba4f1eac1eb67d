//! What it costs to ask about faults that hit nobody: `cargo bench -p fleetstorm-model --bench chaos`.
//!
//! One call is what a request asks on its way: what it meets when it sets out, on its way, and at the service.

use std::sync::Arc;

use divan::{Bencher, black_box};
use fleetstorm_model::chaos::{Layer, Occasion, Rules, Timeline};
use fleetstorm_model::protocol::Operation;
use fleetstorm_model::scenario::Scenario;
use fleetstorm_model::time::{Moment, Span};

const DEVICES: u32 = 10_000;

fn main() {
    divan::main();
}

/// The rules of a fleet under a fault of the network and one of the service.
fn rules(more: &str) -> Rules {
    let fault = |kind: &str| format!("[[chaos]]\nfault = {kind}\n{more}\n");
    let text = format!(
        "horizon = \"1h\"\n[fleet]\ndevices = {DEVICES}\n{}{}",
        fault("{ kind = \"net.latency\", delay = { kind = \"constant\", delay = \"1ms\" } }"),
        fault("{ kind = \"service.throttle\" }"),
    );
    let scenario = Scenario::read(&text, "bench.toml", &[]).expect("the scenario reads");
    let timeline: Arc<Timeline> =
        Timeline::new(&scenario, &[0; DEVICES as usize]).expect("the scenario has faults");
    timeline.rules(&[Layer::Network, Layer::Service])
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
