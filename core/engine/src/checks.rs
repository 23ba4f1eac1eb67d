//! The best-practice audit: pure checks over what devices do (`strategies` 4.6).
//!
//! [`device::RULES`] look at one device event by event, [`fleet::RULES`] at the finished record. A shard has one
//! [`Checker`]; it sees the devices that are watched, and what it finds is merged at the end.

mod device;
mod fleet;
mod life;
#[cfg(test)]
mod tests;
mod under;
mod waits;

use std::sync::Arc;

use fleetstorm_model::chaos::Timeline;
use fleetstorm_model::device::Observation;
use fleetstorm_model::profile::Profile;
use fleetstorm_reports::Record;
use fleetstorm_reports::record::{Case, Check, CheckStatus, Exercised, Practice};
use fleetstorm_units::number::{counted, grouped};
use fleetstorm_units::time::{Moment, Span};

pub(crate) use life::Life;
use under::Under;
use waits::Waits;

use device::{Look, RULES, Rule};

/// What a shard's devices made of the rules.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    profile: Profile,
    tallies: [Tally; RULES.len()],
    waits: Waits,
    watched: u64,
    /// Faults that devices can be under, if there are any.
    under: Option<Under>,
}

/// What came of one rule.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    exercised: u64,
    broken: u64,
    devices: u64,
    first: Option<Breach>,
    worst: Option<Breach>,
}

/// A rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Breach {
    device: u32,
    at: Moment,
    by: u64,
}

impl Breach {
    fn is_before(&self, other: &Self) -> bool {
        (self.at, self.device) < (other.at, other.device)
    }

    /// The worse one; of equal ones the earlier.
    fn is_worse(&self, other: &Self) -> bool {
        self.by > other.by || (self.by == other.by && self.is_before(other))
    }
}

impl Tally {
    fn breach(&mut self, breach: Breach) {
        if self.first.is_none_or(|first| breach.is_before(&first)) {
            self.first = Some(breach);
        }
        if self.worst.is_none_or(|worst| breach.is_worse(&worst)) {
            self.worst = Some(breach);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.exercised += other.exercised;
        self.broken += other.broken;
        self.devices += other.devices;
        for breach in [other.first, other.worst].into_iter().flatten() {
            self.breach(breach);
        }
    }
}

impl Checker {
    /// Holds devices against a profile.
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            tallies: [Tally::default(); RULES.len()],
            waits: Waits::default(),
            watched: 0,
            under: None,
        }
    }

    /// Also tells which rules devices met under each of these faults.
    pub(crate) fn under(mut self, timeline: Option<&Arc<Timeline>>) -> Self {
        self.under = timeline.map(Under::new);
        self
    }

    /// How far before its `Retry-After` a device may come back.
    pub(crate) fn retry_after_tolerance(&self) -> Span {
        self.profile.bounds.retry_after_tolerance.0
    }

    /// So many devices more are watched.
    pub(crate) fn watch(&mut self, devices: u64) {
        self.watched += devices;
    }

    /// Judges an event of device number `device`, then remembers it.
    pub(crate) fn see(&mut self, life: &mut Life, device: u32, now: Moment, event: &Observation<'_>) {
        let (mut met, mut broken) = (0u64, 0u64);
        for (index, (rule, tally)) in RULES.iter().zip(&mut self.tallies).enumerate() {
            let look = (rule.look)(life, now, event, &self.profile);
            met |= u64::from(look != Look::Nothing) << index;
            match look {
                Look::Nothing => {}
                Look::Kept => tally.exercised += 1,
                Look::Broken(by) => {
                    broken |= 1 << index;
                    tally.exercised += 1;
                    tally.broken += 1;
                    tally.devices += u64::from(life.broken & (1 << index) == 0);
                    life.broken |= 1 << index;
                    tally.breach(Breach { device, at: now, by });
                }
            }
        }
        if let Some(under) = &mut self.under {
            under.see(device, event, met, broken);
        }
        life.take(now, event);
        if let Observation::BackedOff { wait, retry_after, .. } = event {
            self.waits.add(life.failures, *wait, retry_after.is_some());
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.tallies.iter_mut().zip(&other.tallies) {
            mine.merge(theirs);
        }
        self.waits.merge(&other.waits);
        self.watched += other.watched;
        if let (Some(mine), Some(theirs)) = (&mut self.under, &other.under) {
            mine.merge(theirs);
        }
    }

    /// The rules that devices met under the fault of this number.
    pub(crate) fn exercised(&self, fault: usize) -> Vec<Exercised> {
        self.under.as_ref().map(|under| under.exercised(fault)).unwrap_or_default()
    }

    /// The audit of a record that is otherwise finished. `name` gives a device's registration id; `informed` says
    /// whether strategies knew the fleet's size and the quota.
    pub(crate) fn practice(&self, record: &Record, informed: bool, name: impl Fn(u32) -> String) -> Practice {
        let ground = fleet::Ground { record, waits: &self.waits, profile: &self.profile, informed };
        let untrusted = record.audit.as_ref().is_some_and(|audit| !audit.untrusted.is_empty());
        let of_devices = RULES.iter().zip(&self.tallies).map(|(rule, tally)| {
            let mut check = told(rule, tally, &name);
            if untrusted && rule.timed && tally.exercised > 0 {
                check.status = CheckStatus::Unknown;
                check.evidence.push_str("; the generator was late, which can look like this");
            }
            check
        });
        let of_fleet = fleet::RULES.iter().map(|rule| {
            let found = (rule.look)(&ground);
            Check {
                id: rule.id.name().to_owned(),
                title: rule.title.to_owned(),
                status: found.status,
                exercised: found.exercised,
                broken: found.broken,
                devices: 0,
                evidence: found.evidence,
                advice: rule.advice.to_owned(),
                first: None,
                worst: None,
            }
        });
        Practice { watched: self.watched, checks: of_fleet.chain(of_devices).collect() }
    }
}

fn told(rule: &Rule, tally: &Tally, name: &impl Fn(u32) -> String) -> Check {
    let case = |breach: Breach| Case {
        device: breach.device,
        name: name(breach.device),
        at_ns: breach.at.as_nanos(),
        what: (rule.tell)(breach.by),
    };
    let (status, evidence) = match (tally.exercised, tally.broken) {
        (0, _) => (CheckStatus::NotExercised, "there was no occasion".to_owned()),
        (1, 0) => (CheckStatus::Passed, "kept on the one occasion".to_owned()),
        (exercised, 0) => (CheckStatus::Passed, format!("kept on all {} occasions", grouped(exercised))),
        (exercised, broken) => (
            CheckStatus::Failed,
            format!(
                "broken on {} of {}, by {}",
                grouped(broken),
                counted(exercised, "occasion"),
                counted(tally.devices, "device")
            ),
        ),
    };
    Check {
        id: rule.id.name().to_owned(),
        title: rule.title.to_owned(),
        status,
        exercised: tally.exercised,
        broken: tally.broken,
        devices: tally.devices,
        evidence,
        advice: rule.advice.to_owned(),
        first: tally.first.map(case),
        worst: tally.worst.map(case),
    }
}
