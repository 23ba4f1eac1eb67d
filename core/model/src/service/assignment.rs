//! How devices come to their hubs: at once, or after a webhook was asked; and their twins there, as far as DPS sets them
//! (`dps` 14.6 to 14.8).

use fleetstorm_protocol::code;
use fleetstorm_protocol::webhook::{WebhookCall, WebhookReply};
use fleetstorm_units::time::{Moment, Span};
use serde_json::Value;

use super::issuer::{For, Order};
use super::machine::Service;
use super::metrics::MetricStatus;
use super::placement::Chosen;
use super::record::EnrollmentPlace;
use super::registrations::Failure;
use super::webhook::{WebhookAsk, WebhookTicket};

/// How often a webhook is asked again after it was busy or out of reach (`dps` 14.7).
const WEBHOOK_RETRIES: u32 = 10;

impl Service {
    /// The next webhook that is to be asked. Its answer goes to [`Service::webhook_answered`].
    pub fn next_webhook(&mut self) -> Option<WebhookAsk> {
        self.webhooks.pop_front()
    }

    /// Takes a webhook's answer. Returns when to ask again, with the ticket of the next question.
    pub fn webhook_answered(
        &mut self,
        now: Moment,
        ticket: WebhookTicket,
        reply: WebhookReply,
    ) -> Option<(Span, WebhookTicket)> {
        let at = ticket.of.record as usize;
        // Deleted, and perhaps registered anew, while the webhook was thinking.
        if !self.registrations.is_current(ticket.of) {
            return None;
        }
        let failed = |status: u16| format!("Custom allocation failed with status code: {status}");
        let (code, message) = match reply {
            WebhookReply::Named { hub: Some(host), initial_twin, payload } if !host.is_empty() => {
                let enrollment = self.enrollments.of(self.registrations.get(at).enrollment);
                let hub = enrollment.and_then(|enrollment| {
                    let mut candidates = self.hubs.candidates(enrollment);
                    candidates.find(|(_, hub)| hub.host.eq_ignore_ascii_case(&host)).map(|(at, _)| at)
                });
                if let Some(hub) = hub {
                    let name = self.registrations.name_at(at).into_owned();
                    self.assign(now, at, &name, Chosen { hub, initial_twin });
                    if let Some(payload) = payload {
                        self.registrations.give_payload(at, payload);
                    }
                    return None;
                }
                (code::ALLOCATION_FAILED, failed(200))
            }
            WebhookReply::Named { .. } => {
                (code::ALLOCATION_NO_HUB, "Custom allocation named no hub".to_owned())
            }
            WebhookReply::Status(401) => (
                code::ALLOCATION_UNAUTHORIZED,
                "Custom allocation was refused with status code: 401".to_owned(),
            ),
            WebhookReply::Status(429..) | WebhookReply::Unreachable if ticket.retries < WEBHOOK_RETRIES => {
                let wait = Span::from_secs(1 + 9 * u64::from(ticket.retries));
                return Some((wait, WebhookTicket { retries: ticket.retries + 1, ..ticket }));
            }
            WebhookReply::Status(status) => (code::ALLOCATION_FAILED, failed(status)),
            WebhookReply::Unreachable => {
                (code::ALLOCATION_FAILED, "Custom allocation failed: the webhook did not answer".to_owned())
            }
            WebhookReply::Forbidden(why) => {
                (code::ALLOCATION_FAILED, format!("Custom allocation failed: {why}"))
            }
        };
        self.metrics.refused(now, MetricStatus::Failed);
        self.registrations.fail_without_hub(now, ticket.of, Failure { code, message });
        None
    }

    /// Gives a device its hub, which it has once the assignment's time is over.
    pub(super) fn assign(&mut self, now: Moment, at: usize, name: &str, chosen: Chosen) {
        let Chosen { hub, initial_twin } = chosen;
        let enrollment = self.enrollments.of(self.registrations.get(at).enrollment);
        let migrate = enrollment.is_none_or(|enrollment| enrollment.reprovision.migrate_device_data);
        let moved = self.registrations.assign(at, name, hub, migrate);
        if moved.starts_anew {
            let enrolled = || enrollment.and_then(|enrollment| enrollment.initial_twin.clone());
            self.registrations.set_twin(at, initial_twin.or_else(enrolled));
        }
        // An identity is made where the device is new to the hub.
        let held = if moved.made { self.hubs.registry_delay(now, hub) } else { Span::ZERO };
        let count = self.registrations.get(at).registrations;
        let took = self.placement.takes(name, count.saturating_sub(1)).map(|took| took + held);
        self.registrations.ready(at, took.map_or(Moment::FAR, |took| now + took));
        if let Some(took) = took {
            self.metrics.assigned(now + took, hub);
        }
        // Now that it has a hub, it can have its certificate.
        if let Some(wanted) = self.registrations.take_wanted(at) {
            let whom = For::Registration(self.registrations.ticket(at));
            let name = self.registrations.name_at(at).into_owned();
            self.issuer.ask(now, Order { whom, name, wanted }, &mut self.numbers);
        }
    }

    /// Queues the question to the enrollment's webhook; until it is answered the device stays in `assigning`.
    pub(super) fn ask_webhook(&mut self, at: usize, name: &str, payload: Option<&str>) {
        let ticket = WebhookTicket { of: self.registrations.ticket(at), retries: 0 };
        let of = self.registrations.get(at).enrollment;
        let current = self.registrations.hub_before(at).map(|hub| {
            let device_id = match of.place() {
                EnrollmentPlace::Individual(at) => {
                    self.enrollments.individual(at).and_then(|individual| individual.device_id.clone())
                }
                EnrollmentPlace::Group(_) => None,
            };
            (self.hubs.host(hub).to_owned(), device_id.unwrap_or_else(|| name.to_owned()))
        });
        let call = self.enrollments.resource(of.place()).and_then(|enrollment| {
            let of = self.enrollments.of(of)?;
            let linked_hubs = self.hubs.candidates(of).map(|(_, hub)| hub.host.clone()).collect();
            let payload = payload.map(str::to_owned);
            let webhook = of.custom.clone()?;
            let registration_id = name.to_owned();
            let call = WebhookCall { webhook, registration_id, current, payload, enrollment, linked_hubs };
            Some(WebhookAsk { ticket, call })
        });
        self.registrations.ready(at, Moment::FAR);
        self.webhooks.extend(call);
    }

    /// The twin of the device with this device id, `tags` and `properties.desired`; `None` if DPS gave it none.
    pub fn twin(&self, device_id: &str) -> Option<&Value> {
        self.registrations.twin(&self.registered_as(device_id)?)
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod placement_tests;
#[cfg(test)]
#[path = "twin_tests.rs"]
mod twin_tests;
