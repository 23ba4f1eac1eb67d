//! Conversations with a device: the tests play the driver and the service.

use fleetstorm_protocol::{Body, ErrorBody, RegistrationState, Reply, Status};
use fleetstorm_units::random::{Purpose, Seed};
use proptest::prelude::*;

use super::*;

const OPERATION: &str = "5.71cf7e385566aa10.4469ed4c-dc19-4af8-8b36-9ef6396ac1b3";

/// A host that follows the device's advice and waits a fixed time where a strategy would choose.
struct Scripted {
    admit: Decision,
    wait: Span,
    force: Option<Decision>,
    seen: Vec<Attempt>,
    notes: Vec<String>,
}

impl Host for Scripted {
    fn admit(&mut self, _: &Attempt) -> Decision {
        self.admit
    }

    fn decide(&mut self, attempt: &Attempt) -> Decision {
        self.seen.push(*attempt);
        let wait = self.wait.max(attempt.retry_after_wait.unwrap_or_default()).max(attempt.floor);
        self.force.unwrap_or(match attempt.advice {
            Advice::Retry => Decision::Wait(wait),
            Advice::Restart => Decision::Restart(wait),
            Advice::Renew => Decision::Restart(Span::ZERO),
            Advice::Park => Decision::GiveUp { rearm_after: Some(attempt.park) },
        })
    }

    fn settled(&mut self, _: &Attempt) {
        self.notes.push("settled".into());
    }

    fn poll_jitter(&mut self, _: u32) -> u64 {
        0
    }

    fn observe(&mut self, _: Moment, observation: Observation<'_>) {
        let note = match observation {
            Observation::Connected { fault: None, .. } => "connected".into(),
            Observation::Connected { fault: Some(fault), .. } => fault.name().to_owned(),
            Observation::Sent { operation, .. } => operation.name().to_owned(),
            Observation::Ended { outcome: Outcome::Answered { status, code }, .. } => {
                format!("{}/{code}", status.0)
            }
            Observation::Ended { outcome: Outcome::Challenged, .. } => "challenged".into(),
            Observation::Ended { outcome: Outcome::Unmet { status, why }, .. } => {
                format!("{}/{}", status.0, why.name())
            }
            Observation::Unsent { .. } => "unsent".into(),
            Observation::Faltered => "faltered".into(),
            Observation::Ended { outcome: Outcome::Broke(fault), .. } => fault.name().to_owned(),
            Observation::BackedOff { wait, .. } => format!("wait {wait}"),
            Observation::TokenRenewed => "renewed".into(),
            Observation::Assigned { attempts, registers, .. } => format!("assigned {attempts}/{registers}"),
            Observation::Stopped { class, rearm_after, .. } => format!("stopped {class:?} {rearm_after:?}"),
        };
        self.notes.push(note);
    }
}

/// A device, its driver and the time in one hand.
struct Talk {
    device: Device,
    now: Moment,
    policy: Policy,
    host: Scripted,
}

impl Talk {
    fn new() -> Self {
        Self::with(Policy { poll_jitter: Span::ZERO, ..Policy::default() })
    }

    fn with(policy: Policy) -> Self {
        let host = Scripted {
            admit: Decision::Wait(Span::ZERO),
            wait: Span::from_secs(1),
            force: None,
            seen: Vec::new(),
            notes: Vec::new(),
        };
        Self { device: Device::new(), now: Moment::START, policy, host }
    }

    fn step(&mut self, input: Input<'_>) -> Action {
        self.device.step(self.now, input, &self.policy, &mut self.host)
    }

    fn boot(&mut self) -> Action {
        self.step(Input::Boot { intended: self.now })
    }

    /// Boots and connects; the register request is out afterwards.
    fn registering() -> Self {
        let mut talk = Self::new();
        assert!(matches!(talk.boot(), Action::Connect { .. }));
        assert!(matches!(talk.step(Input::Connected), Action::Send { operation: Operation::Register, .. }));
        talk
    }

    /// The same with a poll out.
    fn polling() -> Self {
        let mut talk = Self::registering();
        talk.answer(&accepted(RetryAfter::Seconds(3)));
        assert!(matches!(
            talk.wake(),
            Action::Send { operation: Operation::Poll, operation_id: Some(_), .. }
        ));
        talk
    }

    fn answer(&mut self, reply: &Reply) -> Action {
        self.now += Span::from_millis(5);
        self.step(Input::Reply(reply))
    }

    /// Lets the time pass to the alarm.
    fn wake(&mut self) -> Action {
        self.now = self.device.alarm().expect("a device that waits has an alarm");
        self.step(Input::Alarm)
    }

    fn waits(&self) -> Span {
        self.device.alarm().unwrap().since(self.now)
    }

    fn last(&self) -> &str {
        self.host.notes.last().unwrap()
    }
}

fn accepted(retry_after: RetryAfter) -> Reply {
    let id = OperationId::read(OPERATION);
    let body = Body::Operation { id, state: RegistrationState::Assigning, registration: None };
    Reply { status: Status::ACCEPTED, retry_after, body }
}

fn terminal(state: RegistrationState) -> Reply {
    let registration = Registration {
        state: Some(state),
        assigned_hub: (state == RegistrationState::Assigned).then(|| "hub-1.azure-devices.net".into()),
        error_code: (state == RegistrationState::Failed).then_some(400_207),
        ..Registration::default()
    };
    let body = Body::Operation {
        id: OperationId::read(OPERATION),
        state,
        registration: Some(Box::new(registration)),
    };
    Reply { status: Status::OK, retry_after: RetryAfter::Absent, body }
}

fn error(status: u16, retry_after: RetryAfter) -> Reply {
    let error =
        ErrorBody { code: u32::from(status) * 1_000 + 1, message: "".into(), tracking: 0, unix_ns: 0 };
    Reply { status: Status(status), retry_after, body: Body::Error(error) }
}

#[test]
fn a_device_registers_polls_and_finishes_on_one_connection() {
    let mut talk = Talk::registering();
    assert_eq!(talk.answer(&accepted(RetryAfter::Seconds(3))), Action::Wait { keep_connection: true });
    assert_eq!(talk.waits(), Span::from_secs(3));
    assert!(matches!(talk.wake(), Action::Send { operation: Operation::Poll, .. }));
    assert_eq!(talk.answer(&accepted(RetryAfter::Absent)), Action::Wait { keep_connection: true });
    assert_eq!(talk.waits(), Span::from_secs(2), "without Retry-After a device polls every 2 s");
    let Action::Send { operation_id, .. } = talk.wake() else { panic!("a poll") };
    assert_eq!(operation_id.unwrap().to_string(), OPERATION);
    assert_eq!(talk.answer(&terminal(RegistrationState::Assigned)), Action::Finish);
    assert!(talk.device.is_settled());
    assert_eq!(talk.device.alarm(), None);
    assert_eq!(talk.last(), "assigned 3/1");
}

#[test]
fn a_register_may_be_answered_with_the_hub_at_once() {
    let mut talk = Talk::registering();
    assert_eq!(talk.answer(&terminal(RegistrationState::Assigned)), Action::Finish);
}

#[test]
fn a_throttled_device_waits_at_least_retry_after_and_repeats_the_step() {
    for (mut talk, operation) in
        [(Talk::registering(), Operation::Register), (Talk::polling(), Operation::Poll)]
    {
        talk.answer(&error(429, RetryAfter::Seconds(30)));
        assert_eq!(talk.waits(), Span::from_secs(30));
        assert_eq!(talk.host.seen[0].class, ErrorClass::Throttled);
        let Action::Send { operation: sent, .. } = talk.wake() else { panic!("the same step again") };
        assert_eq!(sent, operation);
    }
}

#[test]
fn a_date_is_counted_from_the_clock_the_device_believes() {
    let mut talk = Talk::registering();
    talk.now = Moment::START + Span::from_secs(10);
    let start = i64::try_from(Calendar::VIRTUAL.unix_secs(Moment::START)).unwrap();
    talk.step(Input::Reply(&error(429, RetryAfter::Date(start + 70))));
    assert_eq!(talk.waits(), Span::from_secs(60));
}

#[test]
fn every_status_gets_the_reaction_of_the_reference_client() {
    use Advice::{Park, Renew, Restart, Retry};
    let at_register = [
        (400, ErrorClass::ClientBug, Park),
        (401, ErrorClass::Unauthorized, Renew),
        (403, ErrorClass::Forbidden, Renew),
        (404, ErrorClass::NotFound, Park),
        (405, ErrorClass::ClientBug, Park),
        (409, ErrorClass::Conflict, Restart),
        (412, ErrorClass::Conflict, Restart),
        (415, ErrorClass::ClientBug, Park),
        (429, ErrorClass::Throttled, Retry),
        (500, ErrorClass::ServerError, Retry),
        (503, ErrorClass::ServerError, Retry),
        (307, ErrorClass::Protocol, Retry),
    ];
    for (status, class, advice) in at_register {
        let mut talk = Talk::registering();
        talk.answer(&error(status, RetryAfter::Absent));
        assert_eq!((talk.host.seen[0].class, talk.host.seen[0].advice), (class, advice), "{status}");
    }
    let mut talk = Talk::polling();
    talk.answer(&error(404, RetryAfter::Absent));
    assert_eq!(talk.host.seen[0].advice, Restart, "a lost operation is registered anew");
    assert!(matches!(talk.wake(), Action::Send { operation: Operation::Register, operation_id: None, .. }));
}

#[test]
fn after_a_server_error_the_first_wait_is_at_least_five_seconds() {
    let mut talk = Talk::registering();
    talk.answer(&error(500, RetryAfter::Absent));
    assert_eq!(talk.waits(), Span::from_secs(5));
}

#[test]
fn a_refused_token_is_renewed_once_and_then_the_device_parks() {
    let mut talk = Talk::registering();
    let first = talk.device.clone();
    talk.now += Span::from_secs(1);
    let Action::Send { operation: Operation::Register, credential, .. } =
        talk.step(Input::Reply(&error(401, RetryAfter::Absent)))
    else {
        panic!("one re-registration at once");
    };
    assert!(talk.host.notes.contains(&"renewed".to_owned()));
    assert!(credential.expires_unix_secs > 0);
    assert_eq!(talk.answer(&error(401, RetryAfter::Absent)), Action::Wait { keep_connection: false });
    assert!(talk.device.is_settled() && !first.is_settled());
    assert_eq!(talk.waits(), Span::from_secs(3_600));
    assert!(matches!(talk.wake(), Action::Connect { .. }), "a parked device tries again after a long sleep");
}

#[test]
fn failed_and_disabled_registrations_park_with_the_code_kept() {
    for (state, class) in [
        (RegistrationState::Failed, ErrorClass::AssignmentFailed),
        (RegistrationState::Disabled, ErrorClass::Disabled),
    ] {
        let mut talk = Talk::polling();
        assert_eq!(talk.answer(&terminal(state)), Action::Wait { keep_connection: false });
        assert_eq!(talk.host.seen[0].class, class);
        assert!(talk.device.is_settled());
    }
    let mut talk = Talk::polling();
    talk.answer(&terminal(RegistrationState::Failed));
    assert!(talk.host.notes.contains(&"200/400207".to_owned()));
}

#[test]
fn answers_that_are_not_dps_are_protocol_errors() {
    let assigned_without_hub = {
        let mut reply = terminal(RegistrationState::Assigned);
        if let Body::Operation { registration: Some(registration), .. } = &mut reply.body {
            registration.assigned_hub = None;
        }
        reply
    };
    let mut no_operation = accepted(RetryAfter::Absent);
    no_operation.body = Body::Operation { id: None, state: RegistrationState::Assigning, registration: None };
    for body in [Body::Empty, Body::Unreadable, assigned_without_hub.body, no_operation.body] {
        let mut talk = Talk::registering();
        talk.answer(&Reply { status: Status::OK, retry_after: RetryAfter::Absent, body });
        assert_eq!(talk.host.seen[0].class, ErrorClass::Protocol);
        assert!(talk.host.notes.contains(&"200/protocol".to_owned()), "no success: {:?}", talk.host.notes);
    }
}

#[test]
fn a_success_that_brings_no_hub_is_a_failure_of_its_own_name() {
    for (state, name) in
        [(RegistrationState::Disabled, "200/disabled"), (RegistrationState::Failed, "200/assignment-failed")]
    {
        let mut reply = terminal(state);
        if let Body::Operation { registration: Some(registration), .. } = &mut reply.body {
            registration.error_code = None;
        }
        let mut talk = Talk::polling();
        talk.answer(&reply);
        assert!(talk.host.notes.contains(&name.to_owned()), "{:?}", talk.host.notes);
    }
}

#[test]
fn a_parked_device_that_was_held_back_goes_on_without_being_late() {
    let mut talk = Talk::registering();
    talk.answer(&Reply { status: Status::NOT_FOUND, retry_after: RetryAfter::Absent, body: Body::Empty });
    assert!(talk.device.is_parked());
    let due = talk.device.alarm().unwrap();
    let early = Input::Resume { intended: due };
    assert_eq!(
        talk.device.step(due - Span::from_secs(1), early, &talk.policy, &mut talk.host),
        Action::Ignore
    );
    let now = due + Span::from_secs(90);
    let action = talk.device.step(now, Input::Resume { intended: now }, &talk.policy, &mut talk.host);
    assert!(matches!(action, Action::Connect { .. }), "{action:?}");
    assert_eq!(talk.device.lag(), Span::ZERO);
}

#[test]
fn a_poll_answer_without_operation_id_keeps_the_cached_one() {
    let mut talk = Talk::polling();
    let body = Body::Operation { id: None, state: RegistrationState::Assigning, registration: None };
    talk.answer(&Reply { status: Status::ACCEPTED, retry_after: RetryAfter::Absent, body });
    let Action::Send { operation_id, .. } = talk.wake() else { panic!("a poll") };
    assert_eq!(operation_id.unwrap().to_string(), OPERATION);
}

#[test]
fn each_phase_has_its_time_out() {
    let mut talk = Talk::new();
    talk.boot();
    assert_eq!(talk.waits(), talk.policy.connect_timeout);
    talk.wake();
    assert_eq!(talk.host.seen[0].outcome, Outcome::Broke(Fault::ConnectTimeout));

    let mut talk = Talk::registering();
    talk.wake();
    assert_eq!(talk.host.seen[0].outcome, Outcome::Broke(Fault::Timeout));
    assert_eq!(talk.host.seen[0].class, ErrorClass::OutcomeUnknown);
    assert!(matches!(talk.wake(), Action::Connect { .. }), "a connection that timed out is not used again");
}

#[test]
fn a_lost_poll_is_asked_again_on_a_new_connection() {
    let mut talk = Talk::polling();
    assert_eq!(talk.step(Input::Broke(Fault::Lost)), Action::Wait { keep_connection: false });
    assert!(matches!(talk.wake(), Action::Connect { .. }));
    assert!(matches!(talk.step(Input::Connected), Action::Send { operation: Operation::Poll, .. }));
}

#[test]
fn a_connection_that_the_peer_closed_while_idle_is_no_failure() {
    let mut talk = Talk::polling();
    assert!(
        matches!(talk.step(Input::Broke(Fault::Closed)), Action::Connect { .. }),
        "closed as the request left"
    );
    assert!(talk.host.seen.is_empty());

    let mut talk = Talk::registering();
    talk.answer(&accepted(RetryAfter::Absent));
    assert_eq!(talk.step(Input::Broke(Fault::Closed)), Action::Ignore, "closed while waiting");
    assert!(matches!(talk.wake(), Action::Connect { .. }));
    assert!(talk.host.seen.is_empty());

    let mut talk = Talk::registering();
    talk.step(Input::Broke(Fault::Closed));
    assert_eq!(talk.host.seen[0].class, ErrorClass::Unreachable, "a fresh connection that closes is one");
}

#[test]
fn poll_failures_in_a_row_lead_back_to_register() {
    let mut talk = Talk::polling();
    for _ in 0..4 {
        talk.answer(&error(500, RetryAfter::Absent));
        assert!(matches!(talk.wake(), Action::Send { operation: Operation::Poll, .. }));
    }
    talk.answer(&error(500, RetryAfter::Absent));
    assert!(matches!(talk.wake(), Action::Send { operation: Operation::Register, .. }));
}

#[test]
fn throttled_polls_never_lead_back_to_register() {
    let mut talk = Talk::polling();
    for _ in 0..20 {
        talk.answer(&error(429, RetryAfter::Absent));
        assert!(matches!(talk.wake(), Action::Send { operation: Operation::Poll, .. }));
    }
}

#[test]
fn a_device_loses_patience_with_an_assignment() {
    let mut talk = Talk::polling();
    let start = talk.now;
    loop {
        talk.answer(&accepted(RetryAfter::Seconds(3)));
        if !talk.host.seen.is_empty() {
            break;
        }
        talk.wake();
    }
    assert_eq!(talk.host.seen[0].class, ErrorClass::AssignmentTimeout);
    let waited = talk.now.since(start);
    assert!(waited <= talk.policy.assign_patience && waited > Span::from_secs(590), "{waited}");
    assert!(matches!(talk.wake(), Action::Send { operation: Operation::Register, .. }));
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let lifetime = Span::from_secs(120);
    let mut talk = Talk::with(Policy {
        token_lifetime: Some(lifetime),
        token_margin: Span::from_secs(30),
        poll_jitter: Span::ZERO,
        ..Policy::default()
    });
    talk.boot();
    let Action::Send { credential: first, .. } = talk.step(Input::Connected) else { panic!("a register") };
    let start = Calendar::VIRTUAL.unix_secs(Moment::START);
    assert_eq!(first.expires_unix_secs, start + 120);
    let mut last = first;
    while talk.now < Moment::START + Span::from_secs(300) {
        talk.answer(&accepted(RetryAfter::Seconds(7)));
        let Action::Send { credential, .. } = talk.wake() else { panic!("a poll") };
        assert!(credential.expires_unix_secs >= Calendar::VIRTUAL.unix_secs(talk.now) + 30);
        assert!(credential.expires_unix_secs >= last.expires_unix_secs);
        last = credential;
    }
    assert_eq!(talk.host.notes.iter().filter(|note| *note == "renewed").count(), 3);
}

#[test]
fn a_device_whose_clock_is_behind_makes_tokens_that_have_expired() {
    let mut talk = Talk::with(Policy { clock_offset_ns: -7_200_000_000_000, ..Policy::default() });
    let Action::Connect { credential } = talk.boot() else { panic!("a connection") };
    assert!(credential.expires_unix_secs < Calendar::VIRTUAL.unix_secs(Moment::START));
}

#[test]
fn a_device_without_tokens_presents_none() {
    let mut talk = Talk::with(Policy { token_lifetime: None, ..Policy::default() });
    let Action::Connect { credential } = talk.boot() else { panic!("a connection") };
    assert_eq!(credential, Credential::default());
}

#[test]
fn a_challenge_is_answered_once_and_is_no_failure() {
    let mut talk = Talk::with(Policy { challenged: true, ..Policy::default() });
    talk.boot();
    let Action::Send { credential, .. } = talk.step(Input::Connected) else { panic!("a register") };
    assert_eq!(credential.expires_unix_secs, 0, "the first leg carries no token");
    let challenge = Reply {
        status: Status::UNAUTHORIZED,
        retry_after: RetryAfter::Absent,
        body: Body::Challenge(Box::new([1, 2, 3])),
    };
    assert_eq!(talk.answer(&challenge), Action::Answer);
    let Action::Send { operation: Operation::Register, credential, .. } = talk.step(Input::Answered) else {
        panic!("the second leg")
    };
    assert!(credential.expires_unix_secs > 0);
    assert!(talk.host.seen.is_empty());
    assert!(talk.host.notes.contains(&"challenged".to_owned()), "{:?}", talk.host.notes);
    talk.answer(&challenge);
    assert_eq!(talk.host.seen[0].class, ErrorClass::Unauthorized, "a second challenge is a refusal");
}

#[test]
fn connections_are_used_as_the_policy_says() {
    let with = |connection| {
        let mut talk = Talk::with(Policy { connection, ..Policy::default() });
        talk.boot();
        talk.step(Input::Connected);
        talk
    };
    let keeps = |action| action == Action::Wait { keep_connection: true };
    let mut device = with(ConnectionUse::PerDevice);
    assert!(keeps(device.answer(&error(429, RetryAfter::Seconds(3)))));
    assert!(
        !keeps(with(ConnectionUse::PerDevice).answer(&error(429, RetryAfter::Seconds(90)))),
        "past idle_close"
    );
    assert!(!keeps(with(ConnectionUse::PerOperation).answer(&error(429, RetryAfter::Seconds(3)))));
    assert!(keeps(with(ConnectionUse::PerOperation).answer(&accepted(RetryAfter::Seconds(3)))));
    assert!(!keeps(with(ConnectionUse::PerRequest).answer(&accepted(RetryAfter::Seconds(3)))));
}

#[test]
fn admission_delays_the_first_attempt_from_the_intended_boot() {
    let mut talk = Talk::new();
    talk.host.admit = Decision::Wait(Span::from_secs(40));
    talk.now = Moment::START + Span::from_secs(2);
    assert_eq!(talk.step(Input::Boot { intended: Moment::START }), Action::Wait { keep_connection: false });
    assert_eq!(talk.device.alarm(), Some(Moment::START + Span::from_secs(40)));
    assert!(matches!(talk.wake(), Action::Connect { .. }));
}

#[test]
fn a_strategy_can_switch_credentials_look_up_and_give_up() {
    let mut talk = Talk::registering();
    talk.policy.credentials = 2;
    talk.host.force = Some(Decision::SwitchCredential(Span::ZERO));
    let Action::Send { credential, .. } = talk.answer(&error(401, RetryAfter::Absent)) else {
        panic!("a register")
    };
    assert_eq!(credential.slot, 1);
    talk.host.force = Some(Decision::LookupStatus(Span::ZERO));
    assert!(matches!(
        talk.answer(&error(500, RetryAfter::Absent)),
        Action::Send { operation: Operation::Lookup, .. }
    ));
    talk.host.force = Some(Decision::GiveUp { rearm_after: None });
    assert_eq!(talk.answer(&error(500, RetryAfter::Absent)), Action::Finish);
    assert_eq!(talk.device.alarm(), None);
}

#[test]
fn a_late_driver_is_seen_as_lag_not_as_service_time() {
    let mut talk = Talk::registering();
    talk.answer(&accepted(RetryAfter::Seconds(3)));
    talk.now = talk.device.alarm().unwrap() + Span::from_millis(70);
    talk.step(Input::Alarm);
    struct Catch(Option<(Moment, Moment)>);
    impl Host for Catch {
        fn admit(&mut self, _: &Attempt) -> Decision {
            Decision::Wait(Span::ZERO)
        }
        fn decide(&mut self, _: &Attempt) -> Decision {
            Decision::Wait(Span::ZERO)
        }
        fn settled(&mut self, _: &Attempt) {}
        fn poll_jitter(&mut self, _: u32) -> u64 {
            0
        }
        fn observe(&mut self, _: Moment, observation: Observation<'_>) {
            if let Observation::Ended { intended, started, .. } = observation {
                self.0 = Some((intended, started));
            }
        }
    }
    let mut catch = Catch(None);
    talk.device.step(talk.now, Input::Reply(&accepted(RetryAfter::Absent)), &talk.policy, &mut catch);
    let (intended, started) = catch.0.unwrap();
    assert_eq!(started.since(intended), Span::from_millis(70));
}

#[test]
fn a_device_stays_small() {
    assert!(size_of::<Device>() <= 96, "{}", size_of::<Device>());
}

/// Draws arbitrary decisions.
struct Fickle(Seed, u32);

impl Fickle {
    fn draw(&mut self) -> u64 {
        self.1 += 1;
        self.0.draw(Purpose::Life, 0, self.1)
    }

    fn decision(&mut self) -> Decision {
        let wait = match self.draw() % 5 {
            0 => Span::ZERO,
            1 => Span::MAX,
            _ => Span::from_nanos(self.draw() % 100_000_000_000),
        };
        match self.draw() % 8 {
            0 => Decision::Restart(wait),
            1 => Decision::SwitchCredential(wait),
            2 => Decision::UseCachedHub(wait),
            3 => Decision::LookupStatus(wait),
            4 if self.draw().is_multiple_of(8) => Decision::GiveUp { rearm_after: None },
            5 => Decision::GiveUp { rearm_after: Some(wait) },
            6 if self.draw().is_multiple_of(16) => Decision::Faulted,
            _ => Decision::Wait(wait),
        }
    }
}

impl Host for Fickle {
    fn admit(&mut self, _: &Attempt) -> Decision {
        self.decision()
    }
    fn decide(&mut self, _: &Attempt) -> Decision {
        self.decision()
    }
    fn settled(&mut self, _: &Attempt) {}
    fn poll_jitter(&mut self, _: u32) -> u64 {
        self.draw()
    }
    fn observe(&mut self, _: Moment, _: Observation<'_>) {}
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let retry_after = prop_oneof![
        Just(RetryAfter::Absent),
        any::<u32>().prop_map(RetryAfter::Seconds),
        any::<i64>().prop_map(RetryAfter::Date),
        Just(RetryAfter::Malformed(fleetstorm_protocol::Malformed::Garbage)),
    ];
    let state = prop_oneof![
        Just(RegistrationState::Unassigned),
        Just(RegistrationState::Assigning),
        Just(RegistrationState::Assigned),
        Just(RegistrationState::Failed),
        Just(RegistrationState::Disabled),
    ];
    let body = prop_oneof![
        Just(Body::Empty),
        Just(Body::Unreadable),
        Just(Body::Challenge(Box::new([7]))),
        (any::<bool>(), state.clone(), any::<bool>()).prop_map(|(id, state, registration)| Body::Operation {
            id: id.then(|| OperationId::usual(5, 1, 1)),
            state,
            registration: registration
                .then(|| Box::new(Registration { state: Some(state), ..Registration::default() })),
        }),
        (proptest::option::of(state), any::<bool>()).prop_map(|(state, hub)| Body::Registration(Box::new(
            Registration { state, assigned_hub: hub.then(|| "hub".into()), ..Registration::default() }
        ))),
        any::<u32>().prop_map(|code| Body::Error(ErrorBody {
            code,
            message: "".into(),
            tracking: 0,
            unix_ns: 0
        })),
    ];
    let status = prop_oneof![Just(200), Just(202), Just(401), Just(404), Just(429), Just(500), any::<u16>()];
    (status, retry_after, body).prop_map(|(status, retry_after, body)| Reply {
        status: Status(status),
        retry_after,
        body,
    })
}

#[derive(Clone, Debug)]
enum Event {
    Boot,
    Connected,
    Reply(Box<Reply>),
    Broke(usize),
    Answered,
    AlarmAt(bool),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::Boot),
        4 => Just(Event::Connected),
        6 => any_reply().prop_map(|reply| Event::Reply(Box::new(reply))),
        2 => (0..Fault::ALL.len()).prop_map(Event::Broke),
        1 => Just(Event::Answered),
        6 => any::<bool>().prop_map(Event::AlarmAt),
        2 => any::<u64>().prop_map(Event::Pass),
    ]
}

proptest! {
    /// From any sequence of events a device never panics, and always has ended or has an alarm that leads on.
    #[test]
    fn a_device_always_ends_or_has_an_alarm(
        seed: u64,
        events in proptest::collection::vec(any_event(), 1..200),
        per in 0..3u8,
        challenged: bool,
    ) {
        let connection =
            [ConnectionUse::PerDevice, ConnectionUse::PerOperation, ConnectionUse::PerRequest][usize::from(per)];
        let policy = Policy { connection, challenged, credentials: 2, ..Policy::default() };
        let mut host = Fickle(Seed(seed), 0);
        let mut device = Device::new();
        let mut now = Moment::START;
        device.step(now, Input::Boot { intended: now }, &policy, &mut host);
        for event in events {
            let before = device.clone();
            let action = match event {
                Event::Boot => device.step(now, Input::Boot { intended: now }, &policy, &mut host),
                Event::Connected => device.step(now, Input::Connected, &policy, &mut host),
                Event::Reply(reply) => device.step(now, Input::Reply(&reply), &policy, &mut host),
                Event::Broke(fault) => device.step(now, Input::Broke(Fault::ALL[fault]), &policy, &mut host),
                Event::Answered => device.step(now, Input::Answered, &policy, &mut host),
                Event::AlarmAt(jump) => {
                    if jump { now = now.max(device.alarm().unwrap_or(now)); }
                    let due = device.alarm().is_some_and(|at| now >= at);
                    let action = device.step(now, Input::Alarm, &policy, &mut host);
                    prop_assert!(!due || action != Action::Ignore, "an alarm that is due always leads on: {before:?}");
                    action
                }
                Event::Pass(ns) => { now += Span::from_nanos(ns >> 20); Action::Ignore }
            };
            match action {
                Action::Finish => prop_assert_eq!(device.alarm(), None),
                Action::Ignore => {}
                Action::Wait { .. } | Action::Connect { .. } | Action::Send { .. } | Action::Answer => {
                    prop_assert!(device.alarm().is_some());
                }
            }
            if let Action::Send { operation: Operation::Poll, operation_id, .. } = &action {
                prop_assert!(operation_id.is_some(), "nobody polls without an operation");
            }
        }
    }
}

#[test]
fn a_new_token_needs_a_new_connection_where_the_transport_authenticates_by_it() {
    for by_connection in [false, true] {
        let mut talk = Talk::with(Policy {
            credential_by_connection: by_connection,
            poll_jitter: Span::ZERO,
            ..Policy::default()
        });
        let Action::Connect { credential: first } = talk.boot() else { panic!("no connection") };
        talk.step(Input::Connected);
        let next = talk.answer(&error(401, RetryAfter::Absent));
        match next {
            Action::Connect { credential } if by_connection => {
                assert_ne!(credential, Credential { slot: 1, ..first })
            }
            Action::Send { operation: Operation::Register, .. } if !by_connection => {}
            other => panic!("{by_connection}: {other:?}"),
        }
    }
}

#[test]
fn a_refused_connection_is_treated_as_the_policy_says() {
    for (fault, refusals, notes) in [
        (Fault::Unavailable, Refusals::default(), "wait 5 s"),
        (
            Fault::Unavailable,
            Refusals { unavailable: Advice::Park, ..Refusals::default() },
            "stopped ServerError",
        ),
        (Fault::NotAuthorized, Refusals::default(), "wait 0 s"),
        (
            Fault::NotAuthorized,
            Refusals { not_authorized: Advice::Park, ..Refusals::default() },
            "stopped Unauthorized",
        ),
        (
            Fault::BadCredentials,
            Refusals { bad_credentials: Advice::Retry, ..Refusals::default() },
            "wait 1 s",
        ),
    ] {
        let mut talk = Talk::with(Policy { credential_by_connection: true, refusals, ..Policy::default() });
        talk.boot();
        talk.step(Input::Broke(fault));
        let last = &talk.host.notes[1];
        assert!(last.starts_with(notes), "{fault:?}: {last}");
    }
}

#[test]
fn a_token_that_is_refused_twice_when_connecting_parks() {
    let mut talk = Talk::with(Policy { credential_by_connection: true, ..Policy::default() });
    talk.boot();
    assert!(matches!(talk.step(Input::Broke(Fault::NotAuthorized)), Action::Connect { .. }));
    assert_eq!(talk.step(Input::Broke(Fault::NotAuthorized)), Action::Wait { keep_connection: false });
    assert!(talk.device.is_settled());
}

#[test]
fn a_device_whose_transport_has_no_lookup_registers_instead() {
    let mut talk = Talk::with(Policy { lookups: false, ..Policy::default() });
    talk.host.force = Some(Decision::LookupStatus(Span::ZERO));
    talk.boot();
    talk.step(Input::Connected);
    let next = talk.answer(&error(500, RetryAfter::Absent));
    assert!(matches!(next, Action::Send { operation: Operation::Register, .. }), "{next:?}");
}
