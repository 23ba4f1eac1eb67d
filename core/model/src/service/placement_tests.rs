//! Allocation and re-provisioning; numbers are the acceptance tests of `dps` 17.4.

use fleetstorm_protocol::enrollment::{
    AllocationPolicy, CustomAllocation, Enrollment, Group, ReprovisionPolicy,
};
use fleetstorm_protocol::enrollment_api::Kind;
use fleetstorm_protocol::{Registration, RegistrationState, Substatus};
use serde_json::json;

use super::*;
use crate::service::config::Region;
use crate::service::record::Caller;
use crate::service::testing::{Talk, config, hub};

/// A talk whose group is changed first.
fn talk(change: impl FnOnce(&mut Enrollment)) -> Talk {
    let mut config = config();
    change(&mut config.groups[0].enrollment);
    Talk::with(config)
}

impl Talk {
    /// Changes the group while devices have their hubs, as the enrollment API does.
    fn change(&mut self, change: impl FnOnce(&mut Enrollment)) {
        let enrollment = self.service.enrollments.named(Kind::Group, "keys").unwrap().clone();
        let mut group = Group { id: "keys".into(), enrollment };
        change(&mut group.enrollment);
        self.service.enrollments.put_group(group, self.now);
    }
}

fn only(number: u32) -> impl Fn(&mut Enrollment) {
    move |enrollment| enrollment.hubs = vec![hub(number)]
}

fn assigned(registration: &Registration) -> (String, Substatus) {
    (registration.assigned_hub.clone().unwrap(), registration.substatus.unwrap())
}

#[test]
fn hubs_that_an_enrollment_does_not_name_do_not_come_into_question() {
    let mut talk = talk(|enrollment| enrollment.hubs = vec![hub(2), hub(3).to_uppercase()]);
    let mut counts = [0; 3];
    for device in 0..300 {
        let host = talk.register(&format!("dev-{device}")).assigned_hub.unwrap();
        counts[(1..=3).position(|number| hub(number) == host).unwrap()] += 1;
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1] > 110 && counts[2] > 110, "{counts:?}");
}

#[test]
fn the_nearest_hub_is_chosen_and_ties_are_even() {
    let mut config = config();
    config.allocation = AllocationPolicy::GeoLatency;
    let ms = Span::from_millis;
    config.regions = vec![
        Region {
            id_prefix: "eu-".into(),
            latency: vec![(hub(1), ms(80)), (hub(2), ms(9)), (hub(3), ms(30))],
        },
        Region { id_prefix: "us-".into(), latency: vec![(hub(1), ms(12)), (hub(3), ms(12))] },
    ];
    let mut talk = Talk::with(config);
    assert_eq!(talk.register("EU-1").assigned_hub, Some(hub(2)));
    let hosts: Vec<_> = (0..200).map(|n| talk.register(&format!("us-{n}")).assigned_hub.unwrap()).collect();
    let firsts = hosts.iter().filter(|host| **host == hub(1)).count();
    assert!((70..130).contains(&firsts) && !hosts.contains(&hub(2)), "{firsts}");
    // Nobody knows where this device is.
    let hosts: std::collections::BTreeSet<_> =
        (0..30).map(|n| talk.register(&format!("x-{n}")).assigned_hub).collect();
    assert_eq!(hosts.len(), 3);
}

#[test]
fn the_enrollments_policy_goes_before_the_instances() {
    let mut config = config();
    config.allocation = AllocationPolicy::GeoLatency;
    config.regions = vec![Region { id_prefix: String::new(), latency: vec![(hub(1), Span::from_millis(1))] }];
    config.groups[0].enrollment.allocation = Some(AllocationPolicy::Static);
    config.groups[0].enrollment.static_hub = Some(hub(3));
    assert_eq!(Talk::with(config.clone()).register("dev").assigned_hub, Some(hub(3)));
    config.groups[0].enrollment.allocation = None;
    config.groups[0].enrollment.static_hub = None;
    assert_eq!(Talk::with(config).register("dev").assigned_hub, Some(hub(1)));
}

#[test]
fn test_15_migration_moves_a_device_whose_hub_was_removed() {
    let mut talk = talk(only(1));
    assert_eq!(assigned(&talk.register("dev")), (hub(1), Substatus::InitialAssignment));
    assert_eq!(assigned(&talk.register("dev")), (hub(1), Substatus::InitialAssignment), "the hub is kept");
    talk.change(only(2));
    assert_eq!(assigned(&talk.register("dev")), (hub(2), Substatus::DeviceDataMigrated));
    assert_eq!(assigned(&talk.register("dev")), (hub(2), Substatus::InitialAssignment));
    talk.change(only(1));
    assert_eq!(assigned(&talk.register("dev")), (hub(1), Substatus::ReprovisionedToInitialAssignment));
}

#[test]
fn test_15_a_reset_starts_anew_and_never_stays() {
    let policy =
        |update_hub_assignment| ReprovisionPolicy { update_hub_assignment, migrate_device_data: false };
    let mut reset = talk(|enrollment| (only(1)(enrollment), enrollment.reprovision = policy(true)).1);
    reset.register("dev");
    reset.change(only(2));
    assert_eq!(assigned(&reset.register("dev")), (hub(2), Substatus::DeviceDataReset));
    let mut never = talk(|enrollment| (only(1)(enrollment), enrollment.reprovision = policy(false)).1);
    never.register("dev");
    never.change(only(2));
    assert_eq!(assigned(&never.register("dev")), (hub(1), Substatus::InitialAssignment));
    assert_eq!(assigned(&never.register("new")), (hub(2), Substatus::InitialAssignment));
}

#[test]
fn old_api_versions_leave_devices_where_they_are() {
    for (version, host) in [("2017-11-15", hub(1)), ("2018-04-01", hub(1)), ("2018-09-01-preview", hub(2))] {
        let mut talk = talk(only(1));
        talk.register("dev");
        talk.change(only(2));
        talk.api_version = version;
        assert_eq!(talk.register("dev").assigned_hub, Some(host), "{version}");
    }
}

fn custom(enrollment: &mut Enrollment) {
    enrollment.allocation = Some(AllocationPolicy::Custom);
    let (webhook_url, api_version) = ("https://localhost/hook".into(), "2021-10-01".into());
    enrollment.custom = Some(CustomAllocation { webhook_url, api_version });
}

fn named(host: &str) -> WebhookReply {
    WebhookReply::Named { hub: Some(host.into()), initial_twin: None, payload: None }
}

#[test]
fn test_16_a_webhook_that_names_a_hub_decides() {
    let mut talk = talk(custom);
    let operation = talk.start("dev", Some(r#"{"model":"x"}"#));
    let WebhookAsk { ticket, call } = talk.service.next_webhook().unwrap();
    assert_eq!((&*call.registration_id, &call.current), ("dev", &None));
    assert_eq!(call.payload.as_deref(), Some(r#"{"model":"x"}"#));
    assert_eq!(call.linked_hubs, [hub(1), hub(2), hub(3)]);
    assert!(talk.service.next_webhook().is_none());
    talk.pass(60);
    assert!(talk.poll("dev", &operation).is_none(), "it stays in assigning");
    let payload = Some(json!({ "greeting": 1 }));
    let reply = WebhookReply::Named { hub: Some(hub(3)), initial_twin: None, payload };
    assert_eq!(talk.service.webhook_answered(talk.now, ticket, reply), None);
    talk.pass(5);
    let registration = talk.poll("dev", &operation).unwrap();
    assert_eq!(assigned(&registration), (hub(3), Substatus::InitialAssignment));
    assert_eq!(registration.payload, Some(json!({ "greeting": 1 })));
    // The next time the webhook is told where the device is.
    talk.start("dev", None);
    let WebhookAsk { ticket, call } = talk.service.next_webhook().unwrap();
    assert_eq!(call.current, Some((hub(3), "dev".to_owned())));
    talk.service.webhook_answered(talk.now, ticket, named(&hub(1)));
    talk.pass(5);
    let registration = talk.service.registration(0, talk.now);
    assert_eq!(assigned(&registration), (hub(1), Substatus::DeviceDataMigrated));
    assert_eq!(registration.payload, None, "a payload is of one assignment");
}

#[test]
fn test_16_a_webhook_that_fails_fails_the_registration() {
    let empty = WebhookReply::Named { hub: None, initial_twin: None, payload: None };
    for (reply, code, words) in [
        (empty.clone(), 400_208, "no hub"),
        (named(""), 400_208, "no hub"),
        (named("elsewhere"), 400_207, "status code: 200"),
        (WebhookReply::Status(401), 400_209, "401"),
        (WebhookReply::Status(400), 400_207, "status code: 400"),
        (WebhookReply::Status(302), 400_207, "status code: 302"),
        (WebhookReply::Forbidden("not here".into()), 400_207, "not here"),
    ] {
        let mut talk = talk(custom);
        let operation = talk.start("dev", None);
        let WebhookAsk { ticket, .. } = talk.service.next_webhook().unwrap();
        assert_eq!(talk.service.webhook_answered(talk.now, ticket, reply.clone()), None);
        let registration = talk.poll("dev", &operation).unwrap();
        assert_eq!(registration.state, Some(RegistrationState::Failed), "{reply:?}");
        assert_eq!(registration.error_code, Some(code), "{reply:?}");
        assert!(registration.error_message.as_deref().unwrap().contains(words), "{registration:?}");
        assert_eq!((registration.assigned_hub, registration.device_id), (None, None));
        // The device may try again, and has had no hub yet.
        talk.start("dev", None);
        let WebhookAsk { ticket, call } = talk.service.next_webhook().unwrap();
        assert_eq!(call.current, None);
        talk.service.webhook_answered(talk.now, ticket, named(&hub(2)));
        talk.pass(5);
        assert_eq!(assigned(&talk.service.registration(0, talk.now)), (hub(2), Substatus::InitialAssignment));
    }
}

#[test]
fn test_16_a_busy_webhook_is_asked_eleven_times() {
    for busy in [WebhookReply::Status(429), WebhookReply::Status(503), WebhookReply::Unreachable] {
        let mut talk = talk(custom);
        let operation = talk.start("dev", None);
        let mut ticket = talk.service.next_webhook().unwrap().ticket;
        let mut waits = Vec::new();
        while let Some((wait, next)) = talk.service.webhook_answered(talk.now, ticket, busy.clone()) {
            assert!(talk.poll("dev", &operation).is_none());
            waits.push(wait.as_secs());
            talk.now += wait;
            // Polls are at most five in ten seconds.
            talk.pass(3);
            ticket = next;
        }
        assert_eq!(waits, [1, 10, 19, 28, 37, 46, 55, 64, 73, 82]);
        assert_eq!(talk.poll("dev", &operation).unwrap().error_code, Some(400_207));
    }
}

#[test]
fn an_answer_for_a_registration_that_is_gone_changes_nothing() {
    let mut talk = talk(custom);
    talk.start("dev", None);
    let WebhookAsk { ticket, .. } = talk.service.next_webhook().unwrap();
    let at = talk.service.registrations.find(Caller::Named("dev")).unwrap();
    talk.service.registrations.forget(talk.now, at);
    assert_eq!(talk.service.webhook_answered(talk.now, ticket, WebhookReply::Unreachable), None);
    let operation = talk.start("dev", None);
    assert_eq!(talk.service.webhook_answered(talk.now, ticket, named(&hub(1))), None);
    talk.pass(60);
    assert!(talk.poll("dev", &operation).is_none());
}

#[test]
fn a_device_that_never_reprovisions_is_not_asked_about_again() {
    let mut talk = talk(|enrollment| {
        custom(enrollment);
        enrollment.reprovision.update_hub_assignment = false;
    });
    talk.start("dev", None);
    let WebhookAsk { ticket, .. } = talk.service.next_webhook().unwrap();
    talk.service.webhook_answered(talk.now, ticket, named(&hub(2)));
    talk.pass(5);
    assert_eq!(talk.register("dev").assigned_hub, Some(hub(2)));
    assert!(talk.service.next_webhook().is_none());
}
