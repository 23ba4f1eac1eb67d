//! Webhooks that choose hubs, as the driver asks them.

use fleetstorm_protocol::webhook::WebhookCall;

use super::answer::Ticket;

/// A webhook that is to be asked.
#[derive(Clone, Debug)]
pub struct WebhookAsk {
    /// Gives the answer back to its registration.
    pub ticket: WebhookTicket,
    /// What it is asked.
    pub call: WebhookCall,
}

/// Says which registration a webhook's answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookTicket {
    pub(super) of: Ticket,
    /// Times that the webhook has been asked again.
    pub(super) retries: u32,
}
