//! Twins: who gets which, and what re-provisioning leaves of them.

use std::sync::Arc;

use fleetstorm_protocol::enrollment::{AllocationPolicy, CustomAllocation, Enrollment, ReprovisionPolicy};
use fleetstorm_protocol::enrollment_api::Kind;
use fleetstorm_protocol::webhook::WebhookReply;
use serde_json::json;

use super::super::testing::{Talk, config, hub};
use super::*;
use crate::chaos::HubState;

fn twin(rate: u32) -> Arc<Value> {
    Arc::new(json!({ "tags": { "floor": 1 }, "properties": { "desired": { "rate": rate } } }))
}

/// A service whose one group is so.
fn talk(change: impl FnOnce(&mut Enrollment)) -> Talk {
    let mut config = config();
    config.throttle = crate::service::throttle::profile("unlimited").unwrap();
    change(&mut config.groups[0].enrollment);
    Talk::with(config)
}

fn enrollment(talk: &mut Talk) -> Enrollment {
    talk.service.enrollments.named(Kind::Group, "keys").unwrap().clone()
}

/// Replaces the group, as an operator would.
fn replace(talk: &mut Talk, enrollment: Enrollment) {
    let group = fleetstorm_protocol::enrollment::Group { id: "keys".into(), enrollment };
    talk.service.enrollments.put_group(group, talk.now);
}

#[test]
fn a_device_starts_with_the_initial_twin_of_its_enrollment() {
    let mut talk = talk(|enrollment| enrollment.initial_twin = Some(twin(5)));
    assert_eq!(talk.service.twin("dev-1"), None, "it has not registered");
    talk.register("dev-1");
    assert_eq!(talk.service.twin("DEV-1"), Some(&*twin(5)));
    assert_eq!(talk.service.twin("dev-2"), None);
}

#[test]
fn a_new_assignment_leaves_the_twin_or_starts_it_anew_as_the_policy_says() {
    let policy = |update_hub_assignment, migrate_device_data| ReprovisionPolicy {
        update_hub_assignment,
        migrate_device_data,
    };
    // Re-provisioning policy, whether the device has to move, and the rate that its twin then says.
    for (reprovision, moves, rate) in [
        (policy(true, true), true, 5),
        (policy(true, false), true, 7),
        (policy(true, true), false, 5),
        (policy(true, false), false, 5),
        (policy(false, false), false, 5),
    ] {
        let mut talk = talk(|enrollment| {
            enrollment.initial_twin = Some(twin(5));
            enrollment.reprovision = reprovision;
        });
        let first = talk.register("dev-1").assigned_hub.unwrap();
        let changed = Enrollment { initial_twin: Some(twin(7)), ..enrollment(&mut talk) };
        replace(&mut talk, changed);
        if moves {
            let at = talk.service.hub_at(&first).unwrap();
            talk.service.set_hub_state(at, Some(HubState::Unlinked));
        }
        let second = talk.register("dev-1").assigned_hub.unwrap();
        assert_eq!(first != second, moves);
        assert_eq!(talk.service.twin("dev-1"), Some(&*twin(rate)), "{reprovision:?} {moves}");
    }
}

#[test]
fn a_webhooks_twin_goes_before_the_enrollments() {
    for (named, rate) in [(Some(twin(9)), 9), (None, 5)] {
        let mut talk = talk(|enrollment| {
            enrollment.initial_twin = Some(twin(5));
            enrollment.allocation = Some(AllocationPolicy::Custom);
            let (webhook_url, api_version) = ("https://hook.example/".to_owned(), "2021-10-01".to_owned());
            enrollment.custom = Some(CustomAllocation { webhook_url, api_version });
        });
        let operation = talk.start("dev-1", None);
        let call = talk.service.next_webhook().unwrap();
        let reply = WebhookReply::Named { hub: Some(hub(2)), initial_twin: named, payload: None };
        assert_eq!(talk.service.webhook_answered(talk.now, call.ticket, reply), None);
        talk.pass(5);
        assert_eq!(talk.poll("dev-1", &operation).unwrap().assigned_hub, Some(hub(2)));
        assert_eq!(talk.service.twin("dev-1"), Some(&*twin(rate)));
    }
}
