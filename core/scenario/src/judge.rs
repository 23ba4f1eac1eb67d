//! Checks across the keys of a file that has been read.

mod mock;

use fleetstorm_model::objective::{METRICS, Objective};
use fleetstorm_model::service::throttle::PROFILES;
use fleetstorm_protocol::RegistrationId;
use fleetstorm_units::Duration;
use fleetstorm_units::time::{Moment, Span};

use crate::change::Override;
use crate::feasible::Question;
use crate::file::{Cohort, Scenario, TargetKind};
use crate::late::longer;
use crate::problem::{Places, Problem, Problems};
use crate::{Arrival, Listen, MetricFile, MockFile, ServerTls};

/// Load balancers before the service cut connections that are silent for longer (`dps` 7.1).
const KEEP_ALIVE_MAX: Span = Span::from_secs(1_740);

/// Why a run's mock listens nowhere else.
const FREE_PORTS: &str = "the mock of a run takes free ports of this machine";

/// Checks across keys. Places are found by the path of the key.
pub(crate) struct Judge<'a> {
    places: Places<'a>,
    list: Vec<Problem>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { places: Places::of(text), list: Vec::new() }
    }

    pub(crate) fn done<T>(
        self,
        value: T,
        text: &str,
        file: &str,
        overrides: &[Override],
    ) -> Result<T, Problems> {
        if self.list.is_empty() {
            return Ok(value);
        }
        Err(Problems::new(file, text, overrides, self.list))
    }

    pub(crate) fn refuse(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let span = self.places.span(path);
        self.list.push(Problem { message: message.into(), span, help: help.into() });
    }

    pub(crate) fn scenario(&mut self, scenario: &Scenario) {
        let devices = scenario.fleet.devices;
        if !(1..=10_000_000).contains(&devices) {
            self.refuse(
                "fleet.devices",
                format!("a fleet of {devices} devices"),
                "write a number from 1 to 10,000,000",
            );
        }
        if let Err(error) = RegistrationId::new(&scenario.registration_id(devices.saturating_sub(1))) {
            self.refuse("fleet.id_prefix", error.to_string(), "the device's number follows the prefix");
        }
        if scenario.fleet.max_concurrent == Some(0) {
            self.refuse("fleet.max_concurrent", "no device would ever run", "leave it out for no limit");
        }
        if let Err(message) = scenario.fleet.arrival.check() {
            self.refuse("fleet.arrival", message, "");
        }
        if scenario.horizon.0 == Span::ZERO {
            self.refuse("horizon", "the run would end before it begins", "write a time such as \"15m\"");
        } else {
            self.boots(scenario);
        }
        for (index, cohort) in scenario.cohorts.iter().enumerate() {
            self.cohort(index, cohort, &scenario.cohorts[..index]);
        }
        let question = Question { scenario, devices, horizon: scenario.horizon.0 };
        for (index, text) in scenario.objectives.iter().enumerate() {
            let path = format!("objectives.{index}");
            match text.parse::<Objective>() {
                Err(error) => {
                    let start = self.places.span(&path).map(|span| {
                        // One quote, then the text.
                        let at = (span.start + 1 + error.at).min(span.end.saturating_sub(1));
                        at..span.end.saturating_sub(1).max(at)
                    });
                    let help = if error.message.contains("metric") {
                        format!("metrics are {}", METRICS)
                    } else {
                        error.help.clone()
                    };
                    let message = format!("objective `{text}`: {}", error.message);
                    self.list.push(Problem { message, span: start, help });
                }
                Ok(objective) => {
                    if let Some((message, help)) = question.complaint(&objective) {
                        self.refuse(&path, format!("objective `{text}`: {message}"), help);
                    }
                }
            }
        }
        self.alerts(scenario);
        for complaint in crate::faults::check(scenario) {
            self.refuse(&complaint.path, complaint.message, complaint.help);
        }
        self.timetable(scenario);
        self.target(scenario);
        self.embedded(&scenario.mock);
        self.mock(&scenario.mock, "mock.");
        if let Some(compare) = &scenario.compare {
            if let Err((key, message)) = compare.check() {
                self.refuse(&format!("compare.{key}"), message, "");
            }
            for (index, throttle) in compare.throttles.iter().enumerate() {
                if throttle.config().is_none() {
                    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
                    self.refuse(
                        &format!("compare.throttle.{index}.profile"),
                        format!("there is no throttle profile `{}`", throttle.profile),
                        format!("profiles: {}", names.join(", ")),
                    );
                }
            }
        }
        let network = &scenario.network;
        for (name, delay) in
            [("connect", &network.connect), ("hop", &network.hop), ("service", &network.service)]
        {
            if let Err(message) = delay.check() {
                self.refuse(&format!("network.{name}"), message, "");
            }
        }
    }

    fn cohort(&mut self, index: usize, cohort: &Cohort, before: &[Cohort]) {
        let at = |key: &str| format!("cohort.{index}.{key}");
        if !(cohort.share > 0.0 && cohort.share.is_finite()) {
            self.refuse(
                &at("share"),
                format!("a share of {}", cohort.share),
                "shares are relative and greater than 0",
            );
        }
        if before.iter().any(|other| other.name == cohort.name) {
            self.refuse(
                &at("name"),
                format!("there are two cohorts `{}`", cohort.name),
                "give each its own `name`",
            );
        }
        if cohort.token_lifetime.0 == Span::ZERO {
            self.refuse(
                &at("token_lifetime"),
                "a token that never lives",
                "for expired tokens set `clock_offset = \"-2h\"`",
            );
        }
        let keep_alive = cohort.keep_alive.0;
        if keep_alive > KEEP_ALIVE_MAX || keep_alive != Span::from_secs(keep_alive.as_secs()) {
            self.refuse(
                &at("keep_alive"),
                format!("a keep-alive of {keep_alive}"),
                "write whole seconds up to 1740s; 0s sends no pings",
            );
        }
        if let Some(life) = &cohort.life
            && let Err((key, message, help)) = life.check()
        {
            self.refuse(&at(&format!("life.{key}")), message, help);
        }
        let given = |names: &[&'static str]| {
            names.iter().copied().find(|name| cohort.attestation.parameters.contains_key(*name))
        };
        let secret = match &*cohort.attestation.kind {
            "symmetric-key" => given(&["group_keys"]).map(|name| (name, "`group_key = { env = \"NAME\" }`")),
            "x509" => given(&["ca_key_pem", "keys_pem"])
                .map(|name| (name, "`device_ca_file` and `device_ca_key = { file = \"path\" }`")),
            _ => None,
        };
        if let Some((name, place)) = secret {
            let message = "a secret never stands in a file: the record would hold it";
            self.refuse(
                &at(&format!("attestation.{name}")),
                message,
                format!("write {place} under [target]"),
            );
        }
        if cohort.transport.authenticates_connections() && cohort.attestation.kind == "tpm" {
            let transport = if cohort.transport.is_mqtt() { "MQTT" } else { "AMQP here" };
            self.refuse(
                &at("transport"),
                format!("a TPM cannot attest over {transport}: its challenge needs HTTPS"),
                "set `transport = \"https\"`",
            );
        }
    }

    /// A device that boots after the run would never be seen. What is left to chance is told, not refused.
    fn boots(&mut self, scenario: &Scenario) {
        let (fleet, horizon) = (&scenario.fleet, scenario.horizon);
        if fleet.arrival.check().is_err() {
            return;
        }
        let Some(last) = fleet.arrival.latest(fleet.devices).map(|at| at.since(Moment::START)) else {
            return;
        };
        if last >= horizon.0 {
            let by =
                if matches!(fleet.arrival, Arrival::Poisson { .. }) { "on average" } else { "as late as" };
            let message =
                format!("the last device boots {by} {last} after the start, and the run ends at {horizon}");
            self.refuse("fleet.arrival", message, longer(last));
        }
    }

    /// What is planned for a time after the run would never be seen.
    fn timetable(&mut self, scenario: &Scenario) {
        let horizon = scenario.horizon;
        let mut planned: Vec<(String, Duration)> = Vec::new();
        for (index, outage) in scenario.mock.outages.iter().enumerate() {
            planned.push((format!("mock.outage.{index}.at"), outage.at));
        }
        for (index, hub) in scenario.mock.hubs.iter().enumerate() {
            let states = hub.states.iter().enumerate();
            planned
                .extend(states.map(|(nth, change)| (format!("mock.hub.{index}.states.{nth}.at"), change.at)));
            let sweeps = hub.reprovision.iter().enumerate();
            planned.extend(
                sweeps.map(|(nth, sweep)| (format!("mock.hub.{index}.reprovision.{nth}.at"), sweep.at)),
            );
        }
        for (index, authority) in scenario.mock.certificate_authorities.iter().enumerate() {
            let rotations = authority.rotations.iter().enumerate();
            planned.extend(
                rotations
                    .map(|(nth, at)| (format!("mock.certificate_authority.{index}.rotations.{nth}"), *at)),
            );
        }
        let revoked = scenario.mock.issuance.revoke.iter().enumerate();
        planned.extend(revoked.map(|(nth, device)| (format!("mock.issuance.revoke.{nth}.at"), device.at)));
        for (index, cohort) in scenario.cohorts.iter().enumerate() {
            let cuts = cohort.life.iter().flat_map(|life| &life.power_cuts).enumerate();
            planned
                .extend(cuts.map(|(nth, cut)| (format!("cohort.{index}.life.power_cuts.{nth}.at"), cut.at)));
        }
        for (path, at) in planned.into_iter().filter(|(_, at)| *at >= horizon) {
            let message = format!("it begins at {at}, and the run ends at {horizon}");
            self.refuse(&path, message, "let it begin earlier, or set a longer horizon");
        }
    }

    /// What only a mock in a process of its own can do.
    fn embedded(&mut self, mock: &MockFile) {
        let names = ServerTls { names: mock.tls.names.clone(), ..ServerTls::default() };
        if mock.listen != Listen::default() {
            self.not_embedded("listen", FREE_PORTS);
        }
        if !mock.ip_filter.is_empty() {
            self.not_embedded("ip_filter", "the devices of a run come from this machine, or from nowhere");
        }
        if !mock.chaos.is_empty() {
            self.not_embedded("chaos", "the faults of a run stand in the scenario: write [[chaos]]");
        }
        if mock.tls != names {
            self.not_embedded(
                "tls",
                "the mock of a run has a certificate of its own, which its devices trust",
            );
        }
    }

    /// Who writes a file says the usual ports only if they are meant; a record has them filled in.
    pub(crate) fn own_mock(&mut self) {
        if self.places.says("mock", "listen") {
            self.not_embedded("listen", FREE_PORTS);
        }
    }

    fn not_embedded(&mut self, key: &str, what: &str) {
        if self.list.iter().any(|problem| problem.message == what) {
            return;
        }
        let help = format!(
            "leave [mock.{key}] out; or write it as [{key}] in a mock's file, start `fleetstorm mock --config FILE`, \
             and run against it with --target"
        );
        self.refuse(&format!("mock.{key}"), what, help);
    }

    fn alerts(&mut self, scenario: &Scenario) {
        for (index, alert) in scenario.alerts.iter().enumerate() {
            let at = |key: &str| format!("alert.{index}.{key}");
            if scenario.target.kind != TargetKind::Mock {
                let help = "a real service has its alerts in Azure Monitor";
                self.refuse(&at("name"), "alerts look at the embedded mock's metrics", help);
            }
            if alert.window.0 < Span::from_secs(1) || alert.window.0 > scenario.horizon.0 {
                let help = "write 1s up to the scenario's horizon";
                self.refuse(&at("window"), format!("a window of {}", alert.window), help);
            }
            if !alert.threshold.is_finite() {
                self.refuse(&at("threshold"), "the threshold is no number", "write one such as 10");
            }
            let known =
                |host: &String| scenario.mock.hubs.iter().any(|hub| hub.host.eq_ignore_ascii_case(host));
            if alert.hub.as_ref().is_some_and(|hub| !scenario.mock.hubs.is_empty() && !known(hub)) {
                self.refuse(&at("hub"), "no such hub is linked", "hubs are those of [[mock.hub]]");
            }
            if alert.metric == MetricFile::DeviceAssignments && alert.status.is_some() {
                self.refuse(&at("status"), "assignments have no status", "leave it out");
            }
            if alert.metric != MetricFile::AttestationAttempts && alert.protocol.is_some() {
                let help = "leave it out, or look at attestation-attempts";
                self.refuse(&at("protocol"), "only attestation attempts have a protocol", help);
            }
        }
    }

    fn target(&mut self, scenario: &Scenario) {
        let target = &scenario.target;
        match target.kind {
            TargetKind::Mock => {
                if target.address.is_some() {
                    self.refuse(
                        "target.address",
                        "the embedded mock has no address to dial",
                        "set `kind = \"endpoint\"` for a server that is already running",
                    );
                }
            }
            TargetKind::Endpoint => {
                if target.address.is_none() {
                    self.refuse(
                        "target",
                        "an endpoint needs an address",
                        "add `address = \"https://127.0.0.1:8443\"`",
                    );
                }
            }
            TargetKind::Dps => {
                if target.id_scope.is_none() && target.id_scope_env.is_none() {
                    self.refuse(
                        "target",
                        "the real service needs an id scope",
                        "add `id_scope = \"0ne…\"` or `id_scope_env`",
                    );
                }
                if let Some(lives) = scenario.cohorts.iter().position(|cohort| cohort.life.is_some()) {
                    self.refuse(
                        &format!("cohort.{lives}.life"),
                        "devices live on at the mock's hubs only",
                        "take [cohort.life] out for the real service",
                    );
                }
                if target.consent.is_none() {
                    self.refuse(
                        "target",
                        "the real service is only touched with consent",
                        "add [target.consent] with host, max_devices, max_registrations and max_rate",
                    );
                }
            }
        }
        if let Some(consent) = &target.consent {
            if scenario.fleet.devices > consent.max_devices {
                self.refuse(
                    "target.consent.max_devices",
                    format!(
                        "a fleet of {} devices, and consent for {}",
                        scenario.fleet.devices, consent.max_devices
                    ),
                    "shrink the fleet, or ask for more",
                );
            }
            if consent.max_rate.per_second() <= 0.0 {
                self.refuse(
                    "target.consent.max_rate",
                    "a rate of zero allows nothing",
                    "write one such as \"100/min\"",
                );
            }
        }
    }
}
