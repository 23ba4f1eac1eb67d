//! The meters: integer arithmetic in fractions of a nanosecond, so that nothing drifts and "until a token" is exact.

use std::collections::VecDeque;

use fleetstorm_units::time::{Moment, Span};

use super::{Model, Verdict};

/// A meter in use.
#[derive(Clone, Debug)]
pub struct Meter(State);

/// Parts of a nanosecond: fine enough that a rate of a million a second is kept to 1e-8.
const FRACTION: i128 = 1 << 16;

#[derive(Clone, Debug)]
enum State {
    Unlimited,
    /// Credit is time that was saved up; a request costs `cost` of it.
    Bucket {
        cost: i128,
        capacity: i128,
        penalty: i128,
        credit: i128,
        at: Moment,
    },
    /// `tat` is the theoretical arrival time of the next request if all came evenly.
    Gcra {
        cost: i128,
        tolerance: i128,
        tat: i128,
    },
    Window {
        limit: u32,
        length: Span,
        index: u64,
        count: u32,
    },
    Log {
        limit: u32,
        length: Span,
        admitted: VecDeque<Moment>,
    },
    Queue {
        cost: i128,
        tolerance: i128,
        depth: i128,
        tat: i128,
    },
}

impl Meter {
    /// A meter that has admitted nothing yet.
    pub fn new(model: Model) -> Self {
        Self(match model {
            Model::Unlimited => State::Unlimited,
            Model::TokenBucket { rate_per_s, burst } => bucket(rate_per_s, burst, 0.0),
            Model::Penalising { rate_per_s, burst, rho } => bucket(rate_per_s, burst, rho),
            Model::Gcra { rate_per_s, burst } => {
                let cost = cost(rate_per_s);
                State::Gcra { cost, tolerance: times(cost, burst.max(1.0) - 1.0), tat: 0 }
            }
            Model::FixedWindow { limit, window } => {
                State::Window { limit, length: window.max(Span::from_nanos(1)), index: 0, count: 0 }
            }
            Model::SlidingWindow { limit, window } => {
                State::Log { limit, length: window, admitted: VecDeque::new() }
            }
            Model::Shaped { rate_per_s, burst, depth } => {
                let cost = cost(rate_per_s);
                let tolerance = times(cost, burst.max(1.0) - 1.0);
                State::Queue { cost, tolerance, depth: times(cost, depth), tat: 0 }
            }
        })
    }

    /// Judges one request. Moments must not go backwards; one that does counts as the last one.
    pub fn admit(&mut self, now: Moment) -> Verdict {
        self.admit_share(now, 1.0)
    }

    /// Judges one request while the quota is this share of the usual one: what is saved up, what comes in and what
    /// fits are scaled alike, because credit is kept as time and a request takes more or less of it.
    pub fn admit_share(&mut self, now: Moment, share: f64) -> Verdict {
        let admit = Verdict::Admit { delay: Span::ZERO };
        let price = |cost: &i128| if share == 1.0 { *cost } else { (*cost as f64 / share) as i128 };
        let fits = |limit: &u32| {
            if share == 1.0 { *limit } else { (f64::from(*limit) * share).round() as u32 }
        };
        match &mut self.0 {
            State::Unlimited => admit,
            State::Bucket { cost, capacity, penalty, credit, at } => {
                let (cost, penalty) = (&price(cost), &price(penalty));
                *credit = (*credit + fine(now.since(*at))).min(*capacity);
                *at = now.max(*at);
                if *credit >= *cost {
                    *credit -= *cost;
                    return admit;
                }
                // The debt is bounded, so that a storm can end: at most one full bucket has to be paid back.
                *credit = (*credit - *penalty).max(-*capacity);
                reject(coarse(*cost - *credit))
            }
            State::Gcra { cost, tolerance, tat } => {
                let cost = &price(cost);
                let now = fine(now.since(Moment::START));
                let early = *tat - *tolerance - now;
                if early > 0 {
                    return reject(coarse(early));
                }
                *tat = (*tat).max(now) + *cost;
                admit
            }
            State::Window { limit, length, index, count } => {
                let current = (now.as_nanos() / length.as_nanos()).max(*index);
                if current != *index {
                    (*index, *count) = (current, 0);
                }
                if *count < fits(limit) {
                    *count += 1;
                    return admit;
                }
                let end = Moment::from_nanos((current + 1).saturating_mul(length.as_nanos()));
                reject(end.since(now))
            }
            State::Log { limit, length, admitted } => {
                while admitted.front().is_some_and(|&first| now.since(first) >= *length) {
                    admitted.pop_front();
                }
                if admitted.len() < fits(limit) as usize {
                    admitted.push_back(now.max(admitted.back().copied().unwrap_or(now)));
                    return admit;
                }
                let free = admitted.front().map_or(Moment::FAR, |&first| first + *length);
                reject(free.since(now))
            }
            State::Queue { cost, tolerance, depth, tat } => {
                let cost = &price(cost);
                let now = fine(now.since(Moment::START));
                let delay = (*tat - *tolerance - now).max(0);
                if delay > *depth {
                    return reject(coarse(delay - *depth));
                }
                *tat = (*tat).max(now) + *cost;
                Verdict::Admit { delay: coarse(delay) }
            }
        }
    }
}

fn bucket(rate_per_s: f64, burst: f64, rho: f64) -> State {
    let cost = cost(rate_per_s);
    let capacity = times(cost, burst.max(1.0));
    State::Bucket { cost, capacity, penalty: times(cost, rho.max(0.0)), credit: capacity, at: Moment::START }
}

/// The time that one request costs at a rate; for a rate of nothing, longer than any run.
fn cost(rate_per_s: f64) -> i128 {
    if rate_per_s > 0.0 { ((1e9 / rate_per_s) * FRACTION as f64).round().max(1.0) as i128 } else { 1 << 100 }
}

fn times(cost: i128, factor: f64) -> i128 {
    // Whole and fractional parts apart: a burst of 1,000 must be exactly a thousand costs.
    let whole = factor.trunc().clamp(0.0, 1e9) as i128;
    cost.saturating_mul(whole).saturating_add((cost as f64 * factor.fract()) as i128)
}

fn fine(span: Span) -> i128 {
    i128::from(span.as_nanos()) * FRACTION
}

/// The least whole number of nanoseconds that covers a fine span.
fn coarse(fine: i128) -> Span {
    let ns = fine.max(0).saturating_add(FRACTION - 1) / FRACTION;
    Span::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

fn reject(until_token: Span) -> Verdict {
    Verdict::Reject { until_token }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADMITTED: Verdict = Verdict::Admit { delay: Span::ZERO };

    fn admitted(meter: &mut Meter, at: u64) -> bool {
        matches!(meter.admit(Moment::from_nanos(at)), Verdict::Admit { .. })
    }

    /// Sorted instants within some seconds, with repeats.
    fn instants() -> impl Strategy<Value = Vec<u64>> {
        proptest::collection::vec(prop_oneof![Just(0u64), 0..2_000_000_000u64, 0..1_000u64], 1..300).prop_map(
            |gaps| {
                gaps.iter()
                    .scan(0, |at, gap| {
                        *at += gap;
                        Some(*at)
                    })
                    .collect()
            },
        )
    }

    proptest! {
        #[test]
        fn gcra_and_token_bucket_agree(at in instants(), rate in 0.1..50.0f64, burst in 1..20u32) {
            let burst = f64::from(burst);
            let mut bucket = Meter::new(Model::TokenBucket { rate_per_s: rate, burst });
            let mut gcra = Meter::new(Model::Gcra { rate_per_s: rate, burst });
            for at in at {
                prop_assert_eq!(bucket.admit(Moment::from_nanos(at)), gcra.admit(Moment::from_nanos(at)));
            }
        }

        #[test]
        fn a_bucket_never_admits_more_than_burst_plus_rate(at in instants(), rate in 0.1..50.0f64, burst in 1..20u32) {
            let mut meter = Meter::new(Model::TokenBucket { rate_per_s: rate, burst: f64::from(burst) });
            let through: Vec<u64> = at.into_iter().filter(|at| admitted(&mut meter, *at)).collect();
            for (i, from) in through.iter().enumerate() {
                for (j, to) in through.iter().enumerate().skip(i) {
                    let law = f64::from(burst) + rate * (to - from) as f64 / 1e9 + 1e-6;
                    prop_assert!((j - i + 1) as f64 <= law);
                }
            }
        }

        #[test]
        fn a_sliding_window_never_admits_more_than_its_limit(at in instants(), limit in 1..20u32, window in 1..5_000_000_000u64) {
            let mut meter = Meter::new(Model::SlidingWindow { limit, window: Span::from_nanos(window) });
            let through: Vec<u64> = at.into_iter().filter(|at| admitted(&mut meter, *at)).collect();
            for group in through.windows(limit as usize + 1) {
                prop_assert!(group[limit as usize] - group[0] >= window);
            }
        }

        #[test]
        fn a_fixed_window_admits_its_limit_in_each_aligned_window(at in instants(), limit in 1..20u32, window in 1..5_000_000_000u64) {
            let mut meter = Meter::new(Model::FixedWindow { limit, window: Span::from_nanos(window) });
            let mut counts = std::collections::BTreeMap::<u64, (u32, u32)>::new();
            for at in at {
                let through = admitted(&mut meter, at);
                let (asked, passed) = counts.entry(at / window).or_default();
                *asked += 1;
                *passed += u32::from(through);
            }
            for (asked, passed) in counts.values() {
                prop_assert_eq!(*passed, limit.min(*asked));
            }
        }

        #[test]
        fn until_token_is_exact(at in instants(), kind in 0..5u8, rate in 0.1..50.0f64, burst in 1..20u32) {
            let window = Span::from_secs_f64(f64::from(burst) / rate);
            let mut meter = Meter::new(match kind {
                0 => Model::TokenBucket { rate_per_s: rate, burst: f64::from(burst) },
                1 => Model::Gcra { rate_per_s: rate, burst: f64::from(burst) },
                2 => Model::FixedWindow { limit: burst, window },
                3 => Model::SlidingWindow { limit: burst, window },
                _ => Model::Shaped { rate_per_s: rate, burst: f64::from(burst), depth: 3.0 },
            });
            for at in at {
                if let Verdict::Reject { until_token } = meter.admit(Moment::from_nanos(at)) {
                    let free = at + until_token.as_nanos();
                    prop_assert!(until_token > Span::ZERO);
                    prop_assert!(!admitted(&mut meter.clone(), free - 1), "not a nanosecond earlier");
                    prop_assert!(admitted(&mut meter.clone(), free), "and then");
                }
            }
        }

        #[test]
        fn a_queue_serves_in_order_at_its_rate(at in instants(), rate in 0.1..50.0f64, burst in 1..5u32, depth in 0..20u32) {
            let model = Model::Shaped { rate_per_s: rate, burst: f64::from(burst), depth: f64::from(depth) };
            let mut meter = Meter::new(model);
            let mut served: Vec<u64> = Vec::new();
            for at in at {
                if let Verdict::Admit { delay } = meter.admit(Moment::from_nanos(at)) {
                    prop_assert!(delay.as_secs_f64() <= f64::from(depth) / rate + 1e-6);
                    served.push(at + delay.as_nanos());
                }
            }
            prop_assert!(served.is_sorted(), "first come, first served");
            for group in served.windows(burst as usize + 1) {
                let took = (group[burst as usize] - group[0]) as f64 / 1e9;
                prop_assert!(took >= 1.0 / rate - 1e-6, "spaced once the burst is used up: {took}");
            }
        }
    }

    #[test]
    fn a_window_boundary_lets_twice_the_limit_through() {
        let mut meter = Meter::new(Model::FixedWindow { limit: 3, window: Span::from_secs(60) });
        let end = 60_000_000_000;
        assert!((0..3).all(|_| admitted(&mut meter, end - 1)));
        assert!((0..3).all(|_| admitted(&mut meter, end)));
        assert!(!admitted(&mut meter, end));
    }

    /// Evenly spread rejects past `rate / rho` consume every token (the closed form of the lock-up margin).
    #[test]
    fn a_penalising_meter_locks_up_past_rate_over_rho() {
        let goodput = |offered_per_s: f64| {
            let mut meter = Meter::new(Model::Penalising { rate_per_s: 10.0, burst: 10.0, rho: 0.1 });
            let step = (1e9 / offered_per_s) as u64;
            let half_hour = 1_800_000_000_000;
            let mut late = 0;
            for at in (0..half_hour).step_by(step as usize) {
                let through = admitted(&mut meter, at);
                late += u64::from(through && at > half_hour / 2);
            }
            late as f64 / 900.0
        };
        assert!(goodput(60.0) > 4.0, "below 10 / 0.1 rejects a second it goes on: {}", goodput(60.0));
        assert_eq!(goodput(130.0), 0.0, "above it nothing gets through");
    }

    #[test]
    fn the_documented_quota_is_a_thousand_and_then_one_in_sixty_milliseconds() {
        let mut meter = Meter::new(Model::TokenBucket { rate_per_s: 1_000.0 / 60.0, burst: 1_000.0 });
        for _ in 0..1_000 {
            assert_eq!(meter.admit(Moment::START), ADMITTED);
        }
        let Verdict::Reject { until_token } = meter.admit(Moment::START) else { panic!("the 1,001st") };
        assert_eq!(until_token.as_millis(), 60);
    }

    #[test]
    fn time_that_goes_backwards_gives_nothing() {
        for model in [
            Model::TokenBucket { rate_per_s: 1.0, burst: 1.0 },
            Model::FixedWindow { limit: 1, window: Span::from_secs(1) },
            Model::SlidingWindow { limit: 1, window: Span::from_secs(1) },
        ] {
            let mut meter = Meter::new(model);
            assert!(admitted(&mut meter, 5_000_000_000));
            assert!(!admitted(&mut meter, 4_000_000_000), "{model:?}");
        }
    }

    /// Requests every 10 ms for two minutes: how many pass in each minute.
    fn passed(model: Model, shares: [f64; 2]) -> [u32; 2] {
        let mut meter = Meter::new(model);
        let mut passed = [0; 2];
        for tick in 0..12_000u64 {
            let minute = (tick / 6_000) as usize;
            let verdict = meter.admit_share(Moment::from_nanos(tick * 10_000_000), shares[minute]);
            passed[minute] += u32::from(matches!(verdict, Verdict::Admit { .. }));
        }
        passed
    }

    #[test]
    fn a_share_of_a_quota_scales_all_of_it() {
        let minute = Span::from_secs(60);
        for model in [
            Model::TokenBucket { rate_per_s: 10.0, burst: 100.0 },
            Model::Gcra { rate_per_s: 10.0, burst: 100.0 },
            Model::Shaped { rate_per_s: 10.0, burst: 50.0, depth: 50.0 },
        ] {
            let [first, second] = passed(model, [0.5, 1.0]);
            assert!(first.abs_diff(350) <= 2, "half of 100 at once and 600 in the minute: {model:?} {first}");
            assert!(second.abs_diff(600) <= 2, "{model:?} {second}");
        }
        let window = Model::FixedWindow { limit: 600, window: minute };
        assert_eq!(passed(window, [0.5, 1.0]), [300, 600]);
        let [first, _] = passed(Model::SlidingWindow { limit: 600, window: minute }, [0.5, 1.0]);
        assert_eq!(first, 300);
    }
}
