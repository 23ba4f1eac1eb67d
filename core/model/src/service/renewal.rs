//! Certificates that are renewed at a hub: one request of a device is pending at a time, and it belongs to the device, not
//! to its connection (`dps` 18.6).
//!
//! A driver hands over what a device published, tells it the answer, and comes back when the rest of the answer is due.

use std::collections::BTreeMap;

use fleetstorm_protocol::Guid;
use fleetstorm_protocol::credentials::{
    ANY, Answer, BAD_ARGUMENT, Codes, Malformed, Refusal, Request, UNDECODABLE,
};
use fleetstorm_protocol::http::iso_time;
use fleetstorm_units::random::Purpose;
use fleetstorm_units::time::{Moment, Span};

use super::Evidence;
use super::issuance::{Chain, For};
use super::machine::Service;

/// How hubs renew certificates.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    /// Which codes they say.
    pub codes: Codes,
    /// How long it takes from a request to its certificate.
    pub delay: Span,
    /// How long a request is pending at most.
    pub patience: Span,
    /// Whether an answer that finds nobody listening waits for somebody who does.
    pub hold: bool,
    /// Whether a connection ends whose request cannot be answered: it has no id, or nobody listens.
    pub cut: bool,
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            codes: Codes::default(),
            delay: Span::from_secs(2),
            patience: Span::from_secs(12 * 3_600),
            hold: false,
            cut: false,
        }
    }
}

/// The renewals that are under way, by the devices' names at their hubs in lower case.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    pending: BTreeMap<Box<str>, Pending>,
    /// Counts them all.
    count: u32,
}

#[derive(Debug)]
struct Pending {
    rid: Box<str>,
    number: u32,
    correlation: u128,
    /// When it is given up.
    expires: Moment,
    /// When its answer is due.
    due: Moment,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// The issuer has been asked.
    Asked,
    Issued(Chain),
    /// The request for a certificate did not pass.
    Failed,
}

impl Pending {
    /// Whether another request meets it.
    fn is_pending(&self, now: Moment) -> bool {
        now < self.expires && (now < self.due || matches!(self.outcome, Outcome::Asked))
    }

    /// When its answer leaves; `None` if it has none, or will be given up before.
    fn leaves(&self) -> Option<Moment> {
        (!matches!(self.outcome, Outcome::Asked) && self.due < self.expires).then_some(self.due)
    }
}

impl Service {
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
        self.next_answer();
        let codes = self.config.issuance.renewal.codes;
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(Malformed::Undecodable) => {
                return self.decline(
                    now,
                    UNDECODABLE,
                    "the JSON of the request cannot be decoded",
                    Vec::new(),
                );
            }
            Err(Malformed::Argument(what)) => return self.decline(now, BAD_ARGUMENT, what, Vec::new()),
        };
        if request.id != device_id {
            let message = "the id in the request does not match the device's";
            return self.decline(now, BAD_ARGUMENT, message, Vec::new());
        }
        if !is_base64(&request.csr) {
            return self.decline(now, BAD_ARGUMENT, "csr is not base64", Vec::new());
        }
        let key = key(device_id);
        let pending = self.renewals.pending.get(&*key).filter(|pending| pending.is_pending(now));
        match (request.replace.as_deref(), pending) {
            (None, Some(pending)) => {
                let info = vec![
                    ("requestId", pending.rid.to_string()),
                    ("operationExpires", iso_time(self.config.calendar.unix_nanos(pending.expires))),
                    ("correlationId", Guid(pending.correlation).to_string()),
                ];
                return self.decline(now, codes.pending(), "another request of this device is pending", info);
            }
            (Some(ANY), _) | (None, None) => {}
            (Some(rid), Some(pending)) if *pending.rid == *rid => {}
            (Some(rid), _) => {
                let info = vec![("requestId", rid.to_owned())];
                return self.decline(
                    now,
                    codes.not_pending(),
                    "what the request replaces is not pending",
                    info,
                );
            }
        }
        self.accept(now, key, rid, &request.csr, device_id, evidence)
    }

    fn accept(
        &mut self,
        now: Moment,
        key: Box<str>,
        rid: &str,
        csr: &str,
        device_id: &str,
        evidence: &impl Evidence,
    ) -> Answer {
        let Renewal { delay, patience, .. } = self.config.issuance.renewal;
        let number = self.renewals.count.wrapping_add(1);
        self.renewals.count = number;
        let [high, low] = self.config.seed.pair(Purpose::Renewal, 0, number);
        let (correlation, expires) = (u128::from(high) << 64 | u128::from(low), now + patience);
        // What is wrong with a request for a certificate is found out later, and told with the second answer.
        let name = self.registered_as(device_id).map(std::borrow::Cow::into_owned);
        let wanted = name.as_deref().and_then(|name| self.want_renewal(now, name, csr, evidence));
        let outcome = if wanted.is_some() { Outcome::Asked } else { Outcome::Failed };
        let pending = Pending { rid: rid.into(), number, correlation, expires, due: now + delay, outcome };
        self.renewals.pending.insert(key.clone(), pending);
        if let (Some(wanted), Some(name)) = (wanted, name) {
            self.ask_issuer(now, For::Renewal(key, number), name, wanted);
        }
        Answer::Accepted { correlation, expires_unix_ns: self.config.calendar.unix_nanos(expires) }
    }

    /// Takes the issuer's answer.
    pub(super) fn renewed(&mut self, key: &str, number: u32, chain: Option<Chain>) {
        // Replaced in the meantime.
        let Some(pending) = self.renewals.pending.get_mut(key).filter(|pending| pending.number == number)
        else {
            return;
        };
        pending.outcome = chain.map_or(Outcome::Failed, Outcome::Issued);
    }

    /// When the answer to a device's pending request is due, if there will be one.
    pub fn renewal_due(&self, device_id: &str) -> Option<Moment> {
        // Most devices never ask, and each is looked for after each of its packets.
        if self.renewals.pending.is_empty() {
            return None;
        }
        self.renewals.pending.get(&*key(device_id))?.leaves()
    }

    /// The answer that is due, with the id of its request, for a device that has listened since `since`. What it missed is
    /// lost, unless hubs hold it.
    pub fn take_renewal(
        &mut self,
        now: Moment,
        device_id: &str,
        since: Option<Moment>,
    ) -> Option<(Box<str>, Answer)> {
        let key = key(device_id);
        let due = self.renewals.pending.get(&*key)?.leaves().filter(|due| *due <= now)?;
        let holds = self.config.issuance.renewal.hold;
        if since.is_none() && holds {
            return None;
        }
        let pending = self.renewals.pending.remove(&*key)?;
        let heard = since.is_some_and(|since| since <= due || holds);
        let answer = match pending.outcome {
            _ if !heard => return None,
            Outcome::Asked => return None,
            Outcome::Issued(chain) => {
                Answer::Issued { correlation: pending.correlation, certificates: chain.to_vec() }
            }
            Outcome::Failed => {
                self.next_answer();
                let codes = self.config.issuance.renewal.codes;
                let info = vec![
                    ("correlationId", Guid(pending.correlation).to_string()),
                    ("credentialError", "400000".to_owned()),
                    (
                        "credentialMessage",
                        "the certificate signing request did not pass verification".to_owned(),
                    ),
                ];
                self.decline(now, codes.failed(), "the certificate could not be issued", info)
            }
        };
        Some((pending.rid, answer))
    }

    /// Whether an answer waits for a device that does not listen.
    pub fn holds_renewals(&self) -> bool {
        self.config.issuance.renewal.hold
    }

    /// Whether connections end whose requests cannot be answered.
    pub fn cuts_unanswerable_renewals(&self) -> bool {
        self.config.issuance.renewal.cut
    }

    fn decline(
        &self,
        now: Moment,
        code: u32,
        message: &'static str,
        info: Vec<(&'static str, String)>,
    ) -> Answer {
        let unix_ns = self.config.calendar.unix_nanos(now);
        Answer::Refused(Refusal { code, message, tracking: self.request_id(), unix_ns, info })
    }
}

fn key(device_id: &str) -> Box<str> {
    device_id.to_ascii_lowercase().into()
}

fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.decode(text).is_ok()
}

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod tests;
