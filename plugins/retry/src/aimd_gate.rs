//! A gate that lets a cohort through at a rate `r`: additive increase, multiplicative decrease, as in TCP (Chiu and Jain,
//! 1989). Each device that asks takes the next free place, `1/r` after the one before; a success makes `r` larger by
//! `increase`, a throttled attempt makes it `decrease` times as large, but no smaller than `least`.
//!
//! Devices that go through the gate are spread by it, so the strategy needs no jitter. One throttled attempt in a
//! second is enough to slow down; more of them in the same second tell nothing new.

use bytemuck::{Pod, Zeroable};
use fleetstorm_plugin::{Attempt, Class, Kept, Result, RetryStrategy, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{S, check_range, secs};

/// Lets a cohort through at the rate that the service takes.
pub(crate) struct AimdGate(Config);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Attempts a second to begin with, above 0.
    start_per_s: f64,
    /// What a success adds to the rate, in attempts a second.
    increase_per_s: f64,
    /// What a throttled attempt multiplies the rate with, 0.01 to 1.
    decrease: f64,
    /// The lowest rate, in attempts a second, above 0.
    least_per_s: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { start_per_s: 10.0, increase_per_s: 0.1, decrease: 0.7, least_per_s: 0.5 }
    }
}

/// The cohort's gate.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Gate {
    /// 0 before the first device.
    rate_per_s: f64,
    /// When the next place is free, in ns.
    next_ns: u64,
    /// When the rate was last cut, in ns, plus 1; 0 for never.
    cut_ns: u64,
}

impl AimdGate {
    fn place(&self, gate: &mut Gate, now_ns: u64) -> u64 {
        if gate.rate_per_s <= 0.0 {
            gate.rate_per_s = self.0.start_per_s;
        }
        let at = gate.next_ns.max(now_ns);
        gate.next_ns = at.saturating_add(secs(1.0 / gate.rate_per_s));
        at - now_ns
    }
}

impl RetryStrategy for AimdGate {
    const ID: &'static str = "aimd-gate";
    const SUMMARY: &'static str =
        "A gate whose rate rises with successes and falls with throttling, shared by a cohort.";
    const GUARDED: bool = true;
    const SCOPE: Scope = Scope::Cohort;
    type Config = Config;
    type Session = ();
    type Shared = Gate;

    fn new(config: Config) -> Result<Self> {
        check_range("start_per_s", config.start_per_s, 0.001..=1e6)?;
        check_range("increase_per_s", config.increase_per_s, 0.0..=1e6)?;
        check_range("decrease", config.decrease, 0.01..=1.0)?;
        check_range("least_per_s", config.least_per_s, 0.001..=1e6)?;
        Ok(Self(config))
    }

    fn wait(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> Option<u64> {
        let gate = kept.shared;
        let wait = self.place(gate, attempt.now_ns);
        let recently = gate.cut_ns > 0 && attempt.now_ns < gate.cut_ns.saturating_add(S);
        if attempt.class == Class::Throttled && !recently {
            gate.rate_per_s = (gate.rate_per_s * self.0.decrease).max(self.0.least_per_s);
            gate.cut_ns = attempt.now_ns.saturating_add(1);
        }
        Some(wait)
    }

    fn before_first_attempt(&self, kept: Kept<'_, Self>, attempt: &Attempt) -> u64 {
        self.place(kept.shared, attempt.now_ns)
    }

    fn on_success(&self, kept: Kept<'_, Self>, _: &Attempt) {
        kept.shared.rate_per_s += self.0.increase_per_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MS;
    use fleetstorm_plugin::testing::Trial;

    #[test]
    fn the_rate_rises_by_addition_and_falls_by_multiplication() {
        let mut cohort = Trial::<AimdGate>::new("{}").unwrap();
        let at = |now_ns| Attempt { now_ns, ..Attempt::throttled(1) };
        let boots: Vec<u64> = (0..4).map(|_| cohort.boot(&at(0)) / MS).collect();
        assert_eq!(boots, [0, 100, 200, 300], "ten a second");
        assert_eq!(cohort.fail(&at(0)).wait_ns(), Some(400 * MS));
        assert!((cohort.shared.rate_per_s - 7.0).abs() < 1e-9);
        cohort.fail(&at(S / 2));
        assert!((cohort.shared.rate_per_s - 7.0).abs() < 1e-9, "the same second");
        cohort.fail(&at(2 * S));
        assert!((cohort.shared.rate_per_s - 4.9).abs() < 1e-9);
        cohort.succeed(&at(2 * S));
        assert!((cohort.shared.rate_per_s - 5.0).abs() < 1e-9);
        for second in 3..60 {
            cohort.fail(&at(second * S));
        }
        assert!((cohort.shared.rate_per_s - 0.5).abs() < 1e-9, "not below the least");
    }
}
