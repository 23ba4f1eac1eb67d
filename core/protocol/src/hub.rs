//! How MQTT 3.1.1 spells what a device and its IoT hub say to each other: the user name, messages to the cloud, direct
//! methods, the twin (`dps` 6.5). Reading is total.

use std::fmt::{self, Write as _};

use serde_json::Value;

/// The `api-version` that a device names.
pub const API_VERSION: &str = "2021-04-12";

/// The filter of direct methods.
pub const METHODS: &str = "$iothub/methods/POST/#";

/// The direct method that tells a device to provision again.
pub const REPROVISION: &str = "Reprovision";

/// The filter of answers about the twin.
pub const TWIN_ANSWERS: &str = "$iothub/twin/res/#";

const TWIN_GET: &str = "$iothub/twin/GET/";
const TWIN_ANSWER: &str = "$iothub/twin/res/";
const METHOD: &str = "$iothub/methods/POST/";
const METHOD_ANSWER: &str = "$iothub/methods/res/";

/// Longest request id that is answered.
const RID_MAX_BYTES: usize = 64;

/// What a SAS token for a hub is for.
pub fn audience(hub: &str, device_id: &str) -> String {
    format!("{hub}/devices/{device_id}")
}

/// Writes the user name of a CONNECT.
pub fn user_name(hub: &str, device_id: &str, out: &mut String) {
    let _ = write!(out, "{hub}/{device_id}/?api-version={API_VERSION}");
}

/// Reads a user name: the hub's host and the device id. `None` if a part is missing, or if it is one for DPS.
pub fn read_user_name(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.splitn(3, '/');
    let (hub, device_id) = (parts.next()?, parts.next()?);
    let properties = parts.next()?;
    // A host has a dot and an id scope has none.
    (hub.contains('.') && !device_id.is_empty() && properties.starts_with("?api-version="))
        .then_some((hub, device_id))
}

/// Writes the topic of a message to the cloud.
pub fn message_topic(device_id: &str, out: &mut String) {
    let _ = write!(out, "devices/{device_id}/messages/events/");
}

/// Whether a device published a message to the cloud, under its own name.
pub fn is_message_topic(topic: &str, device_id: &str) -> bool {
    let rest = topic.strip_prefix("devices/").and_then(|rest| rest.strip_prefix(device_id));
    rest.is_some_and(|rest| rest.starts_with("/messages/events"))
}

/// Whether a device published the answer to a direct method.
pub fn is_method_answer(topic: &str) -> bool {
    topic.starts_with(METHOD_ANSWER)
}

/// Whether a hub serves a filter: methods, messages to the device, the twin.
pub fn is_served(filter: &str, device_id: &str) -> bool {
    let own = filter.strip_prefix("devices/").and_then(|rest| rest.strip_prefix(device_id));
    filter == METHODS || filter.starts_with("$iothub/twin/") || own == Some("/messages/devicebound/#")
}

/// Writes the topic under which a hub calls a method.
pub fn method_topic(name: &str, rid: impl fmt::Display, out: &mut String) {
    let _ = write!(out, "{METHOD}{name}/?$rid={rid}");
}

/// The name of the method that a hub calls and its request id; `None` for any other topic.
pub fn read_method_topic(topic: &str) -> Option<(&str, &str)> {
    let (name, properties) = topic.strip_prefix(METHOD)?.split_once('/')?;
    Some((Some(name).filter(|name| is_sound(name))?, read_rid(properties)?))
}

/// The request id of a device that asks for its twin; `None` for any other topic.
pub fn read_twin_get(topic: &str) -> Option<&str> {
    read_rid(topic.strip_prefix(TWIN_GET)?)
}

/// Writes the topic of the answer about a twin.
pub fn twin_answer_topic(status: u16, rid: &str, out: &mut String) {
    let _ = write!(out, "{TWIN_ANSWER}{status}/?$rid={rid}");
}

/// Writes what a device sees of its twin: desired properties as DPS set them, and none reported yet.
pub fn write_twin(twin: Option<&Value>, out: &mut Vec<u8>) {
    let desired = twin.and_then(|twin| twin.get("properties")?.get("desired")?.as_object());
    let mut desired = desired.cloned().unwrap_or_default();
    desired.insert("$version".to_owned(), 1.into());
    let seen = serde_json::json!({ "desired": desired, "reported": { "$version": 1 } });
    // Writing to a vector cannot fail, and a value always serializes.
    let _ = serde_json::to_writer(out, &seen);
}

fn read_rid(properties: &str) -> Option<&str> {
    let rid = properties.strip_prefix("?$rid=")?;
    (is_sound(rid) && rid.len() <= RID_MAX_BYTES).then_some(rid)
}

fn is_sound(text: &str) -> bool {
    !text.is_empty() && !text.contains(['+', '#', '/', '\0'])
}

/// Writes the topic of the answer to a method.
pub fn method_answer_topic(status: u16, rid: &str, out: &mut String) {
    let _ = write!(out, "{METHOD_ANSWER}{status}/?$rid={rid}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_name_of_a_hub_is_none_of_dps() {
        let text = "hub-1.azure-devices.net/dev-1/?api-version=2018-06-30&DeviceClientType=py";
        assert_eq!(read_user_name(text), Some(("hub-1.azure-devices.net", "dev-1")));
        for other in [
            "",
            "hub-1.azure-devices.net",
            "hub-1.azure-devices.net/dev-1",
            "hub-1.azure-devices.net//?api-version=2018-06-30",
            "0ne00ABCDEF/registrations/dev-1/api-version=2019-03-31",
            "0ne00ABCDEF/dev-1/?api-version=2019-03-31",
        ] {
            assert_eq!(read_user_name(other), None, "{other}");
        }
        assert_eq!(super::super::mqtt::read_user_name(text), None);
    }

    #[test]
    fn a_method_is_called_and_answered_by_its_request_id() {
        assert_eq!(read_method_topic("$iothub/methods/POST/Reprovision/?$rid=1"), Some((REPROVISION, "1")));
        for topic in
            ["$iothub/methods/POST/", "$iothub/methods/POST/x/", "$iothub/methods/POST/x/?$rid=+", "x"]
        {
            assert_eq!(read_method_topic(topic), None, "{topic}");
        }
        let mut topic = String::new();
        method_answer_topic(200, "1", &mut topic);
        assert_eq!(topic, "$iothub/methods/res/200/?$rid=1");
        assert!(is_method_answer(&topic));
    }

    #[test]
    fn a_device_asks_for_its_twin_and_sees_no_tags() {
        assert_eq!(read_twin_get("$iothub/twin/GET/?$rid=7"), Some("7"));
        for topic in ["$iothub/twin/GET/", "$iothub/twin/GET/?$rid=", "$iothub/twin/GET/?$rid=a/b", "x"] {
            assert_eq!(read_twin_get(topic), None, "{topic}");
        }
        let twin = serde_json::json!({ "tags": { "floor": 1 }, "properties": { "desired": { "rate": 5 } } });
        for (twin, expected) in [
            (Some(&twin), r#"{"desired":{"$version":1,"rate":5},"reported":{"$version":1}}"#),
            (None, r#"{"desired":{"$version":1},"reported":{"$version":1}}"#),
        ] {
            let mut out = Vec::new();
            write_twin(twin, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_device_speaks_and_listens_under_its_own_name_only() {
        let mut topic = String::new();
        message_topic("dev-1", &mut topic);
        assert!(is_message_topic(&topic, "dev-1"));
        assert!(!is_message_topic(&topic, "dev-2") && !is_message_topic(&topic, "dev-10"));
        assert!(is_served(METHODS, "dev-1") && is_served("devices/dev-1/messages/devicebound/#", "dev-1"));
        assert!(!is_served("#", "dev-1") && !is_served("devices/dev-2/messages/devicebound/#", "dev-1"));
    }

    proptest! {
        #[test]
        fn any_text_reads_without_a_panic(text in "\\PC{0,80}") {
            read_user_name(&text);
            read_method_topic(&text);
            read_twin_get(&text);
            read_twin_get(&format!("{TWIN_GET}{text}"));
            read_method_topic(&format!("{METHOD}{text}"));
            is_message_topic(&text, "dev-1");
        }

        #[test]
        fn what_one_end_writes_the_other_reads(
            hub in "[a-z0-9]{1,10}\\.[a-z]{2,5}", id in "[0-9a-zA-Z:._-]{1,64}", rid: u32,
        ) {
            let mut user = String::new();
            user_name(&hub, &id, &mut user);
            prop_assert_eq!(read_user_name(&user), Some((&*hub, &*id)));
            let mut topic = String::new();
            method_topic(REPROVISION, rid, &mut topic);
            prop_assert_eq!(read_method_topic(&topic), Some((REPROVISION, &*rid.to_string())));
        }
    }
}
