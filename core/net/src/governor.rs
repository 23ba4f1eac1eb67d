//! Ceilings below every strategy.
//!
//! A target that is not our own mock is only touched within the bounds that the scenario's consent names. Whatever
//! a plugin decides, nothing leaves the machine past them: the first message that would stops the run. The bounds are those
//! of a command, however many runs it makes: an [`Allowance`] is handed from run to run.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use fleetstorm_model::service::throttle::{Meter, Model, Verdict};
use fleetstorm_protocol::Operation;
use fleetstorm_scenario::Consent;
use fleetstorm_units::Rate;
use fleetstorm_units::time::{Moment, Span};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::sync::Mutex;

/// What a consent allows.
#[derive(Clone, Debug)]
pub struct Ceilings {
    /// Distinct devices.
    pub devices: u32,
    /// Register and lookup requests in all.
    pub registrations: u64,
    /// Connections and requests of any kind in any stretch of time.
    pub rate: Rate,
}

impl Ceilings {
    /// The ceilings that a consent sets.
    pub fn of(consent: &Consent) -> Self {
        Self {
            devices: consent.max_devices,
            registrations: consent.max_registrations,
            rate: consent.max_rate,
        }
    }
}

/// Why a run is stopped early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Every device is at rest.
    Settled,
    /// A ceiling was reached.
    Ceiling(String),
    /// A guardrail was breached for too long.
    Guardrail(String),
    /// The user asked.
    Interrupted,
    /// The horizon came.
    Horizon,
    /// The tool itself failed: it panicked, and this is what it said.
    Broken(String),
}

impl Halt {
    /// What a panic leaves.
    pub fn broken(panic: &(dyn std::any::Any + Send)) -> Self {
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Broken(said.unwrap_or_else(|| "it did not say why".to_owned()))
    }
}

/// Stops a run from anywhere; the first reason stays.
#[derive(Clone, Debug, Default)]
pub struct Brake(watch::Sender<Option<Halt>>);

impl Brake {
    /// Stops, unless it was stopped before.
    pub fn pull(&self, halt: Halt) {
        self.0.send_if_modified(|held| {
            let first = held.is_none();
            if first {
                *held = Some(halt);
            }
            first
        });
    }

    /// Why it was stopped, if it was.
    pub fn held(&self) -> Option<Halt> {
        self.0.borrow().clone()
    }

    /// Whether nobody else holds this brake.
    pub fn is_alone(&self) -> bool {
        self.0.sender_count() == 1
    }

    /// Returns once the brake is pulled.
    pub async fn pulled(&self) {
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

/// What a command has sent under its consent, in all its runs.
#[derive(Clone)]
pub struct Allowance {
    clock: Clock,
    spent: Arc<Mutex<Spent>>,
}

#[derive(Default)]
struct Spent {
    registrations: u64,
    devices: BTreeSet<u32>,
    /// What the rate lets through; made with the first ceilings.
    meter: Option<Meter>,
}

impl Default for Allowance {
    /// One of which nothing is spent, whose clock starts now.
    fn default() -> Self {
        Self { clock: Clock::start(), spent: Arc::default() }
    }
}

impl Allowance {
    /// A governor of a run that spends from this, by the run's clock; without ceilings everything passes.
    pub fn governor(&self, ceilings: Option<&Ceilings>, clock: Clock, brake: Brake) -> Governor {
        let limits = ceilings.map(|ceilings| Limits {
            ceilings: ceilings.clone(),
            spent: Arc::clone(&self.spent),
            ahead: self.clock.now().since(clock.now()),
        });
        Governor { limits, brake }
    }
}

/// Holds what leaves a shard against the ceilings of the whole command.
pub struct Governor {
    limits: Option<Limits>,
    brake: Brake,
}

struct Limits {
    ceilings: Ceilings,
    /// Shared by all shards and runs: with a ceiling there is a real target, and caution beats speed.
    spent: Arc<Mutex<Spent>>,
    /// By how much the allowance's clock is ahead of the run's.
    ahead: Span,
}

/// What is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// A connection, and with it the messages that open it.
    Connection,
    /// A request.
    Request(Operation),
    /// A request that goes with the connection just made for it, and was admitted with that.
    Along(Operation),
}

impl Governor {
    /// One without ceilings.
    pub fn unlimited(brake: Brake) -> Self {
        Self { limits: None, brake }
    }

    /// Whether something of this device may leave. If not, the run is being stopped.
    pub fn permit(&self, now: Moment, device: u32, leaving: Leaving) -> bool {
        let Some(limits) = &self.limits else { return true };
        if self.brake.held().is_some() {
            return false;
        }
        match limits.spend(now, device, leaving) {
            None => true,
            Some(reached) => {
                self.brake.pull(Halt::Ceiling(reached));
                false
            }
        }
    }
}

impl Limits {
    /// Spends what is about to leave, or names the ceiling that it would exceed.
    fn spend(&self, now: Moment, device: u32, leaving: Leaving) -> Option<String> {
        let Ceilings { devices, registrations, rate } = &self.ceilings;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !spent.devices.contains(&device);
        if is_new && spent.devices.len() as u64 >= u64::from(*devices) {
            return Some(format!("max_devices = {devices}"));
        }
        let registers = matches!(leaving, Leaving::Request(operation) | Leaving::Along(operation) if operation != Operation::Poll);
        if registers && spent.registrations >= *registrations {
            return Some(format!("max_registrations = {registrations}"));
        }
        if !matches!(leaving, Leaving::Along(_)) {
            let meter = spent.meter.get_or_insert_with(|| Meter::new(window(*rate)));
            if matches!(meter.admit(now + self.ahead), Verdict::Reject { .. }) {
                return Some(format!("max_rate = {rate}"));
            }
        }
        if is_new {
            spent.devices.insert(device);
        }
        spent.registrations += u64::from(registers);
        None
    }
}

/// At most so many in any stretch of the rate's time; a rate of less than one is one in a longer stretch.
fn window(rate: Rate) -> Model {
    let limit = rate.count.floor().clamp(1.0, f64::from(u32::MAX));
    let window = Span::from_secs_f64(rate.per_secs * (limit / rate.count).max(1.0));
    Model::SlidingWindow { limit: limit as u32, window }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTER: Leaving = Leaving::Request(Operation::Register);
    const POLL: Leaving = Leaving::Request(Operation::Poll);

    fn ceilings(devices: u32, registrations: u64, rate: &str) -> Ceilings {
        Ceilings { devices, registrations, rate: rate.parse().unwrap() }
    }

    fn governor(ceilings: &Ceilings) -> (Governor, Brake, Allowance) {
        let (brake, allowance) = (Brake::default(), Allowance::default());
        (allowance.governor(Some(ceilings), allowance.clock, brake.clone()), brake, allowance)
    }

    #[test]
    fn the_request_past_the_ceiling_does_not_leave() {
        let (governor, brake, _) = governor(&ceilings(9, 3, "100/s"));
        for _ in 0..3 {
            assert!(governor.permit(Moment::START, 0, REGISTER));
            assert!(governor.permit(Moment::START, 0, POLL));
        }
        assert!(!governor.permit(Moment::START, 0, Leaving::Along(Operation::Lookup)));
        assert_eq!(brake.held(), Some(Halt::Ceiling("max_registrations = 3".into())));
        assert!(!governor.permit(Moment::START, 0, POLL), "nothing leaves after the brake");
    }

    #[test]
    fn in_no_stretch_of_time_leaves_more_than_the_rate_whatever_it_is() {
        let ceilings = ceilings(9, 1_000, "60/min");
        let mut sent: Vec<Moment> = Vec::new();
        let (mut governor, mut brake, allowance) = governor(&ceilings);
        let kinds = [Leaving::Connection, POLL, REGISTER];
        for step in 0..2_000_u64 {
            let now = Moment::START + Span::from_millis(step * 137);
            if governor.permit(now, 0, kinds[(step % 3) as usize]) {
                sent.push(now);
            } else {
                assert_eq!(brake.held(), Some(Halt::Ceiling("max_rate = 60/min".into())));
                brake = Brake::default();
                governor = allowance.governor(Some(&ceilings), allowance.clock, brake.clone());
            }
        }
        assert!(sent.len() > 200, "{}", sent.len());
        for group in sent.windows(61) {
            assert!(group[60].since(group[0]) >= Span::from_secs(60));
        }
    }

    #[test]
    fn a_rate_below_one_is_one_in_a_longer_time() {
        for (rate, limit, window_s) in [("0.5/s", 1, 2.0), ("1.5/s", 1, 1.0), ("90/min", 90, 60.0)] {
            let Model::SlidingWindow { limit: found, window } = window(rate.parse().unwrap()) else {
                panic!()
            };
            assert_eq!((found, window.as_secs_f64()), (limit, window_s), "{rate}");
        }
    }

    #[test]
    fn another_run_of_the_command_goes_on_where_the_last_one_ended() {
        let ceilings = ceilings(3, 4, "1000/s");
        let (first, _, allowance) = governor(&ceilings);
        for device in 0..2 {
            assert!(first.permit(Moment::START, device, Leaving::Connection));
            assert!(first.permit(Moment::START, device, Leaving::Along(Operation::Register)));
        }
        let another = |device, leaving| {
            let brake = Brake::default();
            allowance.governor(Some(&ceilings), allowance.clock, brake.clone()).permit(
                Moment::START,
                device,
                leaving,
            ) || {
                assert!(matches!(brake.held(), Some(Halt::Ceiling(_))));
                false
            }
        };
        assert!(another(1, REGISTER) && another(2, POLL), "a device that is known, and a third one");
        assert!(!another(3, Leaving::Connection), "a fourth one is one too many");
        assert!(another(2, REGISTER));
        assert!(!another(2, REGISTER), "four of four are spent");
        assert!(another(2, POLL));
    }

    #[test]
    fn the_first_reason_stays() {
        let brake = Brake::default();
        brake.pull(Halt::Interrupted);
        brake.pull(Halt::Horizon);
        assert_eq!(brake.held(), Some(Halt::Interrupted));
    }
}
