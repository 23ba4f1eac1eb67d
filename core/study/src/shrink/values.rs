//! What can be made simpler about a fault: keys that say something special, and numbers that could be smaller.

use fleetstorm_model::chaos::{AppliesTo, ChaosFile, Limits, Ramp, Select};
use fleetstorm_units::Duration;
use fleetstorm_units::time::Span;

/// A key that a fault may do without.
pub(super) struct Key {
    pub(super) name: &'static str,
    is_set: fn(&ChaosFile) -> bool,
    drop: fn(&mut ChaosFile),
}

/// In the order in which they are tried.
pub(super) const KEYS: [Key; 9] = [
    Key { name: "repeat", is_set: |file| file.repeat.is_some(), drop: |file| file.repeat = None },
    Key {
        name: "ramp",
        is_set: |file| file.ramp != Ramp::default(),
        drop: |file| file.ramp = Ramp::default(),
    },
    Key {
        name: "applies_to",
        is_set: |file| file.applies_to != AppliesTo::Both,
        drop: |file| file.applies_to = AppliesTo::Both,
    },
    Key {
        name: "limits",
        is_set: |file| file.limits != Limits::default(),
        drop: |file| file.limits = Limits::default(),
    },
    Key { name: "count", is_set: |file| file.count.is_some(), drop: |file| file.count = None },
    Key {
        name: "select.operation",
        is_set: |file| file.select.operation.is_some(),
        drop: |file| file.select.operation = None,
    },
    Key {
        name: "select.peer",
        is_set: |file| file.select.peer.is_some(),
        drop: |file| file.select.peer = None,
    },
    Key {
        name: "select.transport",
        is_set: |file| file.select.transport.is_some(),
        drop: |file| file.select.transport = None,
    },
    Key {
        name: "select.cohort",
        is_set: |file| file.select.cohort.is_some(),
        drop: |file| file.select.cohort = None,
    },
];

impl Key {
    /// The fault without it, if it has it.
    pub(super) fn without(&self, file: &ChaosFile) -> Option<ChaosFile> {
        (self.is_set)(file).then(|| {
            let mut simpler = file.clone();
            (self.drop)(&mut simpler);
            simpler
        })
    }
}

/// A number of a fault that could be smaller, as a whole number of its smallest step.
pub(super) struct Number {
    pub(super) name: &'static str,
    get: fn(&ChaosFile) -> Option<u64>,
    set: fn(&mut ChaosFile, u64),
    told: fn(u64) -> String,
}

/// Steps of a share: it is told in hundredths of a per cent.
const SHARE: f64 = 10_000.0;
/// Steps of one per cent.
const PER_CENT: f64 = 100.0;
const MS: u64 = 1_000_000;

fn in_steps(share: f64) -> u64 {
    (share * SHARE).ceil() as u64
}

fn percent(steps: u64) -> String {
    format!("{} %", steps as f64 / PER_CENT)
}

/// In the order in which they are tried.
pub(super) const NUMBERS: [Number; 3] = [
    Number {
        name: "duration",
        get: |file| file.duration.map(|duration| duration.0.as_nanos().div_ceil(MS)),
        set: |file, ms| file.duration = Some(Duration(Span::from_millis(ms))),
        told: |ms| Duration(Span::from_millis(ms)).to_string(),
    },
    Number {
        name: "select.share",
        // Everybody is the largest share.
        get: |file| Some(in_steps(file.select.share.unwrap_or(1.0))),
        set: |file, steps| {
            let share = (steps < SHARE as u64).then_some(steps as f64 / SHARE);
            file.select = Select { share, ..file.select.clone() };
        },
        told: percent,
    },
    Number {
        name: "probability",
        get: |file| file.probability.map(in_steps),
        set: |file, steps| file.probability = Some(steps as f64 / SHARE),
        told: percent,
    },
];

impl Number {
    /// How large it is; absent if there is none to be made smaller.
    pub(super) fn of(&self, file: &ChaosFile) -> Option<u64> {
        (self.get)(file).filter(|steps| *steps > 1)
    }

    /// The fault with another one.
    pub(super) fn with(&self, file: &ChaosFile, steps: u64) -> ChaosFile {
        let mut smaller = file.clone();
        (self.set)(&mut smaller, steps);
        smaller
    }

    /// As a person would write it.
    pub(super) fn told(&self, steps: u64) -> String {
        (self.told)(steps)
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_model::chaos::{FaultKind, Repeat};

    use super::*;

    #[test]
    fn a_number_that_is_set_reads_back() {
        let file = ChaosFile {
            duration: Some(Duration(Span::from_secs(90))),
            probability: Some(0.25),
            ..ChaosFile::of(FaultKind::NetRefused)
        };
        let [duration, share, probability] = NUMBERS;
        assert_eq!(NUMBERS.map(|number| number.of(&file)), [Some(90_000), Some(10_000), Some(2_500)]);
        assert_eq!(duration.with(&file, 1_500).duration, Some(Duration(Span::from_millis(1_500))));
        assert_eq!(share.with(&file, 300).select.share, Some(0.03));
        assert_eq!(share.with(&share.with(&file, 300), 10_000), file);
        assert_eq!(probability.with(&file, 50).probability, Some(0.005));
        assert_eq!((duration.told(90_000), probability.told(50)), ("90s".to_owned(), "0.5 %".to_owned()));
    }

    #[test]
    fn keys_that_are_not_there_cannot_be_dropped() {
        let plain = ChaosFile::of(FaultKind::NetRefused);
        assert!(KEYS.iter().all(|key| key.without(&plain).is_none()));
        let second = Duration(Span::from_secs(1));
        let repeat = Some(Repeat { every: second, jitter: second, times: None });
        let repeated = ChaosFile { repeat, ..plain.clone() };
        let simpler: Vec<ChaosFile> = KEYS.iter().filter_map(|key| key.without(&repeated)).collect();
        assert_eq!(simpler, [plain]);
    }
}
