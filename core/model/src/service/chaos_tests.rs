use fleetstorm_protocol::{Body, RegistrationState, Reply, RetryAfter, Status, Submission, code};
use fleetstorm_units::random::Seed;

use super::*;
use crate::service::testing::{SCOPE, Signed, config};
use crate::service::{Call, Config, Request, Service};

/// A service under the faults of a scenario, and its devices `dev-0` to `dev-9` with the key `group`.
struct Bench {
    service: Service,
}

#[derive(serde::Deserialize)]
struct Faults {
    chaos: Vec<crate::chaos::ChaosFile>,
}

fn bench(text: &str) -> Bench {
    let faults: Faults = toml::from_str(text).unwrap();
    let naming = crate::chaos::Naming::Fleet("dev-".to_owned());
    let fleet = crate::chaos::Fleet {
        seed: Seed(0),
        devices: 10,
        cohorts: vec![("default", fleetstorm_protocol::Transport::Https)],
        membership: &[0; 10],
        naming: &naming,
    };
    let timeline = crate::chaos::Timeline::new(&faults.chaos, &fleet);
    let mut service = Service::new(Config { seed: Seed(1), ..config() }).unwrap();
    service.disturb(timeline.rules(&[crate::chaos::Layer::Service]), naming);
    Bench { service }
}

fn at(secs: u64) -> Moment {
    Moment::START + Span::from_secs(secs)
}

impl Bench {
    fn ask(&mut self, now: Moment, device: u32, call: Call<'_>) -> (Reply, Span) {
        let name = format!("dev-{device:06}");
        let evidence = Signed {
            resource: format!("{SCOPE}/registrations/{name}"),
            policy: "registration",
            key: b"group".to_vec(),
            expires: self.service.unix_nanos(at(3_600)) / 1_000_000_000,
        };
        let request =
            Request { api_version: Some("2021-06-01"), id_scope: SCOPE, registration_id: &name, call };
        let handled = self.service.handle(now, &request, &evidence);
        (handled.reply, handled.delay)
    }

    fn register(&mut self, now: Moment, device: u32) -> (Reply, Span) {
        let body = Submission::Read { registration_id: None, csr: None, payload: None };
        self.ask(now, device, Call::Register(body))
    }

    /// Registers and polls after a minute.
    fn provision(&mut self, now: Moment, device: u32) -> Reply {
        let (reply, _) = self.register(now, device);
        let Body::Operation { id: Some(id), .. } = reply.body else { panic!("{reply:?}") };
        self.ask(now + Span::from_secs(60), device, Call::Poll(id)).0
    }
}

fn state(reply: &Reply) -> RegistrationState {
    match &reply.body {
        Body::Operation { state, .. } => *state,
        other => panic!("{other:?}"),
    }
}

const TEN_SECONDS: &str = "start = \"10s\"\nduration = \"10s\"\n";

#[test]
fn a_throttle_storm_takes_nothing_from_the_quota_and_heals() {
    let mut bench = bench(&format!(
        "[[chaos]]\nfault = {{ kind = \"service.throttle\", retry_after = [\"7\"] }}\n{TEN_SECONDS}"
    ));
    assert_eq!(bench.register(at(9), 0).0.status, Status::ACCEPTED);
    let (reply, _) = bench.register(at(10), 1);
    assert_eq!((reply.status, reply.retry_after), (Status::TOO_MANY_REQUESTS, RetryAfter::Seconds(7)));
    assert_eq!(bench.service.registrations(), 1, "no work was done");
    assert_eq!(bench.register(at(20), 1).0.status, Status::ACCEPTED);
}

#[test]
fn a_burst_of_errors_is_an_error_body_with_its_status() {
    let mut bench =
        bench("[[chaos]]\nfault = { kind = \"service.error\", status = 503, retry_after = [\"garbage\"] }\n");
    let (reply, _) = bench.register(at(1), 1);
    assert_eq!(reply.status, Status(503));
    assert!(matches!(reply.retry_after, RetryAfter::Malformed(_)));
    assert!(matches!(reply.body, Body::Error(error) if error.code == 503_000));
}

#[test]
fn answers_are_slow_or_never_leave_and_the_work_is_done() {
    let mut bench = bench(
        "[[chaos]]\nfault = { kind = \"service.brownout\", delay = { kind = \"constant\", delay = \"2s\" } }\n\
         start = \"1s\"\nduration = \"5s\"\n[[chaos]]\nname = \"lost\"\nstart = \"10s\"\n\
         fault = { kind = \"service.brownout\", delay = { kind = \"constant\", delay = \"0s\" }, lost = 1.0 }\n",
    );
    assert_eq!(bench.register(at(2), 0).1, Span::from_secs(2));
    assert!(bench.register(at(11), 1).1 >= NEVER);
    assert_eq!(bench.service.registrations(), 2);
}

#[test]
fn assignments_are_held_or_fail_and_operations_are_forgotten() {
    let mut stuck = bench(&format!("[[chaos]]\nfault = {{ kind = \"service.stuck\" }}\n{TEN_SECONDS}"));
    assert_eq!(state(&stuck.provision(at(12), 0)), RegistrationState::Assigning);
    assert_eq!(state(&stuck.provision(at(25), 1)), RegistrationState::Assigned);

    let mut held = bench("[[chaos]]\nfault = { kind = \"service.stuck\", held = \"50s\" }\n");
    assert_eq!(
        state(&held.provision(at(12), 0)),
        RegistrationState::Assigned,
        "it takes less than 10 s usually"
    );

    let mut failed =
        bench(&format!("[[chaos]]\nfault = {{ kind = \"service.assign-failed\" }}\n{TEN_SECONDS}"));
    let reply = failed.provision(at(12), 0);
    assert_eq!(state(&reply), RegistrationState::Failed);
    let Body::Operation { registration: Some(registration), .. } = reply.body else { panic!() };
    assert_eq!(registration.error_code, Some(code::ALLOCATION_FAILED));
    assert_eq!(state(&failed.provision(at(80), 0)), RegistrationState::Assigned, "registering anew mends it");

    let mut lost = bench("[[chaos]]\nfault = { kind = \"service.operation-lost\" }\n");
    assert_eq!(lost.provision(at(1), 0).status, Status::NOT_FOUND);

    let mut disabled = bench("[[chaos]]\nfault = { kind = \"service.disabled\" }\n");
    assert_eq!(state(&disabled.register(at(1), 0).0), RegistrationState::Disabled);
}

#[test]
fn nobody_goes_to_a_hub_that_is_unlinked() {
    let hubs = |bench: &mut Bench, now| -> std::collections::BTreeSet<String> {
        let of = |reply: Reply| match reply.body {
            Body::Operation { registration: Some(registration), .. } => registration.assigned_hub,
            _ => None,
        };
        (0..10).filter_map(|device| of(bench.provision(now, device))).collect()
    };
    let mut bench = bench(&format!(
        "[[chaos]]\nfault = {{ kind = \"service.hub-unlinked\", hub = \"hub-2.azure-devices.net\" }}\n{TEN_SECONDS}"
    ));
    assert!(hubs(&mut bench, at(1)).contains("hub-2.azure-devices.net"), "else the rest says nothing");
    let during = hubs(&mut bench, at(15));
    assert!(!during.contains("hub-2.azure-devices.net") && during.len() == 2, "{during:?}");
}

#[test]
fn a_hub_is_in_the_state_that_a_fault_puts_it_into_and_closes_what_stands_when_it_begins() {
    use crate::service::{HubEvent, Welcome};
    use fleetstorm_protocol::mqtt::Connack;
    let mut counts = [0; 2];
    for (state, during, closes) in [
        ("failing", Welcome::Refused(Connack::Unavailable), true),
        ("unlinked", Welcome::Refused(Connack::NotAuthorized), true),
        ("throttled", Welcome::Closed, false),
    ] {
        let host = "hub-1.azure-devices.net";
        let fault =
            format!("fault = {{ kind = \"service.hub-state\", hub = \"{host}\", state = \"{state}\" }}\n");
        let mut bench = bench(&format!(
            "[[chaos]]\nname = \"{state}\"\nselect = {{ share = 0.6 }}\n{fault}{TEN_SECONDS}"
        ));
        for device in 0..10 {
            let Body::Operation { registration: Some(registration), .. } =
                bench.provision(at(0), device).body
            else {
                panic!()
            };
            if registration.assigned_hub.as_deref() != Some(host) {
                continue;
            }
            let name = format!("dev-{device:06}");
            let evidence = Signed {
                resource: format!("{host}/devices/{name}"),
                policy: "",
                key: b"group".to_vec(),
                expires: u64::MAX,
            };
            let service = &mut bench.service;
            let mut welcome = |secs| service.connect_hub(at(secs), 0, &name, &evidence);
            let is_in = |welcome| matches!(welcome, Welcome::Accepted { .. });
            assert!(is_in(welcome(5)) && is_in(welcome(20)));
            let found = welcome(15);
            let hit = !is_in(found);
            assert!(!hit || found == during, "{state}: {found:?}");
            let standing = service.standing(0, &name, 0);
            let closed = (hit && closes).then_some((at(10), HubEvent::Closed));
            assert_eq!(service.hub_event(at(5), &standing), closed, "{state}");
            assert_eq!(
                service.hub_event(at(10), &standing),
                None,
                "once, and a connection made since stands"
            );
            counts[usize::from(hit)] += 1;
        }
    }
    assert!(counts[0] > 0 && counts[1] > 2, "else it says nothing: {counts:?}");
}

#[test]
fn a_key_that_is_rolled_and_a_clock_that_is_off_refuse_tokens() {
    for fault in ["{ kind = \"service.key-rotation\" }", "{ kind = \"service.clock\", offset = \"2h\" }"] {
        let mut bench = bench(&format!("[[chaos]]\nfault = {fault}\n{TEN_SECONDS}"));
        assert_eq!(bench.register(at(5), 0).0.status, Status::ACCEPTED, "{fault}");
        assert_eq!(bench.register(at(15), 1).0.status, Status::UNAUTHORIZED, "{fault}");
        assert_eq!(bench.register(at(25), 1).0.status, Status::ACCEPTED, "{fault}");
    }
}

#[test]
fn a_slow_allocation_is_assigned_later_and_all_the_same() {
    let slow = "[[chaos]]\nfault = { kind = \"service.allocation-slow\", delay = { kind = \"constant\", delay = \"90s\" } }\n";
    let mut bench = bench(slow);
    let (reply, _) = bench.register(at(1), 0);
    let Body::Operation { id: Some(id), .. } = reply.body else { panic!("{reply:?}") };
    let mut poll = |secs| state(&bench.ask(at(secs), 0, Call::Poll(id.clone())).0);
    assert_eq!(poll(60), RegistrationState::Assigning);
    assert_eq!(poll(120), RegistrationState::Assigned);
}

#[test]
fn the_slower_of_two_devices_with_one_id_is_told_so() {
    let mut bench = bench(
        "[[chaos]]\nfault = { kind = \"service.duplicate-race\" }\ncount = { per = \"device\", first = 1 }\n",
    );
    assert_eq!(bench.register(at(1), 0).0.status, Status::CONFLICT);
    assert_eq!((bench.service.registrations(), bench.service.counters().accepted), (1, 1), "the other one's");
    assert_eq!(state(&bench.provision(at(60), 0)), RegistrationState::Assigned, "it may try again later");
}

#[test]
fn a_flip_sends_a_device_to_another_hub_and_back() {
    let mut bench = bench(&format!("[[chaos]]\nfault = {{ kind = \"service.flip\" }}\n{TEN_SECONDS}"));
    let mut hub = |now, device| match bench.provision(now, device).body {
        Body::Operation { registration: Some(registration), .. } => registration.assigned_hub,
        other => panic!("{other:?}"),
    };
    for device in 0..10 {
        let hubs = [hub(at(1), device), hub(at(12), device), hub(at(100), device)];
        assert!(hubs[0].is_some() && hubs[0] != hubs[1] && hubs[0] == hubs[2], "{hubs:?}");
    }
}

#[test]
fn strangers_are_left_alone() {
    let mut bench = bench("[[chaos]]\nfault = { kind = \"service.error\", status = 500 }\n");
    let faults = bench.service.disturbance.as_mut().unwrap();
    let mut serve = |name| faults.serve(at(1), Caller::Named(name), Query::Register, 0);
    assert!(serve("dev-000003").is_some());
    for name in ["dev-", "dev-x", "d", "other-000003", "dev-99999999999"] {
        assert_eq!(serve(name), None, "{name}");
    }
}
