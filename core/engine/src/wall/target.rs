//! What a run comes to, and whether it may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fleetstorm_mock::identity::{ServerIdentity, ServerKeys};
use fleetstorm_mock::{Issuer, MockOptions, RunningMock};
use fleetstorm_net::clock::Clock;
use fleetstorm_net::connect::{Dial, Trust};
use fleetstorm_net::governor::Ceilings;
use fleetstorm_protocol::Transport;
use fleetstorm_scenario::TargetKind;
use fleetstorm_units::UtcTime;
use fleetstorm_units::time::Moment;

use crate::plan::Plan;
use crate::{RunError, embedded};

/// Where to dial, by transport.
pub(super) struct Doors {
    pub(super) https: Arc<Dial>,
    pub(super) mqtt: Arc<Dial>,
    amqp: Arc<Dial>,
}

impl Doors {
    fn new(https: Dial, mqtt_port: Option<u16>, amqp_port: Option<u16>) -> Self {
        Self {
            mqtt: Arc::new(https.at_port(mqtt_port.unwrap_or(MQTT_PORT))),
            amqp: Arc::new(https.at_port(amqp_port.unwrap_or(AMQP_PORT))),
            https: Arc::new(https),
        }
    }

    pub(super) fn of(&self, transport: Transport) -> &Arc<Dial> {
        match transport {
            Transport::Https | Transport::MqttWs | Transport::AmqpWs => &self.https,
            Transport::Mqtt => &self.mqtt,
            Transport::Amqp => &self.amqp,
        }
    }

    /// The doors that the plan's cohorts come to, each once.
    pub(super) fn used(&self, plan: &Plan) -> Vec<&Arc<Dial>> {
        let mut used: Vec<&Arc<Dial>> = Vec::new();
        for cohort in &plan.scenario.cohorts {
            let doors = [Some(self.of(cohort.transport)), needs_mqtt(cohort).then_some(&self.mqtt)];
            for dial in doors.into_iter().flatten() {
                if !used.iter().any(|known| known.port == dial.port) {
                    used.push(dial);
                }
            }
        }
        used
    }
}

/// The ports of MQTT and AMQP over TLS (IANA: secure-mqtt, amqps).
const MQTT_PORT: u16 = 8883;
const AMQP_PORT: u16 = 5671;

/// Where to dial, whom to trust, and the embedded mock with its clock.
pub(super) type Targeted = (Doors, Trust, Option<(RunningMock, Clock)>);

pub(super) fn target(plan: &Plan) -> Result<Targeted, RunError> {
    let target = &plan.scenario.target;
    if target.kind == TargetKind::Mock {
        let service = embedded::config(plan, embedded::endorsement_key)?;
        let names = [plan.scenario.mock.tls.names.clone(), plan.hubs()].concat();
        let identity = ServerIdentity::throw_away(&names, ServerKeys::Both)?;
        let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let clock = Clock::start();
        let spoken = |transport| plan.scenario.cohorts.iter().any(|cohort| cohort.transport == transport);
        let mock = RunningMock::start(MockOptions {
            service,
            faults: plan.chaos.as_ref().map(|timeline| (Arc::clone(timeline), plan.naming())),
            https: free,
            mqtt: plan.scenario.cohorts.iter().any(needs_mqtt).then_some(free),
            amqp: spoken(Transport::Amqp).then_some(free),
            refusals: plan.scenario.mock.mqtt,
            limits: plan.scenario.mock.limits,
            ip_filter: Vec::new(),
            identity,
            issuer: Issuer::new(&plan.scenario.mock, &plan.fleet)?,
            webhook: plan.scenario.mock.webhook.clone(),
            log: plan.scenario.mock.log.clone(),
            keep_log: false,
            clock,
        })?;
        let dial = Dial::read(&format!("https://{}", mock.address()), None)?;
        let trust = Trust::Ca { name: "the mock's CA".to_owned(), pem: mock.ca_pem().as_bytes().to_vec() };
        let port = |address: Option<SocketAddr>| address.map(|address| address.port());
        let doors = Doors::new(dial, port(mock.mqtt_address()), port(mock.amqp_address()));
        return Ok((doors, trust, Some((mock, clock))));
    }
    let global = "https://global.azure-devices-provisioning.net";
    let dial = Dial::read(target.address.as_deref().unwrap_or(global), target.server_name.as_deref())?;
    let dial = consented(target, dial)?;
    let trust = match &target.ca_file {
        Some(name) => Trust::Ca { name: name.clone(), pem: fleetstorm_mock::file(name)? },
        None => Trust::System,
    };
    Ok((Doors::new(dial, target.mqtt_port, target.amqp_port), trust, None))
}

/// Devices that live on come to the mock's hubs, which are behind its MQTT port.
fn needs_mqtt(cohort: &fleetstorm_scenario::Cohort) -> bool {
    cohort.transport == Transport::Mqtt || cohort.life.is_some()
}

/// The target with the consent to touch it, if it needs one: nothing leaves this machine without.
fn consented(target: &fleetstorm_scenario::Target, dial: Dial) -> Result<Dial, RunError> {
    let Some(consent) = &target.consent else {
        if dial.is_loopback() && target.kind != TargetKind::Dps {
            return Ok(dial);
        }
        return Err(RunError::NoConsent { host: dial.host });
    };
    if !dial.is_at(&consent.host) {
        return Err(RunError::OtherConsent { host: dial.host, consented: consent.host.clone() });
    }
    Ok(dial.named())
}

/// What the consent allows, if there is one, and it lasts as long as the run could.
pub(super) fn ceilings(plan: &Plan) -> Result<Option<Ceilings>, RunError> {
    let Some(consent) =
        plan.scenario.target.consent.as_ref().filter(|_| plan.scenario.target.kind != TargetKind::Mock)
    else {
        return Ok(None);
    };
    let until = plan.calendar.unix_nanos(Moment::START + plan.scenario.horizon.0);
    lasting(consent, UtcTime { unix_ns: until })?;
    if plan.scenario.fleet.devices > consent.max_devices {
        let ceiling = format!(
            "max_devices = {} before a fleet of {}",
            consent.max_devices, plan.scenario.fleet.devices
        );
        return Err(RunError::Ceiling { ceiling });
    }
    Ok(Some(Ceilings::of(consent)))
}

/// Whether a consent holds until this moment.
pub(crate) fn lasting(consent: &fleetstorm_scenario::Consent, until: UtcTime) -> Result<(), RunError> {
    match consent.expires {
        Some(expires) if expires < until => {
            Err(RunError::ConsentExpires { host: consent.host.clone(), expires, until })
        }
        _ => Ok(()),
    }
}
