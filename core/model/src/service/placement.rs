//! Which hub a device gets, now and when it registers again, and how long that takes.

use std::sync::Arc;

use fleetstorm_protocol::enrollment::{AllocationPolicy, Enrollment};
use fleetstorm_units::random::{Purpose, Seed, fraction};
use fleetstorm_units::time::Span;
use serde_json::Value;

use super::allocation;
use super::config::{Assignment, Region};
use super::hub::Hubs;

/// How an instance places devices where their enrollments do not say.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) policy: AllocationPolicy,
    pub(super) regions: Vec<Region>,
    pub(super) assignment: Assignment,
    pub(super) seed: Seed,
}

/// A device that is to get a hub.
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    pub(super) enrollment: &'a Enrollment,
    /// The hub that it has.
    pub(super) current: Option<u16>,
    /// The version of its request lets it keep its hub.
    pub(super) keeps_hub: bool,
    /// A hub that a fault takes away. It does not come into question where there is another one.
    pub(super) unlinked: Option<&'a str>,
}

/// A hub that was chosen for a device.
pub(super) struct Chosen {
    pub(super) hub: u16,
    /// The twin that a webhook chose with it.
    pub(super) initial_twin: Option<Arc<Value>>,
}

/// What is to be done for a registration.
pub(super) enum Choice {
    Hub(u16),
    Webhook,
}

impl Placement {
    /// Decides how a registration gets its hub. The enrollment's policy goes before the instance's (`dps`
    /// 14.5), and a policy that keeps devices where they are before both (14.6).
    pub(super) fn choose(&self, hubs: &Hubs, candidate: &Candidate<'_>) -> Choice {
        let Candidate { name, enrollment, current, keeps_hub, unlinked } = *candidate;
        let linked = |hub: u16| {
            hubs.is_linked(hub)
                && unlinked.is_none_or(|unlinked| !unlinked.eq_ignore_ascii_case(hubs.host(hub)))
        };
        if let Some(hub) = current
            && linked(hub)
            && (keeps_hub || !enrollment.reprovision.update_hub_assignment)
        {
            return Choice::Hub(hub);
        }
        let usual = match enrollment.static_hub {
            Some(_) => AllocationPolicy::Static,
            None => self.policy,
        };
        let key = allocation::hash(name);
        let all = hubs.candidates(enrollment);
        let some = all.clone().any(|(at, _)| linked(at));
        let candidates = all.filter(|(at, _)| !some || linked(*at));
        let hub = match enrollment.allocation.unwrap_or(usual) {
            AllocationPolicy::Custom => return Choice::Webhook,
            AllocationPolicy::Hashed => allocation::hashed(candidates, key),
            AllocationPolicy::Static => {
                let host = enrollment.static_hub.as_ref().or(enrollment.hubs.first());
                host.and_then(|host| hubs.at(host))
            }
            AllocationPolicy::GeoLatency => {
                let nearest = candidates.clone().map(|(_, hub)| self.latency(name, &hub.host)).min();
                let near = candidates.filter(|(_, hub)| Some(self.latency(name, &hub.host)) == nearest);
                allocation::hashed(near, key)
            }
        };
        // Every hub that an enrollment names was linked when the enrollment was made; where none is any more, the
        // device is sent to one that will not know it.
        Choice::Hub(hub.unwrap_or(0))
    }

    fn latency(&self, id: &str, host: &str) -> Span {
        let begins =
            |prefix: &str| id.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        let region = self.regions.iter().find(|region| begins(&region.id_prefix));
        let known = region
            .and_then(|region| region.latency.iter().find(|(known, _)| known.eq_ignore_ascii_case(host)));
        known.map_or(Span::MAX, |(_, latency)| *latency)
    }

    /// How long the assignment of a device's registration takes; `None` for never. `count` registrations came before.
    pub(super) fn takes(&self, name: &str, count: u32) -> Option<Span> {
        let draws = || self.seed.pair(Purpose::Assignment, allocation::hash(name), count).map(fraction);
        Some(match self.assignment {
            Assignment::Never => return None,
            Assignment::Constant(span) => span,
            Assignment::Uniform(from, to) => from + to.saturating_sub(from).scale(draws()[0]),
            Assignment::Lognormal { median, sigma, max } => {
                let [one, other] = draws();
                // Box and Muller (1958).
                let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
                median.scale((sigma * normal).exp()).min(max)
            }
        })
    }
}
