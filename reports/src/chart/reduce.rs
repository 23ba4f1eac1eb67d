//! Long series in few points.

/// Cuts a series into buckets of equal, round length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Entries of a bucket.
    width: usize,
    /// Entries in all.
    entries: usize,
    /// Seconds that an entry covers.
    step_s: usize,
}

/// Lengths that a person can name.
const WIDTHS_S: [usize; 18] =
    [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 21_600, 86_400];

impl Buckets {
    /// The shortest round buckets of which at most `max` cover `entries` of `step_s` seconds each.
    pub(crate) fn new(entries: usize, step_s: u32, max: usize) -> Self {
        let (max, step_s) = (max.max(1), step_s.max(1) as usize);
        let widths = WIDTHS_S.into_iter().filter(|width_s| width_s.is_multiple_of(step_s));
        let round = widths.map(|width_s| width_s / step_s).find(|width| entries.div_ceil(*width) <= max);
        Self { width: round.unwrap_or_else(|| entries.div_ceil(max).max(1)), entries, step_s }
    }

    /// Seconds that a bucket covers.
    pub(crate) fn width_s(self) -> usize {
        self.width * self.step_s
    }

    /// The length in words.
    pub(crate) fn width(self) -> String {
        let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
        let unit = units.into_iter().find(|(unit_s, _)| self.width_s().is_multiple_of(*unit_s));
        let (unit_s, name) = unit.unwrap_or((1, "s"));
        format!("{} {name}", self.width_s() / unit_s)
    }

    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.entries.div_ceil(self.width)
    }

    /// When bucket `index` begins, in seconds.
    pub(crate) fn start_s(self, index: usize) -> f64 {
        (index * self.width_s()) as f64
    }

    /// When bucket `index` ends, in seconds.
    pub(crate) fn end_s(self, index: usize) -> f64 {
        (((index + 1) * self.width).min(self.entries) * self.step_s) as f64
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

    /// The largest entry of each bucket.
    pub(crate) fn peaks(self, counts: &[u32]) -> Vec<u64> {
        self.fold(counts, |bucket| bucket.iter().copied().max().unwrap_or(0).into())
    }

    /// The smallest entry of each bucket.
    pub(crate) fn lows(self, counts: &[u32]) -> Vec<u64> {
        self.fold(counts, |bucket| bucket.iter().copied().min().unwrap_or(0).into())
    }

    /// The values of the buckets as stairs, from the start of the first to the end of the last.
    pub(crate) fn stairs(self, values: Vec<f64>) -> Vec<(f64, f64)> {
        let end = values.last().map(|last| (self.end_s(values.len() - 1), *last));
        let starts = values.into_iter().enumerate().map(|(index, value)| (self.start_s(index), value));
        starts.chain(end).collect()
    }

    /// Missing entries count as nothing.
    fn fold(self, counts: &[u32], of: impl Fn(&[u32]) -> u64) -> Vec<u64> {
        let counts = &counts[..counts.len().min(self.entries)];
        let mut out: Vec<u64> = counts.chunks(self.width).map(of).collect();
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
        let buckets = Buckets::new(14 * 86_400, 1, 600);
        assert_eq!((buckets.width_s(), buckets.len()), (3_600, 336));
        let stepped = Buckets::new(6_000, 10, 600);
        assert_eq!((stepped.width_s(), stepped.len(), stepped.end_s(599)), (120, 500, 60_000.0));
        assert_eq!(stepped.rates_per_s(&[20; 12]), [[2.0].as_slice(), &[0.0; 499]].concat());
        assert_eq!((Buckets::new(600, 1, 600).width(), buckets.width()), ("1 s".into(), "1 h".into()));
        assert_eq!([Buckets::new(0, 1, 600).len(), Buckets::new(0, 7, 1).len()], [0, 0]);
    }

    #[test]
    fn a_last_bucket_that_is_cut_short_keeps_its_rate() {
        let buckets = Buckets::new(5, 1, 3);
        assert_eq!(buckets.rates_per_s(&[4, 4, 4, 4, 4]), [4.0, 4.0, 4.0]);
        assert_eq!(buckets.peaks(&[1, 7, 2, 3]), [7, 3, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(counts in prop::collection::vec(0..1_000u32, 0..3_000), max in 1..700usize,
            step_s in 0..61u32) {
            let buckets = Buckets::new(counts.len(), step_s, max);
            prop_assert!(buckets.len() <= max);
            let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
            prop_assert_eq!(buckets.sums(&counts).iter().sum::<u64>(), sum);
            let peak = counts.iter().copied().max().unwrap_or(0);
            prop_assert_eq!(buckets.peaks(&counts).into_iter().max().unwrap_or(0), u64::from(peak));
        }
    }
}
