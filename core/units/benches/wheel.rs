//! The wheel against a binary heap: every device waits, rings and waits again, as a throttled fleet does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use divan::counter::ItemsCount;
use fleetstorm_units::random::{Purpose, Seed, span_below};
use fleetstorm_units::time::{Moment, Span};
use fleetstorm_units::wheel::Wheel;

const EVENTS: u32 = 2_000_000;

fn main() {
    divan::main();
}

/// Network hops for two events of three, a back-off for the third.
fn wait(device: u32, count: u32) -> Span {
    let draw = Seed(1).draw(Purpose::Retry, device, count);
    let limit = if count.is_multiple_of(3) { Span::from_secs(120) } else { Span::from_millis(15) };
    span_below(draw, limit) + Span::from_millis(1)
}

#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 3)]
fn wheel(bencher: divan::Bencher<'_, '_>, devices: u32) {
    bencher
        .with_inputs(|| {
            let mut wheel = Wheel::new(devices);
            (0..devices).for_each(|device| wheel.set(device, Moment::START + wait(device, 0)));
            wheel
        })
        .input_counter(|_| ItemsCount::new(EVENTS))
        .bench_refs(|wheel| {
            for count in 1..=EVENTS {
                let (now, device) = wheel.pop(Moment::FAR).expect("every device has an alarm");
                wheel.set(device, now + wait(device, count));
            }
        });
}

#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 3)]
fn heap(bencher: divan::Bencher<'_, '_>, devices: u32) {
    bencher
        .with_inputs(|| {
            (0..devices)
                .map(|device| Reverse((Moment::START + wait(device, 0), device)))
                .collect::<BinaryHeap<_>>()
        })
        .input_counter(|_| ItemsCount::new(EVENTS))
        .bench_refs(|heap| {
            for count in 1..=EVENTS {
                let Reverse((now, device)) = heap.pop().expect("every device has an alarm");
                heap.push(Reverse((now + wait(device, count), device)));
            }
        });
}
