//! Latency over time.

use fleetstorm_reports::record::Heat;
use fleetstorm_units::time::{Moment, Span};

use super::Phase;
use super::matrix::Matrix;

/// What is drawn over time.
const PHASES: [Phase; 4] = [Phase::Connect, Phase::Register, Phase::Poll, Phase::TimeToAssigned];

/// The heat of a shard, by phase.
#[derive(Default)]
pub(super) struct Heats([Matrix; PHASES.len()]);

impl Heats {
    /// Counts a sample that ended at `now`.
    pub(super) fn add(&mut self, phase: Phase, now: Moment, took: Span) {
        let at = match phase {
            Phase::Connect => 0,
            Phase::Register => 1,
            Phase::Poll => 2,
            Phase::TimeToAssigned => 3,
            _ => return,
        };
        self.0[at].add(bucket(took.as_micros()), now);
    }

    pub(super) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        self.0.iter_mut()
    }

    pub(super) fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        self.0.iter()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.merge(theirs);
        }
    }

    /// As a record holds it, over the first `windows` windows.
    pub(super) fn written(&self, windows: usize) -> Vec<Heat> {
        let phases = PHASES.iter().zip(&self.0).filter(|(_, matrix)| !matrix.filled().is_empty());
        phases
            .map(|(phase, matrix)| {
                let filled = matrix.filled();
                Heat {
                    phase: phase.name().to_owned(),
                    edges_us: (filled.start..=filled.end).map(edge_us).collect(),
                    rows: filled.map(|row| matrix.row(row, windows)).collect(),
                }
            })
            .collect()
    }
}

/// Four buckets to a doubling, each a quarter of a power of two wide.
fn bucket(us: u64) -> usize {
    let us = us.max(1);
    let doubling = us.ilog2();
    let quarter = ((us << 2) >> doubling) & 3;
    4 * doubling as usize + quarter as usize
}

/// Where a bucket begins, in microseconds, rounded up to whole ones.
fn edge_us(bucket: usize) -> u64 {
    let power = 1u64 << (bucket / 4).min(60);
    power + (power * (bucket % 4) as u64).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_lies_between_the_edges_of_its_bucket() {
        for us in (0..200).chain([999, 1_000, 65_535, 65_536, 98_304, 86_400_000_000]) {
            let bucket = bucket(us);
            assert!(edge_us(bucket) <= us.max(1) && us.max(1) < edge_us(bucket + 1), "{us} in {bucket}");
        }
    }

    #[test]
    fn what_is_written_holds_every_sample() {
        let mut heats = Heats::default();
        for ms in [1, 1, 30] {
            heats.add(Phase::Register, Moment::from_nanos(5), Span::from_millis(ms));
        }
        heats.add(Phase::Tls, Moment::from_nanos(5), Span::from_millis(1));
        let written = heats.written(1);
        assert_eq!(written.len(), 1);
        let heat = &written[0];
        assert_eq!((&*heat.phase, heat.edges_us.len()), ("register", heat.rows.len() + 1));
        assert_eq!((heat.rows[0][0], heat.rows.last().unwrap()[0]), (2, 1));
    }
}
