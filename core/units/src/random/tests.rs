use super::*;

/// The plain numbers that runs use: small seeds, devices and counts. A mixer is hard pressed by these, not by noise.
const SEED: Seed = Seed(42);

/// Purposes are few; the tests of mixing try every number in their place.
fn pair(seed: u64, purpose: u32, key: u64, count: u32) -> [u64; 2] {
    let counter = [count, key as u32, (key >> 32) as u32, purpose];
    philox(counter, [seed as u32, (seed >> 32) as u32])
}

fn first(seed: u64, purpose: u32, key: u64, count: u32) -> u64 {
    pair(seed, purpose, key, count)[0]
}

/// A way through the keys, by its name.
type Way = (&'static str, fn(u32) -> u64);

/// The ways through the keys: what one device draws, what the fleet draws at its first failure, what a device draws for
/// one purpose after another, what runs of neighbouring seeds draw, what a fleet draws that fails in turn, and the two
/// halves of every draw.
const WAYS: [Way; 6] = [
    ("count", |n| first(42, 5, 7, n)),
    ("device", |n| first(42, 5, u64::from(n), 0)),
    ("purpose", |n| first(42, n, 7, 0)),
    ("seed", |n| first(u64::from(n), 5, 7, 0)),
    ("device and count", |n| first(42, 5, u64::from(n / 8), n % 8)),
    ("halves", |n| pair(42, 5, 7, n / 2)[n as usize % 2]),
];

/// `kat_vectors` of Random123 1.14: counter, key, result of philox4x32 with 10 rounds.
#[test]
fn the_generator_gives_its_published_answers() {
    let words = |[low, high]: [u64; 2]| [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32];
    for philox in [philox, philox_by_words] {
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(words(philox(counter, key)), expected);
        }
        // [rand.predef] of C++26: the 10,000th number of a `philox4x32` that was made without a seed, which is 20111115.
        assert_eq!(words(philox([9_999 / 4, 0, 0, 0], [20_111_115, 0]))[9_999 % 4], 1_955_073_260);
    }
}

proptest::proptest! {
    /// The machine's registers are no other generator.
    #[test]
    fn by_words_and_by_registers_the_draws_are_the_same(counter: [u32; 4], key: [u32; 2]) {
        assert_eq!(philox(counter, key), philox_by_words(counter, key));
    }
}

#[test]
fn a_draw_depends_on_its_key_only() {
    assert_eq!(Seed(1).draw(Purpose::Retry, 3, 4), first(1, 5, 3, 4));
    assert_eq!(Seed(1).pair(Purpose::Retry, 3 << 32, 4), pair(1, 5, 3 << 32, 4));
    assert_ne!(Seed(1).draw(Purpose::Retry, 3, 4), Seed(1).draw(Purpose::Retry, 4, 3));
    assert_ne!(Seed(1).named(b"storm"), Seed(1).named(b"storms"));
    assert_ne!(Seed(1).named(b"storm"), Seed(2).named(b"storm"));
}

#[test]
fn spans_stay_below_their_limit() {
    assert_eq!(span_below(u64::MAX, Span::from_nanos(10)), Span::from_nanos(9));
    assert_eq!(span_below(u64::MAX, Span::ZERO), Span::ZERO);
    assert!(span_below(u64::MAX, Span::MAX) < Span::MAX);
}

/// Each bit of seed, purpose, key and count turns each bit of the result in half of the cases.
#[test]
fn every_bit_of_a_key_reaches_every_bit_of_its_draw() {
    const CASES: u32 = 512;
    let turns = |name: &str, bits: u32, turned: &dyn Fn(u32, u32) -> [u64; 2]| {
        for bit in 0..bits {
            let mut counts = [0u32; 128];
            for case in 0..CASES {
                let plain = pair(u64::from(case / 64), case % 8, u64::from(case), case % 16);
                let [low, high] = [0, 1].map(|half| plain[half] ^ turned(case, bit)[half]);
                for (at, count) in counts.iter_mut().enumerate() {
                    *count += (if at < 64 { low >> at } else { high >> (at - 64) } & 1) as u32;
                }
            }
            for (at, count) in counts.iter().enumerate() {
                // Binomial: among 24,576 counts the largest deviation is some 4.1 standard deviations.
                let off = (f64::from(*count) - f64::from(CASES) / 2.0) / (f64::from(CASES) / 4.0).sqrt();
                assert!(off.abs() < 6.0, "{name}: bit {bit} turns bit {at} in {count} of {CASES} cases");
            }
        }
    };
    turns("seed", 64, &|n, bit| pair(u64::from(n / 64) ^ 1 << bit, n % 8, u64::from(n), n % 16));
    turns("purpose", 32, &|n, bit| pair(u64::from(n / 64), (n % 8) ^ (1 << bit), u64::from(n), n % 16));
    turns("key", 64, &|n, bit| pair(u64::from(n / 64), n % 8, u64::from(n) ^ 1 << bit, n % 16));
    turns("count", 32, &|n, bit| pair(u64::from(n / 64), n % 8, u64::from(n), (n % 16) ^ (1 << bit)));
}

/// How many draws the tests below take of each way, and how finely they divide the range of one, two and three draws.
struct Size {
    draws: u32,
    bits: [u32; 3],
}

const QUICK: Size = Size { draws: 1 << 19, bits: [8, 5, 3] };

/// The sums of 512 draws, standardised: normal, so their kurtosis is 3 and their interquartile range 1.349.
fn check_sums(size: &Size) {
    const DRAWS: u32 = 512;
    type Along = (&'static str, fn(u32, u32) -> u64);
    let along: [Along; 4] = [
        ("count", |sum, n| first(42, 5, u64::from(sum), n)),
        ("device", |sum, n| first(42, 5, u64::from(n), sum)),
        ("purpose", |sum, n| first(42, n, u64::from(sum), 0)),
        ("seed", |sum, n| first(u64::from(n), 5, u64::from(sum), 0)),
    ];
    let many = f64::from(size.draws / DRAWS);
    for (name, draw) in along {
        let sum = |sum| {
            let total: f64 = (0..DRAWS).map(|n| fraction(draw(sum, n)) - 0.5).sum();
            total / (f64::from(DRAWS) / 12.0).sqrt()
        };
        let mut sums: Vec<f64> = (0..size.draws / DRAWS).map(sum).collect();
        sums.sort_unstable_by(f64::total_cmp);
        let moment = |power| sums.iter().map(|sum| sum.powi(power)).sum::<f64>() / many;
        let (mean, variance) = (moment(1), moment(2));
        let kurtosis = moment(4) / variance.powi(2);
        let spread = sums[sums.len() * 3 / 4] - sums[sums.len() / 4];
        // Each with its standard error for one normal value. A sum of n uniform draws has a kurtosis of 3 - 1.2/n.
        for (what, value, expected, error) in [
            ("mean", mean, 0.0, 1.0),
            ("variance", variance, 1.0, 2f64.sqrt()),
            ("kurtosis", kurtosis, 3.0 - 1.2 / f64::from(DRAWS), 24f64.sqrt()),
            ("interquartile range", spread, 1.349, 1.574),
        ] {
            let off = (value - expected) / (error / many.sqrt());
            assert!(off.abs() < 5.0, "{name}: {what} {value} is {off} standard deviations off");
        }
    }
}

/// Draws say nothing about those up to 64 later.
fn check_lags(size: &Size) {
    const LAGS: usize = 64;
    for (name, draw) in WAYS {
        let mut sums = [0.0; LAGS + 1];
        // What a block of draws is multiplied with lies in it or at the end of the one before.
        let mut values = vec![0.0; LAGS];
        for block in 0..size.draws >> 12 {
            values.drain(..values.len() - LAGS);
            values.extend((block << 12..(block + 1) << 12).map(|n| fraction(draw(n)) - 0.5));
            for (lag, sum) in sums.iter_mut().enumerate().skip(1) {
                let later = &values[LAGS..];
                *sum += later.iter().zip(&values[LAGS - lag..]).map(|(a, b)| a * b).sum::<f64>();
            }
        }
        for (lag, sum) in sums.iter().enumerate() {
            // A product of two independent ones has a standard deviation of 1/12.
            let off = sum * 12.0 / f64::from(size.draws).sqrt();
            assert!(off.abs() < 5.0, "{name}: {off} standard deviations at lag {lag}");
        }
    }
}

/// Single numbers, pairs and triples that follow each other fill their line, square and cube evenly, by the upper and
/// by the lower bits.
fn check_tuples(size: &Size) {
    for (name, draw) in WAYS {
        for (together, bits) in (1..).zip(size.bits) {
            for (part, shift) in [("upper", 64 - bits), ("lower", 0)] {
                let mut cells = vec![0u32; 1 << (together * bits)];
                for tuple in 0..size.draws / together {
                    let place = |at, n| at << bits | (draw(n) >> shift) as usize & ((1 << bits) - 1);
                    cells[(tuple * together..(tuple + 1) * together).fold(0, place)] += 1;
                }
                let expected = f64::from(size.draws / together) / cells.len() as f64;
                let chi_squared: f64 =
                    cells.iter().map(|cell| (f64::from(*cell) - expected).powi(2) / expected).sum();
                let freedom = (cells.len() - 1) as f64;
                let off = (chi_squared - freedom) / (2.0 * freedom).sqrt();
                assert!(
                    off.abs() < 5.0,
                    "{name}: tuples of {together}, {part} bits: {off} standard deviations"
                );
            }
        }
    }
}

#[test]
fn sums_of_draws_spread_as_those_of_independent_ones() {
    check_sums(&QUICK);
}

#[test]
fn draws_say_nothing_about_those_up_to_64_later() {
    check_lags(&Size { draws: 1 << 14, ..QUICK });
}

#[test]
fn singles_pairs_and_triples_are_uniform() {
    check_tuples(&Size { draws: 1 << 15, ..QUICK });
}

/// `cargo test --release -p fleetstorm-units a_hundred_million -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_million_draws_of_each_way_look_independent() {
    let size = Size { draws: 100_000_000, bits: [16, 10, 7] };
    check_sums(&size);
    check_lags(&size);
    check_tuples(&size);
}

/// Whom a fault hits says nothing about whom another one hits, nor the next seed's.
#[test]
fn named_seeds_are_independent() {
    const DEVICES: u32 = 16_384;
    let streams = [SEED.named(b"a"), SEED.named(b"b"), Seed(43).named(b"a"), SEED];
    for (at, one) in streams.iter().enumerate() {
        for other in &streams[at + 1..] {
            let both = |n: &u32| {
                one.fraction(Purpose::FaultShare, *n, 0) < 0.5
                    && other.fraction(Purpose::FaultShare, *n, 0) < 0.5
            };
            let share = (0..DEVICES).filter(both).count() as f64 / f64::from(DEVICES);
            assert!((share - 0.25).abs() < 0.017, "five standard deviations: {share}");
        }
    }
}
