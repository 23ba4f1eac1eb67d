//! Long series in few points.

/// Cuts seconds into buckets of equal, round length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Length of a bucket.
    pub(crate) width_s: usize,
    /// Seconds in all.
    seconds: usize,
}

/// Lengths that a person can name.
const WIDTHS_S: [usize; 18] =
    [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 21_600, 86_400];

impl Buckets {
    /// The shortest round buckets of which at most `max` cover `seconds`.
    pub(crate) fn new(seconds: usize, max: usize) -> Self {
        let max = max.max(1);
        let round = WIDTHS_S.into_iter().find(|width| seconds.div_ceil(*width) <= max);
        Self { width_s: round.unwrap_or_else(|| seconds.div_ceil(max)), seconds }
    }

    /// The length in words.
    pub(crate) fn width(self) -> String {
        let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
        let unit = units.into_iter().find(|(unit_s, _)| self.width_s.is_multiple_of(*unit_s));
        let (unit_s, name) = unit.unwrap_or((1, "s"));
        format!("{} {name}", self.width_s / unit_s)
    }

    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.seconds.div_ceil(self.width_s)
    }

    /// When bucket `index` begins, in seconds.
    pub(crate) fn start_s(self, index: usize) -> f64 {
        (index * self.width_s) as f64
    }

    /// When bucket `index` ends, in seconds.
    pub(crate) fn end_s(self, index: usize) -> f64 {
        ((index + 1) * self.width_s).min(self.seconds) as f64
    }

    /// The sum of each bucket.
    pub(crate) fn sums(self, counts: &[u32]) -> Vec<u64> {
        self.fold(counts, |bucket| bucket.iter().map(|count| u64::from(*count)).sum())
    }

    /// The average second of each bucket.
    pub(crate) fn rates_per_s(self, counts: &[u32]) -> Vec<f64> {
        let sums = self.sums(counts);
        let lengths = (0..).map(|index| (self.end_s(index) - self.start_s(index)).max(1.0));
        sums.into_iter().zip(lengths).map(|(sum, length)| sum as f64 / length).collect()
    }

    /// The largest second of each bucket.
    pub(crate) fn peaks(self, counts: &[u32]) -> Vec<u64> {
        self.fold(counts, |bucket| bucket.iter().copied().max().unwrap_or(0).into())
    }

    /// The values of the buckets as stairs, from the start of the first to the end of the last.
    pub(crate) fn stairs(self, values: Vec<f64>) -> Vec<(f64, f64)> {
        let end = values.last().map(|last| (self.end_s(values.len() - 1), *last));
        let starts = values.into_iter().enumerate().map(|(index, value)| (self.start_s(index), value));
        starts.chain(end).collect()
    }

    /// Missing seconds count as nothing.
    fn fold(self, counts: &[u32], of: impl Fn(&[u32]) -> u64) -> Vec<u64> {
        let counts = &counts[..counts.len().min(self.seconds)];
        let mut out: Vec<u64> = counts.chunks(self.width_s).map(of).collect();
        out.resize(self.len(), 0);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_weeks_fit_into_few_round_buckets() {
        let buckets = Buckets::new(14 * 86_400, 600);
        assert_eq!((buckets.width_s, buckets.len()), (3_600, 336));
        assert_eq!((Buckets::new(600, 600).width(), buckets.width()), ("1 s".into(), "1 h".into()));
        assert_eq!(Buckets::new(0, 600).len(), 0);
    }

    #[test]
    fn a_last_bucket_that_is_cut_short_keeps_its_rate() {
        let buckets = Buckets::new(5, 3);
        assert_eq!(buckets.rates_per_s(&[4, 4, 4, 4, 4]), [4.0, 4.0, 4.0]);
        assert_eq!(buckets.peaks(&[1, 7, 2, 3]), [7, 3, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(counts in prop::collection::vec(0..1_000u32, 0..3_000), max in 1..700usize) {
            let buckets = Buckets::new(counts.len(), max);
            prop_assert!(buckets.len() <= max);
            let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
            prop_assert_eq!(buckets.sums(&counts).iter().sum::<u64>(), sum);
            let peak = counts.iter().copied().max().unwrap_or(0);
            prop_assert_eq!(buckets.peaks(&counts).into_iter().max().unwrap_or(0), u64::from(peak));
        }
    }
}
