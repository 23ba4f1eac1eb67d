//! What a shard writes down about devices that live on after they have their hub.

use std::collections::BTreeMap;

use fleetstorm_model::device::{LifeEvent, Return};
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_reports::record::Life;
use fleetstorm_units::time::{Moment, Span};

use super::Phase;
use super::latency::{Ending, Latencies};
use super::series::SECONDS_MAX;

/// The lives of a shard's devices.
#[derive(Default)]
pub(super) struct Lives {
    /// By local index; devices of cohorts that do not live on keep the default.
    devices: Vec<Lived>,
    /// Hubs by number.
    hubs: Vec<String>,
    counts: Counts,
    seconds: Vec<Second>,
    /// Time online of the spells that are over, less the beginnings of those that go on.
    online_ns: i128,
    online: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lived {
    /// One more than the number of its hub; 0 before it has had one.
    hub: u16,
    online: bool,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
struct Counts {
    accepted: u64,
    refused: BTreeMap<Fault, u64>,
    ever_online: u64,
    reconnects: u64,
    reconnects_cached: u64,
    returns: [u64; Return::ALL.len()],
    needless: u64,
    moved: u64,
    heartbeats: u64,
    commands: u64,
    power_losses: u64,
    renewals: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    connects: u32,
    came: u32,
    went: u32,
}

impl Lives {
    /// Lives of as many devices as the shard has.
    pub(super) fn new(devices: usize) -> Self {
        Self { devices: vec![Lived::default(); devices], ..Self::default() }
    }

    /// DPS gave a device this hub. The hub that it had before, if it had one.
    pub(super) fn assigned(&mut self, device: usize, hub: &str) -> Option<&str> {
        let known = self.hubs.iter().position(|known| known == hub);
        let number = known.unwrap_or_else(|| {
            if self.hubs.len() < super::HUBS_MAX {
                self.hubs.push(hub.to_owned());
            }
            self.hubs.len() - 1
        });
        // There are at most `HUBS_MAX` numbers.
        let before = std::mem::replace(&mut self.devices[device].hub, number as u16 + 1);
        self.hubs.get(usize::from(before).checked_sub(1)?).map(String::as_str)
    }

    /// Remembers whether a device is connected to its hub.
    pub(super) fn note(&mut self, device: usize, event: LifeEvent) {
        match event {
            LifeEvent::Online { .. } => self.devices[device].online = true,
            LifeEvent::Offline { .. } => self.devices[device].online = false,
            _ => {}
        }
    }

    /// Whether a device is connected to its hub.
    pub(super) fn is_online(&self, device: usize) -> bool {
        self.devices[device].online
    }

    /// Counts an event and the latencies that it ends.
    ///
    /// `undelayed` says what is left of the time since a moment without the generator's own delays.
    pub(super) fn observe(
        &mut self,
        now: Moment,
        event: LifeEvent,
        latencies: &mut Latencies,
        undelayed: impl Fn(Moment) -> Span,
    ) {
        match event {
            LifeEvent::Tried { started, fault } => {
                self.at(now).connects += 1;
                let ending = match fault {
                    None => {
                        self.counts.accepted += 1;
                        Ending::Ok
                    }
                    Some(fault) => {
                        *self.counts.refused.entry(fault).or_default() += 1;
                        Ending::Failed
                    }
                };
                let took = now.since(started);
                latencies.add_delayed(Phase::HubConnect, ending, (took, took), undelayed(started));
            }
            LifeEvent::Online { since, first, cached } => {
                self.at(now).came += 1;
                self.online += 1;
                self.online_ns -= i128::from(now.as_nanos());
                let phase = if first {
                    self.counts.ever_online += 1;
                    Phase::TimeToOnline
                } else {
                    self.counts.reconnects += 1;
                    self.counts.reconnects_cached += u64::from(cached);
                    Phase::Reconnect
                };
                let took = now.since(since);
                latencies.add_delayed(phase, Ending::Ok, (took, took), undelayed(since));
            }
            LifeEvent::Offline { .. } => {
                self.at(now).went += 1;
                self.online = self.online.saturating_sub(1);
                self.online_ns += i128::from(now.as_nanos());
            }
            LifeEvent::PowerLost => self.counts.power_losses += 1,
            LifeEvent::Returned(why) => self.counts.returns[why as usize] += 1,
            LifeEvent::Reassigned { why, same } => {
                self.counts.moved += u64::from(!same);
                // An operator who asks for a registration has a reason of his own.
                self.counts.needless += u64::from(same && why != Return::Command);
            }
            LifeEvent::Heartbeat => self.counts.heartbeats += 1,
            LifeEvent::Commanded => self.counts.commands += 1,
            LifeEvent::Renews => self.counts.renewals += 1,
        }
    }

    fn at(&mut self, moment: Moment) -> &mut Second {
        let index = ((moment.as_nanos() / 1_000_000_000) as usize).min(SECONDS_MAX - 1);
        if index >= self.seconds.len() {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    /// The lives of all shards, which ended at `now`; `devices` of the fleet live on.
    pub(super) fn merged(shards: &[&Self], devices: u64, now: Moment) -> Life {
        let mut life = Life { devices, ..Life::default() };
        let (mut online_ns, mut standing) = (0i128, 0u64);
        let mut refused: BTreeMap<Fault, u64> = BTreeMap::new();
        let mut returns = [0u64; Return::ALL.len()];
        for shard in shards {
            let counts = &shard.counts;
            life.hub_connections += counts.accepted + counts.refused.values().sum::<u64>();
            life.ever_online += counts.ever_online;
            life.reconnects += counts.reconnects;
            life.reconnects_cached += counts.reconnects_cached;
            life.registrations_needless += counts.needless;
            life.moved += counts.moved;
            life.messages += counts.heartbeats;
            life.commands += counts.commands;
            life.power_losses += counts.power_losses;
            life.token_renewals += counts.renewals;
            for (fault, count) in &counts.refused {
                *refused.entry(*fault).or_default() += count;
            }
            for (sum, count) in returns.iter_mut().zip(counts.returns) {
                *sum += count;
            }
            online_ns += shard.online_ns;
            standing += shard.online;
        }
        online_ns += i128::from(standing) * i128::from(now.as_nanos());
        life.online_at_end = standing;
        let possible = devices as f64 * now.as_nanos() as f64;
        life.online_share = if possible > 0.0 { online_ns as f64 / possible } else { 0.0 };
        life.refused = refused.into_iter().map(|(fault, count)| (fault.name().to_owned(), count)).collect();
        life.returns = Return::ALL
            .into_iter()
            .zip(returns)
            .filter(|(_, count)| *count > 0)
            .map(|(why, count)| (why.name().to_owned(), count))
            .collect();
        let until = usize::try_from(now.as_nanos().div_ceil(1_000_000_000)).unwrap_or(0).min(SECONDS_MAX);
        let length = shards.iter().map(|shard| shard.seconds.len()).max().unwrap_or(0).max(until);
        let mut online = 0u32;
        for index in 0..length {
            let sum = |field: fn(&Second) -> u32| -> u32 {
                shards.iter().filter_map(|shard| shard.seconds.get(index)).map(field).sum()
            };
            online = (online + sum(|second| second.came)).saturating_sub(sum(|second| second.went));
            life.online.push(online);
            life.connects.push(sum(|second| second.connects));
        }
        life
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::START + Span::from_secs(secs)
    }

    #[test]
    fn time_online_is_that_of_spells_that_are_over_and_of_those_that_go_on() {
        let mut latencies = Latencies::default();
        let mut shards = [Lives::new(1), Lives::new(1)];
        let online = |since, first| LifeEvent::Online { since, first, cached: !first };
        shards[0].observe(at(10), online(at(0), true), &mut latencies, |since| at(10).since(since));
        shards[0].observe(at(40), LifeEvent::Offline { since: at(10) }, &mut latencies, |since| {
            at(40).since(since)
        });
        shards[0].observe(at(50), online(at(40), false), &mut latencies, |since| at(50).since(since));
        shards[1].observe(at(20), online(at(0), true), &mut latencies, |since| at(20).since(since));
        shards[1].observe(at(30), LifeEvent::Offline { since: at(20) }, &mut latencies, |since| {
            at(30).since(since)
        });
        let life = Lives::merged(&[&shards[0], &shards[1]], 2, at(100));
        // 30 s and 50 s of the first, 10 s of the second, out of 200 s.
        assert!((life.online_share - 0.45).abs() < 1e-12, "{}", life.online_share);
        assert_eq!((life.online_at_end, life.ever_online), (1, 2));
        assert_eq!((life.reconnects, life.reconnects_cached), (1, 1));
        assert_eq!(life.online.len(), 100);
        assert_eq!([9, 10, 20, 30, 45, 99].map(|second: usize| life.online[second]), [0, 1, 2, 1, 0, 1]);
    }

    #[test]
    fn a_registration_that_changes_nothing_was_not_needed_unless_somebody_asked_for_it() {
        let mut latencies = Latencies::default();
        let mut lives = Lives::new(1);
        for (why, same) in [
            (Return::Boot, true),
            (Return::Patience, true),
            (Return::Refused, false),
            (Return::Command, true),
        ] {
            lives.observe(at(1), LifeEvent::Returned(why), &mut latencies, |since| at(1).since(since));
            lives.observe(at(2), LifeEvent::Reassigned { why, same }, &mut latencies, |since| {
                at(2).since(since)
            });
        }
        let life = Lives::merged(&[&lives], 1, at(3));
        assert_eq!((life.registrations_needless, life.moved), (2, 1));
        assert_eq!(life.returns.values().sum::<u64>(), 4);
    }

    #[test]
    fn a_device_is_counted_at_the_hub_that_it_was_given_last() {
        let mut lives = Lives::new(2);
        assert_eq!(lives.assigned(0, "a"), None);
        assert_eq!(lives.assigned(0, "b"), Some("a"));
        assert_eq!(lives.assigned(0, "b"), Some("b"));
        assert_eq!(lives.assigned(1, "a"), None);
    }
}
