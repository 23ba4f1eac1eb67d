//! What the service and a custom allocation's webhook say to each other (`dps` 14.7).

use serde::Deserialize;
use serde_json::{Value, json};

use super::service_json::{initial_twin, resource};
use crate::enrollment::Attestation;
use crate::enrollment_api::Enrolled;
use crate::webhook::{WebhookCall, WebhookReply};

/// Writes the question.
pub fn write_webhook_call(call: &WebhookCall) -> String {
    let enrollment = resource(&call.enrollment);
    let (name, of) = match &call.enrollment.value {
        Enrolled::Individual(individual) => ("individualEnrollment", &individual.enrollment.attestation),
        Enrolled::Group(group) => ("enrollmentGroup", &group.enrollment.attestation),
    };
    let attestation = match of {
        Attestation::SymmetricKey { .. } => "symmetricKey",
        Attestation::Leaf { .. } | Attestation::Signer { .. } | Attestation::CaReference { .. } => "x509",
        Attestation::Tpm { .. } => "tpm",
    };
    let mut device = json!({ "registrationId": call.registration_id, attestation: {} });
    if let Some((hub, device_id)) = &call.current {
        device["currentIotHubHostName"] = Value::from(hub.as_str());
        device["currentDeviceId"] = Value::from(device_id.as_str());
    }
    if let Some(payload) = &call.payload {
        // The door has read it as JSON.
        device["payload"] = serde_json::from_str(payload).unwrap_or_default();
    }
    json!({ "deviceRuntimeContext": device, name: enrollment, "linkedHubs": call.linked_hubs }).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReply {
    #[serde(default)]
    iot_hub_host_name: Option<String>,
    #[serde(default)]
    initial_twin: Option<Value>,
    #[serde(default)]
    payload: Option<Value>,
}

/// Reads an answer.
pub fn read_webhook_reply(status: u16, body: &[u8]) -> WebhookReply {
    if status != 200 {
        return WebhookReply::Status(status);
    }
    if body.trim_ascii().is_empty() {
        return WebhookReply::Named { hub: None, initial_twin: None, payload: None };
    }
    let object = body.trim_ascii_start().starts_with(b"{");
    let wire = object.then(|| serde_json::from_slice::<WireReply>(body).ok()).flatten();
    match wire.and_then(|wire| Some((initial_twin(wire.initial_twin)?, wire.iot_hub_host_name, wire.payload)))
    {
        Some((initial_twin, hub, payload)) => WebhookReply::Named { hub, initial_twin, payload },
        None => WebhookReply::Status(200),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_answer_is_told_apart() {
        let named = |hub: Option<&str>| WebhookReply::Named {
            hub: hub.map(str::to_owned),
            initial_twin: None,
            payload: None,
        };
        let twin = json!({ "tags": { "floor": 1 }, "properties": { "desired": { "rate": 5 } } });
        let with_twin = WebhookReply::Named {
            hub: Some("a".to_owned()),
            initial_twin: Some(std::sync::Arc::new(twin.clone())),
            payload: None,
        };
        let body = json!({ "iotHubHostName": "a", "initialTwin": twin }).to_string();
        assert_eq!(read_webhook_reply(200, body.as_bytes()), with_twin);
        for (status, body, reply) in [
            (200, r#"{"iotHubHostName":"a"}"#, named(Some("a"))),
            (200, r#"{"iotHubHostName":null}"#, named(None)),
            (200, "", named(None)),
            (200, "{}", named(None)),
            (200, r#"{"iotHubHostName":"a","initialTwin":null}"#, named(Some("a"))),
            (200, r#"{"iotHubHostName":"a","initialTwin":{"tags":5}}"#, WebhookReply::Status(200)),
            (200, "[]", WebhookReply::Status(200)),
            (200, "<html>", WebhookReply::Status(200)),
            (302, "", WebhookReply::Status(302)),
            (429, "{}", WebhookReply::Status(429)),
        ] {
            assert_eq!(read_webhook_reply(status, body.as_bytes()), reply, "{status} {body}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_reads_without_a_panic(status: u16, body: Vec<u8>, text in "[{}\\[\\]\":,a-zA-Z0-9]{0,60}") {
            read_webhook_reply(status, &body);
            read_webhook_reply(200, text.as_bytes());
        }
    }
}
