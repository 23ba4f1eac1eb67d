//! Counts by row and by time, in bounded memory.
//!
//! Time is cut into at most [`WINDOWS`] windows of equal length. When a run outgrows them, neighbours are added up and
//! the length doubles, so a run of seconds is seen finely and one of weeks costs no more. Lengths are powers of two in
//! nanoseconds: finding a window is a shift.

use fleetstorm_units::time::Moment;

/// Most windows.
pub(super) const WINDOWS: usize = 192;
/// The first length: 2^27 ns, some 134 ms.
const SHORTEST: u32 = 27;

/// Counts by row and window. Rows exist once they have a count.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    /// A window is `1 << shift` nanoseconds long.
    shift: u32,
    rows: Vec<Option<Box<[u32; WINDOWS]>>>,
}

impl Default for Matrix {
    fn default() -> Self {
        Self { shift: SHORTEST, rows: Vec::new() }
    }
}

impl Matrix {
    /// Counts one event.
    pub(super) fn add(&mut self, row: usize, at: Moment) {
        let mut window = (at.as_nanos() >> self.shift) as usize;
        while window >= WINDOWS {
            self.widen();
            window = (at.as_nanos() >> self.shift) as usize;
        }
        if row >= self.rows.len() {
            self.rows.resize(row + 1, None);
        }
        let counts = self.rows[row].get_or_insert_with(|| Box::new([0; WINDOWS]));
        counts[window] = counts[window].saturating_add(1);
    }

    fn widen(&mut self) {
        self.shift += 1;
        for counts in self.rows.iter_mut().flatten() {
            for window in 0..WINDOWS {
                let pair = |at: usize| counts.get(at).copied().unwrap_or(0);
                counts[window] = pair(2 * window).saturating_add(pair(2 * window + 1));
            }
        }
    }

    /// Makes the windows as long as those of `shift`.
    pub(super) fn widen_to(&mut self, shift: u32) {
        while self.shift < shift {
            self.widen();
        }
    }

    /// The windows' length as a power of two.
    pub(super) const fn shift(&self) -> u32 {
        self.shift
    }

    /// Adds another one's row `from` to row `to`. Both have windows of the same length.
    pub(super) fn add_row(&mut self, to: usize, other: &Self, from: usize) {
        let Some(theirs) = other.rows.get(from).and_then(Option::as_deref) else { return };
        if to >= self.rows.len() {
            self.rows.resize(to + 1, None);
        }
        let mine = self.rows[to].get_or_insert_with(|| Box::new([0; WINDOWS]));
        for (mine, theirs) in mine.iter_mut().zip(theirs) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Adds every row of another one.
    pub(super) fn merge(&mut self, other: &Self) {
        for row in 0..other.rows.len() {
            self.add_row(row, other, row);
        }
    }

    /// The rows that have counts.
    pub(super) fn filled(&self) -> std::ops::Range<usize> {
        let first = self.rows.iter().position(Option::is_some).unwrap_or(0);
        let last = self.rows.iter().rposition(Option::is_some).map_or(first, |last| last + 1);
        first..last
    }

    /// The first `windows` counts of a row.
    pub(super) fn row(&self, row: usize, windows: usize) -> Vec<u32> {
        let counts = self.rows.get(row).and_then(Option::as_deref);
        counts.map_or_else(|| vec![0; windows], |counts| counts[..windows.min(WINDOWS)].to_vec())
    }

    /// How many windows there are up to the last one with a count.
    pub(super) fn windows(&self) -> usize {
        let last = |counts: &[u32; WINDOWS]| counts.iter().rposition(|count| *count > 0);
        self.rows.iter().flatten().filter_map(|counts| last(counts)).max().map_or(0, |last| last + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_event_is_lost_however_long_the_run(
            events in prop::collection::vec((0..5usize, 0..(20 * 86_400_000_000_000u64)), 1..200),
        ) {
            let mut whole = Matrix::default();
            let mut parts = [Matrix::default(), Matrix::default()];
            for (index, &(row, at)) in events.iter().enumerate() {
                whole.add(row, Moment::from_nanos(at));
                parts[index % 2].add(row, Moment::from_nanos(at));
            }
            let shift = parts.iter().map(Matrix::shift).max().unwrap();
            prop_assert_eq!(whole.shift(), shift);
            let mut sum = Matrix::default();
            sum.widen_to(shift);
            for part in &mut parts {
                part.widen_to(shift);
                sum.merge(part);
            }
            for row in 0..5 {
                prop_assert_eq!(sum.row(row, WINDOWS), whole.row(row, WINDOWS));
                let counted: u64 = whole.row(row, WINDOWS).into_iter().map(u64::from).sum();
                prop_assert_eq!(counted, events.iter().filter(|event| event.0 == row).count() as u64);
            }
            let (row, last) = *events.iter().max_by_key(|event| event.1).unwrap();
            prop_assert_eq!(whole.windows(), (last >> shift) as usize + 1);
            prop_assert!(whole.row(row, WINDOWS)[whole.windows() - 1] > 0);
        }
    }

    #[test]
    fn a_short_run_is_seen_finely() {
        let mut matrix = Matrix::default();
        matrix.add(3, Moment::from_nanos(0));
        matrix.add(3, Moment::from_nanos(140_000_000));
        assert_eq!((matrix.filled(), matrix.row(3, 2), matrix.row(9, 2)), (3..4, vec![1, 1], vec![0, 0]));
    }
}
