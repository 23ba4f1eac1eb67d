//! What a custom allocation's webhook is asked, and how it answers (`dps` 14.7).

use std::sync::Arc;

use serde_json::Value;

use crate::enrollment::CustomAllocation;
use crate::enrollment_api::Resource;

/// A question for a custom allocation's webhook (`dps` 14.7).
#[derive(Clone, Debug)]
pub struct WebhookCall {
    /// Where to ask, and which shape of the question is expected.
    pub webhook: CustomAllocation,
    /// `deviceRuntimeContext.registrationId`.
    pub registration_id: String,
    /// The device's hub and device id, if it has one.
    pub current: Option<(String, String)>,
    /// The payload of the registration, as the JSON text that the device sent.
    pub payload: Option<String>,
    /// The enrollment that admitted the device.
    pub enrollment: Resource,
    /// The hubs that come into question.
    pub linked_hubs: Vec<String>,
}

/// How a webhook answered.
#[derive(Clone, Debug, PartialEq)]
pub enum WebhookReply {
    /// 200 with a body of the right shape.
    Named {
        /// `iotHubHostName`.
        hub: Option<String>,
        /// `initialTwin`, which goes before the enrollment's.
        initial_twin: Option<Arc<Value>>,
        /// `payload`, for the device.
        payload: Option<Value>,
    },
    /// Another status, or a 200 whose body has another shape.
    Status(u16),
    /// It could not be reached, or did not answer in time.
    Unreachable,
    /// It may not be asked; the text says why.
    Forbidden(String),
}
