//! Hubs and the devices that DPS has assigned to them.

use fleetstorm_protocol::{Body, RegistrationState, Submission};
use fleetstorm_units::random::Seed;
use fleetstorm_units::time::{Calendar, Span};

use super::super::testing::{SCOPE, Signed, config, hub};
use super::super::{Call, Config, Hub, Request, Sweep, Tier};
use super::*;

const SOON: Moment = Moment::from_nanos(10_000_000_000);

fn evidence(resource: String) -> Signed {
    Signed { resource, policy: "", key: b"group".to_vec(), expires: u64::MAX }
}

/// An instance with one hub.
fn service(change: impl FnOnce(&mut Config)) -> Service {
    let mut config = config();
    config.hubs.truncate(1);
    config.throttle = crate::service::throttle::profile("unlimited").unwrap();
    config.seed = Seed(1);
    change(&mut config);
    Service::new(config).unwrap()
}

fn standing(key: u64, token_expires_unix_secs: u64) -> Standing {
    Standing { hub: 0, key, device: None, token_expires_unix_secs }
}

fn register(service: &mut Service, now: Moment, id: &str) {
    let submission = Submission::Read { registration_id: None, csr: None, payload: None };
    let request = Request {
        api_version: Some("2019-03-31"),
        id_scope: SCOPE,
        registration_id: id,
        call: Call::Register(submission),
    };
    let handled = service.handle(now, &request, &evidence(format!("{SCOPE}/registrations/{id}")));
    let accepted = matches!(handled.reply.body, Body::Operation { state: RegistrationState::Assigning, .. });
    assert!(accepted, "{handled:?}");
}

fn connect(service: &mut Service, now: Moment, to: u16, id: &str) -> Welcome {
    let resource = format!("{}/devices/{id}", hub(u32::from(to) + 1));
    service.connect_hub(now, to, id, &evidence(resource))
}

#[test]
fn a_hub_knows_the_devices_that_dps_gave_it_by_the_key_they_registered_with() {
    let mut service = service(|_| {});
    let accepted = Welcome::Accepted { delay: Span::ZERO };
    let refused = Welcome::Refused(Connack::NotAuthorized);
    assert_eq!(connect(&mut service, SOON, 0, "dev-1"), refused, "not registered");
    register(&mut service, Moment::START, "dev-1");
    assert_eq!(connect(&mut service, Moment::START, 0, "dev-1"), refused, "still assigning");
    assert_eq!(connect(&mut service, SOON, 0, "dev-1"), accepted);
    assert_eq!(connect(&mut service, SOON, 0, "dev-2"), refused, "another device");
    let mut told = |resource: String, key: &[u8]| {
        service.connect_hub(SOON, 0, "dev-1", &Signed { key: key.to_vec(), ..evidence(resource) })
    };
    let right = format!("{}/devices/dev-1", hub(1));
    assert_eq!(told(right.clone(), b"group"), accepted);
    assert_eq!(told(right, b"another"), refused);
    assert_eq!(told(format!("{SCOPE}/registrations/dev-1"), b"group"), refused, "a token for DPS");
    assert_eq!(told(format!("{}/devices/dev-1", hub(2)), b"group"), refused, "a token for another hub");
    assert_eq!(service.hub_at("HUB-1.azure-devices.NET"), Some(0));
}

#[test]
fn connections_are_shaped_first_and_closed_when_too_many_wait() {
    let mut service = service(|config| config.hubs[0].backlog = Span::from_secs(2));
    for device in 0..400 {
        register(&mut service, Moment::START, &format!("dev-{device}"));
    }
    let welcomes: Vec<_> =
        (0..400).map(|device| connect(&mut service, SOON, 0, &format!("dev-{device}"))).collect();
    // S1: 100 a second; a second's worth at once, then two seconds of backlog.
    assert_eq!(welcomes[99], Welcome::Accepted { delay: Span::ZERO });
    assert_eq!(welcomes[100], Welcome::Accepted { delay: Span::from_millis(10) });
    let last = welcomes.iter().rposition(|welcome| *welcome != Welcome::Closed).unwrap();
    assert!(matches!(welcomes[last], Welcome::Accepted { delay } if delay.as_millis() == 2_000));
    assert_eq!(last, 299);
    let counters = service.hub_counters(0);
    assert_eq!((counters.accepted, counters.delayed, counters.throttled), (300, 200, 100));
}

#[test]
fn tiers_and_units_make_the_documented_rates() {
    for (tier, units, rate) in
        [(Tier::S1, 2, 100.0), (Tier::S1, 9, 108.0), (Tier::S2, 2, 240.0), (Tier::S3, 1, 6_000.0)]
    {
        assert_eq!(tier.connects_per_s(units), rate, "{tier:?} x {units}");
    }
    assert_eq!((Tier::S1.registry_per_s(3) * 60.0).round(), 300.0);
    assert_eq!((Tier::S3.registry_per_s(1) * 60.0).round(), 5_000.0);
}

#[test]
fn the_identity_registry_holds_assignments_back_if_it_is_limited() {
    let at = |secs| Moment::START + Span::from_secs(secs);
    for (registry_limit, refused) in [(false, false), (true, true)] {
        let mut service = service(|config| config.hubs[0].registry_limit = registry_limit);
        for device in 0..150 {
            register(&mut service, Moment::START, &format!("dev-{device}"));
        }
        // 100 at once; the 150th waits for 50 tokens of 1.67 a second.
        let early = connect(&mut service, at(20), 0, "dev-149");
        assert_eq!(matches!(early, Welcome::Refused(_)), refused);
        assert!(matches!(connect(&mut service, at(40), 0, "dev-149"), Welcome::Accepted { .. }));
    }
}

#[test]
fn states_follow_the_plan_until_one_is_set_by_hand() {
    let at = |secs| Moment::START + Span::from_secs(secs);
    let mut service = service(|config| {
        config.hubs[0].states = vec![(at(100), HubState::Failing), (at(200), HubState::Up)];
    });
    register(&mut service, Moment::START, "dev-1");
    let unavailable = Welcome::Refused(Connack::Unavailable);
    assert_eq!(service.hub_event(SOON, &standing(0, 0)), Some((at(100), HubEvent::Closed)));
    assert_eq!(connect(&mut service, at(100), 0, "dev-1"), unavailable);
    assert_eq!(service.hub_event(at(150), &standing(0, 0)), Some((at(150), HubEvent::Closed)));
    assert!(matches!(connect(&mut service, at(200), 0, "dev-1"), Welcome::Accepted { .. }));
    assert_eq!(service.hub_event(at(200), &standing(0, 0)), None);
    service.set_hub_state(0, Some(HubState::Throttled));
    assert_eq!(connect(&mut service, at(210), 0, "dev-1"), Welcome::Closed);
    assert_eq!(service.hub_event(at(210), &standing(0, 0)), None, "connections that stand go on");
    service.set_hub_state(0, None);
    assert_eq!(service.hub_state(at(220), 0), HubState::Up);
}

#[test]
fn an_unlinked_hub_knows_nobody_and_dps_moves_its_devices() {
    let mut service = service(|config| config.hubs.push(Hub::new(hub(2), 1)));
    let place = |service: &Service, id: &str| {
        let at = service.registrations.find(service.registrations.caller(id)).unwrap();
        service.registrations.get(at).hub
    };
    register(&mut service, Moment::START, "dev-1");
    let first = place(&service, "dev-1");
    service.set_hub_state(first, Some(HubState::Unlinked));
    assert_eq!(connect(&mut service, SOON, first, "dev-1"), Welcome::Refused(Connack::NotAuthorized));
    register(&mut service, SOON, "dev-1");
    let second = place(&service, "dev-1");
    assert_ne!(first, second);
    let later = SOON + Span::from_secs(10);
    assert!(matches!(connect(&mut service, later, second, "dev-1"), Welcome::Accepted { .. }));
}

#[test]
fn a_command_reaches_each_device_at_its_own_moment() {
    let sweep = Sweep { at: SOON, over: Span::from_secs(100) };
    let service = service(|config| config.hubs[0].commands.push(sweep));
    let quarter = |key: &u64| {
        let (at, event) = service.hub_event(Moment::START, &standing(*key, 0)).expect("a command");
        assert_eq!(event, HubEvent::Command);
        at.since(SOON).as_millis() / 25_000
    };
    for each in 0..4 {
        let devices = (0..1_000).filter(|key| quarter(key) == each).count();
        // Five standard deviations of a quarter of 1,000 are 68.
        assert!(devices.abs_diff(250) < 69, "{devices} in quarter {each}");
    }
    let after = SOON + Span::from_secs(200);
    assert_eq!(service.hub_event(after, &standing(7, 0)), None, "once");
}

#[test]
fn a_connection_ends_with_its_token() {
    let service = service(|config| config.hubs[0].commands.push(Sweep { at: SOON, over: Span::ZERO }));
    let at = |secs| Moment::START + Span::from_secs(secs);
    let expires = |secs| Calendar::VIRTUAL.unix_secs(at(secs));
    assert_eq!(service.hub_event(at(1), &standing(0, expires(5))), Some((at(6), HubEvent::Closed)));
    assert_eq!(service.hub_event(at(1), &standing(0, expires(60))), Some((SOON, HubEvent::Command)));
    assert_eq!(service.hub_event(at(11), &standing(0, expires(60))), Some((at(61), HubEvent::Closed)));
    assert_eq!(service.hub_event(at(70), &standing(0, expires(60))), Some((at(70), HubEvent::Closed)));
    assert_eq!(service.hub_event(at(11), &standing(0, 0)), None, "a certificate");
    assert_eq!(service.hub_event(at(11), &standing(0, u64::MAX)), None, "a token for ever");
}
