//! What recording costs: `cargo bench -p fleetstorm-engine --features bench --bench record`.

use fleetstorm_engine::bench::Recording;

fn main() {
    divan::main();
}

/// Two observations a call: sent and ended.
#[divan::bench(args = [100, 10_000, 1_000_000], sample_count = 50, sample_size = 100_000)]
fn a_throttled_request(bencher: divan::Bencher<'_, '_>, devices: usize) {
    let mut recording = Recording::new(devices);
    bencher.bench_local(|| recording.request());
}
