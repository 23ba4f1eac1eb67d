//! Whether retries fall together: their instants in slots of 100 ms, and the rhythm in them.

use std::f64::consts::TAU;

use fleetstorm_reports::record::HerdIndex;
use fleetstorm_units::time::Moment;

/// Length of a slot, as the literature on retry storms counts (`strategies` 2.4).
const SLOT_NS: u64 = 100_000_000;
const SLOTS_A_SECOND: usize = 10;
/// A day; what comes later counts in the last slot.
const SLOTS_MAX: usize = 86_400 * SLOTS_A_SECOND;
/// The periods that are looked for, in seconds (`strategies` 5.2).
const PERIOD_MAX_S: u32 = 120;
/// A period must fit so often into the time of the retries: a single wave has no rhythm.
const PERIODS_MIN: usize = 4;
/// Most parts of a folded period.
const PARTS_MAX: usize = 120;

/// The retries of a shard.
#[derive(Debug, Default)]
pub(super) struct Retries(Vec<u32>);

impl Retries {
    pub(super) fn add(&mut self, now: Moment) {
        let slot = ((now.as_nanos() / SLOT_NS) as usize).min(SLOTS_MAX - 1);
        if slot >= self.0.len() {
            self.0.resize(slot + 1, 0);
        }
        self.0[slot] += 1;
    }

    /// What the retries of all shards have in common.
    pub(super) fn index<'a>(shards: impl Iterator<Item = &'a Self>) -> HerdIndex {
        let mut slots: Vec<u32> = Vec::new();
        for Self(counts) in shards {
            slots.resize(slots.len().max(counts.len()), 0);
            for (sum, count) in slots.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        let present: Vec<(usize, u32)> =
            slots.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        let retries: u64 = present.iter().map(|(_, count)| u64::from(*count)).sum();
        if retries < 2 {
            return HerdIndex { retries, ..HerdIndex::default() };
        }
        let slots_between = |(first, last): (&(usize, u32), &(usize, u32))| last.0 - first.0;
        let span = present.first().zip(present.last()).map_or(0, slots_between);
        let longest = u32::try_from(span / SLOTS_A_SECOND / PERIODS_MIN).unwrap_or(PERIOD_MAX_S);
        let longest = longest.clamp(1, PERIOD_MAX_S);
        let rs: Vec<f64> =
            (1..=reach(longest)).map(|period| rayleigh(&folded(&present, period), retries)).collect();
        let (synchrony, period_s) = strongest(&rs, longest);
        let fullest = present.iter().max_by_key(|(slot, count)| (*count, std::cmp::Reverse(*slot)));
        let (slot, count) = fullest.copied().unwrap_or_default();
        HerdIndex {
            retries,
            synchrony: Some(synchrony),
            period_s,
            fullest_share: Some(f64::from(count) / retries as f64),
            fullest_ns: slot as u64 * SLOT_NS,
            folded: thinned(&folded(&present, period_s)),
        }
    }
}

/// How far above its surroundings a peak must stand.
const PROMINENCE: f64 = 0.02;

/// The longest period that must be known to tell whether `period` is a peak.
fn reach(period: u32) -> u32 {
    period + (period / 10).max(1)
}

/// The largest R that is a peak, and its period. A load that fades makes R grow with the period without end: that is a
/// slope and no rhythm.
fn strongest(rs: &[f64], longest: u32) -> (f64, u32) {
    let at = |period: u32| rs.get(period as usize - 1).copied().unwrap_or(0.0);
    let is_peak = |period: &u32| {
        let apart = reach(*period) - period;
        let around = at(period.saturating_sub(apart).max(1)).max(at(period + apart));
        at(*period) > around + PROMINENCE
    };
    let peaks = (2..=longest).filter(is_peak).chain([1]);
    let best = peaks.max_by(|a, b| at(*a).total_cmp(&at(*b)).then(b.cmp(a))).unwrap_or(1);
    (at(best), best)
}

/// The slots of every period on top of each other. A period is a whole number of slots, so nothing is lost.
fn folded(present: &[(usize, u32)], period_s: u32) -> Vec<u32> {
    let mut parts = vec![0; period_s as usize * SLOTS_A_SECOND];
    let (mut part, mut before) = (0, 0);
    for &(slot, count) in present {
        part += slot - before;
        before = slot;
        // Slots ascend, so there is something to divide once a period, and not once a slot.
        if part >= parts.len() {
            part %= parts.len();
        }
        parts[part] += count;
    }
    parts
}

/// Rayleigh's R of counts around a circle.
fn rayleigh(parts: &[u32], all: u64) -> f64 {
    let (mut x, mut y) = (0.0, 0.0);
    for (part, count) in parts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (sin, cos) = (TAU * part as f64 / parts.len() as f64).sin_cos();
        (x, y) = (x + f64::from(*count) * cos, y + f64::from(*count) * sin);
    }
    f64::hypot(x, y) / all as f64
}

/// Neighbours added up until they are few enough to draw.
fn thinned(parts: &[u32]) -> Vec<u32> {
    let width = parts.len().div_ceil(PARTS_MAX);
    parts.chunks(width).map(|chunk| chunk.iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use fleetstorm_units::random::{Purpose, Seed};

    use super::*;

    fn index(instants_s: impl Iterator<Item = f64>) -> HerdIndex {
        let mut retries = Retries::default();
        for at in instants_s {
            retries.add(Moment::from_nanos((at * 1e9) as u64));
        }
        Retries::index([&retries].into_iter())
    }

    /// The length of the mean of unit vectors, each instant an angle of the period (Rayleigh, 1919).
    fn rayleigh(instants: &[f64], period: f64) -> f64 {
        let sum = |part: fn(f64) -> f64| -> f64 {
            instants.iter().map(|at| part(std::f64::consts::TAU * at / period)).sum()
        };
        f64::hypot(sum(f64::cos), sum(f64::sin)) / instants.len() as f64
    }

    #[test]
    fn a_rhythm_is_found_as_by_the_plain_formula() {
        let jitter = |n| Seed(1).fraction(Purpose::Resample, n, 0);
        let instants: Vec<f64> = (0..400).map(|n| f64::from(n) * 30.0 + 2.0 * jitter(n)).collect();
        let found = index(instants.iter().copied());
        let slotted: Vec<f64> = instants.iter().map(|at| (at * 10.0).floor() / 10.0).collect();
        let (r, period) = (1..PERIOD_MAX_S)
            .map(|period| (rayleigh(&slotted, f64::from(period)), period))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap();
        assert!((found.synchrony.unwrap() - r).abs() < 1e-9, "{found:?} {r}");
        assert_eq!(found.period_s, period);
        assert!(r > 0.9);
        assert_eq!(found.folded.iter().sum::<u32>(), 400);
        assert!(found.folded.len() <= PARTS_MAX);
    }

    #[test]
    fn scattered_retries_have_no_rhythm_and_one_retry_has_no_index() {
        let fading = index((0..5_000).map(|n| 400.0 * (f64::from(n) / 5_000.0).powi(3)));
        assert!(fading.synchrony.unwrap() < 0.2, "{fading:?}");
        let scattered = index((0..5_000).map(|n| Seed(2).fraction(Purpose::Resample, n, 0) * 3_000.0));
        assert!(scattered.synchrony.unwrap() < 0.1, "{scattered:?}");
        assert!(scattered.fullest_share.unwrap() < 0.01);
        assert_eq!(index([5.0].into_iter()), HerdIndex { retries: 1, ..HerdIndex::default() });
        let together = index([7.25; 50].into_iter());
        assert_eq!((together.fullest_share, together.fullest_ns), (Some(1.0), 7_200_000_000));
        let wave = index((0..1_000).map(|n| f64::from(n) / 100.0));
        assert!(wave.period_s <= 2 && wave.synchrony.unwrap() < 0.1, "one wave of ten seconds: {wave:?}");
    }
}
