//! Strategies against throttles, as `compare` writes them.

use serde::{Deserialize, Serialize};

use super::Conclusion;

/// A finished comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The scenario's name.
    pub name: String,
    /// Devices in each run.
    pub devices: u64,
    /// Seeds that every pair has run with.
    pub seeds: u32,
    /// The strategy that the others are held against.
    pub baseline: String,
    /// The share of the baseline's value below which a difference does not matter.
    pub margin: f64,
    /// Whether it ended before all runs were made: then only the first seeds are there, and no difference is judged.
    pub partial: bool,
    /// How it ended.
    #[serde(default)]
    pub conclusion: Conclusion,
    /// Where every run ends at the latest: a time that was not reached is at least this. Absent in results of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon_s: Option<f64>,
    /// One entry a throttle.
    pub throttles: Vec<Against>,
}

/// All strategies against one throttle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// The throttle.
    pub throttle: String,
    /// In the scenario's order.
    pub strategies: Vec<Standing>,
    /// Every strategy against every other one; empty in results of earlier versions.
    #[serde(default)]
    pub pairs: Vec<Pair>,
}

/// Adjusted p-values below this are taken for a difference.
pub const SIGNIFICANT: f64 = 0.05;

impl Against {
    /// The fastest strategy among those that brought the whole fleet to its hub in every run; none where no strategy
    /// did.
    pub fn recommended(&self) -> Option<&Standing> {
        let key = |standing: &Standing| standing.median.t99_s.unwrap_or(f64::INFINITY);
        let whole = self.strategies.iter().filter(|standing| standing.is_whole());
        whole.min_by(|a, b| key(a).total_cmp(&key(b)))
    }

    /// How many differences are tested against this throttle: the family over which p-values are adjusted.
    pub fn tests(&self) -> usize {
        let effects: usize = self.strategies.iter().map(|standing| standing.effects.len()).sum();
        // The pairs of the baseline are the effects in T99.
        effects + self.pairs.iter().filter(|pair| pair.one != 0).count()
    }
}

/// The fewest seeds with which any of so many differences can be called clear: the randomisation test over n pairs of
/// runs knows no p below 2 in 2^n, and Holm multiplies the least p of `tests` by their number.
pub fn seeds_needed(tests: usize) -> u32 {
    (1..64).find(|seeds| tests as f64 * 2f64.powi(1 - seeds) < SIGNIFICANT).unwrap_or(64) as u32
}

/// How one strategy did against one throttle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The strategy.
    pub strategy: String,
    /// The median of each number over the runs; a time that half of the runs did not reach has none.
    pub median: Metrics,
    /// Runs in which less than 99 % of the devices got their hub before the horizon.
    pub unreached: u32,
    /// Whether it brought the whole fleet in, and no other that did is at least as good in T99, amplification and retry
    /// peak and better in one.
    pub pareto: bool,
    /// Against the baseline; empty for the baseline itself, and where nothing was judged.
    pub effects: Vec<Effect>,
    /// Every run, by seed.
    pub runs: Vec<Metrics>,
}

impl Standing {
    /// Whether every device of every run got its hub: nobody gave up, and the fleet was done before the horizon.
    pub fn is_whole(&self) -> bool {
        let whole = |run: &Metrics| run.t100_s.is_some() && run.given_up.is_none_or(|share| share <= 0.0);
        !self.runs.is_empty() && self.runs.iter().all(whole)
    }

    /// How its headline differs from the baseline's; the baseline has none.
    pub(crate) fn t99_effect(&self) -> Option<&Effect> {
        self.effects.iter().find(|effect| effect.metric == "t99_s")
    }
}

/// How a number differs from the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The number, as [`Metrics::FIELDS`] names it.
    pub metric: String,
    /// The median of the paired differences with a 95 % bootstrap interval: bounds where a time was not reached.
    pub difference: Difference,
    /// The probability that a run of this strategy has the larger number (Vargha and Delaney).
    pub a12: f64,
    /// The p-value of the randomisation test for pairs, in which a T99 that was not reached counts as the horizon,
    /// adjusted after Holm over all differences that are tested against the throttle ([`Against::tests`]).
    pub p: f64,
    /// What follows.
    pub verdict: Finding,
}

/// What follows from an effect. Smaller is better in every number that is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Clearly smaller than the baseline's.
    Better,
    /// Clearly larger.
    Worse,
    /// The interval spans the margin, or the test does not reject equality.
    NoClearDifference,
    /// It cannot be told: times were not reached, so that only bounds are known, or the seeds are too few for any claim.
    Undecided,
}

/// Two strategies and which of them was faster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The one, by its place among the strategies.
    pub one: usize,
    /// The other, which comes later.
    pub other: usize,
    /// The median of the paired differences in T99, one less the other, with a 95 % bootstrap interval, in seconds.
    pub difference: Difference,
    /// The p-value, adjusted as [`Effect::p`].
    pub p: f64,
    /// How the one did beside the other.
    pub verdict: Finding,
}

/// The median of paired differences and where it may lie. What is absent has no bound: a time that was not reached is
/// only known to be at least the horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// The median, where it is known exactly.
    pub median: Option<f64>,
    /// The median is at least this.
    pub at_least: Option<f64>,
    /// The median is at most this.
    pub at_most: Option<f64>,
    /// Lower end of the 95 % confidence interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
}

impl Difference {
    /// Whether the interval excludes zero and no end of it lies within `margin` of it.
    pub fn is_clear(&self, margin: f64) -> bool {
        self.low.is_some_and(|low| low > margin) || self.high.is_some_and(|high| high < -margin)
    }

    /// Whether nothing of it is a mere bound.
    pub fn is_exact(&self) -> bool {
        self.median.is_some() && self.low.is_some() && self.high.is_some()
    }

    /// The median, written by `number`: `≥` and `≤` where it is a bound.
    pub fn told(&self, number: impl Fn(f64) -> String) -> String {
        match (self.median, self.at_least, self.at_most) {
            (Some(median), ..) => number(median),
            (None, Some(least), Some(most)) => format!("{} to {}", number(least), number(most)),
            (None, Some(least), None) => format!("≥ {}", number(least)),
            (None, None, Some(most)) => format!("≤ {}", number(most)),
            (None, None, None) => "unknown".to_owned(),
        }
    }

    /// The interval, written by `number`; an end that is not known is open.
    pub fn interval(&self, number: impl Fn(f64) -> String) -> String {
        let low = self.low.map_or("(…".to_owned(), |low| format!("[{}", number(low)));
        let high = self.high.map_or("…)".to_owned(), |high| format!("{}]", number(high)));
        format!("{low}, {high}")
    }
}

/// What a run is judged by. Times are in seconds; a share that was never reached has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// When half of all devices had their hub.
    pub t50_s: Option<f64>,
    /// 90 %.
    pub t90_s: Option<f64>,
    /// 99 %: the headline.
    pub t99_s: Option<f64>,
    /// All of them.
    pub t100_s: Option<f64>,
    /// The ideal T99 under the quota, divided by T99.
    pub efficiency: Option<f64>,
    /// Mean time without a hub up to the horizon (Kaplan and Meier): every device counts, finished or not.
    pub mean_wait_s: Option<f64>,
    /// Share of devices that gave up or parked (Aalen and Johansen).
    pub given_up: Option<f64>,
    /// Register requests for each device that got its hub.
    pub amplification: Option<f64>,
    /// Billable registrations a device.
    pub billable: Option<f64>,
    /// Share of requests that were throttled.
    pub throttled: Option<f64>,
    /// Most first attempts in a second, as a multiple of the quota.
    pub first_peak: Option<f64>,
    /// Most later attempts in a second, as a multiple of the quota.
    pub retry_peak: Option<f64>,
    /// Rayleigh's R of later attempts, the largest over the periods that a record looks for.
    pub synchrony: Option<f64>,
    /// Share of later attempts in the fullest 100 ms.
    pub fullest_slot: Option<f64>,
    /// The longest wait that a strategy chose.
    pub wait_max_s: Option<f64>,
    /// Jain's index over the devices' attempts.
    pub fairness: Option<f64>,
    /// T99 of the slowest cohort divided by that of the fastest.
    pub cohort_gap: Option<f64>,
}

/// A number of a run.
type Field = (&'static str, fn(&Metrics) -> Option<f64>);

impl Metrics {
    /// Every number with its name, in the order of the fields.
    pub const FIELDS: [Field; 17] = [
        ("t50_s", |metrics| metrics.t50_s),
        ("t90_s", |metrics| metrics.t90_s),
        ("t99_s", |metrics| metrics.t99_s),
        ("t100_s", |metrics| metrics.t100_s),
        ("efficiency", |metrics| metrics.efficiency),
        ("mean_wait_s", |metrics| metrics.mean_wait_s),
        ("given_up", |metrics| metrics.given_up),
        ("amplification", |metrics| metrics.amplification),
        ("billable", |metrics| metrics.billable),
        ("throttled", |metrics| metrics.throttled),
        ("first_peak", |metrics| metrics.first_peak),
        ("retry_peak", |metrics| metrics.retry_peak),
        ("synchrony", |metrics| metrics.synchrony),
        ("fullest_slot", |metrics| metrics.fullest_slot),
        ("wait_max_s", |metrics| metrics.wait_max_s),
        ("fairness", |metrics| metrics.fairness),
        ("cohort_gap", |metrics| metrics.cohort_gap),
    ];
}
