//! From the recorders of all shards to the numbers of a record.

use std::collections::BTreeMap;

use fleetstorm_reports::record::{
    Code, Completion, Distribution, Heat, HeldBack, HerdIndex, Journey, Life, Passage, Phase as PhaseRecord,
    RetryAfterUse, Series, Totals,
};
use fleetstorm_units::time::{Moment, Span};

use super::codes::Codes;
use super::flow::Flow;
use super::heat::Heats;
use super::herd::Retries;
use super::latency::{Delayed, Latencies};
use super::life::Lives;
use super::matrix::Matrix;
use super::pulse::Health;
use super::series::{Timeline, per_second};
use super::watch::Watch;
use super::{ASKING, PARKED, Recorder, Standing, StruckDevices, struck};
use crate::checks::Checker;

/// What all shards found, ready for a record.
pub(crate) struct Findings {
    pub(crate) totals: Totals,
    pub(crate) completion: Completion,
    /// In the scenario's order.
    pub(crate) cohorts: Vec<CohortFindings>,
    pub(crate) phases: Vec<PhaseRecord>,
    pub(crate) codes: Vec<Code>,
    pub(crate) flow: Vec<Passage>,
    pub(crate) series: Series,
    pub(crate) attempts: BTreeMap<u64, u64>,
    pub(crate) retry_after: RetryAfterUse,
    pub(crate) send_lag: Distribution,
    /// What the generator added to the times of each phase.
    pub(crate) delayed: Vec<Delayed>,
    pub(crate) health: Health,
    pub(crate) exhausted: u64,
    pub(crate) held_back: HeldBack,
    pub(crate) last_settled: Moment,
    /// Of devices that live on, if any do.
    pub(crate) life: Option<Life>,
    pub(crate) window_ns: u64,
    pub(crate) heat: Vec<Heat>,
    pub(crate) journeys: Vec<Journey>,
    pub(crate) herd: HerdIndex,
    /// Absent without a shard.
    pub(crate) checker: Option<Checker>,
    /// What became of the devices that each fault hit, in the timeline's order.
    pub(crate) struck: Vec<StruckDevices>,
}

/// What all shards found of one cohort.
pub(crate) struct CohortFindings {
    pub(crate) totals: Totals,
    pub(crate) completion: Completion,
    /// Devices that got their hub, by second.
    pub(crate) assigned: Vec<u32>,
}

impl Findings {
    /// Merges the shards, of which there is at least one, of a run that ended at `now`.
    pub(crate) fn of(mut shards: Vec<Recorder>, now: Moment) -> Self {
        let (shift, windows) = level(&mut shards);
        let shards = &*shards;
        let mut latencies = Latencies::default();
        let mut attempts = BTreeMap::new();
        let mut retry_after = RetryAfterUse::default();
        for shard in shards {
            latencies.merge(&shard.latencies);
            for (&count, &devices) in &shard.attempts {
                *attempts.entry(count).or_default() += devices;
            }
            retry_after.given += shard.retry_after.given;
            retry_after.honoured += shard.retry_after.honoured;
            retry_after.violated += shard.retry_after.violated;
        }

        let cohorts: Vec<_> = (0..shards.first().map_or(0, |shard| shard.cohorts.len()))
            .map(|cohort| {
                let totals = cohort_totals(shards, cohort);
                let mut completions: Vec<Moment> =
                    shards.iter().flat_map(|shard| &shard.cohorts[cohort].completions).copied().collect();
                let completion = completion(&mut completions, totals.devices);
                let assigned = per_second(&completions);
                (CohortFindings { totals, completion, assigned }, completions)
            })
            .collect();
        let mut totals = Totals::default();
        let mut everyone = Vec::new();
        for (cohort, completions) in &cohorts {
            add(&mut totals, &cohort.totals);
            everyone.extend_from_slice(completions);
        }
        let mut heats = Heats::default();
        heats.matrices_mut().for_each(|matrix| matrix.widen_to(shift));
        for shard in shards.iter().filter_map(|shard| shard.heats.as_ref()) {
            heats.merge(shard);
        }

        Self {
            completion: completion(&mut everyone, totals.devices),
            totals,
            cohorts: cohorts.into_iter().map(|(cohort, _)| cohort).collect(),
            phases: latencies
                .times()
                .map(|(phase, ending, times)| PhaseRecord {
                    phase: phase.name().to_owned(),
                    outcome: ending.name().to_owned(),
                    intended: Distribution::from_histogram(&times.intended),
                    service: Distribution::from_histogram(&times.service),
                })
                .collect(),
            codes: Codes::merged(shards.iter().map(|shard| &shard.codes), windows),
            flow: Flow::merged(shards.iter().map(|shard| &shard.flow)),
            series: Timeline::merged(shards.iter().map(|shard| &shard.timeline)),
            attempts,
            retry_after,
            send_lag: latencies.lag_histogram().map(Distribution::from_histogram).unwrap_or_default(),
            delayed: latencies.delayed(),
            health: shards.iter().map(Recorder::health).fold(Health::default(), Health::and),
            exhausted: shards.iter().map(|shard| shard.exhausted).sum(),
            held_back: HeldBack {
                devices: shards.iter().map(|shard| shard.held_back).sum(),
                longest_ns: shards
                    .iter()
                    .map(|shard| shard.held_back_longest)
                    .max()
                    .unwrap_or(Span::ZERO)
                    .as_nanos(),
            },
            last_settled: shards.iter().map(|shard| shard.last_settled).max().unwrap_or_default(),
            life: lives(shards, now),
            window_ns: 1 << shift,
            heat: heats.written(windows),
            journeys: Watch::journeys(shards.iter().map(|shard| &shard.watch)),
            herd: Retries::index(shards.iter().map(|shard| &shard.retries)),
            struck: struck::told(shards),
            checker: Watch::checker(shards.iter().map(|shard| &shard.watch)),
        }
    }
}

fn lives(shards: &[Recorder], now: Moment) -> Option<Life> {
    let (living, _) = shards.first()?.lives.as_ref()?;
    let devices = |shard: &Recorder| -> u64 {
        let living = shard.cohorts.iter().zip(living).filter(|(_, living)| **living);
        living.map(|(cohort, _)| cohort.totals.devices).sum()
    };
    let all: Vec<&Lives> = shards.iter().filter_map(|shard| Some(&*shard.lives.as_ref()?.1)).collect();
    Some(Lives::merged(&all, shards.iter().map(devices).sum(), now))
}

/// Gives the windows of all shards the same length; returns it as a power of two, and how many windows have counts.
fn level(shards: &mut [Recorder]) -> (u32, usize) {
    let matrices = |shard: &Recorder| {
        let heats = shard.heats.iter().flat_map(Heats::matrices).chain(shard.codes.over_time());
        heats.map(Matrix::shift).max().unwrap_or(0)
    };
    let shift = shards.iter().map(matrices).max().unwrap_or(0);
    let mut windows = 0;
    for shard in shards {
        let heats = shard.heats.iter_mut().flat_map(Heats::matrices_mut);
        for matrix in heats.chain(shard.codes.over_time_mut()) {
            matrix.widen_to(shift);
            windows = windows.max(matrix.windows());
        }
    }
    (shift, windows)
}

fn cohort_totals(shards: &[Recorder], cohort: usize) -> Totals {
    let mut totals = Totals::default();
    for shard in shards {
        add(&mut totals, &shard.cohorts[cohort].totals);
        for device in shard.devices.iter().filter(|device| usize::from(device.cohort) == cohort) {
            totals.unanswered += u64::from(device.flags & ASKING != 0);
            match &device.standing {
                Standing::Off => totals.unborn += 1,
                Standing::Running | Standing::Again => totals.in_flight += 1,
                Standing::Dark(_) => totals.without_power += 1,
                Standing::Assigned => totals.assigned += 1,
                Standing::Stopped(class) => {
                    totals.stopped += 1;
                    totals.parked += u64::from(device.flags & PARKED != 0);
                    *totals.stopped_by.entry(class.name().to_owned()).or_default() += 1;
                }
            }
        }
    }
    totals
}

fn add(sum: &mut Totals, part: &Totals) {
    sum.devices += part.devices;
    sum.booted += part.booted;
    sum.assigned += part.assigned;
    sum.stopped += part.stopped;
    sum.parked += part.parked;
    sum.in_flight += part.in_flight;
    sum.without_power += part.without_power;
    sum.unborn += part.unborn;
    sum.assignments += part.assignments;
    sum.unsent += part.unsent;
    sum.unanswered += part.unanswered;
    sum.faltered += part.faltered;
    sum.stops += part.stops;
    sum.connections += part.connections;
    sum.requests += part.requests;
    sum.registers += part.registers;
    sum.billable += part.billable;
    sum.throttled += part.throttled;
    sum.failed += part.failed;
    sum.tokens_renewed += part.tokens_renewed;
    sum.plugin_faults += part.plugin_faults;
    sum.back_offs += part.back_offs;
    sum.backed_off_ns = sum.backed_off_ns.saturating_add(part.backed_off_ns);
    for (hub, devices) in &part.hubs {
        *sum.hubs.entry(hub.clone()).or_default() += devices;
    }
    for (class, devices) in &part.stopped_by {
        *sum.stopped_by.entry(class.clone()).or_default() += devices;
    }
}

/// When shares of `devices` had their hub: the share counts all devices, whether they ever got one or not.
fn completion(completions: &mut [Moment], devices: u64) -> Completion {
    completions.sort_unstable();
    let share = |permille: u64| {
        let rank = (devices * permille).div_ceil(1_000).max(1);
        let at = completions.get(usize::try_from(rank - 1).ok()?)?;
        Some(at.as_nanos())
    };
    Completion {
        t50_ns: share(500),
        t90_ns: share(900),
        t99_ns: share(990),
        t999_ns: share(999),
        t100_ns: share(1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_devices_that_never_got_a_hub() {
        let mut completions: Vec<_> = (1..=90).rev().map(Moment::from_nanos).collect();
        let found = completion(&mut completions, 100);
        assert_eq!(found.t50_ns, Some(50));
        assert_eq!(found.t90_ns, Some(90));
        assert_eq!((found.t99_ns, found.t100_ns), (None, None));
        assert_eq!(completion(&mut [], 0), Completion::default());
    }
}
