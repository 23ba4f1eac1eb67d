//! A circuit breaker around any strategy.
//!
//! Closed, it counts the outcomes of a sliding window. Once there are `min_calls` of them and at least `ratio` are
//! failures, it opens for `open_ms`: nobody is to try. Then it is half open: `probes` devices may try; the first
//! success closes it, a failure opens it again. Defaults are those of Polly v8 (ratio 0.1, 100 calls in 30 s, open for
//! 5 s) with the ten probes of Resilience4j.
//!
//! A strategy speaks only when a device asks, so what a breaker can do is to choose when the device tries next: probes
//! are sent to the moment of half opening, all others are spread over the `open_ms` after it. The plain algorithm
//! would send the whole fleet to that one moment.

use fleetstorm_plugin::{Decision, abi};
use fleetstorm_units::random::{Purpose, Seed, span_below};
use fleetstorm_units::time::Span;
use schemars::JsonSchema;
use serde::Deserialize;

const MS: u64 = 1_000_000;

/// Slices of the window; outcomes leave it a slice at a time.
const SLICES: usize = 10;

/// The parameters of a circuit breaker.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BreakerConfig {
    /// Who shares it.
    scope: BreakerScope,
    /// Share of failures that opens it, above 0 and up to 1.
    ratio: f64,
    /// Outcomes there must be in the window before it opens.
    min_calls: u32,
    /// The window in milliseconds.
    window_ms: u64,
    /// How long it stays open, in milliseconds.
    open_ms: u64,
    /// Devices that may try once it is half open.
    probes: u32,
}

/// Who shares a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum BreakerScope {
    /// The cohort.
    #[default]
    Cohort,
    /// All cohorts with the same strategy and parameters.
    Fleet,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            scope: BreakerScope::Cohort,
            ratio: 0.1,
            min_calls: 100,
            window_ms: 30_000,
            open_ms: 5_000,
            probes: 10,
        }
    }
}

impl BreakerConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if !(self.ratio > 0.0 && self.ratio <= 1.0) {
            return Err(format!("breaker.ratio: {} is not above 0 and at most 1", self.ratio));
        }
        for (name, value) in [
            ("min_calls", u64::from(self.min_calls)),
            ("window_ms", self.window_ms),
            ("open_ms", self.open_ms),
            ("probes", u64::from(self.probes)),
        ] {
            if value == 0 {
                return Err(format!("breaker.{name}: must be above 0"));
            }
        }
        Ok(())
    }

    pub(super) fn is_fleets(&self) -> bool {
        self.scope == BreakerScope::Fleet
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Open until that moment of the run, in ns, and half open from then on.
    Open {
        until: u64,
        probes_left: u32,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which slice of time it holds, counted from the start of the run.
    number: u64,
    calls: u32,
    failures: u32,
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    window: [Slice; SLICES],
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed, window: [Slice::default(); SLICES] }
    }

    /// Counts a failure and says when the device may try again, at the earliest when its strategy wants to.
    pub(super) fn after_failure(&mut self, attempt: &abi::Attempt, decision: Decision) -> Decision {
        let now = attempt.now_ns;
        match self.state {
            State::Closed => {
                self.count(now, true);
                if self.tripped(now) {
                    self.open(now);
                }
            }
            State::Open { until, .. } if now >= until => self.open(now),
            State::Open { .. } => {}
        }
        let State::Open { until, probes_left } = &mut self.state else { return decision };
        let until = *until;
        let open = self.config.open_ms.saturating_mul(MS);
        decision.map_wait(|wait| {
            if now.saturating_add(wait) >= until.saturating_add(open) {
                return wait;
            }
            let gap = until.saturating_sub(now);
            if *probes_left > 0 {
                *probes_left -= 1;
                return wait.max(gap);
            }
            let spread = span_below(third(attempt, Purpose::Breaker), Span::from_nanos(open)).as_nanos();
            wait.max(gap.saturating_add(open).saturating_add(spread))
        })
    }

    /// Counts a success, which closes a breaker that is half open.
    pub(super) fn after_success(&mut self, attempt: &abi::Attempt) {
        let now = attempt.now_ns;
        match self.state {
            State::Open { until, .. } if now >= until => {
                self.state = State::Closed;
                self.window = [Slice::default(); SLICES];
            }
            State::Open { .. } => {}
            State::Closed => self.count(now, false),
        }
    }

    fn open(&mut self, now: u64) {
        self.state = State::Open {
            until: now.saturating_add(self.config.open_ms.saturating_mul(MS)),
            probes_left: self.config.probes,
        };
        self.window = [Slice::default(); SLICES];
    }

    fn number(&self, now: u64) -> u64 {
        now / (self.config.window_ms.saturating_mul(MS) / SLICES as u64).max(1)
    }

    fn count(&mut self, now: u64, failed: bool) {
        let number = self.number(now);
        let slice = &mut self.window[(number % SLICES as u64) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice.calls = slice.calls.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
    }

    fn tripped(&self, now: u64) -> bool {
        let oldest = self.number(now).saturating_sub(SLICES as u64 - 1);
        let (mut calls, mut failures) = (0u64, 0u64);
        for slice in self.window.iter().filter(|slice| slice.number >= oldest) {
            calls += u64::from(slice.calls);
            failures += u64::from(slice.failures);
        }
        calls >= u64::from(self.config.min_calls) && failures as f64 >= self.config.ratio * calls as f64
    }
}

/// A draw beside the two that the strategy has, made of them, so that the interface needs no more.
pub(super) fn third(attempt: &abi::Attempt, purpose: Purpose) -> u64 {
    let [seed, key] = attempt.random;
    Seed(seed).pair(purpose, key, 0)[0]
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::Attempt;

    use super::*;

    const S: u64 = 1_000 * MS;

    fn at(now_ns: u64) -> abi::Attempt {
        Attempt { now_ns, ..Attempt::throttled(1) }.to_abi()
    }

    fn breaker(min_calls: u32, probes: u32) -> Breaker {
        Breaker::new(BreakerConfig { min_calls, probes, ratio: 0.5, ..BreakerConfig::default() })
    }

    #[test]
    fn it_opens_at_its_ratio_and_not_before_its_minimum() {
        let mut breaker = breaker(4, 1);
        for now in 0..2 {
            breaker.after_success(&at(now * S));
        }
        assert_eq!(breaker.after_failure(&at(2 * S), Decision::Wait(7)), Decision::Wait(7));
        // The fourth outcome, and half of them failures: open until 3 + 5 s, where the one probe goes.
        assert_eq!(breaker.after_failure(&at(3 * S), Decision::Wait(7)), Decision::Wait(5 * S));
        // Everybody else: between 8 + 5 and 8 + 10 s, that is 9 to 14 s from now.
        let other = breaker.after_failure(&at(4 * S), Decision::Wait(7)).wait_ns().unwrap();
        assert!((9 * S..14 * S).contains(&other), "{other}");
        // Who comes later anyway is not held up.
        assert_eq!(breaker.after_failure(&at(4 * S), Decision::Wait(60 * S)), Decision::Wait(60 * S));
    }

    #[test]
    fn a_good_probe_closes_it_and_a_bad_one_opens_it_again() {
        let mut once = breaker(1, 1);
        once.after_failure(&at(0), Decision::Wait(0));
        let mut again = once.clone();
        once.after_success(&at(4 * S));
        assert_ne!(once.state, State::Closed, "a success from before it opened proves nothing");
        once.after_success(&at(5 * S));
        assert_eq!(once.state, State::Closed);
        assert_eq!(
            again.after_failure(&at(5 * S), Decision::Wait(0)),
            Decision::Wait(5 * S),
            "the next probe"
        );
        assert_eq!(again.state, State::Open { until: 10 * S, probes_left: 0 });
    }

    #[test]
    fn outcomes_leave_the_window() {
        let mut breaker = breaker(2, 1);
        breaker.after_failure(&at(0), Decision::Wait(0));
        assert_eq!(
            breaker.after_failure(&at(31 * S), Decision::Wait(0)),
            Decision::Wait(0),
            "one in the window"
        );
        assert_eq!(breaker.after_failure(&at(32 * S), Decision::Wait(0)), Decision::Wait(5 * S));
    }

    #[test]
    fn giving_up_stays_giving_up() {
        let mut breaker = breaker(1, 1);
        assert_eq!(breaker.after_failure(&at(0), Decision::NEVER), Decision::NEVER);
    }
}
