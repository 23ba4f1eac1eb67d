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
    /// The two draws handed to a retry strategy.
    Retry = 5,
    /// The jitter that the host adds to a first attempt.
    FirstJitter = 6,
    /// How long the service takes to assign a device.
    Assignment = 7,
    /// Tracking ids of the service's answers.
    Tracking = 8,
    /// `Retry-After` values that the service jitters.
    RetryAfter = 9,
    /// Simulated network and service times.
    Network = 10,
    /// Whether a device is among those that a fault can hit.
    FaultShare = 11,
    /// Resamples of a bootstrap.
    Resample = 12,
    /// Which devices of a large fleet are watched event by event.
    Watch = 13,
    /// Whether a fault hits this time.
    FaultChance = 14,
    /// When an occurrence of a fault begins.
    FaultJitter = 15,
    /// What a fault does to whom it hits.
    FaultValue = 16,
    /// Ids of operations, and the tags of registrations.
    Operation = 17,
    /// Tags of enrollments.
    EnrollmentTag = 18,
    /// Keys that the service makes for enrollments.
    EnrollmentKey = 19,
    /// Keys that the service hands to TPMs.
    TpmKey = 20,
    /// Back-offs and patience at a hub, and when power comes back.
    Life = 21,
    /// Which requests meet an outage of the service.
    Outage = 22,
    /// When a hub calls a device.
    Command = 23,
    /// The number that stays with a device, whatever the seed.
    DeviceHash = 24,
    /// When a device tries again that an open circuit breaker held back.
    Breaker = 25,
    /// Seeds of what has a name of its own.
    Name = 26,
}

impl Seed {
    /// The `count`-th number of the stream (`purpose`, `device`).
    pub fn draw(self, purpose: Purpose, device: u32, count: u32) -> u64 {
        self.pair(purpose, device as u64, count)[0]
    }

    /// The `count`-th two numbers of the stream (`purpose`, `key`), for the price of one: they are independent of each
    /// other, and the first is what [`Seed::draw`] returns for a device of that number.
    #[inline]
    pub fn pair(self, purpose: Purpose, key: u64, count: u32) -> [u64; 2] {
        let counter = [count, key as u32, (key >> 32) as u32, purpose as u32];
        philox(counter, [self.0 as u32, (self.0 >> 32) as u32])
    }

    /// A number in [0, 1) from the same stream as [`Seed::draw`].
    pub fn fraction(self, purpose: Purpose, device: u32, count: u32) -> f64 {
        fraction(self.draw(purpose, device, count))
    }

    /// The seed of something that is known by its name and not by a number.
    pub fn named(self, name: &[u8]) -> Self {
        // FNV-1a (Fowler, Noll, Vo) makes a number of the name; the draw does the mixing.
        let key = name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let [seed, _] = self.pair(Purpose::Name, key, 0);
        Self(seed)
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

/// The multipliers of the two halves of a block.
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
/// What a round adds to the two halves of the key.
const STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Philox4x32-10, a generator without state: a block cipher over the counter, made for simulations that key and count
/// their draws (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; `std::philox4x32`
/// of C++26). Its authors report that it passes BigCrush, along the counter and across keys.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn philox_by_words(mut counter: [u32; 4], mut key: [u32; 2]) -> [u64; 2] {
    for _ in 0..10 {
        let [even, odd] = [0, 1].map(|half| u64::from(MULTIPLIERS[half]) * u64::from(counter[2 * half]));
        counter = [
            (odd >> 32) as u32 ^ counter[1] ^ key[0],
            odd as u32,
            (even >> 32) as u32 ^ counter[3] ^ key[1],
            even as u32,
        ];
        key = [key[0].wrapping_add(STEPS[0]), key[1].wrapping_add(STEPS[1])];
    }
    let [a, b, c, d] = counter.map(u64::from);
    [a | b << 32, c | d << 32]
}

/// The same with both halves of the block in one register: three fifths of the instructions.
#[cfg(target_arch = "x86_64")]
#[inline]
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u64; 2] {
    use safe_arch::{
        add_i32_m128i, bitand_m128i, bitor_m128i, bitxor_m128i, m128i, mul_widen_u32_odd_m128i,
        shl_imm_u64_m128i, shr_imm_u64_m128i, shuffle_ai_f32_all_m128i,
    };
    // A lane of 64 bits holds a word of 32, and whatever the other half is left with.
    let lanes = |low: u32, high: u32| m128i::from([u64::from(low), u64::from(high)]);
    let multipliers = lanes(MULTIPLIERS[0], MULTIPLIERS[1]);
    let steps = lanes(STEPS[0], STEPS[1]);
    let mut key = lanes(key[0], key[1]);
    let (mut factors, mut others) = (lanes(counter[0], counter[2]), lanes(counter[1], counter[3]));
    for _ in 0..10 {
        let products = mul_widen_u32_odd_m128i(factors, multipliers);
        let swapped = shuffle_ai_f32_all_m128i::<0b00_01_10_11>(products);
        factors = bitxor_m128i(swapped, bitxor_m128i(others, key));
        others = shr_imm_u64_m128i::<32>(swapped);
        key = add_i32_m128i(key, steps);
    }
    let words = lanes(u32::MAX, u32::MAX);
    bitor_m128i(bitand_m128i(factors, words), shl_imm_u64_m128i::<32>(others)).into()
}

#[cfg(not(target_arch = "x86_64"))]
use philox_by_words as philox;

#[cfg(test)]
mod tests;
