//! Devices that are watched event by event: what they did in which order, and where their time went.
//!
//! Every device of a small fleet is watched. Of a larger one a sample is, drawn by the seed, so that a million devices
//! cost no more than a few thousand and two runs of a seed watch the same devices.

use std::sync::Arc;

use fleetstorm_model::chaos::Timeline;
use fleetstorm_model::device::{LifeEvent, Observation};
use fleetstorm_model::profile::Profile;
use fleetstorm_net::ConnectTimes;
use fleetstorm_protocol::outcome::Outcome;
use fleetstorm_protocol::{Operation, Status};
use fleetstorm_reports::record::Journey;
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Moment, Span};

use crate::checks::{Checker, Life};
use crate::listen::Listener;

/// Fleets up to this size are watched whole.
const WHOLE: u32 = 10_000;
/// Of larger ones about as many devices are: forty of a cohort of one in a hundred.
const SAMPLE: u32 = 4_000;

/// The watched devices of a shard.
pub(crate) struct Watch {
    /// Their local indices, ascending.
    locals: Vec<u32>,
    watched: Vec<Watched>,
    checker: Checker,
    listener: Option<Listener>,
}

struct Watched {
    /// Its number in the fleet.
    number: u32,
    /// Whether it is one of the sample; one that is only listened to changes nothing in a record.
    drawn: bool,
    heard: bool,
    life: Life,
    way: Way,
}

/// What the time since the last event went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// Before the first attempt; it is what the other parts leave.
    Admission,
    BackOff,
    Polling,
    /// Between the answer to a request and the next action at once.
    Turn,
    /// The connection has just been made.
    None,
}

/// Where a device's time goes.
#[derive(Clone, Copy, Debug)]
struct Way {
    parts: Parts,
    since: Moment,
    gap: Gap,
    handshake: Span,
    /// Once it has its hub: how long that took, and the attempts.
    arrived: Option<(Span, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    connect: Span,
    tls: Span,
    register: Span,
    poll: Span,
    polling: Span,
    back_off: Span,
    lag: Span,
}

impl Watch {
    /// Watches none.
    pub(crate) fn nobody() -> Self {
        let checker = Checker::new(Profile::default());
        Self { locals: Vec::new(), watched: Vec::new(), checker, listener: None }
    }

    /// Watches devices of a fleet of so many and holds them against a profile, under these faults; `members` are the shard's, by their
    /// numbers, in the order of their local indices.
    pub(crate) fn new(
        seed: Seed,
        devices: u32,
        profile: Profile,
        faults: Option<&Arc<Timeline>>,
        listener: Option<Listener>,
        members: impl Iterator<Item = u32>,
    ) -> Self {
        let share = f64::from(SAMPLE) / f64::from(devices.max(1));
        let is_drawn = |number| devices <= WHOLE || seed.fraction(Purpose::Watch, number, 0) < share;
        let mut watch = Self { checker: Checker::new(profile).under(faults), ..Self::nobody() };
        for (local, number) in (0u32..).zip(members) {
            let drawn = is_drawn(number);
            let heard = listener.as_ref().is_some_and(|listener| {
                if drawn { listener.hears(number) } else { listener.asks_for(number) }
            });
            if drawn || heard {
                watch.locals.push(local);
                watch.watched.push(Watched { number, drawn, heard, life: Life::new(), way: Way::NEW });
            }
        }
        watch.checker.watch(watch.watched.iter().filter(|watched| watched.drawn).count() as u64);
        watch.listener = listener;
        watch
    }

    /// How far before its `Retry-After` a device may come back.
    pub(super) fn retry_after_tolerance(&self) -> Span {
        self.checker.retry_after_tolerance()
    }

    pub(super) fn locals(&self) -> &[u32] {
        &self.locals
    }

    fn at(&self, local: usize) -> Option<usize> {
        self.locals.binary_search(&u32::try_from(local).ok()?).ok()
    }

    /// A watched device begins again: it was given power, or woke from parking.
    pub(super) fn booted(&mut self, local: usize, now: Moment, powered: bool) {
        let Some(at) = self.at(local) else { return };
        let Watched { number, heard, way, .. } = &mut self.watched[at];
        if way.arrived.is_none() {
            *way = Way::NEW;
        }
        if let (true, true, Some(listener)) = (powered, *heard, &self.listener) {
            listener.power_on(*number, now);
        }
    }

    /// A watched device noticed something after it had its hub.
    pub(super) fn lived(&mut self, local: usize, now: Moment, event: LifeEvent) {
        let Some(at) = self.at(local) else { return };
        let Watched { number, heard, .. } = &self.watched[at];
        if let (true, Some(listener)) = (*heard, &self.listener) {
            listener.hear_life(*number, now, event);
        }
    }

    /// A watched device lost its power.
    pub(super) fn powered_off(&mut self, local: usize) {
        if let Some(at) = self.at(local) {
            self.watched[at].life.power_off();
        }
    }

    pub(super) fn connect_times(&mut self, local: usize, times: ConnectTimes) {
        if let Some(at) = self.at(local) {
            self.watched[at].way.handshake = times.tls.unwrap_or(Span::ZERO);
        }
    }

    pub(super) fn observe(&mut self, local: usize, now: Moment, event: &Observation<'_>) {
        let Some(at) = self.at(local) else { return };
        let Watched { number, drawn, heard, life, way } = &mut self.watched[at];
        if let (true, Some(listener)) = (*heard, &self.listener) {
            listener.hear(*number, now, event);
        }
        if *drawn {
            self.checker.see(life, *number, now, event);
            way.take(now, event);
        }
    }

    /// What the checks of all shards found.
    pub(super) fn checker<'a>(shards: impl Iterator<Item = &'a Self>) -> Option<Checker> {
        shards.map(|shard| shard.checker.clone()).reduce(|mut all, shard| {
            all.merge(&shard);
            all
        })
    }

    /// The ways of the devices at the quantiles that a report shows. Names are left to those who know them.
    pub(super) fn journeys<'a>(shards: impl Iterator<Item = &'a Self>) -> Vec<Journey> {
        let mut arrived: Vec<(Span, u32, &Way)> = shards
            .flat_map(|shard| &shard.watched)
            .filter_map(|watched| Some((watched.way.arrived?.0, watched.number, &watched.way)))
            .collect();
        arrived.sort_unstable_by_key(|(took, number, _)| (*took, *number));
        let at = |permille: usize| arrived.get((arrived.len() * permille).div_ceil(1_000).max(1) - 1);
        [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)]
            .into_iter()
            .filter_map(|(quantile, permille)| Some((quantile, at(permille)?)))
            .map(|(quantile, (took, number, way))| way.journey(quantile, *took, *number))
            .collect()
    }
}

impl Way {
    const NEW: Self = Self {
        parts: Parts {
            connect: Span::ZERO,
            tls: Span::ZERO,
            register: Span::ZERO,
            poll: Span::ZERO,
            polling: Span::ZERO,
            back_off: Span::ZERO,
            lag: Span::ZERO,
        },
        since: Moment::START,
        gap: Gap::Admission,
        handshake: Span::ZERO,
        arrived: None,
    };

    fn take(&mut self, now: Moment, event: &Observation<'_>) {
        if self.arrived.is_some() {
            return;
        }
        match *event {
            Observation::Connected { intended, started, .. } => {
                self.waited(intended, started);
                let tls = std::mem::take(&mut self.handshake);
                self.parts.tls += tls;
                self.parts.connect += now.since(started).saturating_sub(tls);
                (self.since, self.gap) = (now, Gap::None);
            }
            Observation::Sent { intended, .. } => {
                // The lag of a connection counts once, not again for the first request on it.
                let intended = if self.gap == Gap::None { now } else { intended };
                self.waited(intended, now);
                (self.since, self.gap) = (now, Gap::Turn);
            }
            Observation::Ended { operation, started, outcome, .. } => {
                let part = if operation == Operation::Poll {
                    &mut self.parts.poll
                } else {
                    &mut self.parts.register
                };
                *part += now.since(started);
                let accepted = matches!(outcome, Outcome::Answered { status: Status(200..=299), .. });
                (self.since, self.gap) = (now, if accepted { Gap::Polling } else { Gap::Turn });
            }
            Observation::BackedOff { .. } | Observation::Stopped { .. } => {
                (self.since, self.gap) = (now, Gap::BackOff);
            }
            Observation::Assigned { booted, attempts, .. } => {
                self.arrived = Some((now.since(booted), attempts));
            }
            _ => {}
        }
    }

    /// The time from the last event to an action that should have come at `intended` and came at `acted`.
    fn waited(&mut self, intended: Moment, acted: Moment) {
        self.parts.lag += acted.since(intended.max(self.since));
        let waited = intended.since(self.since);
        match self.gap {
            Gap::Admission => {}
            Gap::BackOff => self.parts.back_off += waited,
            Gap::Polling => self.parts.polling += waited,
            Gap::Turn => self.parts.register += waited,
            Gap::None => self.parts.connect += waited,
        }
    }

    fn journey(&self, quantile: &str, took: Span, device: u32) -> Journey {
        let Parts { connect, tls, register, poll, polling, back_off, lag } = self.parts;
        let known = connect + tls + register + poll + polling + back_off + lag;
        Journey {
            quantile: quantile.to_owned(),
            device,
            name: String::new(),
            attempts: self.arrived.map_or(0, |(_, attempts)| attempts),
            total_ns: took.as_nanos(),
            admission_ns: took.saturating_sub(known).as_nanos(),
            connect_ns: connect.as_nanos(),
            tls_ns: tls.as_nanos(),
            register_ns: register.as_nanos(),
            poll_ns: poll.as_nanos(),
            polling_ns: polling.as_nanos(),
            back_off_ns: back_off.as_nanos(),
            lag_ns: lag.as_nanos(),
        }
    }
}
