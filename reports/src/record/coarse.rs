//! A record's size must not grow with the hours that it tells of.

use super::Record;

/// Two hours by the second; longer runs are kept in longer steps.
const STEPS_MAX: usize = 7_200;
/// Steps that a person can name, in seconds.
const STEPS_S: [u32; 9] = [1, 2, 5, 10, 20, 30, 60, 120, 300];

impl Record {
    /// Adds the seconds of every series up to steps, of which a record holds at most some thousands. The step is named
    /// in [`super::Series::step_s`]; a record that has steps already is left as it is.
    pub fn coarsen(&mut self) {
        let metrics = self.metrics.iter().map(|metric| metric.per_second.len());
        let metrics = metrics.chain(self.life.iter().map(|life| life.online.len()));
        let seconds = metrics.chain([self.series.sent.len(), self.series.in_flight.len()]).max().unwrap_or(0);
        let few = |step: &u32| seconds.div_ceil(*step as usize) <= STEPS_MAX;
        let step = STEPS_S.into_iter().find(few).unwrap_or(600);
        if self.series.step_s != 1 || step == 1 {
            return;
        }
        let series = &mut self.series;
        series.step_s = step;
        for counts in [
            &mut series.intended,
            &mut series.sent,
            &mut series.accepted,
            &mut series.throttled,
            &mut series.failed,
            &mut series.assigned,
            &mut series.registers,
            &mut series.first,
            &mut series.booted,
        ]
        .into_iter()
        .chain(self.cohorts.iter_mut().map(|cohort| &mut cohort.assigned))
        .chain(self.metrics.iter_mut().map(|metric| &mut metric.per_second))
        .chain(self.life.iter_mut().map(|life| &mut life.connects))
        {
            *counts =
                steps(counts, step, |chunk| chunk.iter().fold(0, |sum, count| sum.saturating_add(*count)));
        }
        // A level is what it is at the end of its step.
        let level = |counts: &[u32]| steps(counts, step, |chunk| chunk.last().copied().unwrap_or(0));
        series.in_flight = level(&series.in_flight);
        if let Some(life) = &mut self.life {
            life.online = level(&life.online);
        }
    }
}

fn steps(counts: &[u32], step: u32, of: impl Fn(&[u32]) -> u32) -> Vec<u32> {
    counts.chunks(step as usize).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Series;

    fn of(seconds: usize) -> Record {
        let mut record = Record::empty();
        let counts: Vec<u32> = (0..seconds as u32).map(|second| second % 7).collect();
        record.series = Series {
            sent: counts.clone(),
            in_flight: counts.clone(),
            registers: counts,
            ..Series::default()
        };
        record
    }

    #[test]
    fn a_run_of_hours_is_kept_in_steps_and_loses_no_count() {
        let (mut long, whole) = (of(60_000), of(60_000));
        long.coarsen();
        assert_eq!((long.series.step_s, long.series.sent.len()), (10, 6_000));
        let sum = |record: &Record| record.series.sent.iter().map(|count| u64::from(*count)).sum::<u64>();
        assert_eq!(sum(&long), sum(&whole));
        assert_eq!(long.series.in_flight[0], 9 % 7, "a level is that of the end of its step");
        let once = long.clone();
        long.coarsen();
        assert_eq!(long, once);
    }

    #[test]
    fn two_hours_are_kept_by_the_second_and_a_fortnight_is_small() {
        let mut short = of(7_200);
        short.coarsen();
        assert_eq!(short, of(7_200));
        let mut fortnight = of(14 * 86_400);
        fortnight.coarsen();
        assert!(fortnight.series.sent.len() <= STEPS_MAX);
    }
}
