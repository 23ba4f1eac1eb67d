//! What a device does or meets, as a line of its life and as a line of a trace.

use fleetstorm_model::device::{LifeEvent, Observation};
use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_protocol::{Operation, RetryAfter, Status, code};
use fleetstorm_units::time::{Moment, Span};
use serde::{Deserialize, Serialize};

/// One thing that a device did or met. Spans are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    PowerOn,
    PowerLost,
    Connected {
        took_ns: Span,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    Sent {
        operation: Operation,
        late_ns: Span,
    },
    Unsent {
        operation: Operation,
    },
    Faltered,
    Ended {
        operation: Operation,
        took_ns: Span,
        #[serde(flatten)]
        ending: Ending,
        /// Whether the answer had a `Retry-After` that cannot be read.
        #[serde(default, skip_serializing_if = "is_false")]
        odd_retry_after: bool,
    },
    BackedOff {
        wait_ns: Span,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ns: Option<Span>,
    },
    TokenRenewed,
    Assigned {
        hub: Box<str>,
        took_ns: Span,
        attempts: u32,
    },
    Stopped {
        class: ErrorClass,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rearm_after_ns: Option<Span>,
    },
    HubTried {
        took_ns: Span,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    Online {
        cached: bool,
    },
    Offline {
        after_ns: Span,
    },
    Returned {
        why: Box<str>,
    },
    Reassigned {
        same_hub: bool,
    },
    Commanded,
    Renews,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// How a request ended: with an answer, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ending {
    Broke {
        fault: Fault,
    },
    Answered {
        status: Status,
        code: u32,
        challenge: bool,
        /// Why a 2xx is no success, where it is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<ErrorClass>,
    },
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Broke(fault) => Self::Broke { fault },
            Outcome::Challenged => {
                Self::Answered { status: Status::UNAUTHORIZED, code: 0, challenge: true, why: None }
            }
            Outcome::Answered { status, code } => {
                Self::Answered { status, code, challenge: false, why: None }
            }
            Outcome::Unmet { status, why } => {
                Self::Answered { status, code: 0, challenge: false, why: Some(why) }
            }
        }
    }
}

impl Event {
    pub(crate) fn of(now: Moment, observation: &Observation<'_>) -> Self {
        match *observation {
            Observation::Connected { started, fault, .. } => {
                Self::Connected { took_ns: now.since(started), fault }
            }
            Observation::Sent { operation, intended } => {
                Self::Sent { operation, late_ns: now.since(intended) }
            }
            Observation::Unsent { operation } => Self::Unsent { operation },
            Observation::Faltered => Self::Faltered,
            Observation::Ended { operation, started, outcome, retry_after, .. } => Self::Ended {
                operation,
                took_ns: now.since(started),
                ending: outcome.into(),
                odd_retry_after: matches!(retry_after, RetryAfter::Malformed(_)),
            },
            Observation::BackedOff { wait, retry_after, .. } => {
                Self::BackedOff { wait_ns: wait, retry_after_ns: retry_after }
            }
            Observation::TokenRenewed => Self::TokenRenewed,
            Observation::Assigned { booted, attempts, registration, .. } => Self::Assigned {
                hub: registration.assigned_hub.as_deref().unwrap_or("-").into(),
                took_ns: now.since(booted),
                attempts,
            },
            Observation::Stopped { class, rearm_after, .. } => {
                Self::Stopped { class, rearm_after_ns: rearm_after }
            }
        }
    }

    /// Of the life after provisioning; a message to the hub is no event worth a line.
    pub(crate) fn of_life(now: Moment, event: LifeEvent) -> Option<Self> {
        Some(match event {
            LifeEvent::Tried { started, fault } => Self::HubTried { took_ns: now.since(started), fault },
            LifeEvent::Online { cached, .. } => Self::Online { cached },
            LifeEvent::Offline { since } => Self::Offline { after_ns: now.since(since) },
            LifeEvent::PowerLost => Self::PowerLost,
            LifeEvent::Returned(why) => Self::Returned { why: why.name().into() },
            LifeEvent::Reassigned { same, .. } => Self::Reassigned { same_hub: same },
            LifeEvent::Commanded => Self::Commanded,
            LifeEvent::Renews => Self::Renews,
            LifeEvent::Heartbeat => return None,
        })
    }

    /// In words.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::PowerOn => "is given power".to_owned(),
            Self::PowerLost => "loses power".to_owned(),
            Self::Connected { took_ns, fault: None } => format!("connects in {took_ns}"),
            Self::Connected { took_ns, fault: Some(fault) } => {
                format!("cannot connect: {} after {took_ns}", fault.name())
            }
            Self::Sent { operation, late_ns } => {
                let late =
                    if *late_ns > Span::from_millis(1) { format!(", {late_ns} late") } else { String::new() };
                format!("sends {}{late}", operation.name())
            }
            Self::Unsent { operation } => {
                format!("cannot send {}: the peer has closed the idle connection", operation.name())
            }
            Self::Faltered => "fails without an attempt that failed".to_owned(),
            Self::Ended { operation, took_ns, ending, odd_retry_after } => {
                let odd = if *odd_retry_after { ", and a Retry-After that cannot be read" } else { "" };
                format!("{} ended after {took_ns}: {}{odd}", operation.name(), ending.told())
            }
            Self::BackedOff { wait_ns, retry_after_ns } => {
                let floor = retry_after_ns.map_or(String::new(), |floor| format!(" (Retry-After {floor})"));
                format!("waits {wait_ns}{floor}")
            }
            Self::TokenRenewed => "renews its token".to_owned(),
            Self::Assigned { hub, took_ns, attempts } => {
                format!("has its hub {hub} after {took_ns} and {attempts} attempts")
            }
            Self::Stopped { class, rearm_after_ns } => {
                let again =
                    rearm_after_ns.map_or("for good".to_owned(), |wait| format!("and tries again in {wait}"));
                format!("stops because of {} {again}", class.name())
            }
            Self::HubTried { took_ns, fault: None } => format!("connects to its hub in {took_ns}"),
            Self::HubTried { took_ns, fault: Some(fault) } => {
                format!("cannot connect to its hub: {} after {took_ns}", fault.name())
            }
            Self::Online { cached: true } => "is online, without having asked DPS".to_owned(),
            Self::Online { cached: false } => "is online".to_owned(),
            Self::Offline { after_ns } => format!("is offline, after {after_ns}"),
            Self::Returned { why } => {
                let why = match &**why {
                    "boot" => "it has kept no assignment over the loss of power",
                    "command" => "it was told to",
                    "refused" => "its hub refuses it",
                    "patience" => "its hub has stayed away for too long",
                    other => other,
                };
                format!("goes back to DPS: {why}")
            }
            Self::Reassigned { same_hub: true } => "gets the hub that it had".to_owned(),
            Self::Reassigned { same_hub: false } => "gets another hub".to_owned(),
            Self::Renews => "leaves its hub to come back with a fresh token".to_owned(),
            Self::Commanded => "is told to provision again".to_owned(),
        }
    }
}

impl Ending {
    fn told(self) -> String {
        match self {
            Self::Broke { fault } => fault.name().to_owned(),
            Self::Answered { challenge: true, .. } => "401, with a challenge for its TPM".to_owned(),
            Self::Answered { status, why: Some(ErrorClass::Protocol), .. } => {
                format!("{} with a body that is not the service's", status.0)
            }
            Self::Answered { status, why: Some(why), .. } => format!("{}, but {}", status.0, why.name()),
            Self::Answered { status, code, .. } => {
                let title = code::lookup(status.0, code).map_or("", |entry| entry.title);
                if code == 0 {
                    format!("{} {title}", status.0)
                } else {
                    format!("{} ({code}) {title}", status.0)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetstorm_model::device::Return;

    use super::*;

    #[test]
    fn every_event_is_read_back_as_it_was_written() {
        let span = Span::from_millis(1_500);
        let ended = |outcome: Outcome| Event::Ended {
            operation: Operation::Register,
            took_ns: span,
            ending: outcome.into(),
            odd_retry_after: outcome == Outcome::Challenged,
        };
        for event in [
            Event::PowerOn,
            Event::PowerLost,
            Event::Connected { took_ns: span, fault: None },
            Event::Connected { took_ns: span, fault: Some(Fault::TlsExpired) },
            Event::Sent { operation: Operation::Poll, late_ns: span },
            ended(Outcome::Answered { status: Status(429), code: 429_001 }),
            ended(Outcome::Challenged),
            ended(Outcome::Unmet { status: Status(200), why: ErrorClass::Protocol }),
            Event::Unsent { operation: Operation::Poll },
            Event::Faltered,
            ended(Outcome::Broke(Fault::Lost)),
            Event::BackedOff { wait_ns: span, retry_after_ns: None },
            Event::BackedOff { wait_ns: span, retry_after_ns: Some(span) },
            Event::TokenRenewed,
            Event::Assigned { hub: "a \"hub\"".into(), took_ns: span, attempts: 3 },
            Event::Stopped { class: ErrorClass::ClientBug, rearm_after_ns: Some(span) },
            Event::HubTried { took_ns: span, fault: Some(Fault::Refused) },
            Event::Online { cached: true },
            Event::Offline { after_ns: span },
            Event::Returned { why: Return::Patience.name().into() },
            Event::Reassigned { same_hub: true },
            Event::Commanded,
            Event::Renews,
        ] {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
            assert!(!event.told().is_empty());
        }
    }
}
