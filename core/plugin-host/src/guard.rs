//! What the host wraps around a strategy, whatever library it comes from: a deadline, a limit of attempts, Retry-After,
//! a jitter before the first attempt, a circuit breaker.
//!
//! Their parameters stand beside the strategy's own. A parameter that the strategy has itself is the strategy's.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use fleetstorm_plugin::{Advice, Decision, abi};
use fleetstorm_units::random::{Purpose, span_below};
use fleetstorm_units::time::Span;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::breaker::{Breaker, BreakerConfig, third};

const MS: u64 = 1_000_000;

/// Parameters that every strategy takes beside its own.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GuardConfig {
    /// Attempts after which a device gives up; 0 for never.
    max_attempts: u32,
    /// Milliseconds after its boot from which a device gives up rather than waits; 0 for never.
    deadline_ms: u64,
    /// What a valid Retry-After does to the strategy's wait. Without it: `floor`, and `ignore` for strategies that are
    /// studied as they are.
    retry_after: Option<RetryAfterRule>,
    /// Longest Retry-After that is honoured, in milliseconds; 0 for any.
    retry_after_max_ms: u64,
    /// What a longer one does.
    retry_after_excess: Excess,
    /// Milliseconds over which first attempts are spread, evenly; 0 for none.
    first_jitter_ms: u64,
    /// A circuit breaker around the strategy.
    breaker: Option<BreakerConfig>,
}

/// What a valid `Retry-After` does to a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RetryAfterRule {
    /// The wait is at least that long.
    Floor,
    /// The strategy's wait is added to it, which spreads devices that were told the same.
    Add,
    /// Nothing.
    Ignore,
}

/// What a `Retry-After` does that is longer than is honoured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Excess {
    /// It counts as the longest that is honoured.
    #[default]
    Cap,
    /// It counts as none.
    Ignore,
    /// The device gives up.
    GiveUp,
}

/// The guard of one strategy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    config: GuardConfig,
    rule: RetryAfterRule,
    /// Whether waits are kept above the reference client's floor.
    floor: bool,
}

/// Takes the guard's parameters out of a configuration; what is left is the strategy's own, as JSON text.
pub(super) fn split(config: &str, own: &BTreeSet<String>, guarded: bool) -> Result<(Guard, String), String> {
    let mut members: Map<String, Value> = serde_json::from_str(config)
        .map_err(|error| format!("the configuration is no JSON object: {error}"))?;
    let mut guards = Map::new();
    for name in names() {
        if !own.contains(name)
            && let Some(value) = members.remove(name)
        {
            guards.insert(name.clone(), value);
        }
    }
    let config: GuardConfig =
        serde_path_to_error::deserialize(Value::Object(guards)).map_err(|error| error.to_string())?;
    if let Some(breaker) = &config.breaker {
        breaker.check()?;
    }
    let usual = if guarded { RetryAfterRule::Floor } else { RetryAfterRule::Ignore };
    let guard = Guard { config, rule: config.retry_after.unwrap_or(usual), floor: guarded };
    Ok((guard, Value::Object(members).to_string()))
}

fn names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let schema = schemars::schema_for!(GuardConfig).to_value();
        schema["properties"].as_object().into_iter().flat_map(|names| names.keys().cloned()).collect()
    })
}

/// A strategy's schema with the guard's parameters added.
pub(super) fn merged_schema(own: &Value) -> Value {
    let mut merged = own.clone();
    let guard = schemars::schema_for!(GuardConfig).to_value();
    let Some(object) = merged.as_object_mut() else { return merged };
    for key in ["properties", "$defs"] {
        let Some(theirs) = guard.get(key).and_then(Value::as_object) else { continue };
        let mine = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
        if let Some(mine) = mine.as_object_mut() {
            for (name, schema) in theirs {
                mine.entry(name.clone()).or_insert_with(|| schema.clone());
            }
        }
    }
    merged
}

impl Guard {
    /// The breaker that the parameters ask for, closed.
    pub(super) fn breaker(&self) -> Option<Breaker> {
        self.config.breaker.map(Breaker::new)
    }

    /// Whether the whole fleet shares the breaker.
    pub(super) fn breaker_is_fleets(&self) -> bool {
        self.config.breaker.is_some_and(|breaker| breaker.is_fleets())
    }

    /// The wait before a first attempt, for which the strategy asked for `wait`.
    pub(super) fn first(&self, attempt: &abi::Attempt, wait: u64) -> u64 {
        if self.config.first_jitter_ms == 0 {
            return wait;
        }
        let limit = Span::from_nanos(self.config.first_jitter_ms.saturating_mul(MS));
        wait.saturating_add(span_below(third(attempt, Purpose::FirstJitter), limit).as_nanos())
    }

    /// The decision after a failure, for which the strategy decided `decision`.
    #[inline]
    pub(super) fn apply(&self, attempt: &abi::Attempt, decision: Decision) -> Decision {
        let config = &self.config;
        if config.max_attempts > 0 && attempt.attempts >= config.max_attempts {
            return Decision::NEVER;
        }
        let decision = if attempt.advice == Advice::Renew.number() {
            decision
        } else {
            let Some(told) = self.told(attempt) else { return Decision::NEVER };
            let floor = if self.floor { attempt.floor_ns } else { 0 };
            decision.map_wait(|wait| {
                let wait = wait.max(floor);
                match self.rule {
                    RetryAfterRule::Floor => wait.max(told),
                    RetryAfterRule::Add => wait.saturating_add(told),
                    RetryAfterRule::Ignore => wait,
                }
            })
        };
        let end = attempt.since_boot_ns.saturating_add(decision.wait_ns().unwrap_or(0));
        if config.deadline_ms > 0
            && end >= config.deadline_ms.saturating_mul(MS)
            && decision.wait_ns().is_some()
        {
            return Decision::NEVER;
        }
        decision
    }

    /// The Retry-After to honour; `None` to give up over it.
    fn told(&self, attempt: &abi::Attempt) -> Option<u64> {
        if attempt.flags & abi::ATTEMPT_RETRY_AFTER == 0 {
            return Some(0);
        }
        let most = self.config.retry_after_max_ms.saturating_mul(MS);
        if most == 0 || attempt.retry_after_ns <= most {
            return Some(attempt.retry_after_ns);
        }
        match self.config.retry_after_excess {
            Excess::Cap => Some(most),
            Excess::Ignore => Some(0),
            Excess::GiveUp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_plugin::Attempt;

    use fleetstorm_units::random::Seed;

    use super::*;

    fn guard(config: &str, guarded: bool) -> Guard {
        split(config, &BTreeSet::new(), guarded).unwrap().0
    }

    fn told(ms: u64) -> abi::Attempt {
        Attempt { retry_after_ns: Some(ms * MS), ..Attempt::throttled(3) }.to_abi()
    }

    #[test]
    fn retry_after_is_a_floor_for_guarded_strategies_and_nothing_for_others() {
        let wait = |config: &str, guarded| {
            guard(config, guarded).apply(&told(30_000), Decision::Wait(MS)).wait_ns().map(|ns| ns / MS)
        };
        assert_eq!(wait("{}", true), Some(30_000));
        assert_eq!(wait("{}", false), Some(1));
        assert_eq!(wait(r#"{"retry_after": "add"}"#, true), Some(30_001));
        assert_eq!(wait(r#"{"retry_after": "ignore"}"#, true), Some(1));
        assert_eq!(wait(r#"{"retry_after": "floor"}"#, false), Some(30_000));
    }

    #[test]
    fn a_retry_after_beyond_the_longest_is_cut_ignored_or_the_end() {
        let with = |excess: &str| {
            let config = format!(r#"{{"retry_after_max_ms": 10000, "retry_after_excess": "{excess}"}}"#);
            guard(&config, true).apply(&told(30_000), Decision::Wait(MS))
        };
        assert_eq!(with("cap"), Decision::Wait(10_000 * MS));
        assert_eq!(with("ignore"), Decision::Wait(MS));
        assert_eq!(with("give-up"), Decision::NEVER);
    }

    #[test]
    fn the_reference_clients_floor_holds_where_the_host_guards() {
        let attempt = Attempt { floor_ns: 5_000 * MS, ..Attempt::throttled(1) }.to_abi();
        assert_eq!(guard("{}", true).apply(&attempt, Decision::Restart(0)), Decision::Restart(5_000 * MS));
        assert_eq!(guard("{}", false).apply(&attempt, Decision::Restart(0)), Decision::Restart(0));
        let renew = Attempt { advice: Advice::Renew, ..Attempt::throttled(1) };
        let renew = Attempt { floor_ns: 5_000 * MS, ..renew }.to_abi();
        assert_eq!(guard("{}", true).apply(&renew, Decision::Restart(0)), Decision::Restart(0));
    }

    #[test]
    fn attempts_and_deadlines_end_it() {
        let limited = guard(r#"{"max_attempts": 3}"#, false);
        assert_eq!(limited.apply(&Attempt::throttled(2).to_abi(), Decision::Wait(1)), Decision::Wait(1));
        assert_eq!(limited.apply(&Attempt::throttled(3).to_abi(), Decision::Wait(1)), Decision::NEVER);
        let hurried = guard(r#"{"deadline_ms": 10000}"#, false);
        let late = Attempt { since_boot_ns: 8_000 * MS, ..Attempt::throttled(2) }.to_abi();
        assert_eq!(hurried.apply(&late, Decision::Wait(1_999 * MS)), Decision::Wait(1_999 * MS));
        assert_eq!(hurried.apply(&late, Decision::Wait(2_000 * MS)), Decision::NEVER);
        let parked = Decision::GiveUp { rearm_ns: 3_600_000 * MS };
        assert_eq!(hurried.apply(&late, parked), parked, "giving up is no wait");
    }

    #[test]
    fn the_first_jitter_spreads_evenly() {
        let spread = guard(r#"{"first_jitter_ms": 1000}"#, false);
        let n = 4_000u64;
        let waits: Vec<u64> = (0..n)
            .map(|device| {
                let random = Seed(1).pair(Purpose::Retry, device, 0);
                spread.first(&Attempt { random, ..Attempt::throttled(0) }.to_abi(), 7)
            })
            .collect();
        assert!(waits.iter().all(|wait| (7..1_000 * MS + 7).contains(wait)));
        let mean = waits.iter().sum::<u64>() as f64 / n as f64 / MS as f64;
        // The standard error of the mean of 4,000 uniform draws is 1000 / sqrt(12 * 4000) = 4.6.
        assert!((mean - 500.0).abs() < 20.0, "{mean}");
    }

    #[test]
    fn a_strategys_own_parameter_is_not_the_guards() {
        let own = BTreeSet::from(["max_attempts".to_owned()]);
        let (guard, rest) =
            split(r#"{"max_attempts": 3, "deadline_ms": 5, "base_ms": 1}"#, &own, true).unwrap();
        assert_eq!((guard.config.max_attempts, guard.config.deadline_ms), (0, 5));
        assert_eq!(rest, r#"{"base_ms":1,"max_attempts":3}"#);
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (config, word) in [
            (r#"{"retry_after": "perhaps"}"#, "retry_after"),
            (r#"{"max_attempts": -1}"#, "max_attempts"),
            (r#"{"breaker": {"ratio": 2}}"#, "ratio"),
            (r#"{"breaker": {"patience": 2}}"#, "patience"),
            ("[]", "JSON object"),
        ] {
            let error = split(config, &BTreeSet::new(), true).unwrap_err();
            assert!(error.contains(word), "{config}: {error}");
        }
    }
}
