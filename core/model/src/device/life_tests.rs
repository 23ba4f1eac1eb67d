//! Lives of devices: the tests play DPS and the hub.

use fleetstorm_protocol::{Body, OperationId, RegistrationState, Reply, RetryAfter, Status};
use proptest::prelude::*;

use super::*;
use crate::device::{Advice, ConnectionUse, ReturnRule};
use crate::profile::Profile;

/// Takes notes; every draw of chance is a half.
#[derive(Default)]
struct Notes {
    events: Vec<LifeEvent>,
    /// What the strategy decides at the hub, one decision a failure; `None` where it leaves that to the profile.
    decisions: Option<Vec<Decision>>,
    /// What it was told there: failures have a fault.
    told: Vec<HubAttempt>,
    answered: Option<Answered>,
}

impl Host for Notes {
    fn admit(&mut self, _: &Attempt) -> Decision {
        Decision::Wait(Span::ZERO)
    }

    fn decide(&mut self, attempt: &Attempt) -> Decision {
        match attempt.advice {
            Advice::Park => Decision::GiveUp { rearm_after: None },
            _ => Decision::Wait(Span::from_secs(1)),
        }
    }

    fn settled(&mut self, _: &Attempt) {}

    fn answered(&mut self, _: impl FnOnce() -> Attempt, assigned: bool) -> Answered {
        match self.answered {
            Some(Answered::PollAfter(_)) if assigned => Answered::AsUsual,
            answered => answered.unwrap_or(Answered::AsUsual),
        }
    }

    fn poll_jitter(&mut self, _: u32) -> u64 {
        0
    }

    fn observe(&mut self, _: Moment, _: Observation<'_>) {}
}

impl LifeHost for Notes {
    fn decide_at_hub(&mut self, attempt: &HubAttempt) -> Option<Decision> {
        let decisions = self.decisions.as_mut()?;
        self.told.push(*attempt);
        Some(decisions.remove(0))
    }

    fn let_in(&mut self, attempt: &HubAttempt) {
        self.told.push(*attempt);
    }

    fn hub_number(&mut self, registration: &Registration) -> Option<u16> {
        registration.assigned_hub.as_deref()?.strip_prefix("hub-")?.parse().ok()
    }

    fn chance(&mut self, _: u32) -> u64 {
        1 << 63
    }

    fn lived(&mut self, _: Moment, event: LifeEvent) {
        self.events.push(event);
    }
}

struct Tale {
    device: Device,
    life: Life,
    now: Moment,
    policy: Policy,
    rules: LifePolicy,
    notes: Notes,
}

impl Tale {
    fn new(change: impl FnOnce(&mut LifePolicy)) -> Self {
        let profile = Profile::ms_2025();
        let mut rules = LifePolicy {
            cache: true,
            register_on_boot: profile.expected.register_on_boot,
            heartbeat: Span::from_secs(300),
            connect_timeout: Span::from_secs(60),
            power_cuts: Vec::new(),
            renew_after: None,
            reactions: profile.hub.clone(),
        };
        change(&mut rules);
        Self {
            device: Device::new(),
            life: Life::new(),
            now: Moment::START,
            policy: Policy { connection: ConnectionUse::PerDevice, ..Policy::default() },
            rules,
            notes: Notes::default(),
        }
    }

    fn tell(&mut self, input: LifeInput<'_>) -> LifeAction {
        let (policy, rules) = (&self.policy, &self.rules);
        self.life.step(&mut self.device, self.now, input, (policy, rules), &mut self.notes)
    }

    /// Lets the device sleep until its alarm.
    fn ring(&mut self) -> LifeAction {
        self.now = self.life.alarm(&self.device, &self.rules).unwrap().max(self.now);
        self.tell(LifeInput::Alarm)
    }

    /// Plays DPS until it has given the device this hub.
    fn provisioned(&mut self, mut action: LifeAction, hub: u16) -> LifeAction {
        let id = OperationId::usual(4, 0, 1);
        for _ in 0..20 {
            action = match action {
                LifeAction::Dps(Action::Connect { .. }) => self.tell(LifeInput::Dps(Input::Connected)),
                LifeAction::Dps(Action::Send { operation: Operation::Lookup, .. }) => {
                    let body = Body::Registration(Box::new(given(hub)));
                    self.answer(Status::OK, body)
                }
                LifeAction::Dps(Action::Send { operation: Operation::Register, .. }) => {
                    let state = RegistrationState::Assigning;
                    let body = Body::Operation { id: Some(id.clone()), state, registration: None };
                    self.answer(Status::ACCEPTED, body)
                }
                LifeAction::Dps(Action::Send { .. }) => {
                    let state = RegistrationState::Assigned;
                    let registration = Some(Box::new(given(hub)));
                    self.answer(Status::OK, Body::Operation { id: Some(id.clone()), state, registration })
                }
                LifeAction::Dps(Action::Wait { .. }) => self.ring(),
                other => return other,
            };
        }
        panic!("DPS never came to an end: {action:?}");
    }

    fn answer(&mut self, status: Status, body: Body) -> LifeAction {
        let reply = Reply { status, retry_after: RetryAfter::Absent, body };
        self.tell(LifeInput::Dps(Input::Reply(&reply)))
    }

    fn born(&mut self, hub: u16) {
        let action = self.tell(LifeInput::Dps(Input::Boot { intended: self.now }));
        let action = self.provisioned(action, hub);
        assert!(matches!(action, LifeAction::ConnectHub { hub: to, .. } if to == hub), "{action:?}");
    }

    fn online(hub: u16, change: impl FnOnce(&mut LifePolicy)) -> Self {
        let mut tale = Self::new(change);
        tale.born(hub);
        assert_eq!(tale.tell(LifeInput::Welcome), LifeAction::Stay);
        tale
    }

    fn returns(&self) -> Vec<Return> {
        let why = |event: &LifeEvent| match event {
            LifeEvent::Returned(why) => Some(*why),
            _ => None,
        };
        self.notes.events.iter().filter_map(why).collect()
    }
}

fn given(hub: u16) -> Registration {
    let state = Some(RegistrationState::Assigned);
    Registration { state, assigned_hub: Some(format!("hub-{hub}")), ..Registration::default() }
}

#[test]
fn a_device_goes_from_dps_to_its_hub_and_says_how_long_it_took() {
    let tale = Tale::online(3, |_| {});
    let Some(LifeEvent::Online { since, first: true, cached: false }) = tale.notes.events.last() else {
        panic!("{:?}", tale.notes.events)
    };
    assert_eq!(*since, Moment::START, "counted from the intended boot");
}

#[test]
fn a_connection_that_ends_is_made_again_with_the_cache_after_five_seconds_at_least() {
    let mut tale = Tale::online(3, |_| {});
    tale.now += Span::from_secs(40);
    let lost = tale.now;
    assert_eq!(tale.tell(LifeInput::HubBroke(Fault::Closed)), LifeAction::Sleep);
    let action = tale.ring();
    assert!(matches!(action, LifeAction::ConnectHub { hub: 3, .. }), "{action:?}");
    // Half of the jitter of a half.
    assert_eq!(tale.now.since(lost), Span::from_millis(6_250));
    tale.tell(LifeInput::Welcome);
    let online = tale.notes.events.last();
    assert_eq!(online, Some(&LifeEvent::Online { since: lost, first: false, cached: true }));
    assert_eq!(tale.returns(), []);
}

#[test]
fn waits_double_up_to_the_longest() {
    let mut tale = Tale::online(3, |rules| rules.reactions.return_to_dps.rule = ReturnRule::Never);
    tale.tell(LifeInput::HubBroke(Fault::Lost));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let from = tale.now;
        assert!(matches!(tale.ring(), LifeAction::ConnectHub { .. }));
        waits.push(tale.now.since(from).as_millis());
        tale.tell(LifeInput::HubBroke(Fault::Unavailable));
    }
    assert_eq!(waits, [6_250, 12_500, 25_000, 50_000, 100_000, 150_000, 150_000, 150_000]);
}

#[test]
fn after_ten_failures_in_a_row_it_goes_back_to_dps() {
    let mut tale = Tale::online(3, |rules| rules.reactions.return_to_dps.rule = ReturnRule::Failures);
    let mut action = tale.tell(LifeInput::HubBroke(Fault::Lost));
    let mut failures = 1;
    while tale.returns().is_empty() {
        assert!(matches!(action, LifeAction::Sleep), "{action:?}");
        assert!(matches!(tale.ring(), LifeAction::ConnectHub { .. }));
        failures += 1;
        action = tale.tell(LifeInput::HubBroke(Fault::Unavailable));
    }
    assert_eq!((failures, tale.returns()), (10, vec![Return::Patience]));
    let action = tale.provisioned(action, 3);
    assert!(matches!(action, LifeAction::ConnectHub { hub: 3, .. }));
    let asked = LifeEvent::Reassigned { why: Return::Patience, same: true };
    assert!(tale.notes.events.contains(&asked), "the same dead hub: nothing was gained");
}

#[test]
fn patience_is_drawn_between_the_two_bounds() {
    let mut tale = Tale::online(3, |rules| rules.reactions.return_to_dps.rule = ReturnRule::After);
    let lost = tale.now;
    tale.tell(LifeInput::HubBroke(Fault::Lost));
    while tale.returns().is_empty() {
        tale.ring();
        tale.tell(LifeInput::HubBroke(Fault::Unavailable));
    }
    let silent = tale.now.since(lost).as_secs();
    assert!((1_350..1_350 + 150).contains(&silent), "half-way between 15 and 30 minutes: {silent}");
}

#[test]
fn a_hub_that_no_longer_knows_a_device_sends_it_to_dps_and_it_follows_to_the_new_one() {
    let mut tale = Tale::online(3, |_| {});
    tale.tell(LifeInput::HubBroke(Fault::Closed));
    assert!(matches!(tale.ring(), LifeAction::ConnectHub { hub: 3, .. }));
    assert_eq!(tale.tell(LifeInput::HubBroke(Fault::NotAuthorized)), LifeAction::Sleep);
    let action = tale.ring();
    let action = tale.provisioned(action, 4);
    assert!(matches!(action, LifeAction::ConnectHub { hub: 4, .. }), "{action:?}");
    assert_eq!(tale.returns(), [Return::Refused]);
    assert!(tale.notes.events.contains(&LifeEvent::Reassigned { why: Return::Refused, same: false }));
}

#[test]
fn a_profile_that_asks_for_a_lookup_gets_one() {
    let mut tale = Tale::online(3, |rules| rules.reactions.server_error = HubReaction::Lookup);
    tale.tell(LifeInput::HubBroke(Fault::Closed));
    tale.ring();
    tale.tell(LifeInput::HubBroke(Fault::Unavailable));
    let connect = tale.ring();
    assert!(matches!(connect, LifeAction::Dps(Action::Connect { .. })));
    let send = tale.tell(LifeInput::Dps(Input::Connected));
    assert!(matches!(send, LifeAction::Dps(Action::Send { operation: Operation::Lookup, .. })), "{send:?}");
    assert!(matches!(tale.provisioned(send, 5), LifeAction::ConnectHub { hub: 5, .. }));
}

#[test]
fn a_token_is_renewed_by_a_new_connection_and_dps_has_nothing_to_do_with_it() {
    let mut tale = Tale::online(3, |rules| {
        rules.renew_after = Some(Span::from_secs(3_540));
        rules.heartbeat = Span::from_secs(1_200);
    });
    let (started, first) = (tale.now, tale.life.token_expires_unix_secs());
    for _ in 0..3 {
        assert_eq!(tale.ring(), LifeAction::Heartbeat, "messages go on");
    }
    let LifeAction::ConnectHub { hub: 3, credential } = tale.ring() else { panic!("it connects anew") };
    assert_eq!(tale.now.since(started).as_secs(), 3_540);
    assert_eq!(credential.expires_unix_secs, u64::from(first) + 3_540);
    assert!(tale.notes.events.contains(&LifeEvent::Renews));
    tale.tell(LifeInput::Welcome);
    let online = tale.notes.events.last();
    assert_eq!(online, Some(&LifeEvent::Online { since: tale.now, first: false, cached: true }));
    assert_eq!(tale.returns(), []);
}

#[test]
fn a_command_sends_a_connected_device_to_dps_at_once() {
    let mut tale = Tale::online(3, |_| {});
    let action = tale.tell(LifeInput::Command);
    assert!(matches!(tale.provisioned(action, 4), LifeAction::ConnectHub { hub: 4, .. }));
    assert_eq!(tale.returns(), [Return::Command]);
    tale.tell(LifeInput::Welcome);
    let cached =
        tale.notes.events.iter().any(|event| matches!(event, LifeEvent::Online { cached: true, .. }));
    assert!(!cached, "DPS was asked");
}

#[test]
fn after_a_loss_of_power_only_a_device_that_cannot_cache_registers() {
    for (cache, returns) in [(true, vec![]), (false, vec![Return::Boot])] {
        let at = Moment::START + Span::from_secs(1_000);
        let cut = PowerCut { at, off: Span::from_secs(100), spread: Span::from_secs(20) };
        let mut tale = Tale::online(3, |rules| {
            rules.power_cuts.push(cut);
            rules.cache = cache;
            rules.heartbeat = Span::ZERO;
        });
        assert_eq!(tale.ring(), LifeAction::Sleep);
        assert_eq!(tale.now, at);
        let action = tale.ring();
        assert_eq!(tale.now, at + Span::from_secs(110), "half of the spread");
        assert_eq!(matches!(action, LifeAction::ConnectHub { hub: 3, .. }), cache, "{action:?}");
        assert_eq!(tale.returns(), returns);
        let action = tale.provisioned(action, 3);
        assert!(matches!(action, LifeAction::ConnectHub { .. }));
        tale.tell(LifeInput::Welcome);
        let online = tale.notes.events.last();
        assert_eq!(online, Some(&LifeEvent::Online { since: at, first: false, cached: cache }));
    }
}

#[test]
fn power_goes_in_the_middle_of_a_registration_too() {
    let at = Moment::START + Span::from_secs(5);
    let cut = PowerCut { at, off: Span::from_secs(1), spread: Span::ZERO };
    let mut tale = Tale::new(|rules| rules.power_cuts.push(cut));
    tale.tell(LifeInput::Dps(Input::Boot { intended: Moment::START }));
    tale.tell(LifeInput::Dps(Input::Connected));
    assert_eq!(tale.ring(), LifeAction::Sleep, "before the answer's deadline");
    assert_eq!(tale.now, at);
    let action = tale.ring();
    assert!(matches!(tale.provisioned(action, 1), LifeAction::ConnectHub { hub: 1, .. }));
    assert_eq!(tale.returns(), [], "it had no assignment to lose");
}

#[test]
fn messages_are_sent_as_often_as_the_policy_says() {
    let mut tale = Tale::online(3, |_| {});
    let online = tale.now;
    assert_eq!(tale.ring(), LifeAction::Heartbeat);
    assert_eq!(tale.now.since(online), Span::from_secs(150), "the first after a part of the interval");
    assert_eq!(tale.ring(), LifeAction::Heartbeat);
    assert_eq!(tale.now.since(online), Span::from_secs(450));
}

#[test]
fn a_life_is_small_beside_its_device() {
    assert!(size_of::<Life>() <= 56, "{}", size_of::<Life>());
}

proptest! {
    #[test]
    fn whatever_happens_a_living_device_waits_for_something(
        events in prop::collection::vec((0..9u8, 0..200_000u64), 0..120),
        cuts in prop::collection::vec((1..10u64, 1..10u64), 0..4),
        cache: bool,
    ) {
        let mut tale = Tale::new(|rules| {
            rules.cache = cache;
            let mut at = 0;
            for (gap, off) in cuts {
                at += gap * 60;
                rules.power_cuts.push(PowerCut {
                    at: Moment::START + Span::from_secs(at), off: Span::from_secs(off), spread: Span::from_secs(3),
                });
                at += off + 4;
            }
        });
        let mut action = tale.tell(LifeInput::Dps(Input::Boot { intended: Moment::START }));
        for (event, later_ms) in events {
            let online = tale.life.is_online();
            action = match event {
                0 => tale.tell(LifeInput::Welcome),
                1 => tale.tell(LifeInput::HubBroke(Fault::Unavailable)),
                2 => tale.tell(LifeInput::HubBroke(Fault::NotAuthorized)),
                3 => tale.tell(LifeInput::Command),
                4 => tale.provisioned(action, 1),
                5 => {
                    tale.now += Span::from_millis(later_ms);
                    tale.tell(LifeInput::Alarm)
                }
                6 => tale.tell(LifeInput::Dps(Input::Broke(Fault::Lost))),
                7 => tale.tell(LifeInput::Dps(Input::Connected)),
                _ => tale.ring(),
            };
            prop_assert!(tale.life.alarm(&tale.device, &tale.rules).is_some(), "{action:?}");
            let left = online && !tale.life.is_online();
            let told = matches!(
                tale.notes.events.iter().rev().find(|event| matches!(event, LifeEvent::Online { .. } | LifeEvent::Offline { .. })),
                Some(LifeEvent::Offline { .. })
            );
            prop_assert!(!left || told, "a device that leaves its hub says so");
        }
    }
}

#[test]
fn a_strategy_that_decides_at_the_hub_is_followed() {
    let secs = Span::from_secs;
    let mut tale = Tale::online(1, |_| {});
    tale.notes.told.clear();
    tale.notes.decisions = Some(vec![
        Decision::UseCachedHub(secs(7)),
        Decision::SwitchCredential(Span::ZERO),
        Decision::Wait(secs(3)),
        Decision::GiveUp { rearm_after: Some(secs(60)) },
        Decision::Restart(secs(11)),
    ]);
    let start = tale.now;
    assert_eq!(tale.tell(LifeInput::HubBroke(Fault::Lost)), LifeAction::Sleep);
    assert!(tale.life.waits_for_hub());
    let slot = |action: LifeAction| match action {
        LifeAction::ConnectHub { hub: 1, credential } => credential.slot,
        other => panic!("{other:?}"),
    };
    tale.policy.credentials = 2;
    assert_eq!(slot(tale.ring()), 0);
    assert_eq!(tale.now, start + secs(7));
    // The next credential at once.
    assert_eq!(slot(tale.tell(LifeInput::HubBroke(Fault::NotAuthorized))), 1);
    tale.tell(LifeInput::HubBroke(Fault::Dns));
    assert_eq!((slot(tale.ring()), tale.now), (1, start + secs(10)), "it keeps what it took up");
    tale.tell(LifeInput::HubBroke(Fault::TlsOther));
    assert_eq!((slot(tale.ring()), tale.now), (1, start + secs(70)));
    assert!(tale.returns().is_empty());
    tale.tell(LifeInput::HubBroke(Fault::BadCredentials));
    let action = tale.ring();
    assert!(matches!(action, LifeAction::Dps(_)), "{action:?}");
    assert_eq!((tale.returns(), tale.now), (vec![Return::Refused], start + secs(81)));
    let action = tale.provisioned(action, 2);
    assert!(matches!(action, LifeAction::ConnectHub { hub: 2, .. }), "{action:?}");
    assert_eq!(tale.tell(LifeInput::Welcome), LifeAction::Stay);

    let told: Vec<_> = tale.notes.told.iter().map(|told| (told.fault, told.class, told.failures)).collect();
    let expected = [
        (Some(Fault::Lost), ErrorClass::OutcomeUnknown, 1),
        (Some(Fault::NotAuthorized), ErrorClass::Unauthorized, 2),
        (Some(Fault::Dns), ErrorClass::Unreachable, 3),
        (Some(Fault::TlsOther), ErrorClass::Tls, 4),
        (Some(Fault::BadCredentials), ErrorClass::Unauthorized, 5),
        (None, ErrorClass::Throttled, 0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_strategy_can_stop_a_device_at_its_hub_until_it_loses_its_power() {
    let cut =
        PowerCut { at: Moment::START + Span::from_secs(500), off: Span::from_secs(5), spread: Span::ZERO };
    let mut tale = Tale::online(1, |rules| rules.power_cuts = vec![cut]);
    tale.notes.decisions = Some(vec![Decision::GiveUp { rearm_after: None }]);
    assert_eq!(tale.tell(LifeInput::HubBroke(Fault::NotAuthorized)), LifeAction::Sleep);
    assert_eq!(tale.ring(), LifeAction::Sleep, "the cut is what it is woken for");
    assert!(matches!(tale.ring(), LifeAction::ConnectHub { hub: 1, .. }));
    assert_eq!(tale.now, cut.at + cut.off);
}

#[test]
fn a_strategy_can_pace_polls_and_refuse_an_answer() {
    let assigning = |tale: &mut Tale| {
        let action = tale.tell(LifeInput::Dps(Input::Boot { intended: tale.now }));
        assert!(matches!(action, LifeAction::Dps(Action::Connect { .. })));
        tale.tell(LifeInput::Dps(Input::Connected));
        let state = RegistrationState::Assigning;
        let body = Body::Operation { id: Some(OperationId::usual(4, 0, 1)), state, registration: None };
        tale.answer(Status::ACCEPTED, body)
    };
    let mut tale = Tale::new(|_| {});
    // Beyond the cohort's patience, which is the strategy's as well.
    tale.notes.answered = Some(Answered::PollAfter(Span::from_secs(4_000)));
    let began = tale.now;
    assert!(matches!(assigning(&mut tale), LifeAction::Dps(Action::Wait { .. })));
    tale.ring();
    assert_eq!(tale.now, began + Span::from_secs(4_000));
    tale.notes.answered = Some(Answered::PollAfter(Span::ZERO));
    let action = assigning(&mut tale);
    assert!(matches!(action, LifeAction::Dps(Action::Send { operation: Operation::Poll, .. })), "{action:?}");
    tale.notes.answered = Some(Answered::Unusable);
    let failed = tale.now;
    assert!(
        matches!(assigning(&mut tale), LifeAction::Dps(Action::Wait { .. })),
        "a failure and its back-off"
    );
    tale.ring();
    assert_eq!(tale.now, failed + Span::from_secs(1));
    // An assignment that comes too soon for the client, as well.
    let state = RegistrationState::Assigned;
    let body = Body::Operation { id: None, state, registration: Some(Box::new(given(1))) };
    assert!(matches!(tale.answer(Status::OK, body), LifeAction::Dps(Action::Wait { .. })));
    assert_eq!(tale.life.hub(), None);
}
