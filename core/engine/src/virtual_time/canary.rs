//! Canaries in a simulation: the device machine and the service machine by direct calls, one device after the other.

use std::cell::OnceCell;
use std::sync::Arc;

use fleetstorm_mock::serve::webhooks;
use fleetstorm_model::chaos::{Cut, Layer, Occasion, Rules, Timeline};
use fleetstorm_model::device::{Action, Attempt, Decision, Device, Host, Input, Observation};
use fleetstorm_model::service::Service;
use fleetstorm_protocol::outcome::Fault;
use fleetstorm_protocol::{ApiVersion, Operation};
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Moment, Span};

use crate::chaos::canary::Met;
use crate::plan::Plan;
use crate::truth::{Proof, Truth};

/// Lets the devices of a plan come to a service from this moment on, under the faults of a timeline that are on.
pub(super) fn visit(
    plan: &Plan,
    service: &mut Service,
    timeline: Option<&Arc<Timeline>>,
    from: Moment,
    patience: Span,
) -> Met {
    let rules = timeline.map(|timeline| timeline.rules(&[Layer::Network]));
    let mut visitor = Visitor { plan, service, rules, connected: from, connections: 0 };
    let mut met = Met { devices: u64::from(plan.scenario.fleet.devices), ..Met::default() };
    let mut now = from;
    for index in 0..plan.scenario.fleet.devices {
        let mut canary = Canary {
            seed: Seed(plan.scenario.seed),
            device: plan.first + index,
            registered: false,
            wrong: 0,
        };
        let began = now;
        now = visitor.register(index, now, began + patience, &mut canary);
        met.registered += u64::from(canary.registered);
        met.wrong += canary.wrong;
        met.took = met.took.max(now.since(began));
    }
    met
}

struct Visitor<'a> {
    plan: &'a Plan,
    service: &'a mut Service,
    rules: Option<Rules>,
    connections: u32,
    connected: Moment,
}

impl Visitor<'_> {
    /// Lets one device register; returns when it has come to rest, or `end`.
    fn register(&mut self, index: u32, booted: Moment, end: Moment, canary: &mut Canary) -> Moment {
        let planned = &self.plan.cohorts[usize::from(self.plan.membership[index as usize])];
        let mut device = Device::new();
        let mut now = booted;
        let mut action = device.step(now, Input::Boot { intended: now }, &planned.policy, canary);
        while now < end && !device.is_settled() {
            let silent = device.alarm().unwrap_or(end);
            let (then, event) = match action {
                Action::Connect { .. } => self.connect(now, canary.device),
                Action::Send { operation, credential, .. } => {
                    let cohort = usize::from(self.plan.membership[index as usize]);
                    let truth = Truth {
                        proof: &planned.proof,
                        transport: self.plan.scenario.cohorts[cohort].transport,
                        slot: credential.slot,
                        expires_unix_secs: credential.expires_unix_secs,
                        name: (&self.plan.scenario.fleet.id_prefix, canary.device),
                        certificate: OnceCell::new(),
                    };
                    let version = self.plan.scenario.cohorts[cohort].api_version;
                    self.send(now, (&device, version), operation, canary.device, &truth)
                }
                Action::Answer => match planned.proof {
                    Proof::Tpm => (now, Event::Answered),
                    _ => (now, Event::Broke(Fault::Attestation)),
                },
                Action::Wait { .. } | Action::Ignore => (silent, Event::Alarm),
                Action::Finish => return now,
            };
            let (then, event) = if then <= silent { (then, event) } else { (silent, Event::Alarm) };
            now = then;
            let input = match &event {
                Event::Connected => Input::Connected,
                Event::Reply(reply) => Input::Reply(reply),
                Event::Broke(fault) => Input::Broke(*fault),
                Event::Answered => Input::Answered,
                Event::Alarm => Input::Alarm,
            };
            action = device.step(now, input, &planned.policy, canary);
        }
        now.min(end)
    }

    fn connect(&mut self, now: Moment, device: u32) -> (Moment, Event) {
        (self.connections, self.connected) = (self.connections + 1, now);
        let occasion = Occasion { connection: self.connections, ..Occasion::of(now, device, None) };
        let verdict = self.rules.as_mut().map(|rules| rules.connect(&occasion)).unwrap_or_default();
        match verdict.cut {
            None => (now + verdict.delay, Event::Connected),
            Some(Cut::Broke(fault)) => (now + verdict.delay, Event::Broke(fault)),
            Some(Cut::Silence) => (Moment::FAR, Event::Alarm),
        }
    }

    fn send(
        &mut self,
        now: Moment,
        (asker, version): (&Device, ApiVersion),
        operation: Operation,
        device: u32,
        truth: &Truth<'_>,
    ) -> (Moment, Event) {
        let (connection, connected) = (self.connections, self.connected);
        let occasion = Occasion { connection, connected, ..Occasion::of(now, device, Some(operation)) };
        let (mut at, mut cut) = (now, None);
        if let Some(rules) = &mut self.rules {
            at += rules.send(&occasion).delay;
            cut = rules.exchange(&occasion).cut;
        }
        match cut {
            None => {}
            Some(Cut::Broke(fault)) => return (at, Event::Broke(fault)),
            Some(Cut::Silence) => return (Moment::FAR, Event::Alarm),
        }
        let Some(query) = super::query(operation, asker.operation()) else { return (at, Event::Alarm) };
        let answered = self.service.ask(at, device, version, query, truth);
        webhooks::forbid(self.service, at);
        let reply = self.service.reply(at, &answered.answer);
        (at + answered.delay, Event::Reply(Box::new(reply)))
    }
}

/// What happens to a canary.
enum Event {
    Connected,
    Reply(Box<fleetstorm_protocol::Reply>),
    Broke(Fault),
    Answered,
    Alarm,
}

/// What a canary asks: it has no strategy, because the first failure is the news.
struct Canary {
    seed: Seed,
    device: u32,
    registered: bool,
    wrong: u64,
}

impl Host for Canary {
    fn admit(&mut self, _: &Attempt) -> Decision {
        Decision::Wait(Span::ZERO)
    }

    fn decide(&mut self, _: &Attempt) -> Decision {
        self.wrong += 1;
        Decision::GiveUp { rearm_after: None }
    }

    fn settled(&mut self, _: &Attempt) {}

    fn poll_jitter(&mut self, attempt: u32) -> u64 {
        self.seed.draw(Purpose::Poll, self.device, attempt)
    }

    fn observe(&mut self, _: Moment, observation: Observation<'_>) {
        self.registered |= matches!(observation, Observation::Assigned { .. });
    }
}
