//! The model's attempt in the plugin interface, and a plugin's decision in the model.

use fleetstorm_model::device::{Advice, Answered, Attempt, Decision, HubAttempt};
use fleetstorm_plugin as sdk;
use fleetstorm_plugin::abi;
use fleetstorm_protocol::outcome::{ErrorClass, Fault, Outcome};
use fleetstorm_protocol::{Operation, RetryAfter};
use fleetstorm_units::time::Span;

use super::knowledge::Knowledge;

const fn operation(operation: Operation) -> u32 {
    match operation {
        Operation::Register => sdk::Operation::Register,
        Operation::Poll => sdk::Operation::Poll,
        Operation::Lookup => sdk::Operation::Lookup,
    }
    .number()
}

const fn class(class: ErrorClass) -> u32 {
    match class {
        ErrorClass::Throttled => sdk::Class::Throttled,
        ErrorClass::ServerError => sdk::Class::ServerError,
        ErrorClass::Unreachable => sdk::Class::Unreachable,
        ErrorClass::Tls => sdk::Class::Tls,
        ErrorClass::OutcomeUnknown => sdk::Class::OutcomeUnknown,
        ErrorClass::Protocol => sdk::Class::Protocol,
        ErrorClass::Unauthorized => sdk::Class::Unauthorized,
        ErrorClass::Forbidden => sdk::Class::Forbidden,
        ErrorClass::NotFound => sdk::Class::NotFound,
        ErrorClass::Conflict => sdk::Class::Conflict,
        ErrorClass::ClientBug => sdk::Class::ClientBug,
        ErrorClass::AssignmentFailed => sdk::Class::AssignmentFailed,
        ErrorClass::Disabled => sdk::Class::Disabled,
        ErrorClass::AssignmentTimeout => sdk::Class::AssignmentTimeout,
    }
    .number()
}

const fn advice(advice: Advice) -> u32 {
    match advice {
        Advice::Retry => sdk::Advice::Retry,
        Advice::Restart => sdk::Advice::Restart,
        Advice::Renew => sdk::Advice::Renew,
        Advice::Park => sdk::Advice::Park,
    }
    .number()
}

/// A failed attempt.
#[inline]
pub(super) fn failed(
    attempt: &Attempt,
    device_hash: u64,
    random: [u64; 2],
    knowledge: Knowledge,
) -> abi::Attempt {
    let (status, code) = match attempt.outcome {
        Outcome::Answered { status, code } => (u32::from(status.0), code),
        Outcome::Unmet { status, .. } => (u32::from(status.0), 0),
        Outcome::Challenged | Outcome::Broke(_) => (0, 0),
    };
    let (given, given_value) = match attempt.retry_after {
        RetryAfter::Absent => (0, 0),
        RetryAfter::Seconds(secs) => (1, i64::from(secs)),
        RetryAfter::Date(unix) => (2, unix),
        RetryAfter::Malformed(_) => (3, 0),
    };
    let flags = if attempt.retry_after_wait.is_some() { abi::ATTEMPT_RETRY_AFTER } else { 0 }
        | if attempt.operation_known { abi::ATTEMPT_OPERATION_KNOWN } else { 0 }
        | if attempt.outcome == Outcome::Broke(Fault::Dns) { abi::ATTEMPT_UNRESOLVED } else { 0 };
    abi::Attempt {
        size: size_of::<abi::Attempt>() as u32,
        flags,
        operation: operation(attempt.operation),
        failure: class(attempt.class),
        advice: advice(attempt.advice),
        status,
        code,
        failures: attempt.failures,
        attempts: attempt.attempts,
        operation_failures: attempt.operation_failures,
        given,
        credential: u32::from(attempt.credential),
        credentials: u32::from(attempt.credentials),
        reserved: 0,
        given_value,
        retry_after_ns: attempt.retry_after_wait.map_or(0, Span::as_nanos),
        floor_ns: attempt.floor.as_nanos(),
        park_ns: attempt.park.as_nanos(),
        previous_wait_ns: attempt.previous_wait.as_nanos(),
        now_ns: attempt.now.as_nanos(),
        since_boot_ns: attempt.since_boot.as_nanos(),
        elapsed_ns: attempt.elapsed.as_nanos(),
        device_hash,
        fleet_size: knowledge.fleet_size,
        quota_per_minute: knowledge.quota_per_minute,
        random,
    }
}

/// A moment at which nothing has failed: before the first attempt, and after success.
pub(super) fn unfailed(
    attempt: &Attempt,
    device_hash: u64,
    random: [u64; 2],
    knowledge: Knowledge,
) -> abi::Attempt {
    abi::Attempt { failure: 0, advice: 0, ..failed(attempt, device_hash, random, knowledge) }
}

/// An answer that is no failure.
#[inline]
pub(super) fn answered(
    attempt: &Attempt,
    assigned: bool,
    device_hash: u64,
    random: [u64; 2],
    knowledge: Knowledge,
) -> abi::Attempt {
    let mut answer = unfailed(attempt, device_hash, random, knowledge);
    answer.flags |= if assigned { abi::ATTEMPT_ASSIGNED } else { 0 };
    answer
}

/// An attempt at the hub.
pub(super) fn at_hub(
    attempt: &HubAttempt,
    device_hash: u64,
    random: [u64; 2],
    knowledge: Knowledge,
) -> abi::Attempt {
    let failed = attempt.fault.is_some();
    abi::Attempt {
        size: size_of::<abi::Attempt>() as u32,
        flags: if attempt.fault == Some(Fault::Dns) { abi::ATTEMPT_UNRESOLVED } else { 0 },
        operation: sdk::Operation::Hub.number(),
        failure: if failed { class(attempt.class) } else { 0 },
        advice: if failed { advice(attempt.advice) } else { 0 },
        status: 0,
        code: 0,
        failures: attempt.failures,
        attempts: attempt.failures,
        operation_failures: attempt.failures,
        given: 0,
        credential: u32::from(attempt.credential),
        credentials: u32::from(attempt.credentials),
        reserved: 0,
        given_value: 0,
        retry_after_ns: 0,
        floor_ns: 0,
        park_ns: attempt.park.as_nanos(),
        previous_wait_ns: 0,
        now_ns: attempt.now.as_nanos(),
        since_boot_ns: attempt.since_boot.as_nanos(),
        elapsed_ns: attempt.elapsed.as_nanos(),
        device_hash,
        fleet_size: knowledge.fleet_size,
        quota_per_minute: knowledge.quota_per_minute,
        random,
    }
}

/// What a plugin made of an answer.
pub(super) const fn made_of(answered: sdk::Answered) -> Answered {
    match answered {
        sdk::Answered::AsUsual => Answered::AsUsual,
        sdk::Answered::PollAfter(ns) => Answered::PollAfter(Span::from_nanos(ns)),
        sdk::Answered::Unusable => Answered::Unusable,
    }
}

/// What a plugin decided.
#[inline]
pub(super) fn decided(decision: sdk::Decision) -> Decision {
    let span = Span::from_nanos;
    match decision {
        sdk::Decision::Wait(ns) => Decision::Wait(span(ns)),
        sdk::Decision::Restart(ns) => Decision::Restart(span(ns)),
        sdk::Decision::SwitchCredential(ns) => Decision::SwitchCredential(span(ns)),
        sdk::Decision::UseCachedHub(ns) => Decision::UseCachedHub(span(ns)),
        sdk::Decision::LookupStatus(ns) => Decision::LookupStatus(span(ns)),
        sdk::Decision::GiveUp { rearm_ns } => {
            Decision::GiveUp { rearm_after: (rearm_ns > 0).then(|| span(rearm_ns)) }
        }
    }
}
