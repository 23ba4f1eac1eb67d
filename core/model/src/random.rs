//! One seed gives a stream of random numbers for every (purpose, device, count).
//!
//! A draw is a pure function of its key, so it does not depend on the order in which devices happen to run, and
//! removing one consumer never changes what another one draws.

use crate::time::Span;

/// The seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// What a random number is for. Each purpose has its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// When a device boots.
    Arrival = 1,
    /// Which cohort a device belongs to.
    Cohort = 2,
    /// Keys and serial numbers of identities.
    Identity = 3,
    /// The upward jitter of a device's poll interval.
    Poll = 4,
    /// First draw handed to a retry strategy.
    Retry = 5,
    /// Second draw handed to a retry strategy.
    RetryMore = 6,
    /// How long the service takes to assign a device.
    Assignment = 7,
    /// Tracking ids and operation ids of the service.
    Tracking = 8,
    /// `Retry-After` values that the service jitters.
    RetryAfter = 9,
    /// Simulated network and service times.
    Network = 10,
    /// Faults.
    Chaos = 11,
    /// Resamples of a bootstrap.
    Resample = 12,
    /// Which devices of a large fleet are watched event by event.
    Watch = 13,
    /// Keys that the service hands to TPMs.
    TpmKey = 20,
    /// Back-offs and patience at a hub, and when power comes back.
    Life = 21,
}

impl Seed {
    /// The `count`-th number of the stream (`purpose`, `device`).
    pub const fn draw(self, purpose: Purpose, device: u32, count: u32) -> u64 {
        let key = ((purpose as u64) << 32) | device as u64;
        let a = mix(self.0 ^ 0xa076_1d64_78bd_642f, key ^ 0xe703_7ed1_a0b4_28db);
        mix(a ^ count as u64 ^ 0x8ebc_6af0_9c88_c6e3, a.rotate_left(32) ^ 0x5899_65cc_7537_4cc3)
    }

    /// A number in [0, 1) from the same stream.
    pub fn fraction(self, purpose: Purpose, device: u32, count: u32) -> f64 {
        fraction(self.draw(purpose, device, count))
    }
}

/// Maps 64 random bits to [0, 1).
pub fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Maps 64 random bits to a span in [0, limit).
pub fn span_below(bits: u64, limit: Span) -> Span {
    Span::from_nanos(((bits as u128 * limit.as_nanos() as u128) >> 64) as u64)
}

/// Folded 128-bit multiplication, the mixing step of wyhash (Wang Yi, "Modern Non-Cryptographic Hash Function",
/// 2019): every input bit reaches every output bit in one multiplication.
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_uniform_and_independent_of_each_other() {
        let seed = Seed(7);
        let n = 20_000u32;
        let mean = |f: &dyn Fn(u32) -> f64| (0..n).map(f).sum::<f64>() / f64::from(n);
        let a = |i| seed.fraction(Purpose::Retry, i, 0);
        let b = |i| seed.fraction(Purpose::Retry, 0, i);
        let c = |i| seed.fraction(Purpose::Poll, i, 0);
        for (name, f) in [("device", &a as &dyn Fn(u32) -> f64), ("count", &b), ("purpose", &c)] {
            assert!((mean(f) - 0.5).abs() < 0.01, "{name}: {}", mean(f));
        }
        for (x, y) in [(&a as &dyn Fn(u32) -> f64, &c as &dyn Fn(u32) -> f64), (&a, &b)] {
            let covariance = mean(&|i| (x(i) - 0.5) * (y(i) - 0.5));
            assert!(covariance.abs() < 0.003, "{covariance}");
        }
    }

    #[test]
    fn a_draw_depends_on_its_key_only() {
        assert_eq!(Seed(1).draw(Purpose::Retry, 3, 4), Seed(1).draw(Purpose::Retry, 3, 4));
        assert_ne!(Seed(1).draw(Purpose::Retry, 3, 4), Seed(2).draw(Purpose::Retry, 3, 4));
        assert_ne!(Seed(1).draw(Purpose::Retry, 3, 4), Seed(1).draw(Purpose::Retry, 4, 3));
    }

    #[test]
    fn spans_stay_below_their_limit() {
        assert_eq!(span_below(u64::MAX, Span::from_nanos(10)), Span::from_nanos(9));
        assert_eq!(span_below(u64::MAX, Span::ZERO), Span::ZERO);
        assert!(span_below(u64::MAX, Span::MAX) < Span::MAX);
    }
}
