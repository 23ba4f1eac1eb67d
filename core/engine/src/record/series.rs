//! Counts per second.

use fleetstorm_reports::record::Series;
use fleetstorm_units::time::Moment;

/// One second of a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Second {
    pub(super) intended: u32,
    pub(super) sent: u32,
    pub(super) accepted: u32,
    pub(super) throttled: u32,
    pub(super) failed: u32,
    pub(super) assigned: u32,
    /// Devices that booted or woke from parking.
    pub(super) entered: u32,
    /// Devices that came to rest.
    pub(super) left: u32,
    /// Register and lookup requests that were sent.
    pub(super) registers: u32,
    /// Those that were their device's first.
    pub(super) first: u32,
}

/// The seconds of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    seconds: Vec<Second>,
}

/// Two weeks. A longer run counts everything after it in its last second rather than growing without bound.
pub(super) const SECONDS_MAX: usize = 14 * 86_400;

/// The second of a moment.
fn second(moment: Moment) -> usize {
    ((moment.as_nanos() / 1_000_000_000) as usize).min(SECONDS_MAX - 1)
}

/// Moments in ascending order, counted by second.
pub(super) fn per_second(moments: &[Moment]) -> Vec<u32> {
    let mut counts = vec![0; moments.last().map_or(0, |last| second(*last) + 1)];
    for moment in moments {
        counts[second(*moment)] += 1;
    }
    counts
}

impl Timeline {
    pub(super) fn at(&mut self, moment: Moment) -> &mut Second {
        let index = second(moment);
        if index >= self.seconds.len() {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    pub(super) fn merged<'a>(shards: impl Iterator<Item = &'a Self> + Clone) -> Series {
        let length = shards.clone().map(|shard| shard.seconds.len()).max().unwrap_or(0);
        let mut series = Series::default();
        let mut in_flight = 0u32;
        for index in 0..length {
            let sum = |field: fn(&Second) -> u32| {
                shards.clone().filter_map(|shard| shard.seconds.get(index)).map(field).sum::<u32>()
            };
            series.intended.push(sum(|second| second.intended));
            series.sent.push(sum(|second| second.sent));
            series.accepted.push(sum(|second| second.accepted));
            series.throttled.push(sum(|second| second.throttled));
            series.failed.push(sum(|second| second.failed));
            series.assigned.push(sum(|second| second.assigned));
            series.registers.push(sum(|second| second.registers));
            series.first.push(sum(|second| second.first));
            series.booted.push(sum(|second| second.entered));
            in_flight = (in_flight + sum(|second| second.entered)).saturating_sub(sum(|second| second.left));
            series.in_flight.push(in_flight);
        }
        series
    }
}
