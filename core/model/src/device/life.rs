//! The life after provisioning: the cached assignment, the hub, and the way back to DPS.
//!
//! A [`Life`] stands beside a [`Device`] and borrows it whenever the device has business with DPS, so a fleet that
//! only registers pays nothing for it. What it does about a failure is the policy profile's [`HubReactions`].

use fleetstorm_protocol::outcome::{ErrorClass, Fault};
use fleetstorm_protocol::{Operation, Registration};
use fleetstorm_units::random::fraction;
use fleetstorm_units::time::{Moment, Span};

use super::{Action, Advice, Answered, Credential, Device, Host, Input, Observation, Policy, reaction};
use crate::device::{Attempt, Decision, HubReaction, HubReactions};

/// How the devices of a cohort live on.
#[derive(Clone, Debug, PartialEq)]
pub struct LifePolicy {
    /// Whether a device keeps its assignment over a loss of power.
    pub cache: bool,
    /// Whether a device that has kept it registers all the same when it boots.
    pub register_on_boot: bool,
    /// How often a device sends a message to its hub; zero for never.
    pub heartbeat: Span,
    /// Longest time from the first packet to the CONNACK.
    pub connect_timeout: Span,
    /// Losses of power, in order of time.
    pub power_cuts: Vec<PowerCut>,
    /// How long after it began to connect a device connects anew with a fresh token; `None` for devices without tokens and
    /// for those that wait until the hub ends the connection.
    pub renew_after: Option<Span>,
    /// What a failure at the hub asks for.
    pub reactions: HubReactions,
}

/// A loss of power of a whole cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut {
    /// When it begins.
    pub at: Moment,
    /// How long it lasts.
    pub off: Span,
    /// Devices come back evenly over this time after it.
    pub spread: Span,
}

/// What happened to a device that lives on.
#[derive(Debug)]
pub enum LifeInput<'a> {
    /// Something that concerns its registration; [`Input::Alarm`] is [`LifeInput::Alarm`].
    Dps(Input<'a>),
    /// The hub let it in.
    Welcome,
    /// The hub refused it, or the connection to it could not be made or ended.
    HubBroke(Fault),
    /// The hub called the direct method `Reprovision`.
    Command,
    /// The moment of [`Life::alarm`] has come.
    Alarm,
}

/// What a device that lives on wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum LifeAction {
    /// What its registration asks for.
    Dps(Action),
    /// Close every connection and connect to this hub.
    ConnectHub {
        /// The hub's number, from [`LifeHost::hub_number`].
        hub: u16,
        /// What to present.
        credential: Credential,
    },
    /// Send a message to the hub, then stay connected.
    Heartbeat,
    /// Stay connected to the hub until the alarm.
    Stay,
    /// Close every connection and do nothing until the alarm.
    Sleep,
}

/// Why a device that has had an assignment goes to DPS again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Return {
    /// It lost power and could not keep its assignment, or registers at every boot.
    Boot,
    /// It was told to.
    Command,
    /// The hub's answer asks for it.
    Refused,
    /// The hub stayed away for too long.
    Patience,
}

impl Return {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Boot, Self::Command, Self::Refused, Self::Patience];

    /// The name used in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Command => "command",
            Self::Refused => "refused",
            Self::Patience => "patience",
        }
    }
}

/// What a device that lives on notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeEvent {
    /// It tried its hub: `fault` is `None` if it was let in.
    Tried {
        /// When it began.
        started: Moment,
        /// Why it failed.
        fault: Option<Fault>,
    },
    /// It is connected to its hub.
    Online {
        /// Since when it was not: its intended boot, the first time.
        since: Moment,
        /// Whether it never was before.
        first: bool,
        /// Whether it came back without asking DPS.
        cached: bool,
    },
    /// It no longer is.
    Offline {
        /// Since when it was.
        since: Moment,
    },
    /// It lost power.
    PowerLost,
    /// It goes to DPS although it has had an assignment.
    Returned(Return),
    /// DPS gave it a hub again.
    Reassigned {
        /// Why it had asked.
        why: Return,
        /// Whether it is the hub that it had.
        same: bool,
    },
    /// It sent a message.
    Heartbeat,
    /// It was told to provision again.
    Commanded,
    /// It leaves its hub to come back with a fresh token.
    Renews,
}

/// What a device that lives on asks of its surroundings, and tells them.
pub trait LifeHost: Host {
    /// The number of the hub that a registration names; `None` if it cannot be used.
    fn hub_number(&mut self, registration: &Registration) -> Option<u16>;

    /// 64 bits of chance; `count` goes up with each use.
    fn chance(&mut self, count: u32) -> u64;

    /// An attempt at the hub failed, or its connection ended: what now? `None` for what the policy profile says.
    fn decide_at_hub(&mut self, _attempt: &HubAttempt) -> Option<Decision> {
        None
    }

    /// The hub has let the device in; the strategy may want to know.
    fn let_in(&mut self, _attempt: &HubAttempt) {}

    /// Something worth recording happened.
    fn lived(&mut self, now: Moment, event: LifeEvent);
}

/// Everything a retry strategy may look at about its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubAttempt {
    /// Why it failed; `None` if the hub has let the device in.
    pub fault: Option<Fault>,
    /// What the failure means: [`ErrorClass::Unauthorized`] where the hub refused who the device claims to be.
    pub class: ErrorClass,
    /// What the policy profile would do: the hub again, DPS, or stop.
    pub advice: Advice,
    /// Failures in a row, this one included, since the device was last let in or assigned.
    pub failures: u32,
    /// How long the reference client stops when it parks.
    pub park: Span,
    /// Now.
    pub now: Moment,
    /// Time since boot, or since the device last went to DPS again.
    pub since_boot: Span,
    /// Time since the connection began.
    pub elapsed: Span,
    /// The credential in use, from 0.
    pub credential: u8,
    /// How many credentials there are.
    pub credentials: u8,
}

/// What a device does next about its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Hub,
    Lookup(Return),
    Register(Return),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The device has business with DPS.
    Dps,
    Connecting,
    Waiting(Next),
    Online,
    Off,
    Ended,
}

/// A device's life after provisioning.
#[derive(Clone, Debug)]
pub struct Life {
    /// The deadline or the end of the wait that `state` names.
    until: Moment,
    /// Since when it has been online or, if it is not, offline.
    since: Moment,
    /// When the connection attempt in hand began.
    started: Moment,
    draws: u32,
    /// Expiry of the token that it shows its hub; 0 for none.
    token_expires_unix_secs: u32,
    /// The hub of the assignment in hand.
    hub: Option<u16>,
    /// The hub of the last assignment: the truth that a device without a cache forgets.
    had: Option<u16>,
    /// Failures at the hub in a row.
    failures: u16,
    /// Losses of power that have passed.
    cuts: u16,
    state: State,
    /// Why it asked DPS since it was last online.
    asked: Option<Return>,
    /// It has been online.
    known: bool,
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl Life {
    /// A device without power and without an assignment.
    pub const fn new() -> Self {
        Self {
            until: Moment::FAR,
            since: Moment::START,
            started: Moment::START,
            draws: 0,
            token_expires_unix_secs: 0,
            hub: None,
            had: None,
            failures: 0,
            cuts: 0,
            state: State::Dps,
            asked: None,
            known: false,
        }
    }

    /// When the device wants to be woken; `None` if it waits for nothing.
    pub fn alarm(&self, device: &Device, policy: &LifePolicy) -> Option<Moment> {
        let own = match self.state {
            State::Dps => device.alarm(),
            State::Online => Some(self.until.min(self.renewal(policy))),
            State::Connecting | State::Waiting(_) | State::Off => Some(self.until),
            State::Ended => return None,
        };
        match self.cut(policy) {
            Some(cut) if self.state != State::Off => Some(own.map_or(cut.at, |own| own.min(cut.at))),
            _ => own,
        }
    }

    /// Whether it is connected to its hub.
    pub const fn is_online(&self) -> bool {
        matches!(self.state, State::Online)
    }

    /// Whether its business is with DPS.
    pub const fn is_registering(&self) -> bool {
        matches!(self.state, State::Dps)
    }

    /// Whether it waits to try its hub again: DPS has nothing to do with it.
    pub const fn waits_for_hub(&self) -> bool {
        matches!(self.state, State::Waiting(Next::Hub))
    }

    /// Whether it has ever been connected to a hub.
    pub const fn has_been_online(&self) -> bool {
        self.known
    }

    /// The hub of the assignment in hand.
    pub const fn hub(&self) -> Option<u16> {
        self.hub
    }

    /// Expiry, in seconds since the Unix epoch, of the token that it shows its hub; 0 for none.
    pub const fn token_expires_unix_secs(&self) -> u32 {
        self.token_expires_unix_secs
    }

    /// When a device that is online connects anew with a fresh token.
    fn renewal(&self, policy: &LifePolicy) -> Moment {
        policy.renew_after.map_or(Moment::FAR, |after| self.started + after)
    }

    /// How many times it has drawn: no two connections of a device have the same number.
    pub const fn draws(&self) -> u32 {
        self.draws
    }

    fn cut<'p>(&self, policy: &'p LifePolicy) -> Option<&'p PowerCut> {
        policy.power_cuts.get(usize::from(self.cuts))
    }

    /// Takes one input and says what to do next.
    pub fn step(
        &mut self,
        device: &mut Device,
        now: Moment,
        input: LifeInput<'_>,
        (policy, life): (&Policy, &LifePolicy),
        host: &mut impl LifeHost,
    ) -> LifeAction {
        let mut scene = Scene { device, now, policy, life, host };
        if let LifeInput::Alarm | LifeInput::Dps(Input::Resume { .. }) = input
            && !matches!(self.state, State::Off | State::Ended)
            && let Some(cut) = self.cut(life)
            && now >= cut.at
        {
            return self.lose_power(*cut, &mut scene);
        }
        match (self.state, input) {
            (State::Dps, LifeInput::Dps(input)) => {
                if let Input::Boot { intended } = input {
                    self.since = intended;
                }
                self.register(input, &mut scene)
            }
            (State::Dps, LifeInput::Alarm) => self.register(Input::Alarm, &mut scene),
            (State::Connecting, LifeInput::Welcome) => self.welcomed(&mut scene),
            (State::Connecting, LifeInput::HubBroke(fault)) => self.not_let_in(fault, &mut scene),
            (State::Connecting, LifeInput::Alarm) if now >= self.until => {
                self.not_let_in(Fault::ConnectTimeout, &mut scene)
            }
            (State::Online, LifeInput::HubBroke(fault)) => {
                self.leave(&mut scene);
                self.failed(fault, scene.life.reactions.disconnected, &mut scene)
            }
            (State::Online, LifeInput::Command) => {
                scene.host.lived(now, LifeEvent::Commanded);
                self.leave(&mut scene);
                self.go_back(Return::Command, Operation::Register, &mut scene)
            }
            (State::Online, LifeInput::Alarm) if now >= self.renewal(life) => {
                scene.host.lived(now, LifeEvent::Renews);
                self.leave(&mut scene);
                self.connect(&mut scene)
            }
            (State::Online, LifeInput::Alarm) if now >= self.until => {
                scene.host.lived(now, LifeEvent::Heartbeat);
                self.until = now + life.heartbeat;
                LifeAction::Heartbeat
            }
            (State::Waiting(next), LifeInput::Alarm) if now >= self.until => self.go_on(next, &mut scene),
            (State::Off, LifeInput::Alarm) if now >= self.until => self.boot(&mut scene),
            (State::Online, _) => LifeAction::Stay,
            (State::Dps, _) => LifeAction::Dps(Action::Ignore),
            _ => LifeAction::Sleep,
        }
    }

    fn register<H: LifeHost>(&mut self, input: Input<'_>, scene: &mut Scene<'_, H>) -> LifeAction {
        self.state = State::Dps;
        let mut witness = Witness { host: &mut *scene.host, assigned: None };
        let action = scene.device.step(scene.now, input, scene.policy, &mut witness);
        let assigned = witness.assigned;
        match (&action, assigned) {
            (Action::Finish, Some(Some(hub))) => {
                if let Some(why) = self.asked {
                    let same = self.had == Some(hub);
                    scene.host.lived(scene.now, LifeEvent::Reassigned { why, same });
                }
                (self.hub, self.had) = (Some(hub), Some(hub));
                self.failures = 0;
                self.connect(scene)
            }
            (Action::Finish, _) => {
                self.state = State::Ended;
                LifeAction::Dps(action)
            }
            _ => LifeAction::Dps(action),
        }
    }

    /// Goes to the hub of the assignment in hand.
    fn connect<H: LifeHost>(&mut self, scene: &mut Scene<'_, H>) -> LifeAction {
        let Some(hub) = self.hub else {
            return self.go_back(Return::Boot, Operation::Register, scene);
        };
        self.draws = self.draws.wrapping_add(1);
        self.started = scene.now;
        (self.state, self.until) = (State::Connecting, scene.now + scene.life.connect_timeout);
        let credential = scene.device.fresh_credential(scene.now, scene.policy);
        // A device that lives past 2106 is at the end of 32 bits.
        self.token_expires_unix_secs = u32::try_from(credential.expires_unix_secs).unwrap_or(u32::MAX);
        LifeAction::ConnectHub { hub, credential }
    }

    fn go_on<H: LifeHost>(&mut self, next: Next, scene: &mut Scene<'_, H>) -> LifeAction {
        match next {
            Next::Hub => self.connect(scene),
            Next::Lookup(why) => self.go_back(why, Operation::Lookup, scene),
            Next::Register(why) => self.go_back(why, Operation::Register, scene),
        }
    }

    fn welcomed<H: LifeHost>(&mut self, scene: &mut Scene<'_, H>) -> LifeAction {
        let now = scene.now;
        self.failures = 0;
        let attempt = self.attempt(None, HubReaction::Cache, scene);
        scene.host.let_in(&attempt);
        scene.host.lived(now, LifeEvent::Tried { started: self.started, fault: None });
        let cached = self.known && self.asked.is_none();
        scene.host.lived(now, LifeEvent::Online { since: self.since, first: !self.known, cached });
        (self.known, self.asked) = (true, None);
        self.since = now;
        self.state = State::Online;
        self.until = match scene.life.heartbeat {
            Span::ZERO => Moment::FAR,
            // The first one at a moment of its own, so that a fleet that connects at once does not speak in chorus.
            heartbeat => now + heartbeat.scale(self.draw(scene)),
        };
        LifeAction::Stay
    }

    fn not_let_in<H: LifeHost>(&mut self, fault: Fault, scene: &mut Scene<'_, H>) -> LifeAction {
        scene.host.lived(scene.now, LifeEvent::Tried { started: self.started, fault: Some(fault) });
        self.failed(fault, reaction_to(fault, &scene.life.reactions), scene)
    }

    fn leave<H: LifeHost>(&mut self, scene: &mut Scene<'_, H>) {
        scene.host.lived(scene.now, LifeEvent::Offline { since: self.since });
        self.since = scene.now;
    }

    fn attempt<H>(&self, fault: Option<Fault>, reaction: HubReaction, scene: &Scene<'_, H>) -> HubAttempt {
        HubAttempt {
            fault,
            class: fault
                .map_or(ErrorClass::Throttled, |fault| reaction::to_fault(fault, scene.policy, false).0),
            advice: match reaction {
                HubReaction::Cache => Advice::Retry,
                HubReaction::Lookup | HubReaction::Register => Advice::Restart,
                HubReaction::Park => Advice::Park,
            },
            failures: u32::from(self.failures),
            park: scene.policy.park,
            now: scene.now,
            since_boot: scene.now.since(scene.device.booted()),
            elapsed: scene.now.since(self.started),
            credential: scene.device.slot(),
            credentials: scene.policy.credentials.max(1),
        }
    }

    /// Does about a failure at the hub what the strategy decides, or what the profile says.
    fn failed<H: LifeHost>(
        &mut self,
        fault: Fault,
        reaction: HubReaction,
        scene: &mut Scene<'_, H>,
    ) -> LifeAction {
        self.failures = self.failures.saturating_add(1);
        let attempt = self.attempt(Some(fault), reaction, scene);
        match scene.host.decide_at_hub(&attempt) {
            Some(decision) => self.decided(decision, attempt.class, scene),
            None => self.react(reaction, scene),
        }
    }

    fn decided<H: LifeHost>(
        &mut self,
        decision: Decision,
        class: ErrorClass,
        scene: &mut Scene<'_, H>,
    ) -> LifeAction {
        let why = match class {
            ErrorClass::Unauthorized | ErrorClass::Forbidden | ErrorClass::NotFound => Return::Refused,
            _ => Return::Patience,
        };
        let (next, wait) = match decision {
            Decision::Wait(wait) | Decision::UseCachedHub(wait) => (Next::Hub, wait),
            Decision::SwitchCredential(wait) => {
                scene.device.switch_credential(scene.policy);
                (Next::Hub, wait)
            }
            Decision::Restart(wait) => (Next::Register(why), wait),
            Decision::LookupStatus(wait) => (Next::Lookup(why), wait),
            Decision::GiveUp { rearm_after: Some(wait) } => (Next::Hub, wait),
            // A device that has stopped for good can still lose its power, and boots anew.
            Decision::GiveUp { rearm_after: None } | Decision::Faulted => {
                (Next::Hub, Span::from_nanos(u64::MAX))
            }
        };
        if wait == Span::ZERO {
            return self.go_on(next, scene);
        }
        (self.state, self.until) = (State::Waiting(next), scene.now + wait);
        LifeAction::Sleep
    }

    fn react<H: LifeHost>(&mut self, reaction: HubReaction, scene: &mut Scene<'_, H>) -> LifeAction {
        let back = &scene.life.reactions.return_to_dps;
        let next = match reaction {
            HubReaction::Park => {
                self.state = State::Waiting(Next::Hub);
                self.until = scene.now + scene.policy.park;
                return LifeAction::Sleep;
            }
            HubReaction::Register => Next::Register(Return::Refused),
            HubReaction::Lookup => Next::Lookup(Return::Refused),
            HubReaction::Cache => {
                // A patience of its own for each outage, which is the same however often it is looked at.
                // The upper bit keeps its number apart from those that are counted.
                let key = (self.since.as_nanos() / 1_000_000) as u32 | 1 << 31;
                let slack = back.after_max.0.saturating_sub(back.after_min.0);
                let patience = back.after_min.0 + slack.scale(fraction(scene.host.chance(key)));
                let silent = scene.now.since(self.since);
                if back.is_due(u32::from(self.failures), silent, patience) {
                    return self.go_back(Return::Patience, Operation::Register, scene);
                }
                Next::Hub
            }
        };
        let wait = self.back_off(scene);
        (self.state, self.until) = (State::Waiting(next), scene.now + wait);
        LifeAction::Sleep
    }

    fn back_off<H: LifeHost>(&mut self, scene: &mut Scene<'_, H>) -> Span {
        let back_off = &scene.life.reactions.back_off;
        let doublings = u32::from(self.failures.saturating_sub(1)).min(32);
        let wait = back_off.first_wait.0.times(1 << doublings).min(back_off.wait_max.0);
        wait + wait.scale(back_off.jitter * self.draw(scene))
    }

    fn draw<H: LifeHost>(&mut self, scene: &mut Scene<'_, H>) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        fraction(scene.host.chance(self.draws))
    }

    /// Goes to DPS although it has had an assignment.
    fn go_back<H: LifeHost>(
        &mut self,
        why: Return,
        operation: Operation,
        scene: &mut Scene<'_, H>,
    ) -> LifeAction {
        self.failures = 0;
        self.asked = Some(why);
        scene.host.lived(scene.now, LifeEvent::Returned(why));
        self.register(Input::Again { operation }, scene)
    }

    fn lose_power<H: LifeHost>(&mut self, cut: PowerCut, scene: &mut Scene<'_, H>) -> LifeAction {
        if self.state == State::Online {
            self.leave(scene);
        }
        scene.host.lived(scene.now, LifeEvent::PowerLost);
        self.cuts = self.cuts.saturating_add(1);
        scene.device.power_off();
        if !scene.life.cache {
            self.hub = None;
        }
        self.failures = 0;
        self.state = State::Off;
        self.until = cut.at.max(scene.now) + cut.off + cut.spread.scale(self.draw(scene));
        LifeAction::Sleep
    }

    fn boot<H: LifeHost>(&mut self, scene: &mut Scene<'_, H>) -> LifeAction {
        if self.hub.is_some() && !scene.life.register_on_boot {
            return self.connect(scene);
        }
        if self.had.is_some() {
            self.asked = Some(Return::Boot);
            scene.host.lived(scene.now, LifeEvent::Returned(Return::Boot));
        }
        self.register(Input::Boot { intended: self.until }, scene)
    }
}

/// What a failure at the hub asks for. MQTT has no word for most of them: a hub that throttles closes the connection,
/// and one that no longer knows a device refuses it like one with a wrong key.
fn reaction_to(fault: Fault, reactions: &HubReactions) -> HubReaction {
    match fault {
        Fault::Unavailable | Fault::Protocol => reactions.server_error,
        Fault::BadCredentials | Fault::NotAuthorized | Fault::Attestation => reactions.unauthorized,
        Fault::Closed | Fault::Lost => reactions.throttled,
        Fault::Dns
        | Fault::Refused
        | Fault::Exhausted
        | Fault::Unreachable
        | Fault::ConnectTimeout
        | Fault::Timeout
        | Fault::TlsUntrusted
        | Fault::TlsExpired
        | Fault::TlsWrongName
        | Fault::TlsOther => reactions.unreachable,
    }
}

/// Who takes part in one step.
struct Scene<'a, H> {
    device: &'a mut Device,
    now: Moment,
    policy: &'a Policy,
    life: &'a LifePolicy,
    host: &'a mut H,
}

/// A host that also sees which hub the device is given.
struct Witness<'a, H> {
    host: &'a mut H,
    assigned: Option<Option<u16>>,
}

impl<H: LifeHost> Host for Witness<'_, H> {
    fn admit(&mut self, attempt: &Attempt) -> Decision {
        self.host.admit(attempt)
    }

    fn decide(&mut self, attempt: &Attempt) -> Decision {
        self.host.decide(attempt)
    }

    fn answered(&mut self, answer: impl FnOnce() -> Attempt, assigned: bool) -> Answered {
        self.host.answered(answer, assigned)
    }

    fn settled(&mut self, attempt: &Attempt) {
        self.host.settled(attempt);
    }

    fn poll_jitter(&mut self, attempt: u32) -> u64 {
        self.host.poll_jitter(attempt)
    }

    fn permit(&mut self, now: Moment, operation: Operation) -> bool {
        self.host.permit(now, operation)
    }

    fn observe(&mut self, now: Moment, observation: Observation<'_>) {
        if let Observation::Assigned { registration, .. } = &observation {
            self.assigned = Some(self.host.hub_number(registration));
        }
        self.host.observe(now, observation);
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
