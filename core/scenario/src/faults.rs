//! What is wrong with the faults of a scenario.

use fleetstorm_model::chaos::{
    AmqpCutAfter, AppliesTo, ChaosFile, FaultKind, Layer, Naming, Peer, Start, Unit,
};
mod packets;
use crate::{Measure, Question, Scenario, TargetKind};
use fleetstorm_model::chaos::HubState;
use fleetstorm_model::objective::{Objective, Quantity};
use fleetstorm_protocol::RegistrationId;
use fleetstorm_units::time::Span;
use fleetstorm_units::{Duration, nearest};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The dotted path of the key.
    pub path: String,
    /// What.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Everything that is wrong with the faults of a scenario.
pub(crate) fn check(scenario: &Scenario) -> Vec<Complaint> {
    let mut checker = Checker { scenario, knows_devices: true, index: 0, list: Vec::new() };
    checker.faults();
    checker.list.extend(watch(scenario));
    checker.list
}

/// Everything that is wrong with the faults of a mock in a process of its own, which knows nobody before they come. `stage`
/// is a scenario with these faults.
pub(crate) fn check_mock(stage: &Scenario) -> Vec<Complaint> {
    let mut checker = Checker { scenario: stage, knows_devices: false, index: 0, list: Vec::new() };
    checker.faults();
    for (index, file) in stage.chaos.iter().enumerate() {
        checker.index = index;
        let name = file.fault.name();
        if !matches!(file.fault.layer(), Layer::Service | Layer::Protocol) {
            let help =
                "a mock alone takes faults of service.*, http.*, mqtt.* and amqp.*; the others are a run's";
            checker.refuse("fault", format!("{name} happens to devices, and there are none here"), help);
        }
        if matches!(file.start, Start::Assigned(_)) {
            checker.refuse(
                "start",
                "nobody knows how many devices will come",
                "write a time such as \"60s\"",
            );
        }
        if file.select.cohort.is_some() || file.select.transport.is_some() {
            let help = "write `device` with a registration id, or leave it out";
            checker.refuse("select", "a mock alone knows no cohorts and no transports of theirs", help);
        }
        if file.recover_within.is_some() || file.min_fired != 1 {
            checker.refuse(
                "fault",
                format!("{name} is judged by nobody here"),
                "leave out what a run is judged by",
            );
        }
    }
    checker.list
}

/// What is wrong with the steady state and the guardrails.
fn watch(scenario: &Scenario) -> Vec<Complaint> {
    let mut list = Vec::new();
    let mut refuse = |path: String, message: String, help: &str| {
        list.push(Complaint { path, message, help: help.to_owned() });
    };
    for (index, guardrail) in scenario.guardrails.iter().enumerate() {
        if !(guardrail.max >= 0.0 && guardrail.max.is_finite()) {
            refuse(
                format!("guardrail.{index}.max"),
                format!("a ceiling of {}", guardrail.max),
                "write 0 or more",
            );
        }
        if guardrail.lasting.0 < Span::from_secs(1) {
            let help = "a run is looked at once a second: write 1s or more";
            refuse(format!("guardrail.{index}.for"), format!("for {}", guardrail.lasting), help);
        }
        if guardrail.lasting > scenario.horizon {
            let message =
                format!("nothing lasts {}: the run ends at {}", guardrail.lasting, scenario.horizon);
            refuse(format!("guardrail.{index}.for"), message, "write less, or a longer horizon");
        }
        // Connections that fail count, and send no request: more than 1 can be, and 50 is meant for percent.
        if guardrail.measure == Measure::WrongShare && guardrail.max > 10.0 {
            let message = format!("a share of {}", guardrail.max);
            refuse(format!("guardrail.{index}.max"), message, "write 0.5 for 50 %");
        }
    }
    if let Some(steady) = &scenario.steady_state {
        if steady.devices == 0 || steady.within.0 == Span::ZERO {
            let help = "write at least one device and some time";
            refuse("steady_state".to_owned(), "nothing would be seen".to_owned(), help);
        }
        let devices = steady.devices.min(scenario.fleet.devices);
        let question = Question { scenario, devices, horizon: steady.within.0 };
        for (index, text) in steady.expect.iter().enumerate() {
            let wrong = match text.parse::<Objective>() {
                Ok(objective) => question.complaint(&objective),
                Err(error) => Some((error.message, error.help)),
            };
            if let Some((message, help)) = wrong {
                refuse(
                    format!("steady_state.expect.{index}"),
                    format!("objective `{text}`: {message}"),
                    &help,
                );
            }
        }
    }
    list
}

struct Checker<'a> {
    scenario: &'a Scenario,
    /// Whether it is known which devices there are: a mock alone meets whoever comes.
    knows_devices: bool,
    index: usize,
    list: Vec<Complaint>,
}

impl Checker<'_> {
    /// What is wrong with each fault.
    fn faults(&mut self) {
        for (index, file) in self.scenario.chaos.iter().enumerate() {
            self.index = index;
            self.identity(file);
            self.time(file);
            self.selection(file);
            self.chance(file);
            self.kind(file);
            self.packets(file);
            self.safety(file);
        }
    }

    fn refuse(&mut self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let path = format!("chaos.{}.{key}", self.index);
        self.list.push(Complaint { path, message: message.into(), help: help.into() });
    }

    fn identity(&mut self, file: &ChaosFile) {
        let label = file.label();
        if self.scenario.chaos[..self.index].iter().any(|other| other.label() == label) {
            let help = "give each its own `name`: it keys the draws of the fault";
            self.refuse("name", format!("there are two faults `{label}`"), help);
        }
    }

    fn time(&mut self, file: &ChaosFile) {
        let horizon = self.scenario.horizon.0;
        match file.start {
            Start::At(at) if at.0 >= horizon => {
                self.refuse(
                    "start",
                    format!("it begins at {at}, and the run ends at {horizon}"),
                    "start earlier",
                );
            }
            Start::Assigned(Quantity::Percent(percent)) if !(0.0..=100.0).contains(&percent) => {
                self.refuse("start", format!("{percent} % of the devices"), "write 0 to 100 %");
            }
            Start::Assigned(Quantity::Number(number)) if number > f64::from(self.scenario.fleet.devices) => {
                self.refuse(
                    "start",
                    "the fleet has fewer devices",
                    "write a number that is reached, or a share",
                );
            }
            _ => {}
        }
        if file.duration.is_some_and(|duration| duration.0 == Span::ZERO) {
            self.refuse("duration", "a fault that lasts no time", "leave it out to last until the run ends");
        }
        if file.recover_within.is_some() && file.duration.is_none() {
            self.refuse(
                "recover_within",
                "nothing comes back from a fault that never ends",
                "add `duration`",
            );
        }
        if let (Some(within), Some(duration)) = (file.recover_within, file.duration) {
            // A start that is an event comes at the run's start at the earliest.
            let start = if let Start::At(at) = file.start { at.0 } else { Span::ZERO };
            let until = Duration(start + duration.0 + within.0);
            if until.0 > horizon {
                self.refuse(
                    "recover_within",
                    format!("the fleet may take until {until}, and the run ends at {}", Duration(horizon)),
                    "write less, or a longer horizon",
                );
            }
        }
        if let Some(repeat) = file.repeat {
            let Some(duration) = file.duration else {
                self.refuse("repeat", "a fault that never ends cannot begin again", "add `duration`");
                return;
            };
            if repeat.every.0 < duration.0 + repeat.jitter.0 {
                let help = "make `every` at least as long as `duration` and `jitter` together";
                self.refuse("repeat.every", "it would begin again before it ends", help);
            }
            if repeat.times == Some(0) {
                self.refuse(
                    "repeat.times",
                    "it would never begin",
                    "leave it out to repeat until the run ends",
                );
            }
        }
        let ramp = file.ramp;
        if ramp.down.0 > Span::ZERO && file.duration.is_none() {
            self.refuse("ramp.down", "a fault that never ends cannot fade", "add `duration`");
        }
        if file.duration.is_some_and(|duration| ramp.up.0 + ramp.down.0 > duration.0) {
            self.refuse("ramp", "it grows and fades for longer than it lasts", "shorten `up` and `down`");
        }
    }

    fn selection(&mut self, file: &ChaosFile) {
        let select = &file.select;
        if let Some(name) = &select.cohort
            && !self.scenario.cohorts.iter().any(|cohort| cohort.name == *name)
        {
            let known = self.scenario.cohorts.iter().map(|cohort| &*cohort.name);
            let help = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("cohorts: {}", known.collect::<Vec<_>>().join(", ")),
            };
            self.refuse("select.cohort", format!("there is no cohort `{name}`"), help);
        }
        if let Some(id) = &select.device {
            let fleet = &self.scenario.fleet;
            let number = Naming::Fleet(fleet.id_prefix.clone()).number(id);
            if RegistrationId::new(id).is_err() {
                self.refuse(
                    "select.device",
                    format!("`{id}` is no registration id"),
                    "write one such as \"dev-000001\"",
                );
            } else if self.knows_devices && number.is_none_or(|number| number >= fleet.devices) {
                let last = self.scenario.registration_id(fleet.devices.saturating_sub(1));
                let help = format!("the fleet's are {} to {last}", self.scenario.registration_id(0));
                self.refuse("select.device", format!("there is no device `{id}`"), help);
            }
            if file.fault.is_about_packets() {
                self.refuse("select.device", "packets carry no device's name", "leave it out");
            }
        }
        if select.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
            self.refuse("select.share", "a share is above 0 and up to 1", "write 0.3 for 30 %");
        }
        if select.operation.is_some() && file.fault.layer() == Layer::Fleet {
            self.refuse(
                "select.operation",
                format!("{} is about devices", file.fault.name()),
                "leave it out",
            );
        }
        if select.operation.is_some() && file.fault.comes_before_requests() {
            let help = "leave it out: it would never hit";
            self.refuse("select.operation", format!("{} comes before any request", file.fault.name()), help);
        }
        if select.peer.is_some() && file.fault.layer() != Layer::Network {
            let message = format!("{} is met at one place only", file.fault.name());
            self.refuse("select.peer", message, "leave it out");
        }
        if select.peer == Some(Peer::Hub) && self.scenario.cohorts.iter().all(|cohort| cohort.life.is_none())
        {
            let help = "give a cohort a `life`, or leave it out";
            self.refuse("select.peer", "no device goes to its hub", help);
        }
        if select.peer == Some(Peer::Hub) && select.operation.is_some() {
            let help = "leave one of them out: it would never hit";
            self.refuse("select.operation", "a hub is asked for no operation of the service", help);
        }
        if let Some(transport) = select.transport
            && !self.scenario.cohorts.iter().any(|cohort| cohort.transport == transport)
        {
            let help = "it would never hit anybody";
            self.refuse("select.transport", format!("no cohort speaks {}", transport.name()), help);
        }
        if file.applies_to != AppliesTo::Both && !file.fault.sees_connections() {
            let help = "leave it out: only faults of the network tell connections apart";
            self.refuse("applies_to", format!("{} does not know connections", file.fault.name()), help);
        }
    }

    fn chance(&mut self, file: &ChaosFile) {
        if let Some(probability) = file.probability {
            if !(0.0..=1.0).contains(&probability) {
                self.refuse("probability", format!("a probability of {probability}"), "write 0.05 for 5 %");
            }
            if file.unit.is_none() {
                let help = if file.fault.is_about_packets() {
                    "add `unit = \"packet\"`"
                } else {
                    "add `unit = \"request\"`, \"connection\" or \"device\""
                };
                self.refuse("probability", "a probability needs its unit", help);
            }
        } else if file.unit.is_some() {
            self.refuse("unit", "a unit without a probability", "add `probability`");
        }
        let counted = file.count.map(|count| count.per);
        for unit in [file.unit, counted].into_iter().flatten() {
            let key = if counted == Some(unit) { "count.per" } else { "unit" };
            if (unit == Unit::Packet) != file.fault.is_about_packets() {
                let help = if unit == Unit::Packet {
                    "only netem.loss and netem.reorder do"
                } else {
                    "write \"packet\""
                };
                self.refuse(key, format!("{} does not know {}s", file.fault.name(), unit.name()), help);
                continue;
            }
            if unit == Unit::Connection && !file.fault.sees_connections() {
                let help = "write \"device\" or \"request\"";
                self.refuse(key, format!("{} does not know connections", file.fault.name()), help);
            }
        }
        if file.count.is_some_and(|count| count.first == 0) {
            self.refuse("count.first", "the first none: it would never hit", "write 1 or more");
        }
        if file.limits.active == Some(0) || file.limits.total == Some(0) {
            self.refuse("limits", "a ceiling of zero: it would never hit", "leave it out for no ceiling");
        }
    }

    fn kind(&mut self, file: &ChaosFile) {
        match &file.fault {
            FaultKind::NetLatency { delay }
            | FaultKind::NetSlowClose { delay }
            | FaultKind::ServiceBrownout { delay, .. }
            | FaultKind::ServiceAllocationSlow { delay } => {
                if let Err(message) = delay.check() {
                    self.refuse("fault.delay", message, "");
                }
            }
            FaultKind::NetBandwidth { bytes_per_s: 0 } => {
                self.refuse("fault.bytes_per_s", "nothing would ever pass", "net.blackhole says that");
            }
            FaultKind::NetLimit { bytes: 0 } => {
                self.refuse("fault.bytes", "nothing would ever come", "net.reset says that");
            }
            FaultKind::NetDrip { bytes: 0, .. } | FaultKind::NetSlice { bytes: 0 } => {
                self.refuse("fault.bytes", "pieces of nothing", "write 1 or more");
            }
            FaultKind::ServiceError { status, .. } if !(300..600).contains(status) => {
                self.refuse("fault.status", format!("{status} is no error"), "write 300 to 599");
            }
            FaultKind::HttpStatus { status } if !(300..600).contains(status) => {
                self.refuse("fault.status", format!("{status} is no error"), "write 300 to 599");
            }
            FaultKind::HttpRedirect { to } if !is_host(to) => {
                self.refuse("fault.to", format!("`{to}` is no host"), "write a name such as other.invalid");
            }
            FaultKind::MqttConnack { code: 0 } => {
                self.refuse("fault.code", "0 is no refusal", "write 1 to 5, or more for an unknown one");
            }
            FaultKind::MqttSuback { code } if ![0, 1, 128].contains(code) => {
                self.refuse("fault.code", format!("SUBACK has no code {code}"), "write 0, 1 or 128");
            }
            FaultKind::AmqpSasl { code: 0 } => {
                self.refuse("fault.code", "0 is no refusal", "write 1 to 4, or more for an unknown one");
            }
            FaultKind::AmqpDisconnect { after: AmqpCutAfter::Sasl, condition: Some(_) } => {
                let help = "leave it out, or write `after = \"open\"`";
                self.refuse("fault.condition", "before the connection is open nobody can be told", help);
            }
            FaultKind::ServiceQuota { factor } if !(*factor > 0.0 && *factor <= 1e3) => {
                let help = "0.5 halves the quota; for none at all use service.throttle";
                self.refuse("fault.factor", format!("a factor of {factor}"), help);
            }
            FaultKind::ServiceAssignFailed { code } if !(400_000..600_000).contains(code) => {
                self.refuse("fault.code", format!("{code} is no six-digit code"), "write one such as 400207");
            }
            FaultKind::ServiceHubUnlinked { hub } => self.hub(hub),
            FaultKind::ServiceHubState { hub, state } => {
                self.hub(hub);
                if *state == HubState::Up {
                    self.refuse(
                        "fault.state",
                        "a hub that is up is no fault",
                        "write throttled, failing or unlinked",
                    );
                }
                if matches!(file.start, Start::Assigned(_)) {
                    let help = "write a time: connections that stand are told beforehand when they end";
                    self.refuse("start", "the state of a hub changes at a time, not with an event", help);
                }
            }
            FaultKind::ServiceFailover { quota } if !(*quota > 0.0 && *quota <= 1e3) => {
                let help = "0.5 halves the quota; for none at all use service.throttle";
                self.refuse("fault.quota", format!("a quota of {quota} times the usual one"), help);
            }
            FaultKind::FleetFirmwareLoop { every } if every.0 == Span::ZERO => {
                self.refuse("fault.every", "it would never get as far as booting", "write some time");
            }
            kind if kind.cuts_power() => self.outage(),
            _ => {}
        }
        if let FaultKind::ServiceBrownout { lost, .. } = &file.fault
            && !(0.0..=1.0).contains(lost)
        {
            self.refuse("fault.lost", format!("a share of {lost}"), "write 0 to 1");
        }
        if let FaultKind::FleetPowerOutage { keep_cache, .. } = &file.fault
            && !(0.0..=1.0).contains(keep_cache)
        {
            self.refuse("fault.keep_cache", format!("a share of {keep_cache}"), "write 0 to 1");
        }
    }

    /// A device that lives on has a power of its own, which knows what it remembers of its hub.
    fn outage(&mut self) {
        if self.scenario.cohorts.iter().any(|cohort| cohort.life.is_some()) {
            let help = "list it under `power_cuts` in the cohort's `life`";
            let message =
                format!("{} is for devices that only register", self.scenario.chaos[self.index].fault.name());
            self.refuse("fault", message, help);
        }
    }

    fn packets(&mut self, file: &ChaosFile) {
        if file.fault.is_about_packets() {
            for (key, message, help) in packets::check(self.scenario, self.index) {
                self.refuse(key, message, help);
            }
        }
    }

    fn hub(&mut self, hub: &str) {
        let hubs = &self.scenario.mock.hubs;
        let known = |host: &str| host.eq_ignore_ascii_case(hub);
        if hubs.is_empty() || hubs.iter().any(|linked| known(&linked.host)) {
            return;
        }
        let hosts: Vec<&str> = hubs.iter().map(|linked| &*linked.host).collect();
        self.refuse("fault.hub", format!("no hub `{hub}` is linked"), format!("hubs: {}", hosts.join(", ")));
    }

    /// Nothing but our own mock can be told to misbehave.
    fn safety(&mut self, file: &ChaosFile) {
        let target = &self.scenario.target;
        if file.fault.is_about_packets() && target.kind != TargetKind::Mock {
            let help = "take faults of net.*, or set `target.kind = \"mock\"`";
            let message = format!(
                "{} needs the embedded mock: packets to another target go through this machine's own network",
                file.fault.name()
            );
            self.refuse("fault", message, help);
        }
        if matches!(file.fault.layer(), Layer::Service | Layer::Protocol) && target.kind != TargetKind::Mock {
            let help = "take it out, or set `target.kind = \"mock\"`";
            let message = format!("{} needs the embedded mock: no other service obeys", file.fault.name());
            self.refuse("fault", message, help);
        }
        let Some(consent) = target.consent.as_ref().filter(|_| target.kind != TargetKind::Mock) else {
            return;
        };
        if consent.expires.is_none() {
            let help = "add `target.consent.expires`, such as \"2026-12-31T18:00:00Z\"";
            self.refuse("fault", "a consent to faults has an end", help);
        }
        if !consent.chaos.contains(&file.fault.layer()) {
            let layer = file.fault.layer().name();
            let help = format!("add \"{layer}\" to `target.consent.chaos` if the owner agrees");
            self.refuse("fault", format!("the consent does not cover faults of the layer {layer}"), help);
        }
    }
}

fn is_host(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    !name.is_empty() && name.len() <= 253 && name.bytes().all(plain)
}
