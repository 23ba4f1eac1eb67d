//! Certificates that are renewed at a hub: one request of a device is pending at a time, and it belongs to the device, not
//! to its connection (`dps` 18.6).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetstorm_protocol::Guid;
use fleetstorm_protocol::credentials::{ANY, Answer, BAD_ARGUMENT, Malformed, Refusal, Request, UNDECODABLE};
use fleetstorm_protocol::http::iso_time;
use fleetstorm_units::random::{Purpose, Seed};
use fleetstorm_units::time::{Calendar, Moment};

use super::counters::Numbers;
use super::issuance::{Chain, Renewal};
use super::issuer::For;

/// The renewals that are under way, by the devices' names at their hubs in lower case.
#[derive(Debug)]
pub(super) struct Renewals {
    rules: Renewal,
    pending: BTreeMap<Box<str>, Pending>,
    /// Counts them all.
    count: u32,
    seed: Seed,
    calendar: Calendar,
}

/// A request of a device that its hub has understood.
pub(super) struct Demand {
    /// The request for a certificate, in base64.
    pub(super) csr: String,
    key: Box<str>,
    rid: Box<str>,
}

/// A request that its hub has taken.
pub(super) struct Taken {
    pub(super) answer: Answer,
    /// For whom the issuer is asked.
    pub(super) whom: For,
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

impl Renewals {
    pub(super) const fn new(rules: Renewal, seed: Seed, calendar: Calendar) -> Self {
        Self { rules, pending: BTreeMap::new(), count: 0, seed, calendar }
    }

    /// Reads a device's request, which is the request in hand of `numbers`.
    ///
    /// # Errors
    /// The answer, if it is refused at once.
    pub(super) fn read(
        &self,
        now: Moment,
        device_id: &str,
        rid: &str,
        body: &[u8],
        numbers: &Numbers,
    ) -> Result<Demand, Answer> {
        let decline = |code, message, info| Err(self.decline(now, Reason { code, message, info }, numbers));
        let codes = self.rules.codes;
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(Malformed::Undecodable) => {
                return decline(UNDECODABLE, "the JSON of the request cannot be decoded", Vec::new());
            }
            Err(Malformed::Argument(what)) => return decline(BAD_ARGUMENT, what, Vec::new()),
        };
        if request.id != device_id {
            return decline(BAD_ARGUMENT, "the id in the request does not match the device's", Vec::new());
        }
        if BASE64_STANDARD.decode(&*request.csr).is_err() {
            return decline(BAD_ARGUMENT, "csr is not base64", Vec::new());
        }
        let key = key(device_id);
        let pending = self.pending.get(&*key).filter(|pending| pending.is_pending(now));
        match (request.replace.as_deref(), pending) {
            (None, Some(pending)) => {
                let info = vec![
                    ("requestId", pending.rid.to_string()),
                    ("operationExpires", iso_time(self.calendar.unix_nanos(pending.expires))),
                    ("correlationId", Guid(pending.correlation).to_string()),
                ];
                decline(codes.pending(), "another request of this device is pending", info)
            }
            (Some(rid), pending) if rid != ANY && pending.is_none_or(|pending| *pending.rid != *rid) => {
                let info = vec![("requestId", rid.to_owned())];
                decline(codes.not_pending(), "what the request replaces is not pending", info)
            }
            _ => Ok(Demand { csr: request.csr.into(), key, rid: rid.into() }),
        }
    }

    /// Takes a request that may have a certificate, or may not: that is found out later, and told with the second answer.
    pub(super) fn accept(&mut self, now: Moment, demand: Demand, wanted: bool) -> Taken {
        let Demand { key, rid, .. } = demand;
        let number = self.count.wrapping_add(1);
        self.count = number;
        let [high, low] = self.seed.pair(Purpose::Renewal, 0, number);
        let (correlation, expires) = (u128::from(high) << 64 | u128::from(low), now + self.rules.patience);
        let outcome = if wanted { Outcome::Asked } else { Outcome::Failed };
        let pending = Pending { rid, number, correlation, expires, due: now + self.rules.delay, outcome };
        self.pending.insert(key.clone(), pending);
        let expires_unix_ns = self.calendar.unix_nanos(expires);
        Taken { answer: Answer::Accepted { correlation, expires_unix_ns }, whom: For::Renewal(key, number) }
    }

    /// Takes the issuer's answer.
    pub(super) fn issued(&mut self, key: &str, number: u32, chain: Option<Chain>) {
        // Replaced in the meantime.
        let Some(pending) = self.pending.get_mut(key).filter(|pending| pending.number == number) else {
            return;
        };
        pending.outcome = chain.map_or(Outcome::Failed, Outcome::Issued);
    }

    /// When the answer to a device's pending request is due, if there will be one.
    pub(super) fn due(&self, device_id: &str) -> Option<Moment> {
        // Most devices never ask, and each is looked for after each of its packets.
        if self.pending.is_empty() {
            return None;
        }
        self.pending.get(&*key(device_id))?.leaves()
    }

    /// The answer that is due, with the id of its request, for a device that has listened since `since`. What it missed is
    /// lost, unless hubs hold it.
    pub(super) fn take(
        &mut self,
        now: Moment,
        device_id: &str,
        since: Option<Moment>,
        numbers: &mut Numbers,
    ) -> Option<(Box<str>, Answer)> {
        let key = key(device_id);
        let due = self.pending.get(&*key)?.leaves().filter(|due| *due <= now)?;
        let holds = self.rules.hold;
        if since.is_none() && holds {
            return None;
        }
        let pending = self.pending.remove(&*key)?;
        let heard = since.is_some_and(|since| since <= due || holds);
        let answer = match pending.outcome {
            _ if !heard => return None,
            Outcome::Asked => return None,
            Outcome::Issued(chain) => {
                Answer::Issued { correlation: pending.correlation, certificates: chain.to_vec() }
            }
            Outcome::Failed => {
                numbers.next();
                let unverified = "the certificate signing request did not pass verification";
                let info = vec![
                    ("correlationId", Guid(pending.correlation).to_string()),
                    ("credentialError", "400000".to_owned()),
                    ("credentialMessage", unverified.to_owned()),
                ];
                let code = self.rules.codes.failed();
                self.decline(
                    now,
                    Reason { code, message: "the certificate could not be issued", info },
                    numbers,
                )
            }
        };
        Some((pending.rid, answer))
    }

    /// Whether an answer waits for a device that does not listen.
    pub(super) const fn holds(&self) -> bool {
        self.rules.hold
    }

    /// Whether connections end whose requests cannot be answered.
    pub(super) const fn cuts_unanswerable(&self) -> bool {
        self.rules.cut
    }

    fn decline(&self, now: Moment, reason: Reason, numbers: &Numbers) -> Answer {
        let Reason { code, message, info } = reason;
        let unix_ns = self.calendar.unix_nanos(now);
        Answer::Refused(Refusal { code, message, tracking: numbers.request_id(), unix_ns, info })
    }
}

/// Why a hub declines.
struct Reason {
    code: u32,
    message: &'static str,
    info: Vec<(&'static str, String)>,
}

fn key(device_id: &str) -> Box<str> {
    device_id.to_ascii_lowercase().into()
}
