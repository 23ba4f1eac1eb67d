//! What the doors say wrongly, because a fault of the protocol is armed.

use std::cell::RefCell;
use std::sync::Arc;

use fleetstorm_model::chaos::{
    DoorStep, FaultKind, Layer, Misspelt, Naming, Occasion, RidForm, Rules, Timeline, TopicForm,
};
use fleetstorm_protocol::Operation;

use super::House;

/// The rules about faults of the protocol, and how they know devices.
pub(super) struct DoorFaults {
    rules: RefCell<Rules>,
    naming: Naming,
}

impl House {
    /// Makes the doors obey the faults of the protocol, if there are any.
    pub fn arm(&self, timeline: &Arc<Timeline>, naming: Naming) {
        if timeline.has(Layer::Protocol) {
            let rules = timeline.rules(&[Layer::Protocol]).into();
            // A house is armed once, before it opens.
            let _ = self.faults.set(DoorFaults { rules, naming });
        }
    }

    /// Whether there are any.
    pub(super) fn is_armed(&self) -> bool {
        self.faults.get().is_some()
    }

    /// The fault that strikes a device at this step, if one does.
    pub(super) fn fault(
        &self,
        registration_id: &str,
        operation: Option<Operation>,
        step: DoorStep,
    ) -> Option<FaultKind> {
        self.struck(registration_id, operation, step).map(|misspelt| misspelt.kind)
    }

    /// The same, with what it says where that differs from one occasion to the next.
    pub(super) fn struck(
        &self,
        registration_id: &str,
        operation: Option<Operation>,
        step: DoorStep,
    ) -> Option<Misspelt> {
        let faults = self.faults.get()?;
        let device = faults.naming.number(registration_id)?;
        let now = self.clock.now();
        let unix_secs = self.service.borrow().unix_nanos(now) / 1_000_000_000;
        let occasion = Occasion::of(now, device, operation);
        faults.rules.borrow_mut().at_door(&occasion, step, unix_secs)
    }
}

/// The topic of an answer, for the request with `rid`.
pub(super) fn with_rid(topic: &str, form: RidForm, earlier: Option<&str>) -> String {
    let Some((path, properties)) = topic.split_once('?') else { return topic.to_owned() };
    let pairs = properties.split('&').filter_map(|pair| match (pair.strip_prefix("$rid="), form) {
        (None, _) => Some(pair.to_owned()),
        (Some(_), RidForm::Missing) => None,
        (Some(rid), RidForm::Wrong) => Some(format!("$rid={rid}-of-another")),
        (Some(rid), RidForm::Reused) => Some(format!("$rid={}", earlier.unwrap_or(rid))),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The `$rid` of a topic.
pub(super) fn rid(topic: &str) -> Option<&str> {
    topic.split_once('?')?.1.split('&').find_map(|pair| pair.strip_prefix("$rid="))
}

/// A topic of an answer, spelled otherwise.
pub(super) fn respelled(topic: &str, form: TopicForm) -> String {
    let Some((path, properties)) = topic.split_once('?') else { return topic.to_owned() };
    let properties = match form {
        TopicForm::Case => properties.replace("retry-after=", "Retry-After="),
        TopicForm::Extra => format!("x-added=%26&{properties}"),
        TopicForm::Reordered => properties.rsplit('&').collect::<Vec<_>>().join("&"),
        TopicForm::Encoded => match properties.split_once("retry-after=") {
            Some((before, value)) => {
                let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
                format!("{before}retry-after={encoded}")
            }
            None => properties.to_owned(),
        },
    };
    format!("{path}?{properties}")
}

#[cfg(test)]
mod tests {
    use fleetstorm_protocol::mqtt::read_answer_topic;

    use super::*;

    const TOPIC: &str = "$dps/registrations/res/202/?$rid=7&retry-after=3";

    #[test]
    fn an_answer_names_another_request_or_none() {
        let named = |form| with_rid(TOPIC, form, Some("6"));
        assert_eq!(named(RidForm::Wrong), "$dps/registrations/res/202/?$rid=7-of-another&retry-after=3");
        assert_eq!(named(RidForm::Missing), "$dps/registrations/res/202/?retry-after=3");
        assert_eq!(named(RidForm::Reused), "$dps/registrations/res/202/?$rid=6&retry-after=3");
        assert_eq!(rid(TOPIC), Some("7"));
    }

    #[test]
    fn a_topic_spelled_otherwise_means_the_same_to_our_device() {
        for (form, spelled) in [
            (TopicForm::Case, "$rid=7&Retry-After=3"),
            (TopicForm::Extra, "x-added=%26&$rid=7&retry-after=3"),
            (TopicForm::Reordered, "retry-after=3&$rid=7"),
            (TopicForm::Encoded, "$rid=7&retry-after=%33"),
        ] {
            let topic = respelled(TOPIC, form);
            assert_eq!(topic, format!("$dps/registrations/res/202/?{spelled}"));
            assert_eq!(read_answer_topic(&topic), read_answer_topic(TOPIC), "{form:?}");
        }
    }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod wire_tests;
