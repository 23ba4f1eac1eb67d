//! Operational certificates of devices: what becomes of the issuer's answers, and renewals at hubs.
//!
//! A driver hands over what a device published, tells it the answer, and comes back when the rest of the answer is due.

use std::sync::Arc;

use fleetstorm_protocol::code;
use fleetstorm_protocol::credentials::Answer;
use fleetstorm_units::time::Moment;

use super::Evidence;
use super::issuance::Chain;
use super::issuer::{Applicant, For, IssuanceCall, Order};
use super::machine::Service;

impl Service {
    /// The next question for the issuer.
    pub fn next_issuance(&mut self) -> Option<IssuanceCall> {
        self.issuer.next_call()
    }

    /// Takes the issuer's answer: the device's certificate in DER, or `None` if it could not make one.
    pub fn certificate_issued(&mut self, call: &IssuanceCall, leaf: Option<&[u8]>) {
        let chain = leaf.map(|leaf| -> Chain {
            std::iter::once(Arc::from(leaf)).chain(call.above.iter().cloned()).collect()
        });
        match &call.ticket.0 {
            For::Renewal(device, number) => self.renewals.issued(device, *number, chain),
            // Deleted, or registered anew, in the meantime.
            For::Registration(ticket) if !self.registrations.is_current(*ticket) => {}
            For::Registration(ticket) => {
                let at = ticket.record as usize;
                if chain.is_none() {
                    self.registrations.fail(at, code::INTERNAL_ERROR);
                }
                self.registrations.issue(at, chain);
            }
        }
    }

    /// Revokes the certificates that a device has: hubs refuse them from now on. It may ask for another one.
    pub fn revoke_certificates(&mut self, now: Moment, registration_id: &str) {
        self.issuer.revoke(now, registration_id);
    }

    /// Takes a device's request for a certificate, and answers at once. The rest of an answer that is
    /// [`Answer::Accepted`] is due at [`Service::renewal_due`].
    pub fn renew(
        &mut self,
        now: Moment,
        device_id: &str,
        rid: &str,
        body: &[u8],
        evidence: &impl Evidence,
    ) -> Answer {
        self.numbers.next();
        let demand = match self.renewals.read(now, device_id, rid, body, &self.numbers) {
            Ok(demand) => demand,
            Err(answer) => return answer,
        };
        let name = self.registered_as(device_id);
        let wanted = name.as_deref().and_then(|name| {
            let at = self.registrations.find(self.registrations.caller(name))?;
            let policy = self.enrollments.of(self.registrations.get(at).enrollment)?.policy.as_ref();
            self.issuer.want_renewal(now, &Applicant { name, policy, evidence }, &demand.csr)
        });
        let taken = self.renewals.accept(now, demand, wanted.is_some());
        if let (Some(wanted), Some(name)) = (wanted, name) {
            let order = Order { whom: taken.whom, name: name.into_owned(), wanted };
            self.issuer.ask(now, order, &mut self.numbers);
        }
        taken.answer
    }

    /// When the answer to a device's pending request is due, if there will be one.
    pub fn renewal_due(&self, device_id: &str) -> Option<Moment> {
        self.renewals.due(device_id)
    }

    /// The answer that is due, with the id of its request, for a device that has listened since `since`. What it missed is
    /// lost, unless hubs hold it.
    pub fn take_renewal(
        &mut self,
        now: Moment,
        device_id: &str,
        since: Option<Moment>,
    ) -> Option<(Box<str>, Answer)> {
        self.renewals.take(now, device_id, since, &mut self.numbers)
    }

    /// Whether an answer waits for a device that does not listen.
    pub fn holds_renewals(&self) -> bool {
        self.renewals.holds()
    }

    /// Whether connections end whose requests cannot be answered.
    pub fn cuts_unanswerable_renewals(&self) -> bool {
        self.renewals.cuts_unanswerable()
    }
}

#[cfg(test)]
#[path = "issuance_tests.rs"]
pub(super) mod issuance_tests;
#[cfg(test)]
#[path = "renewal_tests.rs"]
mod renewal_tests;
