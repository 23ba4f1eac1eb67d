//! How late a shard's event loop runs, and what of that is in each time that is measured.
//!
//! A loop that is held up (by its own work, by other processes, by a stopped process or machine) learns of answers late and
//! takes the delay for the service's. So a beat is due at even intervals, and each time that passes without it is held
//! against what ended meanwhile. The loop may read answers before it comes to the beat: what is overdue counts as it grows.

use fleetstorm_units::time::{Moment, Span};

/// Time between two beats.
pub(crate) const BEAT: Span = Span::from_millis(10);
/// Less is no gap: timers and the system's scheduler are as exact as that.
const GAP_MIN: Span = Span::from_micros(500);
/// Gaps of at least this length in which the loop used less than this share of a core: it was not working, it stood still.
const STILL_MIN: Span = Span::from_millis(50);
const STILL_SHARE: f64 = 0.5;

/// The beats of one shard.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the next beat is due.
    due: Moment,
    /// How late the last one was.
    late: Span,
    /// Ends and lengths of gaps, the longest first: of those that end later, only a shorter one says something new.
    gaps: Vec<(Moment, Span)>,
    still: Span,
    busy: Busy,
    /// Delay of each device since it booted, in microseconds.
    delays_us: Vec<u32>,
}

/// Time on a processor that the shard's thread used.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    first: Option<(Moment, Span)>,
    last: (Moment, Span),
    second: (Moment, Span),
    worst: f64,
}

/// What the beats of all shards say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Health {
    /// The longest time for which a shard did nothing although it had to.
    pub(crate) still: Span,
    /// The share of a core that the busiest shard used over the run, and in its worst second.
    pub(crate) busy: f64,
    pub(crate) busy_worst: f64,
    /// Over how long that was seen.
    pub(crate) seen: Span,
    /// CPU time of all shards.
    pub(crate) cpu: Span,
    /// Devices that had not been started when the run ended though their time had come, and for how long at most.
    pub(crate) unwoken: u64,
    pub(crate) unwoken_longest: Span,
}

impl Pulse {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            due: Moment::FAR,
            late: Span::ZERO,
            gaps: Vec::new(),
            still: Span::ZERO,
            busy: Busy::default(),
            delays_us: vec![0; devices],
        }
    }

    /// The loop has come round, and its thread has used `cpu` until now. Returns when the next beat is due.
    pub(super) fn beat(&mut self, now: Moment, cpu: Span) -> Moment {
        if self.due != Moment::FAR {
            let gap = now.since(self.due);
            self.late = gap;
            if gap >= GAP_MIN {
                while self.gaps.last().is_some_and(|(_, length)| *length <= gap) {
                    self.gaps.pop();
                }
                self.gaps.push((now, gap));
            }
            let worked = cpu.saturating_sub(self.busy.last.1).as_secs_f64();
            if gap >= STILL_MIN && worked < STILL_SHARE * gap.as_secs_f64() {
                self.still = self.still.max(gap);
            }
        }
        self.busy.add(now, cpu);
        self.due = now + BEAT;
        self.due
    }

    /// What of the time from `from` until now is the loop's and not the service's. It is at most the longest gap that they
    /// have in common, and what the loop is behind.
    pub(super) fn delay(&self, from: Moment, now: Moment) -> Span {
        let since = self.gaps.partition_point(|(end, _)| *end <= from);
        let longest = self.gaps.get(since).map_or(Span::ZERO, |(_, length)| *length);
        let behind = if self.due == Moment::FAR { Span::ZERO } else { self.late.max(now.since(self.due)) };
        let behind = if behind >= GAP_MIN { behind } else { Span::ZERO };
        longest.max(behind).min(now.since(from))
    }

    /// A device was delayed by so much more.
    pub(super) fn delayed(&mut self, device: usize, delay: Span) {
        if let Some(sum) = self.delays_us.get_mut(device) {
            *sum = sum.saturating_add(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// A device starts over.
    pub(super) fn restarted(&mut self, device: usize) {
        if let Some(sum) = self.delays_us.get_mut(device) {
            *sum = 0;
        }
    }

    /// By how much a device has been delayed since it booted.
    pub(super) fn delay_of(&self, device: usize) -> Span {
        Span::from_micros(self.delays_us.get(device).copied().map_or(0, u64::from))
    }

    pub(super) fn health(&self) -> Health {
        let (seen, cpu) = match self.busy.first {
            Some((from, cpu)) => (self.busy.last.0.since(from), self.busy.last.1.saturating_sub(cpu)),
            None => (Span::ZERO, Span::ZERO),
        };
        let busy = if seen == Span::ZERO { 0.0 } else { cpu.as_secs_f64() / seen.as_secs_f64() };
        Health {
            still: self.still,
            busy,
            busy_worst: self.busy.worst.max(busy),
            seen,
            cpu,
            ..Health::default()
        }
    }
}

impl Busy {
    fn add(&mut self, now: Moment, cpu: Span) {
        if self.first.is_none() {
            self.first = Some((now, cpu));
            self.second = (now, cpu);
        }
        self.last = (now, cpu);
        let (from, before) = self.second;
        let passed = now.since(from);
        if passed >= Span::from_secs(1) {
            self.worst = self.worst.max(cpu.saturating_sub(before).as_secs_f64() / passed.as_secs_f64());
            self.second = (now, cpu);
        }
    }
}

impl Health {
    /// What this and another shard say together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            still: self.still.max(other.still),
            busy: self.busy.max(other.busy),
            busy_worst: self.busy_worst.max(other.busy_worst),
            seen: self.seen.max(other.seen),
            cpu: self.cpu + other.cpu,
            unwoken: self.unwoken + other.unwoken,
            unwoken_longest: self.unwoken_longest.max(other.unwoken_longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::START + Span::from_millis(ms)
    }

    const fn ms(ms: u64) -> Span {
        Span::from_millis(ms)
    }

    /// Beats that come in time from one moment to another, of a loop that has nothing to do.
    fn idle(pulse: &mut Pulse, from: u64, to: u64) {
        (from..=to).step_by(10).for_each(|now| {
            pulse.beat(at(now), Span::ZERO);
        });
    }

    #[test]
    fn a_stop_is_in_what_it_overlaps_and_in_nothing_else() {
        let mut pulse = Pulse::new(1);
        idle(&mut pulse, 0, 100);
        // Stopped from 105 to 1,110, and an answer is read before the beat is.
        assert_eq!(pulse.delay(at(90), at(1_110)), ms(1_000));
        pulse.beat(at(1_110), Span::ZERO);
        idle(&mut pulse, 1_120, 2_000);
        for (from, until, delay) in [
            (90, 1_120, 1_000),
            // It began in the middle of the stop, by a clock that the generator did not see.
            (600, 1_200, 600),
            (1_200, 2_000, 0),
        ] {
            assert_eq!(pulse.delay(at(from), at(until)), ms(delay), "{from} to {until}");
        }
        assert_eq!(pulse.health().still, ms(1_000));
    }

    #[test]
    fn a_stop_until_the_end_counts_though_no_beat_came_after_it() {
        let mut pulse = Pulse::new(1);
        idle(&mut pulse, 0, 100);
        assert_eq!(pulse.health().still, Span::ZERO);
        pulse.beat(at(60_000), ms(1));
        assert_eq!(pulse.health().still, ms(59_890));
    }

    #[test]
    fn work_is_no_standstill_and_counts_as_work() {
        let mut pulse = Pulse::new(1);
        for step in 0..100 {
            pulse.beat(at(step * 30), ms(step * 27));
        }
        let health = pulse.health();
        assert_eq!((health.still, health.seen, health.cpu), (Span::ZERO, ms(2_970), ms(2_673)));
        assert!((health.busy - 0.9).abs() < 1e-9 && health.busy_worst >= 0.9, "{health:?}");
        // Every beat is 20 ms late, and so is what is read between two of them.
        assert_eq!(pulse.delay(at(2_900), at(2_975)), ms(20));
        assert_eq!(pulse.delay(at(2_960), at(2_975)), ms(15));
    }

    #[test]
    fn a_device_has_its_delays_since_it_booted() {
        let mut pulse = Pulse::new(2);
        pulse.delayed(1, ms(5));
        pulse.delayed(1, ms(7));
        assert_eq!((pulse.delay_of(0), pulse.delay_of(1)), (Span::ZERO, ms(12)));
        pulse.restarted(1);
        assert_eq!(pulse.delay_of(1), Span::ZERO);
        pulse.delayed(9, ms(5));
    }

    proptest! {
        /// The longest gap since a moment, found by looking at all of them.
        #[test]
        fn the_longest_gap_is_the_longest_of_all(lates in prop::collection::vec(0..40u64, 1..60), back in 1..2_000u64) {
            let mut pulse = Pulse::new(0);
            let (mut now, mut all) = (0, Vec::new());
            pulse.beat(at(0), Span::ZERO);
            for late in lates {
                now += 10 + late;
                pulse.beat(at(now), Span::ZERO);
                all.push((now, late));
            }
            let from = now.saturating_sub(back);
            let last = all.last().map_or(0, |(_, late)| *late);
            let longest = all.iter().filter(|(end, _)| *end > from).map(|(_, late)| *late).max().unwrap_or(0);
            prop_assert_eq!(pulse.delay(at(from), at(now)), ms(longest.max(last).min(now - from)));
        }
    }
}
